"""One row of a message: check and convert it, and later publish its records.

Conversion and publication are apart because a message is all or nothing: no record of it may be
published before its last row was converted.
"""

from libc.math cimport NAN, isnan
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from feedd.decode.engine cimport (
    FD_ABSENT, FD_NULL, FD_NUM, FD_STR, fd_msg, fd_text_u64, fd_val,
)
from feedd.decode.plan cimport (
    DERIV_NUMBERS, GREEKS_NUMBERS, REPLAY_ALWAYS, REPLAY_FILTER, REPLAY_FIRST, REPLAY_ROWS,
    YIELDS_BOOK,
    YIELDS_CHECKSUM, YIELDS_DERIV, YIELDS_GREEKS, YIELDS_LIQUIDATION, YIELDS_QUOTE, YIELDS_STATE,
    YIELDS_TRADE, program_t,
)
from feedd.pipeline.bookrow cimport book_convert
from feedd.pipeline.convert cimport (
    integer_of, is_foreign, is_set, number_of, sequence_of, side_of, text_of, time_of,
)
from feedd.pipeline.instrument cimport ids_seen, instrument_t, trade_is_past
from feedd.pipeline.output cimport Output, row_of, stamp_t
from feedd.pipeline.states cimport state_convert
from feedd.shm.feedd cimport (
    FEEDD_BAD_TS, FEEDD_DERIV, FEEDD_GREEKS, FEEDD_INEXACT, FEEDD_LAST, FEEDD_LIQUIDATION,
    FEEDD_NO_SEQUENCE, FEEDD_QUOTE, FEEDD_REPLAY, FEEDD_TRADE, FEEDD_TRADE_BLOCK, FEEDD_TRADE_COMBO,
    FEEDD_TRADE_ID_CUT, FEEDD_TRADE_LIQUIDATION, feedd_board_row, feedd_put, feedd_record,
    feedd_seq_begin, feedd_seq_end, feedd_store_f64, feedd_store_i64, feedd_store_u64,
)

cdef extern from "feedd/counters.h" nogil:
    enum:
        FEEDD_C_frames
        FEEDD_C_events
        FEEDD_C_trades
        FEEDD_C_liquidations
        FEEDD_C_quotes
        FEEDD_C_derivs
        FEEDD_C_greeks
        FEEDD_C_duplicates
        FEEDD_C_inexact
        FEEDD_C_bad_timestamps

cdef uint64_t FNV_OFFSET = 0xcbf29ce484222325      # FNV-1a, 64 bits
cdef uint64_t FNV_PRIME = 0x100000001b3
cdef int64_t QUOTES_BEHIND_NS = 5_000_000_000      # a line that is further behind has no other

cdef enum:
    GREEKS_MARK = 9          # index of the field that alone makes no greeks where it is a price too
    OLD_QUOTES_MAX = 32      # old numbers in a row before they are believed


# ---- conversion --------------------------------------------------------------------------------

cdef const char* row_convert(
    const fd_msg* m, uint32_t index, const program_t* p, row_t* r
) noexcept nogil:
    cdef const fd_val* row = m.slots + index * m.plan.channels[m.channel].slots
    cdef const char* why
    cdef int i, found
    r.yields = p.yields
    if is_foreign(m, row, &p.foreign) or (p.only.slot >= 0 and not is_set(m, row, &p.only)):
        r.yields = 0
        return NULL
    r.bad_ts = 0
    r.ts_event = 0
    for i in range(p.n_time):
        found = time_of(m, row, p.time[i], p.time_shift[i], &r.ts_event)
        if found < 0:
            return b"time is not a number"
        if found:
            r.bad_ts = found == 2
            break
    if p.yields & (YIELDS_TRADE | YIELDS_LIQUIDATION):
        why = _trade(m, row, p, r)
        if why != NULL:
            return why
    if p.yields & YIELDS_QUOTE:
        why = _quote(m, row, p, r)
        if why != NULL:
            return why
    if p.yields & YIELDS_BOOK:
        why = book_convert(m, index, row, p, r)
        if why != NULL:
            return why
    if p.yields & YIELDS_CHECKSUM:
        if integer_of(m, row, p.checksum_slot, 0, &r.checksum) != 1:
            return b"checksum is not a number"
    if p.yields & YIELDS_DERIV:
        why = _deriv(m, row, p, r)
        if why != NULL:
            return why
    if p.yields & YIELDS_GREEKS:
        why = _greeks(m, row, p, r)
        if why != NULL:
            return why
    if p.yields & YIELDS_STATE:
        return state_convert(m, row, p, r)
    return NULL


cdef const char* _trade(
    const fd_msg* m, const fd_val* row, const program_t* p, row_t* r
) noexcept nogil:
    r.trade_inexact = 0
    if number_of(m, row, &p.price, &r.price, &r.trade_inexact) != 1:
        return b"trade without a price"
    if number_of(m, row, &p.size, &r.size, &r.trade_inexact) != 1 or r.size < 0:
        return b"trade without a size"
    if side_of(m, row, &p.side, &r.side) < 0:
        return b"trade side not in the venue file"
    r.trade_sequence = FEEDD_NO_SEQUENCE
    if sequence_of(m, row, p.trade_sequence, &r.trade_sequence) < 0:
        return b"trade sequence is not a number"
    r.trade_flags = trade_flags_of(m, row, p)
    r.replay = is_replay(m, row, p)
    return trade_id_of(m, &row[p.id] if p.id >= 0 else NULL, False, 0, r)


cdef bint is_replay(const fd_msg* m, const fd_val* row, const program_t* p) noexcept nogil:
    return (p.replay == REPLAY_ALWAYS or (p.replay == REPLAY_ROWS and m.listed)
            or (p.replay == REPLAY_FILTER and is_set(m, row, &p.replay_when)))


cdef uint8_t trade_flags_of(
    const fd_msg* m, const fd_val* row, const program_t* p
) noexcept nogil:
    cdef uint8_t flags = FEEDD_TRADE_BLOCK if p.block else 0
    if is_set(m, row, &p.flags[0]) or is_set(m, row, &p.flags[3]):
        flags |= FEEDD_TRADE_LIQUIDATION
    if is_set(m, row, &p.flags[1]) or is_set(m, row, &p.flags[4]):
        flags |= FEEDD_TRADE_BLOCK
    if is_set(m, row, &p.flags[2]) or is_set(m, row, &p.flags[5]):
        flags |= FEEDD_TRADE_COMBO
    return flags


cdef const char* trade_id_of(
    const fd_msg* m, const fd_val* v, bint known, uint64_t number, row_t* r
) noexcept nogil:
    cdef uint8_t scratch[512]
    cdef const uint8_t* text
    cdef uint32_t n, i
    cdef uint64_t h
    memset(r.id_text, 0, sizeof(r.id_text))
    r.trade_id = 0
    r.id_numeric = r.has_id = 0
    if v == NULL:
        return NULL
    if v.type != FD_STR and v.type != FD_NUM:
        if v.type != FD_ABSENT and v.type != FD_NULL:
            return b"trade id is neither text nor number"
        return NULL
    text = text_of(m, v, scratch, sizeof(scratch), &n)
    if text == NULL:
        return b"trade id is too long"
    if n == 0:
        return NULL
    r.has_id = 1
    if known:
        r.id_numeric = 1
        r.trade_id = number
    else:
        r.id_numeric = fd_text_u64(text, n, &r.trade_id)
    if not r.id_numeric:
        h = FNV_OFFSET
        for i in range(n):
            h = (h ^ text[i]) * FNV_PRIME
        r.trade_id = h
    if n > sizeof(r.id_text):
        r.trade_flags |= FEEDD_TRADE_ID_CUT
        n = sizeof(r.id_text)
    memcpy(r.id_text, text, n)
    return NULL


cdef const char* _quote(
    const fd_msg* m, const fd_val* row, const program_t* p, row_t* r
) noexcept nogil:
    cdef const fd_val* v
    cdef int i, found
    r.quote_inexact = 0
    for i in range(4):
        v = &row[p.quote[i].slot]
        if v.type == FD_ABSENT:
            if p.quote_optional:
                r.yields &= ~YIELDS_QUOTE
                return NULL
            return b"quote without one of its four fields"
        found = number_of(m, row, &p.quote[i], &r.quote[i], &r.quote_inexact)
        if found < 0:
            return b"quote field is not a number"
        if found == 0:
            r.quote[i] = NAN
    for i in range(0, 4, 2):       # a side without price or size is not there
        if isnan(r.quote[i]) or isnan(r.quote[i + 1]) or r.quote[i + 1] <= 0:
            r.quote[i] = r.quote[i + 1] = NAN
    found = sequence_of(m, row, p.quote_sequence, &r.quote_sequence)
    if found < 0:
        return b"quote sequence is not a number"
    r.has_quote_sequence = found
    r.quote_ordered = found and p.quote_ordered
    return NULL


cdef const char* _deriv(
    const fd_msg* m, const fd_val* row, const program_t* p, row_t* r
) noexcept nogil:
    cdef int i, found
    r.deriv_mask = 0
    r.deriv_inexact = 0
    r.next_funding = 0
    for i in range(DERIV_NUMBERS):
        r.deriv[i] = NAN
        found = number_of(m, row, &p.deriv[i], &r.deriv[i], &r.deriv_inexact)
        if found < 0:
            return b"derivative field is not a number"
        if found:
            r.deriv_mask |= 1 << i
    found = time_of(m, row, p.next_funding, p.next_funding_shift, &r.next_funding)
    if found < 0:
        return b"next funding time is not a number"
    if found and r.next_funding != 0:
        r.deriv_mask |= 1 << DERIV_NUMBERS
    if r.deriv_mask == 0:
        r.yields &= ~YIELDS_DERIV
    return NULL


cdef const char* _greeks(
    const fd_msg* m, const fd_val* row, const program_t* p, row_t* r
) noexcept nogil:
    cdef int i, found
    cdef bint any = False
    r.greeks_inexact = 0
    for i in range(GREEKS_NUMBERS):
        r.greeks[i] = NAN
        found = number_of(m, row, &p.greeks[i], &r.greeks[i], &r.greeks_inexact)
        if found < 0:
            return b"greek is not a number"
        if found and (i != GREEKS_MARK or not p.yields & YIELDS_DERIV):
            any = True
    if not any:
        r.yields &= ~YIELDS_GREEKS
    return NULL


# ---- publication -------------------------------------------------------------------------------

cdef void row_publish(
    Output out, const program_t* p, row_t* r, int64_t ts_recv, int line
) noexcept nogil:
    """The records of a row but its book, each into the ring and the board."""
    cdef stamp_t s
    s.ts_event = r.ts_event
    s.ts_recv = ts_recv
    s.line = line
    s.flags = FEEDD_BAD_TS if r.bad_ts else 0
    s.sequence = FEEDD_NO_SEQUENCE
    if r.bad_ts:
        out.c[FEEDD_C_bad_timestamps] += 1
    if r.yields & YIELDS_TRADE:
        if p.replay == REPLAY_FIRST and trade_is_past(
                r.x, p.stream, line, out.c[FEEDD_C_frames],
                0 if r.bad_ts else r.ts_event, ts_recv):
            r.replay = 1
        if r.has_id and ids_seen(r.x, p.stream, r.trade_id, r.id_numeric):
            out.c[FEEDD_C_duplicates] += 1
        else:
            if r.replay:
                s.flags |= FEEDD_REPLAY
            _put_trade(out, r, &s, FEEDD_TRADE)
            s.flags &= ~FEEDD_REPLAY
            out.c[FEEDD_C_trades] += 1
    if r.yields & YIELDS_LIQUIDATION:
        _put_trade(out, r, &s, FEEDD_LIQUIDATION)
        out.c[FEEDD_C_liquidations] += 1
    if r.yields & YIELDS_QUOTE:
        if _is_old_quote(r, ts_recv, line):
            out.c[FEEDD_C_duplicates] += 1
        else:
            r.x.has_quote = r.quote_ordered
            r.x.quote_sequence = r.quote_sequence
            r.x.quote_ts_recv = ts_recv
            r.x.quote_ts_event = r.ts_event
            r.x.quote_line = line
            r.x.old_quotes = 0
            _put_quote(out, r, &s)
    if r.yields & YIELDS_DERIV:
        _put_deriv(out, r, &s, not r.yields & YIELDS_GREEKS)
    if r.yields & YIELDS_GREEKS:
        _put_greeks(out, r, &s)


cdef bint _is_old_quote(row_t* r, int64_t ts_recv, int line) noexcept nogil:
    """A number that is not above the last one is a repeat or late; the venue's numbering started
    over where the same line brings it with a newer time, or where a row of nothing else comes.
    Another line than the one that brought the last quote is no witness of that while that one goes
    on: it may only be far behind."""
    if not (r.quote_ordered and r.x.has_quote) or r.quote_sequence > r.x.quote_sequence:
        return False
    if r.quote_sequence < r.x.quote_sequence and line == r.x.quote_line and (
            r.ts_event > r.x.quote_ts_event > 0 and not r.bad_ts):
        return False
    if r.quote_sequence < r.x.quote_sequence and (
            line == r.x.quote_line or ts_recv - r.x.quote_ts_recv > QUOTES_BEHIND_NS):
        r.x.old_quotes += 1
    return r.x.old_quotes < OLD_QUOTES_MAX


cdef feedd_board_row* board_open(
    Output out, instrument_t* x, int64_t ts_recv, uint64_t* odd
) noexcept nogil:
    cdef feedd_board_row* row = row_of(out, x)
    if row == NULL:
        return NULL
    odd[0] = feedd_seq_begin(&row.lock)
    x.updates += 1
    feedd_store_u64(&row.ring_pos, out.w.next - 1)
    feedd_store_u64(&row.updates, x.updates)
    feedd_store_i64(&row.last_data, ts_recv)
    return row


cdef void _finish(Output out, feedd_record* r, uint8_t inexact, bint last) noexcept nogil:
    if inexact:
        r.flags |= FEEDD_INEXACT
        out.c[FEEDD_C_inexact] += 1
    if last:
        r.flags |= FEEDD_LAST
        out.c[FEEDD_C_events] += 1
    feedd_put(out.w, r)


cdef void _put_trade(Output out, row_t* r, stamp_t* s, uint8_t kind) noexcept nogil:
    cdef feedd_record rec
    cdef feedd_board_row* row
    cdef uint64_t odd
    s.sequence = r.trade_sequence
    out.header(&rec, kind, r.x, s)
    rec.p.trade.price = r.price
    rec.p.trade.size = r.size
    rec.p.trade.trade_id = r.trade_id
    memcpy(rec.p.trade.trade_id_text, r.id_text, sizeof(r.id_text))
    rec.p.trade.side = r.side
    rec.p.trade.trade_flags = r.trade_flags
    _finish(out, &rec, r.trade_inexact, True)
    row = board_open(out, r.x, s.ts_recv, &odd)
    if row == NULL:
        return
    if kind == FEEDD_TRADE:
        feedd_store_f64(&row.trade_price, r.price)
        feedd_store_f64(&row.trade_size, r.size)
        feedd_store_u64(&row.trade_id, r.trade_id)
        feedd_store_i64(&row.trade_side, r.side)
        feedd_store_i64(&row.trade_ts_event, s.ts_event)
        feedd_store_i64(&row.trade_ts_recv, s.ts_recv)
        feedd_store_u64(&row.trade_sequence, s.sequence)
    else:
        feedd_store_f64(&row.liq_price, r.price)
        feedd_store_f64(&row.liq_size, r.size)
        feedd_store_i64(&row.liq_side, r.side)
        feedd_store_i64(&row.liq_ts_event, s.ts_event)
    feedd_seq_end(&row.lock, odd)


cdef void _put_quote(Output out, row_t* r, stamp_t* s) noexcept nogil:
    cdef feedd_record rec
    cdef feedd_board_row* row
    cdef uint64_t odd
    s.sequence = r.quote_sequence if r.has_quote_sequence else FEEDD_NO_SEQUENCE
    out.header(&rec, FEEDD_QUOTE, r.x, s)
    rec.p.quote.bid_price = r.quote[0]
    rec.p.quote.bid_size = r.quote[1]
    rec.p.quote.ask_price = r.quote[2]
    rec.p.quote.ask_size = r.quote[3]
    out.c[FEEDD_C_quotes] += 1
    _finish(out, &rec, r.quote_inexact, True)
    row = board_open(out, r.x, s.ts_recv, &odd)
    if row == NULL:
        return
    feedd_store_f64(&row.bid_price, r.quote[0])
    feedd_store_f64(&row.bid_size, r.quote[1])
    feedd_store_f64(&row.ask_price, r.quote[2])
    feedd_store_f64(&row.ask_size, r.quote[3])
    feedd_store_i64(&row.quote_ts_event, s.ts_event)
    feedd_store_i64(&row.quote_ts_recv, s.ts_recv)
    feedd_store_u64(&row.quote_sequence, s.sequence)
    feedd_seq_end(&row.lock, odd)


cdef void _put_deriv(Output out, row_t* r, stamp_t* s, bint last) noexcept nogil:
    """The board keeps the last value of each field: a message may carry some of them."""
    cdef feedd_record rec
    cdef feedd_board_row* row
    cdef uint64_t odd
    cdef double* field
    cdef int i
    s.sequence = FEEDD_NO_SEQUENCE
    out.header(&rec, FEEDD_DERIV, r.x, s)
    memcpy(&rec.p.deriv.mark, r.deriv, sizeof(r.deriv))
    rec.p.deriv.next_funding = r.next_funding
    rec.p.deriv.mask = r.deriv_mask
    out.c[FEEDD_C_derivs] += 1
    _finish(out, &rec, r.deriv_inexact, last)
    row = board_open(out, r.x, s.ts_recv, &odd)
    if row == NULL:
        return
    field = &row.mark
    for i in range(DERIV_NUMBERS):
        if r.deriv_mask & (1 << i):
            feedd_store_f64(&field[i], r.deriv[i])
    if r.deriv_mask & (1 << DERIV_NUMBERS):
        feedd_store_i64(&row.next_funding, r.next_funding)
    feedd_store_u64(&row.deriv_mask, row.deriv_mask | r.deriv_mask)
    feedd_store_i64(&row.deriv_ts_event, s.ts_event)
    feedd_store_i64(&row.deriv_ts_recv, s.ts_recv)
    feedd_seq_end(&row.lock, odd)


cdef void _put_greeks(Output out, row_t* r, stamp_t* s) noexcept nogil:
    cdef feedd_record rec
    cdef feedd_board_row* row
    cdef uint64_t odd
    cdef double* field
    cdef int i
    s.sequence = FEEDD_NO_SEQUENCE
    out.header(&rec, FEEDD_GREEKS, r.x, s)
    memcpy(&rec.p.greeks.delta, r.greeks, sizeof(r.greeks))
    out.c[FEEDD_C_greeks] += 1
    _finish(out, &rec, r.greeks_inexact, True)
    row = board_open(out, r.x, s.ts_recv, &odd)
    if row == NULL:
        return
    field = &row.delta
    for i in range(GREEKS_NUMBERS):
        if not isnan(r.greeks[i]):
            feedd_store_f64(&field[i], r.greeks[i])
    feedd_store_i64(&row.greeks_ts_event, s.ts_event)
    feedd_store_i64(&row.greeks_ts_recv, s.ts_recv)
    feedd_seq_end(&row.lock, odd)
