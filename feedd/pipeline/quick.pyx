"""Rows of messages of which only the numbers are read: quotes and trades that look as before.

Most messages of a busy feed are quotes and trades with one row, and every byte of them stands where
it stood in one before. For those ``quick_learn`` works out once, with the rules of ``rows.pyx``,
what each of the row's fields is: a number that is read with the message (decode/src/quick.h), a
value that the layout fixes, a text to be looked at. ``quick_publish`` then makes the records that
``row_convert`` and ``row_publish`` would have made. What it cannot tell is read in full.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from feedd.decode.engine cimport (
    FD_QUICK_NEW, FD_QUICK_NONE, FD_QUICK_USED, FD_STR, fd_layout, fd_msg, fd_pow10, fd_quick,
    fd_quick_is_fixed, fd_quick_number, fd_quick_texts, fd_route_learn, fd_val,
)
from feedd.decode.plan cimport (
    FLAGS_MAX, REPLAY_FILTER, REPLAY_FIRST, YIELDS_QUOTE, YIELDS_TRADE, field_t, program_t,
)
from feedd.pipeline.convert cimport is_text, side_of
from feedd.pipeline.copies cimport drop_copies
from feedd.pipeline.instrument cimport ids_seen, instrument_t, trades_heard
from feedd.pipeline.numbered cimport Numbered
from feedd.pipeline.output cimport Output, doubt_of
from feedd.pipeline.quickfields cimport (
    AT_ID, AT_SEQUENCE, AT_TIME, NO_NUMBER, fill_four, is_fixed, is_none, no_numbers, pinned,
    time_number, whole_number,
)
from feedd.pipeline.rows cimport (
    board_open, is_bad_time, is_replay, note_data, row_publish, row_t, trade_flags_of, trade_id_of,
)
from feedd.shm.feedd cimport (
    FEEDD_LAST, FEEDD_NO_INSTRUMENT, FEEDD_NO_SEQUENCE, FEEDD_QUOTE, FEEDD_REPLAY, FEEDD_TRADE,
    feedd_board_row, feedd_seq_end, feedd_store_f64, feedd_store_i64, feedd_store_u64, feedd_trade,
    feedd_writer,
)

cdef extern from "slots.h" nogil:
    void fb_put_quote(
        feedd_writer* w, uint64_t kind, int64_t ts_event, int64_t ts_recv, uint64_t sequence,
        uint16_t line, const double* quote)
    void fb_put_trade(
        feedd_writer* w, uint64_t kind, int64_t ts_event, int64_t ts_recv, uint64_t sequence,
        uint16_t line, const feedd_trade* trade)
    void fb_short_text(char* out, const uint8_t* p, uint32_t n)

cdef extern from "feedd/counters.h" nogil:
    enum:
        FEEDD_C_records
        FEEDD_C_events
        FEEDD_C_quotes
        FEEDD_C_trades
        FEEDD_C_duplicates


cdef void quick_learn(
    const fd_msg* m, const program_t* p, uint8_t yields, instrument_t* x
) noexcept nogil:
    cdef fd_layout* layout = m.layout
    if layout.quick.use == FD_QUICK_NEW:
        layout.quick.use = FD_QUICK_NONE
        if yields == p.yields and _learn(m, layout, p):
            layout.quick.use = FD_QUICK_USED
    if layout.quick.use == FD_QUICK_USED and x.id != FEEDD_NO_INSTRUMENT:
        fd_route_learn(m, layout, x)


cdef bint _learn(const fd_msg* m, fd_layout* l, const program_t* p) noexcept nogil:
    cdef fd_quick* q = &l.quick
    cdef int i
    no_numbers(q)
    q.id_at = q.side_at = NO_NUMBER
    if p.yields != YIELDS_QUOTE and p.yields != YIELDS_TRADE:
        return False
    if not fd_quick_texts(m, l, &l.value[p.symbol] if p.symbol >= 0 else NULL):
        return False
    if not pinned(m, l, l.value, p):
        return False
    if p.yields == YIELDS_QUOTE:
        q.no_zeros = True             # a side that is not there
        for i in range(4):
            if not _decimal(l, &p.quote[i], i):
                return False
        if not whole_number(m, l, l.value, p.quote_sequence, AT_SEQUENCE, &q.sequence):
            return False
    elif not _learn_trade(m, l, p):
        return False
    if not time_number(m, l, l.value, p):
        return False
    fill_four(l)
    return True


cdef bint _learn_trade(const fd_msg* m, fd_layout* l, const program_t* p) noexcept nogil:
    cdef fd_quick* q = &l.quick
    cdef const fd_val* v
    cdef int side = 0
    cdef int i
    if not (_decimal(l, &p.price, 0) and _decimal(l, &p.size, 1)):
        return False
    for i in range(2, 4):
        fd_quick_number(l, &l.value[p.price.slot], i)      # numbers are read in fours
        q.scale[i] = 1
    for i in range(FLAGS_MAX):
        if not is_fixed(l, l.value, &p.flags[i]):
            return False
    q.flags = trade_flags_of(m, m.slots, p)
    if p.replay == REPLAY_FILTER and not is_fixed(l, l.value, &p.replay_when):
        return False
    q.replay = is_replay(m, m.slots, p)
    if p.side.slot >= 0:
        v = &l.value[p.side.slot]
        if fd_quick_is_fixed(l, v):
            if side_of(m, m.slots, &p.side, &side) < 0:
                return False
        elif v.type == FD_STR and not p.side.sign:
            q.side_at = <uint8_t>p.side.slot
        else:
            return False
    q.side = <signed char>side
    if not whole_number(m, l, l.value, p.trade_sequence, AT_SEQUENCE, &q.sequence):
        return False
    if p.id >= 0 and not is_none(&l.value[p.id]):
        q.id_at = <uint8_t>p.id
        whole_number(m, l, l.value, p.id, AT_ID, &q.id)          # else the text says what it is
    return True


cdef bint _decimal(fd_layout* l, const field_t* f, int to) noexcept nogil:
    """The rule of ``number_of`` for what was read with the message."""
    cdef const fd_val* v
    if f.slot < 0:
        return False
    v = &l.value[f.slot]
    if not (-22 <= f.shift - v.decimals <= 0 and fd_quick_number(l, v, to)):
        return False
    l.quick.scale[to] = fd_pow10[v.decimals - f.shift]
    l.quick.no_zeros |= f.zero_absent
    return True


# ---- records -----------------------------------------------------------------------------------

cdef bint quick_publish(
    Output out, Numbered books, const fd_msg* m, const program_t* p, int64_t future_ns_max,
    row_t* r, int64_t ts_recv, int line
) noexcept nogil:
    cdef const fd_quick* q = &m.layout.quick
    cdef instrument_t* x = <instrument_t*>m.who
    cdef int64_t ts_event = 0
    cdef bint bad_ts = False
    cdef int side = 0
    if x.id == FEEDD_NO_INSTRUMENT:
        return False
    if q.time != NO_NUMBER:
        if m.number[AT_TIME] > q.time_max:
            return False
        ts_event = <int64_t>m.number[AT_TIME] * q.time_scale
        bad_ts = is_bad_time(ts_event, ts_recv, future_ns_max)
    r.ts_event = ts_event
    if p.yields == YIELDS_QUOTE and p.quote_ordered and q.sequence != NO_NUMBER and not bad_ts and (
            not x.has_quote or m.number[AT_SEQUENCE] > x.quote_sequence):
        note_data(x, m.channel, ts_recv)
        _put_quote(out, m, x, ts_event, ts_recv, line)
        return True
    if p.replay == REPLAY_FIRST and not trades_heard(x, p.stream, line):
        return False
    if p.yields == YIELDS_TRADE and q.id != NO_NUMBER and not bad_ts:
        if not _side_of(m, p, q, &side):
            return False
        note_data(x, m.channel, ts_recv)
        if ids_seen(x, p.stream, m.number[AT_ID], True):
            out.c[FEEDD_C_duplicates] += 1
        else:
            _put_trade(out, m, x, side, ts_event, ts_recv, line)
        return True
    r.x = x
    r.yields = p.yields
    r.bad_ts = bad_ts
    if p.yields == YIELDS_QUOTE:
        memcpy(r.quote, m.decimal, sizeof(r.quote))
        r.quote_inexact = 0
        r.has_quote_sequence = q.sequence != NO_NUMBER
        r.quote_sequence = m.number[AT_SEQUENCE]
        r.quote_ordered = r.has_quote_sequence and p.quote_ordered
    elif not _trade(m, m.layout, p, r):
        return False
    note_data(x, m.channel, ts_recv)
    drop_copies(books, p, r, ts_recv, line)
    row_publish(out, p, r, ts_recv, line)
    return True


cdef inline uint64_t head_of(
    const instrument_t* x, uint64_t kind, uint64_t flags
) noexcept nogil:
    """Kind, flags and instrument of a record, as they stand in its second word."""
    return kind | (flags | FEEDD_LAST | doubt_of(x)) << 8 | <uint64_t>x.id << 32


cdef inline void _put_quote(
    Output out, const fd_msg* m, instrument_t* x, int64_t ts_event, int64_t ts_recv, int line
) noexcept nogil:
    """A quote that is newer than the one before: what ``row_publish`` makes of it."""
    cdef uint64_t sequence = m.number[AT_SEQUENCE]
    cdef uint64_t* c = out.c
    cdef feedd_board_row* row
    cdef uint64_t odd
    x.has_quote = 1
    x.quote_sequence = sequence
    x.quote_ts_recv = ts_recv
    x.quote_ts_event = ts_event
    x.quote_line = line
    x.old_quotes = 0
    fb_put_quote(
        out.w, head_of(x, FEEDD_QUOTE, 0), ts_event, ts_recv, sequence, <uint16_t>line,
        m.decimal)
    c[FEEDD_C_records] += 1
    c[FEEDD_C_quotes] += 1
    c[FEEDD_C_events] += 1
    row = board_open(out, x, ts_recv, &odd)
    if row == NULL:
        return
    feedd_store_f64(&row.bid_price, m.decimal[0])
    feedd_store_f64(&row.bid_size, m.decimal[1])
    feedd_store_f64(&row.ask_price, m.decimal[2])
    feedd_store_f64(&row.ask_size, m.decimal[3])
    feedd_store_i64(&row.quote_ts_event, ts_event)
    feedd_store_i64(&row.quote_ts_recv, ts_recv)
    feedd_store_u64(&row.quote_sequence, sequence)
    feedd_seq_end(&row.lock, odd)


cdef inline void _put_trade(
    Output out, const fd_msg* m, instrument_t* x, int side, int64_t ts_event, int64_t ts_recv,
    int line
) noexcept nogil:
    """A trade with a number that is new."""
    cdef const fd_quick* q = &m.layout.quick
    cdef const fd_val* v = &m.layout.value[q.id_at]
    cdef uint64_t sequence = FEEDD_NO_SEQUENCE
    cdef uint64_t* c = out.c
    cdef feedd_trade trade
    cdef feedd_board_row* row
    cdef uint64_t odd
    if q.sequence != NO_NUMBER:
        sequence = m.number[AT_SEQUENCE]
    memset(&trade, 0, sizeof(trade))
    trade.price = m.decimal[0]
    trade.size = m.decimal[1]
    trade.trade_id = m.number[AT_ID]
    fb_short_text(trade.trade_id_text, m.base + v.off, v.len)
    trade.side = <signed char>side
    trade.trade_flags = q.flags
    fb_put_trade(
        out.w, head_of(x, FEEDD_TRADE, FEEDD_REPLAY if q.replay else 0), ts_event, ts_recv,
        sequence, <uint16_t>line, &trade)
    c[FEEDD_C_records] += 1
    c[FEEDD_C_trades] += 1
    c[FEEDD_C_events] += 1
    row = board_open(out, x, ts_recv, &odd)
    if row == NULL:
        return
    feedd_store_f64(&row.trade_price, trade.price)
    feedd_store_f64(&row.trade_size, trade.size)
    feedd_store_u64(&row.trade_id, trade.trade_id)
    feedd_store_i64(&row.trade_side, side)
    feedd_store_i64(&row.trade_ts_event, ts_event)
    feedd_store_i64(&row.trade_ts_recv, ts_recv)
    feedd_store_u64(&row.trade_sequence, sequence)
    feedd_seq_end(&row.lock, odd)


cdef inline bint _side_of(
    const fd_msg* m, const program_t* p, const fd_quick* q, int* side
) noexcept nogil:
    cdef const fd_val* v
    cdef int i
    side[0] = q.side
    if q.side_at == NO_NUMBER:
        return True
    v = &m.layout.value[q.side_at]
    for i in range(p.side.n):
        if is_text(m.base + v.off, v.len, &p.side.text[i]):
            side[0] = p.side.value[i]
            return True
    return False


cdef bint _trade(
    const fd_msg* m, const fd_layout* l, const program_t* p, row_t* r
) noexcept nogil:
    cdef const fd_quick* q = &l.quick
    cdef const fd_val* v = NULL
    if q.id_at != NO_NUMBER:
        v = &l.value[q.id_at]
    r.price = m.decimal[0]
    r.size = m.decimal[1]
    r.trade_inexact = 0
    if not _side_of(m, p, q, &r.side):
        return False
    r.trade_sequence = m.number[AT_SEQUENCE] if q.sequence != NO_NUMBER else FEEDD_NO_SEQUENCE
    r.trade_flags = q.flags
    r.replay = q.replay
    return trade_id_of(m, v, q.id != NO_NUMBER, m.number[AT_ID], r) == NULL
