"""What no reader can leave out: a run's reads and writes of memory alone, done once more.

While a pipeline runs over a capture, ``Stores.note`` writes down what each frame left behind: the
slots of the ring, which places of the books' windows were set, which levels of the shared books
have changed. ``Stores.full`` does just that again, in memory of its own of the same size: it reads
the frame, stores, commits. It decodes nothing, decides nothing and looks for nothing, so the rest
of what a reader takes is what that costs. What it stores is no data: to read that would cost, too.
"""

from libc.math cimport llrint
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy

from feedd.bench.loop cimport Frames, now_ns
from feedd.pipeline.core cimport Pipeline
from feedd.pipeline.instrument cimport instrument_t, table_t
from feedd.shm.board cimport BoardWriter
from feedd.shm.books cimport BooksWriter
from feedd.shm.feedd cimport (
    FEEDD_BOOK, feedd_book, feedd_commit_at, feedd_level, feedd_record, feedd_seq_begin,
    feedd_seq_end, feedd_store_u64, feedd_writer,
)
from feedd.shm.ring cimport RingWriter

cdef extern from "feedd/feedd.h" nogil:
    unsigned char* feedd_stage(feedd_writer* w)
    void feedd_staged(feedd_writer* w)
    void feedd_store_pair(void* shared, const void* src)
    enum:
        FEEDD_RECORD_BYTES

cdef extern from *:
    """static const double feedd_bench_tens[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9,
        1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18};"""
    const double* feedd_bench_tens

cdef enum:
    TOPS = 64          # levels of the shared top, both sides
    ASK = 1 << 30      # of a place, which is a tick of the window
    GONE = 1 << 31     # there is no level now
    ROW_WORDS = 14     # of a board row that a message of a book writes
    HEAD_WORDS = 8     # and of a shared book, beside its levels
    SIDES_MAX = 8192


cdef struct work_t:                # of one frame
    uint64_t places, tops          # where they begin, behind those of the frame before
    uint32_t n_slots, n_places, n_tops
    uint32_t row


cdef struct window_t:
    double* size
    uint64_t* bitmap
    uint64_t mask


cdef class Stores:
    cdef work_t* work
    cdef uint32_t* place
    cdef uint8_t* top
    cdef window_t* window
    cdef feedd_level* shown        # the shared tops as they were, by row
    cdef uint64_t n_places, n_tops, places_cap, tops_cap
    cdef uint32_t n_frames, n_rows
    cdef uint64_t seen             # of the ring

    def __cinit__(self, uint32_t n_frames, uint32_t n_rows):
        if n_rows > SIDES_MAX // 2:
            raise ValueError(f"at most {SIDES_MAX // 2} rows")
        self.n_frames = n_frames
        self.n_rows = n_rows
        self.work = <work_t*>calloc(n_frames + 1, sizeof(work_t))
        self.window = <window_t*>calloc(2 * n_rows + 1, sizeof(window_t))
        self.shown = <feedd_level*>calloc(<size_t>n_rows * TOPS + 1, sizeof(feedd_level))
        if self.work == NULL or self.window == NULL or self.shown == NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(2 * self.n_rows if self.window != NULL else 0):
            free(self.window[i].size)
            free(self.window[i].bitmap)
        free(self.work)
        free(self.place)
        free(self.top)
        free(self.window)
        free(self.shown)

    def begin(self, Pipeline pipeline not None):
        """What comes to the ring from now on is of the next frame."""
        self.seen = pipeline.out.w.next

    def note(self, Pipeline pipeline not None, uint32_t frame):
        """Write down what this frame, which the pipeline has just had, left behind."""
        cdef work_t* w = &self.work[frame]
        cdef const feedd_writer* ring = pipeline.out.w
        cdef const feedd_record* record
        if frame >= self.n_frames:
            raise ValueError("more frames than were said")
        w.places, w.tops = self.n_places, self.n_tops
        w.n_slots = 0
        w.row = self.n_rows
        while self.seen < ring.next:
            record = <const feedd_record*>(
                ring.slots + (self.seen & ring.mask) * FEEDD_RECORD_BYTES)
            self.seen += 1
            w.n_slots += 1
            if record.instrument >= self.n_rows:
                continue
            if self.n_places == w.places:      # of several instruments, the first with a book
                w.row = record.instrument
            if record.kind == FEEDD_BOOK and record.instrument == w.row:
                self._places(pipeline, record)
        if w.row < self.n_rows and self.n_places > w.places:
            self._tops(pipeline.out.books.block(w.row), w.row)
        w.n_places = <uint32_t>(self.n_places - w.places)
        w.n_tops = <uint32_t>(self.n_tops - w.tops)

    cdef int _places(self, Pipeline pipeline, const feedd_record* record) except -1:
        cdef instrument_t* x = _instrument(pipeline, record.instrument)
        cdef const feedd_level* level
        cdef uint32_t i, side
        cdef int64_t at
        if x == NULL or x.book == NULL:
            return 0
        for i in range(record.n):
            level = &record.p.levels[i]
            side = record.side_mask >> i & 1
            at = llrint(level.price * feedd_bench_tens[x.book.decimals])
            at = (at if side else -at) - x.book.side[side].base
            if not 0 <= at < 1ll << x.book.side[side].bits:
                continue
            self.place = <uint32_t*>_room(
                self.place, &self.places_cap, self.n_places, sizeof(uint32_t))
            self.place[self.n_places] = (
                <uint32_t>at | (ASK if side else 0) | (0 if level.size else GONE))
            self.n_places += 1
            self._window(2 * record.instrument + side, 1ull << x.book.side[side].bits)
        return 0

    cdef int _window(self, uint32_t which, uint64_t ticks) except -1:
        cdef window_t* w = &self.window[which]
        if w.size != NULL and w.mask + 1 >= ticks:
            return 0
        free(w.size)
        free(w.bitmap)
        w.size = <double*>calloc(ticks, sizeof(double))
        w.bitmap = <uint64_t*>calloc(ticks // 64 + 1, sizeof(uint64_t))
        w.mask = ticks - 1
        if w.size == NULL or w.bitmap == NULL:
            raise MemoryError
        return 0

    cdef int _tops(self, feedd_book* book, uint32_t row) except -1:
        cdef feedd_level* shown = self.shown + <size_t>row * TOPS
        cdef const feedd_level* level
        cdef uint32_t i
        for i in range(TOPS):
            level = &book.top_bid[i] if i < TOPS // 2 else &book.top_ask[i - TOPS // 2]
            if memcmp(level, &shown[i], sizeof(feedd_level)) == 0:
                continue
            shown[i] = level[0]
            self.top = <uint8_t*>_room(self.top, &self.tops_cap, self.n_tops, 1)
            self.top[self.n_tops] = <uint8_t>i
            self.n_tops += 1
        return 0

    def full(self, Frames frames not None, RingWriter ring not None, BoardWriter board not None,
             BooksWriter books not None, int64_t[::1] total not None):
        """ns that the stores of each kind of frame took, added to ``total``. Returns a sum of all
        that was read."""
        cdef uint32_t i
        cdef int64_t before
        cdef uint64_t read = 0
        if len(total) < 256 or frames.n > self.n_frames or (
                board.n_rows < self.n_rows or books.n_rows < self.n_rows):
            raise ValueError("total needs 256 slots, the frames and the rows are those noted")
        with nogil:
            for i in range(frames.n):
                before = now_ns()
                read += self._frame(i, frames.block + frames.offset[i], frames.length[i], &ring.w,
                                    board, books, before)
                total[frames.kind[i]] += now_ns() - before
        return read

    cdef uint64_t _frame(
        self, uint32_t frame, const uint8_t* p, uint32_t n, feedd_writer* w, BoardWriter board,
        BooksWriter books, int64_t now
    ) noexcept nogil:
        cdef const work_t* work = &self.work[frame]
        cdef const uint32_t* place = self.place + work.places
        cdef const uint8_t* top = self.top + work.tops
        cdef window_t* window
        cdef feedd_book* book
        cdef feedd_level* level
        cdef unsigned char* slot
        cdef uint64_t read = 0
        cdef uint64_t odd, had, word
        cdef uint64_t* words
        cdef uint32_t i, k, _slot
        for i in range(0, n, 64):
            memcpy(&word, p + i, 8)
            read += word
        for _slot in range(work.n_slots):
            slot = feedd_stage(w)
            for k in range(16, FEEDD_RECORD_BYTES, 16):
                feedd_store_pair(slot + k, p)
            feedd_store_u64(<uint64_t*>(slot + 8), read)
            feedd_staged(w)
        for i in range(work.n_places):
            window = &self.window[2 * work.row + (1 if place[i] & ASK else 0)]
            k = place[i] & <uint32_t>window.mask
            had = window.size[k] != 0
            word = 0 if place[i] & GONE else 1
            window.size[k] = <double>word
            window.bitmap[k >> 6] ^= (had ^ word) << (k & 63)
        if work.row < self.n_rows:
            if work.n_places:
                book = books.block(work.row)
                odd = feedd_seq_begin(&book.lock)
                words = &book.ring_pos
                for i in range(HEAD_WORDS):
                    feedd_store_u64(words + i, read)
                for i in range(work.n_tops):
                    k = top[i]
                    level = &book.top_bid[k] if k < TOPS // 2 else &book.top_ask[k - TOPS // 2]
                    feedd_store_pair(level, p)
                feedd_seq_end(&book.lock, odd)
            odd = feedd_seq_begin(&board.rows[work.row].lock)
            words = &board.rows[work.row].ring_pos
            for i in range(ROW_WORDS):
                feedd_store_u64(words + i, read)
            feedd_seq_end(&board.rows[work.row].lock, odd)
        feedd_commit_at(w, now)
        return read


cdef void* _room(void* p, uint64_t* cap, uint64_t n, size_t size) except NULL:
    """Room for one more than n."""
    cdef void* grown = p
    if n == cap[0]:
        cap[0] = 2 * n + 1024
        grown = realloc(p, cap[0] * size)
        if grown == NULL:
            raise MemoryError
    return grown


cdef instrument_t* _instrument(Pipeline pipeline, uint32_t instrument) noexcept:
    cdef table_t* table
    cdef uint32_t i
    cdef int v
    for v in range(pipeline.n_venues):
        table = pipeline.venues[v].table
        for i in range(table.n):
            if table.items[i].id == instrument:
                return table.items[i]
    return NULL
