"""What a message says, as one number: equal content has equal numbers."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from feedd.decode.engine cimport fd_level
from feedd.pipeline.mix cimport feedd_mix, feedd_mix_double
from feedd.pipeline.update cimport update_t

cdef inline uint64_t levels_content(uint64_t h, const fd_level* levels, uint32_t n) noexcept nogil:
    cdef uint32_t i
    for i in range(n):
        h = feedd_mix_double(feedd_mix_double(h, levels[i].price), levels[i].size)
    return feedd_mix(h, n)


cdef inline uint64_t level_key(const update_t* u, uint32_t i) noexcept nogil:
    """Which level a message touches with its level i (bids first): by id where it has one."""
    cdef uint64_t side = i >= u.n_bid
    if u.keys != NULL:
        return feedd_mix(side, u.keys[i].id)
    return feedd_mix_double(side, u.asks[i - u.n_bid].price if side else u.bids[i].price)


cdef inline uint64_t content_of(const update_t* u) noexcept nogil:
    """Levels, keys, checksum and venue time of a book message."""
    cdef uint64_t h = feedd_mix(<uint64_t>u.stamp.ts_event, u.snapshot)
    cdef uint32_t i
    h = levels_content(h, u.bids, u.n_bid)
    h = levels_content(h, u.asks, u.n_ask)
    if u.keys != NULL:
        for i in range(u.n_bid + u.n_ask):
            h = feedd_mix(h, u.keys[i].id * 8 + u.keys[i].is_new * 4 + u.keys[i].has_price * 2
                          + u.keys[i].is_delete)
    if u.has_checksum:
        h = feedd_mix(h, <uint64_t>u.checksum)
    return h
