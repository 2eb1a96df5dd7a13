"""One message in, records out: the hot path of the pipeline.

A message is decoded and validated to its last byte, every row of it is converted, and only then do
sequence rules, books, ring and board see anything of it.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from feedd.decode.engine cimport (
    FD_BAD_JSON, FD_NO_CHANNEL, FD_NUM, FD_OK, FD_STR, fd_is_one_of,
    fd_msg_free, fd_routes_free, fd_routes_init, fd_text_u64, fd_val,
)
from feedd.decode.native cimport decode, decode_quickly
from feedd.decode.plan cimport (
    POLICY_KEYED_ROWS, SNAPSHOT_ROWS, YIELDS_BOOK, YIELDS_CHECKSUM, YIELDS_STATE, Plan, program_t,
)
from feedd.pipeline.alarms cimport RESULT_CONTROL, RESULT_DATA, RESULT_IGNORED, Alarms
from feedd.pipeline.connections cimport SEQUENCE_ANEW, SEQUENCE_GAP, SEQUENCE_OLD, Connections
from feedd.pipeline.convert cimport symbol_in, text_of
from feedd.pipeline.copies cimport drop_copies
from feedd.pipeline.drift cimport drift_due, drift_free, drift_new
from feedd.pipeline.gather cimport gather, gather_free
from feedd.pipeline.instrument cimport (
    SEEN_CHANNELS, instrument_t, table_add, table_find, table_free, table_new, table_t,
    trades_line_gone,
)
from feedd.pipeline.lines cimport Lines
from feedd.pipeline.output cimport Output, stamp_t
from feedd.pipeline.publish cimport SAMPLE_EVERY, VENUES_MAX, venue_t, wall_ns
from feedd.pipeline.quick cimport quick_learn, quick_publish
from feedd.pipeline.quickbook cimport quick_book, quick_book_learn
from feedd.pipeline.requests cimport REQUEST_UNKNOWN
from feedd.pipeline.recent cimport recent_line_gone
from feedd.pipeline.rows cimport is_bad_time, note_data, row_convert, row_publish, row_t
from feedd.pipeline.states cimport state_owed, state_said
from feedd.shm.board cimport BoardWriter
from feedd.shm.books cimport BooksWriter
from feedd.shm.counters cimport CountersWriter
from feedd.shm.feedd cimport (
    FEEDD_BAD_TS, FEEDD_NO_INSTRUMENT, FEEDD_NO_SEQUENCE, FEEDD_STAGE_BOOK, FEEDD_STAGE_DECODE,
    FEEDD_STAGE_VENUE, feedd_board_reset, feedd_book, feedd_book_reset,
)
from feedd.shm.ring cimport RingWriter


cdef extern from "feedd/counters.h" nogil:
    enum:
        FEEDD_C_frames
        FEEDD_C_bytes
        FEEDD_C_ignored_frames
        FEEDD_C_control_frames
        FEEDD_C_control_unread
        FEEDD_C_duplicates
        FEEDD_C_unknown_symbols
        FEEDD_C_unknown_symbol_events
        FEEDD_C_last_data_ns

from feedd import limits
from feedd.pipeline import control

cdef uint32_t SYMBOLS_MAX = limits.SYMBOLS_MAX
cdef int64_t AGREE_NS = limits.LINE_AGREE_MS * 1_000_000


cdef class Messages(Alarms):
    def __cinit__(self, *args, **kwargs):
        memset(&self.m, 0, sizeof(self.m))
        self.rows = NULL
        if not self._room(1):
            raise MemoryError
        self._plans = []
        self._bad = []
        self._alarms = []

    def __dealloc__(self):
        cdef int i
        for i in range(self.n_venues):
            table_free(self.venues[i].table)
            drift_free(self.venues[i].drift)
            fd_routes_free(&self.venues[i].routes)
        fd_msg_free(&self.m)
        gather_free(&self.gathered)
        free(self.rows)

    def __init__(self, RingWriter ring not None, BoardWriter board=None, BooksWriter books=None,
                 CountersWriter counters=None, int reader=0):
        self.out = Output(ring, board, books, counters, reader)
        self.books = Lines(self.out)
        self.connections = Connections()
        self.c = self.out.c

    # ---- set-up --------------------------------------------------------------------------------

    def add_venue(self, Plan plan not None):
        if self.n_venues == VENUES_MAX:
            raise ValueError(f"a pipeline holds at most {VENUES_MAX} venues")
        cdef venue_t* v = &self.venues[self.n_venues]
        v.table = table_new()
        if v.table == NULL:
            raise MemoryError
        try:
            v.drift = drift_new([len(paths) for paths in plan.slot_paths])
        except MemoryError:
            table_free(v.table)
            raise
        if not plan.has_connection_sequence and not fd_routes_init(&v.routes):
            table_free(v.table)
            drift_free(v.drift)
            raise MemoryError
        v.plan = &plan.plan
        v.programs = plan.programs
        self.books.programs[self.n_venues] = plan.programs
        v.future_ns_max = plan.future_ns_max
        for i in range(plan.plan.n_channels):
            if plan.programs[i].policy == POLICY_KEYED_ROWS:
                self.books.agree_ns[self.n_venues] = AGREE_NS
        v.upper_case = plan.upper_case
        v.counts = plan.has_connection_sequence
        v.first = plan.connection_first
        v.listens = plan.learn is not None or bool(plan.depth_rules)
        self._plans.append(plan)
        self.n_venues += 1
        return self.n_venues - 1

    def add_instrument(self, int venue, str symbol, uint32_t instrument_id, int row=-1,
                       uint32_t depth=1024):
        cdef bytes raw = symbol.encode()
        cdef table_t* table = self._table(venue)
        cdef instrument_t* x = table_find(table, <const uint8_t*><const char*>raw, len(raw))
        if x == NULL:
            x = table_add(table, <const uint8_t*><const char*>raw, len(raw), venue)
        if x == NULL:
            raise MemoryError
        self._name(x, instrument_id, row, depth)

    cdef _name(self, instrument_t* x, uint32_t instrument_id, int row, uint32_t depth):
        """Give an instrument its id and its rows, fresh ones: a predecessor's values are old."""
        cdef feedd_book* book
        x.id = instrument_id
        x.depth = depth
        state_owed(self.out, x)
        if row < 0:
            return
        x.row = row
        if x.book != NULL:      # another shared copy: all of it is old
            x.book.top[0].valid = x.book.top[1].valid = 0
        if self.out.row(x) != NULL:
            feedd_board_reset(self.out.row(x), instrument_id)
        if self.out.books is not None:
            book = self.out.books.block(<uint32_t>row)
            if book != NULL:
                x.depth = self.out.books.depth(<uint32_t>row)
                feedd_book_reset(book, instrument_id, x.depth)

    def on_unknown(self, callback):
        self._on_unknown = callback
        self.names_all = callback is not None

    # ---- messages ------------------------------------------------------------------------------

    def on_message(self, int venue, bytes data not None, int64_t ts_recv, int line=0):
        if not 0 <= venue < self.n_venues:
            raise ValueError(f"no venue {venue}")
        return self.process(venue, <const uint8_t*><const char*>data, len(data), ts_recv, line)

    def feed_many(self, int venue, list messages, int64_t ts_recv):
        cdef int n = 0
        cdef bytes data
        if not 0 <= venue < self.n_venues:
            raise ValueError(f"no venue {venue}")
        for data in messages:
            n += self.process(
                venue, <const uint8_t*><const char*>data, len(data), ts_recv, 0) == RESULT_DATA
            self.publish(ts_recv)
        return n

    cdef int process(
        self, int venue, const uint8_t* p, size_t n, int64_t ts_recv, int line
    ) noexcept nogil:
        cdef const venue_t* v = &self.venues[venue]
        cdef uint64_t* c = self.c
        cdef int status, result
        cdef int64_t started = wall_ns() if self.sampled % SAMPLE_EVERY == 0 else 0
        cdef int64_t decoded
        self.sampled += 1
        if self.books.n_holding:
            self.books.expire(ts_recv)
        self.m.plan = v.plan
        self.m.line = line
        self.m.learned = self.connections.learned
        self.m.learned_mask = self.connections.learned_mask
        self.m.routes = &v.routes if v.routes.route != NULL else NULL
        self.last_recv = ts_recv
        c[FEEDD_C_frames] += 1
        c[FEEDD_C_bytes] += n
        if decode_quickly(&self.m, p, n):
            decoded = wall_ns() if started else 0
            if not drift_due(v.drift, self.m.channel, ts_recv) and (
                    quick_publish(
                        self.out, self.books, &self.m, &v.programs[self.m.channel],
                        v.future_ns_max, self.rows, ts_recv, line)
                    if self.m.layout.is_whole else quick_book(
                        self.books, &self.m, &v.programs[self.m.channel], v.future_ns_max,
                        self.rows, ts_recv, line)):
                c[FEEDD_C_last_data_ns] = ts_recv
                if started:
                    self._observe(started, decoded, self.rows[0].ts_event, ts_recv)
                return RESULT_DATA
        status = decode(&self.m, p, n)
        result = self._process(venue, p, n, ts_recv, line, status, started)
        if self.books.changed_rule != NULL:
            with gil:
                self._rule_changed(ts_recv, line)
        if result == RESULT_DATA:
            c[FEEDD_C_last_data_ns] = ts_recv
        elif result == RESULT_CONTROL:
            c[FEEDD_C_control_frames] += 1
        elif result == RESULT_IGNORED:
            c[FEEDD_C_ignored_frames] += 1
        return result

    cdef int _process(
        self, int venue, const uint8_t* p, size_t n, int64_t ts_recv, int line, int status,
        int64_t started
    ) noexcept nogil:
        """A message that was decoded, with this status, and is to be converted row by row."""
        cdef const venue_t* v = &self.venues[venue]
        cdef const char* why
        cdef const program_t* program
        cdef row_t* r
        cdef uint32_t i
        cdef bint fallback
        cdef int64_t decoded = 0
        if status == FD_BAD_JSON:
            if v.counts:             # the next message of the connection tells
                return self._bad_frame(venue, ts_recv, line, self.m.error, p, n)
            return self._refuse(venue, ts_recv, line, self.m.error, p, n, NULL)
        if v.counts or self.books.agree_ns[venue]:
            self.books.heard_from(venue, line, ts_recv)
            if not self._counted(venue, ts_recv, line):
                return RESULT_IGNORED
        if self.m.channel < 0:
            return (RESULT_IGNORED if self.m.channel == FD_NO_CHANNEL
                    else self._control(venue, p, n, ts_recv, line))
        fallback = v.plan.envelopes[self.m.envelope].fixed >= 0
        if status != FD_OK:
            if fallback:
                return RESULT_CONTROL
            return self._refuse(
                venue, ts_recv, line, self.m.error, p, n, &v.programs[self.m.channel])
        program = &v.programs[self.m.channel]
        if self.m.rows == 0 and self.m.listed and program.rows and (
                program.snapshot_by == SNAPSHOT_ROWS or self._is_snapshot(program)):
            return self._empty_snapshot(venue, program, ts_recv, line)
        if not self._room(self.m.rows):
            return self._refuse(venue, ts_recv, line, b"out of memory", p, n, program)
        for i in range(self.m.rows):
            why = row_convert(&self.m, i, program, &self.rows[i])
            if why != NULL:
                if fallback:
                    return RESULT_CONTROL
                self._watch(venue, program, ts_recv, line)
                return self._refuse(venue, ts_recv, line, why, p, n, program)
            if self.rows[i].yields == 0:
                continue
            self.rows[i].x = self._instrument(venue, i, program)
            if self.rows[i].x == NULL:
                if fallback:
                    return RESULT_CONTROL
                return self._refuse(
                    venue, ts_recv, line, b"row without a symbol", p, n, program)
        if self.m.layout != NULL and self.m.rows == 1 and self.m.routes != NULL and (
                self.rows[0].yields):
            quick_learn(&self.m, program, self.rows[0].yields, self.rows[0].x)
        if self.m.head != NULL and self.m.rows == 1 and self.m.routes != NULL and (
                self.rows[0].yields):
            quick_book_learn(&self.m, program, &self.rows[0])
        if started:
            decoded = wall_ns()
        for i in range(self.m.rows):
            r = &self.rows[i]
            if r.yields & YIELDS_STATE:
                self._said(venue, r, ts_recv, line)
            if r.yields == 0:
                continue
            if r.x.id == FEEDD_NO_INSTRUMENT:
                self._unknown(venue, r.x)
                if r.x.id == FEEDD_NO_INSTRUMENT:
                    self.c[FEEDD_C_unknown_symbol_events] += 1
                    continue
            if (program.rows and r.yields & YIELDS_BOOK
                    and not gather(&self.gathered, self.rows, self.m.rows, i)):
                r.yields &= ~YIELDS_BOOK
                self._refuse(venue, ts_recv, line, b"out of memory", p, n, program)
            self._apply(v, program, r, ts_recv, line)
        if drift_due(v.drift, self.m.channel, ts_recv):
            self._watch(venue, program, ts_recv, line)
        if started:
            self._observe(
                started, decoded, self.rows[0].ts_event if self.m.rows else 0, ts_recv)
        return RESULT_DATA

    cdef void _observe(
        self, int64_t started, int64_t decoded, int64_t ts_event, int64_t ts_recv
    ) noexcept nogil:
        """Stage times of a message, which is done."""
        self.out.observe(FEEDD_STAGE_DECODE, decoded - started)
        self.out.observe(FEEDD_STAGE_BOOK, wall_ns() - decoded)
        if ts_event and ts_recv:
            self.out.observe(FEEDD_STAGE_VENUE, ts_recv - ts_event)

    cdef void _said(self, int venue, row_t* r, int64_t ts_recv, int line) noexcept nogil:
        """A state of an instrument, subscribed or not: it takes no id and no board row."""
        r.yields &= ~YIELDS_STATE
        if self.m.channel < SEEN_CHANNELS:
            r.x.seen[self.m.channel] = ts_recv
        if r.x.id == FEEDD_NO_INSTRUMENT and self.names_all:
            self._unknown(venue, r.x)
        if state_said(self.out, r, ts_recv, line):
            self.untold = True

    cdef void _apply(
        self, const venue_t* v, const program_t* program, row_t* r, int64_t ts_recv, int line
    ) noexcept nogil:
        note_data(r.x, self.m.channel, ts_recv)
        r.bad_ts = r.bad_ts or is_bad_time(r.ts_event, ts_recv, v.future_ns_max)
        if r.yields & (YIELDS_BOOK | YIELDS_CHECKSUM):
            r.book.stamp.ts_event = r.ts_event
            r.book.stamp.ts_recv = ts_recv
            r.book.stamp.sequence = r.book.current if r.yields & YIELDS_BOOK else FEEDD_NO_SEQUENCE
            r.book.stamp.line = line
            r.book.stamp.flags = FEEDD_BAD_TS if r.bad_ts else 0
            if r.yields & YIELDS_BOOK:
                self.books.update(r.x, program, &r.book)
            elif r.x.book_channel == program.stream:
                self.books.checksum(
                    r.x, &v.programs[program.stream], r.checksum, &r.book.stamp)
        if r.yields & ~(YIELDS_BOOK | YIELDS_CHECKSUM):
            drop_copies(self.books, program, r, ts_recv, line)
            row_publish(self.out, program, r, ts_recv, line)

    cdef int _empty_snapshot(
        self, int venue, const program_t* program, int64_t ts_recv, int line
    ) noexcept nogil:
        """A list of no rows where rows are levels: a book without levels."""
        cdef const venue_t* v = &self.venues[venue]
        cdef uint8_t scratch[256]
        cdef const fd_val* named
        cdef const uint8_t* text
        cdef uint32_t n
        cdef row_t* r
        if not program.yields & YIELDS_BOOK or not self._room(1):
            return RESULT_DATA
        r = &self.rows[0]
        memset(r, 0, sizeof(row_t))
        if program.symbol < 0:
            r.x = self._instrument(venue, 0, program)
        elif program.symbol_of_none >= 0:
            named = &self.m.env[program.symbol_of_none]
            text = text_of(&self.m, named, scratch, sizeof(scratch), &n)
            if named.type == FD_STR and text != NULL and 0 < n <= 64:
                r.x = self._named(venue, text, n)
        if r.x == NULL:
            return RESULT_DATA
        if r.x.id == FEEDD_NO_INSTRUMENT:
            self._unknown(venue, r.x)
            if r.x.id == FEEDD_NO_INSTRUMENT:
                return RESULT_DATA
        r.yields = YIELDS_BOOK
        r.book.first = r.book.current = FEEDD_NO_SEQUENCE
        r.book.previous = -1
        r.book.snapshot = 1
        r.book.channel = program.stream
        r.book.topic = 0 if program.one_stream else self.m.topic_hash
        self._apply(v, program, r, ts_recv, line)
        return RESULT_DATA

    cdef bint _is_snapshot(self, const program_t* program) noexcept nogil:
        """Does the type of a message without rows make it a snapshot?"""
        cdef uint32_t base = self.m.plan.channels[self.m.channel].env_base
        cdef int slot = program.type - <int>base
        if program.symbol_of_none < 0 or program.type < 0 or slot < 0:
            return False
        return fd_is_one_of(
            &self.m, &self.m.env[self.m.plan.channels[self.m.channel].env[slot]],
            program.snapshot_type.text, program.snapshot_type.n)

    cdef bint _counted(self, int venue, int64_t ts_recv, int line) noexcept nogil:
        """The connection's counter in this message; False: the message was there before."""
        cdef const fd_val* v = &self.m.env[0]
        cdef uint64_t number = 0
        cdef uint64_t expected = 0
        cdef int found
        if (v.type != FD_NUM and v.type != FD_STR) or not fd_text_u64(
                self.m.base + v.off, v.len, &number):
            return True
        found = self.connections.sequence(line, number, self.venues[venue].first, &expected)
        if found == SEQUENCE_OLD:
            self.c[FEEDD_C_duplicates] += 1
            return False
        self.books.numbered_on(line, number)
        if found == SEQUENCE_GAP or (found == SEQUENCE_ANEW and self._feeds(venue, line)):
            self._connection_gap(venue, line, ts_recv, expected, number)
        return True

    cdef bint _feeds(self, int venue, int line) noexcept nogil:
        """Is a live book fed by this connection?"""
        cdef table_t* table = self.venues[venue].table
        cdef uint32_t i
        for i in range(table.n):
            if table.items[i].line == line and table.items[i].up:
                return True
        return False

    cdef int _control(
        self, int venue, const uint8_t* p, size_t n, int64_t ts_recv, int line
    ) noexcept nogil:
        """Acks say what channel numbers mean and how deep a book is."""
        if self.venues[venue].listens:
            with gil:
                try:
                    self._heard(venue, p[:n], ts_recv, line)
                except Exception:       # a control message may say anything
                    self.c[FEEDD_C_control_unread] += 1
        return RESULT_CONTROL

    cdef _heard(self, int venue, message, int64_t ts_recv, int line):
        plan = self._plans[venue]
        heard = control.hear(plan.learn, plan.depth_rules, message)
        if heard.restarts:
            self.connections.forget(line)
            self._line_down(venue, line, ts_recv, b"new session")
        for number, topic in heard.topics:
            self.connections.learn(line, number, topic)
        for symbol, depth in heard.depths:
            self.set_depth(venue, symbol, depth)

    cdef int _line_down(self, int venue, int line, int64_t ts_recv, const char* why) noexcept nogil:
        """What a connection carried comes no more. How many books that leaves without one."""
        cdef table_t* table = self.venues[venue].table
        cdef instrument_t* x
        cdef stamp_t s
        cdef uint32_t i
        cdef int n = 0
        memset(&s, 0, sizeof(s))
        s.ts_recv = ts_recv
        s.line = line
        for i in range(table.n):
            x = table.items[i]
            recent_line_gone(x.recent, line)
            trades_line_gone(x, line)
            if x.book_channel >= 0 and not self.books.line_gone(x, line, &s, why):
                n += 1
        return n

    def line_forget(self, int line):
        cdef uint32_t i
        cdef int v
        self.connections.forget(line)
        for v in range(self.n_venues):
            for i in range(self.venues[v].table.n):
                trades_line_gone(self.venues[v].table.items[i], line)

    cdef bint _room(self, uint32_t rows) noexcept nogil:
        cdef uint32_t cap = self.cap_rows
        cdef void* grown
        if rows <= cap:
            return True
        while cap < rows:
            cap = cap * 2 if cap else 16
        grown = realloc(self.rows, cap * sizeof(row_t))
        if grown == NULL:
            return False
        self.rows = <row_t*>grown
        self.cap_rows = cap
        return True

    cdef instrument_t* _instrument(
        self, int venue, uint32_t row, const program_t* p
    ) noexcept nogil:
        """The instrument of a row, by the row's symbol or the topic's; NULL without a symbol."""
        cdef uint8_t scratch[256]
        cdef const fd_val* v
        cdef const uint8_t* text
        cdef uint32_t n, i
        if p.symbol >= 0:
            v = self.m.slots + row * self.m.plan.channels[self.m.channel].slots + p.symbol
            if v.type != FD_STR:
                return NULL
            text = text_of(&self.m, v, scratch, sizeof(scratch), &n)
            if p.symbol_cut:
                text = symbol_in(p, text, &n)
        else:
            n = self.m.sym_len
            text = self.m.topic_at + self.m.sym_off
            if self.venues[venue].upper_case:
                for i in range(n if n < sizeof(scratch) else sizeof(scratch)):
                    scratch[i] = text[i] - 32 if b"a" <= text[i] <= b"z" else text[i]
                text = scratch
        if text == NULL or n == 0 or n > 64:
            return NULL
        return self._named(venue, text, n)

    cdef instrument_t* _named(self, int venue, const uint8_t* text, uint32_t n) noexcept nogil:
        cdef table_t* table = self.venues[venue].table
        cdef instrument_t* x = table_find(table, text, n)
        if x == NULL and table.n < SYMBOLS_MAX:
            x = table_add(table, text, n, venue)
        return x

    cdef void _unknown(self, int venue, instrument_t* x) noexcept nogil:
        """A symbol without an id: ask once; the callback may name it at once."""
        if x.wanted:
            return
        self.c[FEEDD_C_unknown_symbols] += 1
        x.wanted = 1
        with gil:
            if self._on_unknown is None:
                self.books.ask(x, REQUEST_UNKNOWN, 0, -1)
                return
            try:
                named = self._on_unknown(venue, x.symbol[:x.symbol_n].decode())
                if named is None:
                    self.books.ask(x, REQUEST_UNKNOWN, 0, -1)
                else:
                    x.wanted = 0
                    self._name(x, named[0], named[1], named[2])
            except Exception:
                self.books.ask(x, REQUEST_UNKNOWN, 0, -1)

    # ---- time ----------------------------------------------------------------------------------

    def tick(self, uint32_t budget=16):
        cdef int64_t now = wall_ns()
        if self.books.n_holding:
            self.books.expire(now)
        if self.books.n_quarantined:
            self.books.release(now)
        self._refresh(budget)

    def flush(self):
        self.books.expire(INT64_MAX)
        self._refresh(<uint32_t>-1)

    # ---- instruments and connections ------------------------------------------------------------

    cdef table_t* _table(self, int venue) except NULL:
        if not 0 <= venue < self.n_venues:
            raise ValueError(f"no venue {venue}")
        return self.venues[venue].table

    cdef const program_t* _book_program(self, const instrument_t* x) noexcept nogil:
        if x.book_channel < 0:
            return NULL
        return &self.venues[x.venue].programs[x.book_channel]

    cdef void _connection_gap(
        self, int venue, int line, int64_t ts_recv, uint64_t expected, uint64_t got
    ) noexcept nogil:
        self.books.connection_lost(self.venues[venue].table, line, ts_recv, expected, got)

    def set_depth(self, int venue, str symbol, uint32_t depth):
        cdef bytes raw = symbol.encode()
        cdef table_t* table = self._table(venue)
        cdef instrument_t* x = table_find(table, <const uint8_t*><const char*>raw, len(raw))
        if x == NULL and table.n < SYMBOLS_MAX:
            x = table_add(table, <const uint8_t*><const char*>raw, len(raw), venue)
        if x != NULL:
            x.subscribed_depth = depth
