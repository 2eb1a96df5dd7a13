"""Numbered books over several connections: the first copy of each number wins.

The numbers say what is a copy. A message that does not follow waits a little: another line may
still bring the one before it. Only when every line has passed the hole, or after a quarter of a
second, is it a gap.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from feedd.decode.plan cimport program_t
from feedd.pipeline.books cimport Books, pending_of, update_t
from feedd.pipeline.content cimport content_of
from feedd.pipeline.instrument cimport (
    instrument_t, pending_add, pending_clear, pending_shift, pending_t,
)
from feedd.pipeline.lanes cimport (
    LANE_BEHIND, LANE_FREE, LANE_SYNCED, LANES_MAX, lane_t, lanes_count, lanes_new, lanes_t,
    log_add, log_at, log_find, log_see, log_start, log_time,
)
from feedd.pipeline.output cimport stamp_t
from feedd.pipeline.policies cimport (
    expected_of, follows, got_of, is_numbered, needs_rest,
)
from feedd.pipeline.recent cimport RECENT_NEW, recent_check, recent_of, recent_t
from feedd.shm.feedd cimport FEEDD_AT_CONNECTIONS, FEEDD_CONNECTION_SLOTS, FEEDD_CONNECTIONS

from feedd import limits

cdef extern from "feedd/counters.h" nogil:
    enum:
        FEEDD_C_duplicates
        FEEDD_C_old_deltas
        FEEDD_C_buffered_deltas
        FEEDD_C_held_messages
        FEEDD_C_line_takeovers
        FEEDD_LINE_FIRSTS
        FEEDD_LINE_COPIES
        FEEDD_LINE_LAG_SUM
        FEEDD_LINE_LAG_COUNT
        FEEDD_LINE_LAG_MAX
        FEEDD_LINE_MISSED
        FEEDD_LINE_LAG_BUCKETS

cdef uint32_t HELD_MAX = limits.LINE_HELD_MESSAGES_MAX
cdef uint32_t SAME_RUN_MIN = 3
cdef int64_t LATELY_NS = 1_000_000_000
cdef int64_t RESTART_NS = 5_000_000_000   # by the venue's clock: the other line is history


cdef class Numbered(Books):
    def __dealloc__(self):
        free(self.holding)
        free(self.heard)

    cdef heard_t* heard_of(self, int32_t line) noexcept nogil:
        cdef uint32_t n
        cdef void* grown
        if not 0 <= line < LINE_ROWS:
            return NULL
        if <uint32_t>line >= self.n_heard:
            n = <uint32_t>line * 2 + 16
            grown = realloc(self.heard, n * sizeof(heard_t))
            if grown == NULL:
                return NULL
            self.heard = <heard_t*>grown
            memset(&self.heard[self.n_heard], 0, (n - self.n_heard) * sizeof(heard_t))
            self.n_heard = n
        return &self.heard[line]

    cdef void heard_from(self, int32_t venue, int32_t line, int64_t now) noexcept nogil:
        cdef heard_t* h = self.heard_of(line)
        if h != NULL:
            h.at = now
            h.venue = venue

    cdef bint others_heard(self, int32_t venue, int32_t line, int64_t now) noexcept nogil:
        cdef uint32_t i
        for i in range(self.n_heard):
            if (<int32_t>i != line and self.heard[i].venue == venue and self.heard[i].at
                    and now - self.heard[i].at < LATELY_NS):
                return True
        return False

    cdef void numbered_on(self, int32_t line, uint64_t number) noexcept nogil:
        if 0 <= line < <int32_t>self.n_heard:
            self.heard[line].number = number

    cdef void same_message(
        self, int32_t line, uint64_t number, int32_t other, uint64_t there
    ) noexcept nogil:
        cdef heard_t* h
        cdef int64_t shift
        if line == other or number == 0 or there == 0:
            return
        if line < other:
            line, other = other, line
            number, there = there, number
        h = self.heard_of(line)
        if h == NULL or other < 0:
            return
        shift = <int64_t>(there - number)
        if h.same_line == other and h.shift == shift:
            h.same_run += 1
            return
        h.same_line = other
        h.shift = shift
        h.same_run = 0

    cdef bint shift_of(self, int32_t line, int32_t to, int64_t* shift) noexcept nogil:
        cdef const heard_t* h = self.heard_of(line if line > to else to)
        shift[0] = 0
        if line == to:
            return True
        if h == NULL or h.same_run < SAME_RUN_MIN or h.same_line != (to if line > to else line):
            return False
        shift[0] = h.shift if line > to else -h.shift
        return True

    cdef uint64_t number_on(self, int32_t line) noexcept nogil:
        return self.heard[line].number if 0 <= line < <int32_t>self.n_heard else 0

    cdef uint32_t lost_on(self, int32_t line) noexcept nogil:
        return self.heard[line].lost if 0 <= line < <int32_t>self.n_heard else 0

    cdef bint _second_line(self, instrument_t* x) noexcept nogil:
        x.lanes = lanes_new(x.line)
        if x.lanes == NULL:
            return False
        x.lanes.lane[0].state = LANE_SYNCED if x.up else LANE_BEHIND
        x.lanes.lane[0].last = x.last if x.up else x.chain if x.has_chain else 0
        x.lanes.snapshot_at = 0 if x.up and x.fresh else -1
        x.lanes.founder = x.line
        x.lanes.alone_until = x.last_ts_event if x.up else 0
        return True

    cdef bint first_copy(
        self, instrument_t* x, int32_t stream, uint64_t content, const stamp_t* s, bint state
    ) noexcept nogil:
        """Of a record that has neither number nor id: is it to be published?"""
        cdef recent_t* r = recent_of(&x.recent, stream)
        cdef int64_t lag
        cdef int found
        if r == NULL:
            return True
        found = recent_check(r, content, s.line, s.ts_event, s.ts_recv, state, &lag)
        if r.lines & (r.lines - 1):           # more than one line carries it
            self._count_line(s.line, found == RECENT_NEW, lag)
        if found != RECENT_NEW:
            self.c[FEEDD_C_duplicates] += 1
        return found == RECENT_NEW

    cdef void _line_counts(
        self, const lane_t* lane, bint first, int64_t lag
    ) noexcept nogil:
        self._count_line(lane.line, first, lag)

    cdef void _count_line(self, int32_t line, bint first, int64_t lag) noexcept nogil:
        """``lag``: ns behind the first copy, below 0 unknown."""
        cdef uint64_t* slots
        cdef int b = 0
        line = self._row(line)
        if line < 0:
            return
        slots = self.c + FEEDD_AT_CONNECTIONS + line * FEEDD_CONNECTION_SLOTS
        if first:
            slots[FEEDD_LINE_FIRSTS] += 1
            return
        slots[FEEDD_LINE_COPIES] += 1
        if lag < 0:
            return
        slots[FEEDD_LINE_LAG_SUM] += <uint64_t>lag
        slots[FEEDD_LINE_LAG_COUNT] += 1
        if <uint64_t>lag > slots[FEEDD_LINE_LAG_MAX]:
            slots[FEEDD_LINE_LAG_MAX] = <uint64_t>lag
        while b < 15 and lag >= <int64_t>16_000 << b:
            b += 1
        slots[FEEDD_LINE_LAG_BUCKETS + b] += 1

    cdef void _missed(self, const lane_t* lane) noexcept nogil:
        cdef int32_t row = self._row(lane.line)
        if row >= 0:
            self.c[FEEDD_AT_CONNECTIONS + row * FEEDD_CONNECTION_SLOTS + FEEDD_LINE_MISSED] += 1

    cdef int32_t _row(self, int32_t line) noexcept nogil:
        """The row of counters of a line, -1 none: one that was replaced counts on in its row."""
        if 0 <= line < LINE_ROWS and self.line_rows[line]:
            return self.line_rows[line] - 1
        return line if 0 <= line < FEEDD_CONNECTIONS else -1

    cdef void _window(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        """Every message is the whole book: a newer one wins, whatever line it came over."""
        cdef uint64_t updates = x.updates
        cdef uint64_t key = u.current if u.has_current else <uint64_t>u.stamp.ts_event
        cdef int64_t first
        if _is_one_of_its_time(x, self.lane, u):
            self.c[FEEDD_C_duplicates] += 1
            self._line_counts(self.lane, False, u.stamp.ts_recv - log_time(x.lanes, key))
            return
        self._accept(x, p, u)
        if x.updates != updates:
            x.line = u.stamp.line
            self.lane.state = LANE_SYNCED
            log_add(x.lanes, self.lane, 0 if u.has_current else x.snapshot_hash, key,
                    u.stamp.ts_event, u.stamp.ts_recv)
            self._line_counts(self.lane, True, 0)
        else:
            first = log_time(x.lanes, key)
            self._line_counts(self.lane, False, u.stamp.ts_recv - first if first else -1)

    cdef void _numbered(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        cdef lane_t* lane = self.lane
        cdef uint64_t updates = x.updates
        cdef uint64_t last = x.last
        cdef bint was_up = x.up
        cdef bint backwards
        cdef int64_t first
        if lane.generation != x.lanes.generation and self._other_generation(x, u):
            self.c[FEEDD_C_duplicates] += 1
            self._line_counts(lane, False, -1)
            return
        if u.snapshot and not needs_rest(p) and not self._numbered_snapshot(x, p, u):
            return
        if u.snapshot and not x.up and u.current >= lane.last:
            x.has_chain = 0     # what other lines brought since is still to come over this one
        if u.current > lane.last or u.snapshot:
            lane.last = u.current
        backwards = x.up and u.current < last
        self._accept(x, p, u)
        if x.updates != updates:
            x.line = u.stamp.line
            lane.state = LANE_SYNCED
            log_add(x.lanes, lane, 0, u.current, u.stamp.ts_event, u.stamp.ts_recv)
            self._line_counts(lane, True, 0)
            if backwards and x.up:
                self._next_generation(x, u)
            if x.n_pending and x.up:
                self._drain(x, p)
                if x.n_pending == 0:
                    x.hold_since = 0
        elif was_up and not self.held:
            first = log_time(x.lanes, u.current)
            self._line_counts(lane, False, u.stamp.ts_recv - first if first else -1)

    cdef bint _numbered_snapshot(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        """True: the snapshot replaces the book. Beside a book that other lines keep whole it is
        only a line's beginning; one ahead of the book waits, it may carry it on."""
        cdef lane_t* lane = self.lane
        cdef bint later
        if not x.up or lanes_count(x.lanes, lane, LANE_BEHIND) == 0:
            return True
        if u.current > x.last:
            if lane.state == LANE_SYNCED:
                return True         # the venue sent it again, of its own will
            lane.state = LANE_SYNCED
            lane.last = u.current
            self._hold(x, p, u, 0)
            return False
        later = not 0 < u.stamp.ts_event <= x.last_ts_event
        if u.current < x.last and later and (
                (lane.state == LANE_SYNCED and p.snapshot_reset)
                or (u.stamp.ts_event - x.last_ts_event > RESTART_NS and x.last_ts_event)):
            self.snapshot(x, p, u)
            if x.up:
                x.line = u.stamp.line
                lane.state = LANE_SYNCED
                lane.last = u.current
                self._next_generation(x, u)
            return False
        lane.state = LANE_SYNCED
        if u.current > lane.last:
            lane.last = u.current
        self.c[FEEDD_C_duplicates] += 1
        self._line_counts(lane, False, -1)
        return False

    cdef void _next_generation(self, instrument_t* x, const update_t* u) noexcept nogil:
        """The numbering went back, legally: the other lines still bring higher, older numbers."""
        x.lanes.generation += 1
        x.lanes.reset_previous = <uint64_t>u.previous
        x.lanes.reset_current = u.current
        x.lanes.reset_ts = u.stamp.ts_event
        self.lane.generation = x.lanes.generation
        self.lane.last = u.current
        pending_clear(x)
        x.hold_since = 0

    cdef bint _other_generation(self, instrument_t* x, const update_t* u) noexcept nogil:
        """Is this line's message still from before the numbering went back?"""
        cdef lanes_t* lanes = x.lanes
        if not ((lanes.reset_ts and u.stamp.ts_event > lanes.reset_ts) or (
                u.current == lanes.reset_current
                and (u.snapshot or <uint64_t>u.previous == lanes.reset_previous))):
            return True
        self.lane.generation = lanes.generation
        self.lane.last = u.current
        return False

    cdef void _break(
        self, instrument_t* x, const program_t* p, const update_t* u, uint64_t last
    ) noexcept nogil:
        if self.lane != NULL and x.up and lanes_count(x.lanes, self.lane, LANE_BEHIND):
            self._hold(x, p, u, 0)
        else:
            Books._break(self, x, p, u, last)

    cdef bint _hold(
        self, instrument_t* x, const program_t* p, const update_t* u, uint64_t content
    ) noexcept nogil:
        """Keep a message that cannot be applied yet. False: it is there already."""
        cdef pending_t d
        cdef uint32_t i
        cdef bint by_number = u.has_current and is_numbered(p)
        self.held = True
        if by_number:
            for i in range(x.n_pending):
                if x.pending[i].current == u.current and x.pending[i].snapshot == u.snapshot:
                    self.c[FEEDD_C_duplicates] += 1
                    self._line_counts(
                        self.lane, False, u.stamp.ts_recv - x.pending[i].ts_recv)
                    if self._all_passed(x):
                        self._give_up(x, p)
                    return False
        pending_of(u, content, &d)
        self.c[FEEDD_C_held_messages] += 1
        pending_add(x, &d, u.bids, u.asks, u.keys, by_number)
        self._wait(x, u.stamp.ts_recv)
        if by_number and (x.n_pending > HELD_MAX or self._all_passed(x)):
            self._give_up(x, p)
        return True

    cdef void _wait(self, instrument_t* x, int64_t now) noexcept nogil:
        cdef uint32_t cap, i
        cdef void* grown
        if x.hold_since:
            return
        x.hold_since = now if now else 1
        for i in range(self.n_holding):
            if self.holding[i] == x:
                return
        if self.n_holding == self.cap_holding:
            cap = self.cap_holding * 2 if self.cap_holding else 64
            grown = realloc(self.holding, cap * sizeof(void*))
            if grown == NULL:
                return
            self.holding = <instrument_t**>grown
            self.cap_holding = cap
        self.holding[self.n_holding] = x
        self.n_holding += 1

    cdef bint _all_passed(self, const instrument_t* x) noexcept nogil:
        """Has every line brought something behind the hole?"""
        cdef int i
        cdef const lane_t* lane
        for i in range(LANES_MAX):
            lane = &x.lanes.lane[i]
            if (lane.state != LANE_FREE and lane.generation == x.lanes.generation
                    and lane.last <= x.last):
                return False
        return True

    cdef void _hole(self, instrument_t* x, const program_t* p) noexcept nogil:
        if x.lanes == NULL or not x.up:
            Books._hole(self, x, p)
            return
        x.hold_since = 0
        self._wait(x, x.pending[0].ts_recv)
        if self._all_passed(x):
            self._give_up(x, p)

    cdef void _give_up(self, instrument_t* x, const program_t* p) noexcept nogil:
        """No line has what is missing: a snapshot that waits bridges it, else it is a gap."""
        cdef update_t u
        cdef uint32_t i = x.n_pending
        cdef uint64_t tail
        x.hold_since = 0
        if i == 0 or not x.up:
            return
        tail = x.pending[i - 1].current
        while i:
            i -= 1
            if not x.pending[i].snapshot:
                continue
            self._recall(x, &x.pending[i], &u)
            self.c[FEEDD_C_line_takeovers] += 1
            self.snapshot(x, p, &u)
            if x.up:
                x.line = u.stamp.line
                pending_shift(x, i + 1)
                if x.n_pending:
                    self._drain(x, p)
            return
        self._recall(x, &x.pending[0], &u)
        self.keeps = needs_rest(p)       # then these wait for the REST snapshot
        self.lost(x, p, &u.stamp, expected_of(p, x.last), got_of(p, &u), b"sequence", True)
        self.keeps = False
        if needs_rest(p):
            self.resync(x, p, &u.stamp)
        else:
            x.chain = tail
            x.has_chain = 1

    cdef void _buffer(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        """With several lines the deltas that wait for a REST snapshot come in any order."""
        cdef pending_t d
        cdef uint32_t i
        if x.lanes == NULL or x.n_pending == 0 or (
                u.current > x.pending[x.n_pending - 1].current
                and follows(p, x.pending[x.n_pending - 1].current, u)):
            Books._buffer(self, x, p, u)
            return
        for i in range(x.n_pending):
            if x.pending[i].current == u.current:
                self.c[FEEDD_C_old_deltas] += 1
                return
        pending_of(u, 0, &d)
        self.c[FEEDD_C_buffered_deltas] += 1
        pending_add(x, &d, u.bids, u.asks, u.keys, True)


cdef bint _is_one_of_its_time(
    instrument_t* x, const lane_t* lane, const update_t* u
) noexcept nogil:
    """A partial book without a number, of the newest time, that another line brought: not as the
    last one, which is known anyway."""
    cdef uint64_t at = x.lanes.head
    cdef uint64_t content
    cdef int64_t found
    if not x.up or u.has_current or not 0 < u.stamp.ts_event == x.last_ts_event or (
            at < 2 or log_at(x.lanes, at - 2).ts_event != u.stamp.ts_event):
        return False
    content = content_of(u)
    while at > log_start(x.lanes) and log_at(x.lanes, at - 1).ts_event == u.stamp.ts_event:
        at -= 1
    found = log_find(x.lanes, lane, at, content)
    if found < 0:
        return False
    log_see(x.lanes, lane, <uint64_t>found)
    return True
