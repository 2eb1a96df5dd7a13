"""Messages of one connection into the pipeline: the hot path between picows and the ring."""

from libc.stdint cimport int64_t, uint8_t
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

from feedd.pipeline.core cimport Pipeline
from feedd.reader.line cimport Sink
from feedd.shm.rawring cimport FEEDD_RAW_IN, RawWriter, feedd_raw, feedd_raw_put


cdef class PipelineSink(Sink):
    """The messages of line number ``line`` of a venue go to ``pipeline``; one thread."""

    cdef Pipeline _pipeline
    cdef int _venue
    cdef int _line
    cdef RawWriter _tap
    cdef feedd_raw* _raw    # NULL: nobody records

    def __init__(self, Pipeline pipeline not None, int venue, int line, RawWriter tap=None):
        if not 0 <= venue < pipeline.n_venues:
            raise ValueError(f"venue handle {venue}: the pipeline has {pipeline.n_venues}")
        self._pipeline = pipeline
        self._venue = venue
        self._line = line
        self._tap = tap
        self._raw = NULL if tap is None else &tap.r

    cdef int message(self, const uint8_t* p, size_t n, int64_t ts_recv, bint binary) noexcept nogil:
        if self._raw != NULL:
            feedd_raw_put(self._raw, FEEDD_RAW_IN, self._venue, self._line, ts_recv, p, n, NULL, 0)
        return self._pipeline.process(self._venue, p, n, ts_recv, self._line)

    cdef void flush(self) noexcept nogil:
        cdef timespec t
        clock_gettime(CLOCK_REALTIME, &t)
        self._pipeline.publish(<int64_t>t.tv_sec * 1000000000 + t.tv_nsec)
