"""The book of each instrument: sequence rules, gaps, snapshots, recovery.

The rules themselves are in ``policies.pxd``; the parameters of each venue in its file. They run on
every message, also while a snapshot is awaited. A break is declared once, as one GAP; from then on
the book is not live until a snapshot joins. What the numbering shows as old is dropped without a
word, but a numbering that went back while the venue's clock went on is a gap. A checksum is
verified before anything of its message is applied: what fails is not published.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from feedd.book.book cimport (
    FB_FULL, FB_MEMORY, FB_OK, FB_PRICE, fb_apply, fb_book, fb_book_clear, fb_book_init, fb_fit,
)
from feedd.book.checksum cimport fr_map, fx_texts
from feedd.decode.plan cimport (
    POLICY_KEYED_ROWS, POLICY_NONE_FULL, POLICY_PREV_LINK, POLICY_TRUST, program_t,
)
from feedd.pipeline.checks cimport Checks
from feedd.pipeline.content cimport content_of
from feedd.pipeline.instrument cimport (
    instrument_t, pending_add, pending_clear, pending_shift, pending_t,
)
from feedd.pipeline.lanes cimport lanes_free
from feedd.pipeline.levels cimport ROWS_OK, ROWS_UNKNOWN_ID, book_cut, rows_resolve
from feedd.pipeline.output cimport (
    EVENT_BOOK_OVERFLOW, EVENT_GAP, EVENT_LIVE, Output, stamp_t,
)
from feedd.pipeline.policies cimport (
    NEXT_APPLY, NEXT_GAP, NEXT_OLD, contained, expected_of, follows, got_of, is_numbered, joins,
    needs_rest, next_of,
)
from feedd.pipeline.verify cimport rule_of
from feedd.shm.feedd cimport (
    FEEDD_BOOK_CHECKSUM, FEEDD_BOOK_GAP, FEEDD_BOOK_INIT, FEEDD_BOOK_LIVE, FEEDD_BOOK_STALE,
    FEEDD_BOOK_SYNCING, FEEDD_NO_SEQUENCE, FEEDD_REASON_CLEAR, FEEDD_REASON_GAP,
)

from feedd import limits

cdef extern from "feedd/counters.h" nogil:
    enum:
        FEEDD_C_gaps
        FEEDD_C_duplicates
        FEEDD_C_old_deltas
        FEEDD_C_waiting_deltas
        FEEDD_C_buffered_deltas
        FEEDD_C_buffer_overflows
        FEEDD_C_book_overflows
        FEEDD_C_unowned_books
        FEEDD_C_books_total

cdef int OLD_WINDOWS_MAX = 32  # older partial books in a row before they are believed
cdef int REWINDS_MAX = 3      # old numbers with newer times in a row: the venue started over
cdef int64_t ROWS_WAIT_NS = 5_000_000_000    # rows before their snapshot are normal for so long


cdef class Books(Checks):
    def __cinit__(self, Output out):
        self.levels_max = limits.BOOK_LEVELS_MAX

    def __dealloc__(self):
        free(self.rows_scratch.levels)
        free(self.cut_scratch.levels)

    # ---- one message ---------------------------------------------------------------------------

    cdef void update(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        if not self._owns(x, p, u):
            return
        x.line = u.stamp.line
        self._accept(x, p, u)

    cdef void _accept(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        if p.policy == POLICY_NONE_FULL:
            if self._is_repeated_window(x, u) and x.up:
                self.c[FEEDD_C_duplicates] += 1
            else:
                self.snapshot(x, p, u)
        elif u.snapshot:
            if self._is_old_snapshot(x, p, u):
                self.c[FEEDD_C_duplicates] += 1
            else:
                self.snapshot(x, p, u)
        elif x.up:
            if x.joined:
                self._live(x, p, u)
            else:
                self._first_after_rest(x, p, u)
        elif needs_rest(p):
            self._buffer(x, p, u)
        else:
            self._wait_in_stream(x, p, u)

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
            self.c[FEEDD_C_books_total] += 1
        if not self._prepare(x, p):
            return False
        x.book_channel = u.channel
        x.book_topic = u.topic
        x.rank = p.rank
        x.up = x.has_chain = x.wanted = 0
        x.last_ts_event = 0
        x.line = -1
        x.hold_since = 0
        lanes_free(x.lanes)
        x.lanes = NULL
        pending_clear(x)
        if x.state != FEEDD_BOOK_INIT:
            self.out.set_state(x, &u.stamp, FEEDD_BOOK_SYNCING)
            self.out.control(x, &u.stamp, FEEDD_REASON_CLEAR, 0, 0)      # for those who fold
        return True

    cdef bint _prepare(self, instrument_t* x, const program_t* p) noexcept nogil:
        """What only some policies need beside the book. False when memory is out."""
        x.rule = NULL
        x.texts_valid = 0
        if p.checksum.used:
            if x.texts == NULL:
                x.texts = <fx_texts*>calloc(1, sizeof(fx_texts))
            if x.texts == NULL:
                return False
            x.rule = rule_of(&self.rules, x.venue, p)
        if p.policy == POLICY_KEYED_ROWS and x.rows == NULL:
            x.rows = <fr_map*>calloc(1, sizeof(fr_map))
            return x.rows != NULL
        return True

    cdef void _live(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        cdef int next = next_of(p, x.last, not x.fresh, u)
        if next == NEXT_APPLY:
            self._apply(x, p, u, False)
        elif next == NEXT_OLD:
            self._old(x, p, u)
        else:
            self._break(x, p, u, x.last)

    cdef void _first_after_rest(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        """The first delta that a REST snapshot without deltas behind it does not contain."""
        if contained(p, u.current, x.last):
            self._old(x, p, u)
        elif joins(p, u.first, u.previous, x.last):
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
        # a change that names another predecessor is enough, and so is the first number of all
        if u.current <= 1 or x.rewinds >= (
                1 if p.policy == POLICY_PREV_LINK and not x.fresh else REWINDS_MAX):
            self.lost(x, p, &u.stamp, x.last, u.current, b"sequence went back", True)
            x.has_chain = 0

    cdef bint _is_repeated_window(
        self, instrument_t* x, const update_t* u
    ) noexcept nogil:
        """A partial book that is not newer, by number or by time: a repeat or late, unless nothing
        else comes."""
        cdef uint64_t hash
        cdef bint older, equal
        if u.has_current and x.last != FEEDD_NO_SEQUENCE:
            older = u.current < x.last
            equal = u.current == x.last
        else:
            hash = content_of(u)
            older = u.stamp.ts_event < x.last_ts_event
            equal = u.stamp.ts_event != 0 and hash == x.snapshot_hash
            if not older and not equal:
                x.snapshot_hash = hash
        if older:
            x.rewinds += 1
            return x.rewinds < OLD_WINDOWS_MAX
        return equal

    cdef bint _is_old_snapshot(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        """A repeated snapshot, or one from before what was seen already."""
        cdef uint64_t hash
        if u.has_current and is_numbered(p):
            if x.up:
                if u.current > x.last:
                    return False
                if not p.snapshot_reset or 0 < u.stamp.ts_event <= x.last_ts_event:
                    return True
                return u.current == x.last and u.stamp.ts_event == 0
            return (x.has_chain and u.current < x.chain
                    and u.stamp.ts_event <= x.last_ts_event)
        if p.policy != POLICY_KEYED_ROWS and u.stamp.ts_event and (
                u.stamp.ts_event < x.last_ts_event):
            return True
        hash = content_of(u)
        if x.up and hash == x.snapshot_hash and (
                x.fresh or x.lanes != NULL or u.stamp.ts_event):
            return True      # without a time the same levels after changes are news of a line alone
        x.snapshot_hash = hash
        return False

    cdef void _break(
        self, instrument_t* x, const program_t* p, const update_t* u, uint64_t last
    ) noexcept nogil:
        """A message is missing before this one: declare it, start to wait with this one."""
        self.lost(x, p, &u.stamp, expected_of(p, last), got_of(p, u), b"sequence", True)
        if needs_rest(p):
            self._keep(x, p, u)
        else:
            x.chain = u.current
            x.has_chain = 1
            if u.stamp.ts_event > x.last_ts_event:
                x.last_ts_event = u.stamp.ts_event
            self.c[FEEDD_C_waiting_deltas] += 1

    # ---- waiting -------------------------------------------------------------------------------

    cdef void _wait_in_stream(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        """The snapshot comes in the stream: changes before it say only whether one is missing."""
        cdef bint numbered = u.has_current and is_numbered(p)
        if x.state == FEEDD_BOOK_INIT:
            self.out.set_state(x, &u.stamp, FEEDD_BOOK_SYNCING)
            if p.policy != POLICY_KEYED_ROWS:
                self.resync(x, p, &u.stamp)
        elif not x.wanted and u.stamp.ts_recv - x.since > ROWS_WAIT_NS:
            self.resync(x, p, &u.stamp)
        if numbered and x.has_chain and u.current <= x.chain:
            self.c[FEEDD_C_old_deltas] += 1
            return
        if numbered and x.state == FEEDD_BOOK_SYNCING and x.has_chain and not follows(
                p, x.chain, u):
            self.lost(
                x, p, &u.stamp, expected_of(p, x.chain), got_of(p, u), b"sequence", True)
        if numbered:
            x.chain = u.current
            x.has_chain = 1
        x.last_ts_event = u.stamp.ts_event
        self.c[FEEDD_C_waiting_deltas] += 1

    cdef void _buffer(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        """The snapshot comes by REST: keep the deltas that will have to follow it."""
        cdef const pending_t* tail
        if x.state == FEEDD_BOOK_INIT:
            self.out.set_state(x, &u.stamp, FEEDD_BOOK_SYNCING)
        if x.n_pending:
            tail = &x.pending[x.n_pending - 1]
            if u.current <= tail.current:
                self.c[FEEDD_C_old_deltas] += 1
                return
            if not follows(p, tail.current, u):
                if x.state == FEEDD_BOOK_SYNCING:
                    self._break(x, p, u, tail.current)
                    return
                pending_clear(x)
        self._keep(x, p, u)

    cdef void _keep(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        cdef pending_t d
        pending_of(u, 0, &d)
        self.c[FEEDD_C_buffered_deltas] += 1
        if not pending_add(x, &d, u.bids, u.asks, u.keys, x.lanes != NULL):
            self.c[FEEDD_C_buffer_overflows] += 1
        if not x.wanted:
            self.resync(x, p, &u.stamp)

    cdef void lost(
        self, instrument_t* x, const program_t* p, const stamp_t* s, uint64_t expected,
        uint64_t got, const char* reason, bint ask
    ) noexcept nogil:
        """Declare one gap. The levels stay as they were, the state says that they are not good."""
        cdef uint8_t previous = x.state
        cdef stamp_t stamp = s[0]
        stamp.flags = 0
        x.gaps += 1
        self.c[FEEDD_C_gaps] += 1
        self.leave(x, &stamp, FEEDD_BOOK_GAP)
        self.out.control(x, &stamp, FEEDD_REASON_GAP, expected, got)
        self.out.status(x, &stamp, EVENT_GAP, previous, expected, got, reason)
        if ask and not needs_rest(p):
            self.resync(x, p, &stamp)

    cdef void leave(self, instrument_t* x, const stamp_t* s, uint8_t state) noexcept nogil:
        if not self.keeps:
            pending_clear(x)
        x.up = 0
        x.has_chain = 0
        x.joined = 0
        x.wanted = 0
        x.rewinds = 0
        self.out.set_state(x, s, state)

    # ---- snapshots -----------------------------------------------------------------------------

    cdef int join(
        self, const instrument_t* x, const program_t* p, uint64_t snapshot_id, bint at_hand
    ) noexcept nogil:
        """Can the REST snapshot with this id start the book, given what is buffered?

        JOIN_NOW: the first buffered delta that it does not contain follows it by the venue's rule.
        A snapshot newer than all that is buffered may only start the book when it is ``at_hand``
        (its answer came, not a row of a capture that lies in the future). One that ends with the
        last buffered delta shows nothing that is to come.
        """
        cdef uint32_t i
        cdef const pending_t* d
        if not needs_rest(p) or x.up:
            return JOIN_NOT_NEEDED
        if x.n_pending == 0:
            return JOIN_WAIT
        for i in range(x.n_pending):
            d = &x.pending[i]
            if not contained(p, d.current, snapshot_id):
                if joins(p, d.first, <int64_t>d.previous, snapshot_id):
                    return JOIN_NOW
                return JOIN_TOO_OLD
        if at_hand or x.pending[x.n_pending - 1].current == snapshot_id:
            return JOIN_NOW
        return JOIN_WAIT

    cdef void snapshot(
        self, instrument_t* x, const program_t* p, const update_t* u
    ) noexcept nogil:
        """Replace the book, then apply the buffered deltas that the snapshot does not contain.

        For a REST snapshot the caller has asked ``join`` before.
        """
        cdef uint8_t previous = x.state
        cdef bint flagged = x.rule != NULL and x.rule.given_up
        if x.book == NULL:
            return
        x.wanted = 0
        x.has_chain = 0
        x.rewinds = 0
        x.joined = not needs_rest(p)
        x.fresh = 1
        if not x.up:
            self.out.set_state(
                x, &u.stamp, FEEDD_BOOK_CHECKSUM if flagged else FEEDD_BOOK_SYNCING)
        if not self._apply(x, p, u, True):
            return
        if x.rule != NULL and x.rule.given_up:
            if x.state != FEEDD_BOOK_CHECKSUM:
                self.out.set_state(x, &u.stamp, FEEDD_BOOK_CHECKSUM)
        elif x.state != FEEDD_BOOK_LIVE:
            self.out.set_state(x, &u.stamp, FEEDD_BOOK_LIVE)
        x.up = 1
        if previous != FEEDD_BOOK_LIVE and x.state == FEEDD_BOOK_LIVE:
            self.out.status(x, &u.stamp, EVENT_LIVE, previous, u.current, 0,
                            b"partial book" if p.policy == POLICY_NONE_FULL else b"snapshot")
        if x.n_pending and needs_rest(p):
            self._drain(x, p)

    cdef void _recall(
        self, const instrument_t* x, const pending_t* d, update_t* out
    ) noexcept nogil:
        """A message that waited, as it came."""
        out.first = d.first
        out.current = d.current
        out.previous = <int64_t>d.previous
        out.has_previous = d.has_previous
        out.has_current = d.has_current
        out.snapshot = d.snapshot
        out.has_checksum = d.has_checksum
        out.checksum = d.checksum
        out.keys = &x.key_buffer[d.start] if d.has_keys else NULL
        out.channel = x.book_channel
        out.topic = x.book_topic
        out.stamp.ts_event = d.ts_event
        out.stamp.ts_recv = d.ts_recv
        out.stamp.sequence = d.sequence
        out.stamp.line = <unsigned short>d.line
        out.stamp.flags = d.flags
        out.bids = &x.buffer[d.start]
        out.asks = &x.buffer[d.start + d.n_bid]
        out.n_bid = d.n_bid
        out.n_ask = d.n_ask

    cdef void _drain(self, instrument_t* x, const program_t* p) noexcept nogil:
        """Apply what waits by number, as far as one follows the other."""
        cdef uint32_t i = 0
        cdef update_t u
        cdef int next
        while i < x.n_pending:
            self._recall(x, &x.pending[i], &u)
            if u.snapshot:
                if u.current > x.last:
                    break
                next = NEXT_OLD
            elif x.joined:
                next = next_of(p, x.last, not x.fresh, &u)
            elif contained(p, u.current, x.last):
                next = NEXT_OLD
            else:
                next = NEXT_APPLY if joins(p, u.first, u.previous, x.last) else NEXT_GAP
            if next == NEXT_GAP:
                break
            i += 1
            if next == NEXT_OLD:
                self.c[FEEDD_C_old_deltas] += 1
                continue
            x.joined = 1
            if not self._apply(x, p, &u, False):
                return      # the book was given up, and with it what waited
        pending_shift(x, i)
        if x.n_pending:
            self._hole(x, p)

    cdef void _hole(self, instrument_t* x, const program_t* p) noexcept nogil:
        """What waits does not follow the book: something between is missing."""
        cdef update_t u
        self._recall(x, &x.pending[0], &u)
        self.lost(x, p, &u.stamp, expected_of(p, x.last), got_of(p, &u), b"sequence", True)

    # ---- levels --------------------------------------------------------------------------------

    cdef bint _apply(
        self, instrument_t* x, const program_t* p, const update_t* u, bint snapshot
    ) noexcept nogil:
        """Bring the levels of a message into the book and publish them. False: the book left."""
        cdef update_t resolved, cut
        cdef const update_t* m = u
        cdef uint8_t inexact = 0
        cdef int status
        if p.policy == POLICY_KEYED_ROWS:
            status = rows_resolve(x.rows, &self.rows_scratch, u, snapshot, &resolved)
            if status == ROWS_UNKNOWN_ID:
                if self._reject(x):
                    return False
                self.lost(x, p, &u.stamp, FEEDD_NO_SEQUENCE, FEEDD_NO_SEQUENCE,
                          b"change of an unknown id", True)
                return False
            if status != ROWS_OK:
                self._overflow(x, p, u, FB_MEMORY)
                return False
            m = &resolved
        if snapshot and p.n_depths:
            x.cut = _depth(x, p, m)
        if x.rule != NULL and not self._verify(x, p, m, snapshot):
            return False
        status = _set_levels(x.book, m, snapshot, &inexact)
        if status == FB_PRICE and snapshot:
            # the decimals of prices that are gone may be what leaves no room
            x.book.decimals = 0
            status = _set_levels(x.book, m, snapshot, &inexact)
        if snapshot and status == FB_OK and not (
                fb_fit(&x.book.side[0]) and fb_fit(&x.book.side[1])):
            status = FB_MEMORY
        if x.cut and status == FB_OK and (
                x.book.side[0].levels > x.cut or x.book.side[1].levels > x.cut):
            if book_cut(x.book, &self.cut_scratch, m, x.cut, &cut):
                m = &cut
            else:
                status = FB_MEMORY
        x.last = u.current
        x.rewinds = 0
        if not snapshot:
            x.fresh = 0
        if u.stamp.ts_event:
            x.last_ts_event = u.stamp.ts_event
        if x.book.decimals > x.price_decimals:
            x.price_decimals = <uint8_t>x.book.decimals
        if status != FB_OK:
            self._overflow(x, p, u, status)
            return False
        if x.state != FEEDD_BOOK_LIVE and x.up:
            self._revive(x, &u.stamp)
        self.out.book_event(
            x, &u.stamp, m.bids, m.n_bid, m.asks, m.n_ask, snapshot, inexact)
        self.out.book_shared(x, &u.stamp)
        if snapshot:
            self.out.deep(x)
        if p.policy in (POLICY_TRUST, POLICY_KEYED_ROWS) and _is_crossed(x.book):
            self.lost(x, p, &u.stamp, FEEDD_NO_SEQUENCE, FEEDD_NO_SEQUENCE, b"crossed book", True)
            return False
        return True

    cdef void _revive(self, instrument_t* x, const stamp_t* s) noexcept nogil:
        """A book that was only stale, or of a checksum rule that was given up, is good again."""
        cdef uint8_t previous = x.state
        if previous == FEEDD_BOOK_STALE or (
                previous == FEEDD_BOOK_CHECKSUM and x.rule != NULL and not x.rule.given_up):
            self.out.set_state(x, s, FEEDD_BOOK_LIVE)
            self.out.status(
                x, s, EVENT_LIVE, previous, x.last, 0,
                b"data again" if previous == FEEDD_BOOK_STALE else b"checksums match again")

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
        self.lost(x, p, &u.stamp, u.current, u.current, why, False)

    cdef void checksum(
        self, instrument_t* x, const program_t* p, int64_t value, const stamp_t* s
    ) noexcept nogil:
        if x.up and x.rule != NULL and x.texts_valid and self._compare(x, p, value, s):
            if x.state != FEEDD_BOOK_LIVE:
                self._revive(x, s)


cdef void pending_of(const update_t* u, uint64_t content, pending_t* out) noexcept nogil:
    out.first = u.first
    out.current = u.current
    out.previous = <uint64_t>u.previous
    out.sequence = u.stamp.sequence
    out.content = content
    out.checksum = u.checksum
    out.ts_event = u.stamp.ts_event
    out.ts_recv = u.stamp.ts_recv
    out.start = out.lost = out.lost_before = 0
    out.sum = out.number = 0
    out.n_bid = u.n_bid
    out.n_ask = u.n_ask
    out.line = u.stamp.line
    out.flags = u.stamp.flags
    out.has_previous = u.has_previous
    out.has_current = u.has_current
    out.has_checksum = u.has_checksum
    out.has_keys = 0
    out.snapshot = u.snapshot


cdef uint32_t _depth(
    const instrument_t* x, const program_t* p, const update_t* u
) noexcept nogil:
    """Levels a side that the venue keeps: as subscribed, else the least that holds the snapshot."""
    cdef uint32_t most = u.n_bid if u.n_bid > u.n_ask else u.n_ask
    cdef int i
    if x.subscribed_depth:
        return x.subscribed_depth
    for i in range(p.n_depths):
        if p.depths[i] >= most:
            return p.depths[i]
    return p.depths[p.n_depths - 1]


cdef inline bint _is_crossed(const fb_book* b) noexcept nogil:
    """Keys of bids are negated prices."""
    return b.side[0].levels and b.side[1].levels and -b.side[0].best >= b.side[1].best


cdef int _set_levels(
    fb_book* b, const update_t* u, bint snapshot, uint8_t* inexact
) noexcept nogil:
    """FB_OK, or why not."""
    cdef int status = FB_OK
    if snapshot:
        fb_book_clear(b)
    inexact[0] = 0
    if u.n_bid:
        status = fb_apply(b, 0, u.bids, u.n_bid, inexact)
    if status == FB_OK and u.n_ask:
        status = fb_apply(b, 1, u.asks, u.n_ask, inexact)
    return status
