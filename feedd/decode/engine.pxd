"""C declarations of the native decode engine (feedd/decode/src).

What decodes a message is called through ``native``, so that one module only has to compile it.
"""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "decimal.h" nogil:
    ctypedef struct fd_dec:
        uint64_t m
        int32_t e
        uint8_t neg, many

    const double fd_pow10[23]
    int fd_decimal_init()
    const uint8_t* fd_scan_dec(const uint8_t* p, fd_dec* d)
    void fd_strip(fd_dec* d)
    double fd_to_double(
        fd_dec d, int32_t shift, const uint8_t* text, size_t n, uint8_t* inexact)
    int fd_to_int(fd_dec d, int32_t shift, int64_t* out)
    int fd_to_u64(fd_dec d, uint64_t* out)
    int fd_text_u64(const uint8_t* p, size_t n, uint64_t* out)


cdef extern from "json.h" nogil:
    enum:
        FD_PADDING
        FD_DEPTH_MAX
    size_t fd_unescape(const uint8_t* p, size_t n, uint8_t* out)


cdef extern from "when.h" nogil:
    int fd_rfc3339(const uint8_t* p, size_t n, int64_t* out)


cdef extern from "engine.h" nogil:
    enum:
        FD_ABSENT
        FD_NULL
        FD_FALSE
        FD_TRUE
        FD_NUM
        FD_STR
        FD_OBJ
        FD_ARR
        FD_OP_SKIP
        FD_OP_SLOT
        FD_OP_NODE
        FD_OP_LEVELS
        FD_OP_PAYLOAD
        FD_OP_TOPIC
        FD_OP_EACH
        FD_PLAIN
        FD_PORTABLE
        FD_AVX2
        FD_AVX512
        FD_OK
        FD_BAD_JSON
        FD_BAD_SHAPE
        FD_SHAPE_OBJECT
        FD_SHAPE_ROWS
        FD_SHAPE_VALUE
        FD_BOTH_SIDES
        FD_ENV_MAX
        FD_PARENT_MAX
        FD_POSITIONS
        FD_NO_SLOT
        FD_TEXT_MAX
        FD_LEARNED_MAX
        FD_PRICE
        FD_SIZE
        FD_SIDE
        FD_COUNT
        FD_SIDE_TEXTS
        FD_SIDE_TEXT_MAX
        FD_NO_CHANNEL
        FD_CONTROL_TOPIC
        FD_TOPIC_ABSENT
        FD_TOPIC_MAX
        FD_PLAN_DEPTH_MAX

    ctypedef struct fd_val:
        uint32_t off, len
        uint8_t type, escaped, plain, decimals
        uint64_t m

    ctypedef struct fd_level:
        fd_dec price_dec
        double price, size
        uint64_t size_m
        int16_t size_e
        uint8_t inexact, side

    ctypedef struct fd_levels:
        uint32_t start, count
        uint8_t seen

    ctypedef struct fd_key:
        const uint8_t* key
        uint32_t len
        uint64_t prefix
        uint8_t op
        uint16_t arg

    ctypedef struct fd_node:
        fd_key* keys
        uint16_t n, slot_lo, slot_hi
        uint8_t has_levels, has_topic, has_payload, positional
        uint8_t at[32]
        uint8_t table[64]

    ctypedef struct fd_level_shape:
        uint16_t price, size
        uint8_t general, is_object
        uint8_t used[4]
        uint16_t at[4]
        const uint8_t* key[4]
        uint8_t key_len[4]
        uint8_t side_sign, n_side
        uint8_t side_value[4]
        uint8_t side_len[4]
        uint8_t side_text[4][12]

    ctypedef struct fd_channel:
        int32_t node, each_node
        uint16_t slots, parent_base, n_parent, env_base, n_env
        uint16_t env[24]
        uint16_t value_slot
        uint8_t shapes
        fd_level_shape level

    ctypedef struct fd_topic:
        const uint8_t* text[8]
        uint16_t len[8]
        int8_t symbol_at
        uint8_t holes, to_end
        int32_t channel
        uint8_t envelope

    ctypedef struct fd_text:
        uint8_t n
        uint8_t text[16]

    ctypedef struct fd_envelope:
        int32_t node, fixed
        uint8_t root_is_payload, tagged, n_bare, missing_is_control, n_when
        uint16_t when, control_if
        fd_text when_text[8]
        fd_text bare[8]
        uint8_t separator

    ctypedef struct fd_learned:
        uint64_t id
        uint32_t line
        uint16_t len
        uint8_t text[112]

    ctypedef struct fd_cached_topic:
        pass

    enum:
        FD_QUICK_NEW
        FD_QUICK_NONE
        FD_QUICK_USED

    ctypedef struct fd_quick:
        uint8_t use, known, no_zeros, n_numbers, time, sequence, id, previous, id_at, side_at
        int8_t side
        uint8_t flags, replay
        int64_t time_scale
        uint64_t time_max
        double scale[4]

    ctypedef struct fd_layout:
        uint8_t is_whole
        uint32_t n_values
        fd_val value[32]
        fd_quick quick

    ctypedef struct fd_routes:
        void* route

    int fd_routes_init(fd_routes* r)
    void fd_routes_free(fd_routes* r)

    ctypedef struct fd_layouts:
        uint64_t hits, learned, quick

    ctypedef struct fd_templates:
        int isa
        uint64_t hits, learned
        fd_layouts layouts

    fd_templates* fd_templates_new()
    void fd_templates_free(fd_templates* t)

    ctypedef struct fd_plan:
        fd_node* nodes
        fd_channel* channels
        fd_topic* topics
        fd_envelope* envelopes
        uint32_t n_nodes, n_channels, n_topics, n_envelopes
        uint8_t delimiter[256]
        fd_cached_topic* cache
        uint32_t cache_mask, cache_n
        uint8_t* arena
        uint32_t arena_n, arena_cap
        uint32_t n_env
        fd_templates* templates

    ctypedef struct fd_msg:
        const uint8_t* base
        fd_plan* plan
        int envelope, channel
        uint64_t topic_hash
        uint16_t sym_off, sym_len
        const uint8_t* topic_at
        uint8_t listed, bare
        uint32_t line
        const fd_learned* learned
        uint32_t learned_mask
        fd_val env[24]
        fd_val* slots
        uint32_t rows
        fd_levels* sides
        fd_level* levels
        fd_level* mixed
        uint32_t n_levels
        const char* error
        uint8_t* copy
        const fd_routes* routes
        fd_layout* layout
        fd_layout* head
        void* who
        double decimal[4]
        uint64_t number[8]

    int fd_quick_texts(const fd_msg* m, fd_layout* l, const fd_val* symbol)
    int fd_quick_number(fd_layout* l, const fd_val* v, uint32_t to)
    void fd_quick_again(fd_quick* q, uint32_t of, uint32_t to)
    int fd_quick_type(const fd_msg* m, fd_layout* l, const fd_val* v)
    int fd_quick_pin(const fd_msg* m, fd_layout* l, const fd_val* v)
    void fd_quick_no_tail(fd_quick* q)
    void fd_quick_pass(const fd_msg* m, fd_layout* l, const fd_val* v)
    int fd_quick_tail_number(const fd_msg* m, fd_layout* l, const fd_val* v, uint32_t to)
    bint fd_quick_in_tail(const fd_quick* q, uint32_t i)
    int fd_quick_is_fixed(const fd_layout* l, const fd_val* v)
    bint fd_quick_told_behind(const fd_msg* m, const fd_layout* l)
    void fd_route_learn(const fd_msg* m, const fd_layout* l, void* who)

    void fd_msg_free(fd_msg* m)
    int fd_is_one_of(const fd_msg* m, const fd_val* v, const fd_text* texts, uint32_t n)
    uint64_t fd_hash_bytes(const uint8_t* p, size_t n)
    uint32_t fd_key_hash(uint64_t prefix, uint32_t len)
    int fd_is_padded(const uint8_t* p, size_t n)
    const uint8_t* fd_copy(fd_msg* m, const uint8_t* p, size_t n)

    ctypedef struct fd_outcome:
        pass

    int fd_outcome_of(fd_outcome* o, const fd_msg* m)
    void fd_outcome_free(fd_outcome* o)
    int fd_same_outcome(const fd_outcome* o, const fd_msg* m)
    int fd_plain_holds(const fd_msg* m)


cdef extern from "numbers.h" nogil:
    int fd_number_of(
        const fd_msg* m, const fd_val* v, int32_t shift, double* out, uint8_t* inexact)
