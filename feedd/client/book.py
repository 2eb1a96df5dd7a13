"""One instrument's shared book, live: the best 32 levels at once, deeper ones rolled forward."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feedd import clock
from feedd.client.events import EventBuffer
from feedd.client.fold import FoldedBook
from feedd.client.instruments import Instrument
from feedd.errors import ShmError
from feedd.records import NO_INSTRUMENT, BookState, Kind, known_sequence
from feedd.shm.books import BooksReader, BookView
from feedd.shm.ring import RingReader

__all__ = ["TOP_LEVELS", "Book", "BookSnapshot"]

if TYPE_CHECKING:
    import numpy.typing as npt

    Levels = npt.NDArray[Any]

TOP_LEVELS = 32
"""Levels a side that the daemon shares as of the newest event."""
_ROLL_MAX = 16_384
"""Records to roll forward; beyond it a new copy of the deep tier costs less."""
_COPIES_MAX = 8
_COMMIT_WAIT_NS = 50_000_000
_KINDS = (Kind.BOOK, Kind.BOOK_CONTROL, Kind.STATUS)
_NO_EPOCH = -1  # of a copy that nobody vouches for


def _number(text: float, decimals: int) -> str:
    return f"{text:.{decimals}f}" if decimals >= 0 else f"{text:g}"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class BookSnapshot:
    """A book at one moment: both sides, sequence and ring position belong together.

    ``bids`` and ``asks``: dtype LEVEL (price, size float64 in the venue's units), best first.
    """

    instrument: Instrument
    bids: Levels
    asks: Levels
    state: BookState
    sequence: int | None
    ring_pos: int
    """ring_seq of the last record that is in the book: go on reading behind it."""
    ts_event: int
    ts_recv: int
    truncated: bool
    """The venue's book has, or may have, more levels than these."""
    cut: tuple[bool, bool]
    """Whether bids and asks may go on below their last level, which a fold has to know."""

    @property
    def best(self) -> tuple[float, float, float, float]:
        """(bid price, bid size, ask price, ask size), NaN where a side is empty."""
        nothing = (float("nan"), float("nan"))
        bid = self.bids[0].item() if len(self.bids) else nothing
        ask = self.asks[0].item() if len(self.asks) else nothing
        return (*bid, *ask)

    @property
    def mid(self) -> float:
        bid, _, ask, _ = self.best
        return (bid + ask) / 2

    @property
    def spread(self) -> float:
        bid, _, ask, _ = self.best
        return ask - bid

    @property
    def live(self) -> bool:
        """True when the book is complete and up to date as far as the daemon knows."""
        return self.state is BookState.LIVE

    def __repr__(self) -> str:
        return f"<Book {_describe(self)}>"


def _describe(book: BookSnapshot, levels: int = 3) -> str:
    digits = book.instrument.price_decimals
    lines = [f"{book.instrument.name} {book.state.name} sequence {book.sequence}"]
    for price, size in book.asks[:levels][::-1].tolist():
        lines.append(f"  ask {_number(price, digits):>14} {size:g}")
    for price, size in book.bids[:levels].tolist():
        lines.append(f"  bid {_number(price, digits):>14} {size:g}")
    return "\n".join(lines)


class Book:
    """Live view of one book: each attribute is as of the moment it is read. One thread.

    Two attributes read one after the other may come from two moments; ``refresh()`` returns a
    ``BookSnapshot`` whose parts belong together. Up to 32 levels are one copy out of shared memory
    (a few microseconds); with more, the daemon's deep copy is rolled forward with the ring's
    records. A book that is not ``live`` says so in ``state``; its levels are then the last known.
    One whose reader process died or hangs is STALE until the next one takes over.
    """

    def __init__(
        self,
        instrument: Callable[[], Instrument],
        books: Callable[[int], BooksReader],
        ring: Callable[[int], RingReader],
        kept_up: Callable[[int], bool],
        depth: int | None = TOP_LEVELS,
    ) -> None:
        if depth is not None and depth < 1:
            raise ValueError("depth must be at least 1, or None for every level that is shared")
        self._lookup = instrument
        self._books = books
        self._open_ring = ring
        self._kept_up = kept_up
        self.depth = depth
        self.instrument = instrument()
        self._ring: RingReader | None = None
        self._ring_of = -1
        self._folded: FoldedBook | None = None
        self._copied_from: BooksReader | None = None
        self._copied_pos = self._epoch = 0
        self._window = (-math.inf, math.inf)
        self._events = EventBuffer(1024, kinds=_KINDS)
        self._place()

    def _place(self) -> tuple[int, int]:
        """(reader, row) that publish this book; ShmError when nobody does."""
        instrument = self.instrument
        if instrument.reader < 0 or instrument.row < 0:
            instrument = self.instrument = self._lookup()
        if instrument.reader < 0 or instrument.row < 0:
            raise ShmError(
                f"{instrument.name} is known but not subscribed: no reader publishes its book"
            )
        return instrument.reader, instrument.row

    def refresh(self) -> BookSnapshot:
        """The book as of now; its parts belong together."""
        reader, row = self._place()
        kept = self._kept_up(reader)  # before the copy: the next writer does not vouch for it
        if not kept and self._has_moved(reader, row):
            return self.refresh()
        books = self._books(reader)
        if self.depth is not None and self.depth <= TOP_LEVELS:
            view = books.top(row)
            if not self._stays(reader, row, view.instrument):
                return self.refresh()
            state = _state(view.state, kept)
            return self._snapshot(view, state, view.bids[: self.depth], view.asks[: self.depth])
        return self._deep(books, reader, row, kept)

    def _has_moved(self, reader: int, row: int) -> bool:
        """Whether another reader that is at work has the book by now."""
        try:
            found = self._lookup()
        except KeyError:
            return False  # the daemon is between two lives
        if found.row < 0 or found.reader in (-1, reader) or not self._kept_up(found.reader):
            return False
        self.instrument = found
        return True

    def _stays(self, reader: int, row: int, holder: int) -> bool:
        """Whether the row, which ``holder`` has, is still ours; a row of nobody is to be filled."""
        if holder == self.instrument.id:
            return True
        self.instrument = self._lookup()
        if self._place() != (reader, row):
            self._folded = None
            return False
        if holder != NO_INSTRUMENT:
            raise ShmError(f"{self.instrument.name} is not subscribed any more: its row went on")
        return True

    def _snapshot(self, view: Any, state: BookState, bids: Levels, asks: Levels) -> BookSnapshot:
        shown = len(bids), len(asks)
        return BookSnapshot(
            instrument=self.instrument,
            bids=bids,
            asks=asks,
            state=state,
            sequence=known_sequence(view.sequence),
            ring_pos=view.ring_pos,
            ts_event=view.ts_event,
            ts_recv=view.ts_recv,
            truncated=view.levels_total[0] > shown[0] or view.levels_total[1] > shown[1],
            cut=(view.levels_total[0] > shown[0], view.levels_total[1] > shown[1]),
        )

    def _deep(self, books: BooksReader, reader: int, row: int, kept: bool) -> BookSnapshot:
        ring = self._ring
        if ring is None or self._ring_of != reader or ring.superseded:
            if ring is not None:
                ring.close()
            ring = self._ring = self._open_ring(reader)
            self._ring_of = reader
            self._folded = None
        deadline = clock.monotonic_ns() + _COMMIT_WAIT_NS
        while True:
            folded = self._folded
            if (
                folded is None
                or self._copied_from is not books
                or self._copied_pos == 0
                or ring.epoch != self._epoch
                or ring.head - ring.position > _ROLL_MAX
                or not self._roll(ring, folded)
            ):
                folded = self._start(books, row, ring, kept)
            top = books.top(row)
            if not self._stays(reader, row, top.instrument):
                return self.refresh()
            if self._agree(books, row, ring, top) or clock.monotonic_ns() > deadline:
                break
            clock.sleep(0)
        depth = books.depth(row) if self.depth is None else min(self.depth, books.depth(row))
        bids, asks = self._known(folded, depth)
        total_bid, total_ask = top.levels_total
        short = len(bids) < min(depth, total_bid) or len(asks) < min(depth, total_ask)
        if short and books.deep(row, 1).ring_pos > self._copied_pos:
            # Deletes have eaten into the copied window; a newer copy holds what lay below it.
            folded = self._start(books, row, ring, kept)
            bids, asks = self._known(folded, depth)
        if self._copied_pos and (len(bids) < len(top.bids) or len(asks) < len(top.asks)):
            # Nearly all of the window is gone, and there is no newer copy yet.
            return self._snapshot(top, _state(top.state, kept), top.bids, top.asks)
        cut = (  # the daemon's totals are of another moment
            self._window[0] > -math.inf or folded.n_bids > len(bids),
            self._window[1] < math.inf or folded.n_asks > len(asks),
        )
        # Not copied: nothing was shown yet, or its writer is inside it and does not come back.
        shared = top.state if self._copied_pos else BookState.INIT
        if shared is BookState.LIVE:
            shared = folded.state
        return BookSnapshot(
            instrument=self.instrument,
            bids=bids,
            asks=asks,
            state=_state(shared, kept),
            sequence=known_sequence(folded.sequence),
            ring_pos=folded.ring_pos,
            ts_event=folded.ts_event,
            ts_recv=folded.ts_recv,
            truncated=any(cut),
            cut=cut,
        )

    def _agree(self, books: BooksReader, row: int, ring: RingReader, top: BookView) -> bool:
        """Whether the levels are those that the daemon's state speaks of. Rows are written before
        the records that they show: a snapshot that made the book live may be still to come."""
        folded = self._folded
        if folded is None or not self._copied_pos or self._epoch == _NO_EPOCH:
            return True
        if top.state is not BookState.LIVE:
            folded.mark(top.state)
            return True
        if folded.state is BookState.LIVE:
            return True
        if self._events.position(ring) <= top.ring_pos:
            return False
        if books.deep(row, 1).ring_pos != self._copied_pos:
            self._folded = None  # it began after the start of the snapshot that counts
            return False
        folded.mark(BookState.LIVE)
        return True

    def _known(self, folded: FoldedBook, depth: int) -> tuple[Levels, Levels]:
        """The levels that are certain: a level worse than the copied window may have unseen
        neighbours between it and the window."""
        bids, asks = folded.levels(1, depth), folded.levels(-1, depth)
        lowest, highest = self._window
        if len(bids) and bids["price"][-1] < lowest:
            bids = bids[bids["price"] >= lowest]
        if len(asks) and asks["price"][-1] > highest:
            asks = asks[asks["price"] <= highest]
        return bids, asks

    def _start(self, books: BooksReader, row: int, ring: RingReader, kept: bool) -> FoldedBook:
        """Copy the deep tier and roll it forward; again when the ring has overtaken it."""
        shared = books.depth(row)
        for _ in range(_COPIES_MAX):
            head, epoch = ring.head, ring.epoch
            view = books.deep(row)
            folded = FoldedBook(self.instrument.id)
            folded.seed(
                view.bids,
                view.asks,
                sequence=view.sequence,
                ring_pos=view.ring_pos,
                ts_event=view.ts_event,
                ts_recv=view.ts_recv,
                state=view.state,
            )
            self._folded = folded
            ours = view.instrument == self.instrument.id
            self._copied_from = books
            self._copied_pos = view.ring_pos if ours else 0
            self._epoch = epoch if kept else _NO_EPOCH
            # A side that fills the window may go on below it; a shorter one is whole.
            self._window = (
                float(view.bids["price"][-1]) if len(view.bids) >= shared else -math.inf,
                float(view.asks["price"][-1]) if len(view.asks) >= shared else math.inf,
            )
            if not self._copied_pos:
                return folded  # the middle of the ring's history is no beginning of a book
            out_of_reach = view.ring_pos + 1 + ring.capacity <= head
            # What is not live waits for a snapshot, and that comes after ``head``; and nothing was
            # published since of a book whose newest event is in the copy.
            waits = out_of_reach and (
                view.state is not BookState.LIVE or books.top(row).ring_pos == view.ring_pos
            )
            _seek(ring, head if waits else view.ring_pos + 1, wait=kept)
            self._events.begin(ring)
            rolled = self._roll(ring, folded)
            if (rolled and ring.epoch == epoch) or not kept:
                return folded
        raise ShmError(
            f"{self.instrument.name}: the ring runs away from its deep book; give the ring more "
            "slots, or ask for 32 levels"
        )

    def _roll(self, ring: RingReader, folded: FoldedBook) -> bool:
        """Apply the whole events that the ring has; False when records were lost, or when they are
        another writer's."""
        while self._events.fill(ring):
            records, lost, restarted, _ = self._events.take()  # type: ignore[misc]
            if lost or restarted:
                return False
            folded.fold(records)
        return True

    # ---- live attributes --------------------------------------------------------------------

    @property
    def bids(self) -> Levels:
        return self.refresh().bids

    @property
    def asks(self) -> Levels:
        return self.refresh().asks

    @property
    def best(self) -> tuple[float, float, float, float]:
        return self.refresh().best

    @property
    def mid(self) -> float:
        return self.refresh().mid

    @property
    def spread(self) -> float:
        return self.refresh().spread

    @property
    def state(self) -> BookState:
        return self.refresh().state

    @property
    def live(self) -> bool:
        return self.refresh().live

    @property
    def sequence(self) -> int | None:
        return self.refresh().sequence

    @property
    def ring_pos(self) -> int:
        return self.refresh().ring_pos

    @property
    def ts_event(self) -> int:
        return self.refresh().ts_event

    def close(self) -> None:
        """Unmap the ring (only deep views have one)."""
        if self._ring is not None:
            self._ring.close()
            self._ring = None
            self._folded = None

    def __repr__(self) -> str:
        return f"<live Book {_describe(self.refresh())}>"


def _state(shared: BookState, kept: bool) -> BookState:
    """What the writer said, as long as there is one."""
    return BookState.STALE if shared is BookState.LIVE and not kept else shared


def _seek(ring: RingReader, position: int, *, wait: bool) -> None:
    """Go to a position that the ring may commit only in a moment (books are written first)."""
    deadline = clock.monotonic_ns() + _COMMIT_WAIT_NS
    while wait and ring.head < position and clock.monotonic_ns() < deadline:
        clock.sleep(0)
    ring.seek(min(position, ring.head))
