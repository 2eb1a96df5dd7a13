"""Changes of books of which only the numbers and the levels are read."""

from libc.stdint cimport int64_t

from feedd.decode.engine cimport fd_msg
from feedd.decode.plan cimport program_t
from feedd.pipeline.books cimport Books
from feedd.pipeline.rows cimport row_t

# The message in ``m`` was read in full, and ``r`` is its one row: how are others read whose head
# has the same layout, and whom are those about that have its texts?
cdef void quick_book_learn(const fd_msg* m, const program_t* p, const row_t* r) noexcept nogil

# A change of a book of which only the numbers and the levels were read. False: it needs to be read
# in full, and nothing was done with it.
cdef bint quick_book(
    Books books, const fd_msg* m, const program_t* p, int64_t future_ns_max, row_t* r,
    int64_t ts_recv, int line) noexcept nogil
