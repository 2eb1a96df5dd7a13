"""From the levels of a message to what they do to a book: ids resolved, the rest cut off."""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport realloc
from libc.string cimport memcpy, memset

from feedd.book.book cimport fb_apply, fb_book, fb_iter, fb_iterate, fb_price
from feedd.book.checksum cimport fr_add, fr_clear, fr_drop, fr_find, fr_map, fr_row
from feedd.decode.engine cimport fd_level
from feedd.pipeline.books cimport rowkey_t, scratch_t, update_t


cdef bint _room(scratch_t* s, uint32_t n) noexcept nogil:
    cdef void* grown
    if n <= s.cap:
        return True
    grown = realloc(s.levels, n * 2 * sizeof(fd_level))
    if grown == NULL:
        return False
    s.levels = <fd_level*>grown
    s.cap = n * 2
    return True


cdef int rows_resolve(
    fr_map* rows, scratch_t* s, const update_t* u, bint snapshot, update_t* out
) noexcept nogil:
    """A row may say only what changed of the level that its id names: its price is looked up. A
    row that moves its level to another price becomes a delete and a level."""
    cdef uint32_t total = u.n_bid + u.n_ask
    cdef uint32_t n = 0
    cdef uint32_t i
    cdef int side
    cdef const fd_level* level
    cdef const rowkey_t* key
    cdef fr_row* row
    if not _room(s, 2 * total + 1):
        return ROWS_MEMORY
    if snapshot:
        fr_clear(rows)
    else:
        for i in range(total):       # all or nothing
            key = &u.keys[i]
            if not (key.is_new and key.has_price) and fr_find(
                    rows, key.id, i >= u.n_bid) == NULL:
                return ROWS_UNKNOWN_ID
    out[0] = u[0]
    for i in range(total):
        if i == u.n_bid:
            out.n_bid = n
        side = i >= u.n_bid
        level = &u.asks[i - u.n_bid] if side else &u.bids[i]
        key = &u.keys[i]
        row = fr_find(rows, key.id, side)
        if row == NULL:
            if key.is_delete or not key.has_price:
                return ROWS_UNKNOWN_ID
            row = fr_add(rows, key.id, side)
            if row == NULL:
                return ROWS_MEMORY
        elif key.has_price and row.price != level.price:
            memset(&s.levels[n], 0, sizeof(fd_level))
            s.levels[n].price_dec = row.price_dec
            s.levels[n].price = row.price
            n += 1
        if key.has_price:
            row.price_dec = level.price_dec
            row.price = level.price
        s.levels[n] = level[0]
        s.levels[n].price_dec = row.price_dec
        s.levels[n].price = row.price
        if key.is_delete or level.size == 0:
            s.levels[n].size = 0
            fr_drop(rows, row)
        n += 1
    if total == u.n_bid:
        out.n_bid = n
    out.n_ask = n - out.n_bid
    out.bids = s.levels
    out.asks = s.levels + out.n_bid
    return ROWS_OK


cdef bint book_cut(
    fb_book* book, scratch_t* s, const update_t* u, uint32_t depth, update_t* out
) noexcept nogil:
    cdef uint32_t more[2]
    cdef uint32_t start[2]
    cdef uint32_t n[2]
    cdef uint32_t k
    cdef int side
    cdef fb_iter it
    cdef int64_t key, ticks
    cdef uint8_t inexact = 0         # that of levels that go does not matter
    cdef double size
    cdef fd_level* level
    n[0] = u.n_bid
    n[1] = u.n_ask
    for side in range(2):
        more[side] = book.side[side].levels - depth if book.side[side].levels > depth else 0
    if not _room(s, n[0] + n[1] + more[0] + more[1]):
        return False
    start[0] = 0
    start[1] = n[0] + more[0]
    memcpy(s.levels, u.bids, n[0] * sizeof(fd_level))
    memcpy(s.levels + start[1], u.asks, n[1] * sizeof(fd_level))
    for side in range(2):
        if not more[side]:
            continue
        level = s.levels + start[side] + n[side]
        memset(level, 0, more[side] * sizeof(fd_level))
        memset(&it, 0, sizeof(it))
        k = 0
        while fb_iterate(&book.side[side], &it, &key, &size):
            k += 1
            if k <= depth:
                continue
            ticks = key if side else -key
            level.price_dec.neg = ticks < 0
            level.price_dec.m = <unsigned long long>(-ticks if ticks < 0 else ticks)
            level.price_dec.e = -book.decimals
            level.price = fb_price(book, key, side)
            level += 1
        fb_apply(book, side, s.levels + start[side] + n[side], more[side], &inexact)
    out[0] = u[0]
    out.bids = s.levels
    out.n_bid = n[0] + more[0]
    out.asks = s.levels + start[1]
    out.n_ask = n[1] + more[1]
    return True
