"""The book part of a row: levels, numbers, snapshot or change."""

from libc.math cimport isinf
from libc.stdint cimport UINT32_MAX, int64_t, uint8_t, uint32_t
from libc.string cimport memset

from feedd.decode.engine cimport (
    FD_ABSENT, FD_NULL, fd_dec, fd_hash_bytes, fd_level, fd_levels, fd_msg, fd_to_double, fd_val,
)
from feedd.decode.plan cimport (
    POLICY_KEYED_ROWS, POLICY_NONE_FULL, POLICY_PREV_LINK, POLICY_PREV_LINK_REST, SNAPSHOT_ALWAYS,
    SNAPSHOT_ROWS, program_t,
)
from feedd.pipeline.convert cimport (
    decimal_of, integer_of, is_in, sequence_of, side_of, text_of,
)
from feedd.pipeline.policies cimport is_numbered
from feedd.pipeline.rows cimport row_t
from feedd.shm.feedd cimport FEEDD_NO_SEQUENCE


cdef extern from "empty.h" nogil:
    uint32_t fb_without_empty(fd_level* levels, uint32_t n)


cdef const char* book_convert(
    const fd_msg* m, uint32_t index, const fd_val* row, const program_t* p, row_t* r
) noexcept nogil:
    cdef const fd_levels* bids = &m.sides[index * 2]
    cdef const fd_levels* asks = &m.sides[index * 2 + 1]
    cdef uint8_t scratch[256]
    cdef const uint8_t* text
    cdef uint32_t n
    cdef const char* why = _kind(m, row, p, r)
    if why != NULL:
        return why
    r.book.keys = NULL
    r.book.channel = p.stream
    r.book.topic = 0 if p.one_stream else m.topic_hash
    if p.symbol_cut and p.symbol >= 0:       # the depth stands beside the symbol
        text = text_of(m, row + p.symbol, scratch, sizeof(scratch), &n)
        if text != NULL:
            r.book.topic ^= fd_hash_bytes(text, n)
    why = _numbers(m, row, p, r)
    if why != NULL:
        return why
    if p.rows:
        return _level(m, row, p, r)
    if bids.seen == 2 or asks.seen == 2:
        return b"levels are not [price, size] lists"
    if bids.seen == 0 and asks.seen == 0 and not p.sides_optional:
        return b"book without bids and asks"
    r.book.bids = m.levels + bids.start
    r.book.asks = m.levels + asks.start
    r.book.n_bid = bids.count
    r.book.n_ask = asks.count
    if r.book.snapshot:      # Kraken Futures sends levels of size zero there
        r.book.n_bid = fb_without_empty(m.levels + bids.start, bids.count)
        r.book.n_ask = fb_without_empty(m.levels + asks.start, asks.count)
        if r.book.n_bid == UINT32_MAX or r.book.n_ask == UINT32_MAX:
            return b"out of memory"
    return NULL


cdef const char* _kind(
    const fd_msg* m, const fd_val* row, const program_t* p, row_t* r
) noexcept nogil:
    """Snapshot or change, from what the venue file says about types and previous numbers."""
    cdef bint is_delta = False
    cdef int i, found
    found = integer_of(m, row, p.previous, 0, &r.book.previous)
    if found < 0:
        return b"previous sequence is not a number"
    r.book.has_previous = found
    if not found:
        r.book.previous = -1
    r.key.is_delete = r.key.is_new = 0
    r.book.snapshot = (p.policy == POLICY_NONE_FULL or p.snapshot_by == SNAPSHOT_ALWAYS
                       or (p.snapshot_by == SNAPSHOT_ROWS and m.listed))
    if p.type >= 0 and row[p.type].type != FD_ABSENT and row[p.type].type != FD_NULL:
        if is_in(m, row, p.type, &p.snapshot_type):
            r.book.snapshot = 1
        elif is_in(m, row, p.type, &p.insert_type):
            is_delta = True
            r.key.is_new = 1
        elif is_in(m, row, p.type, &p.delete_type):
            is_delta = True
            r.key.is_delete = 1
        elif is_in(m, row, p.type, &p.delta_type):
            is_delta = True
        else:
            return b"book type not in the venue file"
    elif p.type >= 0 and not p.type_optional and p.policy != POLICY_PREV_LINK:
        return b"book without its type"
    if p.policy == POLICY_PREV_LINK:
        # old frames of some venues name no type: a change is then what has a previous number
        if (not r.book.snapshot and not r.book.has_previous and not is_delta
                and p.previous >= 0):
            r.book.snapshot = 1
        for i in range(p.n_snapshot_previous):
            if r.book.has_previous and r.book.previous == p.snapshot_previous[i]:
                r.book.snapshot = 1
    return NULL


cdef const char* _numbers(
    const fd_msg* m, const fd_val* row, const program_t* p, row_t* r
) noexcept nogil:
    cdef int found = sequence_of(m, row, p.current, &r.book.current)
    # where no rule is about numbers none is needed, and old frames of some venues have a checksum
    if found < 0 or (found == 0 and p.current >= 0 and is_numbered(p) and not (
            p.policy == POLICY_PREV_LINK and p.checksum.used)):
        return b"book without its sequence"
    r.book.has_current = found
    if not found:
        r.book.current = FEEDD_NO_SEQUENCE
    r.book.first = r.book.current
    if p.first >= 0:
        found = sequence_of(m, row, p.first, &r.book.first)
        if found < 0 or (found == 0 and not r.book.snapshot):
            return b"book without its first sequence"
        if r.book.first > r.book.current:
            return b"book whose first sequence is above its last"
    if not r.book.snapshot and not r.book.has_previous and r.book.has_current and (
            p.policy == POLICY_PREV_LINK or p.policy == POLICY_PREV_LINK_REST):
        return b"delta without its previous sequence"
    found = integer_of(m, row, p.checksum.slot, 0, &r.book.checksum) if p.checksum.used else 0
    if found < 0:
        return b"checksum is not a number"
    r.book.has_checksum = found and not (p.checksum.zero_is_none and r.book.checksum == 0)
    return NULL


cdef int _decimal(
    const fd_msg* m, const fd_val* row, int slot, fd_dec* d, double* out, uint8_t* inexact
) noexcept nogil:
    cdef uint8_t scratch[256]
    cdef const uint8_t* text
    cdef uint32_t n
    cdef int found = decimal_of(m, &row[slot], d, &text, &n, scratch, sizeof(scratch))
    if found == 1:
        out[0] = fd_to_double(d[0], 0, text, n, inexact)
        if isinf(out[0]):
            return -1
    return found


cdef const char* _level(
    const fd_msg* m, const fd_val* row, const program_t* p, row_t* r
) noexcept nogil:
    """The row is one level."""
    cdef fd_dec size
    cdef int64_t count
    cdef int side, found
    memset(&r.level, 0, sizeof(r.level))
    if side_of(m, row, &p.level_side, &side) != 1 or side == 0:
        return b"level without a side"
    r.level.side = 0 if side > 0 else 1
    found = _decimal(m, row, p.level_price, &r.level.price_dec, &r.level.price, &r.level.inexact)
    r.key.has_price = found == 1
    if found < 0 or (found == 0 and p.policy != POLICY_KEYED_ROWS):
        return b"level without a price"
    found = _decimal(m, row, p.level_size, &size, &r.level.size, &r.level.inexact)
    if found == 1:
        if size.neg and size.m and not p.level_side.sign:
            return b"level with a negative size"
        if size.neg:
            r.level.size = -r.level.size
        r.level.size_m = size.m
        r.level.size_e = <short>size.e
    elif found < 0 or not r.key.is_delete:
        return b"level without a size"
    if r.key.is_delete:
        r.level.size = 0
    if p.level_count >= 0:
        if integer_of(m, row, p.level_count, 0, &count) != 1:
            return b"level without a count"
        if count == 0:
            r.level.size = 0
    r.key.id = 0
    if p.level_id >= 0 and sequence_of(m, row, p.level_id, &r.key.id) != 1:
        return b"level without an id"
    return NULL
