"""Find the book frames of a capture and damage copies of it."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.reference.rows import frame_bytes
from tests.reference.strict_json import BadJson, loads

Row = dict[str, Any]


@dataclass(frozen=True)
class BookFrame:
    """Where a delta or snapshot of an instrument stands among the rows."""

    row: int
    instrument: str
    is_delta: bool


def book_frames(venue: str, rows: list[Row]) -> list[BookFrame]:
    """The frames that feed a numbered book, in order (window streams are not among them)."""
    out = []
    for index, row in enumerate(rows):
        if row["dir"] != "in":
            continue
        try:
            value = loads(frame_bytes(row))
        except BadJson:
            continue
        found = FINDERS[venue](value)
        if found is not None:
            out.append(BookFrame(index, f"{venue}:{found[0]}", found[1]))
    return out


def _deribit(value: Any) -> tuple[str, bool] | None:
    params = value.get("params") if isinstance(value, dict) else None
    channel = params.get("channel", "") if isinstance(params, dict) else ""
    if not channel.startswith("book.") or channel.count(".") != 2:
        return None
    assert isinstance(params, dict)
    data = params["data"]
    return data["instrument_name"], data.get("type") == "change"


def _binance(value: Any) -> tuple[str, bool] | None:
    if not isinstance(value, dict):
        return None
    stream = value.get("stream", "")
    data = value.get("data", value)
    is_window = "@depth" in stream and stream.split("@depth")[1][:1].isdigit()
    if is_window or not isinstance(data, dict) or data.get("e") != "depthUpdate":
        return None
    return data["s"], True


def _okx(value: Any) -> tuple[str, bool] | None:
    arg = value.get("arg") if isinstance(value, dict) else None
    if not isinstance(arg, dict) or arg.get("channel") not in ("books", "books-l2-tbt"):
        return None
    if not value.get("data") or "seqId" not in value["data"][0]:
        return None  # an ack, or from before the numbers
    row = value["data"][0]
    is_reset = row["seqId"] < row["prevSeqId"]  # the numbers begin anew, as with a snapshot
    return arg["instId"], value.get("action") == "update" and not is_reset


def _bybit(value: Any) -> tuple[str, bool] | None:
    topic = value.get("topic", "") if isinstance(value, dict) else ""
    parts = topic.split(".")
    if parts[0] != "orderbook" or not parts[1].isdigit() or parts[1] == "1":
        return None
    return value["data"]["s"], value["type"] == "delta"


def _coinbase(value: Any) -> tuple[str, bool] | None:
    if not isinstance(value, dict) or value.get("channel") != "l2_data":
        return None
    event = value["events"][0]
    return event["product_id"], event["type"] == "update"


def _coinbase_exchange(value: Any) -> tuple[str, bool] | None:
    kind = value.get("type") if isinstance(value, dict) else None
    return (value["product_id"], kind == "l2update") if kind in ("snapshot", "l2update") else None


def _kraken(value: Any) -> tuple[str, bool] | None:
    if not isinstance(value, dict) or value.get("channel") != "book":
        return None
    return value["data"][0]["symbol"], value["type"] == "update"


def _kraken_futures(value: Any) -> tuple[str, bool] | None:
    feed = value.get("feed") if isinstance(value, dict) and "event" not in value else None
    return (value["product_id"], feed == "book") if feed in ("book", "book_snapshot") else None


def _bitget(value: Any) -> tuple[str, bool] | None:
    arg = value.get("arg") if isinstance(value, dict) and "event" not in value else None
    if not isinstance(arg, dict) or arg.get("channel", arg.get("topic")) != "books":
        return None
    if "seq" not in value["data"][0]:
        return None  # from before the numbers
    return arg.get("instId", arg.get("symbol")), value["action"] == "update"


def _gate(value: Any) -> tuple[str, bool] | None:
    if not isinstance(value, dict) or value.get("event") != "update":
        return None
    kind = value.get("channel", "").partition(".")[2]
    if kind == "obu":
        return value["result"]["s"].split(".")[1], "full" not in value["result"]
    return (value["result"]["s"], True) if kind == "order_book_update" else None


def _hyperliquid(value: Any) -> tuple[str, bool] | None:
    if not isinstance(value, dict) or value.get("channel") != "l2Book":
        return None
    return value["data"]["coin"], False


def _bitmex(value: Any) -> tuple[str, bool] | None:
    if not isinstance(value, dict) or not value.get("table", "").startswith("orderBookL2"):
        return None
    named = value["data"][0] if value["data"] else value["filter"]
    return named["symbol"], value["action"] != "partial"


def _bitfinex(value: Any) -> tuple[str, bool] | None:
    """What a channel id means is known to its connection: its book is named by the id here."""
    if not isinstance(value, list) or len(value) != 3 or not isinstance(value[1], list):
        return None
    row = value[1][0] if isinstance(value[1][0], list) else value[1]
    return (str(value[0]), row is value[1]) if len(row) == 3 else None


FINDERS: dict[str, Callable[[Any], tuple[str, bool] | None]] = {
    "binance_coinm": _binance,
    "binance_options": _binance,
    "binance_spot": _binance,
    "binance_usdm": _binance,
    "bitfinex": _bitfinex,
    "bitget_futures": _bitget,
    "bitget_spot": _bitget,
    "bitmex": _bitmex,
    "bybit_inverse": _bybit,
    "bybit_linear": _bybit,
    "bybit_option": _bybit,
    "bybit_spot": _bybit,
    "coinbase": _coinbase,
    "coinbase_exchange": _coinbase_exchange,
    "deribit": _deribit,
    "gate": _gate,
    "gate_futures": _gate,
    "hyperliquid": _hyperliquid,
    "kraken": _kraken,
    "kraken_futures": _kraken_futures,
    "okx": _okx,
}
ANSWERING = ("bitget_futures", "bitget_spot", "bitmex", "okx")
TEXTS = dict.fromkeys(ANSWERING, ("pong",))  # answers in words are no bad frames


def inner_deltas(frames: list[BookFrame], joined_at: dict[str, int]) -> list[BookFrame]:
    """Deltas whose loss must show: after the join, and the book's next frame is a delta."""
    out = []
    next_is_delta: dict[str, bool] = {}
    for frame in reversed(frames):
        if (
            frame.is_delta
            and next_is_delta.get(frame.instrument, False)
            and frame.instrument in joined_at
            and frame.row > joined_at[frame.instrument]
        ):
            out.append(frame)
        next_is_delta[frame.instrument] = frame.is_delta
    return out[::-1]


def bad_rows(venue: str, good: str, rng: random.Random) -> dict[str, Row]:
    """Frames that no decoder may accept, by name; ``good`` is a valid frame to damage."""
    texts = {
        "empty": "",
        "space only": " \n",
        "NaN": '{"stream":"x@depth","data":{"p":NaN}}',
        "Infinity": '{"jsonrpc":"2.0","params":-Infinity}',
        "bare word": "pong",
        "100000 brackets": "[" * 100_000,
        "100000 objects": '{"a":' * 100_000,
        "1025 closed brackets": "[" * 1025 + "]" * 1025,
        "trailing garbage": good + "x",
        "trailing bracket": good + "}",
        "two documents": good + good,
        "two documents, spaced": good + "\n" + good,
        "byte order mark": "\ufeff" + good,
        "trailing comma": good[:-1] + ",}",
        "comment": good + " // no",
        "single quotes": good.replace('"', "'"),
        "lone surrogate": '{"stream":"\\ud800","data":{}}',
        "control character": '{"stream":"a\x01b","data":{}}',
        "bad escape": '{"stream":"a\\qb"}',
        "overflow": '{"price":1e999}',
        "leading zero": '{"price":01}',
        "no digits after the point": '{"price":1.}',
        "plus sign": '{"price":+1}',
        "no value": '{"price":}',
        "no colon": '{"price" 1}',
        "NUL": good + "\x00",
    }
    for _ in range(20):
        cut = rng.randrange(1, len(good))
        texts[f"cut at {cut}"] = good[:cut]
    known = TEXTS.get(venue, ())
    out = {n: {"dir": "in", "raw": text} for n, text in texts.items() if text not in known}
    encoded = good.encode()
    middle = rng.randrange(2, len(encoded) - 2)
    for name, data in {
        "byte ff in a string": b'{"stream":"\xff","data":{}}',
        "cut character": b'{"stream":"\xe5\xa5","data":{}}',
        "overlong slash": b'{"stream":"\xc0\xaf","data":{}}',
        "encoded surrogate": b'{"stream":"\xed\xa0\x80","data":{}}',
        "stray byte": encoded[:middle] + b"\x80" + encoded[middle:],
    }.items():
        out[name] = {"dir": "in", "b64": base64.b64encode(data).decode()}
    return out


def corrupt_digit(raw: str, rng: random.Random) -> str:
    """Another digit in the place of one."""
    places = [index for index, char in enumerate(raw) if char.isdigit() and char.isascii()]
    at = rng.choice(places)
    return raw[:at] + rng.choice("0123456789".replace(raw[at], "")) + raw[at + 1 :]


def is_json(raw: str) -> bool:
    """Whether the text is still valid."""
    try:
        loads(raw.encode())
    except BadJson:
        return False
    return json.loads(raw) is not None


LEVEL_LISTS = {"a", "b", "asks", "bids", "changes", "updates", "levels"}
LEVEL_FIELDS = {
    "price",
    "qty",
    "price_level",
    "new_quantity",
}  # that say by themselves what they are
SHORT_FIELDS = {"p", "s", "px", "sz"}


def differs_in_a_level(before: str, after: str) -> bool:
    """Whether what differs is a price or size, and not a number or name that routes or orders."""
    found = list(_differences(loads(before.encode()), loads(after.encode()), ()))
    return bool(found) and all(map(_is_level, found))


def _is_level(path: tuple[Any, ...]) -> bool:
    if not path:
        return False  # the message has other keys than before
    if path[-1] in LEVEL_FIELDS or (path[0] == "data" and path[-1] == "size"):
        return True
    in_list = bool(LEVEL_LISTS & {step for step in path if isinstance(step, str)})
    if isinstance(path[-1], int):  # Bitfinex: the payload stands behind the channel's number
        return in_list or path[0] == 1
    return in_list and path[-1] in SHORT_FIELDS


def _differences(one: Any, other: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            yield from _differences(one[key], other[key], (*path, key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from _differences(left, right, (*path, index))
    elif one != other:
        yield path
