"""The book of each instrument: sequence rules, gaps, snapshots, recovery."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from feedd.book.checksum cimport fx_texts
from feedd.decode.engine cimport fd_level
from feedd.decode.plan cimport program_t
from feedd.pipeline.instrument cimport instrument_t, pending_t, rowkey_t
from feedd.pipeline.output cimport stamp_t
from feedd.pipeline.requests cimport Requests
from feedd.pipeline.verify cimport rule_t, rules_t

cdef enum:
    JOIN_WAIT = 0
    JOIN_NOW = 1
    JOIN_TOO_OLD = 2
    JOIN_NOT_NEEDED = 3

# One book message, checked and converted, not yet applied.
ctypedef struct update_t:
    uint64_t first, current   # FEEDD_NO_SEQUENCE where the policy has no numbers
    int64_t previous
    uint8_t has_previous
    uint8_t has_current
    uint8_t snapshot
    uint8_t has_checksum      # the message carries one that counts
    int64_t checksum
    const rowkey_t* keys      # of bids, then asks; NULL unless the policy is keyed
    int32_t channel           # channel of the stream (program_t.stream)
    uint64_t topic
    stamp_t stamp
    const fd_level* bids
    const fd_level* asks
    uint32_t n_bid, n_ask

# Levels that are put together before they are applied.
ctypedef struct scratch_t:
    fd_level* levels
    uint32_t cap


cdef class Books(Requests):
    cdef uint32_t levels_max
    cdef const program_t* programs[64]    # by venue
    cdef rules_t rules
    cdef rule_t* changed_rule     # given up or good again with the last message
    cdef fx_texts before          # of a book with several lines, before the message that is verified
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
    # Take a book out of live without a word: somebody else declares the loss.
    cdef void leave(
        self, instrument_t* x, const stamp_t* s, uint8_t state) noexcept nogil

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
    cdef bint _reject(self, instrument_t* x) noexcept nogil
    cdef bint _apply(
        self, instrument_t* x, const program_t* p, const update_t* u,
        bint snapshot) noexcept nogil
    cdef void _revive(self, instrument_t* x, const stamp_t* s) noexcept nogil
    cdef void _overflow(
        self, instrument_t* x, const program_t* p, const update_t* u,
        int status) noexcept nogil
    cdef bint _verify(
        self, instrument_t* x, const program_t* p, const update_t* u,
        bint snapshot) noexcept nogil
    cdef bint _compare(
        self, instrument_t* x, const program_t* p, int64_t expected,
        const stamp_t* s) noexcept nogil


cdef void pending_of(const update_t* u, uint64_t content, pending_t* out) noexcept nogil
