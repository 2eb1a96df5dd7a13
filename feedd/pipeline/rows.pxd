"""One row of a message, checked and converted: everything that its records need."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from feedd.decode.engine cimport fd_level, fd_msg, fd_val
from feedd.decode.plan cimport program_t
from feedd.pipeline.books cimport rowkey_t, update_t
from feedd.pipeline.instrument cimport SEEN_CHANNELS, instrument_t
from feedd.pipeline.output cimport Output
from feedd.shm.feedd cimport feedd_board_row

ctypedef struct row_t:
    instrument_t* x
    uint8_t yields               # kinds of this row; a kind without a value is not among them
    uint8_t bad_ts
    uint8_t replay               # a trade of the past
    int64_t ts_event
    # trade
    double price, size
    uint64_t trade_id
    uint8_t id_text[48]
    uint8_t id_numeric, has_id
    uint8_t trade_flags, trade_inexact
    int side
    uint64_t trade_sequence
    # quote
    double quote[4]
    uint8_t quote_inexact, has_quote_sequence, quote_ordered
    uint64_t quote_sequence
    # derivative fields and greeks
    double deriv[7]
    int64_t next_funding
    uint32_t deriv_mask
    uint8_t deriv_inexact
    double greeks[10]
    uint8_t greeks_inexact
    # book; with rows that are levels, this one
    update_t book
    fd_level level
    rowkey_t key
    # a checksum in a message of its own
    int64_t checksum
    # what the venue says of the instrument itself
    uint8_t status
    uint64_t facts
    char word[41]

cdef enum:
    EARLIEST_NS = 1230768000000000000    # 2009: before it no coin was traded


# A receive time before 2009 is of a clock that does not tell the date.
cdef inline bint is_bad_time(
    int64_t ts_event, int64_t ts_recv, int64_t future_ns_max
) noexcept nogil:
    return ts_event != 0 and ts_recv != 0 and (
        (ts_recv > EARLIEST_NS and ts_event > ts_recv + future_ns_max) or ts_event < EARLIEST_NS)


cdef inline void note_data(instrument_t* x, int channel, int64_t ts_recv) noexcept nogil:
    x.last_data = ts_recv
    if channel < SEEN_CHANNELS:
        x.seen[channel] = ts_recv

# NULL, or why the row is not what the venue file promises.
cdef const char* row_convert(
    const fd_msg* m, uint32_t index, const program_t* p, row_t* r) noexcept nogil
cdef bint is_replay(const fd_msg* m, const fd_val* row, const program_t* p) noexcept nogil
cdef uint8_t trade_flags_of(
    const fd_msg* m, const fd_val* row, const program_t* p) noexcept nogil
# The id of a trade, and its text; ``v`` NULL: it has none; ``known``: its digits are a number.
cdef const char* trade_id_of(
    const fd_msg* m, const fd_val* v, bint known, uint64_t number, row_t* r) noexcept nogil
# The instrument's board row, its lock taken, its common words written; NULL if it has none.
cdef feedd_board_row* board_open(
    Output out, instrument_t* x, int64_t ts_recv, uint64_t* odd) noexcept nogil
cdef void row_publish(
    Output out, const program_t* p, row_t* r, int64_t ts_recv, int line) noexcept nogil
