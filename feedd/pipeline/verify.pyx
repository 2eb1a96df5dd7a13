"""Checksums of books: one book against one number, and a channel's rule against all its books.

A mismatch of one book is an error of that book. When every book of a channel fails, again and
again, the venue computes something else than before (OKX replaced its checksums by a constant one
day): then resubscribing for ever helps nobody, and the rule is given up with an alarm.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.stdlib cimport calloc, free, realloc

from feedd.book.checksum cimport FX_AS_SENT, FX_DIGITS, FX_JAVASCRIPT, fx_checksum, fx_texts
from feedd.decode.plan cimport CHECKSUM_ASKS_THEN_BIDS, program_t

cdef uint32_t FAILURES_MIN = 10      # in a row, none between that matched
cdef uint32_t SUCCESSES_MIN = 32     # in a row: the rule is believed again


cdef rule_t* rule_of(rules_t* rules, int32_t venue, const program_t* p) noexcept nogil:
    cdef uint32_t i
    cdef rule_t* rule
    cdef void* grown
    for i in range(rules.n):
        if rules.items[i].venue == venue and rules.items[i].channel == p.stream:
            return rules.items[i]
    grown = realloc(rules.items, (rules.n + 1) * sizeof(void*))
    if grown == NULL:
        return NULL
    rules.items = <rule_t**>grown
    rule = <rule_t*>calloc(1, sizeof(rule_t))
    if rule == NULL:
        return NULL
    rule.venue = venue
    rule.channel = p.stream
    rule.is_signed = p.checksum.is_signed
    rule.lazy = p.checksum.slot >= 0 and p.checksum.zero_is_none
    rule.form.levels = p.checksum.levels
    rule.form.asks_first = p.checksum.order == CHECKSUM_ASKS_THEN_BIDS
    rule.form.join = p.checksum.join
    rule.form.negative_asks = p.checksum.negative_asks
    rule.form.format = FX_AS_SENT
    if p.checksum.digits_only:
        rule.form.format = FX_DIGITS
    elif p.checksum.javascript:
        rule.form.format = FX_JAVASCRIPT
    rules.items[rules.n] = rule
    rules.n += 1
    return rule


cdef void rules_free(rules_t* rules) noexcept:
    cdef uint32_t i
    for i in range(rules.n):
        free(rules.items[i])
    free(rules.items)
    rules.items = NULL
    rules.n = 0


cdef int64_t rule_checksum(const rule_t* rule, fx_texts* texts) noexcept nogil:
    cdef uint32_t crc = fx_checksum(texts, &rule.form)
    return <int64_t><int32_t>crc if rule.is_signed else <int64_t>crc


cdef int rule_note(rule_t* rule, const void* x, bint matched) noexcept nogil:
    cdef int i
    if matched:
        rule.failures = 0
        rule.n_failed = 0
        rule.successes += 1
        if rule.given_up and rule.successes >= SUCCESSES_MIN:
            rule.given_up = 0
            return RULE_GOOD_AGAIN
        return RULE_SAME
    rule.successes = 0
    rule.failures += 1
    for i in range(rule.n_failed):
        if rule.failed[i] == x:
            break
    else:
        if rule.n_failed < 3:
            rule.failed[rule.n_failed] = x
            rule.n_failed += 1
    if not rule.given_up and rule.n_failed == 3 and rule.failures >= FAILURES_MIN:
        rule.given_up = 1
        return RULE_GIVEN_UP
    return RULE_SAME
