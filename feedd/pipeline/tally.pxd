"""The levels of one line's book, and a sum that is the same whenever the whole book is the same."""

from libc.stdint cimport uint32_t, uint64_t

from feedd.book.checksum cimport fr_map

ctypedef struct tallied_t:
    uint64_t key              # of side and price, never 0
    double size

ctypedef struct tally_t:
    tallied_t* level
    uint32_t mask, n
    uint64_t sum
    fr_map rows               # prices by id, where rows have ids

# NULL when memory is out.
cdef tally_t* tally_new() noexcept nogil
cdef void tally_free(tally_t* t) noexcept nogil
cdef void tally_clear(tally_t* t) noexcept nogil
# Set a level; 0 takes it out. False when memory is out.
cdef bint tally_set(tally_t* t, int side, double price, double size) noexcept nogil
# Take over the prices of ids. False when memory is out.
cdef bint tally_rows(tally_t* t, const fr_map* rows) noexcept nogil
