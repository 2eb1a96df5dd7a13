"""Lines that lost something, nobody knows what: their messages wait until their places show.

A connection that counts all its messages says how many it lost, but not of which book. Of each of
its books it may have lost none of them, or as many. While another line carries the book on, the
line keeps its place up to that: its next messages wait in a queue. What the other line brings says
how many are missing before them, also where that one lost something meanwhile, and what follows the
book is published as soon as only one thing can. Losses that are found in one book are not to be
looked for in the others.

Two things tell. Connections that carry the same count the same: when the numbers of all copies have
been the same distance apart, those of one line say where the other's messages belong. And contents:
what fits all that both brought is worked out in ``agree.pyx``.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from feedd.decode.plan cimport program_t
from feedd.pipeline.agree cimport (
    NEXT_IMPOSSIBLE, NEXT_KNOWN, QUEUE_MAX, SLACK_MAX, first_place, next_of_all, next_t, queue_t,
    search_free, search_new,
)
from feedd.pipeline.books cimport pending_of, update_t
from feedd.pipeline.content cimport content_of
from feedd.pipeline.instrument cimport (
    instrument_t, pending_add, pending_compact, pending_drop_one, pending_t,
)
from feedd.pipeline.lanes cimport (
    HISTORY, LANE_ALIGNING, LANE_BEHIND, LANE_SYNCED, LANES_MAX, lane_find, lane_t,
    lanes_count, lanes_t, passed_t,
)
from feedd.pipeline.numbered cimport LOSSES, heard_t, loss_t
from feedd.pipeline.output cimport stamp_t
from feedd.pipeline.policies cimport is_numbered
from feedd.pipeline.untimed cimport Untimed

from feedd import limits

cdef extern from "feedd/counters.h" nogil:
    enum:
        FEEDD_C_duplicates
        FEEDD_C_held_messages

cdef int64_t HOLD_NS = limits.LINE_HOLD_NS
cdef int64_t LOST_TOGETHER_NS = 1_000_000_000    # no two connections are further apart
cdef uint64_t COPIES_BACK = 256
cdef uint32_t HELD_MAX = limits.LINE_HELD_MESSAGES_MAX


cdef class Unsure(Untimed):
    def __dealloc__(self):
        search_free(&self.search)

    # ---- what a connection lost ----------------------------------------------------------------

    cdef bint note_lost(
        self, int32_t line, uint64_t first, uint64_t n, int64_t ts_recv
    ) noexcept nogil:
        cdef heard_t* h = self.heard_of(line)
        cdef loss_t* loss
        cdef uint32_t count = <uint32_t>(n if n < 1_000_000 else 1_000_000)
        if h == NULL or not search_new(&self.search):
            return False
        loss = &h.loss[h.n_losses & (LOSSES - 1)]
        if h.n_losses >= LOSSES:
            h.forgotten = loss.until
        h.n_losses += 1
        h.lost += count
        loss.first = first
        loss.n = count
        loss.until = h.lost
        loss.left = count
        loss.ts_recv = ts_recv
        return n <= SLACK_MAX

    cdef bint lost_twice(
        self, int32_t venue, int32_t line, uint64_t first, uint64_t n, int64_t now
    ) noexcept nogil:
        """May another connection have lost the same? Their numbers run in parallel; where it is not
        known yet how far apart, what both lost within a while may be the same."""
        cdef const heard_t* h
        cdef const loss_t* loss
        cdef int64_t shift, apart
        cdef uint32_t i, k
        for i in range(self.n_heard):
            h = &self.heard[i]
            if <int32_t>i == line or h.venue != venue:
                continue
            k = h.n_losses - LOSSES if h.n_losses > LOSSES else 0
            while k < h.n_losses:
                loss = &h.loss[k & (LOSSES - 1)]
                k += 1
                if now - loss.ts_recv > LOST_TOGETHER_NS:
                    continue
                if not self.shift_of(line, <int32_t>i, &shift):
                    return True
                apart = <int64_t>(first - loss.first) + shift
                if apart < <int64_t>loss.n and -apart < <int64_t>n:
                    return True
        return False

    cdef uint32_t _open(self, int32_t line, uint32_t before, uint32_t until) noexcept nogil:
        """Of what a connection lost in a while, what is not known to be of another book."""
        cdef const heard_t* h
        cdef const loss_t* loss
        cdef uint32_t n = 0
        cdef uint32_t i
        if before == until or not 0 <= line < <int32_t>self.n_heard:
            return 0
        h = &self.heard[line]
        if before < h.forgotten:
            n = h.forgotten - before
        i = h.n_losses - LOSSES if h.n_losses > LOSSES else 0
        while i < h.n_losses:
            loss = &h.loss[i & (LOSSES - 1)]
            if before < loss.until <= until:
                n += loss.left
            i += 1
        return n

    cdef void _found(
        self, int32_t line, uint32_t before, uint32_t until, uint32_t n
    ) noexcept nogil:
        """So many of these were of one book."""
        cdef uint32_t total = self._open(line, before, until)
        cdef heard_t* h
        cdef loss_t* loss
        cdef loss_t* only = NULL
        cdef uint32_t i
        cdef uint32_t several = 0
        if n == 0 or total == 0 or not 0 <= line < <int32_t>self.n_heard:
            return
        h = &self.heard[line]
        i = h.n_losses - LOSSES if h.n_losses > LOSSES else 0
        while i < h.n_losses:
            loss = &h.loss[i & (LOSSES - 1)]
            i += 1
            if not before < loss.until <= until or loss.left == 0:
                continue
            only = loss
            several += 1
            if n >= total:
                loss.left = 0
        self.narrowed = True
        if n < total and several == 1 and before >= h.forgotten:
            only.left -= n

    cdef bint may_lack(self, instrument_t* x, const lane_t* lane, int64_t now) noexcept nogil:
        cdef uint32_t until = self.lost_on(lane.line)
        cdef const heard_t* h
        cdef int i
        if lane.lost == until or self._open(lane.line, lane.lost, until) == 0:
            return False
        if lane.at != x.lanes.head:
            return True
        h = &self.heard[lane.line]
        if now - h.loss[(h.n_losses - 1) & (LOSSES - 1)].ts_recv < HOLD_NS:
            return True
        for i in range(LANES_MAX):      # that one would have brought it by now
            if &x.lanes.lane[i] != lane and self._is_certain(&x.lanes.lane[i]):
                return False
        return True

    cdef bint _is_certain(self, const lane_t* lane) noexcept nogil:
        return (lane.state == LANE_SYNCED and lane.queued == 0
                and self._open(lane.line, lane.lost, self.lost_on(lane.line)) == 0)

    cdef bint _is_urgent(self, instrument_t* x, const lane_t* lane) noexcept nogil:
        """The line lost something, so that the rest of what it brought does not speak for a place;
        or every other line did, and the book stands still."""
        cdef int i
        if lane.lost != self.lost_on(lane.line):
            return True
        for i in range(LANES_MAX):
            if self._is_certain(&x.lanes.lane[i]):
                return False
        return True

    cdef void checksum(
        self, instrument_t* x, const program_t* p, int64_t value, const stamp_t* s
    ) noexcept nogil:
        """A checksum in a message of its own is of the book where its line stands."""
        cdef const lane_t* lane
        if x.lanes != NULL and not is_numbered(p):
            lane = lane_find(x.lanes, s.line)
            if lane == NULL or lane.state != LANE_SYNCED or lane.at < x.lanes.head or (
                    x.lanes.counted and not self._is_certain(lane)):
                return
        Untimed.checksum(self, x, p, value, s)

    # ---- one message ---------------------------------------------------------------------------

    cdef bint _second_line(self, instrument_t* x) noexcept nogil:
        if not Untimed._second_line(self, x):
            return False
        x.lanes.lane[0].lost = self.lost_on(x.lanes.lane[0].line)
        return True

    cdef bint second_line_comes(
        self, instrument_t* x, const program_t* p, int32_t line, int64_t now
    ) noexcept nogil:
        cdef const heard_t* h = self.heard_of(line)
        if (is_numbered(p) or h == NULL or not self._undated(x, p)
                or not self.others_heard(x.venue, line, now) or not self._second_line(x)):
            return False
        if x.lanes.counted:
            x.lanes.lane[0].lost -= h.loss[(h.n_losses - 1) & (LOSSES - 1)].left
        return x.lanes.counted

    cdef void _unnumbered(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        cdef lanes_t* lanes = x.lanes
        cdef lane_t* lane = self.lane
        cdef bint was_up = x.up
        cdef uint64_t content
        cdef int i
        if (lanes.counted and x.up and not u.snapshot and u.stamp.ts_event == 0
                and lane.state != LANE_SYNCED):
            content = content_of(u)
            if _is_numbered_copy(self, x, lane, content):
                self._out_of_step(x, lane)
                lane.state = LANE_SYNCED
                lane.lost = self.lost_on(lane.line)
                self.c[FEEDD_C_duplicates] += 1
                self._line_counts(lane, False, -1)
                return
        Untimed._unnumbered(self, x, p, u)
        if not u.snapshot or x.lanes != lanes or self.lane.state != LANE_SYNCED:
            return
        self.lane.lost = self.lost_on(self.lane.line)
        if x.n_pending == 0:
            self.lane.queued = 0
        if x.up and not was_up and lanes.counted:
            for i in range(LANES_MAX):      # the others lost the book too
                if lanes.lane[i].state == LANE_BEHIND:
                    self._ask(x, &lanes.lane[i], u.stamp.ts_recv)

    cdef void _count(
        self, instrument_t* x, const program_t* p, const update_t* u, uint64_t content
    ) noexcept nogil:
        cdef lane_t* lane = self.lane
        cdef lanes_t* lanes = x.lanes
        cdef uint64_t head = lanes.head
        cdef int64_t now = u.stamp.ts_recv
        cdef uint32_t lost = self.lost_on(lane.line)
        cdef pending_t d
        if lane.queued == 0 and not self.may_lack(x, lane, now):
            lane.lost = lost
            Untimed._count(self, x, p, u, content)
            if x.up and x.lanes == lanes and lanes.head != head:
                self._settle(x, p, now)
        else:
            pending_of(u, content, &d)
            d.lost_before = lane.lost
            d.lost = lost
            d.number = self.number_on(lane.line)
            lane.lost = lost
            lane.queued += 1
            self.c[FEEDD_C_held_messages] += 1
            pending_compact(x)
            if not pending_add(x, &d, u.bids, u.asks, u.keys, False) or x.n_pending > HELD_MAX:
                self._lost_place(x, p, u, b"too much waits for another line")
                return
            self._settle(x, p, now)
        if self.narrowed:
            self.settle_others(now)

    cdef void settle_others(self, int64_t now) noexcept nogil:
        cdef uint32_t i = 0
        cdef instrument_t* x
        cdef int again = 4
        while self.narrowed and again:
            self.narrowed = False
            again -= 1
            for i in range(self.n_holding):
                x = self.holding[i]
                if x.lanes != NULL and x.lanes.counted and x.up and x.n_pending:
                    self._settle(x, &self.programs[x.venue][x.book_channel], now)
        self.narrowed = False

    # ---- what waits ----------------------------------------------------------------------------

    cdef void _settle(self, instrument_t* x, const program_t* p, int64_t now) noexcept nogil:
        """Publish, or drop as copies, what has a place now."""
        cdef int64_t oldest
        if self.settling:
            return
        self.settling = True
        while x.up and x.lanes != NULL and self._step_on(x, p, now, False):
            pass
        self.settling = False
        oldest = self._oldest(x)
        if oldest:
            self._wait(x, oldest)

    cdef int64_t _oldest(self, const instrument_t* x) noexcept nogil:
        """Since when there is something to wait for; 0 without."""
        cdef uint32_t i
        cdef int k
        cdef int64_t since = 0
        if not x.up or x.lanes == NULL:
            return 0
        for k in range(LANES_MAX):      # a line that looks for its place has its time, too
            if x.lanes.lane[k].state == LANE_ALIGNING and x.lanes.lane[k].since > since:
                since = x.lanes.lane[k].since
        for i in range(x.n_pending):
            for k in range(LANES_MAX):
                if (x.lanes.lane[k].line == x.pending[i].line and x.lanes.lane[k].queued
                        and x.lanes.lane[k].state == LANE_SYNCED):
                    return max(x.pending[i].ts_recv, since, 1)
        return 0

    cdef bint _gather(self, instrument_t* x, int64_t now, bint due) noexcept nogil:
        """The lines in step and what waits of each. False: nothing does."""
        cdef lane_t* lane
        cdef queue_t* q
        cdef pending_t* d
        cdef const heard_t* h
        cdef uint32_t i, open
        cdef bint any = False
        cdef int n
        self.search.n = 0
        for n in range(LANES_MAX):
            lane = &x.lanes.lane[n]
            if lane.state != LANE_SYNCED:
                continue
            q = &self.search.queue[self.search.n]
            self.search.n += 1
            q.lane = lane
            q.n = 0
            q.too_much = False
            h = self.heard_of(lane.line)
            q.silent = due and h != NULL and now - h.at < HOLD_NS
            if lane.queued == 0:
                continue
            for i in range(x.n_pending):
                d = &x.pending[i]
                if d.line != lane.line:
                    continue
                open = self._open(lane.line, d.lost_before, d.lost)
                if q.n == QUEUE_MAX or open > SLACK_MAX:
                    q.too_much = True
                    break
                q.index[q.n] = i
                q.content[q.n] = d.content
                q.slack[q.n] = <unsigned short>open
                q.number[q.n] = <int64_t>d.number
                q.n += 1
            any = any or q.n or q.too_much
        return any

    # ---- what the numbers of the connections say -----------------------------------------------

    cdef bint _by_numbers(
        self, instrument_t* x, const program_t* p, bint* waits
    ) noexcept nogil:
        """Connections count the same messages, each from its own start: as long as all copies are
        the same distance apart, a number of one is a number of the other. It must be the same
        message, then. False: this does not tell."""
        cdef queue_t* q
        cdef queue_t* first = NULL
        cdef const passed_t* e = NULL
        cdef int32_t to = self.search.queue[0].lane.line
        cdef int64_t shift, number, lowest
        cdef uint64_t at
        cdef int i
        cdef next_t next
        waits[0] = False
        for i in range(self.search.n):
            q = &self.search.queue[i]
            if not self.shift_of(q.lane.line, to, &q.shift):
                return False
        for i in range(self.search.n):
            q = &self.search.queue[i]
            if q.n == 0:
                continue
            number = q.number[0] + q.shift
            at = q.lane.at
            while at < x.lanes.head:
                e = &x.lanes.history[at & (HISTORY - 1)]
                if not self.shift_of(e.line, to, &shift):
                    return False
                if <int64_t>e.number + shift >= number:
                    break
                if e.content == q.content[0]:
                    return False          # or is it this one, and the distance has changed?
                at += 1
            if at - q.lane.at > q.slack[0]:
                return False
            if at == x.lanes.head:
                if first == NULL or number < lowest:
                    first = q
                    lowest = number
                elif number == lowest and q.content[0] != first.content[0]:
                    return False
                continue
            if <int64_t>e.number + shift != number or e.content != q.content[0]:
                return False
            self._pop_copy(x, q, <uint32_t>(at - q.lane.at))
            return True
        if first == NULL:
            return False
        for i in range(self.search.n):      # has every line got as far?
            q = &self.search.queue[i]
            if q.n == 0 and <int64_t>self.number_on(q.lane.line) + q.shift < lowest:
                waits[0] = True
                return False
        next.verdict = NEXT_KNOWN
        next.message = 0
        for i in range(self.search.n):
            if &self.search.queue[i] == first:
                next.lane = i
        return self._publish(x, p, &next)

    cdef bint _step_on(
        self, instrument_t* x, const program_t* p, int64_t now, bint due
    ) noexcept nogil:
        """One message more has a place. False: none has."""
        cdef queue_t* q
        cdef next_t next
        cdef bint waits = False
        cdef int i, place
        if not search_new(&self.search) or not self._gather(x, now, due):
            return False
        for i in range(self.search.n):
            q = &self.search.queue[i]
            if q.too_much:
                self._leave_out(x, p, q, b"too much lost on a line")
                return True
        if self.search.n > 1 and not due:
            if self._by_numbers(x, p, &waits):
                return True
            if waits or not x.up:
                return False
        for i in range(self.search.n):
            q = &self.search.queue[i]
            if q.n == 0:
                continue
            place = first_place(&self.search, q, x.lanes)
            if place == -2:
                self._leave_out(x, p, q, b"not what another line brought")
                return True
            if place >= 0:
                self._pop_copy(x, q, <uint32_t>place)
                return True
        if self.search.n == 1 and self.search.queue[0].slack[0]:
            if not due and (lanes_count(x.lanes, self.search.queue[0].lane, LANE_ALIGNING)
                            or lanes_count(x.lanes, NULL, LANE_BEHIND) == 1):
                return False          # another line will have it when it has found its place
            self._leave_out(x, p, &self.search.queue[0], b"lost on the only line in step")
            return True
        next = next_of_all(&self.search, x.lanes)
        if next.verdict == NEXT_KNOWN:
            return self._publish(x, p, &next)
        if next.verdict == NEXT_IMPOSSIBLE:
            for i in range(self.search.n):
                if self.search.queue[i].n:
                    self._lost_all(x, p, &x.pending[self.search.queue[i].index[0]],
                                   b"lines contradict each other")
                    return False
        return False

    cdef void _pop_copy(
        self, instrument_t* x, queue_t* q, uint32_t lost
    ) noexcept nogil:
        cdef lane_t* lane = q.lane
        cdef const pending_t* d = &x.pending[q.index[0]]
        cdef int64_t lag
        cdef const passed_t* copied
        lane.at += lost
        copied = &x.lanes.history[lane.at & (HISTORY - 1)]
        lag = d.ts_recv - copied.ts_recv
        self.same_message(lane.line, d.number, copied.line, copied.number)
        lane.at += 1
        lane.queued -= 1
        self.c[FEEDD_C_duplicates] += 1
        self._line_counts(lane, False, lag if lag >= 0 else -1)
        self._found(lane.line, d.lost_before, d.lost, lost)
        pending_drop_one(x, q.index[0])

    cdef bint _publish(
        self, instrument_t* x, const program_t* p, const next_t* next
    ) noexcept nogil:
        cdef queue_t* q = &self.search.queue[next.lane]
        cdef lane_t* lane = q.lane
        cdef pending_t* d = &x.pending[q.index[next.message]]
        cdef pending_t first = x.pending[q.index[0]]
        cdef uint64_t at = lane.at
        cdef uint64_t head = x.lanes.head
        cdef int64_t now = d.ts_recv
        cdef uint32_t i
        cdef update_t u
        self._recall(x, d, &u)
        self.number = d.number
        self._next(x, p, lane, &u, d.content)
        if not x.up:
            return False
        if x.lanes.head == head:
            return True
        for i in range(next.message + 1):       # those before it are copies
            pending_drop_one(x, q.index[i] - i)
        lane.queued -= next.message + 1
        self.c[FEEDD_C_duplicates] += next.message
        if next.message == 0:
            self._found(lane.line, first.lost_before, first.lost, <uint32_t>(head - at))
        self._find_places(x, p, now)
        return True

    # ---- what cannot be known ------------------------------------------------------------------

    cdef void _leave_out(
        self, instrument_t* x, const program_t* p, queue_t* q, const char* why
    ) noexcept nogil:
        """This line is of no use for the book until it starts anew."""
        cdef lane_t* lane = q.lane
        cdef pending_t d = x.pending[q.index[0] if q.n else 0]
        self._missed(lane)
        if lanes_count(x.lanes, lane, LANE_SYNCED) == 0:
            self._out_of_step(x, lane)
            if not self._other(x, p, True) and x.up:
                self._lost_all(x, p, &d, why)
            return
        self._out_of_step(x, lane)
        self._ask(x, lane, d.ts_recv)

    cdef void _lost_all(
        self, instrument_t* x, const program_t* p, const pending_t* d, const char* why
    ) noexcept nogil:
        cdef update_t u
        self._recall(x, d, &u)
        self._lost_place(x, p, &u, why)

    cdef void _overdue(
        self, instrument_t* x, const program_t* p, int64_t now
    ) noexcept nogil:
        cdef int64_t oldest = self._oldest(x)
        if oldest and now - oldest >= HOLD_NS:
            self.settling = True
            while x.up and x.lanes != NULL and oldest and now - oldest >= HOLD_NS:
                if not self._step_on(x, p, now, True):
                    break
                oldest = self._oldest(x)
            self.settling = False
            if not x.up or x.lanes == NULL:
                return
            self._settle(x, p, now)
            oldest = self._oldest(x)
            if x.up and oldest and now - oldest >= HOLD_NS:
                self._lost_all(x, p, &x.pending[0], b"lines do not agree")
                return
        if x.up:
            Untimed._overdue(self, x, p, now)
            oldest = self._oldest(x)
            if oldest:
                self._wait(x, oldest)


cdef bint _is_numbered_copy(
    Unsure books, instrument_t* x, lane_t* lane, uint64_t content
) noexcept nogil:
    """Do the numbers of the connections say where this message stands in the history? Then that is
    where the line is."""
    cdef uint64_t number = books.number_on(lane.line)
    cdef uint64_t at = x.lanes.head
    cdef const passed_t* e
    cdef int64_t shift
    while number and at > x.lanes.first and x.lanes.head - at < COPIES_BACK:
        at -= 1
        e = &x.lanes.history[at & (HISTORY - 1)]
        if not books.shift_of(e.line, lane.line, &shift) or e.line == lane.line:
            return False
        if <int64_t>e.number + shift < <int64_t>number:
            return False
        if <int64_t>e.number + shift == <int64_t>number:
            lane.at = at + 1
            return e.content == content
    return False
