"""Small helpers that build records in the shape of ``feedd decode`` lines."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from .book import Output
from .strict_json import is_inexact

Record = dict[str, Any]
RFC3339 = re.compile(r"(?P<to_seconds>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.(?P<fraction>\d{1,9}))?Z")
DECIMAL_TEXT = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


class BadMessage(ValueError):
    """Valid JSON, but a field the message needs is absent or is not what it must be."""


def number(value: Any) -> Decimal | None:
    """A JSON number or a decimal text; missing, null and "" are absent."""
    if value is None or value == "":
        return None
    if isinstance(value, Decimal):
        return value
    if isinstance(value, str) and DECIMAL_TEXT.fullmatch(value):
        return Decimal(value)
    raise BadMessage(f"{value!r} is not a number")


def needed(value: Any) -> Decimal:
    """A number that the message cannot do without."""
    parsed = number(value)
    if parsed is None:
        raise BadMessage("a needed number is absent")
    return parsed


def integer(value: Any) -> int | None:
    """An id or time: absent, or an integral JSON number."""
    parsed = number(value)
    return None if parsed is None else int(parsed)


def needed_integer(value: Any) -> int:
    """An id that the message cannot do without."""
    return int(needed(value))


def ns_of_ms(value: Any) -> int | None:
    """Venue milliseconds to ns; 0 and absent both mean: no time given."""
    parsed = number(value)
    return int(parsed * 1_000_000) if parsed else None


def ns_of_rfc3339(value: Any) -> int | None:
    """``2026-04-07T14:30:00.123456Z`` to ns; up to nine digits. A time before 1970 is none."""
    if value is None or value == "":
        return None
    found = RFC3339.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise BadMessage(f"{value!r} is not a time")
    try:
        moment = datetime.fromisoformat(found["to_seconds"] + "+00:00")
    except ValueError as error:
        raise BadMessage(f"{value!r} is not a time") from error
    seconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    ns = seconds * 1_000_000_000 + int((found["fraction"] or "").ljust(9, "0"))
    return ns if ns > 0 else None


def text(value: Any) -> str:
    """A text that the message cannot do without: a symbol, say."""
    if not isinstance(value, str) or not value:
        raise BadMessage(f"{value!r} is not a text")
    return value


def rows_of(value: Any) -> list[dict[str, Any]]:
    """A list of objects."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadMessage("not a list of objects")
    return value


def quote_side(prefix: str, price: Decimal | None, size: Decimal | None) -> dict[str, Any]:
    """One side of a quote; without a price or without a size it is a missing one."""
    missing = price is None or not size
    return {
        f"{prefix}_price": None if missing else price,
        f"{prefix}_size": None if missing else size,
    }


def levels(rows: Any, price: int | str, size: int | str) -> list[tuple[Decimal, Decimal]]:
    """Level arrays to (price, size) pairs in the venue's order; an absent side is an empty one."""
    if rows is None:
        return []
    if not isinstance(rows, list):
        raise BadMessage("levels are not a list")
    try:
        return [(needed(row[price]), needed(row[size])) for row in rows]
    except (LookupError, TypeError) as error:
        raise BadMessage(f"a level is not as it must be: {error}") from error


def _decimals(value: Any) -> list[Decimal]:
    if isinstance(value, Decimal):
        return [value]
    if isinstance(value, list | tuple):
        return [found for item in value for found in _decimals(item)]
    return []


def record(
    kind: str,
    instrument: str | None,
    ts_event: int | None,
    ts_recv: int | None,
    sequence: int | None = None,
    flags: tuple[str, ...] = (),
    **fields: Any,
) -> Record:
    """One line; adds the flag ``inexact`` by looking at every number in it."""
    marks = set(flags)
    if any(is_inexact(value) for item in fields.values() for value in _decimals(item)):
        marks.add("inexact")
    return {
        "kind": kind,
        "instrument": instrument,
        "ts_event": ts_event,
        "ts_recv": ts_recv,
        "sequence": sequence,
        "flags": marks,
        **fields,
    }


def present(**fields: Decimal | int | None) -> dict[str, Any]:
    """Only the fields that the message carried with a value."""
    return {name: value for name, value in fields.items() if value is not None}


def nonzero(value: Decimal | None) -> Decimal | None:
    """IVs: zero is how a venue writes "none"."""
    return value if value else None


def book_records(name: str, out: Output, ts_event: int | None, ts_recv: int | None) -> list[Record]:
    """Lines for what a book did. Buffered messages keep the times they came with."""
    lines: list[Record] = []
    for item in out:
        if item[0] != "book":
            event, expected, got = item
            lines.append(
                record("status", name, ts_event, ts_recv, event=event, expected=expected, got=got)
            )
            continue
        _, action, bids, asks, sequence, (event_time, recv) = item
        flags = ("snapshot",) if action == "snapshot" else ()
        sides = {"bids": bids, "asks": asks}
        lines.append(
            record("book", name, event_time, recv, sequence, flags, action=action, **sides)
        )
    return lines
