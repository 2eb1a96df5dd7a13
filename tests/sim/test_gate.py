"""Gate's protocol v4, spot and futures, as a client meets it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feedd.sim.testing import SimHandle, start_sim
from tests.sim.client import Client
from tests.sim.rig import empty, events_of, final_sides, opened, parsed, put, run

SPOT, FUTURES = "gate", "gate_futures"
PATHS = {SPOT: "/ws/v4/", FUTURES: "/v4/ws/usdt"}
PREFIX = {SPOT: "spot", FUTURES: "futures"}
REST = {
    SPOT: "/gate/api/v4/spot/order_book?currency_pair=",
    FUTURES: "/gate_futures/api/v4/futures/usdt/order_book?contract=",
}


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[SimHandle]:
    with start_sim(tmp_path, rate=2500, seed=3, venues=f"{SPOT},{FUTURES}") as handle:
        yield handle


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[SimHandle]:
    """Few changes in an interval, so that some have none within fifty levels."""
    with start_sim(tmp_path, rate=700, seed=3, venues=f"{SPOT},{FUTURES}") as handle:
        yield handle


def own_symbols(sim: SimHandle, venue: str) -> list[str]:
    """Instruments of the socket for contracts that settle in USDT."""
    return [symbol for symbol in sim.instruments[venue] if symbol.endswith("_USDT")]


def request(channel: str, *payload: str, event: str = "subscribe") -> dict[str, Any]:
    return {"time": 1, "channel": channel, "event": event, "payload": list(payload)}


async def ask(client: Client, channel: str, *payload: str, event: str = "subscribe") -> Any:
    """Send a request and wait for its ack."""
    await client.send(request(channel, *payload, event=event))
    return await client.until(lambda m: m["event"] == event and m["payload"] == list(payload))


def updates(client: Client, channel: str) -> list[dict[str, Any]]:
    return [
        m["result"]
        for m in parsed(client)
        if m.get("channel") == channel and m.get("event") in ("update", "all")
    ]


@pytest.mark.parametrize("venue", [SPOT, FUTURES])
@pytest.mark.parametrize("depth", [50, 400])
async def test_the_book_with_snapshot_keeps_its_window(
    slow: SimHandle, venue: str, depth: int
) -> None:
    sim = slow
    symbols, channel = own_symbols(sim, venue), f"{PREFIX[venue]}.obu"
    async with opened(sim, venue, PATHS[venue]) as client, opened(sim, venue, PATHS[venue]) as two:
        await ask(client, channel, *[f"ob.{symbol}.{depth}" for symbol in symbols])
        await asyncio.sleep(0.2)
        await ask(two, channel, f"ob.{symbols[0]}.{depth}")
        journal, finals = await run(sim, client, two)
    books = {f"ob.{symbol}.{depth}": empty() for symbol in symbols}
    last: dict[str, int] = {}
    bare = 0
    for result in updates(client, channel):
        name = result["s"]
        if result.get("full"):
            assert name not in last
            assert "U" not in result
        else:
            assert result["U"] == last[name] + 1 <= result["u"]
            bare += "b" not in result and "a" not in result
        last[name] = result["u"]
        put(books[name], "bids", result.get("b", []))
        put(books[name], "asks", result.get("a", []))
    for symbol in symbols:
        row = finals[f"{venue}:{symbol}"]
        book = books[f"ob.{symbol}.{depth}"]
        assert book == final_sides(row)
        assert len(book["bids"]) <= depth
        assert last[f"ob.{symbol}.{depth}"] == row["sequence"]
    # Changes behind the fifty levels move the id alone.
    assert bare > 0 or depth > 50
    assert len(updates(two, channel)) > 5
    assert [r for r in updates(two, channel) if "full" not in r] == [
        r for r in updates(client, channel) if r["s"] == f"ob.{symbols[0]}.{depth}"
    ][1 - len(updates(two, channel)) :]
    events = events_of(journal, f"{channel}:ob.{symbols[0]}.{depth}", conn=1)
    replayed = empty()
    for event in events:
        put(replayed, "bids", event["bids"])
        put(replayed, "asks", event["asks"])
    assert replayed == books[f"ob.{symbols[0]}.{depth}"]


@pytest.mark.parametrize(
    ("venue", "parameters", "depth"),
    [
        (SPOT, ("20ms",), None),
        (SPOT, ("100ms",), None),
        (FUTURES, ("20ms", "20"), 20),
        (FUTURES, ("100ms", "50"), 50),
        (FUTURES, ("100ms", "100"), 100),
    ],
)
async def test_updates_join_the_rest_snapshot(
    sim: SimHandle, venue: str, parameters: tuple[str, ...], depth: int | None
) -> None:
    symbol, channel = sim.instruments[venue][0], f"{PREFIX[venue]}.order_book_update"
    # deeper than the channel: a level that is beyond it only in the middle of an update is told of
    # by nobody
    limit = 2 * depth if depth else 1000
    async with opened(sim, venue, PATHS[venue]) as client:
        await ask(client, channel, symbol, *parameters)
        await asyncio.sleep(0.25)
        url = f"{REST[venue]}{symbol}&limit={limit}&with_id=true"
        status, body = await asyncio.to_thread(sim.get, url)
        assert status == 200
        journal, finals = await run(sim, client)
    book, ident, joined = empty(), body["id"], False
    for side in ("bids", "asks"):
        put(book, side, map(pair, body[side]))
    for result in updates(client, channel):
        assert result["s"] == symbol
        if result["u"] <= ident:
            continue
        assert result["U"] <= ident + 1 if not joined else result["U"] == ident + 1
        joined, ident = True, result["u"]
        put(book, "bids", map(pair, result["b"]))
        put(book, "asks", map(pair, result["a"]))
        # Beyond the channel's depth nothing is told: what fell out must not stay.
        book = {
            side: dict(sorted(levels.items(), reverse=side == "bids")[:depth])
            for side, levels in book.items()
        }
    assert joined
    row = finals[f"{venue}:{symbol}"]
    assert ident == row["sequence"]
    assert book == final_sides(row, depth)
    (rest,) = [r for r in journal if "rest" in r]
    assert rest["events"][0]["sequence"] == body["id"]


def pair(level: Any) -> tuple[str, Any]:
    return (level["p"], level["s"]) if isinstance(level, dict) else tuple(level)


async def test_spot_messages_mean_what_the_journal_says(sim: SimHandle) -> None:
    async with opened(sim, SPOT, PATHS[SPOT]) as client:
        for channel in ("spot.trades", "spot.book_ticker", "spot.tickers"):
            await ask(client, channel, "BTC_USDT", "ETH_USDT")
        await ask(client, "spot.order_book", "BTC_USDT", "10", "100ms")
        journal, finals = await run(sim, client, seconds=1.3)
    trades = [t for t in updates(client, "spot.trades") if t["currency_pair"] == "BTC_USDT"]
    events = events_of(journal, "spot.trades:BTC_USDT")
    assert len(trades) == len(events) > 10
    assert [t["id"] for t in trades] == list(range(trades[0]["id"], trades[0]["id"] + len(trades)))
    for trade, event in zip(trades, events, strict=True):
        assert (event["price"], event["size"]) == (trade["price"], trade["amount"])
        assert (event["side"], event["trade_id"]) == (trade["side"], str(trade["id"]))
        whole, part = trade["create_time_ms"].split(".")
        assert event["ts_event"] == int(whole) * 10**6 + int(part) * 100
    quotes = [q for q in updates(client, "spot.book_ticker") if q["s"] == "BTC_USDT"]
    for quote, event in zip(quotes, events_of(journal, "spot.book_ticker:BTC_USDT"), strict=True):
        assert (event["bid_price"], event["bid_size"]) == (quote["b"], quote["B"])
        assert (event["ask_price"], event["ask_size"]) == (quote["a"], quote["A"])
        assert (event["sequence"], event["ts_event"]) == (quote["u"], quote["t"] * 10**6)
    last = updates(client, "spot.order_book")[-1]
    assert last["bids"] == finals["gate:BTC_USDT"]["bids"][:10]
    assert updates(client, "spot.tickers")


async def test_futures_messages_mean_what_the_journal_says(sim: SimHandle) -> None:
    channels = ("trades", "book_ticker", "tickers", "public_liquidates")
    async with opened(sim, FUTURES, PATHS[FUTURES]) as client:
        for channel in channels:
            await ask(client, f"futures.{channel}", "BTC_USDT")
        journal, _ = await run(sim, client, seconds=2.5)
    rows = {
        channel: [
            row
            for result in updates(client, f"futures.{channel}")
            for row in (result if isinstance(result, list) else [result])
        ]
        for channel in channels
    }
    events = {channel: events_of(journal, f"futures.{channel}:BTC_USDT") for channel in channels}
    for channel in channels:
        assert len(rows[channel]) == len(events[channel]) > 0
    for row, event in zip(rows["trades"], events["trades"], strict=True):
        assert (event["price"], event["size"]) == (row["price"], str(abs(row["size"])))
        assert event["side"] == ("buy" if row["size"] > 0 else "sell")
        assert event["ts_event"] == row["create_time_ms"] * 10**6
    for row, event in zip(rows["public_liquidates"], events["public_liquidates"], strict=True):
        assert event["kind"] == "liquidation"
        assert event["side"] == ("buy" if row["size"] > 0 else "sell")
    for row, event in zip(rows["tickers"], events["tickers"], strict=True):
        assert (event["mark"], event["index"]) == (row["mark_price"], row["index_price"])
        assert (event["funding_rate"], event["open_interest"]) == (
            row["funding_rate"],
            row["total_size"],
        )
    for row, event in zip(rows["book_ticker"], events["book_ticker"], strict=True):
        assert (event["bid_price"], event["bid_size"]) == (row["b"], str(row["B"]))


async def test_sizes_are_text_for_those_who_ask(sim: SimHandle) -> None:
    headers = {"X-Gate-Size-Decimal": "1"}
    path = "/v4/ws/btc"
    async with (
        opened(sim, FUTURES, path, headers=headers) as asked,
        opened(sim, FUTURES, path) as plain,
    ):
        for client in (asked, plain):
            for channel in ("trades", "book_ticker"):
                await ask(client, f"futures.{channel}", "BTC_USD")
            await ask(client, "futures.order_book_update", "BTC_USD", "100ms", "50")
        await run(sim, asked, plain)
    for client, kind in ((asked, str), (plain, int)):
        sizes = [row["size"] for rows in updates(client, "futures.trades") for row in rows]
        sizes += [row["B"] for row in updates(client, "futures.book_ticker")]
        for row in updates(client, "futures.order_book_update"):
            sizes += [level["s"] for level in row["b"] + row["a"]]
        assert len(sizes) > 50
        assert {type(size) for size in sizes} == {kind}


async def test_acks_errors_silence_and_pongs(sim: SimHandle) -> None:
    async with opened(sim, FUTURES, PATHS[FUTURES]) as client:
        await client.send({"time": 1, "channel": "futures.ping"})
        assert (await client.receive())["channel"] == "futures.pong"
        ack = await ask(client, "futures.obu", "ob.NOPE_USDT.50", "ob.BTC_USDT.7")
        assert ack["result"] == {"status": "success"}
        ack = await ask(client, "futures.trades", "BTC_USD")
        assert ack["result"] == {"status": "success"}
        await ask(client, "futures.obu", "ob.BTC_USD.50")
        assert not await client.drain(0.4)
        again = await ask(client, "futures.obu", "ob.BTC_USDT.7")
        assert again["error"] == {"code": 2, "message": "Alert sub ob.BTC_USDT.7"}
        for channel, payload, words in (
            ("futures.trades", ["NOPE_USDT"], "unknown contract NOPE_USDT"),
            ("futures.order_book_update", ["BTC_USDT", "77ms"], "invalid argument 77ms"),
            ("futures.nothing", ["BTC_USDT"], "unknown channel futures.nothing"),
        ):
            ack = await ask(client, channel, *payload)
            assert ack["error"]["message"] == words
            assert ack["result"] == {"status": "fail"}
        await client.send("{")
        assert (await client.receive())["error"]["code"] == 1
    async with opened(sim, SPOT, PATHS[SPOT]) as client:
        refused = await ask(client, "spot.trades", "NOPE_USDT")
        assert refused["error"]["message"] == "unknown currency pair NOPE_USDT"
        for symbol in sim.instruments[SPOT]:
            await ask(client, "spot.obu", f"ob.{symbol}.50")
        *_, early = [m for m in parsed(client) if m["event"] == "subscribe"]
        at = parsed(client).index(early)
        name = early["payload"][0]
        before = [m for m in parsed(client)[:at] if m["event"] == "update"]
        assert any(m["result"]["s"] == name and m["result"]["full"] for m in before)
        await ask(client, "spot.obu", "ob.BTC_USDT.50", event="unsubscribe")
        seen = len(client.frames)
        await asyncio.sleep(0.3)
        assert await client.receive()
        assert not any("ob.BTC_USDT.50" in frame for frame in client.frames[seen:])


async def test_an_upgrade_is_announced_on_demand(sim: SimHandle) -> None:
    async with opened(sim, FUTURES, PATHS[FUTURES]) as client:
        wanted = {"event": "restart", "venue": FUTURES}
        await asyncio.to_thread(sim.control, "event", wanted)
        notice = await client.receive()
        assert (notice["channel"], notice["result"]["type"]) == ("futures.system", "upgrade")


async def test_only_an_idle_socket_without_subscriptions_is_closed() -> None:
    with start_sim(rate=100, venues=SPOT, idle_s=0.6) as sim:
        path = PATHS[SPOT]
        async with opened(sim, SPOT, path) as idle, opened(sim, SPOT, path) as listening:
            await ask(listening, "spot.obu", "ob.NOPE_USDT.50")
            assert await idle.receive_text(3) is None
            with pytest.raises(TimeoutError):
                await listening.receive_text(0.5)


def test_reference_data(sim: SimHandle) -> None:
    status, pairs = sim.get("/gate/api/v4/spot/currency_pairs")
    assert status == 200
    assert [info["id"] for info in pairs] == sim.instruments[SPOT]
    assert pairs[0]["trade_status"] == "tradable"
    _, contracts = sim.get("/gate_futures/api/v4/futures/usdt/contracts")
    assert [info["name"] for info in contracts] == own_symbols(sim, FUTURES)
    _, inverse = sim.get("/gate_futures/api/v4/futures/btc/contracts")
    assert [(info["name"], info["quanto_multiplier"]) for info in inverse] == [("BTC_USD", "0")]
    assert sim.get("/gate_futures/api/v4/delivery/usdt/contracts") == (200, [])
    assert contracts[0]["quanto_multiplier"] == "0.0001"
    status, error = sim.get(f"{REST[SPOT]}NOPE_USDT")
    assert (status, error["label"]) == (400, "INVALID_CURRENCY_PAIR")
    assert sim.get(f"{REST[FUTURES]}BTC_USDT&limit=301")[0] == 400
    _, body = sim.get(f"{REST[FUTURES]}BTC_USDT&limit=5")
    assert "id" not in body
