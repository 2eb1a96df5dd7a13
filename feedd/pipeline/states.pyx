"""What a venue says of an instrument itself: listed, halted, settled, ended."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc
from libc.string cimport memcpy, memset, strcmp

from feedd.decode.engine cimport (
    FD_ABSENT, FD_ARR, FD_NULL, FD_OBJ, FD_STR, fd_hash_bytes, fd_msg, fd_val,
)
from feedd.decode.plan cimport YIELDS_STATE, program_t, state_rules_t
from feedd.pipeline.convert cimport is_set, text_of
from feedd.pipeline.instrument cimport instrument_t, said_t
from feedd.pipeline.output cimport EVENT_INSTRUMENT_STATE, Output, stamp_t
from feedd.pipeline.rows cimport row_t
from feedd.shm.feedd cimport FEEDD_NO_INSTRUMENT, FEEDD_NO_SEQUENCE

cdef extern from "feedd/counters.h" nogil:
    enum:
        FEEDD_C_instrument_states
        FEEDD_C_unknown_states

cdef enum:
    STATUS_UNKNOWN = 0        # feedd.shm.rows.InstrumentStatus
    WORD_BYTES = 40
    AHEAD_NS = 60_000_000_000    # a time further in the future orders nothing


cdef const char* state_convert(
    const fd_msg* m, const fd_val* row, const program_t* p, row_t* r
) noexcept nogil:
    cdef const state_rules_t* rules = p.state
    cdef uint8_t scratch[256]
    cdef const fd_val* v
    cdef const uint8_t* text
    cdef uint32_t n
    cdef int i, k
    memset(r.word, 0, sizeof(r.word))
    r.status = STATUS_UNKNOWN
    r.facts = _facts(m, row, rules)
    if rules.word < 0:
        return NULL
    v = &row[rules.word]
    if v.type == FD_ABSENT or v.type == FD_NULL or (v.type == FD_STR and v.len == 0):
        r.yields &= ~YIELDS_STATE
        return NULL
    text = NULL
    if v.type != FD_OBJ and v.type != FD_ARR:
        text = text_of(m, v, scratch, sizeof(scratch), &n)
    if text == NULL:        # an unknown word like any other: the message may say more than this
        text = <const uint8_t*>b"(no word)"
        n = 9
    memcpy(r.word, text, n if n < WORD_BYTES else WORD_BYTES)
    for i in range(rules.n):
        for k in range(rules.rule[i].n):
            if not is_set(m, row, &rules.rule[i].when[k]):
                break
        else:
            r.status = rules.rule[i].status
            break
    return NULL


cdef uint64_t _facts(
    const fd_msg* m, const fd_val* row, const state_rules_t* rules
) noexcept nogil:
    """One number for all of them; 0 where the channel names none."""
    cdef const fd_val* v
    cdef uint64_t found = 0
    cdef int i
    for i in range(rules.n_facts):
        v = &row[rules.facts[i]]
        found = (found + i + 1) * 0x100000001b3ULL ^ fd_hash_bytes(
            m.base + v.off, 0 if v.type == FD_ABSENT or v.type == FD_NULL else v.len)
    return found


cdef bint state_said(Output out, row_t* r, int64_t ts_recv, int line) noexcept nogil:
    cdef instrument_t* x = r.x
    cdef said_t* said = x.said
    cdef bint news, facts
    if said == NULL:
        said = x.said = <said_t*>calloc(1, sizeof(said_t))
        if said == NULL:
            return False
    if ts_recv and r.ts_event > ts_recv + AHEAD_NS:
        r.ts_event = 0
    if r.ts_event and r.ts_event < said.ts_event:      # of the slower of two lines
        return False
    said.ts_event = r.ts_event
    facts = said.facts != 0 and r.facts != 0 and r.facts != said.facts
    if r.facts:
        said.facts = r.facts
    news = r.word[0] and (not said.known or r.status != said.status or (
        r.status == STATUS_UNKNOWN and strcmp(r.word, said.word) != 0))
    if not news:
        said.facts_changed |= facts
        said.untold |= facts
        return facts
    if r.status == STATUS_UNKNOWN:
        out.c[FEEDD_C_unknown_states] += 1
    if not said.owed:
        said.previous = said.status
    said.status = r.status
    said.known = said.owed = said.untold = 1
    said.facts_changed |= facts
    said.ts_recv = ts_recv
    said.line = <uint16_t>line
    memcpy(said.word, r.word, sizeof(said.word))
    if x.id != FEEDD_NO_INSTRUMENT:
        state_owed(out, x)
    return True


cdef void state_owed(Output out, instrument_t* x) noexcept nogil:
    cdef said_t* said = x.said
    cdef stamp_t s
    if said == NULL or not said.owed:
        return
    said.owed = 0
    memset(&s, 0, sizeof(s))
    s.ts_event = said.ts_event
    s.ts_recv = said.ts_recv
    s.sequence = FEEDD_NO_SEQUENCE
    s.line = said.line
    out.status(x, &s, EVENT_INSTRUMENT_STATE, x.state, said.status, said.previous, said.word)
    out.c[FEEDD_C_instrument_states] += 1
