"""What the numbers of a message are that are read quickly, worked out once for a layout.

``row`` are the values of the message by which a layout is learned. Each rule is that of
``convert.pxd`` for what was read with the message; False means that such messages are read in full.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t

from feedd.decode.engine cimport (
    FD_ABSENT, FD_NULL, FD_STR, fd_layout, fd_msg, fd_pow10, fd_quick, fd_quick_again,
    fd_quick_in_tail, fd_quick_is_fixed, fd_quick_no_tail, fd_quick_number, fd_quick_pass,
    fd_quick_pin, fd_quick_tail_number, fd_val,
)
from feedd.decode.plan cimport TIME_RFC3339, filter_t, program_t

cdef enum:
    NO_NUMBER = 255
    AT_TIME = 4               # numbers: four decimals, then four integers
    AT_SEQUENCE = 5
    AT_ID = 6                 # of a trade
    AT_FIRST = 6              # of a change of a book, whose sequence is the last one
    AT_PREVIOUS = 7


cdef inline void no_numbers(fd_quick* q) noexcept nogil:
    q.n_numbers = q.no_zeros = 0
    q.time = q.sequence = q.id = q.previous = NO_NUMBER
    fd_quick_no_tail(q)


cdef inline bint is_none(const fd_val* v) noexcept nogil:
    return v.type == FD_ABSENT or v.type == FD_NULL or (v.type == FD_STR and v.len == 0)


cdef inline bint is_fixed(
    const fd_layout* l, const fd_val* row, const filter_t* rule
) noexcept nogil:
    return rule.slot < 0 or fd_quick_is_fixed(l, &row[rule.slot])


cdef inline bint pinned(
    const fd_msg* m, fd_layout* l, const fd_val* row, const program_t* p
) noexcept nogil:
    """What makes a message one of the right product is the same in all that fit."""
    return ((p.foreign.slot < 0 or fd_quick_pin(m, l, &row[p.foreign.slot]))
            and (p.only.slot < 0 or fd_quick_pin(m, l, &row[p.only.slot])))


cdef inline bint whole_number(
    const fd_msg* m, fd_layout* l, const fd_val* row, int slot, uint32_t to, uint8_t* which
) noexcept nogil:
    """A whole number that may be absent. False: it is written in another way."""
    if slot < 0 or is_none(&row[slot]):
        return True
    if not (row[slot].decimals == 0 and fd_quick_number(l, &row[slot], to)
            or fd_quick_tail_number(m, l, &row[slot], to)):
        return False
    which[0] = <uint8_t>to
    return True


cdef inline bint time_number(
    const fd_msg* m, fd_layout* l, const fd_val* row, const program_t* p
) noexcept nogil:
    cdef fd_quick* q = &l.quick
    cdef const fd_val* v
    cdef int i, later, power
    for i in range(p.n_time):
        if p.time[i] < 0 or is_none(&row[p.time[i]]):
            continue
        v = &row[p.time[i]]
        power = p.time_shift[i] - v.decimals
        if (p.time_shift[i] == TIME_RFC3339 or not 0 <= power <= 18 or not (
                fd_quick_number(l, v, AT_TIME) or fd_quick_tail_number(m, l, v, AT_TIME))):
            return False
        q.time = AT_TIME
        q.time_scale = <int64_t>fd_pow10[power]
        q.time_max = <uint64_t>(INT64_MAX // q.time_scale)
        for later in range(i + 1, p.n_time):
            if p.time[later] >= 0:
                fd_quick_pass(m, l, &row[p.time[later]])
        return True
    return True


cdef inline bint _in_four(const fd_quick* q, uint32_t i) noexcept nogil:
    return (i == q.time or i == q.sequence or i == q.id or i == q.previous) and (
        not fd_quick_in_tail(q, i))


cdef inline void fill_four(fd_layout* l) noexcept nogil:
    """Integers of the head are read four at once: what is none is read as one that is there."""
    cdef fd_quick* q = &l.quick
    cdef uint32_t found = NO_NUMBER
    cdef uint32_t i
    for i in range(AT_TIME, AT_PREVIOUS + 1):
        if _in_four(q, i):
            found = i
    for i in range(AT_TIME, AT_PREVIOUS + 1 if found != NO_NUMBER else AT_TIME):
        if not _in_four(q, i):
            fd_quick_again(q, found, i)
