"""Checksums of messages: verified before anything of a message is applied or published."""

from libc.stdint cimport int64_t, uint8_t

from feedd.book.checksum cimport fx_texts
from feedd.decode.plan cimport program_t
from feedd.pipeline.instrument cimport instrument_t
from feedd.pipeline.output cimport stamp_t
from feedd.pipeline.requests cimport Requests
from feedd.pipeline.update cimport update_t
from feedd.pipeline.verify cimport rule_t, rules_t


cdef class Checks(Requests):
    cdef rules_t rules
    cdef rule_t* changed_rule     # given up or good again with the last message
    cdef fx_texts before          # of a book with several lines, before the message in question

    # Take a book out of live without a word: somebody else declares the loss.
    cdef void leave(
        self, instrument_t* x, const stamp_t* s, uint8_t state) noexcept nogil
    cdef bint _verify(
        self, instrument_t* x, const program_t* p, const update_t* u,
        bint snapshot) noexcept nogil
    cdef bint _compare(
        self, instrument_t* x, const program_t* p, int64_t expected,
        const stamp_t* s) noexcept nogil
    cdef bint _reject(self, instrument_t* x) noexcept nogil
