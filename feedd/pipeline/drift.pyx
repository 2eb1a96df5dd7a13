"""Fields of a channel that are not what they were: gone, of another type, or standing still.

A venue that renames a field or starts to send a constant breaks feeds overnight, and every message
is still valid. So a sample of each channel's messages is looked at, whatever the instrument: after
``LEARNED`` samples it is known how often a field is there, as what, and how often its value
changes. A run of samples that contradicts this beyond chance is an alarm, once, until the field is
as before. Nothing is stopped by it.
"""

from libc.math cimport log
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from feedd.decode.engine cimport (
    FD_ABSENT, FD_FALSE, FD_NULL, FD_NUM, FD_STR, FD_TRUE, fd_hash_bytes, fd_msg, fd_val,
)

cdef uint32_t LEARNED = 256
cdef uint32_t RUN_MIN = 32            # samples in a row before anything is said
cdef uint32_t STILL_MIN = 512
cdef double STILL_SHARE = 0.2         # of samples that bring a new value, else it may stand still
cdef double BEYOND_CHANCE = 25.0      # -ln of the chance that a run is one

cdef enum:
    TYPE_TRUTH = 1
    TYPE_NUMBER = 2
    TYPE_TEXT = 4
    TYPE_OTHER = 8


cdef inline uint8_t _type(const fd_val* v) noexcept nogil:
    """0: there is no value."""
    if v.type == FD_ABSENT or v.type == FD_NULL or (v.type == FD_STR and v.len == 0):
        return 0
    if v.type == FD_NUM:
        return TYPE_NUMBER
    if v.type == FD_STR:
        return TYPE_TEXT
    if v.type == FD_TRUE or v.type == FD_FALSE:
        return TYPE_TRUTH
    return TYPE_OTHER


cdef inline bint _beyond_chance(uint32_t run, uint32_t events, uint32_t of) noexcept nogil:
    """Is a run without an event that came ``events`` times in ``of`` samples no accident?"""
    return run * -log(1.0 - events / (of + 1.0)) > BEYOND_CHANCE


cdef drift_t* drift_new(object slots) except NULL:
    cdef drift_t* d = <drift_t*>calloc(1, sizeof(drift_t))
    cdef uint32_t i
    if d == NULL:
        raise MemoryError
    d.channels = <channel_drift_t*>calloc(len(slots) + 1, sizeof(channel_drift_t))
    if d.channels == NULL:
        free(d)
        raise MemoryError
    d.n_channels = len(slots)
    for i in range(d.n_channels):
        d.channels[i].n = slots[i]
        d.channels[i].fields = <field_drift_t*>calloc(slots[i] + 1, sizeof(field_drift_t))
        if d.channels[i].fields == NULL:
            drift_free(d)
            raise MemoryError
    return d


cdef void drift_free(drift_t* d) noexcept:
    cdef uint32_t i
    if d == NULL:
        return
    for i in range(d.n_channels):
        free(d.channels[i].fields)
    free(d.channels)
    free(d)


cdef int _judge(field_drift_t* f, uint8_t kind, bint same) noexcept nogil:
    """Take note of one sample of a field; DRIFT_* when its run is beyond chance."""
    if kind == 0:
        f.absent_run += 1
        f.good_run = 0
    else:
        f.absent_run = 0
        f.alien_run = f.alien_run + 1 if not kind & f.types else 0
        f.still_run = f.still_run + 1 if same else 0
        if f.alien_run or (f.alarmed == DRIFT_CONSTANT and same):
            f.good_run = 0
        else:
            f.good_run += 1
    if f.alarmed:
        if f.good_run >= RUN_MIN:
            f.alarmed = 0
        return 0
    if f.absent_run >= RUN_MIN and _beyond_chance(f.absent_run, f.present, LEARNED):
        return DRIFT_VANISHED
    if f.alien_run >= RUN_MIN and f.types:
        return DRIFT_TYPE
    if (f.still_run >= STILL_MIN and f.changed > LEARNED * STILL_SHARE
            and _beyond_chance(f.still_run, f.changed, LEARNED)):
        return DRIFT_CONSTANT
    return 0


cdef bint drift_note(
    drift_t* d, const fd_msg* m, int32_t channel, int symbol, int64_t ts_recv
) noexcept nogil:
    cdef channel_drift_t* c = &d.channels[channel]
    cdef const fd_val* row
    cdef field_drift_t* f
    cdef uint64_t value
    cdef uint8_t kind
    cdef uint32_t i
    cdef bint same
    cdef int what
    if m.rows == 0:
        return False
    c.sampled_at = ts_recv
    row = m.slots + (c.samples % m.rows) * m.plan.channels[channel].slots
    c.samples += 1
    d.what = 0
    for i in range(c.n):
        if <int>i == symbol:      # with one instrument left it stands still
            continue
        f = &c.fields[i]
        kind = _type(&row[i])
        value = 0
        if kind == TYPE_NUMBER or kind == TYPE_TEXT:
            value = fd_hash_bytes(m.base + row[i].off, row[i].len)
        same = value == f.value
        f.value = value
        if c.samples <= LEARNED:
            f.present += kind != 0
            f.changed += not same
            f.types |= kind
            continue
        what = _judge(f, kind, same)
        if what and d.what == 0:           # others in the same message: with the next sample
            f.alarmed = <uint8_t>what
            if what == DRIFT_TYPE:
                f.types |= kind            # known from now on
                f.alien_run = 0
            d.what = what
            d.field = <int32_t>i
    return d.what != 0
