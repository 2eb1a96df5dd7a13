"""Counters, gauges and latency histograms of every reader process, in one segment.

Each block is written by one reader process with plain increments (relaxed stores); anybody reads.
The names are those of ``include/feedd/counters.h``.
"""

import numpy as np

from feedd.errors import LayoutError, ShmError
from feedd.shm import layout
from feedd.shm.layout import SegmentKind
from feedd.shm.segment import anonymous, create, open_segment

from pathlib import Path

from libc.stdint cimport uint64_t

from feedd.shm.feedd cimport FEEDD_AT_ROWS, FEEDD_HEADER_BYTES, FEEDD_ROW_SLOTS, feedd_bucket

cdef extern from *:
    """
    #include "feedd/counters.h"
    static const struct { const char *name, *help; } feedd_counter_names[] = {
    #define FEEDD_COUNTER_NAME(name, help) {#name, help},
        FEEDD_COUNTERS(FEEDD_COUNTER_NAME)
    #undef FEEDD_COUNTER_NAME
    };
    """
    enum:
        FEEDD_COUNTER_COUNT
    ctypedef struct counter_name:
        const char* name
        const char* help
    counter_name feedd_counter_names[]

COUNTERS = {
    feedd_counter_names[i].name.decode(): feedd_counter_names[i].help.decode()
    for i in range(FEEDD_COUNTER_COUNT)
}
STAGES = ("decode", "book", "publish", "total", "venue", "loop")

_BLOCK = layout.COUNTER_SLOTS + layout.CONNECTIONS * layout.CONNECTION_SLOTS
_HISTOGRAM_WORDS = layout.HISTOGRAMS * layout.HISTOGRAM_BUCKETS


def _block_words(rows):
    return FEEDD_AT_ROWS + rows * FEEDD_ROW_SLOTS


def bucket_floor(bucket):
    """Smallest duration in ns that falls into a histogram bucket (4 buckets per octave)."""
    if bucket < 4:
        return bucket
    return (4 + bucket % 4) << (bucket // 4 - 1)


def bucket_of(uint64_t ns):
    """The histogram bucket of a duration in ns."""
    return feedd_bucket(ns)


def percentile(histogram, double q):
    """The duration in ns below which the fraction ``q`` (0..1) of a histogram lies.

    The upper edge of the bucket where the fraction is reached, so never too good; 0 when empty.
    """
    counts = np.asarray(histogram, dtype=np.uint64)
    total = int(counts.sum())
    if total == 0:
        return 0
    rank = min(max(int(np.ceil(q * total)), 1), total)
    bucket = int(np.searchsorted(np.cumsum(counts), rank))
    return bucket_floor(bucket + 1) - 1


cdef class CountersWriter:
    """The blocks of all reader processes; each process writes its own block only."""

    def __init__(self):
        raise TypeError("use CountersWriter.create, CountersWriter.open or CountersWriter.private")

    @classmethod
    def create(cls, directory, readers, rows, group=None):
        """Make ``counters`` for ``readers`` processes of up to ``rows`` board rows each."""
        cdef CountersWriter self = CountersWriter.__new__(CountersWriter)
        self._attach(create(
            Path(directory) / "counters", SegmentKind.COUNTERS, **_shape(readers, rows),
            name="counters", group=group,
        ))
        self.segment.new_epoch()
        return self

    @classmethod
    def open(cls, directory):
        """Map the existing blocks for writing; numbers go on from where they were."""
        cdef CountersWriter self = CountersWriter.__new__(CountersWriter)
        self._attach(open_segment(
            Path(directory) / "counters", SegmentKind.COUNTERS, writable=True))
        return self

    @classmethod
    def private(cls, readers=1, rows=16):
        """Blocks in memory of this process."""
        cdef CountersWriter self = CountersWriter.__new__(CountersWriter)
        self._attach(anonymous(
            SegmentKind.COUNTERS, **_shape(readers, rows), name="private"))
        return self

    cdef _attach(self, segment):
        self.readers, self.rows = _geometry(segment)
        self.segment = segment
        self._base = segment.buf

    cdef uint64_t* block(self, int n) noexcept nogil:
        if n < 0 or n >= self.readers:
            return NULL
        cdef uint64_t* words = <uint64_t*>&self._base[FEEDD_HEADER_BYTES]
        return words + <size_t>n * (FEEDD_AT_ROWS + <size_t>self.rows * FEEDD_ROW_SLOTS)

    def words(self, int n):
        """The block of reader ``n`` as a writable array of u64."""
        if self._base is None:
            raise ShmError("these counters are closed")
        return _words(self.segment, self.readers, self.rows, n)

    def heartbeat(self, mono_ns):
        self.segment.beat(mono_ns)

    def close(self):
        if self._base is None:
            return
        self.readers = 0
        self._base = None
        self.segment.close()


def _shape(readers, rows):
    if readers < 1 or rows < 1:
        raise ShmError(f"counters for {readers} readers of {rows} rows: at least one of each")
    words = _block_words(rows)
    return {
        "capacity": readers,
        "slot_bytes": words * 8,
        "body_bytes": readers * words * 8,
        "dtype": (
            f'{{"itemsize":{words * 8},"fields":[["counters","<u8",0,[{layout.COUNTER_SLOTS}]],'
            f'["connections","<u8",{layout.COUNTER_SLOTS * 8},'
            f'[{layout.CONNECTIONS},{layout.CONNECTION_SLOTS}]],'
            f'["histograms","<u8",{_BLOCK * 8},[{layout.HISTOGRAMS},{layout.HISTOGRAM_BUCKETS}]],'
            f'["rows","<u8",{FEEDD_AT_ROWS * 8},[{rows},{layout.ROW_SLOTS}]]]}}'
        ),
    }


def _geometry(segment):
    header = segment.header
    words, left = divmod(header.slot_bytes, 8)
    rows, rest = divmod(words - FEEDD_AT_ROWS, FEEDD_ROW_SLOTS)
    body = header.file_size - layout.HEADER_BYTES
    if left or rest or rows < 1 or body != header.capacity * header.slot_bytes:
        raise LayoutError(
            f"{segment.path} has blocks of {header.slot_bytes} bytes: not counters of this layout"
        )
    return header.capacity, rows


def _words(segment, readers, rows, n):
    if not 0 <= n < readers:
        raise IndexError(f"reader {n}: there are {readers}")
    words = _block_words(rows)
    return np.frombuffer(
        segment.buf, dtype="<u8", count=words, offset=layout.HEADER_BYTES + n * words * 8)


class CountersReader:
    """All counters of an instance, read-only. ``source``: directory or private CountersWriter."""

    def __init__(self, source):
        if isinstance(source, CountersWriter):
            self.segment = source.segment
        else:
            self.segment = open_segment(Path(source) / "counters", SegmentKind.COUNTERS)
        self.readers, self.rows_per_reader = _geometry(self.segment)

    def _part(self, n, first, count):
        words = _words(self.segment, self.readers, self.rows_per_reader, n)
        return words[first:first + count].copy()

    def reader(self, n):
        """Counter name -> value of reader ``n``."""
        values = self._part(n, 0, FEEDD_COUNTER_COUNT)
        return dict(zip(COUNTERS, values.tolist(), strict=True))

    def connections(self, n):
        """u64 array (64 connections, 64 slots) of reader ``n``."""
        part = self._part(n, layout.COUNTER_SLOTS, _BLOCK - layout.COUNTER_SLOTS)
        return part.reshape(layout.CONNECTIONS, layout.CONNECTION_SLOTS)

    def rows(self, n):
        """u64 array (rows, 16 slots) of reader ``n``: one row per board row."""
        part = self._part(n, FEEDD_AT_ROWS, self.rows_per_reader * FEEDD_ROW_SLOTS)
        return part.reshape(self.rows_per_reader, layout.ROW_SLOTS)

    def histogram(self, n, stage):
        """The 256 buckets of a stage of reader ``n``; ``stage`` is one of ``STAGES``."""
        if stage not in STAGES:
            raise ValueError(f"stage is one of {', '.join(STAGES)}, not {stage!r}")
        at = _BLOCK + STAGES.index(stage) * layout.HISTOGRAM_BUCKETS
        return self._part(n, at, layout.HISTOGRAM_BUCKETS)

    def close(self):
        self.segment.close()
