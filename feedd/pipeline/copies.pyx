"""Records that have neither number nor id: which of them another connection brought already."""

from libc.stdint cimport int64_t, uint64_t

from feedd.decode.plan cimport (
    DERIV_NUMBERS, GREEKS_NUMBERS, YIELDS_DERIV, YIELDS_GREEKS, YIELDS_LIQUIDATION, YIELDS_QUOTE,
    YIELDS_TRADE, program_t,
)
from feedd.pipeline.numbered cimport Numbered
from feedd.pipeline.mix cimport feedd_mix, feedd_mix_double
from feedd.pipeline.output cimport stamp_t
from feedd.pipeline.rows cimport row_t
from feedd.shm.feedd cimport FEEDD_NO_SEQUENCE


cdef void drop_copies(
    Numbered books, const program_t* p, row_t* r, int64_t ts_recv, int line
) noexcept nogil:
    """Quotes, prices and greeks replace each other: of these a late one is dropped too. Trades and
    liquidations are events: each is published."""
    cdef int states = r.yields & (YIELDS_QUOTE | YIELDS_DERIV | YIELDS_GREEKS)
    cdef int events = r.yields & (YIELDS_TRADE | YIELDS_LIQUIDATION)
    cdef stamp_t s
    cdef uint64_t h
    cdef int i
    if r.quote_ordered and states & YIELDS_QUOTE:
        states &= ~YIELDS_QUOTE
    if r.has_id and events & YIELDS_TRADE:
        events = 0
    if not states and not events:
        return
    s.ts_event = r.ts_event
    s.ts_recv = ts_recv
    s.sequence = FEEDD_NO_SEQUENCE
    s.line = <unsigned short>line
    s.flags = 0
    if states:
        h = feedd_mix(<uint64_t>r.ts_event, states)
        if states & YIELDS_QUOTE:
            for i in range(4):
                h = feedd_mix_double(h, r.quote[i])
        if states & YIELDS_DERIV:
            h = feedd_mix(feedd_mix(h, r.deriv_mask), <uint64_t>r.next_funding)
            for i in range(DERIV_NUMBERS):
                h = feedd_mix_double(h, r.deriv[i])
        if states & YIELDS_GREEKS:
            for i in range(GREEKS_NUMBERS):
                h = feedd_mix_double(h, r.greeks[i])
        if not books.first_copy(r.x, p.stream * 2, h, &s, True):
            r.yields &= <unsigned char>~states
    if events:
        h = feedd_mix(<uint64_t>r.ts_event, r.trade_id)
        h = feedd_mix_double(feedd_mix_double(h, r.price), r.size)
        h = feedd_mix(h, <uint64_t>(r.side + 2) << 8 | r.trade_flags)
        if not books.first_copy(r.x, p.stream * 2 + 1, h, &s, False):
            r.yields &= <unsigned char>~events
