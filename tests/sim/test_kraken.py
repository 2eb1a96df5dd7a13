"""Kraken spot v2 as a client meets it that knows only the venue's documents."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feedd.sim.market_kraken import KrakenMarket
from feedd.sim.testing import SimHandle, start_sim
from tests.sim.strangers import Tap, check, finish, kinds, tap

VENUE, PATH = "kraken", "/v2"
OPTIONS: dict[str, Any] = {"venues": VENUE, "tls": False, "seed": 3, "rate": 2500}


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[SimHandle]:
    with start_sim(tmp_path, **OPTIONS) as handle:
        yield handle


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimHandle]:
    with start_sim(tmp_path_factory.mktemp("kraken"), **{**OPTIONS, "rate": 300}) as handle:
        yield handle


async def subscribe(
    client: Tap, channel: str, *symbols: str, method: str = "subscribe", **more: Any
) -> list[Any]:
    """One answer comes per symbol, between data."""
    params = {"channel": channel, "symbol": list(symbols), **more}
    await client.send({"method": method, "params": params, "req_id": 7})
    return [await client.until(lambda m: "method" in m) for _ in symbols]


@pytest.mark.parametrize("depth", [10, 25, 100, 500, 1000])
async def test_every_channel_says_what_the_journal_says(sim: SimHandle, depth: int) -> None:
    symbols = sim.instruments[VENUE]
    async with tap(sim, VENUE, PATH) as client:
        status = await client.receive()
        assert (status["channel"], status["data"][0]["system"]) == ("status", "online")
        acks = await subscribe(client, "book", *symbols, depth=depth)
        assert [a["result"]["symbol"] for a in acks] == symbols
        assert all(a["success"] and a["req_id"] == 7 for a in acks)
        assert {a["result"]["depth"] for a in acks} == {depth}
        await subscribe(client, "trade", *symbols, snapshot=True)
        await subscribe(client, "ticker", *symbols, event_trigger="bbo")
        await client.read_for(1.0)
        journal = await finish(sim, client)
    result, events = check(VENUE, [client], journal)
    assert kinds(events) == {"book", "trade", "quote"}
    for book in result.books.values():
        assert max(len(side) for side in book.levels()) <= depth
    texts = [t for t in client.texts if t.startswith('{"channel":"book"')]
    assert '"qty":0.00000000' in "".join(texts)
    prices = [
        [level["price"] for level in row["bids"]] for t in texts for row in json.loads(t)["data"]
    ]
    assert any(len(set(side)) < len(side) for side in prices)


async def test_a_book_that_is_not_cut_fails_the_checksum(sim: SimHandle) -> None:
    """The client of this test keeps text and cuts nothing: only the depth can put it wrong."""
    async with tap(sim, VENUE, PATH) as client:
        await subscribe(client, "book", "DOGE/USD", depth=10)
        await client.read_for(1.5)
    sides: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}
    right: dict[bool, int] = {False: 0, True: 0}
    for text in client.texts:
        if not text.startswith('{"channel":"book"'):
            continue
        message = json.loads(text, parse_float=str)
        (row,) = message["data"]
        for side in ("bids", "asks"):
            if message["type"] == "snapshot":
                sides[side].clear()
            for level in row[side]:
                if float(level["qty"]):
                    sides[side][level["price"]] = level["qty"]
                else:
                    sides[side].pop(level["price"], None)
        right[checksum(sides) == row["checksum"]] += 1
    assert right[True] > 0
    assert right[False] > 0


def checksum(sides: dict[str, dict[str, str]]) -> int:
    asks = sorted(sides["asks"].items(), key=lambda level: float(level[0]))[:10]
    bids = sorted(sides["bids"].items(), key=lambda level: -float(level[0]))[:10]
    strip = [text.replace(".", "").lstrip("0") for level in asks + bids for text in level]
    return zlib.crc32("".join(strip).encode())


def test_the_checksum_is_that_of_the_documents() -> None:
    asks = [
        ("45285.2", "0.00100000"), ("45286.4", "1.54571953"), ("45286.6", "1.54571109"),
        ("45289.6", "1.54560911"), ("45290.2", "0.15890660"), ("45291.8", "1.54553491"),
        ("45294.7", "0.04454749"), ("45296.1", "0.35380000"), ("45297.5", "0.09945542"),
        ("45299.5", "0.18772827"),
    ]  # fmt: skip
    bids = [
        ("45283.5", "0.10000000"), ("45283.4", "1.54582015"), ("45282.1", "0.10000000"),
        ("45281.0", "0.10000000"), ("45280.3", "1.54592586"), ("45279.0", "0.07990000"),
        ("45277.6", "0.03310103"), ("45277.5", "0.30000000"), ("45277.3", "1.54602737"),
        ("45276.6", "0.15445238"),
    ]  # fmt: skip

    class Feed:
        def levels(self, side: int) -> list[tuple[str, str]]:
            return asks if side else bids

    class Market:
        def texts(self, levels: list[tuple[str, str]]) -> list[tuple[str, str]]:
            return levels

    assert KrakenMarket._checksum(Market(), Feed()) == 3310070434  # type: ignore[arg-type]
    assert checksum({"asks": dict(asks), "bids": dict(bids)}) == 3310070434


async def test_errors_come_per_symbol(lasting: SimHandle) -> None:
    async with tap(lasting, VENUE, PATH) as client:
        answers = await subscribe(client, "book", "FOO/USD", "BTC/USD", depth=100)
        assert answers[0]["error"] == "Currency pair not supported FOO/USD"
        assert (answers[0]["success"], answers[0]["symbol"]) == (False, "FOO/USD")
        assert answers[1]["success"] is True
        assert {"time_in", "time_out"} <= answers[0].keys()
        for wrong in (
            await subscribe(client, "book", "BTC/USD", depth=10),
            await subscribe(client, "book", "BTC/USD", depth=100),
            await subscribe(client, "book", "ETH/USD", depth=11),
            await subscribe(client, "level3", "BTC/USD"),
            await subscribe(client, "trade", "BTC/USD", method="unsubscribe"),
        ):
            assert wrong[0]["success"] is False
        await client.send("{")
        assert (await client.until(lambda m: "error" in m))["error"] == "Malformed request"
        gone = await subscribe(client, "book", "BTC/USD", depth=100, method="unsubscribe")
        assert gone[0]["success"] is True
        again = await subscribe(client, "book", "BTC/USD", depth=100)
        assert again[0]["success"] is True
        await client.until(lambda m: m.get("channel") == "book" and m["type"] == "snapshot")


async def test_heartbeat_ping_status_and_instruments(lasting: SimHandle, tmp_path: Path) -> None:
    async with tap(lasting, VENUE, PATH) as client:
        await client.send({"method": "ping", "req_id": 101})
        pong = await client.until(lambda m: m.get("method") == "pong")
        assert (pong["req_id"], pong["success"]) == (101, True)
        await client.send({"method": "subscribe", "params": {"channel": "instrument"}})
        listed = await client.until(lambda m: m.get("channel") == "instrument")
        pairs = {pair["symbol"]: pair for pair in listed["data"]["pairs"]}
        assert list(pairs) == lasting.instruments[VENUE]
        assert pairs["DOGE/USD"]["price_precision"] == 7
        await client.until(lambda m: m == {"channel": "heartbeat"}, 3)
        await asyncio.to_thread(lasting.control, "event", {"event": "maintenance", "venue": VENUE})
        status = await client.until(lambda m: m.get("channel") == "status")
        assert status["data"][0]["system"] == "maintenance"
    with start_sim(tmp_path, **OPTIONS, idle_s=0.3) as sim:
        async with tap(sim, VENUE, PATH) as client:
            await client.ended(3)


async def test_past_trades_come_when_asked_for(sim: SimHandle) -> None:
    await asyncio.sleep(0.5)
    async with tap(sim, VENUE, PATH) as client:
        await subscribe(client, "trade", "BTC/USD", snapshot=True)
        past = await client.until(lambda m: m.get("channel") == "trade")
        assert past["type"] == "snapshot"
        assert 1 <= len(past["data"]) <= 50
        ids = [row["trade_id"] for row in past["data"]]
        assert ids == sorted(set(ids))
        later = await client.until(lambda m: m.get("channel") == "trade")
        assert (later["type"], later["data"][0]["trade_id"]) == ("update", ids[-1] + 1)


def test_rest(lasting: SimHandle) -> None:
    status, body = lasting.get("/kraken/0/public/AssetPairs")
    assert (status, body["error"]) == (200, [])
    rows = {row["wsname"]: row for row in body["result"].values()}
    assert set(rows) == {"XBT/USD", "ETH/USD", "XDG/USD", "SOL/EUR"}
    assert rows["XBT/USD"]["tick_size"] == "0.1"
    _, body = lasting.get("/kraken/0/public/AssetPairs?aclass_base=tokenized_asset")
    assert body["result"] == {}
    _, body = lasting.get("/kraken/0/public/Depth?pair=XBTUSD&count=3")
    assert [len(body["result"]["XBTUSD"][side]) for side in ("asks", "bids")] == [3, 3]
    assert lasting.get("/kraken/0/public/Depth?pair=NOPE")[1]["error"]
    assert lasting.get("/kraken/0/public/SystemStatus")[1]["result"]["status"] == "online"
