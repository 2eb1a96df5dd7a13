"""What several lines brought of one stream, with messages missing here and there: what is next?"""

from libc.stdint cimport int16_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from feedd.pipeline.lanes cimport LANES_MAX, lane_t, lanes_t

cdef enum:
    QUEUE_MAX = 96            # messages of one line that wait for their places
    SLACK_MAX = 24            # lost in a row; more is not worth to be worked out
    ENDS_MAX = 256
    NOT_BEFORE = -1           # a place of a first message: not in the history
    ANYWHERE = -2

cdef enum:
    NEXT_UNKNOWN = 0          # several things may be next
    NEXT_KNOWN = 1
    NEXT_IMPOSSIBLE = 2       # the lines contradict each other

# One way in which a line's messages fit the history: how many of them do, and how many it lost
# since the last of these; what comes next stands behind the history.
ctypedef struct end_t:
    uint16_t used, lost, cost

ctypedef struct queue_t:
    lane_t* lane
    uint32_t n
    uint32_t index[QUEUE_MAX]      # in what waits
    uint64_t content[QUEUE_MAX]
    uint16_t slack[QUEUE_MAX]      # most that the line may have lost before the message
    int64_t number[QUEUE_MAX]      # that its connection gave it
    int64_t shift                  # what makes it comparable with those of the other lines
    uint8_t silent                 # it would have brought what is next by now
    uint8_t too_much
    uint32_t n_ends
    end_t ends[ENDS_MAX]

ctypedef struct node_t:
    uint64_t key
    uint32_t cost

ctypedef struct search_t:
    queue_t queue[LANES_MAX]
    int n
    node_t* nodes
    uint64_t* open            # states to look at, each with its cost
    int16_t* row[2]

ctypedef struct next_t:
    int verdict
    int lane                  # whose message it is: index of its queue
    uint32_t message          # and of the message in that

cdef bint search_new(search_t* s) noexcept nogil
cdef void search_free(search_t* s) noexcept nogil
# How many messages the line lost before its first one that waits, where that is a copy of one in
# the history; -1 while it is not known, -2 where it stands nowhere.
cdef int first_place(search_t* s, queue_t* q, const lanes_t* lanes) noexcept nogil
# What follows the history.
cdef next_t next_of_all(search_t* s, const lanes_t* lanes) noexcept nogil
