"""Books whose losses nothing shows: no number, no checksum, no count of the connection.

The first copy of a message cannot be known to be the next one there: its line may have lost what
comes before. So it waits until every other line in step brings the same, and is published then.
Where the next messages differ, one of the lines has lost something, and ``differ.pyx`` says which.
Lines are waited for a short while only; what belongs before something that was published so is a
gap.

A message that is lost on all lines nobody can know of, until a line begins anew: its snapshot is of
another book then.

Copies are counted as in ``untimed.pyx``, where it is also said how a line joins; its place is
looked for by its own book alone here, for what follows may be incomplete. Mostly the changes that
come before its snapshot have told it.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t

from feedd.decode.plan cimport POLICY_KEYED_ROWS, program_t
from feedd.pipeline.books cimport pending_of, update_t
from feedd.pipeline.content cimport content_of
from feedd.pipeline.differ cimport (
    A_FIRST, B_FIRST, DIFFER_UNKNOWN, NOBODY_KNOWS, WAITING_MAX, Differ, behind_by, passed_at,
)
from feedd.pipeline.instrument cimport (
    instrument_t, pending_add, pending_compact, pending_drop_line, pending_drop_one, pending_t,
)
from feedd.pipeline.lanes cimport (
    LANE_ALIGNING, LANE_SYNCED, LANES_MAX, LOG_KEYS, lane_t, lanes_count, lanes_t, log_at, log_keys,
    log_start, passed_t,
)
from feedd.pipeline.tally cimport tally_free, tally_new

from feedd import limits

cdef extern from "feedd/counters.h" nogil:
    enum:
        FEEDD_C_duplicates
        FEEDD_C_held_messages

cdef int64_t HOLD_NS = limits.LINE_HOLD_NS
cdef uint32_t HELD_MAX = limits.LINE_HELD_MESSAGES_MAX
cdef int64_t NOWHERE_NS = 1_000_000_000      # no two connections are further apart


# What is in a lane's ``run`` here.
cdef enum:
    TRIED = 1                 # its snapshot fitted nowhere, it was asked for another one
    BARE = 2                  # in step, but its snapshot is still to come
    ALONE = 3                 # and nothing that it brought has come over another line yet


cdef inline uint64_t _sum_at(const lanes_t* lanes, uint64_t position) noexcept nogil:
    return lanes.tally.sum if position == lanes.head else passed_at(lanes, position).before


cdef inline void _is_known(lane_t* lane) noexcept nogil:
    if lane.run == ALONE:
        lane.run = BARE


cdef class Hidden(Differ):
    cdef bint is_hidden(self, const instrument_t* x, const program_t* p) noexcept nogil:
        return p.policy == POLICY_KEYED_ROWS and self.agree_ns[x.venue] > 0

    cdef bint _undated(self, const instrument_t* x, const program_t* p) noexcept nogil:
        return not x.cut if self.is_hidden(x, p) else Differ._undated(self, x, p)

    # ---- one message ---------------------------------------------------------------------------

    cdef void _count(
        self, instrument_t* x, const program_t* p, const update_t* u, uint64_t content
    ) noexcept nogil:
        cdef lane_t* lane = self.lane
        cdef pending_t d
        if not self.is_hidden(x, p) or (
                lanes_count(x.lanes, NULL, LANE_SYNCED) == 1 and lane.at == x.lanes.head
                and lane.queued == 0):
            Differ._count(self, x, p, u, content)
            return
        pending_of(u, content, &d)
        self.c[FEEDD_C_held_messages] += 1
        pending_compact(x)
        if not pending_add(x, &d, u.bids, u.asks, u.keys, False) or x.n_pending > HELD_MAX:
            self._lost_place(x, p, u, b"too much waits for another line")
            return
        lane.queued += 1
        self._agree(x, p, u.stamp.ts_recv)

    cdef bint _next(
        self, instrument_t* x, const program_t* p, lane_t* lane, const update_t* u,
        uint64_t content
    ) noexcept nogil:
        cdef lanes_t* lanes = x.lanes
        cdef uint64_t head = lanes.head
        cdef bint done = Differ._next(self, x, p, lane, u, content)
        if done and lanes.head != head and self.is_hidden(x, p):     # what was changed is kept
            log_keys(lanes, log_at(lanes, head), self.keys,
                     LOG_KEYS + 1 if u.snapshot else self._keys_of(u))
        return done

    cdef bint _reject(self, instrument_t* x) noexcept nogil:
        """All lines had their time to bring what this message needs."""
        return (not self.is_hidden(x, &self.programs[x.venue][x.book_channel])
                and Differ._reject(self, x))

    cdef void _settle(self, instrument_t* x, const program_t* p, int64_t now) noexcept nogil:
        if self.is_hidden(x, p):
            self._agree(x, p, now)
        else:
            Differ._settle(self, x, p, now)

    cdef void _agree(self, instrument_t* x, const program_t* p, int64_t now) noexcept nogil:
        """Publish what the lines agree on."""
        cdef int64_t since
        if self.settling:
            return
        self.settling = True
        while x.up and x.lanes != NULL and x.n_pending and self._agree_on_one(x, p, now):
            pass
        self.settling = False
        if not x.up or x.lanes == NULL or x.n_pending == 0:
            x.hold_since = 0
            return
        since = self._waits_since(x, now)
        if x.hold_since == 0 or since < x.hold_since:
            x.hold_since = 0
            self._wait(x, since)

    cdef int64_t _waits_since(self, const instrument_t* x, int64_t now) noexcept nogil:
        """The time of hold that makes what waits looked at when it is due."""
        cdef int64_t since = INT64_MAX
        cdef const lane_t* lane
        cdef int64_t sooner = self.agree_ns[x.venue] - HOLD_NS
        cdef int64_t came
        cdef uint32_t i
        cdef int k
        for k in range(LANES_MAX):
            lane = &x.lanes.lane[k]
            if lane.state == LANE_ALIGNING:
                since = min(since, max(lane.since, now + sooner))
            elif lane.state == LANE_SYNCED and lane.queued:
                for i in range(x.n_pending):
                    if x.pending[i].line == lane.line:
                        came = x.pending[i].ts_recv
                        since = min(since, came + sooner if now - came < sooner + HOLD_NS else came)
                        break
        return since if since < INT64_MAX else now

    cdef void _collect(self, const instrument_t* x) noexcept nogil:
        cdef side_t* s
        cdef uint32_t i
        cdef int k
        self.n_sides = 0
        for k in range(LANES_MAX):
            if x.lanes.lane[k].state != LANE_SYNCED:
                continue
            s = &self.sides[self.n_sides]
            self.n_sides += 1
            s.lane = &x.lanes.lane[k]
            s.n = 0
            if s.lane.queued == 0:
                continue
            for i in range(x.n_pending):
                if x.pending[i].line == s.lane.line and s.n < WAITING_MAX:
                    s.index[s.n] = i
                    s.n += 1

    cdef bint _agree_on_one(
        self, instrument_t* x, const program_t* p, int64_t now
    ) noexcept nogil:
        """One message more is published, or known as a copy. False: nothing can be said yet."""
        cdef side_t* best
        cdef side_t* s
        cdef bint waits = False
        cdef bint due
        cdef int i, _turn, verdict
        cdef uint32_t back
        self._collect(x)
        if self._copied(x):
            return True
        i = self._sent_again(x, p, now)
        if i != DIFFER_UNKNOWN:
            return i == A_FIRST
        best = self._leader(x, now, &waits)
        if best == NULL:
            return self._from_behind(x, p, now)
        for _turn in range(LANES_MAX + 1):
            due = self._is_due(x, best, now)
            for i in range(self.n_sides):
                s = &self.sides[i]
                if s == best or s.n == 0:
                    continue
                back = behind_by(x.lanes, s.lane)
                if back == 0 and (x.pending[s.index[0]].content
                                  == x.pending[best.index[0]].content):
                    continue
                verdict = self._differ(x, best, s, due and self._is_due(x, s, now))
                if verdict == DIFFER_UNKNOWN:
                    return False
                if verdict == NOBODY_KNOWS:
                    self._lost_all(x, p, &x.pending[s.index[0]], b"lines differ, order unknown")
                    return False
                if verdict == A_FIRST and back:
                    s.lane.at += 1                # lost
                    self._missed(s.lane)
                    return True
                if verdict == B_FIRST and back:
                    self._missed(best.lane)
                    self._lost_all(x, p, &x.pending[s.index[0]], b"a line brought it too late")
                    return False
                if verdict == B_FIRST:
                    best = s
                    break
            else:
                # its line may have lost what comes before, and another one have it
                if waits and (not due or (now - x.pending[best.index[0]].ts_recv < HOLD_NS
                                          and not self._rows_fit(x, &x.pending[best.index[0]]))):
                    return False
                return self._put(x, p, best)
        return self._put(x, p, best)

    cdef bint _copied(self, instrument_t* x) noexcept nogil:
        """The next message of a line that is not as far as the book is a copy."""
        cdef side_t* s
        cdef const passed_t* e
        cdef int i
        for i in range(self.n_sides):
            s = &self.sides[i]
            if s.lane.at < x.lanes.first:
                self._missed(s.lane)
                self._out_of_step(x, s.lane)
                self._ask(x, s.lane, x.pending[0].ts_recv if x.n_pending else 0)
                return True
            if s.n == 0 or s.lane.at == x.lanes.head:
                continue
            e = passed_at(x.lanes, s.lane.at)
            if e.content == x.pending[s.index[0]].content:
                self._line_counts(
                    s.lane, False, max(x.pending[s.index[0]].ts_recv - e.ts_recv, 0))
                self._drop_first(x, s)
                s.lane.at += 1
                _is_known(s.lane)
                return True
        return False

    cdef side_t* _leader(
        self, instrument_t* x, int64_t now, bint* waits
    ) noexcept nogil:
        """Of the lines as far as the book, the one whose next message came first."""
        cdef side_t* best = NULL
        cdef side_t* s
        cdef int i
        for i in range(self.n_sides):
            s = &self.sides[i]
            if s.n == 0:
                waits[0] = waits[0] or self._is_awaited(x.lanes, s.lane, now)
            elif s.lane.at == x.lanes.head and (best == NULL or (
                    x.pending[s.index[0]].ts_recv < x.pending[best.index[0]].ts_recv)):
                best = s
        return best

    cdef bint _from_behind(
        self, instrument_t* x, const program_t* p, int64_t now
    ) noexcept nogil:
        """No line as far as the book has anything; one behind brings what is not the next copy."""
        cdef side_t* s = NULL
        cdef const pending_t* first
        cdef int i, verdict
        for i in range(self.n_sides):
            if self.sides[i].n and s == NULL:
                s = &self.sides[i]
        if s == NULL:
            return False
        first = &x.pending[s.index[0]]
        verdict = self._differ(x, NULL, s, self._is_due(x, s, now))
        if verdict == A_FIRST:
            s.lane.at += 1
            self._missed(s.lane)
            return True
        if verdict != DIFFER_UNKNOWN:
            self._lost_all(x, p, first, b"a line brought it too late" if verdict == B_FIRST
                           else b"lines differ, order unknown")
        return False

    # ---- a line before its snapshot ------------------------------------------------------------

    cdef bint _start(
        self, instrument_t* x, const program_t* p, lane_t* lane, const update_t* u
    ) noexcept nogil:
        if self.is_hidden(x, p):
            x.lanes.alone_until = x.last_ts_event     # what is older is not in the history
        return Differ._start(self, x, p, lane, u)

    cdef void _outside(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        """Changes come over a new line before its snapshot does. The first one with a time tells
        where the line stands; what comes then another line may have lost."""
        cdef lanes_t* lanes = x.lanes
        cdef lane_t* lane = self.lane
        cdef uint64_t oldest = max(lanes.first, log_start(lanes))
        cdef uint64_t at = lanes.head
        cdef int64_t floor = lanes.alone_until if oldest == lanes.first else 0
        cdef int64_t now = u.stamp.ts_event
        while at > oldest and (log_at(lanes, at - 1).ts_event == 0
                               or log_at(lanes, at - 1).ts_event >= now):
            at -= 1
        if (not self.is_hidden(x, p) or lane.run == TRIED or now == 0
                or (at == oldest and (floor == 0 or now <= floor))):
            Differ._outside(self, x, p, u)
            return
        lane.state = LANE_SYNCED
        lane.run = ALONE
        lane.since = lane.asked = 0
        lane.queued = 0
        lane.at = at
        self._count(x, p, u, content_of(u))

    # ---- a snapshot of a line in step ----------------------------------------------------------

    cdef int _sent_again(
        self, instrument_t* x, const program_t* p, int64_t now
    ) noexcept nogil:
        """The venue sent it to all lines, and it is a message as any other: DIFFER_UNKNOWN. Or to
        this line alone, which begins anew with it: A_FIRST. B_FIRST: that is not known yet."""
        cdef side_t* s
        cdef side_t* other
        cdef uint64_t content, at
        cdef int i, k, verdict
        for i in range(self.n_sides):
            s = &self.sides[i]
            if s.n == 0 or not x.pending[s.index[0]].snapshot:
                continue
            content = x.pending[s.index[0]].content
            verdict = A_FIRST
            for at in range(s.lane.at, x.lanes.head):
                if passed_at(x.lanes, at).content == content and s.lane.run < BARE:
                    verdict = DIFFER_UNKNOWN
            for k in range(self.n_sides):
                other = &self.sides[k]
                if k == i or verdict == DIFFER_UNKNOWN or s.lane.run >= BARE:
                    continue
                if self._brings(x, other, content):
                    verdict = DIFFER_UNKNOWN
                elif (self._is_awaited(x.lanes, other.lane, now) and not self._is_due(x, s, now)
                        and (s.n == 1 or not self._brings(
                            x, other, x.pending[s.index[1]].content))):
                    verdict = B_FIRST
            if verdict == A_FIRST:
                self._start_anew(x, p, s, now)
            if verdict != DIFFER_UNKNOWN:
                return verdict
        return DIFFER_UNKNOWN

    cdef bint _brings(
        self, const instrument_t* x, const side_t* s, uint64_t content
    ) noexcept nogil:
        cdef uint32_t i
        for i in range(s.n):
            if x.pending[s.index[i]].content == content:
                return True
        return False

    cdef void _start_anew(
        self, instrument_t* x, const program_t* p, side_t* s, int64_t now
    ) noexcept nogil:
        """The first message that waits of this line is a snapshot: nothing changes, or it has to
        look for its place with it."""
        cdef lane_t* lane = s.lane
        cdef uint32_t i
        cdef update_t u
        tally_free(lane.tally)
        lane.tally = tally_new()
        for i in range(s.index[0], x.n_pending):
            if x.pending[i].line != lane.line:
                continue
            self._recall(x, &x.pending[i], &u)
            if lane.tally == NULL or not self._tell(lane.tally, p, &u):
                self._out_of_step(x, lane)
                self._ask(x, lane, now)
                return
            x.pending[i].sum = lane.tally.sum
            if i == s.index[0] and lane.at == x.lanes.head and lane.tally.sum == x.lanes.tally.sum:
                tally_free(lane.tally)
                lane.tally = NULL
                if lane.run >= BARE:
                    self._drop_first(x, s)
                    lane.run = 0
                else:
                    self._put(x, p, s)
                return
        lane.queued = 0
        lane.run = 0
        lane.since = x.pending[s.index[0]].ts_recv
        lane.state = LANE_ALIGNING
        self._find_place(x, p, lane, now)

    cdef bint _put(self, instrument_t* x, const program_t* p, side_t* s) noexcept nogil:
        """This message is the next one."""
        cdef const pending_t* d = &x.pending[s.index[0]]
        cdef uint64_t content = d.content
        cdef uint64_t head = x.lanes.head
        cdef int64_t now = d.ts_recv
        cdef lane_t* lane = s.lane
        cdef side_t* other
        cdef update_t u
        cdef int i
        self._recall(x, d, &u)
        self.number = d.number
        self._next(x, p, lane, &u, content)
        if not x.up or x.lanes == NULL or x.lanes.head == head:
            return x.up and x.lanes != NULL
        self._drop_first(x, s)
        self._collect(x)
        for i in range(self.n_sides):
            other = &self.sides[i]
            if other.n == 0 or other.lane.at != head:
                continue
            if x.pending[other.index[0]].content == content:
                _is_known(lane)
                continue
            other.lane.at = x.lanes.head      # it brought what comes behind, and not this one
            self._missed(other.lane)
        self._find_places(x, p, now)
        return True

    cdef void _drop_first(self, instrument_t* x, side_t* s) noexcept nogil:
        pending_drop_one(x, s.index[0])
        s.lane.queued -= 1
        self.c[FEEDD_C_duplicates] += s.lane.at != x.lanes.head

    # ---- how long, and which of two ------------------------------------------------------------

    cdef bint _is_due(self, const instrument_t* x, const side_t* s, int64_t now) noexcept nogil:
        return s.n == WAITING_MAX or now - x.pending[s.index[0]].ts_recv >= (
            HOLD_NS if s.lane.run == ALONE else self.agree_ns[x.venue])

    cdef bint _is_awaited(
        self, const lanes_t* lanes, const lane_t* lane, int64_t now
    ) noexcept nogil:
        """A line that is behind and silent altogether holds up nothing."""
        return lane.at == lanes.head or (
            0 <= lane.line < <int>self.n_heard
            and now - self.heard[lane.line].at < HOLD_NS)

    # ---- lines that come and go ----------------------------------------------------------------

    cdef bint _find_place(
        self, instrument_t* x, const program_t* p, lane_t* lane, int64_t now
    ) noexcept nogil:
        """Where the history has the line's own book. Of several such places the one that most of
        what it brought since speaks for, and the earliest: further on it can go."""
        cdef const lanes_t* lanes = x.lanes
        cdef uint32_t n = 0
        cdef uint32_t k, i
        cdef uint64_t pos, at
        cdef int64_t score, came
        cdef int64_t best = -1
        cdef uint64_t place = 0
        cdef bint alone
        if not self.is_hidden(x, p):
            return Differ._find_place(self, x, p, lane, now)
        if not self._brought(x, lane, &n):
            return False
        alone = lanes_count(x.lanes, NULL, LANE_SYNCED) == 0 or now - lane.since >= HOLD_NS
        for k in range(n):
            pos = lanes.first
            while pos <= lanes.head:
                if self.sums[k] == _sum_at(lanes, pos):
                    came = x.pending[self.kept[k]].ts_recv     # while the book was the same
                    if alone or (
                            (pos == lanes.first
                             or came > passed_at(lanes, pos - 1).ts_recv - HOLD_NS)
                            and (pos == lanes.head
                                 or came < passed_at(lanes, pos).ts_recv + HOLD_NS)):
                        score = 0
                        at = pos
                        for i in range(k + 1, n):
                            if at < lanes.head and (
                                    passed_at(lanes, at).content == self.contents[i]):
                                score += 1
                                at += 1
                        if score > best:
                            best = score
                            place = pos
                pos += 1
            if best >= 0:
                break
        else:
            return False
        self.c[FEEDD_C_duplicates] += k + 1
        self._line_counts(lane, False, -1)
        tally_free(lane.tally)
        lane.tally = NULL
        lane.state = LANE_SYNCED
        lane.since = lane.asked = 0
        lane.run = 0
        lane.at = place
        lane.queued = n - k - 1
        pending_drop_line(x, lane.line, self.kept[k])
        self._settle(x, p, now)
        return True

    cdef void _go_on(
        self, instrument_t* x, const program_t* p, lane_t* lane, uint32_t start
    ) noexcept nogil:
        cdef uint32_t n = 0
        if not self.is_hidden(x, p) or start == 0 or not self._brought(x, lane, &n):
            Differ._go_on(self, x, p, lane, start)
            return
        pending_drop_line(x, lane.line, self.kept[start - 1])
        lane.queued = n - start
        self._settle(x, p, x.pending[0].ts_recv if x.n_pending else 0)

    cdef void _overdue(
        self, instrument_t* x, const program_t* p, int64_t now
    ) noexcept nogil:
        cdef lanes_t* lanes = x.lanes
        cdef lane_t* lane
        cdef bint waits = False
        cdef bint others
        cdef uint32_t n = 0
        cdef uint32_t k
        cdef int i
        if not self.is_hidden(x, p):
            Differ._overdue(self, x, p, now)
            return
        self._agree(x, p, now)
        for k in range(x.n_pending):
            if not x.up or x.lanes != lanes:
                return
            for i in range(LANES_MAX):
                if (lanes.lane[i].line == x.pending[k].line and lanes.lane[i].state == LANE_SYNCED
                        and now - x.pending[k].ts_recv >= HOLD_NS):
                    self._lost_all(x, p, &x.pending[k], b"lines do not agree")
                    return
        for i in range(LANES_MAX):
            if not x.up or x.lanes != lanes:
                return
            lane = &lanes.lane[i]
            if lane.state != LANE_ALIGNING or self._find_place(x, p, lane, now):
                continue
            others = lanes_count(lanes, NULL, LANE_SYNCED) > 0
            if (now == INT64_MAX and others) or now - lane.since < (
                    NOWHERE_NS if others and lane.run else HOLD_NS):
                waits = True
            elif now == INT64_MAX:
                self._replace(x, p, lane, True)
            elif not others or lane.run == TRIED:
                self._brought(x, lane, &n)
                self._lost_all(x, p, &x.pending[self.kept[0] if n else 0],
                               b"not what another line brought")
            else:
                self._missed(lane)            # it may have lost something at once: another try
                self._out_of_step(x, lane)
                lane.run = TRIED
                self._ask(x, lane, now)
        if waits and x.up and x.hold_since == 0:
            self._wait(x, now)

    cdef void _begin(
        self, instrument_t* x, const program_t* p, const update_t* u, uint64_t content
    ) noexcept nogil:
        if (self.lane.state == LANE_SYNCED and self.is_hidden(x, p)
                and lanes_count(x.lanes, self.lane, LANE_SYNCED)):
            self._count(x, p, u, content)
            return
        self.parting(x, self.lane)
        if x.up:
            Differ._begin(self, x, p, u, content)
        else:
            self._unnumbered(x, p, u)

    cdef void parting(self, instrument_t* x, lane_t* lane) noexcept nogil:
        cdef const program_t* p = &self.programs[x.venue][x.book_channel]
        if not x.up or not x.lanes.counted or not self.is_hidden(x, p):
            return
        self.settling = True
        while (x.up and x.lanes != NULL and lane.state == LANE_SYNCED and lane.queued
               and self._agree_on_one(x, p, INT64_MAX)):
            pass
        self.settling = False
