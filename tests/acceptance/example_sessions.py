"""Example messages of the venues, sorted into small sessions.

The files of examples hold messages of many years and many sockets, one after the other. What is of
a retired form, or was written by the author of a library and never by the venue, is left out; the
rest becomes one session per channel, so that each form is decoded whatever comes beside it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from tests.reference.rows import all_rows

from .captures import capture_paths

Row = dict[str, Any]
Sort = Callable[[Any], str | None]


def _kraken_futures(value: Any) -> str | None:
    feed = value.get("feed")
    return None if feed is None else feed.removesuffix("_snapshot")


def _bitget(is_spot: bool) -> Sort:
    def sort(value: Any) -> str | None:
        arg = value.get("arg", {})
        family = arg.get("instType", "")
        if family in ("", "sp", "mc") or (family.lower() == "spot") != is_spot:
            return None  # "sp" and "mc": the first version of the protocol
        return str(arg.get("channel", arg.get("topic")))

    return sort


def _gate(prefix: str) -> Sort:
    def sort(value: Any) -> str | None:
        channel, result = value.get("channel", ""), value.get("result")
        if not channel.startswith(prefix) or value.get("generated"):
            return None
        if isinstance(result, list) and (channel.endswith(".order_book") or _is_nested(result)):
            return None  # books as lists of single levels, and lists of lists: before 2021
        if isinstance(result, dict) and str(result.get("s", "")).startswith("futures."):
            return None  # a form of ``obu`` that only a document ever had
        if channel.endswith(".tickers") and "time_ms" not in value:
            return None
        return str(channel)

    return sort


def _is_nested(result: list[Any]) -> bool:
    return any(isinstance(item, list) for item in result)


def _named(key: str) -> Sort:
    return lambda value: value.get(key)


SORTS: dict[str, tuple[str, Sort]] = {
    "kraken_futures": ("kraken_futures", _kraken_futures),
    "bitget_spot": ("bitget", _bitget(True)),
    "bitget_futures": ("bitget", _bitget(False)),
    "gate": ("gate", _gate("spot.")),
    "gate_futures": ("gate_futures", _gate("futures.")),
    "hyperliquid": ("hyperliquid", _named("channel")),
    "bitmex": ("bitmex", _named("table")),
}


def example_sessions(venue: str) -> dict[str, list[Row]]:
    """Sessions of example messages by channel; skips when the examples are not there."""
    if venue == "bitfinex":
        return _bitfinex_sessions()
    folder, sort = SORTS[venue]
    out: dict[str, list[Row]] = defaultdict(list)
    for row in all_rows(capture_paths(folder, "examples.jsonl")):
        value = json.loads(row["raw"])
        group = sort(value) if row["dir"] == "in" and isinstance(value, dict) else None
        if group is not None:
            out[group].append({"t": row.get("t"), "dir": "in", "raw": row["raw"]})
    return dict(out)


def _bitfinex_sessions() -> dict[str, list[Row]]:
    """Frames behind the acks that explain their channel ids, numbered as one connection.

    The examples come from many sockets; their own numbers would be nothing but holes.
    """
    values = [
        json.loads(row["raw"]) for row in all_rows(capture_paths("bitfinex", "examples.jsonl"))
    ]
    events = [value for value in values if isinstance(value, dict)]
    acks = {value["chanId"]: value for value in events if value.get("event") == "subscribed"}
    sessions: dict[str, list[Row]] = defaultdict(list)
    for value in values:
        if not isinstance(value, list) or not isinstance(value[0], int):
            continue  # a frame whose channel id was replaced by what it means
        ack = acks.get(value[0])
        if ack is None or isinstance(value[-1], str):
            continue  # of a channel that nothing explains, or with a name that was appended
        frames = sessions[ack["channel"]]
        at = 3 if isinstance(value[1], str) and value[1] != "hb" else 2
        numbered = [*value[:at], len(frames) // 2 + 1, *value[at + 1 :]]
        for frame in (ack, numbered):
            raw = json.dumps(frame, separators=(",", ":"))
            frames.append({"t": None, "dir": "in", "raw": raw})
    return dict(sessions)
