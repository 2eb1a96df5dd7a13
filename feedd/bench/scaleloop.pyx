"""What a reader does with a frame after picows, over many connections, without a network."""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from feedd.decode.assembler cimport ASM_MESSAGE, Assembler
from feedd.decode.engine cimport FD_PADDING
from feedd.reader.line cimport SINK_DATA, Sink

cdef enum:
    TEXT = 1  # the opcode


cdef inline int64_t _now() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <int64_t>t.tv_sec * 1_000_000_000 + t.tv_nsec


cdef class Feeder:
    """Frames one after the other through the assemblers and sinks of several connections."""

    cdef uint8_t* block
    cdef uint32_t* offset
    cdef uint32_t* length
    cdef readonly Py_ssize_t n
    cdef list _assemblers, _sinks

    def __cinit__(self, frames not None, assemblers not None, sinks not None):
        cdef bytes frame
        cdef size_t at = 0
        cdef Py_ssize_t i
        cdef size_t size = sum(len(frame) + FD_PADDING for frame in frames)
        self.n = len(frames)
        self._assemblers = [<Assembler?>a for a in assemblers]
        self._sinks = [<Sink?>s for s in sinks]
        if len(self._sinks) == 0 or len(self._sinks) != len(self._assemblers):
            raise ValueError("each connection has an assembler and a sink")
        self.block = <uint8_t*>calloc(size + 1, 1)
        self.offset = <uint32_t*>calloc(self.n + 1, sizeof(uint32_t))
        self.length = <uint32_t*>calloc(self.n + 1, sizeof(uint32_t))
        if self.block == NULL or self.offset == NULL or self.length == NULL or size > 0xffffffff:
            raise MemoryError("the frames do not fit")
        for i in range(self.n):
            frame = frames[i]
            self.offset[i] = at
            self.length[i] = len(frame)
            memcpy(self.block + at, <const char*>frame, len(frame))
            at += len(frame) + FD_PADDING

    def __dealloc__(self):
        free(self.block)
        free(self.offset)
        free(self.length)

    def run(self, int64_t ts_recv, int64_t[::1] each=None):
        """Every frame once, each with a commit of its own; frame i comes over connection
        i modulo their number. Returns (ns, frames that were no data)."""
        cdef Py_ssize_t i, at
        cdef Py_ssize_t lines = len(self._sinks)
        cdef Py_ssize_t refused = 0
        cdef bint singly = each is not None
        cdef Assembler assembler
        cdef Sink sink
        cdef int64_t start = _now()
        cdef int64_t before = start
        cdef int64_t after
        if singly and each.shape[0] < self.n:
            raise ValueError("each needs a slot per frame")
        for i in range(self.n):
            at = i % lines
            assembler = <Assembler>self._assemblers[at]
            sink = <Sink>self._sinks[at]
            if assembler.feed(TEXT, True, 0, self.block + self.offset[i], self.length[i]) != (
                    ASM_MESSAGE):
                refused += 1
                continue
            if sink.message(assembler.data, assembler.size, ts_recv + i, assembler.binary) != (
                    SINK_DATA):
                refused += 1
            sink.flush()
            if singly:
                after = _now()
                each[i] = after - before
                before = after
        return _now() - start, refused
