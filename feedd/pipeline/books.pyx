"""The book of each instrument: sequence rules, gaps, snapshots, recovery.

Rules per venue document (see feedd/venues/*.toml for the parameters):

* Deribit, book channel: ``prev_change_id`` of a change equals the ``change_id`` before it.
* Binance USD-M, "How to manage a local order book": drop ``u < id``, the first event has
  ``U <= id <= u`` (or ``pu == id``), then ``pu`` equals the ``u`` before it.
* Binance spot, the same page: drop ``u <= id``, the first event has ``U <= id + 1 <= u``, then
  ``U`` is at most the ``u`` before it plus one.

They run on every message, also while a snapshot is awaited. A break is declared once, as one GAP;
from then on the book is not live until a snapshot joins. What the numbering shows as old is
dropped without a word, but a numbering that went back while the venue's clock went on is a gap.
"""

from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc

from feedd.book.book cimport (
    FB_FULL, FB_MEMORY, FB_OK, FB_PRICE, fb_apply, fb_book, fb_book_clear, fb_book_init, fb_fit,
)
from feedd.decode.plan cimport (
    POLICY_NONE_FULL, POLICY_PREV_LINK, POLICY_PREV_LINK_REST, POLICY_RANGE_REST, RESYNC_NONE,
    RESYNC_RESUBSCRIBE, RESYNC_REST, program_t,
)
from feedd.pipeline.instrument cimport instrument_t, pending_add, pending_clear, pending_t
from feedd.pipeline.output cimport (
    EVENT_BOOK_OVERFLOW, EVENT_GAP, EVENT_LIVE, EVENT_RESYNC, Output, stamp_t,
)
from feedd.shm.feedd cimport (
    FEEDD_BOOK_GAP, FEEDD_BOOK_INIT, FEEDD_BOOK_LIVE, FEEDD_BOOK_SYNCING, FEEDD_REASON_CLEAR,
    FEEDD_REASON_GAP,
)

from feedd import limits

cdef extern from "feedd/counters.h" nogil:
    enum:
        FEEDD_C_gaps
        FEEDD_C_resyncs
        FEEDD_C_duplicates
        FEEDD_C_old_deltas
        FEEDD_C_waiting_deltas
        FEEDD_C_buffered_deltas
        FEEDD_C_buffer_overflows
        FEEDD_C_book_overflows
        FEEDD_C_unowned_books
        FEEDD_C_books_total
        FEEDD_C_requests_dropped

cdef uint32_t REQUESTS_MAX = 65536
cdef int OLD_WINDOWS_MAX = 32  # older partial books in a row before they are believed
cdef int REWINDS_MAX = 3      # old numbers with newer times in a row: the venue started over


cdef class Books:
    def __cinit__(self, Output out):
        self.out = out
        self.c = out.c
        self.requests = NULL
        self.levels_max = limits.BOOK_LEVELS_MAX

    def __dealloc__(self):
        free(self.requests)

    cdef void ask(self, instrument_t* x, uint8_t kind, int32_t channel) noexcept nogil:
        """Queue a request for the cold side (the reader's session or the capture driver)."""
        cdef uint32_t cap
        cdef void* grown
        if self.n_requests == self.cap_requests:
            cap = self.cap_requests * 2 if self.cap_requests else 64
            grown = realloc(self.requests, cap * sizeof(request_t))
            if grown == NULL or cap > REQUESTS_MAX:
                if grown != NULL:
                    self.requests = <request_t*>grown
                self.c[FEEDD_C_requests_dropped] += 1
                return
            self.requests = <request_t*>grown
            self.cap_requests = cap
        self.requests[self.n_requests].kind = kind
        self.requests[self.n_requests].instrument = x
        self.requests[self.n_requests].channel = channel
        self.n_requests += 1

    # ---- one message ---------------------------------------------------------------------------

    cdef void update(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        if not self._owns(x, p, u):
            return
        x.line = u.stamp.line
        x.lines |= line_bit(x.line)
        if p.policy == POLICY_NONE_FULL:
            if x.state == FEEDD_BOOK_LIVE and u.current <= x.last and self._repeats(x, u):
                self.c[FEEDD_C_duplicates] += 1
            else:
                self.snapshot(x, p, u)
        elif u.snapshot:
            # a repeated snapshot, or one from before what was seen already
            if (x.state == FEEDD_BOOK_LIVE and u.current <= x.last) or (
                    x.state != FEEDD_BOOK_LIVE and x.has_chain and u.current < x.chain
                    and u.stamp.ts_event <= x.last_ts_event):
                self.c[FEEDD_C_duplicates] += 1
            else:
                self.snapshot(x, p, u)
        elif x.state == FEEDD_BOOK_LIVE:
            if x.joined:
                self._live(x, p, u)
            else:
                self._first_after_snapshot(x, p, u)
        elif p.policy == POLICY_PREV_LINK:
            self._wait_in_stream(x, p, u)
        else:
            self._buffer(x, p, u)

    cdef bint _owns(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        """One stream feeds a book: the first one seen, unless one of a better rank comes."""
        cdef bint first = x.book_channel < 0
        if x.book_channel == u.channel and x.book_topic == u.topic:
            return True
        if not first and p.rank >= x.rank:
            self.c[FEEDD_C_unowned_books] += 1
            return False
        if x.book == NULL:
            x.book = <fb_book*>calloc(1, sizeof(fb_book))
            if x.book == NULL or not fb_book_init(x.book, self.levels_max):
                free(x.book)
                x.book = NULL
                return False
            x.top_key[0] = x.top_key[1] = INT64_MAX
            self.c[FEEDD_C_books_total] += 1
        x.book_channel = u.channel
        x.book_topic = u.topic
        x.rank = p.rank
        x.has_chain = 0
        x.wanted = 0
        pending_clear(x)
        if x.state != FEEDD_BOOK_INIT:
            self.out.set_state(x, &u.stamp, FEEDD_BOOK_SYNCING)
        return True

    cdef void _live(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        cdef bint linked
        if p.policy == POLICY_RANGE_REST:
            linked = u.first <= x.last + 1 and u.current > x.last
        else:
            linked = u.has_previous and u.previous >= 0 and <uint64_t>u.previous == x.last
        if linked:
            self._apply(x, p, u, False)
        elif u.current <= x.last:
            self._old(x, p, u)
        else:
            self._break(x, p, u, x.last)

    cdef void _first_after_snapshot(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        """The first delta that a REST snapshot without deltas behind it does not contain."""
        if _contained(p, u.current, x.last):
            self._old(x, p, u)
        elif _joins(p, u.first, u.previous, u.current, x.last):
            x.joined = 1
            self._apply(x, p, u, False)
        else:
            self._break(x, p, u, x.last)

    cdef void _old(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        """A number from the past: a repeat, unless the venue's clock says that it is news."""
        self.c[FEEDD_C_old_deltas] += 1
        if u.stamp.ts_event <= x.last_ts_event or x.last_ts_event == 0 or not x.joined:
            return
        x.rewinds += 1
        if x.rewinds >= REWINDS_MAX:
            self.lost(x, p, &u.stamp, x.last, u.current, b"sequence went back")
            x.has_chain = 0

    cdef bint _repeats(self, instrument_t* x, const update_t* u) noexcept nogil:
        """A partial book that is not newer: a repeat or late, unless nothing else comes."""
        if u.current < x.last:
            x.rewinds += 1
        return x.rewinds < OLD_WINDOWS_MAX

    cdef void _break(
        self, instrument_t* x, const program_t* p, const update_t* u, uint64_t expected
    ) noexcept nogil:
        """A message is missing before this one: declare it, start to wait with this one."""
        cdef uint64_t got = u.first
        if p.policy == POLICY_RANGE_REST:
            expected += 1
        elif u.has_previous:
            got = <uint64_t>u.previous
        self.lost(x, p, &u.stamp, expected, got, b"sequence")
        if p.policy == POLICY_PREV_LINK:
            x.chain = u.current
            x.has_chain = 1
            self.c[FEEDD_C_waiting_deltas] += 1
        else:
            self._keep(x, p, u)

    # ---- waiting -------------------------------------------------------------------------------

    cdef void _wait_in_stream(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        """The snapshot comes in the stream: changes before it say only whether one is missing."""
        if x.state == FEEDD_BOOK_INIT:
            self.out.set_state(x, &u.stamp, FEEDD_BOOK_SYNCING)
            self._resync(x, p, &u.stamp)
        if x.has_chain and u.current <= x.chain:
            self.c[FEEDD_C_old_deltas] += 1
            return
        if (x.state == FEEDD_BOOK_SYNCING and x.has_chain and u.has_previous
                and <uint64_t>u.previous != x.chain):
            self.lost(x, p, &u.stamp, x.chain, <uint64_t>u.previous, b"sequence")
        x.chain = u.current
        x.has_chain = 1
        x.last_ts_event = u.stamp.ts_event
        self.c[FEEDD_C_waiting_deltas] += 1

    cdef void _buffer(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        """The snapshot comes by REST: keep the deltas that will have to follow it."""
        cdef const pending_t* tail
        cdef bint linked
        if x.state == FEEDD_BOOK_INIT:
            self.out.set_state(x, &u.stamp, FEEDD_BOOK_SYNCING)
        if x.n_pending:
            tail = &x.pending[x.n_pending - 1]
            if u.current <= tail.current:
                self.c[FEEDD_C_old_deltas] += 1
                return
            if p.policy == POLICY_RANGE_REST:
                linked = u.first <= tail.current + 1
            else:
                linked = u.has_previous and <uint64_t>u.previous == tail.current
            if not linked:
                if x.state == FEEDD_BOOK_SYNCING:
                    self._break(x, p, u, tail.current)
                    return
                pending_clear(x)
        self._keep(x, p, u)

    cdef void _keep(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        cdef pending_t delta
        delta.first = u.first
        delta.current = u.current
        delta.previous = <uint64_t>u.previous
        delta.ts_event = u.stamp.ts_event
        delta.ts_recv = u.stamp.ts_recv
        delta.n_bid = u.n_bid
        delta.n_ask = u.n_ask
        delta.line = u.stamp.line
        delta.start = 0
        delta.inexact = 0
        self.c[FEEDD_C_buffered_deltas] += 1
        if not pending_add(x, &delta, u.bids, u.asks):
            self.c[FEEDD_C_buffer_overflows] += 1
        if not x.wanted:
            self._resync(x, p, &u.stamp)

    cdef void _resync(
        self, instrument_t* x, const program_t* p, const stamp_t* s
    ) noexcept nogil:
        """Ask for what makes the book whole again, once until it comes."""
        if p.resync == RESYNC_NONE or x.wanted:
            return
        x.wanted = 1
        x.resyncs += 1
        self.c[FEEDD_C_resyncs] += 1
        self.ask(
            x, REQUEST_SNAPSHOT if p.resync == RESYNC_REST else REQUEST_RESUBSCRIBE,
            x.book_channel)
        self.out.status(x, s, EVENT_RESYNC, x.state, 0, 0,
                        b"REST snapshot" if p.resync == RESYNC_REST else b"resubscribe")

    cdef void lost(
        self, instrument_t* x, const program_t* p, const stamp_t* s, uint64_t expected,
        uint64_t got, const char* reason
    ) noexcept nogil:
        """Declare one gap. The levels stay as they were, the state says that they are not good."""
        cdef uint8_t previous = x.state
        cdef stamp_t stamp = s[0]
        stamp.flags = 0
        pending_clear(x)
        x.has_chain = 0
        x.joined = 0
        x.wanted = 0
        x.rewinds = 0
        x.gaps += 1
        self.c[FEEDD_C_gaps] += 1
        self.out.set_state(x, &stamp, FEEDD_BOOK_GAP)
        self.out.control(x, &stamp, FEEDD_REASON_GAP, expected, got)
        self.out.status(x, &stamp, EVENT_GAP, previous, expected, got, reason)
        if p.resync == RESYNC_RESUBSCRIBE and expected != got:
            self._resync(x, p, &stamp)

    # ---- snapshots -----------------------------------------------------------------------------

    cdef int join(
        self, const instrument_t* x, const program_t* p, uint64_t snapshot_id, bint at_hand
    ) noexcept nogil:
        """Can the REST snapshot with this id start the book, given what is buffered?

        JOIN_NOW: the first buffered delta that it does not contain follows it by the venue's rule.
        A snapshot newer than all that is buffered may only start the book when it is ``at_hand``
        (its answer came, not a row of a capture that lies in the future).
        """
        cdef uint32_t i
        cdef const pending_t* d
        if p.policy not in (POLICY_PREV_LINK_REST, POLICY_RANGE_REST):
            return JOIN_NOT_NEEDED
        if x.state == FEEDD_BOOK_LIVE:
            return JOIN_NOT_NEEDED
        if x.n_pending == 0:
            return JOIN_WAIT
        for i in range(x.n_pending):
            d = &x.pending[i]
            if not _contained(p, d.current, snapshot_id):
                if _joins(p, d.first, <int64_t>d.previous, d.current, snapshot_id):
                    return JOIN_NOW
                return JOIN_TOO_OLD
        return JOIN_NOW if at_hand else JOIN_WAIT

    cdef void snapshot(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        """Replace the book, then apply the buffered deltas that the snapshot does not contain.

        For a REST snapshot the caller has asked ``join`` before.
        """
        cdef uint32_t i
        cdef pending_t* d
        cdef update_t delta
        cdef uint8_t previous = x.state
        if x.book == NULL:
            return
        x.wanted = 0
        x.has_chain = 0
        x.rewinds = 0
        x.lines = line_bit(u.stamp.line)
        x.joined = p.policy == POLICY_PREV_LINK or p.policy == POLICY_NONE_FULL
        if x.state != FEEDD_BOOK_LIVE:
            self.out.set_state(x, &u.stamp, FEEDD_BOOK_SYNCING)
        self._apply(x, p, u, True)
        if x.state == FEEDD_BOOK_GAP:
            return
        if x.state != FEEDD_BOOK_LIVE:
            self._go_live(x, &u.stamp)
        if p.policy != POLICY_NONE_FULL and previous != FEEDD_BOOK_LIVE:
            self.out.status(x, &u.stamp, EVENT_LIVE, previous, u.current, 0, b"snapshot")
        elif previous != FEEDD_BOOK_LIVE:
            self.out.status(x, &u.stamp, EVENT_LIVE, previous, u.current, 0, b"partial book")
        for i in range(x.n_pending):
            d = &x.pending[i]
            if not x.joined:
                if _contained(p, d.current, u.current):
                    self.c[FEEDD_C_old_deltas] += 1
                    continue
                x.joined = 1
            delta.first = d.first
            delta.current = d.current
            delta.previous = <int64_t>d.previous
            delta.has_previous = 1
            delta.stamp = u.stamp
            delta.stamp.ts_event = d.ts_event
            delta.stamp.ts_recv = d.ts_recv
            delta.stamp.sequence = d.current
            delta.stamp.line = <unsigned short>d.line
            delta.bids = &x.buffer[d.start]
            delta.asks = &x.buffer[d.start + d.n_bid]
            delta.n_bid = d.n_bid
            delta.n_ask = d.n_ask
            self._apply(x, p, &delta, False)
            if x.state != FEEDD_BOOK_LIVE:
                return      # the book was given up; its buffer is gone
        pending_clear(x)

    cdef void _go_live(self, instrument_t* x, const stamp_t* s) noexcept nogil:
        self.out.set_state(x, s, FEEDD_BOOK_LIVE)

    cdef void _apply(
        self, instrument_t* x, const program_t* p, const update_t* u, bint snapshot
    ) noexcept nogil:
        cdef int64_t changed[2]
        cdef int status = _set_levels(x.book, u, snapshot, changed)
        if status == FB_PRICE and snapshot:
            # the decimals of prices that are gone may be what leaves no room
            x.book.decimals = 0
            status = _set_levels(x.book, u, snapshot, changed)
        if snapshot and status == FB_OK and not (
                fb_fit(&x.book.side[0]) and fb_fit(&x.book.side[1])):
            status = FB_MEMORY
        x.last = u.current
        x.rewinds = 0
        if u.stamp.ts_event:
            x.last_ts_event = u.stamp.ts_event
        if x.book.decimals > x.price_decimals:
            x.price_decimals = <uint8_t>x.book.decimals
        if status != FB_OK:
            self._overflow(x, p, u, status)
            return
        if snapshot or u.n_bid or u.n_ask:
            self.out.book_event(
                x, &u.stamp, u.bids, u.n_bid, u.asks, u.n_ask, snapshot)
        self.out.book_shared(x, &u.stamp, changed)
        if snapshot:
            self.out.deep(x)

    cdef void _overflow(
        self, instrument_t* x, const program_t* p, const update_t* u, int status
    ) noexcept nogil:
        """The book cannot be kept: say so, empty it, and wait for a snapshot."""
        cdef const char* why = b"price out of range"
        if status == FB_FULL:
            why = b"more levels than max_levels"
        elif status == FB_MEMORY:
            why = b"out of memory"
        self.c[FEEDD_C_book_overflows] += 1
        self.out.status(x, &u.stamp, EVENT_BOOK_OVERFLOW, x.state, 0, 0, why)
        fb_book_clear(x.book)
        self.out.control(x, &u.stamp, FEEDD_REASON_CLEAR, 0, 0)
        self.lost(x, p, &u.stamp, u.current, u.current, why)


cdef int _set_levels(
    fb_book* b, const update_t* u, bint snapshot, int64_t* changed
) noexcept nogil:
    """FB_OK, or why not; ``changed`` is the best key that changed on each side."""
    cdef int32_t decimals = b.decimals
    cdef int status
    if snapshot:
        fb_book_clear(b)
    changed[0] = changed[1] = INT64_MAX
    status = fb_apply(b, 0, u.bids, u.n_bid, &changed[0])
    if status == FB_OK:
        status = fb_apply(b, 1, u.asks, u.n_ask, &changed[1])
    if snapshot or b.decimals != decimals:      # every key of both sides is another one
        changed[0] = changed[1] = -INT64_MAX
    return status


cdef inline bint _contained(
    const program_t* p, uint64_t current, uint64_t snapshot_id
) noexcept nogil:
    """Is a delta that ends at ``current`` part of the snapshot already?"""
    if p.policy == POLICY_RANGE_REST:
        return current <= snapshot_id
    return current < snapshot_id


cdef inline bint _joins(
    const program_t* p, uint64_t first, int64_t previous, uint64_t current, uint64_t snapshot_id
) noexcept nogil:
    """Does the first delta that is not contained follow the snapshot without a hole?"""
    if p.policy == POLICY_RANGE_REST:
        return first <= snapshot_id + 1
    return first <= snapshot_id or (previous >= 0 and <uint64_t>previous == snapshot_id)
