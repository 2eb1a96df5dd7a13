"""Books fed by several connections: the first copy of each message wins."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from feedd.decode.engine cimport fd_level
from feedd.decode.plan cimport program_t
from feedd.pipeline.books cimport Books, scratch_t, update_t
from feedd.pipeline.instrument cimport instrument_t, rowkey_t, table_t
from feedd.pipeline.lanes cimport lane_t
from feedd.pipeline.output cimport stamp_t


cdef enum:
    LINE_ROWS = 65536


cdef class Arbiter(Books):
    cdef uint8_t line_rows[65536]     # by line: 1 + its row of the counters, 0: the line's number
    cdef lane_t* lane                 # that brought the message at hand; NULL: one line only
    cdef bint rejected                # its copy was wrong, another line's may be right
    cdef bint held                    # it waits
    cdef instrument_t** holding       # books that wait for another line
    cdef uint32_t n_holding, cap_holding
    cdef uint64_t* keys
    cdef uint32_t cap_keys
    cdef scratch_t late
    cdef rowkey_t* late_keys
    cdef uint32_t cap_late_keys

    # Give up waiting for other lines where it took too long.
    cdef void expire(self, int64_t now) noexcept nogil
    # The connection is gone. False: the book was lost with it, which is declared.
    cdef bint line_gone(
        self, instrument_t* x, int32_t line, const stamp_t* s,
        const char* reason) noexcept nogil
    # Something of this connection was lost, a number of all its messages says. False: no other one
    # carries the book on.
    cdef bint line_unsure(self, instrument_t* x, int32_t line) noexcept nogil

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
    cdef void release(self, int64_t now) noexcept nogil

    cdef void _declare(
        self, const stamp_t* s, uint64_t expected, uint64_t got) noexcept nogil
    cdef bint _second_line(self, instrument_t* x) noexcept nogil
    cdef bint first_copy(
        self, instrument_t* x, int32_t stream, uint64_t content, const stamp_t* s,
        bint state) noexcept nogil
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
    cdef bint _all_passed(self, const instrument_t* x) noexcept nogil
    cdef void _give_up(self, instrument_t* x, const program_t* p) noexcept nogil
    cdef void _unnumbered(
        self, instrument_t* x, const program_t* p, const update_t* u) noexcept nogil
    cdef void _nobody(
        self, instrument_t* x, const program_t* p, const update_t* u) noexcept nogil
    cdef void _lost_place(
        self, instrument_t* x, const program_t* p, const update_t* u,
        const char* why) noexcept nogil
    cdef void _unnumbered_snapshot(
        self, instrument_t* x, const program_t* p, const update_t* u,
        uint64_t content) noexcept nogil
    cdef bint _recognise(
        self, instrument_t* x, const update_t* u, uint64_t content) noexcept nogil
    cdef void _lead(
        self, instrument_t* x, const program_t* p, const update_t* u,
        uint64_t content) noexcept nogil
    cdef void _insert_missed(
        self, instrument_t* x, const program_t* p, lane_t* lane, uint32_t end) noexcept nogil
    cdef void _insert(
        self, instrument_t* x, const program_t* p, const update_t* u, uint64_t content,
        uint64_t at) noexcept nogil
    cdef void _align(self, instrument_t* x, const program_t* p) noexcept nogil
    cdef void _take_over(
        self, instrument_t* x, const program_t* p, lane_t* lane, uint32_t start) noexcept nogil
    cdef bint _promote(
        self, instrument_t* x, const program_t* p, lane_t* lane) noexcept nogil
    cdef void _log(
        self, instrument_t* x, const update_t* u, uint64_t content) noexcept nogil
    cdef void _wait(self, instrument_t* x, int64_t now) noexcept nogil
    cdef uint32_t _keys_of(self, const update_t* u) noexcept nogil
