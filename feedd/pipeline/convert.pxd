"""Spans of a decoded row -> typed values. Each returns 1 value, 0 absent, -1 malformed.

Absent is a missing key, null or an empty string; a value of the wrong shape makes the whole message
a bad frame.
"""

from libc.math cimport fabs
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset

from feedd.decode.engine cimport (
    FD_ABSENT, FD_FALSE, FD_NULL, FD_NUM, FD_PADDING, FD_STR, FD_TRUE, fd_dec, fd_is_one_of, fd_msg,
    fd_number_of, fd_pow10, fd_rfc3339, fd_scan_dec, fd_text_u64, fd_to_int, fd_to_u64,
    fd_unescape, fd_val,
)
from feedd.decode.plan cimport (
    TIME_RFC3339, field_t, filter_t, program_t, side_rule_t, text_t, texts_t,
)


cdef inline const uint8_t* text_of(
    const fd_msg* m, const fd_val* v, uint8_t* scratch, size_t cap, uint32_t* n
) noexcept nogil:
    """The bytes of a span, escapes resolved into scratch; NULL when they do not fit there."""
    if not v.escaped:
        n[0] = v.len
        return m.base + v.off
    if v.len + FD_PADDING > cap:
        return NULL
    memset(scratch, 0, cap)
    n[0] = <uint32_t>fd_unescape(m.base + v.off, v.len, scratch)
    return scratch


cdef inline int decimal_of(
    const fd_msg* m, const fd_val* v, fd_dec* d, const uint8_t** text, uint32_t* n,
    uint8_t* scratch, size_t cap
) noexcept nogil:
    cdef const uint8_t* end
    if v.plain:                  # read with the message, by a template
        d.m = v.m
        d.e = -<int32_t>v.decimals
        d.neg = d.many = 0
        text[0] = m.base + v.off
        n[0] = v.len
        return 1
    if v.type == FD_ABSENT or v.type == FD_NULL or (v.type == FD_STR and v.len == 0):
        return 0
    if v.type != FD_STR and v.type != FD_NUM:
        return -1
    text[0] = text_of(m, v, scratch, cap, n)
    if text[0] == NULL:
        return -1
    end = fd_scan_dec(text[0], d)
    return 1 if end == text[0] + n[0] else -1


cdef inline int number_of(
    const fd_msg* m, const fd_val* row, const field_t* f, double* out, uint8_t* inexact
) noexcept nogil:
    cdef const fd_val* v
    cdef uint8_t cut = 0
    cdef double value
    cdef int found
    if f.slot < 0:
        return 0
    v = &row[f.slot]
    if v.plain and -22 <= f.shift - v.decimals <= 0:     # at most 15 digits: one exact division
        if f.zero_absent and v.m == 0:
            return 0
        out[0] = <double><int64_t>v.m / fd_pow10[v.decimals - f.shift]
        return 1
    found = fd_number_of(m, v, f.shift, &value, &cut)
    if found != 1:
        return found
    if (f.zero_absent and value == 0) or (f.negative_absent and value < 0):
        return 0
    out[0] = fabs(value) if f.magnitude else value
    inexact[0] |= cut
    return 1


cdef inline int integer_of(
    const fd_msg* m, const fd_val* row, int slot, int shift, int64_t* out
) noexcept nogil:
    """A whole number (fractions behind the shift are cut), for times and signed sequences."""
    cdef uint8_t scratch[256]
    cdef const uint8_t* text
    cdef uint32_t n
    cdef fd_dec d
    cdef int found
    if slot < 0:
        return 0
    found = decimal_of(m, &row[slot], &d, &text, &n, scratch, sizeof(scratch))
    if found != 1:
        return found
    return 1 if fd_to_int(d, shift, out) else -1


cdef inline bint plain_of(
    const fd_msg* m, const fd_val* v, uint64_t* out
) noexcept nogil:
    """The common case: an integer of up to 20 digits, as a number or as text."""
    if v.plain and v.decimals == 0:
        out[0] = v.m
        return True
    if v.type != FD_NUM and (v.type != FD_STR or v.escaped):
        return False
    if m.base[v.off] == c"0" and v.len > 1:
        return False
    return fd_text_u64(m.base + v.off, v.len, out)


cdef inline int _text_time_of(
    const fd_msg* m, const fd_val* v, int64_t* out
) noexcept nogil:
    cdef uint8_t scratch[256]
    cdef const uint8_t* text
    cdef uint32_t n
    cdef int found
    if v.type == FD_ABSENT or v.type == FD_NULL or (v.type == FD_STR and v.len == 0):
        return 0
    if v.type != FD_STR:
        return -1
    text = text_of(m, v, scratch, sizeof(scratch), &n)
    if text == NULL:
        return -1
    found = fd_rfc3339(text, n, out)
    return found if found else -1


cdef inline int time_of(
    const fd_msg* m, const fd_val* row, int slot, int shift, int64_t* out
) noexcept nogil:
    """Nanoseconds; 2 when the number is a time beyond what 64 bits of them hold (out is then 0)."""
    cdef uint8_t scratch[256]
    cdef const uint8_t* text
    cdef uint32_t n
    cdef fd_dec d
    cdef int found
    cdef uint64_t plain
    out[0] = 0
    if slot < 0:
        return 0
    if shift == TIME_RFC3339:
        return _text_time_of(m, &row[slot], out)
    if shift == 6 and plain_of(m, &row[slot], &plain):
        if plain < 9000000000000ULL:
            out[0] = <int64_t>plain * 1_000_000      # milliseconds, as almost every venue sends
            return 1
        # as milliseconds of no year that has a name: the connection was asked for microseconds
        if 1000000000000000ULL <= plain < 9000000000000000ULL:
            out[0] = <int64_t>plain * 1000
            return 1
    found = decimal_of(m, &row[slot], &d, &text, &n, scratch, sizeof(scratch))
    if found != 1:
        return found
    if fd_to_int(d, shift, out):
        return 1
    out[0] = 0
    return 2


cdef inline int sequence_of(
    const fd_msg* m, const fd_val* row, int slot, uint64_t* out
) noexcept nogil:
    cdef uint8_t scratch[256]
    cdef const uint8_t* text
    cdef uint32_t n
    cdef fd_dec d
    cdef int found
    if slot < 0:
        return 0
    if plain_of(m, &row[slot], out):
        return 1
    found = decimal_of(m, &row[slot], &d, &text, &n, scratch, sizeof(scratch))
    if found != 1:
        return found
    if fd_text_u64(text, n, out):
        return 1
    return 1 if fd_to_u64(d, out) else -1


cdef inline bint is_text(const uint8_t* p, uint32_t n, const text_t* t) noexcept nogil:
    return n == t.n and memcmp(p, t.text, n) == 0


cdef inline bint is_in(
    const fd_msg* m, const fd_val* row, int slot, const texts_t* texts
) noexcept nogil:
    return slot >= 0 and fd_is_one_of(m, &row[slot], texts.text, texts.n)


cdef inline int side_of(
    const fd_msg* m, const fd_val* row, const side_rule_t* rule, int* out
) noexcept nogil:
    cdef uint8_t scratch[192]
    cdef const fd_val* v
    cdef const uint8_t* text
    cdef uint32_t n
    cdef fd_dec d
    cdef int i
    out[0] = 0
    if rule.slot < 0:
        return 0
    v = &row[rule.slot]
    if v.type == FD_ABSENT or v.type == FD_NULL:
        return 0
    if rule.sign:
        i = decimal_of(m, v, &d, &text, &n, scratch, sizeof(scratch))
        if i == 1 and d.m:
            out[0] = -rule.sign if d.neg else rule.sign
        return i
    text = text_of(m, v, scratch, sizeof(scratch), &n)
    if text == NULL:
        return -1
    for i in range(rule.n):
        if is_text(text, n, &rule.text[i]):
            out[0] = rule.value[i]
            return 1
    return -1


cdef inline bint is_foreign(
    const fd_msg* m, const fd_val* row, const filter_t* rule
) noexcept nogil:
    """Does the row belong to a product that this venue file does not speak of?"""
    cdef const fd_val* v
    if rule.slot < 0:
        return False
    v = &row[rule.slot]
    if v.type == FD_ABSENT or v.type == FD_NULL:
        return False
    return not fd_is_one_of(m, v, rule.text, rule.n)


cdef inline bint is_set(const fd_msg* m, const fd_val* row, const filter_t* rule) noexcept nogil:
    """A flag: one of its texts, or without texts a value that is not null, false or ""."""
    cdef const fd_val* v
    if rule.slot < 0:
        return False
    v = &row[rule.slot]
    if rule.n:
        return fd_is_one_of(m, v, rule.text, rule.n)
    return not (v.type == FD_ABSENT or v.type == FD_NULL or v.type == FD_FALSE
                or (v.type == FD_STR and v.len == 0))


cdef inline const uint8_t* symbol_in(
    const program_t* p, const uint8_t* text, uint32_t* n
) noexcept nogil:
    """The symbol inside "ob.BTC_USDT.50"; NULL when the text is not of that form."""
    cdef uint32_t start = p.symbol_prefix.n
    cdef uint32_t i
    if text == NULL or n[0] <= start or memcmp(text, p.symbol_prefix.text, start) != 0:
        return NULL
    i = start
    while i < n[0] and not (p.symbol_end and text[i] == p.symbol_end):
        i += 1
    if p.symbol_end and i == n[0]:
        return NULL
    n[0] = i - start
    return text + start
