"""One order book and the rules that decide what a book message does to it.

``on_*`` functions return the lines and events that follow, as tuples:
``("book", action, bids, asks, sequence, source)``, ``("gap", expected, got)`` or
``("checksum", expected, got)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

Levels = list[tuple[Decimal, Decimal]]
Output = list[tuple[Any, ...]]


@dataclass
class Update:
    """A book message: ``first``/``last``/``prev`` are the venue's own numbers, None = absent."""

    last: int | None
    bids: Levels
    asks: Levels
    first: int | None = None
    prev: int | None = None
    source: Any = None  # whatever the caller wants back: the times of the message
    time: int | None = None  # the venue's clock, where a rule needs it
    stamp: Any = None  # times that order nothing, but tell a repetition from news


@dataclass
class Book:
    """Full depth book. ``state`` is syncing, live, gap or checksum."""

    bids: dict[Decimal, Decimal] = field(default_factory=dict)
    asks: dict[Decimal, Decimal] = field(default_factory=dict)
    state: str = "syncing"
    sequence: int | None = None
    buffer: list[Update] = field(default_factory=list)
    time: int | None = None  # of the last message applied
    waiting: int | None = None  # number of the last delta seen while the snapshot is awaited
    stream: Any = None  # (rank, name) of the stream that feeds the book
    applied: Update | None = None  # the last message that was not silent
    snapshot: Update | None = None  # the last snapshot
    is_window: bool = False  # every message is the whole book

    def _set(self, update: Update) -> None:
        for side, levels in ((self.bids, update.bids), (self.asks, update.asks)):
            for price, size in levels:
                side.pop(price, None)  # also so that the key is the text of the last message
                if size:
                    side[price] = size
        self.sequence = update.last
        self.time = update.time
        self.applied = update

    def replace(self, update: Update) -> Output:
        """A snapshot: the book is now exactly this, and live."""
        self.bids.clear()
        self.asks.clear()
        self.snapshot = update
        self._set(update)
        self.state = "live"
        self.buffer.clear()
        self.waiting = None
        return [("book", "snapshot", update.bids, update.asks, update.last, update.source)]

    def apply(self, update: Update) -> Output:
        """A delta that fits. One without levels moves the sequence and yields no line."""
        self._set(update)
        if not update.bids and not update.asks:
            return []
        return [("book", "delta", update.bids, update.asks, update.last, update.source)]

    def best(self) -> tuple[tuple[Decimal, Decimal] | None, tuple[Decimal, Decimal] | None]:
        """Best bid and best ask as (price, size), None for an empty side."""
        bid = max(self.bids, default=None)
        ask = min(self.asks, default=None)
        return (
            None if bid is None else (bid, self.bids[bid]),
            None if ask is None else (ask, self.asks[ask]),
        )

    def levels(self) -> tuple[Levels, Levels]:
        """Both sides, best first."""
        return (
            sorted(self.bids.items(), reverse=True),
            sorted(self.asks.items()),
        )


def owns(book: Book, rank: int, stream: str) -> bool:
    """One stream feeds a book: the first one seen, unless one of a better (lower) rank comes."""
    if book.stream is None or rank < book.stream[0]:
        if book.stream is not None:
            book.state = "syncing"
            book.waiting = None
        book.stream = (rank, stream)
        book.is_window = False
    return bool(book.stream == (rank, stream))


def on_window(book: Book, update: Update) -> Output:
    """Partial depth: each message is the whole window; an old one is silent."""
    book.is_window = True
    if book.state == "live":
        if book.sequence is None or update.last is None:
            return [] if _is_seen(book, update) else book.replace(update)
        if update.last <= book.sequence:
            return []
    return book.replace(update)


def on_unnumbered(book: Book, update: Update, is_snapshot: bool) -> Output:
    """Nothing shows a loss but the connection itself (or a checksum).

    A snapshot that the venue's clock puts before what was seen, or the same one once more, is old.
    """
    if is_snapshot:
        return [] if _is_seen(book, update) else book.replace(update)
    if book.state == "live":
        return book.apply(update)
    book.time = update.time
    return []


def _is_seen(book: Book, update: Update) -> bool:
    if book.time is not None and update.time is not None and update.time < book.time:
        return True
    last = book.snapshot
    return (
        book.state == "live"
        and last is not None
        # without a time the same levels after changes are news
        and (book.applied is last or update.time is not None or update.stamp is not None)
        and (last.bids, last.asks, last.time) == (update.bids, update.asks, update.time)
        and last.stamp == update.stamp
    )


def on_trusted(book: Book, update: Update, is_snapshot: bool) -> Output:
    """Like ``on_unnumbered``, for books whose only proof is that they never cross."""
    out = on_unnumbered(book, update, is_snapshot)
    bid, ask = book.best()
    if book.state == "live" and bid is not None and ask is not None and bid[0] >= ask[0]:
        book.state = "gap"
        out.append(("gap", None, None))
    return out


def check(book: Book, out: Output, expected: int | None, got: int) -> Output:
    """Replace the lines of a message by one ``checksum`` when the venue's number differs.

    ``expected`` is the venue's checksum (None: nothing to check), ``got`` the book's own. Not for a
    message that was passed over (not ``book.applied``): it proves nothing.
    """
    if book.state != "live" or expected is None or expected == got:
        return out
    book.state = "checksum"
    return [("checksum", expected, got)]


@dataclass(frozen=True)
class RestRule:
    """How a venue with REST snapshots numbers its deltas."""

    follows: Callable[[int, Update], bool]  # (last number, delta): is it the next one?
    is_old: Callable[[int, Update], bool]  # (snapshot number, delta): nothing new in it?
    joins: Callable[[int, Update], bool]  # (snapshot number, first delta that is not old)
    expected: Callable[[int], int]
    got: Callable[[Update], int | None]


SPOT = RestRule(
    follows=lambda last, d: d.first is not None and d.first <= last + 1,
    is_old=lambda snapshot, d: d.last <= snapshot,
    joins=lambda snapshot, d: d.first is not None and d.first <= snapshot + 1 <= d.last,
    expected=lambda last: last + 1,
    got=lambda d: d.first,
)
USDM = RestRule(
    follows=lambda last, d: d.prev == last,
    is_old=lambda snapshot, d: d.last < snapshot,
    joins=lambda snapshot, d: (
        (d.first is not None and d.first <= snapshot <= d.last) or d.prev == snapshot
    ),
    expected=lambda last: last,
    got=lambda d: d.prev,
)


def on_ranged(book: Book, update: Update, rule: RestRule, snapshots: list[Update]) -> Output:
    """Binance: buffer until the first REST row that joins, then follow the numbers."""
    last = book.buffer[-1].last if book.buffer else book.sequence
    if last is not None and update.last <= last:
        return []
    out: Output = []
    broken = last is not None and not rule.follows(last, update)
    if broken and book.state != "gap":
        assert last is not None
        out.append(("gap", rule.expected(last), rule.got(update)))
        book.state = "gap"
    if book.state == "live":
        return out + book.apply(update)
    if broken:
        book.buffer.clear()
    book.buffer.append(update)
    return out + _join(book, rule, snapshots)


def at_the_end(book: Book, snapshots: list[Update]) -> Output:
    """Nothing follows any more: the first REST row that is newer than all that waits will do."""
    if book.state != "live" and book.buffer:
        for snapshot in snapshots:
            if snapshot.last > book.buffer[-1].last:
                return book.replace(snapshot)
    return []


def _join(book: Book, rule: RestRule, snapshots: list[Update]) -> Output:
    for snapshot in snapshots:
        fresh = [delta for delta in book.buffer if not rule.is_old(snapshot.last, delta)]
        ends_here = book.buffer[-1].last == snapshot.last
        if ends_here or (fresh and rule.joins(snapshot.last, fresh[0])):
            out = book.replace(snapshot)
            for delta in fresh:
                out += book.apply(delta)
            return out
    return []
