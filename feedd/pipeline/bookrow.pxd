"""The book part of a row: levels, numbers, snapshot or change."""

from libc.stdint cimport uint32_t

from feedd.decode.engine cimport fd_msg, fd_val
from feedd.decode.plan cimport program_t
from feedd.pipeline.rows cimport row_t

# NULL, or why the row is not what the venue file promises.
cdef const char* book_convert(
    const fd_msg* m, uint32_t index, const fd_val* row, const program_t* p,
    row_t* r) noexcept nogil
