"""Books whose losses nothing shows: what two lines agree on is published."""

from libc.stdint cimport int64_t, uint64_t

from feedd.decode.plan cimport program_t
from feedd.pipeline.differ cimport Differ, side_t
from feedd.pipeline.instrument cimport instrument_t
from feedd.pipeline.lanes cimport LANES_MAX, lane_t, lanes_t


cdef class Hidden(Differ):
    # By venue: how long a message waits for the other lines. 0: it has no such books, or the first
    # copy is published at once.
    cdef int64_t agree_ns[64]
    cdef side_t sides[LANES_MAX]
    cdef int n_sides

    # Does nothing of this book's messages show that one is missing?
    cdef bint is_hidden(self, const instrument_t* x, const program_t* p) noexcept nogil
    # A line ends: what it brought and waits has to go out before it is forgotten.
    cdef void parting(self, instrument_t* x, lane_t* lane) noexcept nogil

    cdef void _collect(self, const instrument_t* x) noexcept nogil
    cdef void _agree(self, instrument_t* x, const program_t* p, int64_t now) noexcept nogil
    cdef int64_t _waits_since(self, const instrument_t* x, int64_t now) noexcept nogil
    cdef bint _agree_on_one(
        self, instrument_t* x, const program_t* p, int64_t now) noexcept nogil
    cdef bint _copied(self, instrument_t* x) noexcept nogil
    cdef side_t* _leader(
        self, instrument_t* x, int64_t now, bint* waits) noexcept nogil
    cdef bint _from_behind(
        self, instrument_t* x, const program_t* p, int64_t now) noexcept nogil
    cdef int _sent_again(
        self, instrument_t* x, const program_t* p, int64_t now) noexcept nogil
    cdef bint _brings(
        self, const instrument_t* x, const side_t* s, uint64_t content) noexcept nogil
    cdef void _start_anew(
        self, instrument_t* x, const program_t* p, side_t* s, int64_t now) noexcept nogil
    cdef bint _put(self, instrument_t* x, const program_t* p, side_t* s) noexcept nogil
    cdef void _drop_first(self, instrument_t* x, side_t* s) noexcept nogil
    cdef bint _is_due(self, const instrument_t* x, const side_t* s, int64_t now) noexcept nogil
    cdef bint _is_awaited(
        self, const lanes_t* lanes, const lane_t* lane, int64_t now) noexcept nogil
