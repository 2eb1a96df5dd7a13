"""Bitget's public protocol, v2 form, as a client meets it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feedd.sim.testing import SimHandle, start_sim
from tests.sim.client import Client
from tests.sim.rig import empty, events_of, final_sides, opened, parsed, put, run

SPOT, FUTURES = "bitget_spot", "bitget_futures"
PATH = "/v2/ws/public"
FAMILY = {
    "BTCUSDT": "USDT-FUTURES",
    "ETHUSDT": "USDT-FUTURES",
    "BTCPERP": "USDC-FUTURES",
    "BTCUSD": "COIN-FUTURES",
}


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[SimHandle]:
    with start_sim(tmp_path, rate=2500, seed=3, venues=f"{SPOT},{FUTURES}") as handle:
        yield handle


def arg(channel: str, symbol: str, family: str = "SPOT") -> dict[str, str]:
    return {"instType": family, "channel": channel, "instId": symbol}


async def ask(client: Client, operation: str, *args: Any) -> None:
    await client.send({"op": operation, "args": list(args)})


def data_of(client: Client, channel: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(symbol, action, row) of every data message of a channel."""
    for message in parsed(client):
        if "action" in message and message["arg"]["channel"] == channel:
            for row in message["data"]:
                yield message["arg"]["instId"], message["action"], row


async def test_books_are_chained_by_pseq_beyond_what_a_float_holds(sim: SimHandle) -> None:
    async with opened(sim, FUTURES, PATH) as client, opened(sim, FUTURES, PATH) as other:
        await ask(client, "subscribe", *[arg("books", s, f) for s, f in FAMILY.items()])
        await asyncio.sleep(0.25)
        await ask(other, "subscribe", arg("books", "BTCUSD", "COIN-FUTURES"))
        _, finals = await run(sim, client, other)
    books = {symbol: empty() for symbol in FAMILY}
    last: dict[str, int] = {}
    for symbol, action, row in data_of(client, "books"):
        if action == "snapshot":
            assert symbol not in last
            assert row["pseq"] == 0
            assert len(row["bids"]) <= 500
        else:
            assert row["pseq"] == last[symbol] < row["seq"]
        last[symbol] = row["seq"]
        put(books[symbol], "bids", row["bids"])
        put(books[symbol], "asks", row["asks"])
    for symbol in FAMILY:
        row = finals[f"{FUTURES}:{symbol}"]
        assert books[symbol] == final_sides(row)
        assert last[symbol] == row["sequence"]
    assert last["BTCUSD"] > 1 << 53
    updates = [f for f in other.frames if '"action":"update"' in f]
    assert len(updates) >= 5
    assert updates == [f for f in client.frames if '"instId":"BTCUSD"' in f][-len(updates) :]


async def test_spot_channels_say_what_the_journal_says(sim: SimHandle) -> None:
    await asyncio.sleep(0.3)
    channels = ("books1", "books5", "books15", "trade", "ticker")
    async with opened(sim, SPOT, PATH) as client:
        await ask(client, "subscribe", *[arg(channel, "BTCUSDT") for channel in channels])
        journal, finals = await run(sim, client)
    rows = {channel: list(data_of(client, channel)) for channel in channels}
    events = {channel: events_of(journal, f"{channel}:BTCUSDT") for channel in channels}
    for channel in channels:
        assert len(rows[channel]) == len(events[channel]) > 2
    for (_, _, row), event in zip(rows["books1"], events["books1"], strict=True):
        assert [[event["bid_price"], event["bid_size"]]] == row["bids"]
        assert [[event["ask_price"], event["ask_size"]]] == row["asks"]
        assert (event["sequence"], event["ts_event"]) == (row["seq"], int(row["ts"]) * 10**6)
    for channel in ("books5", "books15"):
        for (_, action, row), event in zip(rows[channel], events[channel], strict=True):
            assert (action, event["action"]) == ("snapshot", "snapshot")
            assert (event["bids"], event["asks"]) == (row["bids"], row["asks"])
            assert len(row["bids"]) == int(channel[5:])
    last = rows["books15"][-1][2]
    assert last["bids"] == finals[f"{SPOT}:BTCUSDT"]["bids"][:15]
    assert {action for _, action, _ in rows["trade"]} == {"snapshot", "update"}
    for (_, action, row), event in zip(rows["trade"], events["trade"], strict=True):
        assert (event["price"], event["size"]) == (row["price"], row["size"])
        assert (event["side"], event["trade_id"]) == (row["side"], row["tradeId"])
        assert (event.get("flags") == ["replay"]) == (action == "snapshot")
    assert "fundingRate" not in rows["ticker"][0][2]


async def test_futures_tickers_carry_mark_index_and_funding(sim: SimHandle) -> None:
    async with opened(sim, FUTURES, PATH) as client:
        await ask(client, "subscribe", arg("ticker", "BTCUSDT", "USDT-FUTURES"))
        journal, _ = await run(sim, client)
    rows = [row for _, _, row in data_of(client, "ticker")]
    events = events_of(journal, "ticker:BTCUSDT")
    assert len(rows) == len(events) >= 4
    for row, event in zip(rows, events, strict=True):
        assert (event["mark"], event["index"]) == (row["markPrice"], row["indexPrice"])
        assert (event["last"], event["open_interest"]) == (row["lastPr"], row["holdingAmount"])
        assert event["funding_rate"] == row["fundingRate"]
        assert event["next_funding"] == int(row["nextFundingTime"]) * 10**6


async def test_one_ack_per_argument_errors_and_silent_families(sim: SimHandle) -> None:
    async with opened(sim, SPOT, PATH) as client:
        await client.send("ping")
        assert await client.receive_text() == "pong"
        wrong_family = arg("trade", "BTCUSDT", "USDT-FUTURES")
        await ask(client, "subscribe", wrong_family, arg("trade", "NOPEUSDT"))
        assert await client.receive() == {"event": "subscribe", "arg": wrong_family}
        error = await client.receive()
        assert (error["event"], error["code"]) == ("error", 30001)
        assert error["arg"]["instId"] == "NOPEUSDT"
        assert error["msg"].endswith("doesn't exist")
        assert not await client.drain(0.5)
        for bad in ("{", {"op": "subscribe"}, {"op": "subscribe", "args": [{"x": 1}]}):
            await client.send(bad)
            assert (await client.receive())["code"] == 30016
        await asyncio.sleep(1.0)
        await ask(client, "subscribe", *[arg("books", "BTCUSDT")] * 80)
        assert (await client.receive())["code"] == 30016
        await ask(client, "subscribe", arg("books", "BTCUSDT"))
        await client.until(lambda m: m.get("action") == "update")
        await ask(client, "subscribe", arg("books", "BTCUSDT"))
        await client.until(lambda m: m.get("action") == "snapshot")
        await ask(client, "unsubscribe", arg("books", "BTCUSDT"))
        await client.until(lambda m: m.get("event") == "unsubscribe")
        assert not await client.drain(0.4)


async def test_limits_end_the_connection_or_refuse() -> None:
    with start_sim(rate=100, venues=SPOT) as sim:
        async with opened(sim, SPOT, PATH) as client:
            for _ in range(14):
                await client.send("ping")
            assert [await client.receive_text() for _ in range(11)] == ["pong"] * 10 + [None]
        async with opened(sim, SPOT, PATH) as client:
            for _ in range(5):
                await ask(client, "subscribe", *[arg("trade", "BTCUSDT")] * 50)
            for _ in range(240):
                await client.until(lambda m: m.get("event") == "subscribe")
            refused = await client.until(lambda m: m.get("event") == "error")
            assert refused["code"] == 30006


async def test_only_a_text_ping_keeps_the_connection() -> None:
    with start_sim(rate=100, venues=SPOT, idle_s=1.2) as sim:
        async with opened(sim, SPOT, PATH) as silent, opened(sim, SPOT, PATH) as lively:
            await ask(silent, "subscribe", arg("books", "BTCUSDT"))
            for _ in range(10):
                await lively.send("ping")
                if not silent.ws.closed:
                    await silent.drain(0.05)
                await asyncio.sleep(0.15)
            await silent.drain(0.2)
            assert silent.ws.closed
            assert [await lively.receive_text() for _ in range(10)] == ["pong"] * 10


def test_reference_data_and_order_books(sim: SimHandle) -> None:
    status, body = sim.get(f"/{SPOT}/api/v2/spot/public/symbols")
    assert (status, body["code"]) == (200, "00000")
    assert [info["symbol"] for info in body["data"]] == sim.instruments[SPOT]
    assert body["data"][0]["pricePrecision"] == "2"
    contracts = f"/{FUTURES}/api/v2/mix/market/contracts"
    for family in ("USDT-FUTURES", "usdc-futures", "COIN-FUTURES"):
        _, body = sim.get(f"{contracts}?productType={family}")
        names = [info["symbol"] for info in body["data"]]
        assert names == [s for s, f in FAMILY.items() if f == family.upper()]
        assert {info["symbolType"] for info in body["data"]} == {"perpetual"}
    assert sim.get(contracts)[0] == 400
    _, body = sim.get(f"/{FUTURES}/api/v2/mix/market/merge-depth?symbol=BTCUSD&limit=5")
    assert len(body["data"]["bids"]) == 5
    assert sim.get(f"/{SPOT}/api/v2/spot/market/orderbook?symbol=NOPE")[0] == 400
    sim.control("fault", f"rest,venue={SPOT},status=429,count=1,retry_after=3")
    status, body = sim.get(f"/{SPOT}/api/v2/spot/public/symbols")
    assert (status, body["code"]) == (429, "429")
