"""Venues that came as a data file: Crypto.com and Bitstamp, on messages in their docs' form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from feedd import venues
from feedd.capture.decode import CaptureDecoder
from feedd.venues.lint import lint

T0 = 1_760_000_000_000
"""Time of the first message, ms."""


def decoded(tmp_path: Path, name: str, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Events of the messages, one each 100 ms, and the final books."""
    path = tmp_path / "capture.jsonl"
    rows = [
        {"t": (T0 + 100 * n) * 1_000_000, "dir": "in", "conn": "1", "raw": json.dumps(message)}
        for n, message in enumerate(messages)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    decoder = CaptureDecoder(venues.load(name))
    events = [*decoder.events([path]), *decoder.final_books()]
    assert decoder.problems == []
    rendered: list[dict[str, Any]] = orjson.loads(orjson.dumps(events))  # as the command does
    return rendered


def picked(events: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    dropped = ("ts_recv", "flags")
    return [
        {key: value for key, value in event.items() if key not in dropped}
        for event in events
        if event["kind"] in kinds
    ]


@pytest.mark.parametrize("name", ["crypto_com", "bitstamp"])
def test_the_files_have_no_mistakes(name: str) -> None:
    assert lint(venues.builtin_path(name)) == []


# ---- Crypto.com ----------------------------------------------------------------------------------


def crypto(channel: str, *data: dict[str, Any], symbol: str = "AAAUSD-PERP") -> dict[str, Any]:
    base = channel.partition(".")[0]
    result = {
        "instrument_name": symbol,
        "subscription": f"{base}.{symbol}" + (".50" if base == "book" else ""),
        "channel": channel,
        "data": list(data),
    }
    return {"id": -1, "method": "subscribe", "code": 0, "result": result}


def snapshot(u: int, bids: list[list[str]], asks: list[list[str]]) -> dict[str, Any]:
    return crypto("book", {"asks": asks, "bids": bids, "tt": T0 - 40, "t": T0, "u": u})


def change(
    pu: int, u: int, bids: list[list[str]] | None = None, asks: list[list[str]] | None = None
) -> dict[str, Any]:
    update = {"asks": asks or [], "bids": bids or []}
    return crypto("book.update", {"update": update, "tt": T0 - 10, "t": T0, "u": u, "pu": pu})


BOOK = snapshot(100, [["99.5", "1.5", "2"], ["99.0", "2", "1"]], [["100.5", "0.25", "1"]])


def test_crypto_com_book(tmp_path: Path) -> None:
    events = decoded(
        tmp_path,
        "crypto_com",
        [
            {"id": 1, "method": "subscribe", "code": 0},
            BOOK,
            change(100, 101, [["99.5", "0", "0"]], [["100.0", "0.75", "3"]]),
            change(101, 101),
            change(101, 105),
            change(105, 106, [["99.0", "2.5", "2"]]),
            {"id": 1587523073344, "method": "public/heartbeat", "code": 0},
        ],
    )
    name = "crypto_com:AAAUSD-PERP"
    tt = (T0 - 10) * 1_000_000
    assert picked(events, "book")[1:] == [
        {"kind": "book", "instrument": name, "ts_event": tt, "sequence": 101, "action": "delta",
         "bids": [[99.5, 0.0]], "asks": [[100.0, 0.75]]},
        {"kind": "book", "instrument": name, "ts_event": tt, "sequence": 106, "action": "delta",
         "bids": [[99.0, 2.5]], "asks": []},
    ]  # fmt: skip
    assert events[-1] == {
        "kind": "final_book", "instrument": name, "state": "live", "sequence": 106,
        "bids": [[99.0, 2.5]], "asks": [[100.0, 0.75], [100.5, 0.25]],
    }  # fmt: skip
    assert [event["event"] for event in events if event["kind"] == "status"] == ["live"]


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_crypto_com_lost_messages_are_one_gap_that_a_snapshot_heals(
    tmp_path: Path, lost: int
) -> None:
    chain = [change(100 + i, 101 + i, [["98.0", str(i + 1), "1"]]) for i in range(5)]
    kept = chain[:lost] + chain[lost + 1 :]
    events = decoded(tmp_path, "crypto_com", [BOOK, *kept])
    gaps = [event for event in events if event.get("event") == "gap"]
    assert len(gaps) == 1
    assert (gaps[0]["expected"], gaps[0]["got"]) == (100 + lost, 101 + lost)
    assert events[-1]["state"] == "gap"
    again = snapshot(200, [["98.5", "1", "1"]], [["101.0", "1", "1"]])
    events = decoded(tmp_path, "crypto_com", [BOOK, *kept, again, change(200, 201)])
    assert events[-1] == {
        "kind": "final_book", "instrument": "crypto_com:AAAUSD-PERP", "state": "live",
        "sequence": 201, "bids": [[98.5, 1.0]], "asks": [[101.0, 1.0]],
    }  # fmt: skip


def test_crypto_com_trades_and_tickers(tmp_path: Path) -> None:
    trade = {"d": "2030407068", "t": T0, "p": "99.75", "q": "0.0001", "s": "SELL", "i": "AAA_USD"}
    ticker = {
        "h": "110", "l": None, "a": "99.75", "c": None, "b": "99.5", "bs": "1.5", "k": None,
        "ks": None, "i": "AAA_USD", "v": "1", "vv": "99", "oi": "12.5", "t": T0,
    }  # fmt: skip
    events = decoded(
        tmp_path,
        "crypto_com",
        [
            crypto("trade", trade, {**trade, "d": "2030407069", "s": "BUY"}, symbol="AAA_USD"),
            crypto("trade", trade, symbol="AAA_USD"),
            crypto("ticker", ticker, symbol="AAA_USD"),
        ],
    )
    base = {"instrument": "crypto_com:AAA_USD", "ts_event": T0 * 1_000_000, "sequence": None}
    shared = {"kind": "trade", **base, "price": 99.75, "size": 0.0001}
    assert picked(events, "trade", "quote", "deriv") == [
        {**shared, "side": "sell", "trade_id": "2030407068"},
        {**shared, "side": "buy", "trade_id": "2030407069"},
        {"kind": "quote", **base, "bid_price": 99.5, "bid_size": 1.5, "ask_price": None,
         "ask_size": None},
        {"kind": "deriv", **base, "last": 99.75, "open_interest": 12.5},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("channel", "field"),
    [("mark", "mark"), ("index", "index"), ("funding", "funding_rate"),
     ("estimatedfunding", "predicted_funding"), ("settlement", "settlement")],
)  # fmt: skip
def test_crypto_com_valuations(tmp_path: Path, channel: str, field: str) -> None:
    (event,) = decoded(tmp_path, "crypto_com", [crypto(channel, {"v": "-0.00144", "t": T0})])
    assert event["kind"] == "deriv"
    assert event[field] == -0.00144
    assert event["ts_event"] == T0 * 1_000_000


# ---- Bitstamp ------------------------------------------------------------------------------------


def test_bitstamp(tmp_path: Path) -> None:
    micro = str(T0 * 1000 + 7)
    trade = {
        "id": 212337562, "timestamp": str(T0 // 1000), "amount": 0.1, "amount_str": "0.10000000",
        "price": 99.5, "price_str": "99.50", "type": 0, "microtimestamp": micro,
        "buy_order_id": 1, "sell_order_id": 2,
    }  # fmt: skip
    book = {
        "timestamp": str(T0 // 1000), "microtimestamp": micro,
        "bids": [["99.50", "1.00000000"], ["99.00", "2"]], "asks": [["100.00", "0.5"]],
    }  # fmt: skip
    later = {**book, "microtimestamp": str(T0 * 1000 + 9), "bids": [["99.25", "3"]]}
    head = {"channel": "order_book_aaausd-perp", "event": "data"}
    events = decoded(
        tmp_path,
        "bitstamp",
        [
            {"event": "bts:subscription_succeeded", "channel": "live_trades_aaausd", "data": {}},
            {"data": trade, "channel": "live_trades_aaausd", "event": "trade"},
            {"data": {**trade, "id": 212337563, "type": 1}, "channel": "live_trades_aaausd",
             "event": "trade"},
            {**head, "data": book},
            {**head, "data": later},
            {"event": "bts:heartbeat", "channel": "", "data": {"status": "success"}},
            {"event": "bts:request_reconnect", "channel": "", "data": ""},
        ],
    )  # fmt: skip
    first = {
        "kind": "trade", "instrument": "bitstamp:aaausd", "ts_event": (T0 * 1000 + 7) * 1000,
        "sequence": None, "price": 99.5, "size": 0.1,
    }  # fmt: skip
    assert picked(events, "trade") == [
        {**first, "side": "buy", "trade_id": "212337562"},
        {**first, "side": "sell", "trade_id": "212337563"},
    ]
    assert [event["action"] for event in events if event["kind"] == "book"] == ["snapshot"] * 2
    assert events[-1] == {
        "kind": "final_book", "instrument": "bitstamp:aaausd-perp", "state": "live",
        "sequence": T0 * 1000 + 9, "bids": [[99.25, 3.0]], "asks": [[100.0, 0.5]],
    }  # fmt: skip
    assert not [event for event in events if event.get("event") == "bad_frame"]
