"""Rows of messages of which only the numbers are read: quotes and trades that look as before."""

from libc.stdint cimport int64_t, uint8_t

from feedd.decode.engine cimport fd_layout, fd_msg
from feedd.decode.plan cimport program_t
from feedd.pipeline.instrument cimport instrument_t
from feedd.pipeline.numbered cimport Numbered
from feedd.pipeline.output cimport Output
from feedd.pipeline.rows cimport row_t

# The message in ``m`` was read in full, and is about ``x``: how are others with its layout read,
# and whom are those about that have its texts?
cdef void quick_learn(
    const fd_msg* m, const program_t* p, uint8_t yields, instrument_t* x) noexcept nogil

# Records of a message of which only the numbers were read. False: it needs to be read in full, and
# nothing was done with it.
cdef bint quick_publish(
    Output out, Numbered books, const fd_msg* m, const program_t* p, int64_t future_ns_max,
    row_t* r, int64_t ts_recv, int line) noexcept nogil
