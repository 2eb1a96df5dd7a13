"""The levels of one line's book, and a sum that is the same whenever the whole book is the same.

The sum does not depend on the order in which levels came to be, and a change costs the two terms
that it replaces. Two different books have the same sum by a chance of one in 2^64.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from feedd.book.checksum cimport fr_free, fr_map, fr_row
from feedd.pipeline.mix cimport feedd_mix, feedd_mix_double

cdef uint32_t LEVELS_FIRST = 256


cdef tally_t* tally_new() noexcept nogil:
    cdef tally_t* t = <tally_t*>calloc(1, sizeof(tally_t))
    if t == NULL:
        return NULL
    t.level = <tallied_t*>calloc(LEVELS_FIRST, sizeof(tallied_t))
    if t.level == NULL:
        free(t)
        return NULL
    t.mask = LEVELS_FIRST - 1
    return t


cdef void tally_free(tally_t* t) noexcept nogil:
    if t != NULL:
        fr_free(&t.rows)
        free(t.level)
        free(t)


cdef void tally_clear(tally_t* t) noexcept nogil:
    memset(t.level, 0, (<size_t>t.mask + 1) * sizeof(tallied_t))
    t.n = 0
    t.sum = 0


cdef inline uint64_t _term(uint64_t key, double size) noexcept nogil:
    return feedd_mix(feedd_mix_double(key, size), key)


cdef inline tallied_t* _place(tallied_t* level, uint32_t mask, uint64_t key) noexcept nogil:
    """Where a key is, or belongs."""
    cdef uint32_t i = <uint32_t>(key ^ key >> 32) & mask
    while level[i].key and level[i].key != key:
        i = (i + 1) & mask
    return &level[i]


cdef bint _grow(tally_t* t) noexcept nogil:
    """Levels without a size stay until the table is full: what comes back is mostly the same."""
    cdef uint32_t mask = t.mask
    cdef uint32_t kept = 0
    cdef uint32_t i
    cdef tallied_t* grown
    for i in range(t.mask + 1):
        kept += t.level[i].size != 0
    if kept * 4 > mask:
        mask = mask * 2 + 1
    grown = <tallied_t*>calloc(<size_t>mask + 1, sizeof(tallied_t))
    if grown == NULL:
        return False
    for i in range(t.mask + 1):
        if t.level[i].size:
            _place(grown, mask, t.level[i].key)[0] = t.level[i]
    free(t.level)
    t.level = grown
    t.mask = mask
    t.n = kept
    return True


cdef bint tally_set(tally_t* t, int side, double price, double size) noexcept nogil:
    cdef uint64_t key = feedd_mix_double(<uint64_t>side + 1, price) | 1
    cdef tallied_t* level = _place(t.level, t.mask, key)
    if level.key == 0:
        if size == 0:
            return True
        if t.n * 2 > t.mask:
            if not _grow(t):
                return False
            level = _place(t.level, t.mask, key)
        level.key = key
        t.n += 1
    elif level.size:
        t.sum -= _term(key, level.size)
    level.size = size
    if size:
        t.sum += _term(key, size)
    return True


cdef bint tally_rows(tally_t* t, const fr_map* rows) noexcept nogil:
    cdef size_t bytes = (<size_t>rows.mask + 1) * sizeof(fr_row)
    fr_free(&t.rows)
    if rows.row == NULL:
        return True
    t.rows.row = <fr_row*>malloc(bytes)
    if t.rows.row == NULL:
        return False
    memcpy(t.rows.row, rows.row, bytes)
    t.rows.mask = rows.mask
    t.rows.n = rows.n
    return True
