"""Messages in, records out: the one path that the live reader and ``feedd decode`` share.

The hot path is ``feedd.pipeline.message``; here is what surrounds it: REST snapshots, connections
that end, requests to the outside, views for tools and tests.
"""

from collections import namedtuple

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset

from feedd.book.book cimport fb_book_free, fb_iter, fb_iterate, fb_price
from feedd.decode.engine cimport FD_OK, fd_copy
from feedd.decode.native cimport decode_as
from feedd.decode.plan cimport program_t
from feedd.pipeline.books cimport JOIN_NOW, JOIN_TOO_OLD
from feedd.pipeline.instrument cimport (
    SEEN_CHANNELS, instrument_t, pending_clear, said_t, table_find, table_t,
)
from feedd.pipeline.lanes cimport lanes_free
from feedd.pipeline.alarms cimport RESULT_BAD, RESULT_CONTROL, RESULT_DATA, RESULT_IGNORED
from feedd.pipeline.message cimport Messages, venue_t
from feedd.pipeline.numbered cimport LINE_ROWS
from feedd.pipeline.output cimport EVENT_STALE, stamp_t
from feedd.pipeline.policies cimport needs_rest
from feedd.pipeline.publish cimport wall_ns
from feedd.pipeline.recent cimport recent_line_gone
from feedd.pipeline.requests cimport (
    REQUEST_REALIGN, REQUEST_RECONNECT, REQUEST_RESUBSCRIBE, REQUEST_SNAPSHOT, REQUEST_UNKNOWN,
)
from feedd.pipeline.rows cimport row_convert, row_t
from feedd.shm.board cimport BoardWriter
from feedd.shm.books cimport BooksWriter
from feedd.shm.counters cimport CountersWriter
from feedd.shm.feedd cimport (
    FEEDD_BOOK_INIT, FEEDD_BOOK_LIVE, FEEDD_BOOK_STALE, FEEDD_CONNECTIONS, FEEDD_NO_INSTRUMENT,
    FEEDD_NO_SEQUENCE, FEEDD_REASON_CLEAR, feedd_board_reset, feedd_book, feedd_book_reset,
)
from feedd.shm.ring cimport RingWriter


cdef extern from "feedd/counters.h" nogil:
    enum:
        FEEDD_C_books_total
        FEEDD_C_snapshots_unusable
        FEEDD_C_stale_books

from feedd.pipeline.alarms import Alarm, BadFrame
from feedd.shm.counters import COUNTERS

__all__ = ["BAD", "CONTROL", "DATA", "IGNORED", "Alarm", "BadFrame", "Pipeline", "Request", "Said"]

DATA = RESULT_DATA
CONTROL = RESULT_CONTROL
IGNORED = RESULT_IGNORED
BAD = RESULT_BAD

Said = namedtuple("Said", "venue symbol status word facts_changed")
Request = namedtuple("Request", "kind venue symbol channel line", defaults=(-1,))

cdef tuple JOIN_NAMES = ("wait", "joined", "too_old", "not_needed")
cdef dict REQUEST_NAMES = {
    REQUEST_SNAPSHOT: "snapshot", REQUEST_RESUBSCRIBE: "resubscribe", REQUEST_UNKNOWN: "unknown",
    REQUEST_RECONNECT: "reconnect", REQUEST_REALIGN: "realign",
}


cdef class Pipeline(Messages):
    # ---- REST snapshots ------------------------------------------------------------------------

    cdef instrument_t* _find(self, int venue, str symbol) except NULL:
        cdef bytes raw = symbol.encode()
        cdef instrument_t* x = table_find(
            self._table(venue), <const uint8_t*><const char*>raw, len(raw))
        if x == NULL:
            raise KeyError(symbol)
        return x

    def join_state(self, int venue, str symbol, uint64_t snapshot_id, bint at_hand):
        cdef instrument_t* x = self._find(venue, symbol)
        cdef const program_t* p = self._book_program(x)
        if p == NULL:
            return "wait"
        return JOIN_NAMES[self.books.join(x, p, snapshot_id, at_hand)]

    def on_rest_snapshot(self, int venue, str symbol, bytes body not None, int64_t ts_recv,
                         bint at_hand=True):
        cdef instrument_t* x = self._find(venue, symbol)
        cdef const program_t* p = self._book_program(x)
        cdef const venue_t* v = &self.venues[x.venue]
        cdef const uint8_t* copy
        cdef row_t r
        cdef int answer
        if p == NULL or p.rest_channel < 0:
            return "not_needed"
        self.m.plan = v.plan
        copy = fd_copy(&self.m, <const uint8_t*><const char*>body, len(body))
        if copy == NULL:
            raise MemoryError
        memset(&r, 0, sizeof(r))
        if (decode_as(&self.m, copy, len(body), p.rest_channel) != FD_OK
                or row_convert(&self.m, 0, &v.programs[p.rest_channel], &r) != NULL):
            self.c[FEEDD_C_snapshots_unusable] += 1
            return "bad"
        answer = self.books.join(x, p, r.book.current, at_hand)
        if answer == JOIN_TOO_OLD:
            self.c[FEEDD_C_snapshots_unusable] += 1
        if answer == JOIN_NOW:
            r.book.stamp.ts_event = r.ts_event
            r.book.stamp.ts_recv = ts_recv
            r.book.stamp.sequence = r.book.current
            r.book.stamp.line = x.line
            r.book.stamp.flags = 0
            self.books.snapshot(x, p, &r.book)
        return JOIN_NAMES[answer]

    def request_again(self, int venue, str symbol):
        cdef instrument_t* x = self._find(venue, symbol)
        if not x.up and x.book_channel >= 0 and not x.quarantined_until:
            x.wanted = 1
            self.books.ask(x, REQUEST_SNAPSHOT, x.book_channel, -1)

    def resync(self, int venue, str symbol, int64_t ts_recv, str reason="operator"):
        cdef instrument_t* x = self._find(venue, symbol)
        cdef const program_t* p
        cdef stamp_t s
        cdef bytes why = reason.encode()
        if x.book_channel < 0:
            return False
        p = self._book_program(x)
        memset(&s, 0, sizeof(s))
        s.ts_recv = ts_recv
        s.line = x.line
        s.sequence = x.last
        x.quarantined_until = 0      # whoever asks by hand does not want to wait
        # a REST book asks for its snapshot at the next delta, which it must have buffered first
        self.books.lost(x, p, &s, x.last, x.last, why, not needs_rest(p))
        return True

    # ---- where it publishes --------------------------------------------------------------------

    def take_over(self, RingWriter ring not None, BoardWriter board, BooksWriter books,
                  CountersWriter counters not None, int reader=0):
        cdef BoardWriter old_board = self.out.board
        cdef BooksWriter old_books = self.out.books
        cdef int v
        cdef uint32_t i
        self.publish(wall_ns())
        self.out.move(ring, board, books, counters, reader)
        self.c = self.books.c = self.out.c
        for v in range(self.n_venues):
            for i in range(self.venues[v].table.n):
                self.out.carry_on(self.venues[v].table.items[i], old_board, old_books)

    # ---- connections and requests --------------------------------------------------------------

    def line_down(self, int venue, int line, int64_t ts_recv, str reason="connection"):
        cdef bytes why = reason.encode()
        self._table(venue)        # raises for a handle that is none
        return self._line_down(venue, line, ts_recv, why)

    def drop_instrument(self, int venue, str symbol, int64_t ts_recv):
        cdef bytes raw = symbol.encode()
        cdef instrument_t* x = table_find(
            self._table(venue), <const uint8_t*><const char*>raw, len(raw))
        cdef feedd_book* shared
        cdef stamp_t s
        if x == NULL:
            return
        if x.book_channel >= 0:
            memset(&s, 0, sizeof(s))
            s.ts_recv = ts_recv
            s.sequence = FEEDD_NO_SEQUENCE
            self.out.set_state(x, &s, FEEDD_BOOK_INIT)
            self.out.control(x, &s, FEEDD_REASON_CLEAR, 0, 0)      # for those who fold
            x.book_channel = -1
            x.up = x.has_chain = x.wanted = 0
            x.hold_since = x.quarantined_until = 0
            x.line = -1
            lanes_free(x.lanes)
            x.lanes = NULL
            pending_clear(x)
        if x.book != NULL:
            fb_book_free(x.book)
            free(x.book)
            x.book = NULL
            self.c[FEEDD_C_books_total] -= 1
        if self.out.row(x) != NULL:
            feedd_board_reset(self.out.row(x), FEEDD_NO_INSTRUMENT)
        if self.out.books is not None and x.row >= 0:
            shared = self.out.books.block(<uint32_t>x.row)
            if shared != NULL:
                feedd_book_reset(
                    shared, FEEDD_NO_INSTRUMENT, self.out.books.depth(<uint32_t>x.row))
        x.row = -1
        x.deep_dirty = 0

    def line_carries(self, int venue, int line, str symbol):
        cdef bytes raw = symbol.encode()
        cdef instrument_t* x = table_find(
            self._table(venue), <const uint8_t*><const char*>raw, len(raw))
        if x != NULL and x.book_channel >= 0:
            self.books.line_joins(x, line)

    def line_moved(self, int venue, int old, int new, int64_t ts_recv=0):
        cdef table_t* table = self._table(venue)
        cdef stamp_t s
        cdef uint32_t i
        cdef int n = 0
        memset(&s, 0, sizeof(s))
        s.ts_recv = ts_recv
        s.line = old
        for i in range(table.n):
            recent_line_gone(table.items[i].recent, old)
            if table.items[i].book_channel >= 0:
                n += self.books.line_moves(table.items[i], old, new, &s)
        return n

    def channel_numbers(self, int venue, names):
        self._table(venue)
        wanted = set(names)
        return tuple(
            i for i, name in enumerate(self._plans[venue].channels)
            if name in wanted and i < SEEN_CHANNELS
        )

    def seen_at(self, int venue, str symbol, tuple channels):
        cdef bytes raw = symbol.encode()
        cdef instrument_t* x = table_find(
            self._table(venue), <const uint8_t*><const char*>raw, len(raw))
        cdef int64_t latest = 0
        cdef int channel
        if x == NULL:
            return 0
        for channel in channels:
            if 0 <= channel < SEEN_CHANNELS and x.seen[channel] > latest:
                latest = x.seen[channel]
        return latest

    def carried(self, int venue, str symbol, int line):
        cdef bytes raw = symbol.encode()
        cdef instrument_t* x = table_find(
            self._table(venue), <const uint8_t*><const char*>raw, len(raw))
        return x != NULL and x.book_channel >= 0 and bool(self.books.line_feeds(x, line))

    def line_row(self, int line, int row):
        if not (0 <= line < LINE_ROWS and 0 <= row < FEEDD_CONNECTIONS):
            raise ValueError(f"line {line} cannot count in row {row}")
        self.books.line_rows[line] = row + 1

    def take_requests(self):
        cdef uint32_t i
        cdef instrument_t* x
        cdef list requests = []
        cdef set reconnects = set()
        for i in range(self.books.n_requests):
            x = self.books.requests[i].instrument
            plan = self._plans[x.venue]
            channel = plan.channels[self.books.requests[i].channel]
            request = Request(
                REQUEST_NAMES[self.books.requests[i].kind], x.venue,
                x.symbol[:x.symbol_n].decode(), channel, self.books.requests[i].line)
            if request.kind == "reconnect":      # once, whatever book it is for
                if (request.venue, request.line) in reconnects:
                    continue
                reconnects.add((request.venue, request.line))
            requests.append(request)
        self.books.n_requests = 0
        return requests

    def set_quarantine(self, uint32_t resyncs, double window_s):
        self.books.resyncs_max = resyncs
        self.books.window_ns = <int64_t>(window_s * 1e9)

    def mark_stale(self, int venue, str symbol, int64_t ts_recv, int64_t age_ns):
        cdef instrument_t* x = self._find(venue, symbol)
        cdef stamp_t s
        if x.state != FEEDD_BOOK_LIVE:
            return False
        memset(&s, 0, sizeof(s))
        s.ts_recv = ts_recv
        s.sequence = x.last
        s.line = <unsigned short>x.line
        self.c[FEEDD_C_stale_books] += 1
        # it keeps its place: the next message that follows makes it live again
        self.out.set_state(x, &s, FEEDD_BOOK_STALE)
        self.out.status(x, &s, EVENT_STALE, FEEDD_BOOK_LIVE, <uint64_t>age_ns, 0, b"no data")
        return True

    def set_agree(self, int venue, int64_t ns):
        self._table(venue)        # raises for a handle that is none
        if self.books.agree_ns[venue]:
            self.books.agree_ns[venue] = ns

    def take_alarms(self):
        alarms, self._alarms = self._alarms, []
        return alarms

    def take_states(self, uint32_t most=256):
        cdef table_t* table
        cdef said_t* said
        cdef uint32_t i
        cdef int v
        cdef list found = []
        if not self.untold:
            return found
        self.untold = False
        for v in range(self.n_venues):
            table = self.venues[v].table
            for i in range(table.n):
                said = table.items[i].said
                if said == NULL or not said.untold:
                    continue
                if <uint32_t>len(found) == most:
                    self.untold = True
                    return found
                found.append(Said(
                    v, table.items[i].symbol[:table.items[i].symbol_n].decode(), said.status,
                    said.word.decode("utf-8", "replace"), bool(said.facts_changed)))
                said.untold = said.facts_changed = 0
        return found

    def take_bad_frames(self):
        bad, self._bad = self._bad, []
        return bad

    # ---- views for tools and tests -------------------------------------------------------------

    def book_levels(self, int venue, str symbol):
        cdef instrument_t* x = self._find(venue, symbol)
        cdef fb_iter it
        cdef int64_t key
        cdef double size
        sides = ([], [])
        if x.book != NULL:
            for side in range(2):
                memset(&it, 0, sizeof(it))
                while fb_iterate(&x.book.side[side], &it, &key, &size):
                    sides[side].append((fb_price(x.book, key, side), size))
        return sides

    def book_state(self, int venue, str symbol):
        cdef instrument_t* x = self._find(venue, symbol)
        return x.state, x.last

    def symbols_with_books(self, int venue):
        cdef table_t* table = self._table(venue)
        cdef uint32_t i
        return [
            table.items[i].symbol[:table.items[i].symbol_n].decode()
            for i in range(table.n) if table.items[i].book_channel >= 0
        ]

    def quick_reads(self, int venue):
        self._table(venue)
        return self.venues[venue].plan.templates.layouts.quick

    def counters(self):
        cdef int i
        return {name: self.c[i] for i, name in enumerate(COUNTERS)}
