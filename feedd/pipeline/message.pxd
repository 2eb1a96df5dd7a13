"""One message in, records out: the hot path of the pipeline."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from feedd.decode.plan cimport Plan, program_t
from feedd.pipeline.alarms cimport Alarms
from feedd.pipeline.connections cimport Connections
from feedd.pipeline.gather cimport gather_t
from feedd.pipeline.instrument cimport instrument_t, table_t
from feedd.pipeline.publish cimport venue_t
from feedd.pipeline.rows cimport row_t

cdef class Messages(Alarms):
    cdef Connections connections
    cdef gather_t gathered
    cdef row_t* rows
    cdef uint32_t cap_rows
    cdef object _on_unknown
    cdef bint names_all          # there is such a callback: every symbol is wanted
    cdef bint untold             # some instrument's state was not taken yet
    cdef uint64_t sampled

    # One whole message. `p` needs no padding, and nothing is written there. Records stay invisible
    # until commit. Safe without the GIL; takes it only for a symbol never seen before.
    cdef int process(
        self, int venue, const uint8_t* p, size_t n, int64_t ts_recv, int line) noexcept nogil

    cdef int _process(
        self, int venue, const uint8_t* p, size_t n, int64_t ts_recv, int line, int status,
        int64_t started) noexcept nogil
    cdef void _observe(
        self, int64_t started, int64_t decoded, int64_t ts_event, int64_t ts_recv) noexcept nogil
    cdef void _said(self, int venue, row_t* r, int64_t ts_recv, int line) noexcept nogil
    cdef int _empty_snapshot(
        self, int venue, const program_t* program, int64_t ts_recv, int line) noexcept nogil
    cdef bint _is_snapshot(self, const program_t* program) noexcept nogil
    cdef instrument_t* _named(self, int venue, const uint8_t* text, uint32_t n) noexcept nogil
    cdef bint _feeds(self, int venue, int line) noexcept nogil
    cdef bint _counted(self, int venue, int64_t ts_recv, int line) noexcept nogil
    cdef int _control(
        self, int venue, const uint8_t* p, size_t n, int64_t ts_recv, int line) noexcept nogil
    cdef _heard(self, int venue, message, int64_t ts_recv, int line)
    cdef int _line_down(
        self, int venue, int line, int64_t ts_recv, const char* why) noexcept nogil
    cdef void _connection_gap(
        self, int venue, int line, int64_t ts_recv, uint64_t expected,
        uint64_t got) noexcept nogil
    cdef instrument_t* _instrument(self, int venue, uint32_t row, const program_t* p) noexcept nogil
    cdef void _unknown(self, int venue, instrument_t* x) noexcept nogil
    cdef void _apply(
        self, const venue_t* v, const program_t* program, row_t* r, int64_t ts_recv,
        int line) noexcept nogil
    cdef _name(self, instrument_t* x, uint32_t instrument_id, int row, uint32_t depth)
    cdef const program_t* _book_program(self, const instrument_t* x) noexcept nogil
    cdef bint _room(self, uint32_t rows) noexcept nogil
    cdef table_t* _table(self, int venue) except NULL
