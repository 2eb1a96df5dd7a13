"""What the pipeline knows of one instrument, and the table that finds it by its symbol."""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove

from feedd.book.book cimport fb_book_free
from feedd.book.checksum cimport fr_free, fx_free
from feedd.decode.engine cimport fd_hash_bytes, fd_level
from feedd.pipeline.lanes cimport lanes_free
from feedd.pipeline.recent cimport recent_free
from feedd.shm.feedd cimport FEEDD_NO_INSTRUMENT

from feedd import limits

cdef uint32_t IDS_FIRST = 64
cdef int64_t PAST_NS = 1_000_000_000   # no venue takes so long to tell of a trade
cdef uint32_t COMPACT_MIN = 4096
cdef uint32_t IDS_MAX = limits.TRADE_IDS_KEPT
cdef uint32_t BUFFER_LEVELS_MAX = limits.BOOK_BUFFER_LEVELS_MAX


cdef instrument_t* instrument_new(const uint8_t* symbol, size_t n, int32_t venue) noexcept nogil:
    cdef instrument_t* x = <instrument_t*>calloc(1, sizeof(instrument_t))
    if x == NULL:
        return NULL
    x.symbol = <char*>malloc(n + 1)
    if x.symbol == NULL:
        free(x)
        return NULL
    memcpy(x.symbol, symbol, n)
    x.symbol[n] = 0
    x.symbol_n = <uint32_t>n
    x.venue = venue
    x.id = FEEDD_NO_INSTRUMENT
    x.row = -1
    x.book_channel = -1
    x.line = -1
    return x


cdef void instrument_free(instrument_t* x) noexcept nogil:
    cdef ids_t* ids = x.ids
    cdef ids_t* following
    while ids != NULL:
        following = ids.next
        free(ids.seen)
        free(ids)
        ids = following
    if x.book != NULL:
        fb_book_free(x.book)
        free(x.book)
    if x.texts != NULL:
        fx_free(x.texts)
        free(x.texts)
    if x.rows != NULL:
        fr_free(x.rows)
        free(x.rows)
    lanes_free(x.lanes)
    recent_free(x.recent)
    free(x.pending)
    free(x.buffer)
    free(x.key_buffer)
    free(x.said)
    free(x.symbol)
    free(x)


cdef ids_t* _ids_of(instrument_t* x, int32_t channel) noexcept nogil:
    cdef ids_t* ids = x.ids
    while ids != NULL:
        if ids.channel == channel:
            return ids
        ids = ids.next
    ids = <ids_t*>calloc(1, sizeof(ids_t))
    if ids == NULL:
        return NULL
    ids.channel = channel
    ids.next = x.ids
    x.ids = ids
    return ids


cdef bint trades_heard(instrument_t* x, int32_t channel, int32_t line) noexcept nogil:
    cdef ids_t* ids = _ids_of(x, channel)
    return ids != NULL and ids.lines >> (line & 63) & 1


cdef bint trade_is_past(
    instrument_t* x, int32_t channel, int32_t line, uint64_t message, int64_t ts_event,
    int64_t ts_recv
) noexcept nogil:
    cdef ids_t* ids = _ids_of(x, channel)
    if ids == NULL:
        return False
    if not ids.lines >> (line & 63) & 1:
        ids.lines |= <uint64_t>1 << (line & 63)
        ids.first_line = line
        ids.first_message = message
    elif ids.first_line != line or ids.first_message != message:
        return False
    return ts_recv != 0 and ts_event != 0 and ts_recv - ts_event > PAST_NS


cdef void trades_line_gone(instrument_t* x, int32_t line) noexcept nogil:
    cdef ids_t* ids = x.ids
    while ids != NULL:
        ids.lines &= ~(<uint64_t>1 << (line & 63))
        ids = ids.next


cdef bint ids_seen(
    instrument_t* x, int32_t channel, uint64_t trade_id, bint numeric
) noexcept nogil:
    """True when this id came before; else remember it.

    Venues number trades upwards, so an id above the highest one is new without a search. The
    window starts small and grows to ``TRADE_IDS_KEPT`` with the trades of the instrument.
    """
    cdef ids_t* ids = _ids_of(x, channel)
    cdef uint64_t* grown
    cdef uint32_t i, cap
    if ids == NULL:
        return False
    if not (numeric and ids.n and trade_id > ids.highest):
        for i in range(ids.n):
            if ids.seen[i] == trade_id:
                return True
    if ids.n == ids.cap and ids.cap < IDS_MAX:
        cap = ids.cap * 4 if ids.cap else IDS_FIRST
        if cap > IDS_MAX:
            cap = IDS_MAX
        grown = <uint64_t*>realloc(ids.seen, cap * sizeof(uint64_t))
        if grown != NULL:
            ids.seen = grown
            ids.cap = cap
    if ids.cap == 0:
        return False
    if ids.n < ids.cap:
        ids.seen[ids.n] = trade_id
        ids.n += 1
    else:
        if ids.at >= ids.cap:
            ids.at = 0
        ids.seen[ids.at] = trade_id
        ids.at += 1
    if numeric and trade_id > ids.highest:
        ids.highest = trade_id
    elif not numeric:
        ids.highest = <uint64_t>-1    # mixed ids: always search
    return False


cdef bint pending_add(
    instrument_t* x, const pending_t* delta, const fd_level* bids, const fd_level* asks,
    const rowkey_t* keys, bint by_number
) noexcept nogil:
    cdef uint32_t total = delta.n_bid + delta.n_ask
    cdef uint32_t need = x.n_buffer + total
    cdef uint32_t cap, at
    cdef void* grown
    cdef bint kept = True
    if need > BUFFER_LEVELS_MAX and x.n_pending:
        pending_clear(x)
        need = total
        kept = False
    if need > x.cap_buffer:
        cap = need * 2
        grown = realloc(x.buffer, cap * sizeof(fd_level))
        if grown == NULL:
            pending_clear(x)
            return False
        x.buffer = <fd_level*>grown
        x.cap_buffer = cap
    if keys != NULL and x.cap_keys < x.cap_buffer:
        grown = realloc(x.key_buffer, x.cap_buffer * sizeof(rowkey_t))
        if grown == NULL:
            pending_clear(x)
            return False
        x.key_buffer = <rowkey_t*>grown
        x.cap_keys = x.cap_buffer
    if x.n_pending == x.cap_pending:
        cap = x.cap_pending * 2 if x.cap_pending else 16
        grown = realloc(x.pending, cap * sizeof(pending_t))
        if grown == NULL:
            pending_clear(x)
            return False
        x.pending = <pending_t*>grown
        x.cap_pending = cap
    at = x.n_pending
    if by_number:
        while at and x.pending[at - 1].current > delta.current:
            at -= 1
        memmove(&x.pending[at + 1], &x.pending[at], (x.n_pending - at) * sizeof(pending_t))
    x.pending[at] = delta[0]
    x.pending[at].start = x.n_buffer
    x.pending[at].has_keys = keys != NULL
    x.n_pending += 1
    memcpy(&x.buffer[x.n_buffer], bids, delta.n_bid * sizeof(fd_level))
    memcpy(&x.buffer[x.n_buffer + delta.n_bid], asks, delta.n_ask * sizeof(fd_level))
    if keys != NULL:
        memcpy(&x.key_buffer[x.n_buffer], keys, total * sizeof(rowkey_t))
    x.n_buffer = need
    return kept


cdef void pending_clear(instrument_t* x) noexcept nogil:
    x.n_pending = 0
    x.n_buffer = 0
    if x.cap_buffer > 4096:      # a rare burst: give the memory back
        free(x.buffer)
        x.buffer = NULL
        x.cap_buffer = 0


cdef void pending_compact(instrument_t* x) noexcept nogil:
    cdef uint32_t used = 0
    cdef uint32_t at = 0
    cdef uint32_t i, n
    cdef pending_t* d
    if x.n_buffer < COMPACT_MIN:
        return
    for i in range(x.n_pending):
        used += x.pending[i].n_bid + x.pending[i].n_ask
    if used * 2 > x.n_buffer:
        return
    for i in range(x.n_pending):      # in the order of the buffer: they are appended only
        d = &x.pending[i]
        n = d.n_bid + d.n_ask
        memmove(&x.buffer[at], &x.buffer[d.start], n * sizeof(fd_level))
        if d.has_keys:
            memmove(&x.key_buffer[at], &x.key_buffer[d.start], n * sizeof(rowkey_t))
        d.start = at
        at += n
    x.n_buffer = at


cdef void pending_shift(instrument_t* x, uint32_t n) noexcept nogil:
    if n >= x.n_pending:
        pending_clear(x)
    elif n:
        x.n_pending -= n
        memmove(x.pending, &x.pending[n], x.n_pending * sizeof(pending_t))


cdef void pending_drop_one(instrument_t* x, uint32_t i) noexcept nogil:
    x.n_pending -= 1
    memmove(&x.pending[i], &x.pending[i + 1], (x.n_pending - i) * sizeof(pending_t))
    if x.n_pending == 0:
        pending_clear(x)


cdef void pending_drop_line(instrument_t* x, int32_t line, uint32_t last) noexcept nogil:
    cdef uint32_t i
    cdef uint32_t n = 0
    for i in range(x.n_pending):
        if x.pending[i].line == line and i <= last:
            continue
        if n != i:
            x.pending[n] = x.pending[i]
        n += 1
    x.n_pending = n
    if n == 0:
        pending_clear(x)


cdef table_t* table_new() noexcept:
    cdef table_t* t = <table_t*>calloc(1, sizeof(table_t))
    if t == NULL:
        return NULL
    t.cap = 64
    t.mask = 255
    t.slots = <instrument_t**>calloc(t.mask + 1, sizeof(void*))
    t.items = <instrument_t**>calloc(t.cap, sizeof(void*))
    if t.slots == NULL or t.items == NULL:
        table_free(t)
        return NULL
    return t


cdef void table_free(table_t* t) noexcept:
    cdef uint32_t i
    for i in range(t.n):
        instrument_free(t.items[i])
    free(t.slots)
    free(t.items)
    free(t)


cdef instrument_t* table_find(
    const table_t* t, const uint8_t* symbol, size_t n
) noexcept nogil:
    cdef uint32_t i = <uint32_t>fd_hash_bytes(symbol, n) & t.mask
    cdef instrument_t* x = t.slots[i]
    while x != NULL:
        if x.symbol_n == n and memcmp(x.symbol, symbol, n) == 0:
            return x
        i = (i + 1) & t.mask
        x = t.slots[i]
    return NULL


cdef void _place(instrument_t** slots, uint32_t mask, instrument_t* x) noexcept nogil:
    cdef uint32_t i = <uint32_t>fd_hash_bytes(<const uint8_t*>x.symbol, x.symbol_n) & mask
    while slots[i] != NULL:
        i = (i + 1) & mask
    slots[i] = x


cdef instrument_t* table_add(
    table_t* t, const uint8_t* symbol, size_t n, int32_t venue
) noexcept nogil:
    cdef instrument_t** grown
    cdef uint32_t i, cap, mask
    cdef instrument_t* x
    if t.n == t.cap:
        cap = t.cap * 2
        mask = cap * 4 - 1
        grown = <instrument_t**>realloc(t.items, cap * sizeof(void*))
        if grown == NULL:
            return NULL
        t.items = grown
        t.cap = cap
        grown = <instrument_t**>calloc(mask + 1, sizeof(void*))
        if grown == NULL:
            return NULL
        for i in range(t.n):
            _place(grown, mask, t.items[i])
        free(t.slots)
        t.slots = grown
        t.mask = mask
    x = instrument_new(symbol, n, venue)
    if x == NULL:
        return NULL
    t.items[t.n] = x
    t.n += 1
    _place(t.slots, t.mask, x)
    return x
