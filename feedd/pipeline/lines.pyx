"""Connections that come, go, take over from each other or lose something: what books make of it."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memmove, memset

from feedd.decode.plan cimport POLICY_NONE_FULL, program_t
from feedd.pipeline.hidden cimport Hidden
from feedd.pipeline.instrument cimport instrument_t, pending_drop_line, table_t
from feedd.pipeline.lanes cimport (
    LANE_ALIGNING, LANE_BEHIND, LANE_FREE, LANE_SYNCED, LANES_MAX, lane_find, lane_of, lane_t,
    lanes_count, lanes_free,
)
from feedd.pipeline.output cimport EVENT_GAP, stamp_t
from feedd.pipeline.policies cimport is_numbered, needs_rest
from feedd.pipeline.requests cimport REQUEST_RECONNECT
from feedd.shm.feedd cimport (
    FEEDD_BOOK_GAP, FEEDD_BOOK_SYNCING, FEEDD_NO_SEQUENCE, FEEDD_REASON_GAP,
)

from feedd import limits

cdef extern from "feedd/counters.h" nogil:
    enum:
        FEEDD_C_gaps

cdef int64_t HOLD_NS = limits.LINE_HOLD_NS


cdef class Lines(Hidden):
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
            self.parting(x, lane)
            if x.lanes == NULL:
                return False
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
            # the log is needed until the last line has brought its copies
            if left != NULL and left.state == LANE_SYNCED and left.queued and x.up:
                self._settle(x, p, s.ts_recv)
                if not x.up:
                    return False
            if x.lanes != NULL and lanes_count(x.lanes, NULL, LANE_BEHIND) < 2 and (
                    left == NULL or not x.lanes.counted or not x.up
                    or not self.may_lack(x, left, s.ts_recv)) and (
                    x.n_pending == 0 or not x.up) and (
                    numbered or left == NULL or not x.up or left.at >= x.lanes.head):
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
        if x.up and (needs_rest(p) or self.is_hidden(x, p)) and x.line != line and (
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
        self.parting(x, lane)
        lane.line = new
        if x.lanes.counted:      # another stream, that stands elsewhere
            self._out_of_step(x, lane)
        for i in range(x.n_pending):
            if x.pending[i].line == old:
                x.pending[i].line = new
        if x.line == old:
            x.line = new
        return True

    cdef bint line_unsure(
        self, instrument_t* x, int32_t line, bint bounded, int64_t now
    ) noexcept nogil:
        cdef const program_t* p = &self.programs[x.venue][x.book_channel]
        cdef lane_t* lane
        cdef int i
        if x.lanes == NULL:
            return x.line != line or (bounded and self.second_line_comes(x, p, line, now))
        lane = lane_find(x.lanes, line)
        if lane == NULL:
            return True
        self._missed(lane)
        if is_numbered(p):
            return True              # the numbers will tell
        if bounded and x.lanes.counted and lanes_count(
                x.lanes, lane, LANE_ALIGNING if lane.state == LANE_SYNCED else LANE_SYNCED):
            return True              # what the other lines bring will
        self.restarts = True
        lane.run = 0
        lane.content = 0
        self._out_of_step(x, lane)
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
        cdef bint bounded = got > expected and self.note_lost(
            line, expected, got - expected, ts_recv)
        cdef bint twice
        self.restarts = False
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
            # only books without times need it: of others the content says what is missing
            twice = bounded and x.lanes != NULL and x.lanes.counted and self.lost_twice(
                x.venue, line, expected, got - expected, ts_recv)
            if not twice and self.line_unsure(x, line, bounded, ts_recv):
                continue
            if lost == 0:
                self._declare(&s, expected, got, b"sequence of the connection")
            lost += 1
            self._lost_with(x, &s, expected, got)
        if fed == 0:
            self._declare(&s, expected, got, b"sequence of the connection")
        elif lost == 0 and self.restarts:
            # every book goes on over another line; this one must start over to be of use again
            self.ask(any, REQUEST_RECONNECT, any.book_channel, line)

    cdef void _declare(
        self, const stamp_t* s, uint64_t expected, uint64_t got, const char* why
    ) noexcept nogil:
        self.c[FEEDD_C_gaps] += 1
        self.out.status(NULL, s, EVENT_GAP, 0, expected, got, why)

    cdef void _lost_with(
        self, instrument_t* x, const stamp_t* s, uint64_t expected, uint64_t got
    ) noexcept nogil:
        """A book of what was declared for the whole connection."""
        x.gaps += 1
        self.leave(x, s, FEEDD_BOOK_GAP)
        self.out.control(x, s, FEEDD_REASON_GAP, expected, got)
        self.resync(x, &self.programs[x.venue][x.book_channel], s)

    cdef bint would_miss(self, const instrument_t* x, int32_t line) noexcept nogil:
        cdef const program_t* p
        if x.book_channel < 0 or not x.up or (
                x.line != line and (x.lanes == NULL or lane_find(x.lanes, line) == NULL)):
            return False
        p = &self.programs[x.venue][x.book_channel]
        if p.policy == POLICY_NONE_FULL:
            return False
        return not is_numbered(p) or x.last == FEEDD_NO_SEQUENCE

    cdef void refused(
        self, instrument_t** books, uint32_t n, bint named, int32_t line, int64_t ts_recv
    ) noexcept nogil:
        cdef stamp_t s
        cdef uint32_t i
        cdef bint declared = False
        memset(&s, 0, sizeof(s))
        s.ts_recv = ts_recv
        s.line = <unsigned short>line
        s.sequence = FEEDD_NO_SEQUENCE
        for i in range(n):
            if self.line_unsure(books[i], line, False, ts_recv):
                continue
            if named:
                self.lost(
                    books[i], &self.programs[books[i].venue][books[i].book_channel], &s,
                    FEEDD_NO_SEQUENCE, FEEDD_NO_SEQUENCE, b"unreadable message", True)
                continue
            if not declared:
                self._declare(&s, FEEDD_NO_SEQUENCE, FEEDD_NO_SEQUENCE, b"unreadable message")
                declared = True
            self._lost_with(books[i], &s, FEEDD_NO_SEQUENCE, FEEDD_NO_SEQUENCE)

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
        cdef uint32_t left = self.n_holding     # one that goes on waiting comes behind these
        cdef instrument_t* x
        cdef const program_t* p
        cdef int n
        while left and i < self.n_holding:
            left -= 1
            x = self.holding[i]
            if x.hold_since and x.lanes != NULL and 0 <= now - x.hold_since < HOLD_NS:
                i += 1
                continue
            self.n_holding -= 1
            memmove(&self.holding[i], &self.holding[i + 1], (self.n_holding - i) * sizeof(void*))
            if not x.hold_since or x.lanes == NULL or not x.up or not x.n_pending:
                x.hold_since = 0
                continue
            x.hold_since = 0
            p = &self.programs[x.venue][x.book_channel]
            if x.lanes.counted:
                self._overdue(x, p, now)
                continue
            if is_numbered(p) and x.pending[0].has_current:
                self._give_up(x, p)
                continue
            for n in range(LANES_MAX):
                if x.lanes.lane[n].state == LANE_BEHIND:     # what it lost nobody brought
                    pending_drop_line(x, x.lanes.lane[n].line, x.n_pending)
            for n in range(LANES_MAX):
                if x.lanes != NULL and x.lanes.lane[n].state == LANE_ALIGNING:
                    self._promote(x, p, &x.lanes.lane[n])
                    break
