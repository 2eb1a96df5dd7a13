"""What is staged becomes visible: commits, deep tiers of books, statuses of no instrument."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from feedd.pipeline.instrument cimport instrument_t, table_t
from feedd.pipeline.output cimport stamp_t
from feedd.shm.feedd cimport (
    FEEDD_LAST, FEEDD_NO_SEQUENCE, FEEDD_STAGE_PUBLISH, FEEDD_STAGE_TOTAL, FEEDD_STATUS,
    feedd_commit_at, feedd_put, feedd_record,
)

cdef extern from "feedd/counters.h" nogil:
    enum:
        FEEDD_C_commits
        FEEDD_C_statuses
        FEEDD_C_events


cdef class Publisher:
    cdef void publish(self, int64_t now_ns) noexcept nogil:
        cdef bint sampled = self.c[FEEDD_C_commits] % SAMPLE_EVERY == 0
        if self.out.w.next == self.out.w.committed:
            return
        feedd_commit_at(self.out.w, now_ns)
        self.c[FEEDD_C_commits] += 1
        if self.last_recv:  # a commit of statuses or of a REST snapshot answers no frame
            self.out.observe(FEEDD_STAGE_TOTAL, now_ns - self.last_recv)
            self.last_recv = 0
        if sampled:
            self.out.observe(FEEDD_STAGE_PUBLISH, wall_ns() - now_ns)
        if self.out.w.next - self.out.refreshed_at >= REACH_EVERY:
            self._keep_reachable()

    def commit(self):
        cdef int64_t now = wall_ns()
        self.publish(now)
        return self.out.w.next

    # ---- deep tiers ----------------------------------------------------------------------------

    cdef uint64_t _instruments(self) noexcept nogil:
        cdef uint64_t n = 0
        cdef int v
        for v in range(self.n_venues):
            n += self.venues[v].table.n
        return n

    cdef instrument_t* _next_in_turn(self) noexcept nogil:
        """All instruments of all venues, one after the other; there is one at least."""
        cdef table_t* table
        while True:
            table = self.venues[self.turn_venue].table
            if self.turn_item < table.n:
                self.turn_item += 1
                return table.items[self.turn_item - 1]
            self.turn_item = 0
            self.turn_venue = self.turn_venue + 1 if self.turn_venue + 1 < self.n_venues else 0

    cdef void _keep_reachable(self) noexcept nogil:
        """A deep tier is of use while the ring still holds what came after it. One that is a
        quarter of the ring behind is written anew. Each is looked at once in an eighth of the ring,
        a few at a time: all at once would hold up the next message by as many copies as there are
        books.
        """
        cdef uint64_t head = self.out.w.next
        cdef uint64_t round = (self.out.w.mask >> 3) + 1
        cdef instrument_t* x
        self.owed_turns += self._instruments() * (head - self.out.refreshed_at)
        self.out.refreshed_at = head
        while self.owed_turns >= round:
            self.owed_turns -= round
            x = self._next_in_turn()
            if x.deep_dirty and head - x.deep_pos > self.out.w.mask >> 2:
                self.out.deep(x)

    cdef void _refresh(self, uint32_t budget) noexcept nogil:
        """Deep tiers that are behind, in turn."""
        cdef uint64_t _i
        cdef instrument_t* x
        for _i in range(self._instruments()):
            if not budget:
                return
            x = self._next_in_turn()
            if x.deep_dirty:
                budget -= 1
                self.out.deep(x)

    def status(self, int32_t code, int64_t ts_recv, *, uint8_t scope, int line=0, str text="",
               int64_t arg0=0, int64_t arg1=0, uint8_t state=0):
        cdef feedd_record r
        cdef bytes raw = text.encode()[:40]
        cdef stamp_t s
        memset(&s, 0, sizeof(s))
        s.ts_recv = ts_recv
        s.sequence = FEEDD_NO_SEQUENCE
        s.line = line
        self.out.header(&r, FEEDD_STATUS, NULL, &s)
        r.flags |= FEEDD_LAST
        r.p.status.scope = scope
        r.p.status.state = state
        r.p.status.code = code
        r.p.status.since = ts_recv
        r.p.status.arg0 = arg0
        r.p.status.arg1 = arg1
        memcpy(r.p.status.text, <const char*>raw, len(raw))
        feedd_put(self.out.w, &r)
        self.c[FEEDD_C_statuses] += 1
        self.c[FEEDD_C_events] += 1
