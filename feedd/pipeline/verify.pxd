"""Checksums of books: one book against one number, and a channel's rule against all its books."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from feedd.book.checksum cimport fx_rule, fx_texts
from feedd.decode.plan cimport program_t

cdef enum:
    RULE_SAME = 0
    RULE_GIVEN_UP = 1     # everything fails: the venue's rule is another one now
    RULE_GOOD_AGAIN = 2

# The checksum rule of one channel, and how its last verifications went.
ctypedef struct rule_t:
    int32_t venue, channel
    fx_rule form
    uint8_t is_signed
    uint8_t lazy              # a snapshot without a checksum: none will come until the next one
    uint8_t given_up
    uint32_t failures         # in a row, over all instruments
    uint32_t successes        # in a row
    uint8_t n_failed
    const void* failed[3]     # different instruments of these failures

ctypedef struct rules_t:
    rule_t** items
    uint32_t n

# The rule of a channel, made at its first use; NULL when memory is out.
cdef rule_t* rule_of(rules_t* rules, int32_t venue, const program_t* p) noexcept nogil
cdef void rules_free(rules_t* rules) noexcept
# The venue's number for the texts as they are.
cdef int64_t rule_checksum(const rule_t* rule, fx_texts* texts) noexcept nogil
# Take note of one verification of instrument x (a name only): RULE_*.
cdef int rule_note(rule_t* rule, const void* x, bint matched) noexcept nogil
