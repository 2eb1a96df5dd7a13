"""Two lines bring different messages next: which of them is the first?"""

from libc.stdint cimport uint32_t, uint64_t

from feedd.pipeline.instrument cimport instrument_t, pending_t
from feedd.pipeline.lanes cimport HISTORY, lane_t, lanes_t, passed_t
from feedd.pipeline.unsure cimport Unsure

cdef enum:
    WAITING_MAX = 64          # messages of one line that are looked at

cdef enum:
    DIFFER_UNKNOWN = 0        # more may tell
    A_FIRST = 1
    B_FIRST = 2
    NOBODY_KNOWS = 3          # nothing will tell, and it makes a difference to the book

# A line in step and what waits of it.
ctypedef struct side_t:
    lane_t* lane
    uint32_t n
    uint32_t index[WAITING_MAX]


cdef class Differ(Unsure):
    cdef int unique_a[2 * WAITING_MAX + 1]     # cost of each message that one of them lacks
    cdef int unique_b[WAITING_MAX + 1]
    # from a message of each on: the fewest losses, and with one message at least that both brought
    cdef int least[(2 * WAITING_MAX + 1) * (WAITING_MAX + 1)]
    cdef int borne_out[(2 * WAITING_MAX + 1) * (WAITING_MAX + 1)]

    # ``a`` has brought the whole history, ``b`` its part; a NULL: there is no such line. When it is
    # ``due`` nothing more comes.
    cdef int _differ(
        self, instrument_t* x, const side_t* a, const side_t* b, bint due) noexcept nogil
    cdef void _weigh(
        self, const instrument_t* x, const side_t* a, const side_t* b, bint due
    ) noexcept nogil
    cdef int _skip(self, const instrument_t* x, const side_t* b) noexcept nogil
    cdef int _each_lost_one(
        self, instrument_t* x, const side_t* a, const side_t* b) noexcept nogil
    cdef bint _is_same(self, const instrument_t* x, uint32_t i, uint32_t k) noexcept nogil
    cdef bint _rows_fit(self, const instrument_t* x, const pending_t* d) noexcept nogil
    cdef bint _fits(self, const instrument_t* x, const pending_t* d) noexcept nogil


cdef inline const passed_t* passed_at(const lanes_t* lanes, uint64_t position) noexcept nogil:
    return &lanes.history[position & (HISTORY - 1)]


cdef inline uint32_t behind_by(const lanes_t* lanes, const lane_t* lane) noexcept nogil:
    return <uint32_t>(lanes.head - lane.at)
