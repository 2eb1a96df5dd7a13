"""What belongs to a connection and not to a message: its counter, and the topics it numbered."""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from feedd.decode.engine cimport fd_learned

cdef enum:
    SEQUENCE_NEXT = 0        # the number that was expected, or the first of all
    SEQUENCE_OLD = 1         # this number was there before
    SEQUENCE_GAP = 2         # messages are missing before this one
    SEQUENCE_ANEW = 3        # a new connection that nobody announced

ctypedef struct counter_t:
    uint64_t next
    uint8_t known


cdef class Connections:
    cdef counter_t* counters
    cdef uint32_t n_counters
    cdef fd_learned* learned      # open addressing by number; NULL while nothing was learned
    cdef uint32_t learned_mask
    cdef dict _topics             # (line, number) -> bytes

    # Take the connection's number of a message; *expected is what it should have been.
    cdef int sequence(
        self, int32_t line, uint64_t number, uint64_t first, uint64_t* expected) noexcept nogil
    cdef counter_t* _counter(self, int32_t line) noexcept nogil
    cdef _build(self)
