"""The connections that carry one book's stream, and a log of what came over them.

A message is the first copy, or a copy of one in the log. Each lane remembers up to where its copies
were recognised, so a repeat of old content is never taken for news.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from feedd.pipeline.tally cimport tally_t

cdef enum:
    LANES_MAX = 4
    HISTORY = 1024            # power of two
    LOG_ENTRIES = 256         # power of two
    LOG_KEYS = 4096           # power of two

cdef enum:
    LANE_FREE = 0
    LANE_BEHIND = 1           # its place in the stream is unknown until a copy is recognised
    LANE_ALIGNING = 2         # the same, but it began with a snapshot: what it brought is kept
    LANE_SYNCED = 3           # what it brings is a known copy or comes next

ctypedef struct lane_t:
    int32_t line
    uint8_t state
    uint8_t run               # copies recognised in a row while its place is looked for
    uint32_t generation       # of the numbering that it has reached
    uint64_t at               # log position behind its last message
    uint64_t last             # highest number it brought
    uint64_t content          # of its last message
    int64_t since             # when it began to wait for its place
    int64_t asked             # when a new start was asked for, or first could have been; 0 never
    tally_t* tally            # of its own book, while a counted one waits for its place
    uint32_t lost             # messages its line is known to have lost when the last one came
    uint64_t number           # of its last message, among all of its connection
    uint32_t queued           # messages that wait until their places behind ``at`` are known

ctypedef struct entry_t:
    uint64_t content
    uint64_t number
    int64_t ts_event, ts_recv
    uint64_t key_start
    uint32_t key_n
    uint8_t seen              # by lane

# A message of a stream whose copies are counted: where it stands is what it is.
ctypedef struct passed_t:
    uint64_t content
    uint64_t before           # sum of the book that it changes
    uint64_t number           # that the connection gave it which brought it first
    int32_t line              # that one
    int64_t ts_recv

ctypedef struct lanes_t:
    lane_t lane[4]
    uint32_t generation
    uint64_t reset_previous, reset_current
    int64_t reset_ts
    uint64_t head             # messages logged so far
    int64_t snapshot_at       # and when the book's snapshot came, -1 unknown
    int32_t founder           # the line that fed the book alone, and the venue's time until which
    int64_t alone_until       # it did: what came before is not in the log. 0 unknown
    uint64_t key_head
    entry_t log[256]
    uint64_t* keys            # of the levels of each message, where there are no numbers
    uint8_t counted           # neither numbers nor times: see untimed.pyx
    uint64_t first            # position of the oldest message in the history
    tally_t* tally            # of the book
    passed_t* history

cdef lanes_t* lanes_new(int32_t line) noexcept nogil
cdef void lanes_free(lanes_t* lanes) noexcept nogil
# The lane of a connection, made when it is new; NULL when there are too many.
cdef lane_t* lane_of(lanes_t* lanes, int32_t line) noexcept nogil
cdef lane_t* lane_find(lanes_t* lanes, int32_t line) noexcept nogil
cdef int lanes_count(const lanes_t* lanes, const lane_t* but, uint8_t state) noexcept nogil

# Log a message as brought by a lane; the lane's place is then behind it.
cdef entry_t* log_add(
    lanes_t* lanes, lane_t* lane, uint64_t content, uint64_t number, int64_t ts_event,
    int64_t ts_recv) noexcept nogil
# Position of this content from a position on, not seen by the lane yet; -1 when it is not there.
cdef int64_t log_find(
    const lanes_t* lanes, const lane_t* lane, uint64_t start, uint64_t content) noexcept nogil
cdef entry_t* log_at(lanes_t* lanes, uint64_t position) noexcept nogil
cdef uint64_t log_start(const lanes_t* lanes) noexcept nogil
cdef void log_see(lanes_t* lanes, const lane_t* lane, uint64_t position) noexcept nogil
# When a number was logged; 0 when it is no longer known.
cdef int64_t log_time(const lanes_t* lanes, uint64_t number) noexcept nogil
cdef void log_keys(lanes_t* lanes, entry_t* e, const uint64_t* keys, uint32_t n) noexcept nogil
# Has a message from this position on, which the lane has not brought yet and so is newer than
# what it brings, touched the level of this key? 2: nobody knows any more.
cdef int log_touched(
    const lanes_t* lanes, const lane_t* lane, uint64_t start, uint64_t key) noexcept nogil
