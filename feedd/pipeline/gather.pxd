"""Rows that are levels: those of one instrument become one book update."""

from libc.stdint cimport uint32_t

from feedd.decode.engine cimport fd_level
from feedd.pipeline.books cimport rowkey_t
from feedd.pipeline.rows cimport row_t

ctypedef struct gather_t:
    fd_level* levels
    rowkey_t* keys
    uint32_t cap

# Make rows[i].book the update of all later rows of its instrument too, bids first; those yield no
# book any more. False when memory is out. The levels are good until the next call.
cdef bint gather(gather_t* g, row_t* rows, uint32_t n, uint32_t i) noexcept nogil
cdef void gather_free(gather_t* g) noexcept
