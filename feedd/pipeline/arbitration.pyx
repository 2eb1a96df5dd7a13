"""Books fed by several connections: the first copy of each message wins.

Where messages have numbers these say what is a copy. A message that does not follow waits a little:
another line may still bring the one before it. Only when every line has passed the hole, or after
``HOLD_NS``, is it a gap.

Without numbers a message is known by its content. Each lane's copies are recognised in the order of
the log, so old absolute sizes never overwrite newer ones. A connection that begins beside a book
that is whole has to find its place first: its snapshot and what follows are kept until one of them
is recognised, and carry the book on if the other connections end before that.

A book that only one connection feeds takes none of these paths.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from feedd.book.checksum cimport fx_copy
from feedd.decode.engine cimport fd_level
from feedd.decode.plan cimport POLICY_NONE_FULL, program_t
from feedd.pipeline.books cimport Books, pending_of, update_t
from feedd.pipeline.content cimport content_of, level_key
from feedd.pipeline.instrument cimport (
    instrument_t, pending_add, pending_clear, pending_drop_line, pending_shift, pending_t, rowkey_t,
    table_t,
)
from feedd.pipeline.lanes cimport (
    LANE_ALIGNING, LANE_BEHIND, LANE_FREE, LANE_SYNCED, LANES_MAX, entry_t, lane_find, lane_of,
    lane_t, lanes_count, lanes_free, lanes_new, lanes_t, log_add, log_at, log_find, log_keys,
    log_see, log_start, log_time, log_touched,
)
from feedd.pipeline.output cimport EVENT_GAP, stamp_t
from feedd.pipeline.policies cimport (
    NEXT_APPLY, expected_of, follows, got_of, is_numbered, needs_rest, next_of,
)
from feedd.pipeline.recent cimport RECENT_NEW, recent_check, recent_of, recent_t
from feedd.pipeline.requests cimport REQUEST_RECONNECT
from feedd.shm.feedd cimport (
    FEEDD_AT_CONNECTIONS, FEEDD_BOOK_GAP, FEEDD_BOOK_SYNCING, FEEDD_CONNECTION_SLOTS,
    FEEDD_CONNECTIONS, FEEDD_NO_SEQUENCE, FEEDD_REASON_GAP,
)

cdef extern from "feedd/counters.h" nogil:
    enum:
        FEEDD_C_gaps
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

cdef int64_t HOLD_NS = 250_000_000
cdef int64_t RESTART_NS = 5_000_000_000   # by the venue's clock: the other line is history
cdef uint32_t HELD_MAX = 1024             # messages of one book
cdef int UNTIMED_RUN = 3                  # equal messages in a row, where no time tells them apart


cdef class Arbiter(Books):
    def __dealloc__(self):
        free(self.holding)
        free(self.keys)
        free(self.late.levels)
        free(self.late_keys)

    cdef void update(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        if not self._owns(x, p, u):
            return
        if x.lanes == NULL and (
                x.line == u.stamp.line or x.line < 0 or not self._second_line(x)):
            x.line = u.stamp.line
            self._accept(x, p, u)
            return
        self.lane = lane_of(x.lanes, u.stamp.line)
        if self.lane == NULL:           # more connections than lanes: the others are enough
            self.c[FEEDD_C_duplicates] += 1
            return
        self.rejected = False
        self.held = False
        if p.policy == POLICY_NONE_FULL:
            self._window(x, p, u)
        elif u.has_current and is_numbered(p):
            self._numbered(x, p, u)
        else:
            self._unnumbered(x, p, u)
        self.lane = NULL

    cdef bint _second_line(self, instrument_t* x) noexcept nogil:
        x.lanes = lanes_new(x.line)
        if x.lanes == NULL:
            return False
        x.lanes.lane[0].state = LANE_SYNCED if x.up else LANE_BEHIND
        x.lanes.lane[0].last = x.last if x.up else 0
        x.lanes.snapshot_at = 0 if x.up and x.fresh else -1
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

    # ---- whole books and numbered changes ------------------------------------------------------

    cdef void _window(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        """Every message is the whole book: a newer one wins, whatever line it came over."""
        cdef uint64_t updates = x.updates
        cdef uint64_t key = u.current if u.has_current else <uint64_t>u.stamp.ts_event
        cdef int64_t first
        self._accept(x, p, u)
        if x.updates != updates:
            x.line = u.stamp.line
            self.lane.state = LANE_SYNCED
            log_add(x.lanes, self.lane, 0, key, u.stamp.ts_event, u.stamp.ts_recv)
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

    # ---- changes without numbers ---------------------------------------------------------------

    cdef void _unnumbered(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        cdef lane_t* lane = self.lane
        cdef lanes_t* lanes = x.lanes
        cdef uint64_t content = content_of(u)
        cdef int64_t found
        if u.snapshot:
            self._unnumbered_snapshot(x, p, u, content)
        elif not x.up:
            self._accept(x, p, u)
        elif lane.state == LANE_SYNCED:
            found = log_find(lanes, lane, lane.at, content)
            if found >= 0:
                log_see(lanes, lane, <uint64_t>found)
                lane.at = <uint64_t>found + 1
                self.c[FEEDD_C_duplicates] += 1
                self._line_counts(
                    lane, False, u.stamp.ts_recv - log_at(lanes, <uint64_t>found).ts_recv)
            elif lane.at >= lanes.head or u.stamp.ts_event > log_at(
                    lanes, lanes.head - 1).ts_event:
                if lane.at < lanes.head:
                    self._missed(lane)
                self._lead(x, p, u, content)
            else:
                self._insert(x, p, u, content, lane.at)
                if x.up:
                    self._align(x, p)
        elif self._recognise(x, u, content):
            self._insert_missed(x, p, lane, x.n_pending)
            if not x.up:
                return
            log_see(lanes, lane, lane.at - 1)
            pending_drop_line(x, lane.line, x.n_pending)
            self.c[FEEDD_C_duplicates] += 1
            self._line_counts(lane, False, -1)
        elif lane.state == LANE_ALIGNING:
            self._hold(x, p, u, content)
            if x.n_pending > HELD_MAX:
                self._promote(x, p, lane)
        else:
            self.c[FEEDD_C_duplicates] += 1
            self._nobody(x, p, u)
        lane.content = content

    cdef void _nobody(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        """A message whose place is unknown. When no line is in step it must soon be known: then
        what is missing between the book and the line is only what the log has."""
        cdef lane_t* lane = self.lane
        if lanes_count(x.lanes, NULL, LANE_ALIGNING):
            lane.since = 0
        elif lane.since == 0:
            lane.since = u.stamp.ts_recv if u.stamp.ts_recv else 1
        elif u.stamp.ts_recv - lane.since > HOLD_NS:
            self._lost_place(x, p, u, b"no line in step")

    cdef void _lost_place(
        self, instrument_t* x, const program_t* p, const update_t* u, const char* why
    ) noexcept nogil:
        self.lost(x, p, &u.stamp, FEEDD_NO_SEQUENCE, FEEDD_NO_SEQUENCE, why, True)

    cdef void _unnumbered_snapshot(
        self, instrument_t* x, const program_t* p, const update_t* u, uint64_t content
    ) noexcept nogil:
        cdef lane_t* lane = self.lane
        cdef uint64_t updates = x.updates
        cdef pending_t d
        cdef int i
        if not x.up or lanes_count(x.lanes, lane, LANE_SYNCED) == 0:
            self._accept(x, p, u)
            if not x.up or x.updates == updates:
                return
            x.line = u.stamp.line
            for i in range(LANES_MAX):
                if x.lanes.lane[i].state != LANE_FREE:
                    x.lanes.lane[i].state = LANE_BEHIND
                    x.lanes.lane[i].run = 0
            pending_clear(x)
            x.hold_since = 0
            lane.state = LANE_SYNCED
            lane.at = x.lanes.head
            x.lanes.snapshot_at = <int64_t>x.lanes.head
            self._line_counts(lane, True, 0)
            return
        pending_drop_line(x, lane.line, x.n_pending)
        lane.run = 0
        if content == x.snapshot_hash and x.lanes.snapshot_at >= <int64_t>log_start(x.lanes):
            lane.state = LANE_SYNCED         # the snapshot that the book began with
            lane.at = <uint64_t>x.lanes.snapshot_at
            self.c[FEEDD_C_duplicates] += 1
            self._line_counts(lane, False, -1)
            return
        lane.state = LANE_ALIGNING
        pending_of(u, content, &d)
        pending_add(x, &d, u.bids, u.asks, u.keys, False)

    cdef bint _recognise(
        self, instrument_t* x, const update_t* u, uint64_t content
    ) noexcept nogil:
        """Is the message in the log, so that the lane's place is known?"""
        cdef lane_t* lane = self.lane
        cdef lanes_t* lanes = x.lanes
        cdef int64_t found
        if lane.run and lane.at < lanes.head and log_at(lanes, lane.at).content == content:
            found = <int64_t>lane.at
        else:
            lane.run = 0
            found = log_find(lanes, lane, log_start(lanes), content)
            if found < 0:
                return False
        lane.run += 1
        lane.at = <uint64_t>found + 1
        if not u.stamp.ts_event and lane.run < UNTIMED_RUN:
            return False
        lane.state = LANE_SYNCED
        lane.run = 0
        return True

    cdef void _lead(
        self, instrument_t* x, const program_t* p, const update_t* u, uint64_t content
    ) noexcept nogil:
        """The first copy of what comes next."""
        cdef lane_t* lane = self.lane
        cdef int i
        self._accept(x, p, u)
        if self.rejected:
            lane.state = LANE_BEHIND
            lane.run = 0
            self._missed(lane)
            for i in range(LANES_MAX):
                if (lanes_count(x.lanes, NULL, LANE_SYNCED) == 0
                        and x.lanes.lane[i].state == LANE_ALIGNING):
                    self._promote(x, p, &x.lanes.lane[i])
            return
        if not x.up:
            return
        x.line = u.stamp.line
        self._log(x, u, content)
        self._line_counts(lane, True, 0)
        self._align(x, p)

    cdef void _log(
        self, instrument_t* x, const update_t* u, uint64_t content
    ) noexcept nogil:
        cdef entry_t* e = log_add(
            x.lanes, self.lane, content, 0, u.stamp.ts_event, u.stamp.ts_recv)
        log_keys(x.lanes, e, self.keys, self._keys_of(u))

    cdef uint32_t _keys_of(self, const update_t* u) noexcept nogil:
        """The levels that a message touches, as one number each, into ``keys``."""
        cdef uint32_t n = u.n_bid + u.n_ask
        cdef uint32_t i
        cdef void* grown
        if n > self.cap_keys:
            grown = realloc(self.keys, n * 2 * sizeof(uint64_t))
            if grown == NULL:
                return 0
            self.keys = <uint64_t*>grown
            self.cap_keys = n * 2
        for i in range(n):
            self.keys[i] = level_key(u, i)
        return n

    cdef void _insert_missed(
        self, instrument_t* x, const program_t* p, lane_t* lane, uint32_t end
    ) noexcept nogil:
        """What a line kept before its place was known, up to index ``end``, and nobody else had."""
        cdef lane_t* saved = self.lane
        cdef uint64_t at = lane.at
        cdef uint64_t place
        cdef uint32_t i
        cdef int64_t found
        cdef update_t u
        self.lane = lane
        for i in range(end):
            if x.pending[i].line != lane.line or x.pending[i].snapshot:
                continue
            found = log_find(x.lanes, lane, log_start(x.lanes), x.pending[i].content)
            if found >= 0:
                log_see(x.lanes, lane, <uint64_t>found)
                continue
            self._recall(x, &x.pending[i], &u)
            place = x.lanes.head if u.stamp.ts_event else at - UNTIMED_RUN
            while u.stamp.ts_event and place > log_start(x.lanes) and (
                    log_at(x.lanes, place - 1).ts_event > u.stamp.ts_event):
                place -= 1
            self._insert(x, p, &u, x.pending[i].content, place)
            if not x.up:
                break
        if x.up:
            lane.at = at
        self.lane = saved

    cdef void _insert(
        self, instrument_t* x, const program_t* p, const update_t* u, uint64_t content,
        uint64_t at
    ) noexcept nogil:
        """A message that the line ahead never had: it belongs before log position ``at``, so it
        counts only for levels that nothing from there on has touched."""
        cdef lane_t* lane = self.lane
        cdef update_t part = u[0]
        cdef uint32_t total = u.n_bid + u.n_ask
        cdef uint32_t n = 0
        cdef uint32_t i
        cdef int touched
        cdef uint64_t place = lane.at
        cdef int64_t newest = x.last_ts_event
        cdef void* grown
        for i in range(LANES_MAX):
            if &x.lanes.lane[i] != lane and x.lanes.lane[i].line == x.line:
                self._missed(&x.lanes.lane[i])
        if total > self.late.cap:
            grown = realloc(self.late.levels, total * sizeof(fd_level))
            if grown != NULL:
                self.late.levels = <fd_level*>grown
                grown = realloc(self.late_keys, total * sizeof(rowkey_t))
            if grown == NULL:
                self._lost_place(x, p, u, b"out of memory")
                return
            self.late_keys = <rowkey_t*>grown
            self.late.cap = total
        for i in range(total):
            if i == u.n_bid:
                part.n_bid = n
            touched = log_touched(x.lanes, lane, at, level_key(u, i))
            if touched == 2:
                self._lost_place(x, p, u, b"a message came too late")
                return
            if touched:
                continue
            self.late.levels[n] = u.bids[i] if i < u.n_bid else u.asks[i - u.n_bid]
            if u.keys != NULL:
                self.late_keys[n] = u.keys[i]
            n += 1
        if total == u.n_bid:
            part.n_bid = n
        part.n_ask = n - part.n_bid
        part.bids = self.late.levels
        part.asks = self.late.levels + part.n_bid
        part.keys = self.late_keys if u.keys != NULL else NULL
        part.has_checksum = 0        # of a book that is further on
        self._accept(x, p, &part)
        if not x.up:
            return
        x.last_ts_event = newest
        self._log(x, u, content)
        lane.at = place              # its copies of what came after are still to come
        self._line_counts(lane, True, 0)

    cdef void _align(self, instrument_t* x, const program_t* p) noexcept nogil:
        """Does what was logged last tell another lane its place?"""
        cdef lanes_t* lanes = x.lanes
        cdef lane_t* lane
        cdef const entry_t* e = log_at(lanes, lanes.head - 1)
        cdef uint64_t content = e.content
        cdef uint32_t i, k, need
        cdef int n
        cdef uint64_t at
        for n in range(LANES_MAX):
            lane = &lanes.lane[n]
            if lane.state == LANE_BEHIND and e.ts_event and lane.content == content:
                lane.state = LANE_SYNCED
                lane.at = lanes.head
                log_see(lanes, lane, lanes.head - 1)
            if lane.state != LANE_ALIGNING:
                continue
            for i in range(x.n_pending):
                if (x.pending[i].line != lane.line or x.pending[i].snapshot
                        or x.pending[i].content != content):
                    continue
                need = 1 if e.ts_event else UNTIMED_RUN
                at = lanes.head - 1
                k = i
                while need > 1 and k and at > log_start(lanes):
                    k -= 1
                    if x.pending[k].line != lane.line:
                        continue
                    at -= 1
                    if x.pending[k].snapshot or x.pending[k].content != log_at(lanes, at).content:
                        break
                    need -= 1
                if need == 1:
                    lane.at = at = lanes.head
                    self._insert_missed(x, p, lane, i)
                    if x.up:
                        log_see(lanes, lane, at - 1)
                        self._take_over(x, p, lane, i + 1)
                    return

    cdef void _take_over(
        self, instrument_t* x, const program_t* p, lane_t* lane, uint32_t start
    ) noexcept nogil:
        """The lane's place is known: what it brought from index ``start`` on comes next."""
        cdef lane_t* saved = self.lane
        cdef uint32_t i
        cdef update_t u
        self.lane = lane
        self.rejected = False
        lane.state = LANE_SYNCED
        lane.at = x.lanes.head
        for i in range(start, x.n_pending):
            if x.pending[i].line != lane.line:
                continue
            self._recall(x, &x.pending[i], &u)
            self._accept(x, p, &u)
            if not x.up:
                self.lane = saved
                return
            if self.rejected:
                lane.state = LANE_BEHIND
                break
            x.line = lane.line
            self._log(x, &u, x.pending[i].content)
            self._line_counts(lane, True, 0)
        pending_drop_line(x, lane.line, x.n_pending)
        if x.n_pending == 0:
            x.hold_since = 0
        self.lane = saved

    cdef bint _promote(
        self, instrument_t* x, const program_t* p, lane_t* lane
    ) noexcept nogil:
        """The other lines are silent or gone: go on from what this one brought. False: nothing."""
        cdef lane_t* saved = self.lane
        cdef update_t u
        cdef uint32_t i
        cdef int n
        for i in range(x.n_pending):
            if x.pending[i].line == lane.line and x.pending[i].snapshot:
                break
        else:
            return False
        self._recall(x, &x.pending[i], &u)
        if u.stamp.ts_event and u.stamp.ts_event < x.last_ts_event:
            # the book is further on: this line will bring what the log has, and is known then
            pending_drop_line(x, lane.line, x.n_pending)
            lane.state = LANE_BEHIND
            lane.run = 0
            lane.since = 0
            return True
        self.lane = lane
        self.rejected = False
        self.c[FEEDD_C_line_takeovers] += 1
        x.snapshot_hash = x.pending[i].content
        self.snapshot(x, p, &u)
        self.lane = saved
        if not x.up or self.rejected:
            return False
        x.line = lane.line
        for n in range(LANES_MAX):
            if x.lanes.lane[n].state == LANE_SYNCED:
                x.lanes.lane[n].state = LANE_BEHIND
                x.lanes.lane[n].run = 0
        x.lanes.snapshot_at = <int64_t>x.lanes.head
        self._take_over(x, p, lane, i + 1)
        return bool(x.up)

    # ---- lines ---------------------------------------------------------------------------------

    cdef bint _reject(self, instrument_t* x) noexcept nogil:
        """This line's message cannot be right; another line that is in step may have it right."""
        if (self.lane == NULL or x.lanes == NULL or not x.up
                or lanes_count(x.lanes, self.lane, LANE_ALIGNING) == 0):
            return False
        if x.rule != NULL and x.texts_valid:
            x.texts_valid = <uint8_t>fx_copy(x.texts, &self.before)
        self.rejected = True
        return True

    cdef void leave(self, instrument_t* x, const stamp_t* s, uint8_t state) noexcept nogil:
        cdef int i
        Books.leave(self, x, s, state)
        x.hold_since = 0
        if x.lanes == NULL:
            return
        for i in range(LANES_MAX):
            if x.lanes.lane[i].state != LANE_FREE:
                x.lanes.lane[i].state = LANE_BEHIND
                x.lanes.lane[i].run = 0

    cdef bint line_gone(
        self, instrument_t* x, int32_t line, const stamp_t* s, const char* reason
    ) noexcept nogil:
        cdef const program_t* p = &self.programs[x.venue][x.book_channel]
        cdef stamp_t stamp = s[0]
        cdef lane_t* lane
        cdef lane_t* left = NULL
        cdef bint ask = False
        cdef bint whole = False
        cdef bint was_up = x.up
        cdef bint numbered = is_numbered(p) or p.policy == POLICY_NONE_FULL
        cdef int i
        if x.lanes == NULL:
            if x.line != line:
                return True
        else:
            lane = lane_find(x.lanes, line)
            if lane == NULL:
                return True
            lane.state = LANE_FREE
            if not numbered:
                pending_drop_line(x, line, x.n_pending)
            for i in range(LANES_MAX):
                if x.lanes.lane[i].state > (LANE_FREE if left == NULL else left.state):
                    left = &x.lanes.lane[i]
            if left != NULL:
                stamp.line = <unsigned short>left.line
                if numbered:
                    if x.up and x.n_pending and self._all_passed(x):
                        self._give_up(x, p)
                    whole = True
                elif left.state == LANE_ALIGNING and x.up:
                    whole = self._promote(x, p, left)
                else:
                    whole = left.state == LANE_SYNCED or not x.up
                ask = not whole
                if not was_up and whole:
                    x.wanted = 0       # it may have been asked of the one that is gone
                    if not needs_rest(p):
                        self.resync(x, p, &stamp)
            if x.lanes != NULL and lanes_count(x.lanes, NULL, LANE_BEHIND) < 2 and (
                    x.n_pending == 0 or not x.up):
                if left != NULL:
                    x.line = left.line
                lanes_free(x.lanes)
                x.lanes = NULL
            if whole:
                return True
        stamp.sequence = x.last
        if x.up or x.state == FEEDD_BOOK_SYNCING:
            # without another connection that one will subscribe by itself when it is back
            self.lost(x, p, &stamp, x.last, x.last, reason, ask)
        x.has_chain = 0
        if not ask:
            x.wanted = 0
        return False

    cdef void line_joins(self, instrument_t* x, int32_t line) noexcept nogil:
        cdef const program_t* p = &self.programs[x.venue][x.book_channel]
        if x.up and needs_rest(p) and x.line != line and (
                x.lanes != NULL or self._second_line(x)):
            lane_of(x.lanes, line)

    cdef bint line_feeds(self, const instrument_t* x, int32_t line) noexcept nogil:
        cdef const program_t* p = &self.programs[x.venue][x.book_channel]
        cdef const lane_t* lane
        if x.lanes == NULL:
            return x.line == line
        lane = lane_find(x.lanes, line)
        return lane != NULL and (
            is_numbered(p) or p.policy == POLICY_NONE_FULL or lane.state >= LANE_ALIGNING)

    cdef bint line_moves(
        self, instrument_t* x, int32_t old, int32_t new, const stamp_t* s
    ) noexcept nogil:
        cdef lane_t* lane
        cdef uint32_t i
        if x.lanes == NULL:
            if x.line != old:
                return False
            x.line = new
            return True
        lane = lane_find(x.lanes, old)
        if lane == NULL:
            return False
        if lane_find(x.lanes, new) != NULL:
            return self.line_gone(x, old, s, b"connection")
        lane.line = new
        for i in range(x.n_pending):
            if x.pending[i].line == old:
                x.pending[i].line = new
        if x.line == old:
            x.line = new
        return True

    cdef bint line_unsure(self, instrument_t* x, int32_t line) noexcept nogil:
        cdef const program_t* p = &self.programs[x.venue][x.book_channel]
        cdef lane_t* lane
        cdef int i
        if x.lanes == NULL:
            return x.line != line
        lane = lane_find(x.lanes, line)
        if lane == NULL:
            return True
        self._missed(lane)
        if is_numbered(p):
            return True              # the numbers will tell
        lane.state = LANE_BEHIND
        lane.run = 0
        lane.content = 0
        pending_drop_line(x, line, x.n_pending)
        if lanes_count(x.lanes, lane, LANE_SYNCED):
            return True
        for i in range(LANES_MAX):
            if x.lanes.lane[i].state == LANE_ALIGNING:
                return self._promote(x, p, &x.lanes.lane[i])
        return False

    cdef void connection_lost(
        self, table_t* table, int32_t line, int64_t ts_recv, uint64_t expected, uint64_t got
    ) noexcept nogil:
        cdef instrument_t* x
        cdef stamp_t s
        cdef uint32_t i
        cdef uint32_t fed = 0
        cdef uint32_t lost = 0
        cdef instrument_t* any = NULL
        memset(&s, 0, sizeof(s))
        s.ts_recv = ts_recv
        s.line = <unsigned short>line
        s.sequence = FEEDD_NO_SEQUENCE
        for i in range(table.n):
            x = table.items[i]
            if x.book_channel < 0 or not x.up or (
                    x.line != line and (x.lanes == NULL or lane_find(x.lanes, line) == NULL)):
                continue
            fed += 1
            any = x
            if self.line_unsure(x, line):
                continue
            if lost == 0:
                self._declare(&s, expected, got)
            lost += 1
            x.gaps += 1
            self.leave(x, &s, FEEDD_BOOK_GAP)
            self.out.control(x, &s, FEEDD_REASON_GAP, expected, got)
            self.resync(x, &self.programs[x.venue][x.book_channel], &s)
        if fed == 0:
            self._declare(&s, expected, got)
        elif lost == 0:
            # every book goes on over another line; this one must start over to be of use again
            self.ask(any, REQUEST_RECONNECT, any.book_channel, line)

    cdef void _declare(self, const stamp_t* s, uint64_t expected, uint64_t got) noexcept nogil:
        self.c[FEEDD_C_gaps] += 1
        self.out.status(NULL, s, EVENT_GAP, 0, expected, got, b"sequence of the connection")

    cdef void release(self, int64_t now) noexcept nogil:
        """Books whose quarantine is over try again."""
        cdef instrument_t* x
        cdef stamp_t s
        memset(&s, 0, sizeof(s))
        s.ts_recv = now
        s.sequence = FEEDD_NO_SEQUENCE
        while True:
            x = self.released(now)
            if x == NULL:
                return
            s.line = <unsigned short>x.line
            self.resync(x, &self.programs[x.venue][x.book_channel], &s)

    cdef void expire(self, int64_t now) noexcept nogil:
        cdef uint32_t i = 0
        cdef instrument_t* x
        cdef const program_t* p
        cdef int n
        while i < self.n_holding:
            x = self.holding[i]
            if x.hold_since and x.lanes != NULL and 0 <= now - x.hold_since < HOLD_NS:
                i += 1
                continue
            self.n_holding -= 1
            self.holding[i] = self.holding[self.n_holding]
            if not x.hold_since or x.lanes == NULL or not x.up or not x.n_pending:
                x.hold_since = 0
                continue
            x.hold_since = 0
            p = &self.programs[x.venue][x.book_channel]
            if is_numbered(p) and x.pending[0].has_current:
                self._give_up(x, p)
                continue
            for n in range(LANES_MAX):
                if x.lanes != NULL and x.lanes.lane[n].state == LANE_ALIGNING:
                    self._promote(x, p, &x.lanes.lane[n])
                    break
