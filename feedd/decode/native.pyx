"""The decode engine itself: large, and compiled here only."""

from libc.stdint cimport uint8_t

from feedd.decode.engine cimport fd_msg


cdef extern from "engine.h" nogil:
    int fd_decode(fd_msg* m, const uint8_t* base, size_t n)
    int fd_decode_as(fd_msg* m, const uint8_t* base, size_t n, int channel)
    int fd_quickly(fd_msg* m, const uint8_t* p, size_t n)


cdef int decode(fd_msg* m, const uint8_t* p, size_t n) noexcept nogil:
    return fd_decode(m, p, n)


cdef int decode_as(fd_msg* m, const uint8_t* p, size_t n, int channel) noexcept nogil:
    return fd_decode_as(m, p, n, channel)


cdef int decode_quickly(fd_msg* m, const uint8_t* p, size_t n) noexcept nogil:
    return fd_quickly(m, p, n)
