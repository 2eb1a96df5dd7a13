"""Connections that come, go, take over from each other or lose something: what books make of it."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from feedd.pipeline.hidden cimport Hidden
from feedd.pipeline.instrument cimport instrument_t, table_t
from feedd.pipeline.output cimport stamp_t


cdef class Lines(Hidden):
    cdef bint restarts            # a line must start over to be of use again

    # Give up waiting for other lines where it took too long.
    cdef void expire(self, int64_t now) noexcept nogil
    # The connection is gone. False: the book was lost with it, which is declared.
    cdef bint line_gone(
        self, instrument_t* x, int32_t line, const stamp_t* s,
        const char* reason) noexcept nogil
    # Something of this connection was lost, a number of all its messages says; bounded: so little
    # that it may be worked out. False: no other one carries the book on.
    cdef bint line_unsure(
        self, instrument_t* x, int32_t line, bint bounded, int64_t now) noexcept nogil

    # Another line of a live book whose numbers show by themselves whether something is missing.
    cdef void line_joins(self, instrument_t* x, int32_t line) noexcept nogil
    # A connection takes the place of another one. False: the book was not fed by that.
    cdef bint line_moves(
        self, instrument_t* x, int32_t old, int32_t new, const stamp_t* s) noexcept nogil
    # Could the book go on over this line alone?
    cdef bint line_feeds(self, const instrument_t* x, int32_t line) noexcept nogil
    # A number of all messages of a connection jumped: one gap, unless others carry every book on.
    cdef void connection_lost(
        self, table_t* table, int32_t line, int64_t ts_recv, uint64_t expected,
        uint64_t got) noexcept nogil
    # Would this book not notice by a number that a message of the connection is missing?
    cdef bint would_miss(self, const instrument_t* x, int32_t line) noexcept nogil
    # A message of the connection could not be read, and may have been of one of these books: one
    # gap each if the message names them, else one for all, unless other lines carry them on.
    cdef void refused(
        self, instrument_t** books, uint32_t n, bint named, int32_t line,
        int64_t ts_recv) noexcept nogil
    cdef void release(self, int64_t now) noexcept nogil

    cdef void _declare(
        self, const stamp_t* s, uint64_t expected, uint64_t got, const char* why) noexcept nogil
    cdef void _lost_with(
        self, instrument_t* x, const stamp_t* s, uint64_t expected, uint64_t got) noexcept nogil
