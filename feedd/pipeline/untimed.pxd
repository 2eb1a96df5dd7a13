"""Books whose messages have neither a number nor a time that two connections share."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from feedd.decode.plan cimport program_t
from feedd.pipeline.arbitration cimport Arbiter
from feedd.pipeline.books cimport scratch_t, update_t
from feedd.pipeline.instrument cimport instrument_t
from feedd.pipeline.lanes cimport lane_t, lanes_t
from feedd.pipeline.output cimport stamp_t
from feedd.pipeline.tally cimport tally_t

# Where a line may stand, after all that it brought; of several places the one nearest to the end.
ctypedef struct place_t:
    int64_t at                # behind this many messages of the book
    int64_t ahead             # of which so many are news
    int64_t matched           # and so many copies of what the history has
    uint32_t n                # such places,
    uint32_t late             # and such that would put the line further back than lines lag
    int64_t late_matched      # most copies at one of those


cdef class Untimed(Arbiter):
    cdef scratch_t resolved
    # what the line that looks for its place brought: pending index, content, sum behind it
    cdef uint32_t* kept
    cdef uint64_t* contents
    cdef uint64_t* sums
    cdef uint32_t cap_kept
    cdef uint64_t number          # that its connection gave the message at hand

    # Something became known: what waits may have its place now.
    cdef void _settle(self, instrument_t* x, const program_t* p, int64_t now) noexcept nogil
    # Is there nothing more to wait for before a line takes the only place that fits?
    cdef bint _is_urgent(self, instrument_t* x, const lane_t* lane) noexcept nogil
    # Every line has had its time to bring the same.
    cdef void _overdue(
        self, instrument_t* x, const program_t* p, int64_t now) noexcept nogil
    # The line's place in the stream is unknown until a snapshot comes over it.
    cdef void _out_of_step(self, instrument_t* x, lane_t* lane) noexcept nogil

    cdef bint _undated(self, const instrument_t* x, const program_t* p) noexcept nogil
    cdef void _stop(self, lanes_t* lanes) noexcept nogil
    cdef bint _start(
        self, instrument_t* x, const program_t* p, lane_t* lane,
        const update_t* u) noexcept nogil
    cdef bint _tell(
        self, tally_t* t, const program_t* p, const update_t* u) noexcept nogil
    cdef void _begin(
        self, instrument_t* x, const program_t* p, const update_t* u,
        uint64_t content) noexcept nogil
    cdef void _count(
        self, instrument_t* x, const program_t* p, const update_t* u,
        uint64_t content) noexcept nogil
    cdef bint _next(
        self, instrument_t* x, const program_t* p, lane_t* lane, const update_t* u,
        uint64_t content) noexcept nogil
    cdef void _keep_for(
        self, instrument_t* x, const program_t* p, const update_t* u,
        uint64_t content) noexcept nogil
    cdef bint _other(self, instrument_t* x, const program_t* p, bint declare) noexcept nogil
    cdef void _outside(
        self, instrument_t* x, const program_t* p, const update_t* u) noexcept nogil
    cdef void _ask(
        self, instrument_t* x, lane_t* lane, int64_t now) noexcept nogil
    cdef bint _brought(self, const instrument_t* x, const lane_t* lane, uint32_t* n) noexcept nogil
    cdef place_t _places(
        self, const instrument_t* x, const lane_t* lane, int64_t now) noexcept nogil
    cdef bint _find_place(
        self, instrument_t* x, const program_t* p, lane_t* lane, int64_t now) noexcept nogil
    cdef void _find_places(
        self, instrument_t* x, const program_t* p, int64_t now) noexcept nogil
    cdef void _take_place(
        self, instrument_t* x, const program_t* p, lane_t* lane,
        const place_t* place) noexcept nogil
    cdef bint _replace(
        self, instrument_t* x, const program_t* p, lane_t* lane, bint declare) noexcept nogil
    cdef void _go_on(
        self, instrument_t* x, const program_t* p, lane_t* lane, uint32_t start) noexcept nogil
