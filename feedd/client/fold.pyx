"""Order books folded from ring records; fold.pyi says what the classes promise.

A side is an array with the best level at the END: nearly every update is near the best price, so
that an insertion moves few levels. The levels of a snapshot are gathered first and put in order
once at its end.
"""

cimport cython
from libc.math cimport INFINITY, NAN
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memmove

import numpy as np

from feedd.limits import BOOK_LEVELS_MAX
from feedd.records import BookState, NO_SEQUENCE, RECORD_BYTES

from feedd.shm.feedd cimport (
    FEEDD_BOOK, FEEDD_BOOK_CHECKSUM, FEEDD_BOOK_CONTROL, FEEDD_BOOK_GAP, FEEDD_BOOK_INIT,
    FEEDD_BOOK_LIVE, FEEDD_BOOK_STALE, FEEDD_LAST, FEEDD_MAYBE_BAD_BOOK, FEEDD_NO_INSTRUMENT,
    FEEDD_REASON_CHECKSUM, FEEDD_REASON_CLEAR, FEEDD_REASON_GAP, FEEDD_REASON_SNAPSHOT_BEGIN,
    FEEDD_REASON_SNAPSHOT_END, FEEDD_SNAPSHOT, FEEDD_STATUS, feedd_level, feedd_record,
)

LEVEL = np.dtype([("price", "<f8"), ("size", "<f8")])

cdef enum:
    NEAR = 16  # levels looked at one by one from the best before the search halves
    IDS_MAX = 1 << 24
    SCOPE_INSTRUMENT = 1
    EVENT_LIVE = 4
    EVENT_STALE = 5

cdef struct Side:
    feedd_level* level  # ascending in sign * price: the best is level[n - 1]
    Py_ssize_t n
    Py_ssize_t room
    double sign  # +1 bids, -1 asks
    double floor  # in sign * price: what is worse has neighbours that nobody showed us


cdef int _reserve(Side* side, Py_ssize_t n) except -1:
    cdef Py_ssize_t room
    cdef void* moved
    if n <= side.room:
        return 0
    room = max(n, 2 * side.room, 64)
    moved = realloc(side.level, room * sizeof(feedd_level))
    if moved == NULL:
        raise MemoryError(f"a book side of {room} levels")
    side.level = <feedd_level*>moved
    side.room = room
    return 0


cdef inline Py_ssize_t _find(const Side* side, double price) noexcept nogil:
    """First index whose level is not worse than ``price``; n when all are worse."""
    cdef double key = side.sign * price
    cdef Py_ssize_t i = side.n
    cdef Py_ssize_t low = 0
    cdef Py_ssize_t high, middle
    while i > 0 and side.n - i < NEAR:
        if side.sign * side.level[i - 1].price < key:
            return i
        i -= 1
    high = i
    while low < high:
        middle = (low + high) >> 1
        if side.sign * side.level[middle].price < key:
            low = middle + 1
        else:
            high = middle
    return low


cdef int _set(Side* side, double price, double size, Py_ssize_t levels_max) except -1:
    """Apply one level; 0 applied, 1 deleted a level that was not there, 2 the worst was cut."""
    cdef Py_ssize_t i = _find(side, price)
    cdef bint there = i < side.n and side.level[i].price == price
    if size == 0.0:
        if not there:
            return 1
        side.n -= 1
        memmove(&side.level[i], &side.level[i + 1], (side.n - i) * sizeof(feedd_level))
        return 0
    if there:
        side.level[i].size = size
        return 0
    if side.n >= levels_max:
        if i == 0:
            return 2
        memmove(&side.level[0], &side.level[1], (i - 1) * sizeof(feedd_level))
        side.level[i - 1].price = price
        side.level[i - 1].size = size
        return 2
    _reserve(side, side.n + 1)
    memmove(&side.level[i + 1], &side.level[i], (side.n - i) * sizeof(feedd_level))
    side.level[i].price = price
    side.level[i].size = size
    side.n += 1
    return 0


cdef int _append(Side* side, double price, double size) except -1:
    _reserve(side, side.n + 1)
    side.level[side.n].price = price
    side.level[side.n].size = size
    side.n += 1
    return 0


cdef inline Py_ssize_t _certain(const Side* side) noexcept nogil:
    """How many levels, from the best on, are known to be all that there are."""
    if side.floor == -INFINITY:
        return side.n
    return side.n - _find(side, side.sign * side.floor)


cdef object _levels(const Side* side, Py_ssize_t depth):
    """The best ``depth`` levels, best first, as a new array."""
    cdef Py_ssize_t certain = _certain(side)
    cdef Py_ssize_t n = certain if depth < 0 or depth > certain else depth
    cdef Py_ssize_t i
    out = np.empty(n, LEVEL)
    cdef unsigned char[::1] view
    cdef feedd_level* to
    if n:
        view = out.view(np.uint8)
        to = <feedd_level*>&view[0]
        for i in range(n):
            to[i] = side.level[side.n - 1 - i]
    return out


cdef int _load(Side* side, object levels, Py_ssize_t levels_max) except -1:
    """Replace a side by a LEVEL array; of equal prices the last counts, size 0 is no level."""
    latest_first = np.ascontiguousarray(levels, dtype=LEVEL)[::-1]
    price = latest_first["price"] * side.sign
    if len(price) > 1 and not (np.diff(price) > 0).all():
        # np.unique sorts by price and keeps the first of equals: the latest.
        _, index = np.unique(price, return_index=True)
        latest_first = latest_first[index]
    worst_first = latest_first[latest_first["size"] != 0.0]
    worst_first = np.ascontiguousarray(worst_first[max(0, len(worst_first) - levels_max):])
    cdef Py_ssize_t n = len(worst_first)
    cdef const unsigned char[::1] view
    _reserve(side, n)
    side.n = n
    if n:
        view = worst_first.view(np.uint8)
        memcpy(side.level, &view[0], n * sizeof(feedd_level))
    return 0


cdef int _settle(Side* side, Py_ssize_t levels_max) except -1:
    """Put the gathered levels in order: a venue's best-first needs one reversal only."""
    cdef Py_ssize_t i
    cdef feedd_level swap
    cdef bint ordered = side.n <= levels_max
    cdef unsigned char[::1] view
    for i in range(side.n):
        if side.level[i].size == 0.0 or (
            i > 0 and side.sign * side.level[i].price >= side.sign * side.level[i - 1].price
        ):
            ordered = False
            break
    if not ordered:
        gathered = np.empty(side.n, LEVEL)
        view = gathered.view(np.uint8)
        memcpy(&view[0], side.level, side.n * sizeof(feedd_level))
        return _load(side, gathered, levels_max)
    for i in range(side.n // 2):
        swap = side.level[i]
        side.level[i] = side.level[side.n - 1 - i]
        side.level[side.n - 1 - i] = swap
    return 0


cdef const unsigned char[::1] _bytes(object records):
    """The buffer of a RAW array; whoever casts it to records keeps it alive."""
    if records.dtype.itemsize != RECORD_BYTES:
        raise TypeError("records must be an array of feedd.records.RAW (128-byte records)")
    return np.ascontiguousarray(records).view(np.uint8).reshape(-1)


@cython.final
cdef class FoldedBook:
    cdef Side bid
    cdef Side ask
    cdef Py_ssize_t levels_max
    cdef bint gathering  # inside a snapshot: levels are appended, in order of arrival
    cdef bint bracketed  # the snapshot ends at SNAPSHOT_END, not at LAST
    cdef readonly uint32_t instrument
    cdef int state_code
    cdef readonly uint64_t sequence
    cdef readonly int64_t ts_event
    cdef readonly int64_t ts_recv
    cdef readonly uint64_t ring_pos
    cdef readonly int reader
    cdef readonly uint64_t updates
    cdef readonly uint64_t unknown_deletes
    cdef readonly bint truncated

    def __cinit__(self, uint32_t instrument=0, *, reader=-1, levels_max=BOOK_LEVELS_MAX):
        if levels_max < 1:
            raise ValueError("levels_max must be at least 1")
        self.bid.sign = 1.0
        self.ask.sign = -1.0
        self.bid.floor = self.ask.floor = -INFINITY
        self.instrument = instrument
        self.reader = reader
        self.levels_max = levels_max
        self.sequence = NO_SEQUENCE
        self.state_code = FEEDD_BOOK_INIT

    def __dealloc__(self):
        free(self.bid.level)
        free(self.ask.level)

    # ---- state in ---------------------------------------------------------------------------

    def seed(self, bids, asks, *, sequence=None, ring_pos=0, ts_event=0, ts_recv=0,
             state=BookState.LIVE, cut=(False, False)):
        _load(&self.bid, bids, self.levels_max)
        _load(&self.ask, asks, self.levels_max)
        self.bid.floor = self.bid.level[0].price if cut[0] and self.bid.n else -INFINITY
        self.ask.floor = -self.ask.level[0].price if cut[1] and self.ask.n else -INFINITY
        self.sequence = NO_SEQUENCE if sequence is None else sequence
        self.ring_pos = ring_pos
        self.ts_event = ts_event
        self.ts_recv = ts_recv
        self.state_code = int(state)
        self.gathering = self.bracketed = self.truncated = False

    def fold(self, records) -> int:
        cdef const unsigned char[::1] view = _bytes(records)
        cdef Py_ssize_t n = view.shape[0] // sizeof(feedd_record)
        cdef const feedd_record* record = <const feedd_record*>&view[0] if n else NULL
        cdef Py_ssize_t i
        cdef int events = 0
        for i in range(n):
            if record[i].instrument == self.instrument and record[i].ring_seq > self.ring_pos:
                events += self._apply(&record[i])
        return events

    def mark(self, state):
        self.state_code = int(state)

    def forget_position(self):
        self.ring_pos = 0

    cdef int _apply(self, const feedd_record* record) except -1:
        """Apply one record of this instrument; 1 when it completed a book event."""
        if record.kind == FEEDD_BOOK:
            return self._apply_levels(record)
        if record.kind == FEEDD_BOOK_CONTROL:
            return self._apply_control(record)
        if record.kind == FEEDD_STATUS and record.p.status.scope == SCOPE_INSTRUMENT:
            self._apply_status(record)
        return 0

    cdef int _apply_levels(self, const feedd_record* record) except -1:
        cdef int i
        cdef int n = min(record.n, 5)
        cdef int outcome
        cdef const feedd_level* level
        cdef Side* side
        if record.flags & FEEDD_SNAPSHOT and (
            not self.gathering or (not self.bracketed and record.sequence != self.sequence)
        ):
            self._begin()
        for i in range(n):
            level = &record.p.levels[i]
            side = &self.ask if record.side_mask >> i & 1 else &self.bid
            if self.gathering:
                _append(side, level.price, level.size)
                continue
            outcome = _set(side, level.price, level.size, self.levels_max)
            if outcome == 1:
                self.unknown_deletes += 1
            elif outcome == 2:
                self.truncated = True
        self._stamp(record)
        if not record.flags & FEEDD_LAST:
            return 0
        if self.bracketed:
            return 0
        if self.gathering:
            self._end()
        self._doubt(record)
        self.updates += 1
        return 1

    cdef int _apply_control(self, const feedd_record* record) except -1:
        cdef uint32_t reason = record.p.control.reason
        if reason == FEEDD_REASON_SNAPSHOT_BEGIN:
            # Brackets hold any event that is longer than a commit; its records say what it is.
            self.gathering = False
            self.bracketed = True
        elif reason == FEEDD_REASON_SNAPSHOT_END:
            if not self.bracketed:
                if self.gathering:
                    self._lose()  # its beginning was never seen: the rest makes no book
                return 0
            self.bracketed = False
            if self.gathering:
                self._end()
            self._doubt(record)
            self._stamp(record)
            self.updates += 1
            return 1
        elif reason == FEEDD_REASON_CLEAR:
            self.bid.n = self.ask.n = 0
            self.bid.floor = self.ask.floor = -INFINITY
            self.gathering = self.bracketed = False
            self.state_code = FEEDD_BOOK_INIT
            self.ring_pos = record.ring_seq
        elif reason == FEEDD_REASON_GAP:
            self.state_code = FEEDD_BOOK_GAP
        elif reason == FEEDD_REASON_CHECKSUM:
            self.state_code = FEEDD_BOOK_CHECKSUM
        return 0

    cdef void _apply_status(self, const feedd_record* record) noexcept:
        # Only age comes by STATUS alone; gaps and snapshots come with the book's own records.
        if record.p.status.code == EVENT_STALE and self.state_code == FEEDD_BOOK_LIVE:
            self.state_code = FEEDD_BOOK_STALE
        elif record.p.status.code == EVENT_LIVE and self.state_code == FEEDD_BOOK_STALE:
            self.state_code = FEEDD_BOOK_LIVE

    cdef void _doubt(self, const feedd_record* record) noexcept:
        """A book whose checksum rule was given up goes on, but is not good: its records say so."""
        if record.flags & FEEDD_MAYBE_BAD_BOOK:
            if self.state_code == FEEDD_BOOK_LIVE:
                self.state_code = FEEDD_BOOK_CHECKSUM
        elif self.state_code == FEEDD_BOOK_CHECKSUM:
            self.state_code = FEEDD_BOOK_LIVE  # what had to be repaired would be a snapshot

    cdef void _stamp(self, const feedd_record* record) noexcept:
        self.sequence = record.sequence
        self.ts_event = record.ts_event
        self.ts_recv = record.ts_recv
        self.ring_pos = record.ring_seq

    cdef void _begin(self) noexcept:
        self.bid.n = self.ask.n = 0
        self.bid.floor = self.ask.floor = -INFINITY
        self.gathering = True
        self.truncated = False

    cdef void _lose(self) noexcept:
        """Records are missing: what was known is not good any more, half a snapshot never was."""
        if self.state_code != FEEDD_BOOK_INIT:
            self.state_code = FEEDD_BOOK_GAP
        if self.gathering:
            self.bid.n = self.ask.n = 0
        self.gathering = self.bracketed = False

    cdef bint _comes_from(self, int reader, const feedd_record* record) noexcept:
        """Whether records of this reader make the book. It moves to another one with the beginning
        of a newer snapshot: positions in that ring say nothing about those in this one."""
        if self.reader >= 0:
            if record.ts_recv < self.ts_recv or not (
                record.kind == FEEDD_BOOK and record.flags & FEEDD_SNAPSHOT
                or record.kind == FEEDD_BOOK_CONTROL
                and record.p.control.reason == FEEDD_REASON_SNAPSHOT_BEGIN
            ):
                return False
            self._lose()
            self.ring_pos = 0
        self.reader = reader
        return True

    cdef int _end(self) except -1:
        self.gathering = False
        self.truncated = self.bid.n > self.levels_max or self.ask.n > self.levels_max
        _settle(&self.bid, self.levels_max)
        _settle(&self.ask, self.levels_max)
        self.state_code = FEEDD_BOOK_LIVE
        return 0

    # ---- state out --------------------------------------------------------------------------

    @property
    def state(self):
        if self.state_code == FEEDD_BOOK_LIVE and (
            self.bid.floor > -INFINITY and not _certain(&self.bid)
            or self.ask.floor > -INFINITY and not _certain(&self.ask)
        ):
            return BookState.GAP  # all that it began with is gone
        return BookState(self.state_code)

    @property
    def bids(self):
        return self.levels(1)

    @property
    def asks(self):
        return self.levels(-1)

    def levels(self, int side, Py_ssize_t depth=-1):
        if self.gathering:
            return np.empty(0, LEVEL)
        return _levels(&self.bid if side > 0 else &self.ask, depth)

    @property
    def n_bids(self):
        return 0 if self.gathering else _certain(&self.bid)

    @property
    def n_asks(self):
        return 0 if self.gathering else _certain(&self.ask)

    @property
    def best(self):
        cdef feedd_level bid
        cdef feedd_level ask
        bid.price = bid.size = ask.price = ask.size = NAN
        if not self.gathering:
            if _certain(&self.bid):
                bid = self.bid.level[self.bid.n - 1]
            if _certain(&self.ask):
                ask = self.ask.level[self.ask.n - 1]
        return bid.price, bid.size, ask.price, ask.size

    @property
    def mid(self):
        bid, _, ask, _ = self.best
        return (bid + ask) / 2

    @property
    def spread(self):
        bid, _, ask, _ = self.best
        return ask - bid

    def __repr__(self):
        bid, bid_size, ask, ask_size = self.best
        return (
            f"<FoldedBook {self.instrument} {self.state.name} bid {bid_size:g} @ {bid:g}, "
            f"ask {ask_size:g} @ {ask:g}, {self.n_bids} + {self.n_asks} levels>"
        )


@cython.final
cdef class BookBuilder:
    cdef list books  # by instrument id
    cdef readonly Py_ssize_t levels_max
    cdef readonly uint64_t events

    def __cinit__(self, *, levels_max=BOOK_LEVELS_MAX):
        self.books = []
        self.levels_max = levels_max

    cdef FoldedBook _book(self, uint32_t instrument, int reader):
        if instrument >= <uint32_t>len(self.books):
            if instrument >= IDS_MAX:
                raise ValueError(f"instrument id {instrument} is out of range")
            self.books.extend([None] * (2 * instrument + 64 - len(self.books)))
        book = self.books[instrument]
        if book is None:
            book = FoldedBook(instrument, reader=reader, levels_max=self.levels_max)
            self.books[instrument] = book
        return <FoldedBook>book

    def apply(self, batch) -> int:
        cdef int reader = -1
        records = batch
        if not isinstance(batch, np.ndarray):
            reader = batch.reader
            records = batch.records
            if batch.restarted:
                self.restart(reader)
            if batch.lost:
                self.mark_lost(reader)
        cdef const unsigned char[::1] view = _bytes(records)
        cdef Py_ssize_t n = view.shape[0] // sizeof(feedd_record)
        cdef const feedd_record* record = <const feedd_record*>&view[0] if n else NULL
        cdef Py_ssize_t i
        cdef int events = 0
        cdef FoldedBook book
        for i in range(n):
            if record[i].kind != FEEDD_BOOK and record[i].kind != FEEDD_BOOK_CONTROL \
                    and record[i].kind != FEEDD_STATUS:
                continue
            if record[i].instrument == FEEDD_NO_INSTRUMENT:
                continue
            book = self._book(record[i].instrument, reader)
            if reader >= 0 and reader != book.reader and not book._comes_from(reader, &record[i]):
                continue
            if record[i].ring_seq > book.ring_pos:
                events += book._apply(&record[i])
        self.events += events
        return events

    def seed(self, uint32_t instrument, bids, asks, *, reader=-1, **where):
        book = self._book(instrument, reader)
        book.reader = reader
        book.seed(bids, asks, **where)
        return book

    def mark_lost(self, int reader=-1):
        cdef FoldedBook book
        for book in self:
            if reader < 0 or book.reader < 0 or book.reader == reader:
                book._lose()

    def restart(self, int reader=-1):
        cdef FoldedBook book
        self.mark_lost(reader)
        for book in self:
            if reader < 0 or book.reader < 0 or book.reader == reader:
                book.ring_pos = 0

    def get(self, instrument, default=None):
        if 0 <= instrument < len(self.books) and self.books[instrument] is not None:
            return self.books[instrument]
        return default

    def __getitem__(self, instrument):
        book = self.get(instrument)
        if book is None:
            raise KeyError(instrument)
        return book

    def __contains__(self, instrument):
        return self.get(instrument) is not None

    def __iter__(self):
        return iter([book for book in self.books if book is not None])

    def __len__(self):
        return sum(book is not None for book in self.books)

    def __repr__(self):
        return f"<BookBuilder {len(self)} books, {self.events} events>"
