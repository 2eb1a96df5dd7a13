"""Books whose messages have neither a number nor a time that two connections share.

Content does not tell copies apart there: a level that comes and goes makes the same messages again
and again. What is left is that every connection brings the venue's stream whole and in order. So
the messages of the book are counted, and beside each stands a sum of the whole book that it changes
(``tally.pyx``). A line that joins begins with a snapshot; its messages are kept and summed up by
themselves until there is one place in the history where all that it brought fits: the same books,
with the same messages between them. From then on its messages are counted too: the next one must be
the copy of the next in the history, and behind the last one it is news.

A line that brings something else than its copy is out of step, or the book is. It is asked to start
anew, and its snapshot tells: where it fits nowhere, the book is declared lost and goes on from it.

What this cannot know: where a book goes back and forth between the same states, several places fit
until something else comes. Should the other lines end before, it goes on from the place nearest to
the end. The book is right there, but of messages that cancel each other some may be missing or
doubled.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from feedd.book.book cimport fb_iter, fb_iterate, fb_price
from feedd.decode.plan cimport (
    POLICY_KEYED_ROWS, POLICY_NONE_FULL, RESYNC_NONE, RESYNC_RECONNECT, program_t,
)
from feedd.pipeline.arbitration cimport Arbiter
from feedd.pipeline.books cimport pending_of, update_t
from feedd.pipeline.content cimport content_of
from feedd.pipeline.instrument cimport (
    instrument_t, pending_add, pending_drop_line, pending_t,
)
from feedd.pipeline.lanes cimport (
    HISTORY, LANE_ALIGNING, LANE_BEHIND, LANE_SYNCED, LANES_MAX, lane_t,
    lanes_count, lanes_t, log_add, passed_t,
)
from feedd.pipeline.levels cimport ROWS_OK, rows_resolve
from feedd.pipeline.output cimport stamp_t
from feedd.pipeline.policies cimport is_numbered
from feedd.pipeline.requests cimport REQUEST_REALIGN, REQUEST_RECONNECT
from feedd.pipeline.tally cimport (
    tally_clear, tally_free, tally_new, tally_rows, tally_set, tally_t,
)
from feedd.shm.feedd cimport FEEDD_NO_SEQUENCE

from feedd import limits

cdef extern from "feedd/counters.h" nogil:
    enum:
        FEEDD_C_duplicates
        FEEDD_C_held_messages
        FEEDD_C_line_takeovers

cdef int64_t HOLD_NS = limits.LINE_HOLD_NS
cdef uint32_t HELD_MAX = limits.LINE_HELD_MESSAGES_MAX
cdef uint32_t MATCHED_MIN = 4                 # copies in a row that tell a place at once
cdef int64_t NOWHERE_NS = 5_000_000_000       # a line that fits nowhere for so long is believed
cdef int64_t ASK_AFTER_NS = 1_000_000_000     # a line without a snapshot mostly gets one by itself
cdef int64_t ASK_AGAIN_NS = 10_000_000_000


cdef inline passed_t* _passed(lanes_t* lanes, uint64_t position) noexcept nogil:
    return &lanes.history[position & (HISTORY - 1)]


cdef inline uint64_t _sum_at(lanes_t* lanes, uint64_t position) noexcept nogil:
    """Of the book in front of the message with this position."""
    return lanes.tally.sum if position == lanes.head else _passed(lanes, position).before


cdef void _forget(lane_t* lane) noexcept nogil:
    tally_free(lane.tally)
    lane.tally = NULL


cdef class Untimed(Arbiter):
    def __dealloc__(self):
        free(self.resolved.levels)
        free(self.kept)
        free(self.contents)
        free(self.sums)

    # ---- which books are counted ---------------------------------------------------------------

    cdef bint _second_line(self, instrument_t* x) noexcept nogil:
        cdef const program_t* p = &self.programs[x.venue][x.book_channel]
        if not Arbiter._second_line(self, x):
            return False
        if x.up and self._undated(x, p):
            x.lanes.counted = self._start(x, p, &x.lanes.lane[0], NULL)
        return True

    cdef bint _undated(self, const instrument_t* x, const program_t* p) noexcept nogil:
        return (x.last_ts_event == 0 and not x.cut and not is_numbered(p)
                and p.policy != POLICY_NONE_FULL)

    cdef void _stop(self, lanes_t* lanes) noexcept nogil:
        cdef int i
        lanes.counted = False
        for i in range(LANES_MAX):
            _forget(&lanes.lane[i])

    cdef bint _start(
        self, instrument_t* x, const program_t* p, lane_t* lane, const update_t* u
    ) noexcept nogil:
        """The history begins with the book as it is: as this snapshot made it, if there is one."""
        cdef lanes_t* lanes = x.lanes
        cdef fb_iter it
        cdef int64_t key
        cdef double size
        cdef int side
        if lanes.history == NULL:
            lanes.history = <passed_t*>calloc(HISTORY, sizeof(passed_t))
        if lanes.tally == NULL:
            lanes.tally = tally_new()
        if lanes.history == NULL or lanes.tally == NULL:
            return False
        lanes.first = lanes.head
        lane.at = lanes.head
        if u != NULL:
            return self._tell(lanes.tally, p, u)
        tally_clear(lanes.tally)
        if p.policy == POLICY_KEYED_ROWS and not tally_rows(lanes.tally, x.rows):
            return False
        for side in range(2):
            memset(&it, 0, sizeof(it))
            while fb_iterate(&x.book.side[side], &it, &key, &size):
                if not tally_set(lanes.tally, side, fb_price(x.book, key, side), size):
                    return False
        return True

    cdef bint _tell(
        self, tally_t* t, const program_t* p, const update_t* u
    ) noexcept nogil:
        """What a message does to a book. False: it does not belong to that one."""
        cdef update_t resolved
        cdef const update_t* m = u
        cdef uint32_t i
        if u.snapshot:
            tally_clear(t)
        if p.policy == POLICY_KEYED_ROWS:
            if rows_resolve(&t.rows, &self.resolved, u, u.snapshot, &resolved) != ROWS_OK:
                return False
            m = &resolved
        for i in range(m.n_bid):
            if not tally_set(t, 0, m.bids[i].price, m.bids[i].size):
                return False
        for i in range(m.n_ask):
            if not tally_set(t, 1, m.asks[i].price, m.asks[i].size):
                return False
        return True

    # ---- one message ---------------------------------------------------------------------------

    cdef void _unnumbered(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        cdef lanes_t* lanes = x.lanes
        cdef lane_t* lane = self.lane
        cdef uint64_t updates = x.updates
        cdef uint8_t least = LANE_ALIGNING if lanes.counted else LANE_SYNCED
        if u.snapshot and (not x.up or lanes_count(lanes, lane, least) == 0):
            Arbiter._unnumbered(self, x, p, u)
            if x.lanes == lanes and x.up and x.updates != updates:
                self._stop(lanes)
                lanes.counted = self._undated(x, p) and self._start(x, p, lane, u)
            return
        # these have times, only the snapshot had none
        if lanes.counted and u.stamp.ts_event and not (
                p.policy == POLICY_KEYED_ROWS and self._undated(x, p)):
            self._stop(lanes)
        if not lanes.counted or not x.up:
            Arbiter._unnumbered(self, x, p, u)
        elif u.snapshot:
            self._begin(x, p, u, content_of(u))
        elif lane.state == LANE_SYNCED:
            self._count(x, p, u, content_of(u))
        elif lane.state == LANE_ALIGNING:
            self._keep_for(x, p, u, content_of(u))
        else:
            self._outside(x, p, u)

    cdef void _count(
        self, instrument_t* x, const program_t* p, const update_t* u, uint64_t content
    ) noexcept nogil:
        """A line in step: the copy of the next message in the history, or news behind the last."""
        cdef lane_t* lane = self.lane
        cdef lanes_t* lanes = x.lanes
        if lane.at == lanes.head:
            self.number = self.number_on(lane.line)
            if self._next(x, p, lane, u, content):
                self._find_places(x, p, u.stamp.ts_recv)
        elif lane.at >= lanes.first and _passed(lanes, lane.at).content == content:
            self.c[FEEDD_C_duplicates] += 1
            self._line_counts(
                lane, False, u.stamp.ts_recv - _passed(lanes, lane.at).ts_recv)
            self.same_message(lane.line, self.number_on(lane.line),
                              _passed(lanes, lane.at).line, _passed(lanes, lane.at).number)
            lane.at += 1
        else:
            self._missed(lane)
            self._out_of_step(x, lane)
            if lanes_count(lanes, NULL, LANE_SYNCED) == 0 and not self._other(x, p, True):
                self._lost_place(x, p, u, b"not what another line brought")
            else:
                self._ask(x, lane, u.stamp.ts_recv)

    cdef bint _other(self, instrument_t* x, const program_t* p, bint declare) noexcept nogil:
        """No line is in step: go on over one that looks for its place."""
        cdef int i
        for i in range(LANES_MAX):
            if x.lanes.lane[i].state == LANE_ALIGNING:
                if declare:
                    return self._replace(x, p, &x.lanes.lane[i], True)
                return self._promote(x, p, &x.lanes.lane[i])
        return False

    cdef bint _next(
        self, instrument_t* x, const program_t* p, lane_t* lane, const update_t* u,
        uint64_t content
    ) noexcept nogil:
        """The first copy of a message. False: it was not applied."""
        cdef lanes_t* lanes = x.lanes
        cdef lane_t* saved = self.lane
        cdef passed_t* e
        self.lane = lane
        self.rejected = False
        self._accept(x, p, u)
        self.lane = saved
        if not x.up:
            return False
        if self.rejected:
            self._missed(lane)
            self._out_of_step(x, lane)
            self._ask(x, lane, u.stamp.ts_recv)
            if lanes_count(lanes, NULL, LANE_SYNCED) == 0:
                self._other(x, p, False)
            return False
        x.line = u.stamp.line
        e = _passed(lanes, lanes.head)
        e.content = content
        e.before = lanes.tally.sum
        e.ts_recv = u.stamp.ts_recv
        e.number = self.number
        e.line = lane.line
        log_add(lanes, lane, content, 0, u.stamp.ts_event, u.stamp.ts_recv)
        if lanes.head - lanes.first > HISTORY:
            lanes.first = lanes.head - HISTORY
        self._line_counts(lane, True, 0)
        if self._tell(lanes.tally, p, u):
            return True
        self._lost_place(x, p, u, b"out of memory")
        return False

    cdef void _outside(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        """A line that no snapshot has come over since its place was lost."""
        cdef lane_t* lane = self.lane
        cdef int64_t now = u.stamp.ts_recv if u.stamp.ts_recv else 1
        self.c[FEEDD_C_duplicates] += 1
        self._nobody(x, p, u)
        if not x.up:
            return
        if lane.asked == 0:
            lane.asked = now - ASK_AGAIN_NS + ASK_AFTER_NS
        elif now - lane.asked > ASK_AGAIN_NS:
            self._ask(x, lane, now)

    cdef void _ask(self, instrument_t* x, lane_t* lane, int64_t now) noexcept nogil:
        cdef const program_t* p = &self.programs[x.venue][x.book_channel]
        lane.asked = now if now else 1
        if p.resync == RESYNC_RECONNECT:
            self.ask(x, REQUEST_RECONNECT, x.book_channel, lane.line)
        elif p.resync != RESYNC_NONE:
            self.ask(x, REQUEST_REALIGN, x.book_channel, lane.line)

    cdef void _out_of_step(self, instrument_t* x, lane_t* lane) noexcept nogil:
        lane.state = LANE_BEHIND
        lane.since = 0
        lane.asked = 0
        lane.queued = 0
        _forget(lane)
        pending_drop_line(x, lane.line, x.n_pending)

    # ---- a line that looks for its place -------------------------------------------------------

    cdef void _begin(
        self, instrument_t* x, const program_t* p, const update_t* u, uint64_t content
    ) noexcept nogil:
        """A snapshot beside a book that another line keeps whole."""
        cdef lane_t* lane = self.lane
        self._out_of_step(x, lane)
        lane.tally = tally_new()
        if lane.tally == NULL:
            return
        lane.state = LANE_ALIGNING
        lane.lost = self.lost_on(lane.line)
        lane.since = u.stamp.ts_recv if u.stamp.ts_recv else 1
        self._keep_for(x, p, u, content)

    cdef void _keep_for(
        self, instrument_t* x, const program_t* p, const update_t* u, uint64_t content
    ) noexcept nogil:
        cdef lane_t* lane = self.lane
        cdef pending_t d
        cdef uint32_t lost = self.lost_on(lane.line)
        # behind a loss its book is not the venue's any more: what came before must tell the place
        if lost == lane.lost and not self._tell(lane.tally, p, u):
            self._missed(lane)
            self._out_of_step(x, lane)
            self._ask(x, lane, u.stamp.ts_recv)
            return
        pending_of(u, content, &d)
        d.sum = lane.tally.sum
        d.lost = lost
        d.number = self.number_on(lane.line)
        self.c[FEEDD_C_held_messages] += 1
        if not pending_add(x, &d, u.bids, u.asks, u.keys, False) or x.n_pending > HELD_MAX:
            self._out_of_step(x, lane)      # too much to keep: another try
            self._ask(x, lane, u.stamp.ts_recv)
            return
        self._wait(x, u.stamp.ts_recv)
        self._find_place(x, p, lane, u.stamp.ts_recv)

    cdef bint _brought(self, const instrument_t* x, const lane_t* lane, uint32_t* n) noexcept nogil:
        """What this line brought, its snapshot first, until it lost something. False: nothing that
        begins with one."""
        cdef uint32_t i
        cdef void* grown
        n[0] = 0
        if x.n_pending > self.cap_kept:
            self.cap_kept = 0
            grown = realloc(self.kept, x.n_pending * 2 * sizeof(uint32_t))
            if grown == NULL:
                return False
            self.kept = <uint32_t*>grown
            grown = realloc(self.contents, x.n_pending * 2 * sizeof(uint64_t))
            if grown == NULL:
                return False
            self.contents = <uint64_t*>grown
            grown = realloc(self.sums, x.n_pending * 2 * sizeof(uint64_t))
            if grown == NULL:
                return False
            self.sums = <uint64_t*>grown
            self.cap_kept = x.n_pending * 2
        for i in range(x.n_pending):
            if x.pending[i].line != lane.line:
                continue
            if n[0] and x.pending[i].lost != x.pending[self.kept[0]].lost:
                break
            self.kept[n[0]] = i
            self.contents[n[0]] = x.pending[i].content
            self.sums[n[0]] = x.pending[i].sum
            n[0] += 1
        return n[0] > 0 and x.pending[self.kept[0]].snapshot

    cdef place_t _places(
        self, const instrument_t* x, const lane_t* lane, int64_t now
    ) noexcept nogil:
        """Where in the history everything fits that a line brought."""
        cdef place_t found
        cdef lanes_t* lanes = x.lanes
        cdef int64_t head = <int64_t>lanes.head
        cdef int64_t first = <int64_t>lanes.first
        cdef int64_t offset, begin, end, k, last
        cdef int64_t nearest = 0
        cdef int64_t distance, lag
        cdef bint alone = lanes_count(lanes, NULL, LANE_SYNCED) == 0
        # what came behind a loss says nothing more of the place
        cdef bint cut = lane.lost != self.lost_on(lane.line)
        cdef int latest = 2
        cdef int late
        cdef uint32_t n = 0
        memset(&found, 0, sizeof(found))
        if not self._brought(x, lane, &n):
            return found
        for offset in range(first - <int64_t>(n - 1), head + 1):
            begin = first if offset < first else offset
            last = offset + n - 1
            end = head if last > head else last
            if self.sums[begin - offset] != _sum_at(lanes, <uint64_t>begin):
                continue
            for k in range(begin, end):
                if (self.contents[k - offset + 1] != _passed(lanes, <uint64_t>k).content
                        or self.sums[k - offset + 1] != _sum_at(lanes, <uint64_t>(k + 1))):
                    break
            else:
                # no two lines are so far apart; and the only one left must get as far as the book
                late = not cut and last < head and (
                    alone or now - _passed(lanes, <uint64_t>last).ts_recv >= HOLD_NS)
                if end > begin:
                    lag = (_passed(lanes, <uint64_t>(end - 1)).ts_recv
                           - x.pending[self.kept[end - offset]].ts_recv)
                    late = late or lag >= HOLD_NS or lag <= -HOLD_NS
                elif cut and begin > first and _passed(lanes, <uint64_t>(begin - 1)).ts_recv - (
                        x.pending[self.kept[0]].ts_recv) >= HOLD_NS:
                    late = 1
                if late:
                    found.late += 1
                    if end - begin > found.late_matched:
                        found.late_matched = end - begin
                else:
                    found.n += 1
                distance = head - last if last < head else last - head
                if late < latest or (late == latest and distance < nearest):
                    latest = late
                    nearest = distance
                    found.at = last
                    found.ahead = last - end
                    found.matched = end - begin
        return found

    cdef bint _find_place(
        self, instrument_t* x, const program_t* p, lane_t* lane, int64_t now
    ) noexcept nogil:
        """In step where there is one place only, and some copies in a row or a while speak for it.
        With no other line left the likeliest place must do."""
        cdef place_t place = self._places(x, lane, now)
        if lanes_count(x.lanes, NULL, LANE_SYNCED) == 0:
            if place.n == 0:
                return False
        elif place.matched < place.late_matched or not (
                (place.matched >= (1 if self._is_urgent(x, lane) else MATCHED_MIN)
                 and (place.n == 1 or place.n + place.late == 1))
                or (place.n == 1 and now - lane.since >= HOLD_NS)):
            return False
        self._take_place(x, p, lane, &place)
        return True

    cdef void _find_places(
        self, instrument_t* x, const program_t* p, int64_t now
    ) noexcept nogil:
        cdef int i
        for i in range(LANES_MAX):
            if not x.up:
                return
            if x.lanes.lane[i].state == LANE_ALIGNING:
                self._find_place(x, p, &x.lanes.lane[i], now)

    cdef void _take_place(
        self, instrument_t* x, const program_t* p, lane_t* lane, const place_t* place
    ) noexcept nogil:
        cdef uint32_t n = 0
        _forget(lane)
        lane.state = LANE_SYNCED
        lane.since = 0
        lane.asked = 0
        lane.at = <uint64_t>(place.at - place.ahead)
        self._brought(x, lane, &n)
        self.c[FEEDD_C_duplicates] += n - <uint64_t>place.ahead
        self._line_counts(lane, False, -1)
        self._go_on(x, p, lane, n - <uint32_t>place.ahead)
        if x.n_pending == 0:
            x.hold_since = 0

    cdef void _go_on(
        self, instrument_t* x, const program_t* p, lane_t* lane, uint32_t start
    ) noexcept nogil:
        """What the line brought from its message ``start`` on is news."""
        cdef uint32_t n = 0
        cdef uint32_t i, last
        cdef update_t u
        if not self._brought(x, lane, &n):
            return
        for i in range(start, n):
            self._recall(x, &x.pending[self.kept[i]], &u)
            self.number = x.pending[self.kept[i]].number
            if not self._next(x, p, lane, &u, x.pending[self.kept[i]].content):
                return
        if n == 0:
            return
        # what came behind a loss waits for its place as with any line in step
        last = self.kept[n - 1]
        lane.lost = x.pending[last].lost
        lane.queued = 0
        for i in range(last + 1, x.n_pending):
            if x.pending[i].line == lane.line:
                x.pending[i].lost_before = lane.lost
                lane.lost = x.pending[i].lost
                lane.queued += 1
        pending_drop_line(x, lane.line, last)
        self._settle(x, p, x.pending[0].ts_recv if x.n_pending else 0)

    cdef void _settle(self, instrument_t* x, const program_t* p, int64_t now) noexcept nogil:
        pass                       # see unsure.pyx, as of the next one

    cdef bint _is_urgent(self, instrument_t* x, const lane_t* lane) noexcept nogil:
        return False

    # ---- when the others end, or nothing fits --------------------------------------------------

    cdef bint _promote(
        self, instrument_t* x, const program_t* p, lane_t* lane
    ) noexcept nogil:
        """The others are gone: go on where the line stands. It has a while to get as far as the
        book, before its snapshot becomes that."""
        if not x.lanes.counted:
            return Arbiter._promote(self, x, p, lane)
        if not self._find_place(x, p, lane, 0):
            lane.since = x.pending[x.n_pending - 1].ts_recv
            x.hold_since = 0
            self._wait(x, lane.since)
        return bool(x.up)

    cdef bint _replace(
        self, instrument_t* x, const program_t* p, lane_t* lane, bint declare
    ) noexcept nogil:
        """The line's snapshot becomes the book. ``declare``: the book was not right before."""
        cdef lanes_t* lanes = x.lanes
        cdef lane_t* saved = self.lane
        cdef uint64_t updates = x.updates
        cdef update_t u
        cdef uint32_t n = 0
        cdef int i
        if not self._brought(x, lane, &n):
            return False
        self._recall(x, &x.pending[self.kept[0]], &u)
        self.c[FEEDD_C_line_takeovers] += 1
        if declare:
            self.keeps = True         # what the line brought is to follow
            self.lost(x, p, &u.stamp, FEEDD_NO_SEQUENCE, FEEDD_NO_SEQUENCE,
                      b"not what another line brought", False)
            self.keeps = False
        x.snapshot_hash = x.pending[self.kept[0]].content
        self.lane = NULL              # nobody else has it right
        self.snapshot(x, p, &u)
        self.lane = saved
        if not x.up or x.updates == updates:
            return False
        for i in range(LANES_MAX):
            if &lanes.lane[i] != lane and lanes.lane[i].state == LANE_SYNCED:
                self._out_of_step(x, &lanes.lane[i])
        # others that still look for their place look for it behind this snapshot
        _forget(lane)
        x.line = lane.line
        lane.state = LANE_SYNCED
        lane.since = 0
        lane.asked = 0
        if not self._start(x, p, lane, &u):
            self._lost_place(x, p, &u, b"out of memory")
            return False
        self._brought(x, lane, &n)
        self._go_on(x, p, lane, 1)
        return bool(x.up)

    cdef void leave(self, instrument_t* x, const stamp_t* s, uint8_t state) noexcept nogil:
        cdef int i
        Arbiter.leave(self, x, s, state)
        if x.lanes != NULL:
            for i in range(LANES_MAX):
                _forget(&x.lanes.lane[i])

    cdef void _overdue(
        self, instrument_t* x, const program_t* p, int64_t now
    ) noexcept nogil:
        """Every line has had its time to bring the same: may a book be wrong, or a line dead?"""
        cdef lanes_t* lanes = x.lanes
        cdef lane_t* lane
        cdef place_t place
        cdef bint waits = False
        cdef bint silent
        cdef uint32_t n = 0
        cdef int i
        for i in range(LANES_MAX):
            lane = &lanes.lane[i]
            if not x.up or lane.state != LANE_ALIGNING or self._find_place(x, p, lane, now):
                continue
            if (now - lane.since >= HOLD_NS and lane.lost != self.lost_on(lane.line)
                    and lanes_count(x.lanes, NULL, LANE_SYNCED)):
                self._missed(lane)              # what it brought before it lost something must do
                self._out_of_step(x, lane)
                self._ask(x, lane, now)
                continue
            place = self._places(x, lane, now)
            if not self._brought(x, lane, &n):      # there was no room for it
                self._out_of_step(x, lane)
                self._ask(x, lane, now)
                continue
            silent = (lanes.head == lanes.first
                      or _passed(lanes, lanes.head - 1).ts_recv < lane.since)
            if place.n and place.ahead and now - x.pending[
                    self.kept[n - <uint32_t>place.ahead]].ts_recv >= HOLD_NS:
                self._take_place(x, p, lane, &place)      # it has news that nobody else brings
            elif place.n == 0 and (lanes_count(lanes, NULL, LANE_SYNCED) == 0 or (
                    now != INT64_MAX and (
                        now - lane.since > NOWHERE_NS or (silent and place.late == 0)))):
                self._replace(
                    x, p, lane, not silent or lanes_count(lanes, NULL, LANE_SYNCED) > 0)
            else:
                waits = True
        if waits and x.up:
            self._wait(x, now)
