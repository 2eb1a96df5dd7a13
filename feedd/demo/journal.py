"""Read the simulator's journal: what each message must yield, and from when on it is due.

The journal is JSON lines, written by the simulator from its own market and never from feedd.
Numbers are the decimal text that went over the wire; they become float64 here by Python's
``float``, which rounds correctly, so that the comparison with a record is bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from feedd.records import DERIV_FIELDS, GREEKS_FIELDS

__all__ = ["Content", "Expected", "FinalBook", "Journal", "read_journal", "read_rows"]

Content = tuple[Any, ...]
"""Every field of an event in a fixed order; equal contents are equal events, bit for bit."""

_SIDES = {"buy": 1, "sell": -1, "unknown": 0}
_EXTRA = frozenset({"duplicate", "insert"})
"""Faults whose row is a copy or a bad frame beside the good one: nothing more is due for it."""
_INTEGER_FIELDS = frozenset({"next_funding"})


@dataclass(slots=True)
class Expected:
    """One event that the venue sent; ``due`` is False where feedd may rightly not deliver it."""

    kind: str
    instrument: str
    stream: str
    sent_ns: int
    due: bool
    content: Content
    sequence: int | None
    snapshot: bool = False


@dataclass(slots=True)
class FinalBook:
    """The venue's book when it stopped sending: price -> size per side."""

    instrument: str
    sequence: int | None
    bids: dict[float, float]
    asks: dict[float, float]


@dataclass(slots=True)
class Journal:
    events: list[Expected] = field(default_factory=list)
    final_books: dict[str, FinalBook] = field(default_factory=dict)
    seed: int | None = None
    messages: int = 0
    complete: bool = False


def number(text: str | float | int | None) -> float | None:
    """The float64 of a decimal text; None for an absent one."""
    return None if text is None or text == "" else float(text)


def levels(rows: Iterable[Any] | None) -> tuple[tuple[float, float], ...]:
    return tuple((float(price), float(size)) for price, size in rows or ())


def event_content(event: dict[str, Any]) -> Content:
    """The comparable content of a journal event (the order is that of ``received.py``)."""
    kind = event["kind"]
    time = event.get("ts_event") or 0
    sequence = event.get("sequence")
    if kind in ("trade", "liquidation"):
        return (
            kind,
            number(event.get("price")),
            number(event.get("size")),
            _SIDES[event.get("side") or "unknown"],
            str(event.get("trade_id") or ""),
            time,
            sequence,
        )
    if kind == "quote":
        names = ("bid_price", "bid_size", "ask_price", "ask_size")
        return (kind, *(number(event.get(name)) for name in names), time, sequence)
    if kind == "book":
        bids, asks = levels(event.get("bids")), levels(event.get("asks"))
        if event["action"] == "snapshot":
            # A snapshot is a set of levels: sorted, so that the order of delivery is no matter.
            bids, asks = tuple(sorted(bids, reverse=True)), tuple(sorted(asks))
        return (kind, event["action"], bids, asks, time, sequence)
    if kind in ("deriv", "greeks"):
        fields = DERIV_FIELDS if kind == "deriv" else GREEKS_FIELDS
        return (kind, *(_field(event, name) for name in fields), time, sequence)
    raise ValueError(f"journal: unknown event kind {kind!r}")


def _field(event: dict[str, Any], name: str) -> float | int | None:
    value = event.get(name)
    if name in _INTEGER_FIELDS:
        return int(value or 0) or None  # 0 is no time
    return number(value)


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of the journal; a last line cut off by a killed simulator is left out."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n") and line.strip():
                yield orjson.loads(line)


def read_journal(rows: Iterable[dict[str, Any]]) -> Journal:
    """Fold journal rows into expected events, in the order the venue sent them."""
    journal = Journal()
    acked: set[tuple[str, str, str]] = set()
    for row in rows:
        if "journal" in row:
            journal.seed = row.get("seed")
        elif "ack" in row:
            acked.update((row["venue"], str(row["conn"]), stream) for stream in row["ack"])
        elif "unsubscribed" in row:
            acked -= {(row["venue"], str(row["conn"]), stream) for stream in row["unsubscribed"]}
        elif "stopped" in row:
            journal.complete = True
        elif "final_book" in row:
            book = FinalBook(
                row["final_book"],
                row.get("sequence"),
                dict(levels(row.get("bids"))),
                dict(levels(row.get("asks"))),
            )
            journal.final_books[book.instrument] = book
        elif row.get("events") and row.get("fault") not in _EXTRA:
            journal.messages += 1
            journal.events.extend(_message_events(row, acked))
    return journal


def _message_events(row: dict[str, Any], acked: set[tuple[str, str, str]]) -> Iterator[Expected]:
    rest = row.get("rest")
    stream = f"rest {rest}" if rest else str(row["stream"])
    # A REST snapshot is offered, not due: feedd takes the first one that joins its stream.
    due = not rest and (row["venue"], str(row["conn"]), stream) in acked
    for event in row["events"]:
        snapshot = event["kind"] == "book" and event["action"] == "snapshot"
        yield Expected(
            kind=event["kind"],
            instrument=event["instrument"],
            stream=stream,
            sent_ns=int(row["t"]),
            due=due,
            content=event_content(event),
            sequence=event.get("sequence"),
            snapshot=snapshot,
        )
