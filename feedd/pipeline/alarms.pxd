"""What is wrong with messages: bad frames, fields that changed, checksums that never match."""

from libc.stdint cimport int64_t, uint8_t

from feedd.decode.engine cimport fd_msg
from feedd.decode.plan cimport program_t
from feedd.pipeline.lines cimport Lines
from feedd.pipeline.publish cimport Publisher

cdef enum:
    RESULT_DATA = 0
    RESULT_CONTROL = 1      # ack, heartbeat, error, notice: the session's business
    RESULT_IGNORED = 2      # valid, but of no channel that the venue file names
    RESULT_BAD = 3


cdef class Alarms(Publisher):
    cdef Lines books
    cdef fd_msg m
    cdef list _plans             # keeps alive what `venues` points to
    cdef list _bad
    cdef list _alarms

    cdef void _watch(
        self, int venue, const program_t* program, int64_t ts_recv, int line) noexcept nogil
    cdef _drifted(self, int venue, int64_t ts_recv, int line)
    cdef _rule_changed(self, int64_t ts_recv, int line)
    cdef _alarm(self, int code, int venue, channel, field, what, sample, ts_recv, line)
    cdef int _bad_frame(
        self, int venue, int64_t ts_recv, int line, const char* why, const uint8_t* p,
        size_t n) noexcept nogil
    # A bad frame that may have held a change of a book which would not notice; program: what it
    # was read as, NULL if that is unknown.
    cdef int _refuse(
        self, int venue, int64_t ts_recv, int line, const char* why, const uint8_t* p, size_t n,
        const program_t* program) noexcept nogil
    cdef _doubt(self, int venue, int64_t ts_recv, int line, bytes message, bint is_book)
