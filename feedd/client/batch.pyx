"""A batch: the whole events that one look at one ring yielded; batch.pyi says what it promises.

A consumer that spins for one record has it when the batch is there: arrays are made when they are
asked for, on memory that the batch holds.
"""

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t, uint32_t, uint64_t

import numpy as np

from feedd.records import KIND_DTYPES, RAW

from feedd.shm.feedd cimport (
    FEEDD_BOOK, FEEDD_BOOK_CONTROL, FEEDD_DERIV, FEEDD_GREEKS, FEEDD_LIQUIDATION, FEEDD_QUOTE,
    FEEDD_STATUS, FEEDD_TRADE, feedd_record,
)

_ndarray = np.ndarray
_NOTHING = np.empty(0, dtype=RAW)


@cython.final
@cython.freelist(16)
cdef class Block:
    """Memory for records; NumPy arrays reach it through the buffer protocol."""

    def __dealloc__(self):
        if self.records != &self.one:
            PyMem_Free(self.records)

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(
            view, self, self.records, self.room * <Py_ssize_t>sizeof(feedd_record), 0, flags)


cdef Block new_block(Py_ssize_t room):
    cdef Block block = Block.__new__(Block)
    if room <= 1:
        block.records = &block.one
    else:
        block.records = <feedd_record*>PyMem_Malloc(room * sizeof(feedd_record))
        if block.records == NULL:
            raise MemoryError(f"no memory for {room} records")
    block.room = room
    return block


@cython.final
@cython.freelist(16)
@cython.no_gc    # nothing of a batch can lead back to it
cdef class Batch:
    def __cinit__(self):
        self.alive = True
        self.broken_snapshots = ()

    def __init__(self, records, *, int reader=0, uint64_t lost=0, bint restarted=False,
                 tuple broken_snapshots=(), bint alive=True, int64_t read_ns=0,
                 bint silent=False):
        self._records = records
        self.n = len(records)
        self.reader = reader
        self.lost = lost
        self.restarted = restarted
        self.broken_snapshots = broken_snapshots
        self.alive = alive
        self.read_ns = read_ns
        self.silent = silent

    cdef object _array(self, object dtype, Block block, Py_ssize_t start, Py_ssize_t n):
        return _ndarray((n,), dtype, block, start * <Py_ssize_t>sizeof(feedd_record))

    @property
    def records(self):
        if self._records is None:
            if self.block is None:
                self._records = _NOTHING
            else:
                self._records = self._array(RAW, self.block, self.start, self.n)
        return self._records

    @property
    def positions(self):
        if self.rings is None:
            return {}
        sequences = (self.sequence,) if self.sequences is None else self.sequences
        return {
            str(number): [ring, sequence]
            for (number, ring), sequence in zip(self.rings, sequences, strict=True)
        }

    cdef object _part(self, int kind):
        if self._parts is None:
            self._parts = {}
        part = self._parts.get(kind)
        if part is None:
            if self.block is None:
                part = select(self.records, <uint32_t>1 << kind).view(KIND_DTYPES[kind])
            else:
                block, start, n = _chosen(self.block, self.start, self.n, <uint32_t>1 << kind)
                part = self._array(KIND_DTYPES[kind], block, start, n)
            self._parts[kind] = part
        return part

    @property
    def trades(self):
        return self._part(FEEDD_TRADE)

    @property
    def liquidations(self):
        return self._part(FEEDD_LIQUIDATION)

    @property
    def quotes(self):
        return self._part(FEEDD_QUOTE)

    @property
    def books(self):
        return self._part(FEEDD_BOOK)

    @property
    def controls(self):
        return self._part(FEEDD_BOOK_CONTROL)

    @property
    def derivs(self):
        return self._part(FEEDD_DERIV)

    @property
    def greeks(self):
        return self._part(FEEDD_GREEKS)

    @property
    def status(self):
        return self._part(FEEDD_STATUS)

    def __len__(self):
        return self.n

    def __iter__(self):
        kinds = self.records["kind"].tolist()
        for i, kind in enumerate(kinds):
            dtype = KIND_DTYPES.get(kind)
            row = self.records[i : i + 1]
            yield (row if dtype is None else row.view(dtype))[0]

    def of(self, instrument):
        cdef Batch batch = Batch(
            self.records[self.records["instrument"] == instrument],
            reader=self.reader,
            lost=self.lost,
            restarted=self.restarted,
            broken_snapshots=self.broken_snapshots,
            alive=self.alive,
            read_ns=self.read_ns,
            silent=self.silent,
        )
        batch.rings, batch.sequences, batch.sequence = self.rings, self.sequences, self.sequence
        return batch

    def __repr__(self):
        counts = [
            f"{len(self._part(kind))} {kind.name.lower()}"
            for kind in KIND_DTYPES
            if len(self._part(kind))
        ]
        notes = [f"{self.lost} lost"] if self.lost else []
        notes += ["restarted"] if self.restarted else []
        notes += [] if self.alive else ["writer dead"]
        text = ", ".join([*counts, *notes]) or "empty"
        return f"<Batch reader {self.reader}: {text}>"


cdef inline bint _is(const feedd_record* record, uint32_t kinds) noexcept nogil:
    return (kinds >> (record.kind & 31)) & 1


cdef tuple _chosen(Block block, Py_ssize_t start, Py_ssize_t n, uint32_t kinds):
    """(block, start, n) of the records whose kind has its bit: where they are, if all have it."""
    cdef Py_ssize_t i
    cdef Py_ssize_t kept = 0
    cdef Block out
    for i in range(start, start + n):
        kept += _is(&block.records[i], kinds)
    if kept == n:
        return block, start, n
    out = new_block(kept)
    kept = 0
    for i in range(start, start + n):
        if _is(&block.records[i], kinds):
            out.records[kept] = block.records[i]
            kept += 1
    return out, 0, kept


def select(records, uint32_t kinds):
    cdef const unsigned char[::1] view
    cdef unsigned char[::1] target
    cdef const feedd_record* source
    cdef feedd_record* to
    cdef Py_ssize_t i
    cdef Py_ssize_t n = len(records)
    cdef Py_ssize_t kept = 0
    if n == 0:
        return records
    view = np.ascontiguousarray(records).view(np.uint8).reshape(-1)
    source = <const feedd_record*>&view[0]
    for i in range(n):
        kept += _is(&source[i], kinds)
    if kept == n:
        return records
    out = np.empty(kept, dtype=RAW)
    if kept:
        target = out.view(np.uint8).reshape(-1)
        to = <feedd_record*>&target[0]
        kept = 0
        for i in range(n):
            if _is(&source[i], kinds):
                to[kept] = source[i]
                kept += 1
    return out
