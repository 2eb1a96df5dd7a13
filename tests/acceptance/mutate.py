"""Find the book frames of a capture and damage copies of it."""

from __future__ import annotations

import base64
import json
import random
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
        found = _deribit(value) if venue == "deribit" else _binance(value)
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


def inner_deltas(frames: list[BookFrame], joined_at: dict[str, int]) -> list[BookFrame]:
    """Deltas whose loss must show: after the join, and the book's next frame is a delta."""
    out = []
    for position, frame in enumerate(frames):
        later = [other for other in frames[position + 1 :] if other.instrument == frame.instrument]
        if (
            frame.is_delta
            and later
            and later[0].is_delta
            and frame.instrument in joined_at
            and frame.row > joined_at[frame.instrument]
        ):
            out.append(frame)
    return out


def bad_rows(good: str, rng: random.Random) -> dict[str, Row]:
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
    out = {name: {"dir": "in", "raw": text} for name, text in texts.items()}
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
