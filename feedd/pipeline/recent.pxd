"""The last records of a stream that have neither number nor id, to know copies by content."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef enum:
    RECENT_NEW = 0
    RECENT_COPY = 1           # another line brought it already
    RECENT_LATE = 2           # older than what was published: it must not overwrite that

ctypedef struct heard_t:
    uint64_t content
    uint64_t lines            # that brought it, by number modulo 64
    int64_t ts_recv

# Of one instrument on one channel.
ctypedef struct recent_t:
    int32_t channel
    uint32_t n, cap, at
    uint64_t lines            # all that carry the stream
    int64_t ts_event          # of the newest record
    heard_t* heard
    recent_t* next

cdef recent_t* recent_of(recent_t** list, int32_t channel) noexcept nogil
cdef void recent_free(recent_t* list) noexcept nogil
# Is this content new, coming over this line? RECENT_*. ``state``: a later record replaces an
# earlier one (quotes, prices), so one that comes late is no use. ``lag``: ns behind the first copy,
# -1 where unknown.
cdef int recent_check(
    recent_t* r, uint64_t content, int32_t line, int64_t ts_event, int64_t ts_recv, bint state,
    int64_t* lag) noexcept nogil
# The connection is gone: what it brings under this number later is another one.
cdef void recent_line_gone(recent_t* list, int32_t line) noexcept nogil
