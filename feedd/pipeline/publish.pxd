"""What is staged becomes visible: commits, deep tiers of books, statuses of no instrument."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

from feedd.decode.engine cimport fd_plan, fd_routes
from feedd.decode.plan cimport program_t
from feedd.pipeline.drift cimport drift_t
from feedd.pipeline.instrument cimport instrument_t, table_t
from feedd.pipeline.output cimport Output

cdef enum:
    VENUES_MAX = 64

ctypedef struct venue_t:
    fd_plan* plan
    program_t* programs
    table_t* table
    int64_t future_ns_max
    uint8_t upper_case
    uint8_t counts            # every message of a connection is numbered
    uint8_t listens           # control messages say what topics or depths are
    uint64_t first            # number of a connection's first message
    drift_t* drift
    fd_routes routes          # whom messages were about that are read quickly; none where all count

cdef enum:
    SAMPLE_EVERY = 64         # messages; stage times of the others are not taken
    REACH_EVERY = 4           # records; then some deep tiers are looked at


cdef inline int64_t wall_ns() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_REALTIME, &t)
    return t.tv_sec * 1_000_000_000 + t.tv_nsec


cdef class Publisher:
    cdef Output out
    cdef uint64_t* c
    cdef venue_t venues[64]
    cdef readonly int n_venues
    cdef int64_t last_recv
    cdef int turn_venue           # whose deep tier is looked at next
    cdef uint32_t turn_item
    cdef uint64_t owed_turns      # in instruments times records

    cdef void publish(self, int64_t now_ns) noexcept nogil
    cdef instrument_t* _next_in_turn(self) noexcept nogil
    cdef uint64_t _instruments(self) noexcept nogil
    cdef void _keep_reachable(self) noexcept nogil
    cdef void _refresh(self, uint32_t budget) noexcept nogil
