"""The book of each instrument: sequence rules, gaps, snapshots, recovery."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from feedd.decode.engine cimport fd_level
from feedd.decode.plan cimport program_t
from feedd.pipeline.checks cimport Checks
from feedd.pipeline.instrument cimport instrument_t, pending_t, rowkey_t
from feedd.pipeline.output cimport stamp_t
from feedd.pipeline.update cimport update_t

cdef enum:
    JOIN_WAIT = 0
    JOIN_NOW = 1
    JOIN_TOO_OLD = 2
    JOIN_NOT_NEEDED = 3

# Levels that are put together before they are applied.
ctypedef struct scratch_t:
    fd_level* levels
    uint32_t cap


cdef class Books(Checks):
    cdef uint32_t levels_max
    cdef const program_t* programs[64]    # by venue
    cdef bint keeps               # leaving the book must not forget what waits
    cdef scratch_t rows_scratch, cut_scratch

    cdef void update(
        self, instrument_t* x, const program_t* p, const update_t* u) noexcept nogil
    # A checksum in a message of its own; p is the program of the book's channel.
    cdef void checksum(
        self, instrument_t* x, const program_t* p, int64_t value,
        const stamp_t* s) noexcept nogil
    cdef int join(
        self, const instrument_t* x, const program_t* p, uint64_t snapshot_id,
        bint at_hand) noexcept nogil
    cdef void snapshot(
        self, instrument_t* x, const program_t* p, const update_t* u) noexcept nogil
    # Declare one gap of one book; ask: and what heals it.
    cdef void lost(
        self, instrument_t* x, const program_t* p, const stamp_t* s, uint64_t expected,
        uint64_t got, const char* reason, bint ask) noexcept nogil

    cdef bint _owns(
        self, instrument_t* x, const program_t* p, const update_t* u) noexcept nogil
    cdef bint _prepare(self, instrument_t* x, const program_t* p) noexcept nogil
    cdef void _accept(
        self, instrument_t* x, const program_t* p, const update_t* u) noexcept nogil
    cdef bint _is_repeated_window(
        self, instrument_t* x, const update_t* u) noexcept nogil
    cdef bint _is_old_snapshot(
        self, instrument_t* x, const program_t* p, const update_t* u) noexcept nogil
    cdef void _old(self, instrument_t* x, const program_t* p, const update_t* u) noexcept nogil
    cdef void _live(self, instrument_t* x, const program_t* p, const update_t* u) noexcept nogil
    cdef void _first_after_rest(
        self, instrument_t* x, const program_t* p, const update_t* u) noexcept nogil
    cdef void _wait_in_stream(
        self, instrument_t* x, const program_t* p, const update_t* u) noexcept nogil
    cdef void _buffer(
        self, instrument_t* x, const program_t* p, const update_t* u) noexcept nogil
    cdef void _break(
        self, instrument_t* x, const program_t* p, const update_t* u,
        uint64_t last) noexcept nogil
    cdef void _keep(
        self, instrument_t* x, const program_t* p, const update_t* u) noexcept nogil
    cdef void _recall(
        self, const instrument_t* x, const pending_t* d, update_t* out) noexcept nogil
    cdef void _drain(self, instrument_t* x, const program_t* p) noexcept nogil
    cdef void _hole(self, instrument_t* x, const program_t* p) noexcept nogil
    cdef bint _apply(
        self, instrument_t* x, const program_t* p, const update_t* u,
        bint snapshot) noexcept nogil
    cdef void _revive(self, instrument_t* x, const stamp_t* s) noexcept nogil
    cdef void _overflow(
        self, instrument_t* x, const program_t* p, const update_t* u,
        int status) noexcept nogil


cdef void pending_of(const update_t* u, uint64_t content, pending_t* out) noexcept nogil
