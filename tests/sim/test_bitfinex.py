"""Bitfinex's WebSocket v2 as a client meets it."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from feedd.sim.market_bitfinex import js_number, signed_crc32
from feedd.sim.testing import SimHandle, start_sim
from tests.sim.client import Client
from tests.sim.rig import Sides, empty, events_of, final_sides, opened, parsed, run

VENUE = "bitfinex"
PATH = "/ws/2"
SEQ_ALL, OB_CHECKSUM, TIMESTAMP = 65_536, 131_072, 32_768


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[SimHandle]:
    with start_sim(tmp_path, rate=1200, seed=3, venues=VENUE) as handle:
        yield handle


async def subscribe(client: Client, channel: str, **more: Any) -> int:
    """Subscribe and return the channel's number on this connection."""
    await client.send({"event": "subscribe", "channel": channel, **more})

    def mine(message: Any) -> bool:
        wanted = {"event": "subscribed", "channel": channel, **more}
        return isinstance(message, dict) and wanted.items() <= message.items()

    return int((await client.until(mine))["chanId"])


async def conf(client: Client, flags: int) -> None:
    await client.send({"event": "conf", "flags": flags})
    answer = await client.until(lambda m: isinstance(m, dict) and m["event"] == "conf")
    assert answer == {"event": "conf", "status": "OK", "flags": flags}


def arrays(client: Client) -> list[list[Any]]:
    return [m for m in parsed(client) if isinstance(m, list)]


def feed(book: Sides, row: list[Any]) -> None:
    price, count, amount = row
    side = "bids" if amount > 0 else "asks"
    if count:
        book[side][price] = abs(amount)
    else:
        del book[side][price]


def js(value: float) -> str:
    """What ``String(value)`` gives in JavaScript, for values of this size."""
    text = repr(value)
    if abs(value) >= 1e-6 or not value:
        plain = format(Decimal(text), "f")
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def checksum(book: Sides) -> int:
    bids = sorted(book["bids"].items(), reverse=True)[:25]
    asks = sorted(book["asks"].items())[:25]
    parts = []
    for bid, ask in zip_longest(bids, asks):
        if bid is not None:
            parts += [js(bid[0]), js(bid[1])]
        if ask is not None:
            parts += [js(ask[0]), js(-ask[1])]
    value = zlib.crc32(":".join(parts).encode())
    return value - 2**32 if value >= 2**31 else value


@pytest.mark.parametrize(("freq", "length"), [("F0", "25"), ("F0", "250"), ("F1", "100")])
async def test_books_keep_their_length_and_their_checksum(
    sim: SimHandle, freq: str, length: str
) -> None:
    symbols = sim.instruments[VENUE]
    books: dict[int, Sides] = {}
    names: dict[int, str] = {}
    async with opened(sim, VENUE, PATH) as client:
        await conf(client, SEQ_ALL | OB_CHECKSUM)
        for symbol in symbols:
            ident = await subscribe(client, "book", symbol=symbol, prec="P0", freq=freq, len=length)
            names[ident] = symbol
        _, finals = await run(sim, client, seconds=3.0)
    checked = 0
    frames = arrays(client)
    assert [frame[-1] for frame in frames] == list(range(1, len(frames) + 1))
    for ident, payload, *rest in frames:
        if payload == "cs":
            assert rest[0] == checksum(books[ident])
            checked += 1
        elif ident not in books:
            books[ident] = empty()
            for row in payload:
                feed(books[ident], row)
        else:
            feed(books[ident], payload)
    assert checked >= len(symbols)
    for ident, symbol in names.items():
        row = finals[f"{VENUE}:{symbol}"]
        assert row["sequence"] is None
        assert books[ident] == final_sides(row)
        assert len(row["bids"]) <= int(length)
    amounts = [frame for frame in client.frames if frame.startswith("[") and '"cs"' not in frame]
    assert any(frame.split(",")[3].rstrip("]").endswith("00") for frame in amounts[len(symbols) :])


async def test_two_connections_differ_in_numbers_alone(sim: SimHandle) -> None:
    symbol = "tBTCUSD"
    async with opened(sim, VENUE, PATH) as first, opened(sim, VENUE, PATH) as second:
        await conf(first, SEQ_ALL)
        await conf(second, SEQ_ALL | TIMESTAMP)
        one = await subscribe(first, "book", symbol=symbol, len="100")
        await subscribe(first, "trades", symbol="tETHUSD")
        two = await subscribe(second, "book", symbol=symbol, len="100")
        journal, _ = await run(sim, first, second)
    assert one != two
    mine = [m[1] for m in arrays(first) if m[0] == one]
    other = [m[1] for m in arrays(second) if m[0] == two]
    assert len(other) > 20
    assert other[1:] == mine[-len(other) + 1 :]
    for client in (first, second):
        counted = [m[3 if isinstance(m[1], str) else 2] for m in arrays(client)]
        assert counted == list(range(1, len(counted) + 1))
    assert all(m[3] > 10**12 for m in arrays(second))
    stream = f"book:{symbol}:P0:F0:100"
    events = events_of(journal, stream, conn=2)
    assert [event["sequence"] for event in events] == [m[2] for m in arrays(second)]
    assert [event["ts_event"] for event in events] == [m[3] * 10**6 for m in arrays(second)]
    events = events_of(journal, stream, conn=1)
    assert [event["sequence"] for event in events] == [m[2] for m in arrays(first) if m[0] == one]
    assert {event["ts_event"] for event in events} == {0}


async def test_trades_are_executed_then_confirmed(sim: SimHandle) -> None:
    await asyncio.sleep(0.3)
    async with opened(sim, VENUE, PATH) as client:
        ident = await subscribe(client, "trades", symbol="tBTCUSD")
        journal, _ = await run(sim, client, seconds=1.0)
    frames = arrays(client)
    assert all(frame[0] == ident for frame in frames)
    past = frames[0][1]
    assert len(past) > 3
    assert past == sorted(past, key=lambda trade: -trade[0])
    executed = [frame[2] for frame in frames if frame[1] == "te"]
    assert [frame[2] for frame in frames if frame[1] == "tu"][-len(executed) :] == executed
    events = events_of(journal, "trades:tBTCUSD")
    assert len(events) == len(past) + len(executed)
    for (number, ms, amount, price), event in zip([*past, *executed], events, strict=True):
        assert (event["trade_id"], event["ts_event"]) == (str(number), ms * 10**6)
        assert (float(event["price"]), float(event["size"])) == (price, abs(amount))
        assert event["side"] == ("buy" if amount > 0 else "sell")
        assert (event.get("flags") == ["replay"]) == (number <= past[0][0])


async def test_ticker_status_and_liquidations() -> None:
    with start_sim(rate=4000, seed=3, venues=VENUE) as sim:
        async with opened(sim, VENUE, PATH) as client:
            ticker = await subscribe(client, "ticker", symbol="tBTCUSD")
            status = await subscribe(client, "status", key="deriv:tBTCF0:USTF0")
            closed = await subscribe(client, "status", key="liq:global")
            journal, _ = await run(sim, client, seconds=2.5)
    rows: dict[int, list[Any]] = {ticker: [], status: [], closed: []}
    for frame in arrays(client):
        rows[frame[0]].append(frame[1])
    quotes = events_of(journal, "ticker:tBTCUSD")
    assert len(rows[ticker]) == len(quotes) >= 2
    for row, event in zip(rows[ticker], quotes, strict=True):
        names = ("bid_price", "bid_size", "ask_price", "ask_size")
        assert [float(event[name]) for name in names] == row[:4]
    values = events_of(journal, "status:deriv:tBTCF0:USTF0")
    assert len(rows[status]) == len(values) >= 2
    for row, event in zip(rows[status], values, strict=True):
        assert (row[0] * 10**6, row[7] * 10**6) == (event["ts_event"], event["next_funding"])
        assert (row[3], row[14]) == (float(event["index"]), float(event["mark"]))
        assert (row[11], row[17]) == (float(event["funding_rate"]), float(event["open_interest"]))
    liquidations = [row for (row,) in rows[closed]]
    done = [row for row in liquidations if row[11] is not None]
    events = events_of(journal, "status:liq:global")
    assert len(liquidations) == 2 * len(done) == 2 * len(events) > 0
    for row, event in zip(done, events, strict=True):
        assert event["instrument"] == f"{VENUE}:{row[4]}"
        assert event["side"] == ("sell" if row[5] > 0 else "buy")
        assert float(event["size"]) == abs(row[5])


async def test_errors_have_codes_and_heartbeats_count() -> None:
    with start_sim(rate=100, seed=3, venues=VENUE, ping_s=0.3) as sim:
        async with opened(sim, VENUE, PATH) as client:
            info = await client.receive()
            assert (info["event"], info["version"], info["platform"]) == ("info", 2, {"status": 1})
            await client.send("no JSON")
            await client.send({"event": "ping", "cid": 7})
            assert (await client.receive()).items() >= {"event": "pong", "cid": 7}.items()
            await conf(client, SEQ_ALL)
            for request, code in (
                ({"channel": "book", "symbol": "tNOPE"}, 10300),
                ({"channel": "book", "symbol": "tBTCUSD", "prec": "P1"}, 10300),
                ({"channel": "book", "symbol": "tBTCUSD", "len": "26"}, 10300),
                ({"channel": "weather", "symbol": "tBTCUSD"}, 10302),
            ):
                await client.send({"event": "subscribe", **request})
                error = await client.receive()
                assert (error["event"], error["code"]) == ("error", code)
            ident = await subscribe(client, "status", key="liq:global")
            await client.send({"event": "subscribe", "channel": "status", "key": "liq:global"})
            assert (await client.until(lambda m: "code" in m))["code"] == 10301
            assert await client.receive() == [ident, "hb", 1]
            assert await client.receive() == [ident, "hb", 2]
            await client.send({"event": "unsubscribe", "chanId": 5})
            assert (await client.until(lambda m: "code" in m))["code"] == 10400
            await client.send({"event": "unsubscribe", "chanId": ident})
            gone = await client.until(lambda m: "status" in m)
            assert gone == {"event": "unsubscribed", "status": "OK", "chanId": ident}
            assert not await client.drain(0.6)


async def test_channels_are_limited_and_an_idle_socket_is_closed() -> None:
    with start_sim(rate=100, seed=3, venues=VENUE, idle_s=0.6) as sim:
        async with opened(sim, VENUE, PATH) as client:
            count: Counter[str] = Counter()
            for symbol in sim.instruments[VENUE]:
                for freq in ("F0", "F1"):
                    for length in ("1", "25", "100", "250"):
                        book = {"symbol": symbol, "prec": "P0", "freq": freq, "len": length}
                        await client.send({"event": "subscribe", "channel": "book", **book})
                        answer = await client.until(lambda m: isinstance(m, dict) and "len" in m)
                        count[f"{answer['event']} {answer.get('code')}"] += 1
            assert count == {"subscribed None": 36, "error 10305": 4}
            async with opened(sim, VENUE, PATH) as idle:
                await idle.receive()
                assert await idle.receive_text(3.0) is None
            assert not client.ws.closed


async def test_notices_on_demand() -> None:
    with start_sim(rate=100, seed=3, venues=VENUE, notice_s=0.2) as sim:
        async with opened(sim, VENUE, PATH) as client:
            await client.receive()
            for event, code in (("maintenance", 20060), ("online", 20061), ("restart", 20051)):
                await asyncio.to_thread(sim.control, "event", {"event": event})
                assert (await client.receive())["code"] == code
            assert await client.receive_text(3.0) is None
            assert client.close_code == 1001


async def test_a_dropped_frame_is_a_hole_in_the_count(sim: SimHandle) -> None:
    await asyncio.to_thread(sim.control, "fault", "drop,stream=book:tBTCUSD:*,nth=5")
    async with opened(sim, VENUE, PATH) as client:
        await conf(client, SEQ_ALL)
        await subscribe(client, "book", symbol="tBTCUSD")
        counted = [m[-1] for m in [await client.receive() for _ in range(10)]]
    assert counted == [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]


@pytest.mark.parametrize(
    ("units", "decimals", "text"),
    [(86_719, 0, "86719"), (-3_483_509, 8, "-0.03483509"), (50, 8, "5e-7"), (100, 8, "0.000001"),
     (-15, 8, "-1.5e-7"), (2_500_000_000, 8, "25"), (0, 8, "0")],
)  # fmt: skip
def test_numbers_are_written_like_javascript_does(units: int, decimals: int, text: str) -> None:
    assert js_number(units, decimals) == text
    assert js(units / 10**decimals) == text
    assert json.loads(text) == units / 10**decimals


def test_published_checksums() -> None:
    assert signed_crc32("6000:1:6100:-3:5900:2:6200:-4") == 1_756_193_398
    assert signed_crc32(":".join(["0:0.000005:0:-0.000005"] * 10)) == 190_468_240


def test_reference_data_and_books(sim: SimHandle) -> None:
    rest = f"/{VENUE}/v2"
    _, (pairs,) = sim.get(f"{rest}/conf/pub:info:pair")
    _, (futures, names) = sim.get(f"{rest}/conf/pub:info:pair:futures,pub:list:pair:futures")
    assert [f"t{pair}" for pair, _ in pairs + futures] == sim.instruments[VENUE]
    assert names == [name for name, _ in futures] == ["BTCF0:USTF0", "ETHF0:USTF0"]
    _, rows = sim.get(f"{rest}/status/deriv?keys=ALL")
    assert [row[0] for row in rows] == ["tBTCF0:USTF0", "tETHF0:USTF0"]
    _, book = sim.get(f"{rest}/book/tBTCUSD/P0?len=25")
    assert len(book) == 50
    assert book[0][0] < book[25][0]
    assert sim.get(f"{rest}/book/tNOPE/P0")[1][0] == "error"
