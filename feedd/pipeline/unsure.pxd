"""Lines that lost something, nobody knows what: their messages wait until their places show."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from feedd.decode.plan cimport program_t
from feedd.pipeline.agree cimport next_t, queue_t, search_t
from feedd.pipeline.instrument cimport instrument_t, pending_t
from feedd.pipeline.lanes cimport lane_t
from feedd.pipeline.untimed cimport Untimed


cdef class Unsure(Untimed):
    cdef search_t search
    cdef bint settling
    cdef bint narrowed        # losses were found: other books know more now

    # A number of all its messages says that the connection lost some. False: too many, or there is
    # no room for it.
    cdef bint note_lost(
        self, int32_t line, uint64_t first, uint64_t n, int64_t ts_recv) noexcept nogil
    # May another connection have lost the same, so that no line has it?
    cdef bint lost_twice(
        self, int32_t venue, int32_t line, uint64_t first, uint64_t n, int64_t now) noexcept nogil
    # The only line of a book lost something so far: is there another one that may begin with it?
    cdef bint second_line_comes(
        self, instrument_t* x, const program_t* p, int32_t line, int64_t now) noexcept nogil
    # May the line have lost something of this book since its last message?
    cdef bint may_lack(self, instrument_t* x, const lane_t* lane, int64_t now) noexcept nogil
    # The books that wait, when it is known better what was lost of others.
    cdef void settle_others(self, int64_t now) noexcept nogil

    cdef uint32_t _open(self, int32_t line, uint32_t before, uint32_t until) noexcept nogil
    cdef void _found(
        self, int32_t line, uint32_t before, uint32_t until, uint32_t n) noexcept nogil
    # Is the line in step, and is its next message the next one of its stream?
    cdef bint _is_certain(self, const lane_t* lane) noexcept nogil
    cdef bint _gather(self, instrument_t* x, int64_t now, bint due) noexcept nogil
    cdef bint _by_numbers(
        self, instrument_t* x, const program_t* p, bint* waits) noexcept nogil
    cdef bint _step_on(
        self, instrument_t* x, const program_t* p, int64_t now, bint due) noexcept nogil
    cdef void _pop_copy(
        self, instrument_t* x, queue_t* q, uint32_t lost) noexcept nogil
    cdef bint _publish(
        self, instrument_t* x, const program_t* p, const next_t* next) noexcept nogil
    cdef void _leave_out(
        self, instrument_t* x, const program_t* p, queue_t* q, const char* why) noexcept nogil
    cdef void _lost_all(
        self, instrument_t* x, const program_t* p, const pending_t* d,
        const char* why) noexcept nogil
    cdef int64_t _oldest(self, const instrument_t* x) noexcept nogil
