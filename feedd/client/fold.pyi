"""Order books folded from ring records.

A *fold* turns BOOK and BOOK_CONTROL records back into books: a snapshot replaces a book, a delta
sets or deletes levels. Levels come out as NumPy arrays of dtype ``LEVEL`` (price, size: float64 in
the venue's units), best first. Objects belong to one thread. Speed: a few tens of ns per level.

Typical loop::

    books = feedd.BookBuilder()
    for batch in feed.stream(kinds=["book"]):
        books.apply(batch)
        book = books[instrument_id]
        if book.state == feedd.BookState.LIVE:
            use(book.best)
"""

from collections.abc import Iterator
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from feedd.client.batch import Batch
from feedd.records import BookState

LEVEL: Final[np.dtype[Any]]

@final
class FoldedBook:
    """One instrument's full book. Not live by itself: it is what the records applied so far say."""

    def __init__(self, instrument: int = 0, *, reader: int = -1, levels_max: int = ...) -> None: ...
    def seed(
        self,
        bids: npt.NDArray[Any],
        asks: npt.NDArray[Any],
        *,
        sequence: int | None = None,
        ring_pos: int = 0,
        ts_event: int = 0,
        ts_recv: int = 0,
        state: BookState | int = ...,
        cut: tuple[bool, bool] = ...,
    ) -> None:
        """Start from a known book (LEVEL arrays); records up to ``ring_pos`` are then skipped.

        ``cut``: whether bids and asks may go on below the last level (``BookSnapshot.cut``). What
        lies below it is not shown then, and when nothing is left above it the state is GAP: the
        next snapshot, or another ``Feed.join``, gives a whole book again.
        """

    def fold(self, records: npt.NDArray[Any]) -> int:
        """Apply this instrument's records of a RAW array; returns the book events completed."""

    def mark(self, state: BookState | int) -> None:
        """Set the state, for instance GAP when records were lost on the way."""

    def forget_position(self) -> None:
        """Accept records of any ring position again (the ring was created anew)."""

    def levels(self, side: int, depth: int = -1) -> npt.NDArray[Any]:
        """A copy of the best ``depth`` levels (all when negative); side > 0: bids, else asks."""

    @property
    def bids(self) -> npt.NDArray[Any]: ...
    @property
    def asks(self) -> npt.NDArray[Any]: ...
    @property
    def n_bids(self) -> int: ...
    @property
    def n_asks(self) -> int: ...
    @property
    def best(self) -> tuple[float, float, float, float]:
        """(bid price, bid size, ask price, ask size), NaN where a side is empty."""

    @property
    def mid(self) -> float: ...
    @property
    def spread(self) -> float: ...
    @property
    def state(self) -> BookState: ...
    @property
    def instrument(self) -> int: ...
    @property
    def reader(self) -> int: ...
    @property
    def sequence(self) -> int:
        """The venue's sequence of the last record applied; NO_SEQUENCE when there is none."""

    @property
    def ts_event(self) -> int: ...
    @property
    def ts_recv(self) -> int: ...
    @property
    def ring_pos(self) -> int: ...
    @property
    def updates(self) -> int: ...
    @property
    def unknown_deletes(self) -> int:
        """Deletes of levels that were not there; some venues send such, so this is no error."""

    @property
    def truncated(self) -> bool:
        """A side reached ``levels_max`` and its worst level was cut."""

@final
class BookBuilder:
    """Folds a stream into the full books of all its instruments, each by its id.

    Loss is not hidden: when a batch says that records were lost, every book of that reader goes
    to GAP until its next snapshot (``Feed.join`` gives a fresh start at once).
    """

    def __init__(self, *, levels_max: int = ...) -> None: ...
    def apply(self, batch: Batch | npt.NDArray[Any]) -> int:
        """Apply a Batch or a RAW array; returns the number of book events completed.

        Raises TypeError for an array of another dtype, ValueError for an id beyond 2^24.
        """

    def seed(
        self,
        instrument: int,
        bids: npt.NDArray[Any],
        asks: npt.NDArray[Any],
        *,
        reader: int = -1,
        sequence: int | None = None,
        ring_pos: int = 0,
        ts_event: int = 0,
        ts_recv: int = 0,
        state: BookState | int = ...,
        cut: tuple[bool, bool] = ...,
    ) -> FoldedBook:
        """Start one instrument's book from a known state, for instance of ``Feed.join``."""

    def mark_lost(self, reader: int = -1) -> None:
        """Put the books of one reader (all when negative) to GAP."""

    def restart(self, reader: int = -1) -> None:
        """The reader's ring was created anew: as ``mark_lost``, and positions are forgotten."""

    def get(self, instrument: int, default: Any = None) -> FoldedBook | Any: ...
    @property
    def levels_max(self) -> int: ...
    @property
    def events(self) -> int: ...
    def __getitem__(self, instrument: int, /) -> FoldedBook: ...
    def __contains__(self, instrument: int, /) -> bool: ...
    def __iter__(self) -> Iterator[FoldedBook]: ...
    def __len__(self) -> int: ...
