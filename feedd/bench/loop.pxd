"""The frames of a capture, one behind the other."""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec


cdef inline int64_t now_ns() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return t.tv_sec * 1_000_000_000 + t.tv_nsec


cdef class Frames:
    cdef uint8_t* block
    cdef uint32_t* offset
    cdef uint32_t* length
    cdef uint8_t* kind
    cdef uint32_t n
