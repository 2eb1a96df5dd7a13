"""What a book needs from the outside to become whole, asked for within reason."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from feedd.decode.plan cimport program_t
from feedd.pipeline.instrument cimport instrument_t
from feedd.pipeline.output cimport Output, stamp_t

cdef enum:
    REQUEST_SNAPSHOT = 1
    REQUEST_RESUBSCRIBE = 2
    REQUEST_UNKNOWN = 3
    REQUEST_RECONNECT = 4
    REQUEST_REALIGN = 5       # one line is out of step, the book goes on over another one

ctypedef struct request_t:
    uint8_t kind
    instrument_t* instrument
    int32_t channel
    int32_t line              # -1: any


cdef class Requests:
    cdef Output out
    cdef uint64_t* c
    cdef request_t* requests
    cdef uint32_t n_requests, cap_requests
    # quarantine: a book that asks more often than this in the window pauses; 0 never
    cdef uint32_t resyncs_max
    cdef int64_t window_ns
    cdef instrument_t** quarantined
    cdef uint32_t n_quarantined, cap_quarantined

    cdef void ask(
        self, instrument_t* x, uint8_t kind, int32_t channel, int32_t line) noexcept nogil
    cdef void resync(
        self, instrument_t* x, const program_t* p, const stamp_t* s) noexcept nogil
    cdef bint _pause(self, instrument_t* x, const stamp_t* s) noexcept nogil
    cdef instrument_t* released(self, int64_t now) noexcept nogil
