"""Read the simulator's journal: what each message must yield, and from when on it is due.

The journal is JSON lines, written by the simulator from its own market and never from feedd.
Numbers are the decimal text that went over the wire; they become float64 here by Python's
``float``, which rounds correctly, so that the comparison with a record is bit for bit.

A message that went over several connections is due once: its number in the stream says that it is
the same. A *greeting* (what a new subscriber alone gets) is due when only one connection ever had
the stream and it says something new; otherwise it is offered.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from feedd.records import DERIV_FIELDS, GREEKS_FIELDS

__all__ = [
    "Content",
    "Expected",
    "FinalBook",
    "Journal",
    "in_order",
    "read_journal",
    "read_rows",
]

Content = tuple[Any, ...]
"""Every field of an event in a fixed order; equal contents are equal events, bit for bit."""

_SIDES = {"buy": 1, "sell": -1, "unknown": 0}
_EXTRA = frozenset({"duplicate", "insert"})
"""Faults whose row is a copy or a bad frame beside the good one: nothing more is due for it."""
PER_CONNECTION = "connection"
"""``numbering`` of an event whose sequence is that of its connection: the copy that wins says it,
so it is not compared."""
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
    greeting: bool = False


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
    unnumbered: set[str] = field(default_factory=set)
    """Instruments whose sequence numbers are those of a connection."""
    shared: set[str] = field(default_factory=set)
    """Streams that more than one connection carried."""
    seed: int | None = None
    messages: int = 0
    ended: int = 0
    """Connections that a fault ended."""
    complete: bool = False


def number(text: str | float | int | None) -> float | None:
    """The float64 of a decimal text; None for an absent one."""
    return None if text is None or text == "" else float(text)


def levels(rows: Iterable[Any] | None) -> tuple[tuple[float, float], ...]:
    return tuple((float(price), float(size)) for price, size in rows or ())


def in_order(
    bids: Iterable[tuple[float, float]], asks: Iterable[tuple[float, float]]
) -> tuple[tuple[tuple[float, float], ...], tuple[tuple[float, float], ...]]:
    """Both sides best first, so that the order of delivery is no matter; one price that comes twice
    keeps its order: the last size counts."""
    return tuple(sorted(bids, key=_price, reverse=True)), tuple(sorted(asks, key=_price))


def _price(level: tuple[float, float]) -> float:
    return level[0]


def event_content(event: dict[str, Any]) -> Content:
    """The comparable content of a journal event (the order is that of ``received.py``)."""
    kind = event["kind"]
    time = event.get("ts_event") or 0
    sequence = None if event.get("numbering") == PER_CONNECTION else event.get("sequence")
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
        return (kind, event["action"], *in_order(bids, asks), time, sequence)
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


class _Reader:
    """Folds rows into a journal; knows who has which stream at the moment."""

    def __init__(self) -> None:
        self.journal = Journal()
        self._carriers: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._messages: dict[tuple[str, str, Any], list[Expected]] = {}
        self._senders: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._said: set[tuple[str, Content]] = set()
        self._greetings: list[tuple[tuple[str, str], list[Expected]]] = []
        self._ever: dict[tuple[str, str], set[str]] = defaultdict(set)

    def note(self, row: dict[str, Any]) -> None:
        """A subscription, its end, or the end of a connection."""
        venue, conn = row["venue"], str(row["conn"])
        for stream in row.get("ack", ()):
            self._carriers[venue, stream].add(conn)
            self._ever[venue, stream].add(conn)
        for stream in row.get("unsubscribed", ()):
            self._carriers[venue, stream].discard(conn)
        if "close" in row:
            self.journal.ended += str(row["close"]).endswith(" fault")
            for carriers in self._carriers.values():
                carriers.discard(conn)

    def message(self, row: dict[str, Any]) -> None:
        """A message with its events."""
        journal = self.journal
        journal.messages += 1
        rest = row.get("rest")
        if rest:
            # A REST snapshot is offered, not due: feedd takes the first one that joins its stream.
            journal.events += self._events(row, f"rest {rest}", due=False)
            return
        venue, stream, conn = row["venue"], str(row["stream"]), str(row["conn"])
        carriers = self._carriers[venue, stream]
        due = conn in carriers
        if row.get("greeting"):
            made = self._events(row, stream, due, greeting=True)
            self._greetings.append(((venue, stream), made))
            journal.events += made
            return
        senders = self._senders[venue, stream]
        senders.add(conn)
        if len(senders) > 1:
            journal.shared.add(stream)
        key = (venue, stream, row.get("id"))
        known = self._messages.get(key)
        if known is None:
            self._messages[key] = made = self._events(row, stream, due)
            journal.events += made
        else:
            for expected in known:
                expected.due = expected.due or due

    def finish(self) -> Journal:
        """The journal, once all rows are read."""
        for key, greeting in self._greetings:
            if len(self._ever[key]) > 1:
                for expected in greeting:
                    expected.due = False
        return self.journal

    def _events(
        self, row: dict[str, Any], stream: str, due: bool, greeting: bool = False
    ) -> list[Expected]:
        found = []
        for event in row["events"]:
            if event.get("numbering") == PER_CONNECTION:
                self.journal.unnumbered.add(event["instrument"])
            content = event_content(event)
            snapshot = event["kind"] == "book" and event["action"] == "snapshot"
            # A venue may greet with what it said before: the same is not due a second time.
            again = greeting and not snapshot and (event["instrument"], content) in self._said
            self._said.add((event["instrument"], content))
            found.append(
                Expected(
                    kind=event["kind"],
                    instrument=event["instrument"],
                    stream=stream,
                    sent_ns=int(row["t"]),
                    due=due and not again,
                    content=content,
                    sequence=content[-1],
                    snapshot=snapshot,
                    greeting=greeting,
                )
            )
        return found


def read_journal(rows: Iterable[dict[str, Any]]) -> Journal:
    """Fold journal rows into expected events, in the order the venue sent them."""
    reader = _Reader()
    journal = reader.journal
    for row in rows:
        if "journal" in row:
            journal.seed = row.get("seed")
        elif "ack" in row or "unsubscribed" in row or "close" in row:
            reader.note(row)
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
            reader.message(row)
    return reader.finish()
