"""Checksums of messages: verified before anything of a message is applied or published."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from feedd.book.checksum cimport fx_apply, fx_clear, fx_copy, fx_cut, fx_free
from feedd.decode.plan cimport program_t
from feedd.pipeline.instrument cimport instrument_t
from feedd.pipeline.output cimport EVENT_CHECKSUM, stamp_t
from feedd.pipeline.requests cimport Requests
from feedd.pipeline.update cimport update_t
from feedd.pipeline.verify cimport (
    RULE_GIVEN_UP, RULE_SAME, rule_checksum, rule_note, rules_free,
)
from feedd.shm.feedd cimport FEEDD_BOOK_CHECKSUM, FEEDD_NO_SEQUENCE, FEEDD_REASON_CHECKSUM

cdef extern from "feedd/counters.h" nogil:
    enum:
        FEEDD_C_checksum_failures
        FEEDD_C_checksum_rules_changed


cdef class Checks(Requests):
    def __dealloc__(self):
        fx_free(&self.before)
        rules_free(&self.rules)

    cdef void leave(self, instrument_t* x, const stamp_t* s, uint8_t state) noexcept nogil:
        x.up = 0
        self.out.set_state(x, s, state)

    cdef bint _verify(
        self, instrument_t* x, const program_t* p, const update_t* u, bint snapshot
    ) noexcept nogil:
        """Bring the texts up to date and compare. False: the book left for its checksum."""
        cdef int side
        if x.lanes != NULL and u.has_checksum and not fx_copy(&self.before, x.texts):
            fx_clear(&self.before)
        if snapshot:
            fx_clear(x.texts)
            x.texts_valid = u.has_checksum or not x.rule.lazy
        if not x.texts_valid:
            return True
        if not (fx_apply(x.texts, 0, u.bids, u.n_bid) and fx_apply(x.texts, 1, u.asks, u.n_ask)):
            x.texts_valid = 0       # out of memory: nothing to compare until the next snapshot
            return True
        if x.cut:
            for side in range(2):
                fx_cut(&x.texts.side[side], x.cut)
        return not u.has_checksum or self._compare(x, p, u.checksum, &u.stamp)

    cdef bint _compare(
        self, instrument_t* x, const program_t* p, int64_t expected, const stamp_t* s
    ) noexcept nogil:
        cdef int64_t got = rule_checksum(x.rule, x.texts)
        cdef uint8_t previous = x.state
        cdef stamp_t stamp
        cdef int verdict = rule_note(x.rule, x, got == expected)
        if verdict != RULE_SAME:
            self.changed_rule = x.rule
            self.c[FEEDD_C_checksum_rules_changed] += verdict == RULE_GIVEN_UP
        if got == expected:
            return True
        self.c[FEEDD_C_checksum_failures] += 1
        if x.rule.given_up:
            # nothing to heal: the feed goes on, flagged
            if x.up and x.state != FEEDD_BOOK_CHECKSUM:
                self.out.set_state(x, s, FEEDD_BOOK_CHECKSUM)
            return True
        if self._reject(x):
            return False
        stamp = s[0]
        stamp.flags = 0
        self.leave(x, &stamp, FEEDD_BOOK_CHECKSUM)
        if s.sequence != FEEDD_NO_SEQUENCE:
            x.chain = s.sequence
            x.has_chain = 1
        self.out.control(
            x, &stamp, FEEDD_REASON_CHECKSUM, <uint32_t>expected, <uint32_t>got)
        self.out.status(
            x, &stamp, EVENT_CHECKSUM, previous, <uint32_t>expected, <uint32_t>got, b"checksum")
        self.resync(x, p, &stamp)
        return False

    cdef bint _reject(self, instrument_t* x) noexcept nogil:
        """Is it only this line's copy that is wrong? With one line there is no other."""
        return False
