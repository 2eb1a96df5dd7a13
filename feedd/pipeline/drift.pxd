"""Fields of a channel that are not what they were: gone, of another type, or standing still."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from feedd.decode.engine cimport fd_msg

cdef enum:
    DRIFT_VANISHED = 1
    DRIFT_TYPE = 2
    DRIFT_CONSTANT = 4

cdef enum:
    SAMPLE_NS = 5_000_000     # between two samples of one channel

# One field of one channel.
ctypedef struct field_drift_t:
    uint32_t present, changed     # of the samples that were learned from
    uint8_t types                 # seen there, as bits
    uint8_t alarmed
    uint64_t value                # content of the last one
    uint32_t absent_run, alien_run, still_run
    uint32_t good_run

ctypedef struct channel_drift_t:
    int64_t sampled_at
    uint32_t samples
    uint32_t n
    field_drift_t* fields


# Of one venue.
ctypedef struct drift_t:
    channel_drift_t* channels
    uint32_t n_channels
    int32_t field             # of the last alarm
    int what                  # DRIFT_*

# ``slots``: number of fields of each channel. MemoryError.
cdef drift_t* drift_new(object slots) except NULL
cdef void drift_free(drift_t* d) noexcept
# Is it time for another sample of this channel? Asked for every message.
cdef inline bint drift_due(const drift_t* d, int32_t channel, int64_t ts_recv) noexcept nogil:
    cdef const channel_drift_t* c = &d.channels[channel]
    # a recording without times is looked at message by message
    return ts_recv - c.sampled_at >= SAMPLE_NS or ts_recv < c.sampled_at or ts_recv == 0

# Look at a row of the message, but for its symbol. True: an alarm, in ``field`` and ``what``.
cdef bint drift_note(
    drift_t* d, const fd_msg* m, int32_t channel, int symbol, int64_t ts_recv) noexcept nogil
