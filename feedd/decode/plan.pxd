"""The compiled form of a venue: key tables for the engine, one program per channel.

A *program* says which slot of a row becomes which field of which record. Slot -1 means that the
venue has no such field. All memory belongs to the ``Plan`` and lives as long as it.
"""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from feedd.decode.engine cimport FD_TEXT_MAX, fd_level_shape, fd_plan, fd_text

cdef enum:
    # kinds that a program yields
    YIELDS_TRADE = 1
    YIELDS_LIQUIDATION = 2
    YIELDS_QUOTE = 4
    YIELDS_BOOK = 8
    YIELDS_DERIV = 16
    YIELDS_GREEKS = 32
    YIELDS_CHECKSUM = 64      # a message that only says what the book's checksum is
    YIELDS_STATE = 128        # what the venue says of the instrument itself

cdef enum:
    POLICY_NONE_FULL = 0
    POLICY_PREV_LINK = 1
    POLICY_PREV_LINK_REST = 2
    POLICY_RANGE_REST = 3
    POLICY_RANGE = 4          # first == last + 1, snapshot in the stream
    POLICY_PLUS_ONE = 5       # current == last + 1, snapshot in the stream
    POLICY_CHECKSUM = 6
    POLICY_KEYED_ROWS = 7
    POLICY_TRUST = 8

cdef enum:
    RESYNC_NONE = 0
    RESYNC_RESUBSCRIBE = 1
    RESYNC_REST = 2
    RESYNC_RECONNECT = 3

cdef enum:
    SNAPSHOT_TYPE = 0         # the type field, the previous number, or never
    SNAPSHOT_ALWAYS = 1
    SNAPSHOT_ROWS = 2         # a payload that is a list of rows

cdef enum:
    REPLAY_NEVER = 0
    REPLAY_ALWAYS = 1
    REPLAY_ROWS = 2
    REPLAY_FILTER = 3
    REPLAY_FIRST = 4          # what is old in the first message of a connection

cdef enum:
    CHECKSUM_ASKS_THEN_BIDS = 0
    CHECKSUM_INTERLEAVED = 1

cdef enum:
    TIME_RFC3339 = 127

cdef enum:
    TEXTS_MAX = 8
    SIDE_TEXTS = 8
    FLAGS_MAX = 6
    DERIV_NUMBERS = 7
    GREEKS_NUMBERS = 10
    STATE_RULES = 12
    STATE_CONDITIONS = 4
    STATE_FACTS = 8

ctypedef struct field_t:
    int16_t slot
    int16_t shift
    uint8_t zero_absent
    uint8_t negative_absent
    uint8_t magnitude

ctypedef fd_text text_t

# The value in a slot is one of a few texts.
ctypedef struct filter_t:
    int16_t slot              # -1: no such rule
    uint8_t n                 # 0: any value that is there and not false, "" or null
    text_t text[8]

ctypedef struct texts_t:
    uint8_t n
    text_t text[8]

ctypedef struct checksum_t:
    uint8_t used
    int16_t slot              # in the book message, -1: comes in messages of its own
    uint8_t is_signed
    uint8_t levels
    uint8_t order
    uint8_t join              # separator byte, 0 none
    uint8_t digits_only
    uint8_t javascript
    uint8_t negative_asks
    uint8_t zero_is_none

ctypedef struct side_rule_t:
    int16_t slot
    int8_t sign               # 1: a positive number is a buy, -1: a sell
    uint8_t n
    int8_t value[8]
    text_t text[8]

ctypedef struct state_rule_t:
    uint8_t status            # InstrumentStatus
    uint8_t n
    filter_t when[4]          # all of them hold

ctypedef struct state_rules_t:
    int16_t word              # -1: the rows tell of facts alone
    uint8_t n, n_facts
    state_rule_t rule[12]     # the first that holds counts
    int16_t facts[8]

ctypedef struct program_t:
    uint8_t yields
    int32_t stream            # channel whose stream these messages belong to (mostly its own)
    uint8_t one_stream        # whatever the topic says: several topics make one stream
    int16_t symbol
    # what is around the symbol in its value
    uint8_t symbol_cut
    uint8_t symbol_end        # 0: the end of the value
    text_t symbol_prefix
    int16_t symbol_of_none    # value of the message that names a book without rows, -1 none
    uint8_t n_time
    int16_t time[3]
    int16_t time_shift[3]     # TIME_RFC3339: a text
    filter_t foreign          # a row with another text in this slot is of another product
    filter_t only             # a row without one of these texts is passed over
    # trade or liquidation
    field_t price
    field_t size
    int16_t id
    int16_t trade_sequence
    filter_t flags[FLAGS_MAX]  # liquidation, block, combo, and the second place of each
    uint8_t block
    uint8_t replay            # REPLAY_*
    filter_t replay_when
    side_rule_t side
    # quote: bid price, bid size, ask price, ask size
    field_t quote[4]
    int16_t quote_sequence
    uint8_t quote_ordered     # the number is the quote's, not that of a connection's frame
    uint8_t quote_optional
    # book
    uint8_t policy
    uint8_t resync
    uint8_t rank
    uint8_t snapshot_by       # SNAPSHOT_*
    uint8_t snapshot_reset
    uint8_t sides_optional
    uint8_t type_optional
    uint8_t rows              # every row is one level
    int16_t first
    int16_t current
    int16_t previous
    int16_t type
    texts_t snapshot_type
    texts_t delta_type
    texts_t insert_type
    texts_t delete_type
    uint8_t n_snapshot_previous
    int64_t snapshot_previous[4]
    int32_t rest_channel      # engine channel of the REST body, -1 none
    uint8_t n_depths
    uint32_t depths[8]        # ascending; the book is cut to the subscribed one of them
    checksum_t checksum
    int16_t checksum_slot     # of a YIELDS_CHECKSUM message
    # a level that is a row
    int16_t level_price
    int16_t level_size
    int16_t level_count
    int16_t level_id
    side_rule_t level_side    # +1 a bid
    # derivative fields in the order of records.DERIV_FIELDS, then greeks
    field_t deriv[7]
    int16_t next_funding
    int16_t next_funding_shift
    field_t greeks[10]
    state_rules_t* state      # NULL unless YIELDS_STATE


cdef class Plan:
    cdef fd_plan plan
    cdef program_t* programs
    cdef int64_t future_ns_max
    cdef bint upper_case
    cdef bint has_connection_sequence   # slot 0 of the envelope rows
    cdef uint64_t connection_first
    cdef readonly object learn          # venues.schema.Learn or None
    cdef readonly object marks          # decode.salvage.Marks
    cdef readonly dict depth_rules      # channel name -> venues.schema.Depth
    cdef readonly str venue
    cdef readonly tuple channels   # names, by engine channel; REST bodies as "<channel>/rest"
    cdef readonly tuple slot_paths  # by engine channel: slot -> path as in the venue file
    cdef list _owned               # bytes objects that C pointers refer to
    cdef uint32_t _channel(self, int index, tree, list env, uint32_t at) except? 0
    cdef _level(self, fd_level_shape* out, level)
    cdef _envelope(self, int index, envelope, venue, list env)
    cdef uint32_t _node(self, dict members, dict slots, uint32_t at) except? 0
    cdef void _blank(self, program_t* p)
    cdef _times(self, program_t* p, paths, unit, dict slots)
    cdef _trade_program(self, program_t* p, trade, dict slots)
    cdef _book_program(self, program_t* p, book, dict slots)
    cdef _state_program(self, program_t* p, state, dict slots)
