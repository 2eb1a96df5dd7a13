from libc.stdint cimport uint32_t

from feedd.shm.feedd cimport feedd_book


cdef class BooksWriter:
    cdef readonly uint32_t n_rows
    cdef readonly object segment
    cdef unsigned char[::1] _base
    cdef _attach(self, segment)
    # the block of a board row; NULL when there is no such row. Its depth: depth(row)
    cdef feedd_book* block(self, uint32_t row) noexcept nogil
    cdef uint32_t depth(self, uint32_t row) noexcept nogil
