"""The connections that carry one book's stream, and a log of what came over them."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from feedd.pipeline.tally cimport tally_free


cdef inline uint32_t _index(const lanes_t* lanes, const lane_t* lane) noexcept nogil:
    return <uint32_t>(lane - lanes.lane)


cdef lanes_t* lanes_new(int32_t line) noexcept nogil:
    cdef lanes_t* lanes = <lanes_t*>calloc(1, sizeof(lanes_t))
    if lanes != NULL:
        lane_of(lanes, line)
    return lanes


cdef void lanes_free(lanes_t* lanes) noexcept nogil:
    cdef int i
    if lanes != NULL:
        for i in range(LANES_MAX):
            tally_free(lanes.lane[i].tally)
        tally_free(lanes.tally)
        free(lanes.history)
        free(lanes.keys)
        free(lanes)


cdef lane_t* lane_find(lanes_t* lanes, int32_t line) noexcept nogil:
    cdef int i
    for i in range(LANES_MAX):
        if lanes.lane[i].state != LANE_FREE and lanes.lane[i].line == line:
            return &lanes.lane[i]
    return NULL


cdef lane_t* lane_of(lanes_t* lanes, int32_t line) noexcept nogil:
    cdef lane_t* lane = lane_find(lanes, line)
    cdef uint32_t bit
    cdef int i, k
    if lane != NULL:
        return lane
    for i in range(LANES_MAX):
        lane = &lanes.lane[i]
        if lane.state == LANE_FREE:
            lane.line = line
            lane.state = LANE_BEHIND
            lane.run = 0
            lane.generation = lanes.generation
            lane.at = log_start(lanes)
            lane.last = 0
            lane.content = 0
            lane.since = 0
            lane.asked = 0
            lane.lost = lane.queued = 0
            lane.number = 0
            tally_free(lane.tally)
            lane.tally = NULL
            bit = 1 << i
            for k in range(LOG_ENTRIES):      # a former connection of this place saw these
                lanes.log[k].seen &= ~bit
            return lane
    return NULL


cdef int lanes_count(const lanes_t* lanes, const lane_t* but, uint8_t state) noexcept nogil:
    """How many lanes, but for one, are at least in this state."""
    cdef int i
    cdef int n = 0
    for i in range(LANES_MAX):
        if &lanes.lane[i] != but and lanes.lane[i].state >= state:
            n += 1
    return n


cdef entry_t* log_at(lanes_t* lanes, uint64_t position) noexcept nogil:
    return &lanes.log[position & (LOG_ENTRIES - 1)]


cdef uint64_t log_start(const lanes_t* lanes) noexcept nogil:
    return lanes.head - LOG_ENTRIES if lanes.head > LOG_ENTRIES else 0


cdef entry_t* log_add(
    lanes_t* lanes, lane_t* lane, uint64_t content, uint64_t number, int64_t ts_event,
    int64_t ts_recv
) noexcept nogil:
    cdef entry_t* e = log_at(lanes, lanes.head)
    e.content = content
    e.number = number
    e.ts_event = ts_event
    e.ts_recv = ts_recv
    e.key_start = lanes.key_head
    e.key_n = 0
    e.seen = <unsigned char>(1 << _index(lanes, lane))
    lanes.head += 1
    lane.at = lanes.head
    return e


cdef int64_t log_find(
    const lanes_t* lanes, const lane_t* lane, uint64_t start, uint64_t content
) noexcept nogil:
    cdef uint64_t i = start
    cdef uint32_t bit = 1 << _index(lanes, lane)
    cdef const entry_t* e
    if i < log_start(lanes):
        i = log_start(lanes)
    while i < lanes.head:
        e = &lanes.log[i & (LOG_ENTRIES - 1)]
        if e.content == content and not e.seen & bit:
            return <int64_t>i
        i += 1
    return -1


cdef void log_see(lanes_t* lanes, const lane_t* lane, uint64_t position) noexcept nogil:
    log_at(lanes, position).seen |= <unsigned char>(1 << _index(lanes, lane))


cdef int64_t log_time(const lanes_t* lanes, uint64_t number) noexcept nogil:
    """Copies are a few messages apart, so the search goes back from the newest."""
    cdef uint64_t i = lanes.head
    cdef const entry_t* e
    while i > log_start(lanes):
        i -= 1
        e = &lanes.log[i & (LOG_ENTRIES - 1)]
        if e.number == number:
            return e.ts_recv
        if e.number < number:
            return 0
    return 0


cdef void log_keys(lanes_t* lanes, entry_t* e, const uint64_t* keys, uint32_t n) noexcept nogil:
    cdef uint32_t i
    if lanes.keys == NULL:
        lanes.keys = <uint64_t*>calloc(LOG_KEYS, sizeof(uint64_t))
        if lanes.keys == NULL:
            n = LOG_KEYS + 1
    e.key_start = lanes.key_head
    e.key_n = n
    lanes.key_head += n
    if n <= LOG_KEYS:      # else nothing is remembered, and log_touched says so
        for i in range(n):
            lanes.keys[(e.key_start + i) & (LOG_KEYS - 1)] = keys[i]


cdef int log_touched(
    const lanes_t* lanes, const lane_t* lane, uint64_t start, uint64_t key
) noexcept nogil:
    cdef uint32_t bit = 1 << _index(lanes, lane)
    cdef uint64_t i = start
    cdef uint64_t k
    cdef const entry_t* e
    if start < log_start(lanes):
        return 2
    while i < lanes.head:
        e = &lanes.log[i & (LOG_ENTRIES - 1)]
        if e.seen & bit:
            i += 1
            continue
        if e.key_n and lanes.key_head - e.key_start > LOG_KEYS:
            return 2
        for k in range(e.key_start, e.key_start + e.key_n):
            if lanes.keys[k & (LOG_KEYS - 1)] == key:
                return 1
        i += 1
    return 0
