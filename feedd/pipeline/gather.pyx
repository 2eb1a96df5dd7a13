"""Rows that are levels: those of one instrument become one book update."""

from libc.stdint cimport uint32_t
from libc.stdlib cimport free, realloc

from feedd.decode.engine cimport fd_level
from feedd.decode.plan cimport YIELDS_BOOK
from feedd.pipeline.books cimport rowkey_t, update_t
from feedd.pipeline.rows cimport row_t


cdef bint gather(gather_t* g, row_t* rows, uint32_t n, uint32_t i) noexcept nogil:
    cdef update_t* out = &rows[i].book
    cdef uint32_t at = 0
    cdef uint32_t j, side
    cdef void* grown
    if n > g.cap:
        grown = realloc(g.levels, n * sizeof(fd_level))
        if grown == NULL:
            return False
        g.levels = <fd_level*>grown
        grown = realloc(g.keys, n * sizeof(rowkey_t))
        if grown == NULL:
            return False
        g.keys = <rowkey_t*>grown
        g.cap = n
    for side in range(2):
        for j in range(i, n):
            if (rows[j].yields & YIELDS_BOOK and rows[j].x == rows[i].x
                    and rows[j].level.side == side):
                g.levels[at] = rows[j].level
                g.keys[at] = rows[j].key
                at += 1
        if side == 0:
            out.n_bid = at
    out.n_ask = at - out.n_bid
    out.bids = g.levels
    out.asks = g.levels + out.n_bid
    out.keys = g.keys
    for j in range(i + 1, n):
        if rows[j].x == rows[i].x:
            rows[j].yields &= ~YIELDS_BOOK
    return True


cdef void gather_free(gather_t* g) noexcept:
    free(g.levels)
    free(g.keys)
