"""The board: one row of 512 bytes per instrument with the latest of everything.

``BoardWriter`` belongs to the reader process that owns the rows (it holds the ring's lock);
``BoardReader`` copies rows out, each consistent in itself.
"""

import numpy as np

from feedd.errors import LayoutError, ShmError
from feedd.records import NO_INSTRUMENT
from feedd.shm import layout
from feedd.shm.directory import segment_path
from feedd.shm.layout import SegmentKind
from feedd.shm.rows import BOARD
from feedd.shm.segment import anonymous, create, dtype_json, open_segment

from libc.stdint cimport int64_t, uint32_t, uint64_t

from feedd.shm.feedd cimport (
    FEEDD_BOARD_ROW_BYTES, FEEDD_HEADER_BYTES, FEEDD_PATIENCE_NS, feedd_board_reset,
    feedd_board_row, feedd_load, feedd_patience, feedd_seq_read, feedd_seq_wait,
)

cdef enum:
    RETRIES = 1000


def _geometry(segment):
    rows = segment.header.capacity
    body = segment.header.file_size - layout.HEADER_BYTES
    if segment.header.slot_bytes != layout.BOARD_ROW_BYTES or body != rows * layout.BOARD_ROW_BYTES:
        raise LayoutError(
            f"{segment.path} says {rows} rows of {segment.header.slot_bytes} bytes in {body}: not "
            "a board that this feedd reads"
        )
    return rows


cdef class BoardWriter:
    """All rows of one reader process. Not thread-safe: one writer per row."""

    def __init__(self):
        raise TypeError("use BoardWriter.create, BoardWriter.open or BoardWriter.private")

    @classmethod
    def create(cls, directory, int reader_n, rows, group=None):
        """Make ``reader-<n>.board`` with ``rows`` fresh rows: the supervisor does this."""
        cdef BoardWriter self = BoardWriter.__new__(BoardWriter)
        if rows < 1:
            raise ShmError(f"a board of {rows} rows: it needs at least one")
        self._attach(create(
            segment_path(directory, "board", reader_n),
            SegmentKind.BOARD,
            capacity=rows,
            slot_bytes=layout.BOARD_ROW_BYTES,
            body_bytes=rows * layout.BOARD_ROW_BYTES,
            dtype=dtype_json(BOARD),
            name=f"reader-{reader_n}",
            group=group,
        ))
        self._reset_all()
        return self

    @classmethod
    def open(cls, directory, int reader_n, bint fresh=False):
        """Take the rows over; the caller holds the ring's lock.

        A row that a dead writer left half-written starts fresh, in state INIT; with ``fresh`` all
        do, and belong to no instrument.
        """
        cdef BoardWriter self = BoardWriter.__new__(BoardWriter)
        self._attach(open_segment(
            segment_path(directory, "board", reader_n), SegmentKind.BOARD, writable=True))
        if fresh:
            self._reset_all()
        else:
            self._repair()
        self.segment.new_epoch()
        return self

    @classmethod
    def private(cls, rows=16, *, populate=False):
        """Rows in memory of this process. ``populate``: have all of it now, as a shared one has."""
        cdef BoardWriter self = BoardWriter.__new__(BoardWriter)
        self._attach(anonymous(
            SegmentKind.BOARD,
            capacity=rows,
            slot_bytes=layout.BOARD_ROW_BYTES,
            body_bytes=rows * layout.BOARD_ROW_BYTES,
            dtype=dtype_json(BOARD),
            name="private",
            populate=populate,
        ))
        self._reset_all()
        return self

    cdef _attach(self, segment):
        self.n_rows = _geometry(segment)
        self.segment = segment
        self._base = segment.buf
        self.rows = <feedd_board_row*>&self._base[FEEDD_HEADER_BYTES]

    def _reset_all(self):
        cdef uint32_t i
        for i in range(self.n_rows):
            feedd_board_reset(&self.rows[i], NO_INSTRUMENT)

    def _repair(self):
        """Fresh content for every row whose lock is odd."""
        cdef uint32_t i
        for i in range(self.n_rows):
            if feedd_load(&self.rows[i].lock) & 1:
                feedd_board_reset(&self.rows[i], self.rows[i].instrument)

    def heartbeat(self, int64_t mono_ns):
        self.segment.beat(mono_ns)

    def close(self):
        if self._base is None:
            return
        self.rows = NULL
        self.n_rows = 0
        self._base = None
        self.segment.close()


cdef class BoardReader:
    """The rows of one reader process, read-only. ``source``: directory or private BoardWriter."""

    cdef readonly object segment
    cdef readonly uint32_t n_rows
    cdef const unsigned char[::1] _base
    cdef bint _owner
    cdef feedd_patience _patience

    def __init__(self, source, int reader_n=0):
        if isinstance(source, BoardWriter):
            self.segment = (<BoardWriter>source).segment
        else:
            self.segment = open_segment(
                segment_path(source, "board", reader_n), SegmentKind.BOARD)
            self._owner = True
        self.n_rows = _geometry(self.segment)
        self._base = self.segment.buf

    def snapshot(self, rows=None):
        """Rows as a new array of dtype ``BOARD``, each one consistent in itself.

        ``rows``: row numbers; None: all. A writer that is inside a row is waited for, at most
        100 ms in all. A row whose writer died there, or does not come back, is fresh (state INIT,
        floats NaN), with its instrument.
        """
        cdef uint32_t[::1] index
        cdef Py_ssize_t i, n
        cdef uint32_t row
        cdef const feedd_board_row* src
        cdef feedd_board_row* dst
        cdef uint64_t lock
        cdef int ok
        if self._base is None:
            raise ShmError("this board reader is closed")
        if rows is None:
            index = np.arange(self.n_rows, dtype=np.uint32)
        else:
            index = np.ascontiguousarray(rows, dtype=np.uint32).reshape(-1)
        n = index.shape[0]
        out = np.empty(n, dtype=BOARD)
        if n == 0:
            return out
        for i in range(n):
            if index[i] >= self.n_rows:
                raise IndexError(f"board row {index[i]}: there are {self.n_rows}")
        cdef unsigned char[::1] view = out.view(np.uint8)
        src = <const feedd_board_row*>&self._base[FEEDD_HEADER_BYTES]
        dst = <feedd_board_row*>&view[0]
        self._patience.left_ns = FEEDD_PATIENCE_NS
        with nogil:
            for i in range(n):
                row = index[i]
                ok = feedd_seq_read(&src[row], &dst[i], FEEDD_BOARD_ROW_BYTES, RETRIES)
                while not ok and feedd_seq_wait(&src[row].lock, &self._patience):
                    ok = feedd_seq_read(&src[row], &dst[i], FEEDD_BOARD_ROW_BYTES, RETRIES)
                if not ok:
                    lock = feedd_load(&src[row].instrument)
                    dst[i].lock = 0
                    feedd_board_reset(&dst[i], <uint32_t>lock)
        return out

    def close(self):
        if self._base is None:
            return
        self._base = None
        if self._owner:
            self.segment.close()
