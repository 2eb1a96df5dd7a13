"""Books fed by several connections: the first copy of each message wins.

With numbers see ``numbered.pyx``. Without them a message is known by its content. Each lane's
copies are recognised in the order of the log, so old absolute sizes never overwrite newer ones. A
connection that begins beside a book that is whole has to find its place first: its snapshot and
what follows are kept until one of them is recognised, and carry the book on if the other
connections end before that.

A book that only one connection feeds takes none of these paths.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc

from feedd.book.checksum cimport fx_copy
from feedd.decode.engine cimport fd_level
from feedd.decode.plan cimport POLICY_NONE_FULL, program_t
from feedd.pipeline.books cimport Books, pending_of, update_t
from feedd.pipeline.content cimport content_of, level_key
from feedd.pipeline.instrument cimport (
    instrument_t, pending_add, pending_clear, pending_drop_line, pending_drop_one, pending_t,
    rowkey_t,
)
from feedd.pipeline.lanes cimport (
    LANE_ALIGNING, LANE_BEHIND, LANE_FREE, LANE_SYNCED, LANES_MAX, entry_t, lane_find, lane_of,
    lane_t, lanes_count, lanes_t, log_add, log_at, log_find, log_keys, log_see,
    log_start, log_touched,
)
from feedd.pipeline.numbered cimport Numbered
from feedd.pipeline.output cimport stamp_t
from feedd.pipeline.policies cimport is_numbered
from feedd.shm.feedd cimport FEEDD_NO_SEQUENCE

from feedd import limits

cdef extern from "feedd/counters.h" nogil:
    enum:
        FEEDD_C_duplicates
        FEEDD_C_line_takeovers

cdef uint32_t HELD_MAX = limits.LINE_HELD_MESSAGES_MAX
cdef int64_t HOLD_NS = limits.LINE_HOLD_NS
cdef int UNTIMED_RUN = 3                  # equal messages in a row, where no time tells them apart


cdef class Arbiter(Numbered):
    def __dealloc__(self):
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

    # ---- changes without numbers ---------------------------------------------------------------

    cdef void _unnumbered(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        cdef lane_t* lane = self.lane
        cdef lanes_t* lanes = x.lanes
        cdef uint64_t content = content_of(u)
        cdef bint behind = lane.state == LANE_BEHIND
        cdef int64_t found
        if u.snapshot:
            self._unnumbered_snapshot(x, p, u, content)
        elif not x.up:
            self._accept(x, p, u)
        elif u.stamp.line != lanes.founder and lane.state != LANE_SYNCED and (
                0 < u.stamp.ts_event <= lanes.alone_until - (lane.state == LANE_ALIGNING)):
            self.c[FEEDD_C_duplicates] += 1     # the first line brought it while it was alone
            self._line_counts(lane, False, -1)
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
                if not _comes_behind(self, x, p, u, content):
                    self._insert(x, p, u, content, lane.at)
                if x.up:
                    self._align(x, p)
        elif self._recognise(x, u, content):
            if behind:                  # what was refused of it has not come in time
                pending_drop_line(x, lane.line, x.n_pending)
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
        elif self._is_refused(x, lane):
            self._refuse(x, p, u, content)
        else:
            self.c[FEEDD_C_duplicates] += 1
            self._nobody(x, p, u)
        lane.content = content

    # ---- what a line brought too early, for it lost the message before -------------------------

    cdef bint _is_refused(self, const instrument_t* x, const lane_t* lane) noexcept nogil:
        """Does a message of this line wait for one that it lost?"""
        cdef uint32_t i
        for i in range(x.n_pending):
            if x.pending[i].line == lane.line:
                return True
        return False

    cdef void _refuse(
        self, instrument_t* x, const program_t* p, const update_t* u, uint64_t content
    ) noexcept nogil:
        """Its checksum is of a book that another line may still make: keep it so long."""
        self._hold(x, p, u, content)
        if x.n_pending > HELD_MAX:
            pending_drop_line(x, self.lane.line, x.n_pending)

    cdef void _retry(self, instrument_t* x, const program_t* p) noexcept nogil:
        """Another line went on: what was refused may follow now, or be known already."""
        cdef lane_t* saved = self.lane
        cdef uint32_t i = 0
        cdef lane_t* lane
        cdef uint64_t content
        cdef int64_t found
        cdef update_t u
        while x.up and i < x.n_pending:
            lane = lane_find(x.lanes, x.pending[i].line)
            if lane == NULL or lane.state == LANE_ALIGNING or x.pending[i].snapshot:
                i += 1
                continue
            content = x.pending[i].content
            found = log_find(x.lanes, lane, log_start(x.lanes), content)
            if found >= 0:
                log_see(x.lanes, lane, <uint64_t>found)
                lane.at = <uint64_t>found + 1
                self.c[FEEDD_C_duplicates] += 1
                self._line_counts(lane, False, -1)
            else:
                self._recall(x, &x.pending[i], &u)
                self.lane = lane
                self.rejected = False
                self._accept(x, p, &u)
                if not x.up:
                    break
                if self.rejected:      # and what the line brought behind it must wait too
                    lane.state = LANE_BEHIND
                    i += 1
                    while i < x.n_pending and x.pending[i].line == lane.line:
                        i += 1
                    continue
                x.line = lane.line
                self._log(x, &u, content)
                self._line_counts(lane, True, 0)
            lane.state = LANE_SYNCED
            lane.run = 0
            pending_drop_one(x, i)
        self.rejected = False
        self.lane = saved
        if x.n_pending == 0:
            x.hold_since = 0

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
        cdef uint64_t updates = x.updates
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
            if x.up:
                self._refuse(x, p, u, content)
                if x.updates != updates:
                    self._retry(x, p)
            return
        if not x.up:
            return
        x.line = u.stamp.line
        self._log(x, u, content)
        self._line_counts(lane, True, 0)
        self._align(x, p)
        if x.up and x.n_pending:
            self._retry(x, p)

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
            if 0 < x.pending[i].ts_event <= x.lanes.alone_until and (
                    lane.line != x.lanes.founder):
                continue
            self._recall(x, &x.pending[i], &u)
            place = log_start(x.lanes) if u.stamp.ts_event else at - UNTIMED_RUN
            while u.stamp.ts_event and place < x.lanes.head and (
                    log_at(x.lanes, place).ts_event <= u.stamp.ts_event):
                place += 1
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
            # the book is further on: what is newer than it comes next, what is older belongs
            # before, unless it is in it
            i += 1
            while i < x.n_pending and not (
                    x.pending[i].line == lane.line
                    and x.pending[i].ts_event > x.last_ts_event):
                i += 1
            lane.at = log_start(x.lanes)
            self._insert_missed(x, p, lane, i)
            if not x.up:
                return False
            if i < x.n_pending:
                self._take_over(x, p, lane, i)
                return bool(x.up)
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


cdef bint _comes_behind(
    Arbiter books, instrument_t* x, const program_t* p, const update_t* u, uint64_t content
) noexcept nogil:
    """A message that the line ahead never had, of one time with the last one in the log: does its
    checksum say that it comes behind that one? Then it is applied."""
    cdef lane_t* lane = books.lane
    if (not u.has_checksum or u.stamp.ts_event != log_at(x.lanes, x.lanes.head - 1).ts_event
            or x.rule == NULL or x.rule.given_up or not x.texts_valid
            or lanes_count(x.lanes, lane, LANE_ALIGNING) == 0):
        return False
    books._accept(x, p, u)
    if books.rejected:
        books.rejected = False
        return False
    if x.up:
        books._missed(lane)
        x.line = u.stamp.line
        books._log(x, u, content)
        books._line_counts(lane, True, 0)
    return True
