"""Books joined from raw frames by each venue's rule equal the journal's final books.

The reference book of these tests is their own; it shares nothing with feedd or the simulator.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feedd.sim.testing import SimHandle, start_sim
from tests.sim.client import Book, Client, connect, deribit, final_books, sent_rows, subscribe
from tests.sim.rig import run

SECONDS = 0.6


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[SimHandle]:
    with start_sim(tmp_path, rate=3000, seed=11) as handle:
        yield handle


async def finish(sim: SimHandle, *clients: Client) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Let it run, stop it, read all clients empty; returns journal and final books."""
    return await run(sim, *clients, seconds=SECONDS)


async def test_deribit(sim: SimHandle) -> None:
    names = sim.instruments["deribit"]
    async with connect(sim, "/ws/api/v2") as client:
        channels = [f"book.{name}.100ms" for name in names]
        await client.answer(deribit("subscribe", channels=channels))
        journal, finals = await finish(sim, client)
    books = {name: Book() for name in names}
    for frame in client.frames:
        message = json.loads(frame)
        if "params" in message:
            data = message["params"]["data"]
            books[data["instrument_name"]].feed_deribit(data)
    for name, book in books.items():
        row = finals[f"deribit:{name}"]
        assert book.gaps == 0
        assert book.equals(row)
        assert book.sequence == row["sequence"]
        assert row["bids"] == sorted(row["bids"], key=lambda level: -float(level[0]))
    assert journal[0]["journal"] == 1


@pytest.mark.parametrize(
    ("name", "path", "rest"),
    [
        ("binance_usdm", "/public/stream", "/fapi/v1/depth"),
        ("binance_spot", "/stream", "/api/v3/depth"),
    ],
)
async def test_binance(sim: SimHandle, name: str, path: str, rest: str) -> None:
    symbols = sim.instruments[name]
    books = {symbol: Book() for symbol in symbols}
    async with connect(sim, path) as client:
        await client.answer(subscribe(*[f"{s.lower()}@depth@100ms" for s in symbols]))
        await asyncio.sleep(0.3)
        for symbol in symbols:
            status, body = await asyncio.to_thread(sim.get, f"{rest}?symbol={symbol}&limit=1000")
            assert status == 200
            books[symbol].replace(body["lastUpdateId"], body["bids"], body["asks"])
        journal, finals = await finish(sim, client)
    joined: set[str] = set()
    for frame in client.frames:
        data = json.loads(frame).get("data")
        if data is None:
            continue
        book = books[data["s"]]
        if name == "binance_spot":
            book.feed_spot(data)
        elif book.feed_usdm(data, data["s"] not in joined):
            joined.add(data["s"])
    for symbol, book in books.items():
        row = finals[f"{name}:{symbol}"]
        assert book.gaps == 0
        assert book.equals(row)
        assert book.sequence == row["sequence"]
    snapshots = [row for row in journal if "rest" in row]
    assert [row["events"][0]["instrument"] for row in snapshots] == [
        f"{name}:{symbol}" for symbol in symbols
    ]


async def test_book_ticker_is_the_book_at_the_same_update_id(sim: SimHandle) -> None:
    async with connect(sim, "/stream") as client:
        await client.answer(subscribe("btcusdt@depth@100ms", "btcusdt@bookTicker"))
        book = Book()
        await asyncio.sleep(0.2)
        _, body = await asyncio.to_thread(sim.get, "/api/v3/depth?symbol=BTCUSDT&limit=5000")
        book.replace(body["lastUpdateId"], body["bids"], body["asks"])
        await finish(sim, client)
    tickers: dict[int, Any] = {}
    compared = 0
    for frame in client.frames:
        message = json.loads(frame)
        if message.get("stream") == "btcusdt@bookTicker":
            tickers[message["data"]["u"]] = message["data"]
        elif "data" in message and book.feed_spot(message["data"]):
            ticker = tickers.get(book.sequence or 0)
            if ticker is not None:
                compared += 1
                bid, ask = max(book.sides["bids"]), min(book.sides["asks"])
                assert (float(ticker["b"]), float(ticker["a"])) == (bid, ask)
                assert float(ticker["B"]) == book.sides["bids"][bid]
                assert float(ticker["A"]) == book.sides["asks"][ask]
    assert compared >= 3


async def test_journal_has_every_frame_once_and_says_what_it_means(sim: SimHandle) -> None:
    streams = ["btcusdt@depth@100ms", "btcusdt@bookTicker", "ethusdt@trade", "solusdt@bookTicker"]
    channels = ["trades.BTC-PERPETUAL.100ms", "quote.ETH-PERPETUAL", "ticker.BTC-PERPETUAL.100ms"]
    option = sim.instruments["deribit"][2]
    channels.append(f"ticker.{option}.100ms")
    async with connect(sim, "/public/stream") as usdm, connect(sim, "/ws/api/v2") as der:
        await usdm.answer(subscribe(*streams))
        await der.answer(deribit("subscribe", channels=channels))
        journal, _ = await finish(sim, usdm, der)
    got = Counter(json.loads(f)["stream"] for f in usdm.frames if '"stream"' in f)
    messages = [json.loads(f) for f in der.frames if '"channel"' in f]
    got.update(m["params"]["channel"] for m in messages)
    for stream in (*streams, *channels):
        rows = sent_rows(journal, stream)
        assert len(rows) == got[stream] > 0
        assert all(row["fault"] is None for row in rows)
        ids = [row["id"] for row in rows]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        assert all(a["t"] <= b["t"] for a, b in itertools.pairwise(rows))
    acks = [row["ack"] for row in journal if "ack" in row]
    assert acks == [streams, channels]
    check_binance_meaning(usdm.frames, journal)
    check_deribit_meaning(messages, journal, option)


def check_binance_meaning(frames: list[str], journal: list[dict[str, Any]]) -> None:
    frames = [f for f in frames if '"stream"' in f]
    data = {name: [] for name in ("btcusdt@bookTicker", "ethusdt@trade", "btcusdt@depth@100ms")}
    for frame in frames:
        message = json.loads(frame)
        data.setdefault(message["stream"], []).append(message["data"])
    rows = sent_rows(journal, "btcusdt@bookTicker")
    for wire, row in zip(data["btcusdt@bookTicker"], rows, strict=True):
        assert row["events"] == [
            {
                "kind": "quote", "instrument": "binance_usdm:BTCUSDT", "bid_price": wire["b"],
                "bid_size": wire["B"], "ask_price": wire["a"], "ask_size": wire["A"],
                "sequence": wire["u"], "ts_event": wire["T"] * 10**6,
            }
        ]  # fmt: skip
    for wire, row in zip(data["ethusdt@trade"], sent_rows(journal, "ethusdt@trade"), strict=True):
        assert row["events"] == [
            {
                "kind": "trade", "instrument": "binance_usdm:ETHUSDT", "price": wire["p"],
                "size": wire["q"], "side": "sell" if wire["m"] else "buy",
                "trade_id": str(wire["t"]), "sequence": None, "ts_event": wire["T"] * 10**6,
            }
        ]  # fmt: skip
    rows = sent_rows(journal, "btcusdt@depth@100ms")
    for wire, row in zip(data["btcusdt@depth@100ms"], rows, strict=True):
        (event,) = row["events"]
        assert (event["bids"], event["asks"]) == (wire["b"], wire["a"])
        assert (event["sequence"], event["action"]) == (wire["u"], "delta")


def check_deribit_meaning(messages: list[Any], journal: list[dict[str, Any]], option: str) -> None:
    by_channel: dict[str, list[Any]] = {}
    for message in messages:
        by_channel.setdefault(message["params"]["channel"], []).append(message["params"]["data"])
    channel = "trades.BTC-PERPETUAL.100ms"
    for trades, row in zip(by_channel[channel], sent_rows(journal, channel), strict=True):
        assert len(trades) == len(row["events"])
        for wire, event in zip(trades, row["events"], strict=True):
            assert float(event["price"]) == wire["price"]
            assert float(event["size"]) == wire["amount"]
            assert (event["side"], event["trade_id"]) == (wire["direction"], wire["trade_id"])
            assert (event["sequence"], event["ts_event"]) == (
                wire["trade_seq"],
                wire["timestamp"] * 10**6,
            )
            assert ("liquidation" in event.get("flags", [])) == ("liquidation" in wire)
    channel = f"ticker.{option}.100ms"
    for wire, row in zip(by_channel[channel], sent_rows(journal, channel), strict=True):
        deriv, greeks = row["events"]
        assert (deriv["kind"], greeks["kind"]) == ("deriv", "greeks")
        assert float(deriv["mark"]) == float(greeks["mark"]) == wire["mark_price"]
        assert float(deriv["index"]) == wire["index_price"]
        assert ("last" in deriv) == (wire["last_price"] is not None)
        assert float(greeks["underlying"]) == wire["underlying_price"]
        assert float(greeks["mark_iv"]) == pytest.approx(wire["mark_iv"] / 100, rel=1e-12)
        assert ("bid_iv" in greeks) == (wire["bid_iv"] != 0)
        for name, value in wire["greeks"].items():
            assert float(greeks[name]) == value
    channel = "ticker.BTC-PERPETUAL.100ms"
    for wire, row in zip(by_channel[channel], sent_rows(journal, channel), strict=True):
        (deriv,) = row["events"]
        assert float(deriv["funding_rate"]) == wire["funding_8h"]
        assert float(deriv["settlement"]) == wire["settlement_price"]
        assert float(deriv["open_interest"]) == wire["open_interest"]


async def test_stop_keeps_serving_and_resume_goes_on_without_a_gap(sim: SimHandle) -> None:
    async with connect(sim, "/ws/api/v2") as client:
        await client.answer(deribit("subscribe", channels=["book.BTC-PERPETUAL.100ms"]))
        _journal, finals = await finish(sim, client)
        assert not await client.drain(0.3)
        status, book = await asyncio.to_thread(
            sim.get, "/api/v2/public/get_order_book?instrument_name=BTC-PERPETUAL&depth=10000"
        )
        assert status == 200
        final = finals["deribit:BTC-PERPETUAL"]
        assert [float(p) for p, _ in final["bids"]] == [p for p, _ in book["result"]["bids"]]
        before = len(client.frames)
        await asyncio.to_thread(sim.control, "resume")
        await asyncio.sleep(0.5)
        await asyncio.to_thread(sim.control, "stop")
        await client.drain()
        assert len(client.frames) > before
        reference = Book()
        for frame in client.frames[1:]:
            reference.feed_deribit(json.loads(frame)["params"]["data"])
        assert reference.gaps == 0
        assert reference.equals(final_books(sim.journal())["deribit:BTC-PERPETUAL"])
