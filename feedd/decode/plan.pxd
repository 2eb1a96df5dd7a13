"""The compiled form of a venue: key tables for the engine, one program per channel.

A *program* says which slot of a row becomes which field of which record. Slot -1 means that the
venue has no such field. All memory belongs to the ``Plan`` and lives as long as it.
"""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t

from feedd.decode.engine cimport fd_plan

cdef enum:
    # kinds that a program yields
    YIELDS_TRADE = 1
    YIELDS_LIQUIDATION = 2
    YIELDS_QUOTE = 4
    YIELDS_BOOK = 8
    YIELDS_DERIV = 16
    YIELDS_GREEKS = 32

cdef enum:
    POLICY_NONE_FULL = 0
    POLICY_PREV_LINK = 1
    POLICY_PREV_LINK_REST = 2
    POLICY_RANGE_REST = 3

cdef enum:
    RESYNC_NONE = 0
    RESYNC_RESUBSCRIBE = 1
    RESYNC_REST = 2

cdef enum:
    TEXT_MAX = 16
    SIDE_TEXTS = 8
    DERIV_NUMBERS = 7
    GREEKS_NUMBERS = 10

ctypedef struct field_t:
    int16_t slot
    int16_t shift
    uint8_t zero_absent

ctypedef struct text_t:
    uint8_t n
    uint8_t text[16]

ctypedef struct side_rule_t:
    int16_t slot
    uint8_t n
    int8_t value[8]
    text_t text[8]

ctypedef struct program_t:
    uint8_t yields
    int16_t symbol
    uint8_t n_time
    int16_t time[3]
    int16_t time_shift
    # a row with another text in this slot is of another product
    int16_t only
    uint8_t n_only
    text_t only_text[4]
    # trade or liquidation
    field_t price
    field_t size
    int16_t id
    int16_t trade_sequence
    int16_t flags[3]          # liquidation, block, combo
    uint8_t block
    side_rule_t side
    # quote: bid price, bid size, ask price, ask size
    field_t quote[4]
    int16_t quote_sequence
    # book
    uint8_t policy
    uint8_t resync
    uint8_t rank
    int16_t first
    int16_t current
    int16_t previous
    int16_t type
    text_t snapshot_type
    text_t delta_type
    uint8_t n_snapshot_previous
    int64_t snapshot_previous[4]
    int32_t rest_channel      # engine channel of the REST body, -1 none
    # derivative fields in the order of records.DERIV_FIELDS, then greeks
    field_t deriv[7]
    int16_t next_funding
    field_t greeks[10]


cdef class Plan:
    cdef fd_plan plan
    cdef program_t* programs
    cdef int64_t future_ns_max
    cdef bint upper_case
    cdef readonly str venue
    cdef readonly tuple channels   # names, by engine channel; REST bodies as "<channel>/rest"
    cdef list _owned               # bytes objects that C pointers refer to
    cdef uint32_t _node(self, dict members, dict slots, uint32_t at) except? 0
    cdef void _blank(self, program_t* p)
    cdef _book_program(self, program_t* p, book, dict slots)
