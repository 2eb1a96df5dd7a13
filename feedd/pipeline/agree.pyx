"""What several lines brought of one stream, with messages missing here and there: what is next?

A message is its content; two of them may be equal. Of each line it is known up to where it stands
in the history, what it brought since, and how many messages it may have lost before each of these.
Every merge of the lines that all of this allows explains what was seen, and costs as many losses
as it takes. What is next in all of them is known.

No message is lost on all lines: that one nobody could know of.
"""

from libc.stdint cimport int16_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from feedd.pipeline.lanes cimport HISTORY, lanes_t

cdef enum:
    NODES = 4096              # power of two
    SEEN_MAX = 2048           # states of a search; more is not worth the time
    NOWHERE = 30_000
    WINDOW = 512

cdef inline uint64_t _content(const lanes_t* lanes, uint64_t position) noexcept nogil:
    return lanes.history[position & (HISTORY - 1)].content


cdef bint search_new(search_t* s) noexcept nogil:
    if s.nodes == NULL:
        s.nodes = <node_t*>malloc(NODES * sizeof(node_t))
        s.open = <uint64_t*>malloc(2 * (SEEN_MAX + 16) * sizeof(uint64_t))
        s.row[0] = <int16_t*>malloc(WINDOW * sizeof(int16_t))
        s.row[1] = <int16_t*>malloc(WINDOW * sizeof(int16_t))
    return s.nodes != NULL and s.open != NULL and s.row[0] != NULL and s.row[1] != NULL


cdef void search_free(search_t* s) noexcept nogil:
    free(s.nodes)
    free(s.open)
    free(s.row[0])
    free(s.row[1])


# ---- one line and the history --------------------------------------------------------------------

cdef inline void _end(queue_t* q, uint32_t used, int64_t lost, int64_t cost) noexcept nogil:
    cdef uint32_t i
    for i in range(q.n_ends):
        if q.ends[i].used == used and q.ends[i].lost == lost:
            if cost < q.ends[i].cost:
                q.ends[i].cost = <uint16_t>cost
            return
    if q.n_ends < ENDS_MAX:
        q.ends[q.n_ends].used = <uint16_t>used
        q.ends[q.n_ends].lost = <uint16_t>lost
        q.ends[q.n_ends].cost = <uint16_t>cost
        q.n_ends += 1


cdef int _reach(search_t* s, queue_t* q, const lanes_t* lanes, int first) noexcept nogil:
    """All ways in which the line's messages fit, the first at place ``first``; the least cost."""
    cdef int64_t h = <int64_t>(lanes.head - q.lane.at)
    cdef int64_t place, before, low
    cdef int16_t best
    cdef int16_t* old = s.row[0]
    cdef int16_t* new = s.row[1]
    cdef int least = NOWHERE
    cdef uint32_t i
    cdef bint any
    q.n_ends = 0
    if q.n == 0:
        _end(q, 0, 0, 0)
        return 0
    if h <= q.slack[0] and (first == ANYWHERE or first == NOT_BEFORE):
        _end(q, 0, h, h)
        least = <int>h
    if first == NOT_BEFORE or h > WINDOW:
        return least
    for i in range(q.n):
        any = False
        for place in range(h):
            best = NOWHERE
            if _content(lanes, q.lane.at + <uint64_t>place) == q.content[i]:
                if i == 0:
                    if place <= q.slack[0] and (first == ANYWHERE or first == place):
                        best = <int16_t>place
                else:
                    low = place - 1 - q.slack[i]
                    before = place - 1
                    while before >= 0 and before >= low:
                        if old[before] + (place - 1 - before) < best:
                            best = <int16_t>(old[before] + (place - 1 - before))
                        before -= 1
            new[place] = best
            if best == NOWHERE:
                continue
            any = True
            if i == q.n - 1:
                _end(q, q.n, 0, best)
                if best < least:
                    least = best
            elif h - place - 1 <= q.slack[i + 1]:
                _end(q, i + 1, h - place - 1, best + h - place - 1)
                if best + h - place - 1 < least:
                    least = <int>(best + h - place - 1)
        if not any:
            break
        old, new = new, old
    return least


cdef int first_place(search_t* s, queue_t* q, const lanes_t* lanes) noexcept nogil:
    cdef int64_t h = <int64_t>(lanes.head - q.lane.at)
    cdef int64_t place
    cdef bint before = False      # is the message before this place the same, and may be the one?
    cdef int found = -2
    cdef int best = NOWHERE
    cdef int second = NOWHERE
    cdef int cost
    for place in range(h + 1):
        if place > q.slack[0]:
            break
        if before:                # no venue says the same twice in a row: it would change nothing
            before = False
            continue
        if place == h:
            cost = _reach(s, q, lanes, NOT_BEFORE)
        elif _content(lanes, q.lane.at + <uint64_t>place) == q.content[0]:
            cost = _reach(s, q, lanes, <int>place)
        else:
            continue
        before = cost < NOWHERE
        if cost < best:
            second = best
            best = cost
            found = <int>place
        elif cost < second:
            second = cost
    if best == NOWHERE:
        return -2
    if found == h or second < NOWHERE:
        return -1
    return found


# ---- all lines, behind the history ---------------------------------------------------------------
# A state of the search: of each line how many of its messages are used, and how many it lost since.

cdef inline uint32_t _used(uint64_t key, int lane) noexcept nogil:
    return <uint32_t>(key >> (16 * lane)) & 0xff


cdef inline uint32_t _lost(uint64_t key, int lane) noexcept nogil:
    return <uint32_t>(key >> (16 * lane + 8)) & 0xff


cdef inline uint64_t _part(int lane, uint32_t used, uint32_t lost) noexcept nogil:
    return <uint64_t>(used | lost << 8) << (16 * lane)


cdef bint _visit(search_t* s, uint64_t key, uint32_t cost, uint32_t* seen) noexcept nogil:
    """Is this state new, or cheaper than before?"""
    cdef uint32_t i = <uint32_t>((key * <uint64_t>0x9e3779b97f4a7c15) >> 40) & (NODES - 1)
    while s.nodes[i].key != <uint64_t>-1:
        if s.nodes[i].key == key:
            if s.nodes[i].cost <= cost:
                return False
            s.nodes[i].cost = cost
            return True
        i = (i + 1) & (NODES - 1)
    s.nodes[i].key = key
    s.nodes[i].cost = cost
    seen[0] += 1
    return True


cdef int _step(
    search_t* s, uint64_t key, uint64_t content, uint64_t* out, int* cost
) noexcept nogil:
    """States behind a message of this content: each line brings it, or lost it, or has not brought
    it yet. With the cost of each; how many."""
    cdef int n = 1
    cdef int lane, i, kept
    cdef const queue_t* q
    cdef uint32_t used, lost
    cdef bint may_bring, may_lose
    cdef uint32_t brought[16]
    out[0] = 0
    cost[0] = 0
    brought[0] = 0
    for lane in range(s.n):
        q = &s.queue[lane]
        used = _used(key, lane)
        lost = _lost(key, lane)
        if used == q.n:
            for i in range(n):
                out[i] |= _part(lane, used, 0)
                cost[i] += q.silent
            continue
        may_bring = q.content[used] == content
        may_lose = lost < q.slack[used]
        kept = n
        if may_bring and may_lose:
            for i in range(kept):
                out[kept + i] = out[i] | _part(lane, used, lost + 1)
                cost[kept + i] = cost[i] + 1
                brought[kept + i] = brought[i]
                out[i] |= _part(lane, used + 1, 0)
                brought[i] += 1
            n = 2 * kept
        elif may_bring:
            for i in range(kept):
                out[i] |= _part(lane, used + 1, 0)
                brought[i] += 1
        elif may_lose:
            for i in range(kept):
                out[i] |= _part(lane, used, lost + 1)
                cost[i] += 1
        else:
            return 0
    kept = 0
    for i in range(n):
        if brought[i]:
            out[kept] = out[i]
            cost[kept] = cost[i]
            kept += 1
    return kept


cdef int _rest(const search_t* s, uint64_t key) noexcept nogil:
    """What it costs that only one line is left with messages that have no place; -1: more are."""
    cdef int left = 0
    cdef int silent = 0
    cdef int n = 0
    cdef int lane
    for lane in range(s.n):
        if _used(key, lane) < s.queue[lane].n:
            left += 1
            n = s.queue[lane].n - _used(key, lane)
        else:
            silent += s.queue[lane].silent
    return n * silent if left <= 1 else -1


cdef int _cost_with(search_t* s, uint64_t content, const uint64_t* starts, const uint32_t* costs,
                    uint32_t n) noexcept nogil:
    """The fewest losses with which a message of this content comes next. Costs are small, so what
    is to be looked at is one list, gone through once for each cost."""
    cdef uint64_t out[16]
    cdef int cost[16]
    cdef uint32_t seen = 0
    cdef uint32_t n_open = 0
    cdef uint32_t i, k
    cdef uint64_t key, tried
    cdef int j, m, lane
    cdef int least
    cdef int ended = NOWHERE
    memset(s.nodes, 0xff, NODES * sizeof(node_t))
    for i in range(n):
        m = _step(s, starts[i], content, out, cost)
        for j in range(m):
            if _visit(s, out[j], costs[i] + <uint32_t>cost[j], &seen):
                s.open[2 * n_open] = out[j]
                s.open[2 * n_open + 1] = costs[i] + <uint32_t>cost[j]
                n_open += 1
                if n_open == SEEN_MAX:
                    return 0         # too many to tell
    while n_open:
        least = NOWHERE
        for i in range(n_open):
            if <int>s.open[2 * i + 1] < least:
                least = <int>s.open[2 * i + 1]
        if least >= ended:
            return ended
        i = 0
        while i < n_open:
            if <int>s.open[2 * i + 1] != least:
                i += 1
                continue
            key = s.open[2 * i]
            n_open -= 1
            s.open[2 * i] = s.open[2 * n_open]
            s.open[2 * i + 1] = s.open[2 * n_open + 1]
            m = _rest(s, key)
            if m >= 0:
                if least + m < ended:
                    ended = least + m
                continue
            for lane in range(s.n):
                if _used(key, lane) == s.queue[lane].n:
                    continue
                tried = s.queue[lane].content[_used(key, lane)]
                for k in range(<uint32_t>lane):
                    if (_used(key, <int>k) < s.queue[k].n
                            and s.queue[k].content[_used(key, <int>k)] == tried):
                        break
                else:
                    m = _step(s, key, tried, out, cost)
                    for j in range(m):
                        if _visit(s, out[j], <uint32_t>least + <uint32_t>cost[j], &seen):
                            if seen >= SEEN_MAX or n_open >= SEEN_MAX:
                                return 0
                            s.open[2 * n_open] = out[j]
                            s.open[2 * n_open + 1] = <uint64_t>(least + cost[j])
                            n_open += 1
    return ended


cdef next_t next_of_all(search_t* s, const lanes_t* lanes) noexcept nogil:
    cdef next_t found
    cdef uint64_t starts[64]
    cdef uint32_t costs[64]
    cdef uint64_t tried[256]
    cdef uint32_t n = 1
    cdef uint32_t n_tried = 0
    cdef uint32_t i, k, kept, used
    cdef int lane, cost
    cdef int best = NOWHERE
    cdef int second = NOWHERE
    cdef int unknown = NOWHERE
    cdef bint open, free_to
    cdef queue_t* q
    cdef uint64_t content
    memset(&found, 0, sizeof(found))
    found.lane = -1
    starts[0] = 0
    costs[0] = 0
    for lane in range(s.n):
        q = &s.queue[lane]
        if _reach(s, q, lanes, ANYWHERE) == NOWHERE:
            found.verdict = NEXT_IMPOSSIBLE
            return found
        if n * q.n_ends > 64:
            return found
        kept = n
        for k in range(1, q.n_ends):
            for i in range(kept):
                starts[n] = starts[i] | _part(lane, q.ends[k].used, q.ends[k].lost)
                costs[n] = costs[i] + q.ends[k].cost
                n += 1
        for i in range(kept):
            starts[i] |= _part(lane, q.ends[0].used, q.ends[0].lost)
            costs[i] += q.ends[0].cost
    # something that only a line will bring which has nothing left now
    for i in range(n):
        open = False
        free_to = True
        cost = <int>costs[i]
        for lane in range(s.n):
            q = &s.queue[lane]
            used = _used(starts[i], lane)
            if used == q.n:
                open = open or not q.silent
            elif _lost(starts[i], lane) < q.slack[used]:
                cost += 1
            else:
                free_to = False
        if open and free_to and cost < unknown:
            unknown = cost
    for i in range(n):
        for lane in range(s.n):
            q = &s.queue[lane]
            used = _used(starts[i], lane)
            if used == q.n:
                continue
            content = q.content[used]
            for k in range(n_tried):
                if tried[k] == content:
                    break
            else:
                tried[n_tried] = content
                n_tried += 1
                cost = _cost_with(s, content, starts, costs, n)
                if cost < best:
                    second = best
                    best = cost
                    found.lane = lane
                    found.message = used
                elif cost < second:
                    second = cost
    if best == NOWHERE:
        found.verdict = NEXT_UNKNOWN if unknown < NOWHERE else NEXT_IMPOSSIBLE
        return found
    if unknown < second:
        second = unknown
    if second == NOWHERE:
        found.verdict = NEXT_KNOWN
    return found
