"""The REST depth bodies of a capture, by instrument."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from feedd.capture.rows import Row
from feedd.decode.plan import compile_plan
from feedd.pipeline.core import Pipeline
from feedd.records import NO_SEQUENCE
from feedd.shm.ring import RingWriter
from feedd.venues.schema import Venue
from feedd.venues.templates import path_get

__all__ = ["Snapshot", "collect_snapshots"]


@dataclass(slots=True)
class Snapshot:
    """One REST depth body of the capture."""

    symbol: str | None
    id: int
    body: bytes
    t: int | None
    spent: bool = False


def collect_snapshots(
    venue: Venue, rows: Sequence[Row], problems: list[str]
) -> dict[str | None, list[Snapshot]]:
    """Depth bodies in order, by the symbol that URL or body names, else the capture's only one.

    None is the key of bodies that belong to nobody; bodies that are not JSON go to ``problems``.
    """
    found: dict[str | None, list[Snapshot]] = defaultdict(list)
    depths = [
        channel.book.rest
        for channel in venue.channels.values()
        if channel.book is not None and channel.book.rest is not None
    ]
    for row in rows:
        if row.dir != "rest":
            continue
        try:
            body = orjson.loads(row.data)
        except orjson.JSONDecodeError:
            problems.append(f"REST row {row.url or ''}: the body is not JSON, skipped")
            continue
        for rest in depths:
            snapshot_id = _number(path_get(body, rest.id))
            if 0 <= snapshot_id < NO_SEQUENCE:
                symbol = _symbol_of(row.url, rest.url, venue.decode.symbol_case == "upper")
                if symbol is None and rest.symbol is not None:
                    symbol = path_get(body, rest.symbol, None)
                symbol = symbol if isinstance(symbol, str) else None
                found[symbol].append(Snapshot(symbol, snapshot_id, row.data, row.t))
                break
    if found.get(None):
        only = _only_symbol(venue, rows)
        if only is not None:
            nameless = found.pop(None)
            found[only] = [s for s in found.get(only, ()) if s not in nameless] + nameless
    return found


def _number(value: Any) -> int:
    """An integer, also one that is written as text; -1 for anything else."""
    if type(value) is int:
        return value
    digits = isinstance(value, str) and len(value) <= 20 and value.isascii() and value.isdecimal()
    return int(value) if digits else -1


def _only_symbol(venue: Venue, rows: Sequence[Row]) -> str | None:
    """The capture's only instrument with a book, None when there are several."""
    pipeline = Pipeline(RingWriter.private(1 << 14))
    handle = pipeline.add_venue(compile_plan(venue))
    pipeline.on_unknown(lambda _venue, _symbol: (0, -1, 0))
    for row in rows:
        if row.dir == "in":
            pipeline.on_message(handle, row.data, 0)
            if len(pipeline.symbols_with_books(handle)) > 1:
                return None
    symbols = pipeline.symbols_with_books(handle)
    return symbols[0] if symbols else None


def _symbol_of(url: str | None, template: str, upper: bool) -> str | None:
    """The symbol in a URL, in the parameter where the venue file puts it."""
    if not url:
        return None
    for name, values in parse_qs(urlsplit(template).query).items():
        if values[0] in ("{symbol}", "{symbol_lower}"):
            try:
                found = parse_qs(urlsplit(url).query).get(name)
            except ValueError:  # a URL may say anything; the body may name its symbol
                return None
            if found:
                return found[0].upper() if upper else found[0]
    return None
