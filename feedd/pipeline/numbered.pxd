"""Numbered books over several connections: the first copy of each number wins."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from feedd.decode.plan cimport program_t
from feedd.pipeline.books cimport Books, update_t
from feedd.pipeline.instrument cimport instrument_t
from feedd.pipeline.lanes cimport lane_t
from feedd.pipeline.output cimport stamp_t

cdef enum:
    LINE_ROWS = 65536


cdef class Numbered(Books):
    cdef uint8_t line_rows[65536]     # by line: 1 + its row of the counters, 0: the line's number
    cdef lane_t* lane                 # that brought the message at hand; NULL: one line only
    cdef bint rejected                # its copy was wrong, another line's may be right
    cdef bint held                    # it waits
    cdef instrument_t** holding       # books that wait for another line
    cdef uint32_t n_holding, cap_holding

    # Of a record that has neither number nor id: is it to be published?
    cdef bint first_copy(
        self, instrument_t* x, int32_t stream, uint64_t content, const stamp_t* s,
        bint state) noexcept nogil

    cdef bint _second_line(self, instrument_t* x) noexcept nogil
    cdef void _count_line(self, int32_t line, bint first, int64_t lag) noexcept nogil
    cdef void _line_counts(
        self, const lane_t* lane, bint first, int64_t lag) noexcept nogil
    cdef int32_t _row(self, int32_t line) noexcept nogil
    cdef void _missed(self, const lane_t* lane) noexcept nogil
    cdef void _window(
        self, instrument_t* x, const program_t* p, const update_t* u) noexcept nogil
    cdef void _numbered(
        self, instrument_t* x, const program_t* p, const update_t* u) noexcept nogil
    cdef bint _numbered_snapshot(
        self, instrument_t* x, const program_t* p, const update_t* u) noexcept nogil
    cdef bint _other_generation(
        self, instrument_t* x, const update_t* u) noexcept nogil
    cdef void _next_generation(
        self, instrument_t* x, const update_t* u) noexcept nogil
    cdef bint _hold(
        self, instrument_t* x, const program_t* p, const update_t* u,
        uint64_t content) noexcept nogil
    cdef void _wait(self, instrument_t* x, int64_t now) noexcept nogil
    cdef bint _all_passed(self, const instrument_t* x) noexcept nogil
    cdef void _give_up(self, instrument_t* x, const program_t* p) noexcept nogil
