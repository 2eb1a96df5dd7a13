"""What a venue says of an instrument itself: listed, halted, settled, ended.

A state is news when the status differs from the last one (or, where the venue file does not know
the word, when the word does). News goes into the ring as a STATUS record, once the instrument has
an id, and to the reader, which passes it on: most instruments of such a channel are not subscribed,
and a new one is to be.
"""

from libc.stdint cimport int64_t

from feedd.decode.engine cimport fd_msg, fd_val
from feedd.decode.plan cimport program_t
from feedd.pipeline.instrument cimport instrument_t
from feedd.pipeline.output cimport Output
from feedd.pipeline.rows cimport row_t

# NULL, or why the row is not what the venue file promises.
cdef const char* state_convert(
    const fd_msg* m, const fd_val* row, const program_t* p, row_t* r) noexcept nogil
# True: the reader has something to pass on (again, where it has not taken the last one yet).
cdef bint state_said(Output out, row_t* r, int64_t ts_recv, int line) noexcept nogil
# The record of what was said before the instrument had an id.
cdef void state_owed(Output out, instrument_t* x) noexcept nogil
