"""Native loops over the frames of a capture: what is timed has no Python in it."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from feedd.decode.engine cimport FD_OK, FD_PADDING
from feedd.decode.native cimport decode, decode_quickly
from feedd.decode.plan cimport program_t
from feedd.pipeline.books cimport JOIN_NOW
from feedd.pipeline.core cimport Pipeline
from feedd.pipeline.instrument cimport instrument_t
from feedd.pipeline.message cimport venue_t
from feedd.pipeline.rows cimport row_convert
from feedd.pipeline.update cimport update_t


cdef extern from "floor.h" nogil:
    ctypedef struct feedd_floor:
        uint64_t numbers[5]
    uint32_t feedd_floor_frame(const uint8_t* p, size_t n, feedd_floor* f)


cdef class Frames:
    def __cinit__(self, frames, kinds):
        cdef bytes frame
        cdef size_t at = 0
        cdef size_t size = sum(len(frame) + FD_PADDING for frame in frames)
        self.n = len(frames)
        self.block = <uint8_t*>calloc(size + 1, 1)
        self.offset = <uint32_t*>calloc(self.n + 1, sizeof(uint32_t))
        self.length = <uint32_t*>calloc(self.n + 1, sizeof(uint32_t))
        self.kind = <uint8_t*>calloc(self.n + 1, 1)
        if (self.block == NULL or self.offset == NULL or self.length == NULL
                or self.kind == NULL or size > 0xffffffff):
            raise MemoryError("the frames do not fit")
        for i, frame in enumerate(frames):
            self.offset[i] = at
            self.length[i] = len(frame)
            self.kind[i] = kinds[i]
            memcpy(self.block + at, <const char*>frame, len(frame))
            at += len(frame) + FD_PADDING

    def __dealloc__(self):
        free(self.block)
        free(self.offset)
        free(self.length)
        free(self.kind)

    def __len__(self):
        return self.n

    def full(self, Pipeline pipeline not None, int venue, uint32_t start, int64_t[::1] total not
             None, int64_t[::1] each not None, int64_t ts_recv):
        cdef uint32_t i = start
        cdef int64_t before, after
        if len(each) < self.n or len(total) < 256 or not 0 <= venue < pipeline.n_venues:
            raise ValueError("each needs a slot per frame, total 256, venue a handle")
        with nogil:
            while i < self.n:
                before = now_ns()
                pipeline.process(
                    venue, self.block + self.offset[i], self.length[i], ts_recv + i, 0)
                pipeline.publish(ts_recv + i)
                after = now_ns()
                total[self.kind[i]] += after - before
                each[i] = after - before
                i += 1
                if pipeline.books.n_requests:
                    break
        return i

    def decode(self, Pipeline pipeline not None, int venue, int64_t[::1] total not None, int only):
        cdef uint32_t i, row
        cdef const venue_t* v
        cdef int64_t before
        if len(total) < 256 or not 0 <= venue < pipeline.n_venues:
            raise ValueError("total needs 256 slots, venue must be a handle")
        v = &pipeline.venues[venue]
        pipeline.m.plan = v.plan
        pipeline.m.learned = pipeline.connections.learned
        pipeline.m.learned_mask = pipeline.connections.learned_mask
        pipeline.m.routes = &v.routes if v.routes.route != NULL else NULL
        with nogil:
            before = now_ns()
            for i in range(self.n):
                if self.kind[i] != only:
                    continue
                if decode_quickly(&pipeline.m, self.block + self.offset[i], self.length[i]):
                    continue
                if (decode(&pipeline.m, self.block + self.offset[i], self.length[i]) != FD_OK
                        or pipeline.m.channel < 0):
                    continue
                if not pipeline._room(pipeline.m.rows):
                    continue
                for row in range(pipeline.m.rows):
                    row_convert(&pipeline.m, row, &v.programs[pipeline.m.channel],
                                &pipeline.rows[row])
            total[only] += now_ns() - before

    def floor(self, int64_t[::1] total not None, int only):
        cdef uint32_t i
        cdef uint64_t levels = 0
        cdef int64_t before
        cdef feedd_floor* f = <feedd_floor*>calloc(1, sizeof(feedd_floor))
        if f == NULL:
            raise MemoryError
        with nogil:
            before = now_ns()
            for i in range(self.n):
                if self.kind[i] == only:
                    levels += feedd_floor_frame(self.block + self.offset[i], self.length[i], f)
            before = now_ns() - before
        free(f)
        total[only] += before
        return levels


def clock_ns(int n):
    cdef int _i
    cdef int64_t start, last = 0
    with nogil:
        start = now_ns()
        for _i in range(n):
            last = now_ns()
    return (last - start) / n


def begin_empty(Pipeline pipeline not None, int venue, str symbol not None, int64_t ts_recv):
    cdef instrument_t* x = pipeline._find(venue, symbol)
    cdef const program_t* p = pipeline._book_program(x)
    cdef update_t u
    if p == NULL or x.up or x.n_pending == 0:
        return False
    memset(&u, 0, sizeof(u))
    u.current = x.pending[0].first - 1
    if x.pending[0].has_previous:
        u.current = x.pending[0].previous
    if pipeline.books.join(x, p, u.current, True) != JOIN_NOW:
        return False
    u.previous = -1
    u.snapshot = 1
    u.channel = x.book_channel
    u.topic = x.book_topic
    u.stamp.ts_recv = ts_recv
    u.stamp.sequence = u.current
    u.stamp.line = <unsigned short>x.line
    pipeline.books.snapshot(x, p, &u)
    return True
