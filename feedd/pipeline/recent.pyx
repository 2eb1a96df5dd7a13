"""The last records of a stream that have neither number nor id, to know copies by content.

Equal records of one line are all real. The second line's first copy is that of the first one that
it has not brought yet, and so on, so each record is published once however the lines interleave.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from feedd import limits

cdef uint32_t ONE_LINE = 8            # records kept while one line carries the stream
cdef uint32_t SEVERAL_LINES = 64
# a line that lacks something newer is behind for so long
cdef int64_t BEHIND_NS = limits.LINE_HOLD_NS


cdef recent_t* recent_of(recent_t** list, int32_t channel) noexcept nogil:
    cdef recent_t* r = list[0]
    while r != NULL:
        if r.channel == channel:
            return r
        r = r.next
    r = <recent_t*>calloc(1, sizeof(recent_t))
    if r == NULL:
        return NULL
    r.heard = <heard_t*>calloc(ONE_LINE, sizeof(heard_t))
    if r.heard == NULL:
        free(r)
        return NULL
    r.cap = ONE_LINE
    r.channel = channel
    r.next = list[0]
    list[0] = r
    return r


cdef void recent_free(recent_t* list) noexcept nogil:
    cdef recent_t* following
    while list != NULL:
        following = list.next
        free(list.heard)
        free(list)
        list = following


cdef void recent_line_gone(recent_t* list, int32_t line) noexcept nogil:
    cdef uint32_t i
    cdef uint64_t others = ~(<uint64_t>1 << (line & 63))
    while list != NULL:
        # the other lines may still bring copies of what this one brought, so it stays in `lines`
        for i in range(list.n):
            list.heard[i].lines &= others
        list = list.next


cdef void _grow(recent_t* r) noexcept nogil:
    """Room for the lag between lines; what is there stays, oldest first."""
    cdef uint32_t i
    cdef heard_t* grown = <heard_t*>calloc(SEVERAL_LINES, sizeof(heard_t))
    if grown == NULL:
        return
    for i in range(r.n):
        grown[i] = r.heard[(r.at + i) % r.n]
    free(r.heard)
    r.heard = grown
    r.cap = SEVERAL_LINES
    r.at = r.n % r.cap


cdef int recent_check(
    recent_t* r, uint64_t content, int32_t line, int64_t ts_event, int64_t ts_recv, bint state,
    int64_t* lag
) noexcept nogil:
    cdef uint64_t bit = <uint64_t>1 << (line & 63)
    cdef heard_t* h
    cdef uint32_t i
    lag[0] = -1
    if r.lines & ~bit:                      # another line carries it too
        if r.cap < SEVERAL_LINES:
            _grow(r)
        h = NULL
        for i in range(r.n):                # the oldest copy first
            h = &r.heard[(r.at + i) % r.n if r.n == r.cap else i]
            if h.content == content and not h.lines & bit:
                h.lines |= bit
                r.lines |= bit
                lag[0] = ts_recv - h.ts_recv
                return RECENT_COPY
        r.lines |= bit
        if state:
            if ts_event:
                if ts_event < r.ts_event:
                    return RECENT_LATE
            elif h != NULL and not h.lines & bit and ts_recv - h.ts_recv < BEHIND_NS:
                return RECENT_LATE
    r.lines |= bit
    h = &r.heard[r.at]
    h.content = content
    h.lines = bit
    h.ts_recv = ts_recv
    r.at = r.at + 1 if r.at + 1 < r.cap else 0
    if r.n < r.cap:
        r.n += 1
    if ts_event > r.ts_event:
        r.ts_event = ts_event
    return RECENT_NEW
