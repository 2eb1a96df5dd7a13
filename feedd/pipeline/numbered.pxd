"""Numbered books over several connections: the first copy of each number wins."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from feedd.decode.plan cimport program_t
from feedd.pipeline.books cimport Books, update_t
from feedd.pipeline.instrument cimport instrument_t
from feedd.pipeline.lanes cimport lane_t
from feedd.pipeline.output cimport stamp_t

cdef enum:
    LINE_ROWS = 65536
    LOSSES = 32               # power of two


# Messages that the numbers of a connection show as lost, of whatever books they were.
ctypedef struct loss_t:
    uint64_t first            # number of the first of them
    uint32_t n
    uint32_t until            # messages lost so far, these among them
    uint32_t left             # of these not known of which book they were
    int64_t ts_recv

ctypedef struct heard_t:
    int64_t at                # when its last message came
    int32_t venue
    uint64_t number           # of it, among all of the connection; 0 where they have none
    int32_t same_line         # of the line with a lower number that brings the same,
    uint32_t same_run         # so many copies in a row had numbers
    int64_t shift             # that are lower than those there by the same
    uint32_t lost
    uint32_t n_losses, forgotten   # times, and how much was lost before the last of them
    loss_t loss[LOSSES]       # the last ones


cdef class Numbered(Books):
    cdef uint8_t line_rows[65536]     # by line: 1 + its row of the counters, 0: the line's number
    cdef heard_t* heard               # by line
    cdef uint32_t n_heard
    cdef lane_t* lane                 # that brought the message at hand; NULL: one line only
    cdef bint rejected                # its copy was wrong, another line's may be right
    cdef bint held                    # it waits
    cdef instrument_t** holding       # books that wait for another line
    cdef uint32_t n_holding, cap_holding

    # Of a record that has neither number nor id: is it to be published?
    cdef bint first_copy(
        self, instrument_t* x, int32_t stream, uint64_t content, const stamp_t* s,
        bint state) noexcept nogil

    # What is known of a connection; NULL where there is no room.
    cdef heard_t* heard_of(self, int32_t line) noexcept nogil
    cdef void heard_from(self, int32_t venue, int32_t line, int64_t now) noexcept nogil
    # Has another connection of the same venue brought something lately?
    cdef bint others_heard(self, int32_t venue, int32_t line, int64_t now) noexcept nogil
    cdef void numbered_on(self, int32_t line, uint64_t number) noexcept nogil
    # A message has this number on one line and that on the other one.
    cdef void same_message(
        self, int32_t line, uint64_t number, int32_t other, uint64_t there) noexcept nogil
    # What makes a line's numbers comparable with another's. False: that is not known for sure.
    cdef bint shift_of(self, int32_t line, int32_t to, int64_t* shift) noexcept nogil
    cdef uint64_t number_on(self, int32_t line) noexcept nogil
    cdef uint32_t lost_on(self, int32_t line) noexcept nogil

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
