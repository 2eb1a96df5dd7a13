"""The books: per board row the best 32 levels a side as of now, and a deep copy as of a moment ago.

``BooksWriter`` belongs to the reader process that owns the rows; ``BooksReader`` copies tiers out,
each consistent in itself.
"""

from dataclasses import dataclass

import numpy as np

from feedd.errors import LayoutError, ShmError
from feedd.records import NO_INSTRUMENT, BookState
from feedd.shm import layout
from feedd.shm.directory import segment_path
from feedd.shm.layout import SegmentKind
from feedd.shm.rows import LEVEL
from feedd.shm.segment import anonymous, create, open_segment

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from feedd.shm.feedd cimport (
    FEEDD_HEADER_BYTES, FEEDD_PATIENCE_NS, FEEDD_TOP, feedd_book, feedd_book_bytes,
    feedd_book_index, feedd_book_read_deep, feedd_book_reset, feedd_level, feedd_load,
    feedd_patience, feedd_seq_read, feedd_seq_wait,
)

cdef enum:
    RETRIES = 1000
    TOP_BYTES = 0x480

_DTYPE = (
    '{"itemsize":16,"fields":[["offset","<u8",0],["depth","<u4",8],["instrument","<u4",12]]}'
)


@dataclass(frozen=True, slots=True)
class BookView:
    """A consistent copy of one tier of a book; ``bids`` and ``asks`` have dtype ``LEVEL``."""

    instrument: int
    state: BookState
    ring_pos: int
    sequence: int
    ts_event: int
    ts_recv: int
    bids: np.ndarray
    asks: np.ndarray
    levels_total: tuple
    truncated: bool


def _body_bytes(depths):
    at = layout.HEADER_BYTES + len(depths) * layout.BOOK_INDEX_BYTES
    offsets = []
    for depth in depths:
        at = (at + 63) & ~63
        offsets.append(at)
        at += feedd_book_bytes(depth)
    return offsets, at - layout.HEADER_BYTES


def _check_depths(depths):
    depths = [int(depth) for depth in depths]
    if not depths or min(depths) < FEEDD_TOP or max(depths) > 1_000_000:
        raise ShmError(
            f"books need at least one row, and each a depth of {FEEDD_TOP} to 1,000,000 levels"
        )
    return depths


cdef class BooksWriter:
    """All books of one reader process. Not thread-safe: one writer per block."""

    def __init__(self):
        raise TypeError("use BooksWriter.create, BooksWriter.open or BooksWriter.private")

    @classmethod
    def create(cls, directory, int reader_n, depths, group=None):
        """Make ``reader-<n>.books``, one block per entry of ``depths`` (levels a side)."""
        cdef BooksWriter self = BooksWriter.__new__(BooksWriter)
        depths = _check_depths(depths)
        offsets, body = _body_bytes(depths)
        self._format(create(
            segment_path(directory, "books", reader_n),
            SegmentKind.BOOKS,
            capacity=len(depths),
            slot_bytes=layout.BOOK_INDEX_BYTES,
            body_bytes=body,
            dtype=_DTYPE,
            name=f"reader-{reader_n}",
            group=group,
        ), depths, offsets)
        return self

    @classmethod
    def open(cls, directory, int reader_n, bint fresh=False):
        """Take the blocks over; the caller holds the ring's lock.

        A tier that a dead writer left half-written makes its book empty, in state INIT; with
        ``fresh`` all are, and belong to no instrument.
        """
        cdef BooksWriter self = BooksWriter.__new__(BooksWriter)
        self._attach(open_segment(
            segment_path(directory, "books", reader_n), SegmentKind.BOOKS, writable=True))
        self._repair(fresh)
        self.segment.new_epoch()
        return self

    @classmethod
    def private(cls, depths, *, populate=False):
        """Blocks in memory of this process. ``populate``: have all of it now, as shared ones
        have."""
        cdef BooksWriter self = BooksWriter.__new__(BooksWriter)
        depths = _check_depths(depths)
        offsets, body = _body_bytes(depths)
        self._format(anonymous(
            SegmentKind.BOOKS,
            capacity=len(depths),
            slot_bytes=layout.BOOK_INDEX_BYTES,
            body_bytes=body,
            dtype=_DTYPE,
            name="private",
            populate=populate,
        ), depths, offsets)
        return self

    def _format(self, segment, depths, offsets):
        cdef feedd_book_index* index
        cdef feedd_book* book
        base = np.frombuffer(segment.buf, dtype=np.uint8)
        cdef unsigned char[::1] view = base
        index = <feedd_book_index*>&view[FEEDD_HEADER_BYTES]
        for row, (depth, offset) in enumerate(zip(depths, offsets, strict=True)):
            index[<size_t>row].offset = offset
            index[<size_t>row].depth = depth
            index[<size_t>row].instrument = NO_INSTRUMENT
            book = <feedd_book*>&view[<size_t>offset]
            feedd_book_reset(book, NO_INSTRUMENT, depth)
        self._attach(segment)

    cdef _attach(self, segment):
        _index(segment)
        self.segment = segment
        self.n_rows = segment.header.capacity
        self._base = segment.buf

    def _repair(self, bint fresh):
        """An empty book in state INIT for every block with an odd lock, or for all."""
        cdef uint32_t row
        cdef feedd_book* book
        for row in range(self.n_rows):
            book = self.block(row)
            if fresh:
                feedd_book_reset(book, NO_INSTRUMENT, self.depth(row))
            elif (feedd_load(&book.lock) | feedd_load(&book.deep_lock)) & 1:
                feedd_book_reset(book, book.instrument, self.depth(row))

    cdef feedd_book* block(self, uint32_t row) noexcept nogil:
        cdef feedd_book_index* index
        if row >= self.n_rows:
            return NULL
        index = <feedd_book_index*>&self._base[FEEDD_HEADER_BYTES]
        return <feedd_book*>&self._base[index[row].offset]

    cdef uint32_t depth(self, uint32_t row) noexcept nogil:
        cdef feedd_book_index* index
        if row >= self.n_rows:
            return 0
        index = <feedd_book_index*>&self._base[FEEDD_HEADER_BYTES]
        return index[row].depth

    def close(self):
        if self._base is None:
            return
        self.n_rows = 0
        self._base = None
        self.segment.close()


def _index(segment):
    """(offsets, depths) of a books segment, every block checked to lie inside the file."""
    header = segment.header
    rows = header.capacity
    first = layout.HEADER_BYTES + rows * layout.BOOK_INDEX_BYTES
    if header.slot_bytes != layout.BOOK_INDEX_BYTES or not 0 < first <= header.file_size:
        raise LayoutError(f"{segment.path} says {rows} books in {header.file_size} bytes")
    table = np.frombuffer(
        segment.buf,
        dtype=np.dtype([("offset", "<u8"), ("depth", "<u4"), ("instrument", "<u4")]),
        count=rows,
        offset=layout.HEADER_BYTES,
    )
    offsets, depths = table["offset"].astype(np.uint64), table["depth"].astype(np.uint64)
    ends = offsets + np.uint64(layout.BOOK_HEAD_BYTES) + depths * np.uint64(2 * layout.LEVEL_BYTES)
    if (
        (offsets % np.uint64(64)).any()
        or (offsets < np.uint64(first)).any()
        or (offsets > np.uint64(header.file_size)).any()
        or (ends > np.uint64(header.file_size)).any()
    ):
        raise LayoutError(
            f"{segment.path} has a block outside the file: damaged; remove it, restart the daemon"
        )
    return offsets, depths


cdef class BooksReader:
    """The books of one reader process, read-only. ``source``: directory or private BooksWriter."""

    cdef readonly object segment
    cdef readonly uint32_t n_rows
    cdef const unsigned char[::1] _base
    cdef uint64_t[::1] _offsets
    cdef uint64_t[::1] _depths
    cdef bint _owner
    cdef feedd_patience _patience

    def __init__(self, source, int reader_n=0):
        if isinstance(source, BooksWriter):
            self.segment = (<BooksWriter>source).segment
        else:
            self.segment = open_segment(
                segment_path(source, "books", reader_n), SegmentKind.BOOKS)
            self._owner = True
        self._offsets, self._depths = _index(self.segment)
        self.n_rows = self.segment.header.capacity
        self._base = self.segment.buf

    cdef const feedd_book* _block(self, Py_ssize_t row) except NULL:
        if self._base is None:
            raise ShmError("this books reader is closed")
        if not 0 <= row < self.n_rows:
            raise IndexError(f"book {row}: there are {self.n_rows}")
        return <const feedd_book*>&self._base[self._offsets[row]]

    def depth(self, Py_ssize_t row):
        """Levels a side that the deep tier of this book can hold."""
        self._block(row)
        return self._depths[row]

    def top(self, Py_ssize_t row):
        """The best 32 levels a side, exactly as of ``ring_pos``.

        A writer that is inside is waited for, at most 100 ms in all. A book whose writer died
        there, or does not come back, is empty, in state INIT, with ``ring_pos`` 0.
        """
        cdef const feedd_book* book = self._block(row)
        cdef feedd_book copy
        cdef uint32_t n_bid, n_ask
        cdef int ok
        memset(&copy, 0, sizeof(copy))
        ok = feedd_seq_read(book, &copy, TOP_BYTES, RETRIES)
        if not ok:
            self._patience.left_ns = FEEDD_PATIENCE_NS
            with nogil:
                while not ok and feedd_seq_wait(&book.lock, &self._patience):
                    ok = feedd_seq_read(book, &copy, TOP_BYTES, RETRIES)
        if not ok:
            return _nothing(<uint32_t>feedd_load(&book.instrument))
        n_bid = min(copy.n_bid, <uint32_t>FEEDD_TOP)
        n_ask = min(copy.n_ask, <uint32_t>FEEDD_TOP)
        return BookView(
            instrument=copy.instrument,
            state=BookState(copy.state),
            ring_pos=copy.ring_pos,
            sequence=copy.sequence,
            ts_event=copy.ts_event,
            ts_recv=copy.ts_recv,
            bids=_levels(copy.top_bid, n_bid),
            asks=_levels(copy.top_ask, n_ask),
            levels_total=(copy.levels_total_bid, copy.levels_total_ask),
            truncated=bool(copy.truncated) or copy.levels_total_bid > n_bid
            or copy.levels_total_ask > n_ask,
        )

    def deep(self, Py_ssize_t row, limit=None):
        """Up to ``limit`` levels a side (None: all that are shared) as of ``ring_pos``, which may
        be older than that of ``top``: apply the BOOK records after it to catch up.

        Empty with ``ring_pos`` 0: there is no copy yet, or as in ``top`` its writer is inside and
        does not come back. What the ring holds does not make a book of that.
        """
        cdef const feedd_book* book = self._block(row)
        cdef uint32_t depth = <uint32_t>self._depths[row]
        cdef uint32_t room = depth if limit is None else min(depth, <uint32_t>max(int(limit), 1))
        cdef uint64_t head[8]
        cdef feedd_level[::1] bid_view
        cdef feedd_level[::1] ask_view
        cdef int ok
        bids, asks = np.empty(room, dtype=LEVEL), np.empty(room, dtype=LEVEL)
        bid_view, ask_view = bids, asks
        self._patience.left_ns = FEEDD_PATIENCE_NS
        with nogil:
            while True:
                ok = feedd_book_read_deep(
                    book, depth, head, &bid_view[0], &ask_view[0], room, RETRIES)
                if ok or not feedd_seq_wait(&book.deep_lock, &self._patience):
                    break
        state = self.top(row)
        if not ok:
            return _nothing(state.instrument)
        n_bid, n_ask = <uint32_t>head[2], <uint32_t>(head[2] >> 32)
        return BookView(
            instrument=state.instrument,
            state=state.state,
            ring_pos=head[1],
            sequence=head[3],
            ts_event=<int64_t>head[4],
            ts_recv=<int64_t>head[5],
            bids=bids[:n_bid],
            asks=asks[:n_ask],
            levels_total=state.levels_total,
            truncated=state.levels_total[0] > n_bid or state.levels_total[1] > n_ask,
        )

    def close(self):
        if self._base is None:
            return
        self._base = None
        if self._owner:
            self.segment.close()


cdef _levels(const feedd_level* levels, uint32_t n):
    out = np.empty(n, dtype=LEVEL)
    cdef feedd_level[::1] view
    cdef uint32_t i
    if n:
        view = out
        for i in range(n):
            view[i] = levels[i]
    return out


def _nothing(instrument):
    empty = np.empty(0, dtype=LEVEL)
    return BookView(
        instrument, BookState.INIT, 0, 2**64 - 1, 0, 0, empty, empty, (0, 0), False)
