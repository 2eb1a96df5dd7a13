"""Prices that need more decimals than before, redundant connections, the memory of trade ids."""

from __future__ import annotations

from typing import Any

import pytest

from feedd.limits import TRADE_IDS_KEPT
from feedd.records import BookState
from tests.pipeline.rig import Rig, binance_depth, deribit_book, kinds, rest_depth

BIDS = [(1000 - i, 1) for i in range(40)]
ASKS = [(1001 + i, 1) for i in range(40)]


def top(rig: Rig) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    view = rig.shared_books().top(0)
    bids, asks = (
        [(float(level["price"]), float(level["size"])) for level in side]
        for side in (view.bids, view.asks)
    )
    return bids, asks


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("side", ["bids", "asks"])
def test_the_shared_top_follows_when_the_other_side_needs_more_decimals(
    side: str, sign: int
) -> None:
    """Of a side with more levels than the top shows, after the scale of both has grown."""
    rig = Rig("deribit")
    bids, asks = (
        (BIDS, ASKS) if sign > 0 else ([(-p, s) for p, s in ASKS], [(-p, s) for p, s in BIDS])
    )
    rig.send(deribit_book("X", 100, None, bids, asks))
    fine: tuple[list[Any], list[Any]] = ([(bids[0][0] - 0.25, 3)], [])
    change: tuple[list[Any], list[Any]] = ([], [(asks[1][0], 7)])
    if side == "asks":
        fine = ([], [(asks[0][0] + 0.25, 3)])
        change = ([(bids[1][0], 7)], [])
    rig.send(deribit_book("X", 101, 100, *fine))
    rig.send(deribit_book("X", 102, 101, *change))
    full = rig.levels("X")
    shared = top(rig)
    assert [shared[0], shared[1]] == [full[0][: len(shared[0])], full[1][: len(shared[1])]]
    assert len(shared[0]) >= 32 or len(shared[0]) == len(full[0])


def test_a_price_of_a_former_book_leaves_no_lasting_scale() -> None:
    rig = Rig("deribit")
    rig.send(deribit_book("X", 100, None, [(1e-17, 1)], []))
    assert rig.levels("X")[0] == [(1e-17, 1.0)]
    rig.send(deribit_book("X", 101, None, [(92_294.5, 1)], [(92_295, 1)]))
    assert rig.state("X") == (BookState.LIVE, 101)
    assert rig.levels("X") == ([(92_294.5, 1.0)], [(92_295.0, 1.0)])


def test_a_book_given_up_for_a_price_is_healed_by_a_snapshot() -> None:
    rig = Rig("deribit")
    rig.send(deribit_book("X", 100, None, [(92_294.5, 1)], []))
    events = rig.send(deribit_book("X", 101, 100, [(1e-17, 1)], []))
    assert kinds(events) == ["status:book_overflow", "status:gap"]
    rig.send(deribit_book("X", 110, None, [(92_294.5, 1)], [(92_295, 1)]))
    assert rig.state("X") == (BookState.LIVE, 110)
    assert rig.levels("X") == ([(92_294.5, 1.0)], [(92_295.0, 1.0)])


@pytest.mark.parametrize("ahead", [0, 1])
def test_a_line_goes_without_a_gap_while_another_carries_the_stream(ahead: int) -> None:
    """Whichever of the two connections brought the last copy."""
    rig = Rig("deribit")
    rig.send(deribit_book("X", 100, None, [(10, 1)], []), line=0)
    assert rig.send(deribit_book("X", 100, None, [(10, 1)], []), line=1) == []
    change = deribit_book("X", 101, 100, [(9, 1)], [])
    assert kinds(rig.send(change, line=ahead)) == ["book:delta"]
    assert rig.send(change, line=1 - ahead) == []
    assert rig.pipeline.line_down(rig.handle, 0, rig.t) == 0
    assert rig.drain() == []
    assert kinds(rig.send(deribit_book("X", 102, 101, [], [(11, 1)]), line=1)) == ["book:delta"]
    assert rig.pipeline.line_down(rig.handle, 1, rig.t) == 1
    assert kinds(rig.drain()) == ["status:gap"]


def test_lines_by_numbers_that_are_far_apart_are_not_confused() -> None:
    rig = Rig("deribit")
    rig.send(deribit_book("X", 100, None, [(10, 1)], []), line=65)
    assert rig.pipeline.line_down(rig.handle, 1, rig.t) == 0
    assert rig.pipeline.line_down(rig.handle, 65, rig.t) == 1


def trade(number: int) -> dict[str, Any]:
    row = {
        "timestamp": 1_700_000_000_000,
        "instrument_name": "X",
        "price": 1,
        "amount": 1,
        "direction": "buy",
        "trade_seq": number,
        "trade_id": str(number),
    }
    return {"params": {"channel": "trades.X.100ms", "data": [row]}}


def test_the_last_trade_ids_are_known_all_of_them() -> None:
    rig = Rig("deribit")
    count = TRADE_IDS_KEPT * 2 + 100
    for number in range(count):
        rig.send(trade(number))
        if number % 997 == 0 and number > TRADE_IDS_KEPT:
            oldest = number - TRADE_IDS_KEPT + 1
            assert rig.send(trade(oldest)) == []
            assert rig.send(trade(oldest + 1_100)) == []
    for number in range(count - TRADE_IDS_KEPT, count, 61):
        assert rig.send(trade(number)) == []


def test_a_rest_snapshot_of_a_book_with_a_former_scale() -> None:
    rig = Rig("binance_usdm")
    rig.send(binance_depth("AB", 90, 105, [("0.0000000000000001", 1)], [], previous=80))
    assert rig.rest("AB", rest_depth(100, [("1", 1)], []))[0] == "joined"
    assert rig.levels("AB")[0] == [(1.0, 1.0), (1e-16, 1.0)]
