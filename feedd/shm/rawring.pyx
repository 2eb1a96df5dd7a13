"""The raw ring as Python objects: ``RawWriter`` in a reader process, ``RawReader`` in the recorder.

``feedd/rawring.h`` holds the protocol. Each side belongs to one thread.
"""

from collections import namedtuple

from feedd.clock import now_ns
from feedd.errors import LayoutError, ShmError
from feedd.shm import layout
from feedd.shm.directory import segment_path
from feedd.shm.layout import SegmentKind
from feedd.shm.segment import create, open_segment

from libc.stdint cimport int64_t, uint8_t, uint64_t

from feedd.shm.feedd cimport feedd_load_acquire

cdef extern from "feedd/order.h" nogil:
    void feedd_store_release(void* p, uint64_t v)

IN = FEEDD_RAW_IN
OUT = FEEDD_RAW_OUT
REST = FEEDD_RAW_REST
OP = FEEDD_RAW_OP

CAPACITY_MIN = 1 << 20

Entry = namedtuple("Entry", "kind venue line t seq dropped payload")


def create_raw(directory, int reader_n, uint64_t capacity, group=None):
    """Make ``reader-<n>.raw`` with room for ``capacity`` bytes: the supervisor does this.

    ``capacity``: a power of two, at least 1 MiB; an entry may take half of it.
    """
    if capacity < CAPACITY_MIN or capacity & (capacity - 1):
        raise ShmError(
            f"a raw ring of {capacity} bytes: the number must be a power of two of at least "
            f"{CAPACITY_MIN}"
        )
    segment = create(
        segment_path(directory, "raw", reader_n),
        SegmentKind.RAW,
        capacity=capacity,
        slot_bytes=1,
        body_bytes=FEEDD_RAW_PAGE + capacity,
        dtype="[]",
        name=f"reader-{reader_n}",
        group=group,
        mode=0o600,
    )
    # numbers grow over all rings of a reader: a new one begins where no older one can have come
    at = layout.HEADER_BYTES + FEEDD_RAW_SEQ
    segment.map[at : at + 8] = (now_ns() // 1000).to_bytes(8, "little")
    segment.close()


cdef object _open(directory, int reader_n):
    segment = open_segment(
        segment_path(directory, "raw", reader_n), SegmentKind.RAW, writable=True)
    cdef uint64_t capacity = segment.header.capacity
    if (
        capacity < CAPACITY_MIN
        or capacity & (capacity - 1)
        or segment.header.file_size != layout.HEADER_BYTES + FEEDD_RAW_PAGE + capacity
    ):
        segment.close()
        raise LayoutError(
            f"{segment.path} says {capacity} bytes in a file of {segment.header.file_size}: not a "
            "raw ring that this feedd reads"
        )
    return segment


cdef class RawWriter:
    """The one writer of a raw ring; whoever holds the lock of the reader's segments."""

    def __init__(self, directory, int reader_n):
        self.segment = _open(directory, reader_n)
        self._base = self.segment.buf
        self.segment.new_epoch()
        feedd_raw_init(&self.r, &self._base[layout.HEADER_BYTES], self.segment.header.capacity)

    def put(self, unsigned kind, unsigned venue, unsigned line, int64_t t, bytes payload not None,
            bytes more=b""):
        return feedd_raw_put(
            &self.r, kind, venue, line, t, <const char*>payload, len(payload),
            <const char*>more, len(more)) != 0

    @property
    def entries(self):
        return self.r.seq

    @property
    def dropped(self):
        return feedd_load_acquire(self.r.page + FEEDD_RAW_DROPPED)

    def close(self):
        self._base = None
        self.segment.close()


cdef class RawReader:
    """The one reader of a raw ring. ``read`` goes ahead, ``release`` gives the room back."""

    cdef feedd_raw r
    cdef readonly object segment
    cdef unsigned char[::1] _base
    cdef uint64_t _at

    def __init__(self, directory, int reader_n):
        self.segment = _open(directory, reader_n)
        self._base = self.segment.buf
        feedd_raw_init(&self.r, &self._base[layout.HEADER_BYTES], self.segment.header.capacity)
        self._at = self.r.tail

    def read(self, size_t limit=1 << 20):
        cdef feedd_raw_entry e
        cdef const uint8_t* payload = NULL
        cdef size_t taken = 0
        cdef int found = 0
        cdef list out = []
        while taken < limit:
            found = feedd_raw_next(&self.r, &self._at, &e, &payload)
            if found <= 0:
                break
            taken += e.total
            out.append(Entry(
                e.kind, e.venue, e.line, e.t, e.seq, e.dropped, payload[:e.size]))
        if found < 0:
            raise LayoutError(f"{self.segment.path}: no entry at byte {self._at}: damaged")
        return out

    def release(self):
        feedd_store_release(self.r.page + FEEDD_RAW_TAIL, self._at)

    def rewind(self):
        self._at = feedd_load_acquire(self.r.page + FEEDD_RAW_TAIL)

    @property
    def pending(self):
        return feedd_load_acquire(self.r.page + FEEDD_RAW_HEAD) - self._at

    @property
    def dropped(self):
        return feedd_load_acquire(self.r.page + FEEDD_RAW_DROPPED)

    @property
    def capacity(self):
        return self.r.capacity

    def close(self):
        self._base = None
        self.segment.close()
