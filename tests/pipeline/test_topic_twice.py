"""A message whose topic stands there twice is about the last one, even if that is not learned."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pipeline.rig import Rig, binance_depth

PARTIAL = (
    b'{"stream":"%s","stream":"eeeusdt@depth5@100ms","data":{"lastUpdateId":7000000545,'
    b'"bids":[["2.99000000","17292.00000000"]],"asks":[["3.02000000","1319.00000000"]]}}'
)


def depth(symbol: str) -> Any:
    data = binance_depth(symbol, 1, 1, [["98.60", "1.0"]], [])
    return {"stream": f"{symbol.lower()}@depth@100ms", "data": data}


@pytest.mark.parametrize("first", [b"aaausdt@depth@100ms", b"zzz", b"aaausdt@bookTicker"])
def test_of_two_topics_the_last_one_counts(first: bytes) -> None:
    rig = Rig("binance_spot")
    for symbol in ("AAAUSDT", "BBBUSDT", "AAAUSDT"):  # how such messages begin is known then
        rig.send(depth(symbol))
    for _ in range(3):
        events = rig.send(PARTIAL % first)
        assert {event["instrument"] for event in events} <= {"binance_spot:EEEUSDT"}
    assert rig.levels("EEEUSDT") == ([(2.99, 17292.0)], [(3.02, 1319.0)])
