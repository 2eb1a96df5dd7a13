"""Two lines bring different messages next: which of them is the first?

One of the lines has lost something, or each of them. What both bring behind tells: the explanation
with the fewest losses is taken, if a message that both brought bears it out and no other
explanation may still turn out to take as few.

Where each line lost the other one's message, their times and what they do to the book tell; else
the order of arrival. That one is believed where it makes no difference to the book in the end, or
is beyond doubt: of two messages of a level that came at about the same time nobody knows it.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from feedd.book.checksum cimport fr_find
from feedd.pipeline.instrument cimport instrument_t, pending_t
from feedd.pipeline.lanes cimport LOG_ENTRIES, LOG_KEYS, entry_t, lanes_t
from feedd.pipeline.mix cimport feedd_mix
from feedd.pipeline.unsure cimport Unsure

# What explanations cost beside one for each message that a line lost.
cdef enum:
    LATE = 1                  # it belongs before what is published
    UNFIT = 4                 # the book has not what it changes, or has what it adds
    TWICE = 16                # a message with its time, said twice
    NOTHING = 10_000          # no message that both brought bears it out

cdef int64_t SAME_TIME_NS = 500_000          # the order of arrival says nothing within
cdef int64_t APART_NS = 2_000_000            # and much from here on, if all of it says the same


cdef inline uint64_t _content(
    const instrument_t* x, const side_t* s, uint32_t history, uint64_t at, uint32_t k
) noexcept nogil:
    """Of a line's message ``k``, where what it has in the history from ``at`` on comes first."""
    if k < history:
        return passed_at(x.lanes, at + k).content
    return x.pending[s.index[k - history]].content


cdef class Differ(Unsure):
    cdef int _differ(
        self, instrument_t* x, const side_t* a, const side_t* b, bint due
    ) noexcept nogil:
        cdef uint32_t history = behind_by(x.lanes, b.lane)
        cdef uint32_t width = b.n + 1
        cdef int first, second, more_a, more_b
        self._weigh(x, a, b, due)
        more_a = self.unique_a[0]
        more_b = self.unique_b[0] + (LATE if history else 0)
        if history == 0:
            more_a += 0 if self._fits(x, &x.pending[a.index[0]]) else UNFIT
            more_b += 0 if self._fits(x, &x.pending[b.index[0]]) else UNFIT
        first = self.least[width] + more_a
        second = self.least[1] + more_b
        if due:
            if second < first:
                return B_FIRST
            if second - first > (LATE if history else 0):
                return A_FIRST
            if history:
                return self._skip(x, b)
        elif self.borne_out[width] + more_a < second:
            return A_FIRST
        elif self.borne_out[1] + more_b < first:
            return B_FIRST
        elif history or first != second or (
                first != self.borne_out[width + 1] + more_a + more_b) or (
                b.n > 1 and self._is_same(x, a.index[0], b.index[1])
                and more_b + self.least[width + 2] <= first) or (
                a.n > 1 and self._is_same(x, a.index[1], b.index[0])
                and more_a + self.least[2 * width + 1] <= first):
            return DIFFER_UNKNOWN
        return self._each_lost_one(x, a, b)

    cdef void _weigh(
        self, const instrument_t* x, const side_t* a, const side_t* b, bint due
    ) noexcept nogil:
        """What the explanations cost, from each message of both lines on."""
        cdef uint64_t at = b.lane.at
        cdef uint32_t behind = behind_by(x.lanes, b.lane)
        cdef uint32_t history = min(behind, <uint32_t>WAITING_MAX)      # more does not matter
        cdef uint32_t n = history + (a.n if a != NULL and history == behind else 0)
        cdef uint32_t m = b.n
        cdef uint32_t width = m + 1
        cdef uint32_t i, j, k
        cdef int late, balance
        for i in range(n + 1):
            self.unique_a[i] = 1
        for j in range(m + 1):
            self.unique_b[j] = 1
        for j in range(m):
            if x.pending[b.index[j]].ts_event == 0 or self.unique_b[j] != 1:
                continue
            balance = 0             # what has a time is said once, and again only at that time
            for k in range(j, m):
                balance += self._is_same(x, b.index[j], b.index[k])
            for i in range(n):
                balance -= _content(x, a, history, at, i) == x.pending[b.index[j]].content
            if balance:
                continue
            for k in range(j, m):
                if self._is_same(x, b.index[j], b.index[k]):
                    self.unique_b[k] = TWICE
            for i in range(n):
                if _content(x, a, history, at, i) == x.pending[b.index[j]].content:
                    self.unique_a[i] = TWICE
        i = n + 1
        while i:
            i -= 1
            late = LATE if i < history else 0
            j = m + 1
            while j:
                j -= 1
                k = i * width + j
                if i == n or j == m:
                    self.least[k] = 0 if not due else <int>(
                        n - i + (m - j if history == behind else 0))
                    self.borne_out[k] = NOTHING
                elif _content(x, a, history, at, i) == x.pending[b.index[j]].content:
                    self.least[k] = self.least[k + width + 1]
                    self.borne_out[k] = self.least[k]
                else:
                    self.least[k] = min(self.least[k + width] + self.unique_a[i],
                                        self.least[k + 1] + self.unique_b[j] + late)
                    self.borne_out[k] = min(self.borne_out[k + width] + self.unique_a[i],
                                            self.borne_out[k + 1] + self.unique_b[j] + late)

    cdef int _skip(self, const instrument_t* x, const side_t* b) noexcept nogil:
        """The line that is behind lost the next message of the history, or the others its own."""
        cdef const pending_t* d = &x.pending[b.index[0]]
        cdef const entry_t* e = &x.lanes.log[b.lane.at & (LOG_ENTRIES - 1)]
        if behind_by(x.lanes, b.lane) > LOG_ENTRIES:
            return NOBODY_KNOWS
        if not _touches(x, d, e):
            return A_FIRST
        if d.ts_event == 0 or e.ts_event == 0 or d.ts_event == e.ts_event:
            return NOBODY_KNOWS
        return A_FIRST if d.ts_event > e.ts_event else B_FIRST

    cdef int _each_lost_one(
        self, instrument_t* x, const side_t* a, const side_t* b
    ) noexcept nogil:
        """Each line lost the other one's next message."""
        cdef const pending_t* m = &x.pending[a.index[0]]
        cdef const pending_t* other = &x.pending[b.index[0]]
        cdef bint fits = self._fits(x, m)
        cdef int64_t later = m.ts_recv - other.ts_recv
        cdef int64_t seen = later
        cdef int rank = _rank(x, m) - _rank(x, other)
        if fits != self._fits(x, other):
            return A_FIRST if fits else B_FIRST
        if m.ts_event and other.ts_event and m.ts_event != other.ts_event:
            return A_FIRST if m.ts_event < other.ts_event else B_FIRST
        # one of the lines may lag: seen from what both bring behind it
        if a.n > 1 and b.n > 1 and self._is_same(x, a.index[1], b.index[1]):
            later -= x.pending[a.index[1]].ts_recv - x.pending[b.index[1]].ts_recv
        if _have_level(x, m, other) and not (
                (later >= APART_NS and seen >= APART_NS)
                or (later <= -APART_NS and seen <= -APART_NS)):
            return NOBODY_KNOWS
        # at the same time: what goes is the first, or the book would be crossed in between
        if rank and (m.ts_event and other.ts_event or -SAME_TIME_NS < later < SAME_TIME_NS):
            return A_FIRST if rank < 0 else B_FIRST
        return A_FIRST if later <= 0 else B_FIRST

    cdef bint _is_same(self, const instrument_t* x, uint32_t i, uint32_t k) noexcept nogil:
        return x.pending[i].content == x.pending[k].content

    cdef bint _fits(self, const instrument_t* x, const pending_t* d) noexcept nogil:
        """Are the rows that it changes there, and those that it adds not; and is it not what was
        said just before, which would change nothing?"""
        if (d.ts_event == 0 and x.lanes.head > x.lanes.first
                and passed_at(x.lanes, x.lanes.head - 1).content == d.content):
            return False
        return self._rows_fit(x, d)

    cdef bint _rows_fit(self, const instrument_t* x, const pending_t* d) noexcept nogil:
        cdef uint32_t i
        cdef bint known
        if not d.has_keys or d.snapshot:
            return True
        for i in range(d.n_bid + d.n_ask):
            known = fr_find(x.rows, x.key_buffer[d.start + i].id, i >= d.n_bid) != NULL
            if known == (x.key_buffer[d.start + i].is_new != 0):
                return False
        return True


# ---- what messages touch -------------------------------------------------------------------------

cdef inline uint64_t _level(const instrument_t* x, const pending_t* d, uint32_t i) noexcept nogil:
    """As ``level_key`` of content.pxd."""
    return feedd_mix(<uint64_t>(i >= d.n_bid), x.key_buffer[d.start + i].id)


cdef bint _touches(const instrument_t* x, const pending_t* d, const entry_t* e) noexcept nogil:
    """Does it change a level that this message of the history changed, as far as is known?"""
    cdef const lanes_t* lanes = x.lanes
    cdef uint32_t i, k
    if (d.snapshot or not d.has_keys or lanes.keys == NULL
            or lanes.key_head - e.key_start > LOG_KEYS):
        return True
    for i in range(d.n_bid + d.n_ask):
        for k in range(e.key_n):
            if lanes.keys[(e.key_start + k) & (LOG_KEYS - 1)] == _level(x, d, i):
                return True
    return False


cdef bint _have_level(
    const instrument_t* x, const pending_t* d, const pending_t* other
) noexcept nogil:
    """Do both change the same level?"""
    cdef uint32_t i, k
    if d.snapshot or other.snapshot or not d.has_keys or not other.has_keys:
        return True
    for i in range(d.n_bid + d.n_ask):
        for k in range(other.n_bid + other.n_ask):
            if _level(x, d, i) == _level(x, other, k):
                return True
    return False


cdef int _rank(const instrument_t* x, const pending_t* d) noexcept nogil:
    """What goes comes before what changes and what is new."""
    if not d.has_keys or d.n_bid + d.n_ask == 0:
        return 1
    if x.key_buffer[d.start].is_delete:
        return 0
    return 2 if x.key_buffer[d.start].is_new else 1
