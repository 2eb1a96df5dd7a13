"""Changes of books of which only the numbers and the levels are read.

What stands before the levels of a change is mostly as it was in one before, but for digits. For
such a head ``quick_book_learn`` works out once, with the rules of ``bookrow.pyx``, where the
numbers of a change are; whom it is about is told by its topic and symbol as a whole
(decode/src/quick.h). Then ``quick_book`` makes of it what ``row_convert`` would have made. Numbers
may stand behind the levels, too (OKX, Bybit, Bitget); what else is there is passed over, where it
means nothing here or tells only whose message it is. Snapshots, books with checksums, and those
with another value behind their levels that says something, be it the head's once more, are read in
full.
"""

from libc.stdint cimport int64_t

from feedd.decode.engine cimport (
    FD_QUICK_NEW, FD_QUICK_NONE, FD_QUICK_USED, fd_layout, fd_levels, fd_msg, fd_quick,
    fd_quick_pin, fd_quick_texts, fd_quick_told_behind, fd_quick_type, fd_route_learn, fd_val,
)
from feedd.decode.plan cimport POLICY_KEYED_ROWS, POLICY_NONE_FULL, YIELDS_BOOK, program_t
from feedd.pipeline.books cimport Books
from feedd.pipeline.instrument cimport instrument_t
from feedd.pipeline.quickfields cimport (
    AT_FIRST, AT_PREVIOUS, AT_SEQUENCE, AT_TIME, NO_NUMBER, fill_four, is_none, no_numbers,
    pinned, time_number, whole_number,
)
from feedd.pipeline.rows cimport is_bad_time, note_data, row_t
from feedd.shm.feedd cimport FEEDD_BAD_TS, FEEDD_NO_INSTRUMENT, FEEDD_NO_SEQUENCE


cdef void quick_book_learn(const fd_msg* m, const program_t* p, const row_t* r) noexcept nogil:
    cdef fd_layout* head = m.head
    if head.quick.use == FD_QUICK_NEW:
        head.quick.use = FD_QUICK_NONE
        if _learn(m, head, p, r):
            head.quick.use = FD_QUICK_USED
    if head.quick.use != FD_QUICK_USED:
        return
    if not fd_quick_told_behind(m, head):
        if r.x.id != FEEDD_NO_INSTRUMENT:
            fd_route_learn(m, head, r.x)
    elif head.quick.known == 0:        # a new field of the venue, or its head is not what counts
        head.quick.use = FD_QUICK_NEW


cdef bint _learn(
    const fd_msg* m, fd_layout* l, const program_t* p, const row_t* r
) noexcept nogil:
    cdef fd_quick* q = &l.quick
    cdef const fd_val* row = m.slots
    no_numbers(q)
    if (p.yields != YIELDS_BOOK or r.yields != YIELDS_BOOK or p.rows
            or p.policy == POLICY_KEYED_ROWS or p.policy == POLICY_NONE_FULL
            or r.book.snapshot or p.symbol_cut):
        return False
    if p.checksum.used and not _no_checksum(m, l, &row[p.checksum.slot], p):
        return False
    if not fd_quick_texts(m, l, &row[p.symbol] if p.symbol >= 0 else NULL):
        return False
    if not pinned(m, l, row, p):
        return False
    if p.type >= 0 and not fd_quick_type(m, l, &row[p.type]):
        return False
    if not (whole_number(m, l, row, p.current, AT_SEQUENCE, &q.sequence)
            and whole_number(m, l, row, p.first, AT_FIRST, &q.id)
            and whole_number(m, l, row, p.previous, AT_PREVIOUS, &q.previous)
            and time_number(m, l, row, p)):
        return False
    fill_four(l)
    return True


cdef bint _no_checksum(
    const fd_msg* m, fd_layout* l, const fd_val* v, const program_t* p
) noexcept nogil:
    """The message has none, or a zero that stands for none, and so have those that are read so."""
    return is_none(v) or (
        p.checksum.zero_is_none and v.len == 1 and m.base[v.off] == c"0"
        and fd_quick_pin(m, l, v))


cdef bint quick_book(
    Books books, const fd_msg* m, const program_t* p, int64_t future_ns_max, row_t* r,
    int64_t ts_recv, int line
) noexcept nogil:
    cdef const fd_quick* q = &m.layout.quick
    cdef const fd_levels* sides = m.sides
    cdef int i
    r.x = <instrument_t*>m.who
    r.ts_event = 0
    if r.x.id == FEEDD_NO_INSTRUMENT or (
            sides[0].seen == 0 and sides[1].seen == 0 and not p.sides_optional):
        return False
    if q.time != NO_NUMBER:
        if m.number[AT_TIME] > q.time_max:
            return False
        r.ts_event = <int64_t>m.number[AT_TIME] * q.time_scale
    r.book.has_current = q.sequence != NO_NUMBER
    r.book.current = m.number[AT_SEQUENCE] if r.book.has_current else FEEDD_NO_SEQUENCE
    r.book.first = m.number[AT_FIRST] if q.id != NO_NUMBER else r.book.current
    r.book.has_previous = q.previous != NO_NUMBER
    r.book.previous = <int64_t>m.number[AT_PREVIOUS] if r.book.has_previous else -1
    if r.book.first > r.book.current:
        return False
    for i in range(p.n_snapshot_previous):
        if r.book.previous == p.snapshot_previous[i]:
            return False
    r.book.snapshot = r.book.has_checksum = 0
    r.book.keys = NULL
    r.book.channel = p.stream
    r.book.topic = 0 if p.one_stream else m.topic_hash
    r.book.bids = m.levels + sides[0].start
    r.book.asks = m.levels + sides[1].start
    r.book.n_bid = sides[0].count
    r.book.n_ask = sides[1].count
    r.book.stamp.ts_event = r.ts_event
    r.book.stamp.ts_recv = ts_recv
    r.book.stamp.sequence = r.book.current
    r.book.stamp.line = line
    r.book.stamp.flags = (
        FEEDD_BAD_TS if is_bad_time(r.ts_event, ts_recv, future_ns_max) else 0)
    note_data(r.x, m.channel, ts_recv)
    books.update(r.x, p, &r.book)
    return True
