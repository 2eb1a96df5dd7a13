"""What the pipeline knows of one instrument, and the table that finds it by its symbol."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from feedd.book.book cimport fb_book
from feedd.book.checksum cimport fr_map, fx_texts
from feedd.decode.engine cimport fd_level
from feedd.pipeline.lanes cimport lanes_t
from feedd.pipeline.recent cimport recent_t
from feedd.pipeline.verify cimport rule_t

cdef enum:
    SEEN_CHANNELS = 24            # channels of a venue whose last messages are known one by one

# Trade ids of one instrument on one channel: the last ones seen, to drop repeats.
ctypedef struct ids_t:
    int32_t channel
    uint32_t n, cap, at
    uint64_t highest
    uint64_t* seen
    ids_t* next
    uint64_t lines            # bits of connections that have brought trades
    uint64_t first_message    # the last of their first messages
    int32_t first_line

# What a keyed row says of a level beside price and size (POLICY_KEYED_ROWS).
ctypedef struct rowkey_t:
    uint64_t id
    uint8_t has_price
    uint8_t is_new            # the id was not there before
    uint8_t is_delete

# A book message that waits: for its REST snapshot, or for one that another line may still bring.
# Its levels are in the instrument's buffer, its keys in the parallel array.
ctypedef struct pending_t:
    uint64_t first, current, previous, sequence, content
    uint64_t sum              # of its line's book behind it, where copies are counted
    uint64_t number           # that its connection gave it among all its messages
    # messages that its line is known to have lost: when the one of this book before it came, and
    # when it came
    uint32_t lost_before, lost
    int64_t checksum
    int64_t ts_event, ts_recv
    uint32_t start, n_bid, n_ask
    int32_t line
    uint8_t flags
    uint8_t has_previous, has_current, has_checksum, has_keys, snapshot

# What the venue said last of the instrument itself.
ctypedef struct said_t:
    uint8_t status            # InstrumentStatus
    uint8_t previous
    uint8_t known             # something was said
    uint8_t owed              # its record waits until the instrument has an id
    uint8_t untold            # the reader has not passed it on yet
    uint8_t facts_changed     # not the status, but other facts of the list
    uint16_t line
    uint64_t facts            # hash of them, 0 none
    int64_t ts_event, ts_recv
    char word[41]

ctypedef struct instrument_t:
    char* symbol
    uint32_t symbol_n
    int32_t venue
    uint32_t id               # FEEDD_NO_INSTRUMENT until the supervisor gave one
    int32_t row               # of board and books, -1 none
    uint32_t depth            # of the shared book
    # book
    fb_book* book
    int32_t book_channel      # engine channel that owns the book, -1 none yet
    uint64_t book_topic       # and its stream
    uint8_t rank
    uint8_t state             # BookState
    uint8_t up                # whole: live, or stale or of a given-up checksum but in sequence
    int32_t line              # connection that fed the book last
    lanes_t* lanes            # all that carry its stream, once there was a second one
    int64_t hold_since        # something waits for another line; 0: nothing does
    uint8_t joined            # a delta followed the REST snapshot
    uint8_t fresh             # no delta has followed the snapshot in the stream yet
    uint8_t has_chain
    uint8_t wanted            # a snapshot or a resubscription was asked for
    uint8_t rewinds
    uint64_t last             # sequence of the book
    uint64_t chain            # sequence last seen while not live
    int64_t last_ts_event
    int64_t since             # when the state began, ts_recv
    int64_t last_data
    int64_t seen[SEEN_CHANNELS]   # ts_recv of the last message, by engine channel
    uint64_t gaps
    uint64_t resyncs
    uint64_t ring_pos         # of the last event applied to the book
    int64_t book_ts_event
    int64_t book_ts_recv
    uint64_t deep_pos
    uint8_t deep_dirty
    uint8_t price_decimals
    uint8_t size_decimals
    # what some venues need beside the book
    uint32_t subscribed_depth  # from the venue's ack, 0 unknown
    uint32_t cut              # levels a side that the venue keeps, 0 all
    fx_texts* texts           # levels as written, for checksums
    uint8_t texts_valid       # since the last snapshot
    rule_t* rule              # of the checksum; NULL without one
    fr_map* rows              # levels by id
    uint64_t snapshot_hash    # of the last snapshot without a number
    # quarantine
    int64_t resyncs_since     # start of the window
    uint32_t resyncs_in       # and resyncs in it
    uint32_t quarantines      # in a row
    int64_t quarantined_until  # 0: not in quarantine
    # deltas that wait for a snapshot
    pending_t* pending
    uint32_t n_pending, cap_pending
    fd_level* buffer
    rowkey_t* key_buffer      # as long as the buffer where rows have keys
    uint32_t n_buffer, cap_buffer, cap_keys
    # duplicates
    uint64_t quote_sequence
    int64_t quote_ts_recv
    int64_t quote_ts_event
    int32_t quote_line
    uint8_t has_quote
    uint8_t old_quotes        # in a row
    ids_t* ids
    recent_t* recent          # records that have no id
    said_t* said              # NULL until the venue says something
    uint64_t updates


cdef instrument_t* instrument_new(const uint8_t* symbol, size_t n, int32_t venue) noexcept nogil
cdef void instrument_free(instrument_t* x) noexcept nogil
cdef bint ids_seen(
    instrument_t* x, int32_t channel, uint64_t trade_id, bint numeric) noexcept nogil
# Has this connection brought trades of the channel already?
cdef bint trades_heard(instrument_t* x, int32_t channel, int32_t line) noexcept nogil
# Is this trade, of the first message that a connection brought, one of the past?
cdef bint trade_is_past(
    instrument_t* x, int32_t channel, int32_t line, uint64_t message, int64_t ts_event,
    int64_t ts_recv) noexcept nogil
cdef void trades_line_gone(instrument_t* x, int32_t line) noexcept nogil
# Append to what waits, or put it where its number belongs (sorted). False: a bound was hit and
# everything before is forgotten.
cdef bint pending_add(
    instrument_t* x, const pending_t* delta, const fd_level* bids, const fd_level* asks,
    const rowkey_t* keys, bint by_number) noexcept nogil
cdef void pending_clear(instrument_t* x) noexcept nogil
# Where something always waits: give back the room of what does not any more.
cdef void pending_compact(instrument_t* x) noexcept nogil
# Forget the first n.
cdef void pending_shift(instrument_t* x, uint32_t n) noexcept nogil
cdef void pending_drop_one(instrument_t* x, uint32_t i) noexcept nogil
# Forget those of one line up to and with index last.
cdef void pending_drop_line(instrument_t* x, int32_t line, uint32_t last) noexcept nogil


# Open addressing from symbol bytes to instrument; owns the instruments. One thread.
ctypedef struct table_t:
    instrument_t** slots
    instrument_t** items      # in the order of arrival
    uint32_t mask, n, cap


cdef table_t* table_new() noexcept
cdef void table_free(table_t* t) noexcept
cdef instrument_t* table_find(
    const table_t* t, const uint8_t* symbol, size_t n) noexcept nogil
# A new instrument; NULL when memory is out. The symbol must not be there yet.
cdef instrument_t* table_add(
    table_t* t, const uint8_t* symbol, size_t n, int32_t venue) noexcept nogil
