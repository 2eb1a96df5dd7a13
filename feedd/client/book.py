"""One instrument's shared book, live: the best 32 levels at once, deeper ones rolled forward."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from feedd import clock
from feedd.client.fold import FoldedBook
from feedd.client.instruments import Instrument
from feedd.errors import ShmError
from feedd.records import NO_INSTRUMENT, RAW, BookState, known_sequence
from feedd.shm.books import BooksReader
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
    """The venue's book has more levels than these."""

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
        self._folded: FoldedBook | None = None
        self._copied_pos = self._epoch = 0
        self._window = (-math.inf, math.inf)
        self._scratch = np.empty(1024, dtype=RAW)
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
        books = self._books(reader)
        if self.depth is not None and self.depth <= TOP_LEVELS:
            view = books.top(row)
            if not self._stays(reader, row, view.instrument):
                return self.refresh()
            state = self._state(reader, view.state)
            return self._snapshot(view, state, view.bids[: self.depth], view.asks[: self.depth])
        return self._deep(books, reader, row)

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

    def _state(self, reader: int, shared: BookState) -> BookState:
        """What the writer said, as long as there is one."""
        if shared is BookState.LIVE and not self._kept_up(reader):
            return BookState.STALE
        return shared

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
        )

    def _deep(self, books: BooksReader, reader: int, row: int) -> BookSnapshot:
        ring = self._ring
        if ring is None or ring.superseded:
            if ring is not None:
                ring.close()
            ring = self._ring = self._open_ring(reader)
            self._folded = None
        folded = self._folded
        if (
            folded is None
            or self._copied_pos == 0
            or ring.epoch != self._epoch
            or ring.head - ring.position > _ROLL_MAX
            or not self._roll(ring, folded)
        ):
            folded = self._start(books, row, ring)
        top = books.top(row)
        if not self._stays(reader, row, top.instrument):
            return self.refresh()
        depth = books.depth(row) if self.depth is None else min(self.depth, books.depth(row))
        bids, asks = self._known(folded, depth)
        total_bid, total_ask = top.levels_total
        short = len(bids) < min(depth, total_bid) or len(asks) < min(depth, total_ask)
        if short and books.deep(row, 1).ring_pos > self._copied_pos:
            # Deletes have eaten into the copied window; a newer copy holds what lay below it.
            folded = self._start(books, row, ring)
            bids, asks = self._known(folded, depth)
        # Not copied: nothing was shown yet, or its writer is inside it and does not come back.
        shared = top.state if self._copied_pos else BookState.INIT
        return BookSnapshot(
            instrument=self.instrument,
            bids=bids,
            asks=asks,
            state=self._state(reader, shared),
            sequence=known_sequence(folded.sequence),
            ring_pos=folded.ring_pos,
            ts_event=folded.ts_event,
            ts_recv=folded.ts_recv,
            truncated=total_bid > len(bids) or total_ask > len(asks),
        )

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

    def _start(self, books: BooksReader, row: int, ring: RingReader) -> FoldedBook:
        """Copy the deep tier and roll it forward; again when the ring has overtaken it."""
        shared = books.depth(row)
        for _ in range(_COPIES_MAX):
            head = ring.head
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
            self._copied_pos, self._epoch = view.ring_pos, ring.epoch
            # A side that fills the window may go on below it; a shorter one is whole.
            self._window = (
                float(view.bids["price"][-1]) if len(view.bids) >= shared else -math.inf,
                float(view.asks["price"][-1]) if len(view.asks) >= shared else math.inf,
            )
            if not view.ring_pos:
                return folded  # the middle of the ring's history is no beginning of a book
            out_of_reach = view.ring_pos + 1 + ring.capacity <= head
            # What is not live waits for a snapshot, and that comes after ``head``.
            waits = out_of_reach and view.state is not BookState.LIVE
            _seek(ring, head if waits else view.ring_pos + 1)
            if self._roll(ring, folded):
                return folded
        raise ShmError(
            f"{self.instrument.name}: the ring runs away from its deep book; give the ring more "
            "slots, or ask for 32 levels"
        )

    def _roll(self, ring: RingReader, folded: FoldedBook) -> bool:
        """Apply what the ring has; False when records were lost."""
        lost = ring.lost
        while (n := ring.read_into(self._scratch)) and ring.lost == lost:
            folded.fold(self._scratch[:n])
            if n < len(self._scratch):
                break
        return ring.lost == lost

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


def _seek(ring: RingReader, position: int) -> None:
    """Go to a position that the ring may commit only in a moment (books are written first)."""
    deadline = clock.monotonic_ns() + _COMMIT_WAIT_NS
    while ring.head < position and clock.monotonic_ns() < deadline:
        clock.sleep(0)
    ring.seek(min(position, ring.head))
