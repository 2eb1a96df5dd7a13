"""Where records go: the ring, the board row and the shared book of their instrument."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from feedd.decode.engine cimport fd_level
from feedd.pipeline.instrument cimport instrument_t
from feedd.shm.board cimport BoardWriter
from feedd.shm.books cimport BooksWriter
from feedd.shm.counters cimport CountersWriter
from feedd.shm.feedd cimport (
    FEEDD_BOOK_CHECKSUM, FEEDD_BOOK_GAP, FEEDD_BOOK_STALE, FEEDD_MAYBE_BAD_BOOK, feedd_board_row,
    feedd_book, feedd_record, feedd_writer,
)
from feedd.shm.ring cimport RingWriter

cdef enum:
    EVENT_GAP = 1
    EVENT_CHECKSUM = 2
    EVENT_RESYNC = 3
    EVENT_LIVE = 4
    EVENT_STALE = 5
    EVENT_BAD_FRAME = 8
    EVENT_BOOK_OVERFLOW = 11
    EVENT_QUARANTINED = 13
    EVENT_RULE_CHANGED = 14
    EVENT_DRIFT = 15
    EVENT_INSTRUMENT_STATE = 16
    SCOPE_INSTRUMENT = 1
    SCOPE_CONNECTION = 2
    SCOPE_VENUE = 4

# What all records of one message share.
ctypedef struct stamp_t:
    int64_t ts_event, ts_recv
    uint64_t sequence
    uint16_t line
    uint8_t flags


cdef class Output:
    cdef RingWriter ring
    cdef BoardWriter board
    cdef BooksWriter books
    cdef CountersWriter counters
    cdef feedd_writer* w
    cdef uint64_t* c              # reader counters
    cdef uint64_t* histograms
    cdef bytearray _own_counters
    cdef uint64_t event_at        # ring sequence at which the last book event begins
    cdef uint64_t refreshed_at    # ring sequence when deep tiers were looked at last

    cdef feedd_board_row* row(self, const instrument_t* x) noexcept nogil
    cdef void header(
        self, feedd_record* r, uint8_t kind, const instrument_t* x, const stamp_t* s) noexcept nogil
    cdef void observe(self, int stage, int64_t ns) noexcept nogil
    cdef void status(
        self, instrument_t* x, const stamp_t* s, int32_t code, uint8_t previous, uint64_t arg0,
        uint64_t arg1, const char* text) noexcept nogil
    cdef void control(
        self, instrument_t* x, const stamp_t* s, uint32_t reason, uint64_t expected,
        uint64_t got) noexcept nogil
    cdef void set_state(
        self, instrument_t* x, const stamp_t* s, uint8_t state) noexcept nogil
    cdef void book_event(
        self, instrument_t* x, const stamp_t* s, const fd_level* bids, uint32_t n_bid,
        const fd_level* asks, uint32_t n_ask, bint snapshot, bint inexact) noexcept nogil
    cdef void book_shared(self, instrument_t* x, const stamp_t* s) noexcept nogil
    cdef void _deep_behind(self, instrument_t* x, feedd_book* book) noexcept nogil
    cdef void deep(self, instrument_t* x) noexcept nogil
    cdef move(
        self, RingWriter ring, BoardWriter board, BooksWriter books, CountersWriter counters,
        int reader)
    cdef void carry_on(
        self, instrument_t* x, BoardWriter board, BooksWriter books) noexcept nogil


cdef inline feedd_board_row* row_of(Output out, const instrument_t* x) noexcept nogil:
    if out.board is None or x.row < 0 or <uint32_t>x.row >= out.board.n_rows:
        return NULL
    return &out.board.rows[x.row]


# The flag of records whose instrument has a book that may be wrong.
cdef inline uint8_t doubt_of(const instrument_t* x) noexcept nogil:
    if x.state == FEEDD_BOOK_GAP or x.state == FEEDD_BOOK_CHECKSUM or x.state == FEEDD_BOOK_STALE:
        return FEEDD_MAYBE_BAD_BOOK
    return 0
