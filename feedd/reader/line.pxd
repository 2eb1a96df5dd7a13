from libc.stdint cimport int64_t, uint8_t, uint64_t

from picows.picows cimport WSFrame, WSListener, WSTransport

from feedd.decode.assembler cimport Assembler

cdef enum:
    # what a sink made of a message
    SINK_DATA = 0
    SINK_CONTROL = 1
    SINK_IGNORED = 2
    SINK_BAD = 3


cdef class Sink:
    # One message that arrived whole; p is valid during the call only.
    cdef int message(self, const uint8_t* p, size_t n, int64_t ts_recv, bint binary) noexcept nogil
    # The last frame of one socket read was handled: publish.
    cdef void flush(self) noexcept nogil


cdef class Line(WSListener):
    cdef Assembler assembler
    cdef Sink sink
    cdef object owner
    cdef WSTransport transport
    cdef readonly uint64_t frames, received_bytes, data, control, ignored, bad, binaries
    cdef readonly uint64_t pongs, pongs_sent, pongs_held, late, violations
    cdef readonly int64_t last_recv_ns, last_data_ns
    cdef readonly int close_code
    cdef int _pongs_max
    cdef int _pongs_window
    cdef int64_t _pong_second
    cdef object _held_ping
    cdef frozenset _texts
    cdef bint _leaving

    cdef bint _is_text(self, Assembler assembler)
    cdef void _ping(self, WSTransport transport, bytes payload, int64_t now)
    cdef void _violation(self, WSTransport transport)
    cdef void _close(self, WSTransport transport)
