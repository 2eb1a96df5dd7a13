"""What a lost, doubled, swapped or altered book message does to a client of each venue."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from feedd.sim.testing import SimHandle, start_sim
from tests.reference.session import Result, decode_rows
from tests.sim.strangers import Tap, finish, tap

# venue, path, instrument, its book stream, what to subscribe
CASES: list[tuple[str, str, str, str, Any]] = [
    (
        "okx", "/ws/v5/public", "BTC-USDT", "books:BTC-USDT",
        {"op": "subscribe", "args": [{"channel": "books", "instId": "BTC-USDT"}]},
    ),
    (
        "bybit_linear", "/v5/public/linear", "BTCUSDT", "orderbook.50.BTCUSDT",
        {"op": "subscribe", "args": ["orderbook.50.BTCUSDT"]},
    ),
    (
        "kraken", "/v2", "BTC/USD", "book:BTC/USD:25",
        {"method": "subscribe",
         "params": {"channel": "book", "symbol": ["BTC/USD"], "depth": 25}},
    ),
    (
        "coinbase", "/", "BTC-USD", "level2:BTC-USD",
        {"type": "subscribe", "channel": "level2", "product_ids": ["BTC-USD"]},
    ),
    (
        "kraken_futures", "/ws/v1", "PF_XBTUSD", "book:PF_XBTUSD",
        {"event": "subscribe", "feed": "book", "product_ids": ["PF_XBTUSD"]},
    ),
    (
        "bitget_futures", "/v2/ws/public", "BTCUSD", "books:BTCUSD",
        {"op": "subscribe",
         "args": [{"instType": "COIN-FUTURES", "channel": "books", "instId": "BTCUSD"}]},
    ),
    (
        "gate", "/ws/v4/", "BTC_USDT", "spot.obu:ob.BTC_USDT.50",
        {"channel": "spot.obu", "event": "subscribe", "payload": ["ob.BTC_USDT.50"]},
    ),
    (
        "bitfinex", "/ws/2", "tBTCUSD", "book:tBTCUSD:P0:F0:25",
        [{"event": "conf", "flags": 196_608},
         {"event": "subscribe", "channel": "book", "symbol": "tBTCUSD"}],
    ),
]  # fmt: skip
"""BitMEX and Hyperliquid have neither numbers nor checksums: nothing of this shows there."""
CONNECTION_WIDE = {"coinbase", "bitfinex"}
UNNUMBERED = {"kraken"}
"""A checksum alone cannot show that a message came twice."""
IDS = [case[0] for case in CASES]


async def run(sim: SimHandle, case: tuple[str, str, str, str, Any]) -> tuple[Tap, list[Any]]:
    venue, path, _, _, request = case
    async with tap(sim, venue, path) as client:
        await ask(client, request)
        await client.read_for(1.5)
        return client, await finish(sim, client)


async def ask(client: Tap, request: Any) -> None:
    for each in request if isinstance(request, list) else [request]:
        await client.send(each)


async def faulty(tmp_path: Path, case: Any, fault: str) -> tuple[Result, list[Any], Tap]:
    options = {"venues": case[0], "tls": False, "seed": 9, "rate": 1500}
    with start_sim(tmp_path, fault=[f"{fault},stream={case[3]}"], **options) as sim:
        client, journal = await run(sim, case)
    return decode_rows(case[0], client.rows), journal, client


def faults(journal: list[Any]) -> list[str]:
    return [row["fault"] for row in journal if row.get("fault")]


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_one_lost_message_is_one_gap(tmp_path: Path, case: Any) -> None:
    result, journal, _ = await faulty(tmp_path, case, "drop,nth=9")
    assert faults(journal) == ["drop"]
    (status,) = result.of("status")
    assert status["event"] == ("checksum" if case[0] in UNNUMBERED else "gap")
    name = None if case[0] in CONNECTION_WIDE else f"{case[0]}:{case[2]}"
    assert status["instrument"] == name
    (book,) = result.books.values()
    assert book.state != "live"


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_a_doubled_message_changes_no_book(tmp_path: Path, case: Any) -> None:
    result, journal, client = await faulty(tmp_path, case, "duplicate,nth=9")
    assert faults(journal) == ["duplicate"]
    assert len(set(client.texts)) == len(client.texts) - 1
    assert not result.of("status")
    (book,) = result.books.values()
    assert book.state == "live"


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_two_swapped_messages_are_noticed(tmp_path: Path, case: Any) -> None:
    result, journal, _ = await faulty(tmp_path, case, "reorder,nth=9")
    assert faults(journal) == ["reorder"]
    assert result.of("status")
    (book,) = result.books.values()
    assert book.state != "live"


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_an_altered_message_is_valid_and_differs(tmp_path: Path, case: Any) -> None:
    _, journal, client = await faulty(tmp_path, case, "alter,nth=9")
    assert faults(journal) == ["alter"]
    assert all(json.loads(text) for text in client.texts)


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_two_lines_carry_the_same_and_one_of_them_may_lose(tmp_path: Path, case: Any) -> None:
    venue, path, _, stream, request = case
    options = {"venues": venue, "tls": False, "seed": 9, "rate": 1500}
    fault = f"drop,prob=0.3,redundant=1,stream={stream}"
    with start_sim(tmp_path, fault=[fault], **options) as sim:
        async with tap(sim, venue, path, "a") as one, tap(sim, venue, path, "b") as two:
            await ask(one, request)
            await ask(two, request)
            await asyncio.gather(one.read_for(1.5), two.read_for(1.5))
            journal = await finish(sim, one, two)
    rows = [r for r in journal if r.get("stream") == stream and not r.get("greeting")]
    by_id: dict[int, list[Any]] = {}
    for row in rows:
        by_id.setdefault(row["id"], []).append(row)
    doubled = [copies for copies in by_id.values() if len(copies) == 2]
    assert len(doubled) > 5
    lost = [[copy["fault"] == "drop" for copy in copies] for copies in doubled]
    assert any(any(copies) for copies in lost)
    assert not any(all(copies) for copies in lost)
    for copies in doubled:
        first, second = ([_plain(event) for event in copy["events"]] for copy in copies)
        assert first == second


def _plain(event: dict[str, Any]) -> dict[str, Any]:
    """Without the number that is the connection's own."""
    if event.get("numbering") == "connection":
        return {key: value for key, value in event.items() if key != "sequence"}
    return event
