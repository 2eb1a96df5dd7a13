"""How each venue answers, as its documents say: small scripted venues for the session's tests.

A script gets what feedd sent (decoded) and returns the messages that the venue sends back. Symbols
that start with ``BAD`` do not exist. ``None`` among the answers: the venue closes the connection.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from feedd.venues.session_schema import Session

ROOT = Path(__file__).resolve().parents[2]


def session_of(name: str) -> Session:
    """The ``[session]`` table of a venue's file."""
    path = ROOT / "feedd" / "venues" / f"{name}.toml"
    return msgspec.convert(tomllib.loads(path.read_text())["session"], Session)


@dataclass
class Script:
    """One venue: what a stream of a symbol looks like, and how requests are answered."""

    arg: Callable[[str], Any]
    answer: Callable[[Any, Script], list[Any]]
    active: set[str] = field(default_factory=set)
    ids: dict[str, int] = field(default_factory=dict)

    def clear(self) -> None:
        self.active.clear()
        self.ids.clear()


def bad(symbol: Any) -> bool:
    return "BAD" in str(symbol)


def _okx(m: Any, s: Script) -> list[Any]:
    if m == "ping":
        return ["pong"]
    out: list[Any] = []
    for arg in m["args"]:
        if bad(arg["instId"]):
            text = f"Wrong URL or channel:books,instId:{arg['instId']} doesn't exist."
            out.append({"event": "error", "code": "60018", "msg": text, "id": m["id"]})
        else:
            out.append({"id": m["id"], "event": m["op"], "arg": arg, "connId": "a4d3ae55"})
    return out


def _bitget(m: Any, s: Script) -> list[Any]:
    if m == "ping":
        return ["pong"]
    return [
        {"event": "error", "arg": arg, "code": 30001, "msg": "doesn't exist"}
        if bad(arg["instId"])
        else {"event": m["op"], "arg": arg}
        for arg in m["args"]
    ]


def _bybit(m: Any, s: Script) -> list[Any]:
    head = {"conn_id": "ce3dpomvha7dha97tvp0-2xh", "req_id": m.get("req_id", ""), "op": m["op"]}
    if m["op"] == "ping":
        return [{"success": True, "ret_msg": "pong", **head}]
    wrong = [topic for topic in m["args"] if bad(topic)]
    if wrong:
        text = f"error:handler not found,topic:{wrong[0]}"
        return [{"success": False, "ret_msg": text, **head}]
    return [{"success": True, "ret_msg": "", **head}]


def _bybit_option(m: Any, s: Script) -> list[Any]:
    if m["op"] == "ping":
        return [{"args": ["1672916271846"], "op": "pong"}]
    data = {
        "failTopics": [topic for topic in m["args"] if bad(topic)],
        "successTopics": [topic for topic in m["args"] if not bad(topic)],
    }
    return [{"success": True, "conn_id": "aa01", "data": data, "type": "COMMAND_RESP"}]


def _coinbase(m: Any, s: Script) -> list[Any]:
    products = m.get("product_ids", [])
    if any(bad(product) for product in products):
        return [{"type": "error", "message": "failure to subscribe"}]
    if m["type"] == "subscribe":
        s.active |= set(products)
    else:
        s.active -= set(products)
    return [
        {
            "channel": "subscriptions",
            "client_id": "",
            "timestamp": "2026-04-07T14:30:00.000000Z",
            "sequence_num": 0,
            "events": [{"subscriptions": {"heartbeats": [], "level2": sorted(s.active)}}],
        }
    ]


def _coinbase_exchange(m: Any, s: Script) -> list[Any]:
    products = m["product_ids"]
    if any(bad(product) for product in products):
        return [{"type": "error", "message": "Failed to subscribe", "reason": "not a product"}]
    s.active = s.active | set(products) if m["type"] == "subscribe" else s.active - set(products)
    channels = [{"name": "level2_batch", "product_ids": sorted(s.active)}]
    return [{"type": "subscriptions", "channels": channels}]


def _kraken(m: Any, s: Script) -> list[Any]:
    if m["method"] == "ping":
        return [{"method": "pong", "req_id": m["req_id"], "success": True}]
    out: list[Any] = []
    for symbol in m["params"]["symbol"]:
        head = {"method": m["method"], "req_id": m["req_id"], "time_in": "…", "time_out": "…"}
        if bad(symbol):
            text = f"Currency pair not supported {symbol}"
            out.append({"error": text, "success": False, "symbol": symbol, **head})
        else:
            result = {**m["params"], "snapshot": True, "symbol": symbol}
            out.append({"result": result, "success": True, **head})
    return out


def _kraken_futures(m: Any, s: Script) -> list[Any]:
    if m["feed"] == "heartbeat":
        return [{"event": "subscribed", "feed": "heartbeat"}]
    if any(bad(product) for product in m["product_ids"]):
        return [{"event": "error", "message": "Invalid product id"}]
    return [
        {"event": m["event"] + "d", "feed": m["feed"], "product_ids": [product]}
        for product in m["product_ids"]
    ]


def _gate(m: Any, s: Script) -> list[Any]:
    if m["channel"].endswith(".ping"):
        return [{"time": m["time"], "channel": m["channel"][:-4] + "pong", "event": ""}]
    head = {"time": m["time"], "time_ms": m["time"] * 1000, "conn_id": "c", "trace_id": "t"}
    head |= {"channel": m["channel"], "event": m["event"], "payload": m["payload"]}
    wrong = [item for item in m["payload"] if bad(item)]
    if wrong:
        error = {"code": 2, "message": f"unknown currency pair {wrong[0]}"}
        return [{**head, "error": error, "result": {"status": "fail"}}]
    return [{**head, "error": None, "result": {"status": "success"}}]


def _hyperliquid(m: Any, s: Script) -> list[Any]:
    if m["method"] == "ping":
        return [{"channel": "pong"}]
    stream = m["subscription"]
    if bad(stream["coin"]):
        return [None]
    if m["method"] == "subscribe" and stream["coin"] in s.active:
        return [{"channel": "error", "data": f"Already subscribed: {stream}"}]
    if m["method"] == "subscribe":
        s.active.add(stream["coin"])
    else:
        s.active.discard(stream["coin"])
    full = {**stream, "nSigFigs": None, "mantissa": None}
    data = {"method": m["method"], "subscription": full}
    return [{"channel": "subscriptionResponse", "data": data}]


def _bitmex(m: Any, s: Script) -> list[Any]:
    if m == "ping":
        return ["pong"]
    wrong = [topic for topic in m["args"] if bad(topic)]
    if wrong:
        text = f"Unknown table: {wrong[0]}"
        return [{"status": 400, "error": text, "meta": {}, "request": m}]
    return [{"success": True, m["op"]: topic, "request": m} for topic in m["args"]]


def _bitfinex(m: Any, s: Script) -> list[Any]:
    if m["event"] == "ping":
        return [{"event": "pong", "ts": 1, "cid": m["cid"]}]
    if m["event"] == "conf":
        return [{"event": "conf", "status": "OK", "flags": m["flags"]}]
    if m["event"] == "unsubscribe":
        return [{"event": "unsubscribed", "status": "OK", "chanId": m["chanId"]}]
    rest = {key: value for key, value in m.items() if key != "event"}
    if bad(m["symbol"]):
        return [{**rest, "event": "error", "msg": "symbol: invalid", "code": 10300}]
    s.ids[m["symbol"]] = 1000 + len(s.ids)
    return [{"event": "subscribed", "chanId": s.ids[m["symbol"]], **rest, "pair": m["symbol"][1:]}]


def _binance(m: Any, s: Script) -> list[Any]:
    if any(bad(topic) for topic in m["params"]):
        return [{"error": {"code": 2, "msg": "Invalid request: unknown stream"}, "id": m["id"]}]
    return [{"result": None, "id": m["id"]}]


def _deribit(m: Any, s: Script) -> list[Any]:
    result: Any = "ok"
    if "channels" in m["params"]:
        result = [name for name in reversed(m["params"]["channels"]) if not bad(name)]
    return [{"jsonrpc": "2.0", "id": m["id"], "result": result, "usIn": 1, "usOut": 2}]


def _crypto_com(m: Any, s: Script) -> list[Any]:
    head = {"id": m["id"], "method": m["method"]}
    if m["method"] == "public/respond-heartbeat":
        return []
    wrong = [topic for topic in m["params"]["channels"] if bad(topic)]
    if wrong:
        text = {"message": "Unknown symbol", "original": str(m)}
        return [{**head, "code": 40003, **text}]
    return [{**head, "code": 0}]


def _bitstamp(m: Any, s: Script) -> list[Any]:
    if m["event"] == "bts:heartbeat":
        return [{"event": "bts:heartbeat", "channel": "", "data": {"status": "success"}}]
    channel = m["data"]["channel"]
    if bad(channel):
        error = {"code": None, "message": "Bad subscription string."}
        return [{"event": "bts:error", "channel": "", "data": error}]
    return [{"event": m["event"].replace("scribe", "scription_succeeded"), "channel": channel,
             "data": {}}]  # fmt: skip


def _gate_arg(prefix: str) -> Callable[[str], Any]:
    return lambda symbol: {"channel": f"{prefix}.obu", "payload": f"ob.{symbol}.50"}


SCRIPTS: dict[str, Callable[[], Script]] = {
    "okx": lambda: Script(lambda s: {"channel": "books", "instId": s}, _okx),
    "bybit_spot": lambda: Script("orderbook.50.{}".format, _bybit),
    "bybit_linear": lambda: Script("orderbook.50.{}".format, _bybit),
    "bybit_inverse": lambda: Script("orderbook.50.{}".format, _bybit),
    "bybit_option": lambda: Script("orderbook.100.{}".format, _bybit_option),
    "coinbase": lambda: Script(lambda s: {"channel": "level2", "product_ids": s}, _coinbase),
    "coinbase_exchange": lambda: Script(
        lambda s: {"channels": ["level2_batch"], "product_ids": s}, _coinbase_exchange
    ),
    "kraken": lambda: Script(lambda s: {"channel": "book", "symbol": s, "depth": 100}, _kraken),
    "kraken_futures": lambda: Script(lambda s: {"feed": "book", "product_ids": s}, _kraken_futures),
    "bitget_spot": lambda: Script(
        lambda s: {"instType": "SPOT", "channel": "books", "instId": s}, _bitget
    ),
    "bitget_futures": lambda: Script(
        lambda s: {"instType": "USDT-FUTURES", "channel": "books", "instId": s}, _bitget
    ),
    "gate": lambda: Script(_gate_arg("spot"), _gate),
    "gate_futures": lambda: Script(_gate_arg("futures"), _gate),
    "hyperliquid": lambda: Script(lambda s: {"type": "l2Book", "coin": s}, _hyperliquid),
    "bitmex": lambda: Script("orderBookL2:{}".format, _bitmex),
    "bitfinex": lambda: Script(
        lambda s: {"channel": "book", "symbol": s, "prec": "P0", "freq": "F0", "len": "100"},
        _bitfinex,
    ),
    "binance_spot": lambda: Script("{}@depth@100ms".format, _binance),
    "binance_usdm": lambda: Script("{}@depth@100ms".format, _binance),
    "binance_coinm": lambda: Script("{}@depth@100ms".format, _binance),
    "binance_options": lambda: Script("{}@depth@100ms".format, _binance),
    "deribit": lambda: Script("book.{}.100ms".format, _deribit),
    "crypto_com": lambda: Script("book.{}.50".format, _crypto_com),
    "bitstamp": lambda: Script("order_book_{}".format, _bitstamp),
}
