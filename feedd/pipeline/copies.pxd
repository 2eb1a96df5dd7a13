"""Records that have neither number nor id: which of them another connection brought already."""

from libc.stdint cimport int64_t

from feedd.decode.plan cimport program_t
from feedd.pipeline.numbered cimport Numbered
from feedd.pipeline.rows cimport row_t

# Take the kinds that are copies out of the row.
cdef void drop_copies(
    Numbered books, const program_t* p, row_t* r, int64_t ts_recv, int line) noexcept nogil
