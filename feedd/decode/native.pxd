"""The decode engine itself: large, and compiled here only."""

from libc.stdint cimport uint8_t

from feedd.decode.engine cimport fd_msg

# One message of n bytes, followed by FD_PADDING zero bytes: see engine.h.
cdef int decode(fd_msg* m, const uint8_t* p, size_t n) noexcept nogil
# The same for a document that is all payload of one channel.
cdef int decode_as(fd_msg* m, const uint8_t* p, size_t n, int channel) noexcept nogil
# Is the message, which needs no padding, one of which the numbers are enough? Then they are read.
cdef int decode_quickly(fd_msg* m, const uint8_t* p, size_t n) noexcept nogil
