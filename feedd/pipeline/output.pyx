"""Where records go: the ring, the board row and the shared book of their instrument.

One writer: an ``Output`` belongs to the thread that runs the pipeline. Records are staged here and
become visible with the pipeline's commit; board rows and books are written at once, each under its
seqlock, and name the ring sequence that they include, so that a consumer joins them to the ring.
"""

from libc.math cimport NAN
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset, strlen

from feedd.book.book cimport (
    fb_best, fb_book, fb_pair, fb_top, fb_top_update,
)
from feedd.decode.engine cimport fd_level
from feedd.pipeline.instrument cimport instrument_t
from feedd.shm.feedd cimport (
    FEEDD_AT_HISTOGRAMS, FEEDD_BOOK, FEEDD_BOOK_CONTROL, FEEDD_BOOK_LEVELS_PER_SLOT,
    FEEDD_BOOK_LIVE, FEEDD_HISTOGRAMS, FEEDD_HISTOGRAM_BUCKETS, FEEDD_INEXACT, FEEDD_LAST,
    FEEDD_NO_INSTRUMENT, FEEDD_REASON_SNAPSHOT_BEGIN, FEEDD_REASON_SNAPSHOT_END, FEEDD_SNAPSHOT,
    FEEDD_STATUS, feedd_board_identity, feedd_board_row, feedd_book, feedd_book_deep_asks,
    feedd_book_deep_bids, feedd_book_identity, feedd_bucket, feedd_commit, feedd_copy_in,
    feedd_pack32, feedd_put, feedd_record, feedd_seq_begin, feedd_seq_end,
    feedd_store_f64, feedd_store_i64, feedd_store_u64, feedd_writer,
)


cdef extern from "deep.h" nogil:
    uint32_t fb_share_deep(const fb_book* b, int side, void* to, uint32_t depth)

cdef extern from "slots.h" nogil:
    void fb_share_top(const fb_top* t, uint32_t start, uint32_t end, void* shared)
    uint32_t fb_put_levels(
        feedd_writer* w, uint64_t kind, int64_t ts_event, int64_t ts_recv, uint64_t sequence,
        uint16_t line, uint8_t last, const fd_level* bids, uint32_t n_bid, const fd_level* asks,
        uint32_t n_ask)

cdef extern from "feedd/counters.h" nogil:
    enum:
        FEEDD_C_records
        FEEDD_C_events
        FEEDD_C_book_deltas
        FEEDD_C_book_snapshots
        FEEDD_C_statuses
        FEEDD_C_inexact
        FEEDD_C_deep_refreshes
        FEEDD_C_books_live
        FEEDD_C_books_total

cdef enum:
    DERIV_FIELDS = 8     # words from ``mark`` on, one bit of ``deriv_mask`` each
    LIQUIDATION_BYTES = 32


cdef class Output:
    def __init__(self, RingWriter ring, BoardWriter board, BooksWriter books,
                 CountersWriter counters, int reader):
        cdef unsigned char[::1] own
        self.ring = ring
        self.board = board
        self.books = books
        self.counters = counters
        self.w = &ring.w
        self.event_at = self.w.next
        if counters is not None:
            self.c = counters.block(reader)
        else:
            self._own_counters = bytearray(
                8 * (FEEDD_AT_HISTOGRAMS + FEEDD_HISTOGRAMS * FEEDD_HISTOGRAM_BUCKETS))
            own = self._own_counters
            self.c = <uint64_t*>&own[0]
        self.histograms = self.c + FEEDD_AT_HISTOGRAMS

    cdef feedd_board_row* row(self, const instrument_t* x) noexcept nogil:
        return row_of(self, x)

    cdef void observe(self, int stage, int64_t ns) noexcept nogil:
        self.histograms[stage * FEEDD_HISTOGRAM_BUCKETS + feedd_bucket(ns if ns > 0 else 0)] += 1

    cdef void header(
        self, feedd_record* r, uint8_t kind, const instrument_t* x, const stamp_t* s
    ) noexcept nogil:
        memset(r, 0, sizeof(feedd_record))
        r.kind = kind
        r.flags = s.flags
        r.instrument = x.id if x != NULL else FEEDD_NO_INSTRUMENT
        r.ts_event = s.ts_event
        r.ts_recv = s.ts_recv
        r.sequence = s.sequence
        r.line = s.line
        if x != NULL:
            r.flags |= doubt_of(x)
        self.c[FEEDD_C_records] += 1

    cdef void status(
        self, instrument_t* x, const stamp_t* s, int32_t code, uint8_t previous, uint64_t arg0,
        uint64_t arg1, const char* text
    ) noexcept nogil:
        cdef feedd_record r
        cdef size_t n = strlen(text)
        self.header(&r, FEEDD_STATUS, x, s)
        r.flags |= FEEDD_LAST
        r.p.status.scope = SCOPE_INSTRUMENT if x != NULL else SCOPE_CONNECTION
        r.p.status.state = x.state if x != NULL else 0
        r.p.status.previous = previous
        r.p.status.code = code
        r.p.status.since = x.since if x != NULL else s.ts_recv
        r.p.status.last_data = x.last_data if x != NULL else 0
        r.p.status.arg0 = <int64_t>arg0
        r.p.status.arg1 = <int64_t>arg1
        memcpy(r.p.status.text, text, n if n < sizeof(r.p.status.text) else 40)
        feedd_put(self.w, &r)
        self.c[FEEDD_C_statuses] += 1
        self.c[FEEDD_C_events] += 1

    cdef void control(
        self, instrument_t* x, const stamp_t* s, uint32_t reason, uint64_t expected, uint64_t got
    ) noexcept nogil:
        cdef feedd_record r
        self.header(&r, FEEDD_BOOK_CONTROL, x, s)
        # the brackets of a snapshot belong to its event, a lone control record is one
        if reason != FEEDD_REASON_SNAPSHOT_BEGIN:
            r.flags |= FEEDD_LAST
        r.p.control.reason = reason
        r.p.control.depth = x.depth
        r.p.control.expected = expected
        r.p.control.got = got
        feedd_put(self.w, &r)

    cdef void set_state(self, instrument_t* x, const stamp_t* s, uint8_t state) noexcept nogil:
        cdef feedd_board_row* row = self.row(x)
        cdef feedd_book* book
        cdef uint64_t odd
        if x.state == FEEDD_BOOK_LIVE:
            self.c[FEEDD_C_books_live] -= 1
        if state == FEEDD_BOOK_LIVE:
            self.c[FEEDD_C_books_live] += 1
        x.state = state
        x.since = s.ts_recv
        if row != NULL:
            odd = feedd_seq_begin(&row.lock)
            feedd_board_identity(row, x.id, state, x.price_decimals, x.size_decimals)
            feedd_store_i64(&row.ts_state, s.ts_recv)
            feedd_store_u64(&row.gaps, x.gaps)
            feedd_store_u64(&row.resyncs, x.resyncs)
            feedd_seq_end(&row.lock, odd)
        if self.books is not None and x.row >= 0:
            book = self.books.block(<uint32_t>x.row)
            if book != NULL:
                odd = feedd_seq_begin(&book.lock)
                feedd_book_identity(book, x.id, state, x.book != NULL and (
                    x.book.side[0].levels > x.depth or x.book.side[1].levels > x.depth))
                feedd_seq_end(&book.lock, odd)

    # ---- book events ---------------------------------------------------------------------------

    cdef void book_event(
        self, instrument_t* x, const stamp_t* s, const fd_level* bids, uint32_t n_bid,
        const fd_level* asks, uint32_t n_ask, bint snapshot, bint inexact
    ) noexcept nogil:
        """The slots of one book event; the last carries LAST. An event that fits a commit is
        published in one; a longer one is bracketed by BOOK_CONTROL records. A change without levels
        has none."""
        cdef uint8_t flags = s.flags | doubt_of(x)
        cdef uint32_t total = n_bid + n_ask
        cdef uint32_t slots = (total + FEEDD_BOOK_LEVELS_PER_SLOT - 1) // FEEDD_BOOK_LEVELS_PER_SLOT
        cdef bint bracketed
        self.event_at = self.w.next
        if slots == 0:
            if not snapshot:
                return
            slots = 1
        bracketed = slots > self.w.batch_max
        if self.w.next - self.w.committed + slots > self.w.batch_max:
            feedd_commit(self.w)
        if bracketed:
            self.control(x, s, FEEDD_REASON_SNAPSHOT_BEGIN, s.sequence, total)
        if snapshot:
            flags |= FEEDD_SNAPSHOT
        if inexact:
            flags |= FEEDD_INEXACT
            self.c[FEEDD_C_inexact] += 1
        self.c[FEEDD_C_records] += fb_put_levels(
            self.w, <uint64_t>x.id << 32 | <uint64_t>flags << 8 | FEEDD_BOOK, s.ts_event,
            s.ts_recv, s.sequence, s.line, 0 if bracketed else FEEDD_LAST, bids, n_bid, asks,
            n_ask)
        if bracketed:
            self.control(x, s, FEEDD_REASON_SNAPSHOT_END, s.sequence, total)
        self.c[FEEDD_C_events] += 1
        if snapshot:
            self.c[FEEDD_C_book_snapshots] += 1
        else:
            self.c[FEEDD_C_book_deltas] += 1

    cdef void book_shared(self, instrument_t* x, const stamp_t* s) noexcept nogil:
        """Bring the shared book's head and top tier, and the board row, to the private book."""
        cdef feedd_board_row* row = self.row(x)
        cdef feedd_book* book = NULL
        cdef fb_book* own = x.book
        cdef fb_pair best[2]
        cdef int64_t key
        cdef uint32_t start[2]
        cdef uint32_t end[2]
        cdef uint64_t odd
        cdef uint64_t pos = self.w.next - 1
        cdef uint64_t levels = feedd_pack32(own.side[0].levels, own.side[1].levels)
        cdef int side
        x.ring_pos = pos
        x.book_ts_event = s.ts_event
        x.book_ts_recv = s.ts_recv
        x.updates += 1
        if self.books is not None and x.row >= 0:
            book = self.books.block(<uint32_t>x.row)
        if not x.deep_dirty:
            self._deep_behind(x, book)
        best[0].price = best[0].size = best[1].price = best[1].size = NAN
        if book == NULL:
            for side in range(2):
                own.top[side].valid = 0
                fb_best(own, side, &key, &best[side], 1)
        else:
            fb_top_update(own, 0, &start[0], &end[0])
            fb_top_update(own, 1, &start[1], &end[1])
            for side in range(2):
                if own.top[side].n:
                    best[side] = own.top[side].pair[own.top[side].order[0]]
            odd = feedd_seq_begin(&book.lock)
            feedd_store_u64(&book.ring_pos, pos)
            feedd_book_identity(
                book, x.id, x.state,
                own.side[0].levels > x.depth or own.side[1].levels > x.depth)
            feedd_store_u64(<uint64_t*>&book.levels_total_bid, levels)
            feedd_store_u64(
                <uint64_t*>&book.n_bid, feedd_pack32(own.top[0].n, own.top[1].n))
            feedd_store_u64(&book.sequence, s.sequence)
            feedd_store_i64(&book.ts_event, s.ts_event)
            feedd_store_i64(&book.ts_recv, s.ts_recv)
            fb_share_top(&own.top[0], start[0], end[0], book.top_bid)
            fb_share_top(&own.top[1], start[1], end[1], book.top_ask)
            feedd_seq_end(&book.lock, odd)
        if row != NULL:
            odd = feedd_seq_begin(&row.lock)
            feedd_store_u64(&row.ring_pos, pos)
            feedd_board_identity(row, x.id, x.state, x.price_decimals, x.size_decimals)
            feedd_store_u64(&row.updates, x.updates)
            feedd_store_i64(&row.last_data, s.ts_recv)
            feedd_store_f64(&row.book_bid_price, best[0].price)
            feedd_store_f64(&row.book_bid_size, best[0].size)
            feedd_store_f64(&row.book_ask_price, best[1].price)
            feedd_store_f64(&row.book_ask_size, best[1].size)
            feedd_store_i64(&row.book_ts_event, s.ts_event)
            feedd_store_i64(&row.book_ts_recv, s.ts_recv)
            feedd_store_u64(&row.book_sequence, s.sequence)
            feedd_store_u64(<uint64_t*>&row.bid_levels, levels)
            feedd_seq_end(&row.lock, odd)

    cdef void _deep_behind(self, instrument_t* x, feedd_book* book) noexcept nogil:
        """An event has changed what the deep tier shows. After a quiet hour the ring does not reach
        back to where that was written; but it was exact up to the record before the event, and is
        said to be."""
        cdef uint64_t odd
        x.deep_dirty = 1
        if self.event_at - 1 <= x.deep_pos + (self.w.mask >> 2):
            return
        x.deep_pos = self.event_at - 1
        if book != NULL:
            odd = feedd_seq_begin(&book.deep_lock)
            feedd_store_u64(&book.deep_ring_pos, x.deep_pos)
            feedd_seq_end(&book.deep_lock, odd)

    cdef void deep(self, instrument_t* x) noexcept nogil:
        """Write the deep tier of the shared book: every level up to its depth, best first."""
        cdef feedd_book* book
        cdef uint32_t n[2]
        cdef uint64_t odd
        x.deep_dirty = 0
        x.deep_pos = x.ring_pos
        if self.books is None or x.row < 0 or x.book == NULL:
            return
        book = self.books.block(<uint32_t>x.row)
        if book == NULL:
            return
        self.c[FEEDD_C_deep_refreshes] += 1
        odd = feedd_seq_begin(&book.deep_lock)
        n[0] = fb_share_deep(x.book, 0, feedd_book_deep_bids(book), x.depth)
        n[1] = fb_share_deep(x.book, 1, feedd_book_deep_asks(book, x.depth), x.depth)
        feedd_store_u64(&book.deep_ring_pos, x.ring_pos)
        feedd_store_u64(<uint64_t*>&book.deep_n_bid, feedd_pack32(n[0], n[1]))
        feedd_store_u64(&book.deep_sequence, x.last)
        feedd_store_i64(&book.deep_ts_event, x.book_ts_event)
        feedd_store_i64(&book.deep_ts_recv, x.book_ts_recv)
        feedd_seq_end(&book.deep_lock, odd)

    # ---- another place to publish --------------------------------------------------------------

    cdef move(
        self, RingWriter ring, BoardWriter board, BooksWriter books, CountersWriter counters,
        int reader
    ):
        """Publish there from now on. Counts go on from what is there, gauges are ours."""
        cdef uint64_t* c = counters.block(reader)
        if c == NULL:
            raise ValueError(f"there are no counters of reader {reader}")
        c[FEEDD_C_books_live] = self.c[FEEDD_C_books_live]
        c[FEEDD_C_books_total] = self.c[FEEDD_C_books_total]
        self.ring, self.board, self.books, self.counters = ring, board, books, counters
        self.w = &ring.w
        self.c = c
        self.histograms = c + FEEDD_AT_HISTOGRAMS
        self.refreshed_at = self.event_at = self.w.next

    cdef void carry_on(
        self, instrument_t* x, BoardWriter board, BooksWriter books
    ) noexcept nogil:
        """Show the row and the book of ``x`` that were in ``board`` and ``books`` until now,
        as of the newest record of the ring. What another writer left there of values that we have
        not heard yet stays, its counts go on."""
        cdef feedd_board_row* row = self.row(x)
        cdef feedd_board_row mine
        cdef feedd_book* book
        cdef const feedd_book* own
        cdef uint64_t odd
        x.ring_pos = self.w.next - 1
        if row != NULL and board is not None and <uint32_t>x.row < board.n_rows:
            mine = board.rows[x.row]
            mine.ring_pos = x.ring_pos
            if row.instrument == mine.instrument:
                _keep(&mine, row)
                x.updates, x.gaps, x.resyncs = mine.updates, mine.gaps, mine.resyncs
            odd = feedd_seq_begin(&row.lock)
            feedd_copy_in(&row.ring_pos, &mine.ring_pos, sizeof(mine) - sizeof(mine.lock))
            feedd_seq_end(&row.lock, odd)
        if self.books is None or books is None or x.row < 0:
            return
        book, own = self.books.block(<uint32_t>x.row), books.block(<uint32_t>x.row)
        if book == NULL or own == NULL:
            return
        odd = feedd_seq_begin(&book.lock)
        feedd_store_u64(&book.ring_pos, x.ring_pos)
        feedd_copy_in(&book.instrument, &own.instrument, BOOK_HEAD_BYTES - 16)
        feedd_seq_end(&book.lock, odd)
        self.deep(x)


cdef enum:
    BOOK_HEAD_BYTES = 0x480      # of a book block: all that ``lock`` guards


cdef void _keep(feedd_board_row* mine, const feedd_board_row* old) noexcept nogil:
    """Values of ``old`` that ``mine`` cannot have, and its counts: what we published until now went
    to nobody."""
    cdef int i
    mine.updates, mine.gaps, mine.resyncs = old.updates, old.gaps, old.resyncs
    if not mine.quote_ts_recv:
        memcpy(&mine.bid_price, &old.bid_price, <char*>&mine.trade_price - <char*>&mine.bid_price)
    if not mine.trade_ts_recv:
        memcpy(&mine.trade_price, &old.trade_price, <char*>&mine.mark - <char*>&mine.trade_price)
    for i in range(DERIV_FIELDS):
        if old.deriv_mask & ~mine.deriv_mask & (1 << i):
            memcpy(&mine.mark + i, &old.mark + i, 8)
    mine.deriv_mask |= old.deriv_mask
    if not mine.deriv_ts_recv:
        mine.deriv_ts_event, mine.deriv_ts_recv = old.deriv_ts_event, old.deriv_ts_recv
    if not mine.greeks_ts_recv:
        memcpy(&mine.delta, &old.delta, <char*>&mine.book_bid_price - <char*>&mine.delta)
    if not mine.liq_ts_event:
        memcpy(&mine.liq_price, &old.liq_price, LIQUIDATION_BYTES)
    if mine.last_data < old.last_data:
        mine.last_data = old.last_data
