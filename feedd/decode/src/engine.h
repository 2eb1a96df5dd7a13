/* The decode engine: one JSON walker driven by a table (the plan), no code per venue.
 *
 * A plan is a set of *envelopes* (where the topic and the payload of a message are), *topics*
 * (patterns that tell channels apart) and one key table (*node*) per object of each channel. The
 * walker validates the whole message, also what it skips, and leaves spans in slots and levels in
 * a flat array; nothing is handed on before the last byte was seen. Key order does not matter, the
 * last of duplicate keys wins, a payload that comes before its topic is walked afterwards.
 *
 * One fd_msg belongs to one thread. It only allocates when a message is larger than all before.
 */
#ifndef FEEDD_ENGINE_H
#define FEEDD_ENGINE_H

#include "levels.h"

enum { FD_ABSENT, FD_NULL, FD_FALSE, FD_TRUE, FD_NUM, FD_STR, FD_OBJ, FD_ARR };
enum { FD_OP_SKIP, FD_OP_SLOT, FD_OP_NODE, FD_OP_LEVELS, FD_OP_PAYLOAD };
enum { FD_OK = 0, FD_BAD_JSON = 1, FD_BAD_SHAPE = 2 };
enum { FD_SHAPE_OBJECT = 1, FD_SHAPE_ROWS = 2 };

#define FD_NO_CHANNEL (-1)
#define FD_CONTROL_TOPIC (-2)
#define FD_TOPIC_ABSENT (-3)
#define FD_SYMBOL_MAX 64
#define FD_TOPIC_MAX 256
#define FD_PLAN_DEPTH_MAX 8
#define FD_KEY_TEXT_MAX 1536  /* a key of 128 characters, each written as two \uXXXX */

typedef struct {
    uint32_t off, len;  /* span in the message; strings without their quotes */
    uint8_t type, escaped;
} fd_val;

typedef struct {
    uint32_t start, count;
    uint8_t seen;  /* the key was there with a well-formed list */
} fd_levels;

typedef struct {
    const uint8_t *key;
    uint32_t len;
    uint64_t prefix;   /* first 8 bytes, zero padded */
    uint8_t op;
    uint16_t arg;      /* slot, node or side */
} fd_key;

typedef struct {
    fd_key *keys;
    uint16_t n;
    uint16_t slot_lo, slot_hi;  /* slots that this object and the objects in it fill */
    uint8_t has_levels;
    uint8_t table[64];          /* hash -> index + 1; collisions walk on */
} fd_node;

typedef struct {
    int32_t node;
    uint16_t slots;
    uint8_t shapes;
    fd_level_shape level;
} fd_channel;

/* A topic pattern: literal, placeholder, literal, … ; a placeholder is a run of at least one
 * byte without a delimiter. */
typedef struct {
    const uint8_t *text[FD_PLAN_DEPTH_MAX];
    uint16_t len[FD_PLAN_DEPTH_MAX];   /* literals */
    int8_t symbol_at;                  /* which placeholder is the symbol, -1 none */
    uint8_t holes;                     /* placeholders; literals = holes + 1 */
    int32_t channel;                   /* index, or FD_CONTROL_TOPIC */
    uint8_t envelope;
} fd_topic;

/* Where topic and payload are. Without a topic of its own (fixed >= 0) an envelope is the last
 * resort: the whole message is tried as that channel. */
typedef struct {
    int32_t node;
    int32_t fixed;
    uint8_t root_is_payload;
} fd_envelope;

typedef struct {
    uint64_t hash;
    uint32_t off, len;
    int32_t channel;
    uint16_t sym_off, sym_len;
    uint8_t used, envelope;
} fd_cached_topic;

typedef struct {
    fd_node *nodes;
    fd_channel *channels;
    fd_topic *topics;
    fd_envelope *envelopes;
    uint32_t n_nodes, n_channels, n_topics, n_envelopes;
    uint8_t delimiter[256];
    fd_cached_topic *cache;  /* every topic string seen: topic -> channel is looked up once */
    uint32_t cache_mask, cache_n;
    uint8_t *arena;
    uint32_t arena_n, arena_cap;
} fd_plan;

typedef struct {
    const uint8_t *base;
    fd_plan *plan;
    int depth;
    int envelope;
    int channel;
    fd_val topic;
    uint64_t topic_hash;            /* tells streams of one channel apart */
    uint16_t sym_off, sym_len;      /* symbol inside the topic text (after unescaping) */
    uint8_t topic_text[FD_TOPIC_MAX];
    fd_val payload;
    uint8_t payload_walked;
    fd_val *slots;
    uint32_t rows, slots_cap;
    fd_levels *sides;
    uint32_t sides_cap;
    fd_level *levels;
    uint32_t n_levels, levels_cap;
    int shape_error;
    const char *error;
    uint8_t *copy;
    size_t copy_cap;
} fd_msg;

/* Hash of n bytes; reads nothing outside of them. */
static inline uint64_t fd_hash_bytes(const uint8_t *p, size_t n) {
    uint64_t h = 0x9e3779b97f4a7c15ull ^ n, tail;
    if (n >= 8) {
        for (size_t i = 0; i + 8 < n; i += 8) h = (h ^ fd_load64(p + i)) * 0xff51afd7ed558ccdull;
        tail = fd_load64(p + n - 8); /* may overlap what was taken: no loop over single bytes */
    } else if (n >= 4) {
        uint32_t low, high;
        memcpy(&low, p, 4);
        memcpy(&high, p + n - 4, 4);
        tail = (uint64_t)high << 32 | low;
    } else {
        tail = n ? (uint64_t)p[0] << 16 | (uint64_t)p[n >> 1] << 8 | p[n - 1] : 0;
    }
    h = (h ^ tail) * 0xff51afd7ed558ccdull;
    return h ^ h >> 32;
}

static inline uint32_t fd_key_hash(uint64_t prefix, uint32_t len) {
    return (uint32_t)(((prefix ^ (uint64_t)len << 56) * 0x9e3779b97f4a7c15ull) >> 58);
}

static inline const fd_key *fd_find(const fd_node *node, const uint8_t *k, uint32_t len) {
    uint64_t prefix = fd_load64(k); /* k is in a message or a buffer with room behind it */
    if (len < 8) prefix &= (1ull << 8 * len) - 1;
    for (uint32_t h = fd_key_hash(prefix, len);; h = (h + 1) & 63) {
        uint8_t i = node->table[h];
        if (i == 0) return NULL;
        const fd_key *e = &node->keys[i - 1];
        if (e->prefix == prefix && e->len == len && (len <= 8 || !memcmp(e->key + 8, k + 8, len - 8)))
            return e;
    }
}

static inline void *fd_grow(void *old, uint32_t *cap, uint32_t need, size_t item) {
    if (need <= *cap) return old;
    uint32_t n = *cap ? *cap : 64;
    while (n < need) n *= 2;
    void *p = realloc(old, (size_t)n * item);
    if (p != NULL) *cap = n;
    return p;
}

static int fd_match(const fd_plan *plan, const fd_topic *t, const uint8_t *s, size_t n,
                    uint16_t *sym_off, uint16_t *sym_len) {
    size_t at = 0;
    for (int i = 0;; i++) {
        if (n - at < t->len[i] || memcmp(s + at, t->text[i], t->len[i])) return 0;
        at += t->len[i];
        if (i == t->holes) return at == n;
        size_t from = at;
        while (at < n && !plan->delimiter[s[at]]) at++;
        if (at == from) return 0;
        if (i == t->symbol_at) {
            *sym_off = (uint16_t)from;
            *sym_len = (uint16_t)(at - from);
        }
    }
}

/* Channel of a topic text: from the cache, else by the patterns (and then remembered). */
static int fd_resolve(fd_plan *plan, int envelope, const uint8_t *s, size_t n, uint64_t hash,
                      uint16_t *sym_off, uint16_t *sym_len) {
    uint32_t i = (uint32_t)hash & plan->cache_mask;
    for (; plan->cache[i].used; i = (i + 1) & plan->cache_mask) {
        fd_cached_topic *c = &plan->cache[i];
        if (c->hash == hash && c->len == n && c->envelope == envelope &&
            !memcmp(plan->arena + c->off, s, n)) {
            *sym_off = c->sym_off;
            *sym_len = c->sym_len;
            return c->channel;
        }
    }
    int channel = FD_NO_CHANNEL;
    *sym_off = *sym_len = 0;
    for (uint32_t t = 0; t < plan->n_topics; t++) {
        if (plan->topics[t].envelope == envelope &&
            fd_match(plan, &plan->topics[t], s, n, sym_off, sym_len)) {
            channel = plan->topics[t].channel;
            break;
        }
    }
    if (plan->cache_n * 2 < plan->cache_mask && plan->arena_n + n <= plan->arena_cap) {
        fd_cached_topic *c = &plan->cache[i];
        memcpy(plan->arena + plan->arena_n, s, n);
        *c = (fd_cached_topic){hash, plan->arena_n, (uint32_t)n, channel, *sym_off, *sym_len, 1,
                               (uint8_t)envelope};
        plan->arena_n += (uint32_t)n;
        plan->cache_n++;
    }
    return channel;
}

static const uint8_t *fd_object(fd_msg *m, const uint8_t *p, const fd_node *node, uint32_t row);

static inline void fd_shape(fd_msg *m, const char *why) {
    if (!m->shape_error) m->error = why;
    m->shape_error = 1;
}

static const uint8_t *fd_level_list(fd_msg *m, const uint8_t *p, uint32_t row, int side) {
    const uint8_t *start = p;
    const fd_level_shape shape = m->plan->channels[m->channel].level;
    fd_levels *range = &m->sides[row * 2 + (uint32_t)side];
    *range = (fd_levels){m->n_levels, 0, 0};
    if (*p != '[') goto not_levels;
    p = fd_ws(p + 1);
    if (*p == ']') {
        range->seen = 1;
        return p + 1;
    }
    for (;;) {
        if (m->n_levels == m->levels_cap) {
            void *grown = fd_grow(m->levels, &m->levels_cap, m->n_levels + 1, sizeof(fd_level));
            if (grown == NULL) return NULL;
            m->levels = (fd_level *)grown;
        }
        if (*p != '[') goto not_levels;
        p = fd_level_array(p + 1, shape, &m->levels[m->n_levels], m->depth + 2);
        if (p == NULL) goto not_levels;
        m->n_levels++;
        p = fd_ws(p);
        if (*p == ']') break;
        if (*p != ',') goto not_levels;
        p = fd_ws(p + 1);
    }
    range->count = m->n_levels - range->start;
    range->seen = 1;
    return p + 1;
not_levels: /* not what the venue file promises; a later duplicate of the key may still be */
    m->n_levels = range->start;
    p = fd_skip(start, m->depth);
    if (p != NULL && start[0] == 'n') return p;  /* null: as if it were not there */
    range->seen = 2;
    return p;
}

static const uint8_t *fd_slot_value(fd_msg *m, const uint8_t *p, fd_val *v) {
    const uint8_t *q;
    v->escaped = 0;
    switch (*p) {
        case '"':
            q = fd_string(p + 1, &v->escaped);
            if (q == NULL) return NULL;
            v->type = FD_STR;
            v->off = (uint32_t)(p + 1 - m->base);
            v->len = (uint32_t)(q - p - 1);
            return q + 1;
        case '{': v->type = FD_OBJ; break;
        case '[': v->type = FD_ARR; break;
        case 't': v->type = FD_TRUE; break;
        case 'f': v->type = FD_FALSE; break;
        case 'n': v->type = FD_NULL; break;
        default: v->type = FD_NUM;
    }
    q = fd_skip(p, m->depth);
    if (q == NULL) return NULL;
    v->off = (uint32_t)(p - m->base);
    v->len = (uint32_t)(q - p);
    return q;
}

static int fd_add_row(fd_msg *m) {
    const uint32_t slots = m->plan->channels[m->channel].slots;
    void *p = fd_grow(m->slots, &m->slots_cap, (m->rows + 1) * slots + 1, sizeof(fd_val));
    if (p == NULL) return 0;
    m->slots = (fd_val *)p;
    p = fd_grow(m->sides, &m->sides_cap, (m->rows + 1) * 2, sizeof(fd_levels));
    if (p == NULL) return 0;
    m->sides = (fd_levels *)p;
    m->rows++;
    return 1;
}

/* Forget what an object filled: at its start, and when a duplicate of its key comes. */
static inline void fd_clear(fd_msg *m, const fd_node *node, uint32_t row) {
    const uint32_t slots = m->plan->channels[m->channel].slots;
    for (uint32_t k = node->slot_lo; k < node->slot_hi; k++)
        m->slots[row * slots + k].type = FD_ABSENT;
    if (node->has_levels) memset(&m->sides[row * 2], 0, 2 * sizeof(fd_levels));
}

/* The payload of a channel: one object, or a list of them. */
static const uint8_t *fd_payload(fd_msg *m, const uint8_t *p) {
    const fd_channel *channel = &m->plan->channels[m->channel];
    const fd_node *node = &m->plan->nodes[channel->node];
    m->rows = 0;
    m->n_levels = 0;
    m->shape_error = 0;
    if (*p == '{' && channel->shapes & FD_SHAPE_OBJECT) {
        if (!fd_add_row(m)) return NULL;
        fd_clear(m, node, 0);
        return fd_object(m, p, node, 0);
    }
    if (*p != '[' || !(channel->shapes & FD_SHAPE_ROWS)) {
        fd_shape(m, "the payload is neither an object nor a list as the venue file says");
        return fd_skip(p, m->depth);
    }
    const uint8_t *start = p;
    m->depth++;
    p = fd_ws(p + 1);
    if (*p == ']') {
        m->depth--;
        return p + 1;
    }
    for (;;) {
        if (*p != '{') {
            fd_shape(m, "a row of the payload is not an object");
            m->depth--;
            return fd_skip(start, m->depth);
        }
        if (!fd_add_row(m)) return NULL;
        fd_clear(m, node, m->rows - 1);
        if ((p = fd_object(m, p, node, m->rows - 1)) == NULL) return NULL;
        p = fd_ws(p);
        if (*p == ']') break;
        if (*p != ',') return NULL;
        p = fd_ws(p + 1);
    }
    m->depth--;
    return p + 1;
}

/* The topic of the message is known: which channel is it? */
static void fd_topic_known(fd_msg *m) {
    size_t n = m->topic.len;
    m->channel = FD_NO_CHANNEL;
    m->sym_len = 0;
    if (m->topic.type != FD_STR || n > FD_TOPIC_MAX) return;
    if (m->topic.escaped) n = fd_unescape(m->base + m->topic.off, n, m->topic_text);
    else memcpy(m->topic_text, m->base + m->topic.off, n);
    m->topic_hash = fd_hash_bytes(m->topic_text, n) + (uint64_t)m->envelope;
    m->channel = fd_resolve(m->plan, m->envelope, m->topic_text, n, m->topic_hash, &m->sym_off,
                            &m->sym_len);
}

/* One object, its brace at p, with the key table of `node`. */
static const uint8_t *fd_object(fd_msg *m, const uint8_t *p, const fd_node *node, uint32_t row) {
    uint8_t key_buf[FD_KEY_TEXT_MAX];
    const int in_row = row != UINT32_MAX;
    if (m->depth == FD_DEPTH_MAX) return NULL;
    m->depth++;
    p = fd_ws(p + 1);
    if (*p == '}') {
        m->depth--;
        return p + 1;
    }
    for (;;) {
        uint8_t escaped = 0;
        if (*p != '"') return NULL;
        const uint8_t *k = p + 1;
        if ((p = fd_string(k, &escaped)) == NULL) return NULL;
        uint32_t len = (uint32_t)(p - k);
        p = fd_ws(p + 1);
        if (*p != ':') return NULL;
        p = fd_ws(p + 1);
        if (escaped) {
            /* longer than any key of a table can be, every byte of it escaped */
            len = len <= sizeof key_buf ? (uint32_t)fd_unescape(k, len, key_buf) : UINT32_MAX;
            k = key_buf;
        }
        const fd_key *e = len == UINT32_MAX ? NULL : fd_find(node, k, len);
        switch (e == NULL ? FD_OP_SKIP : e->op) {
            case FD_OP_SLOT:
                if (in_row) {
                    fd_val *v = &m->slots[row * m->plan->channels[m->channel].slots + e->arg];
                    p = fd_slot_value(m, p, v);
                } else {
                    p = fd_slot_value(m, p, &m->topic);
                    if (p != NULL) {
                        fd_topic_known(m);
                        m->payload_walked = 0;
                    }
                }
                break;
            case FD_OP_NODE: {
                const fd_node *child = &m->plan->nodes[e->arg];
                if (in_row) {
                    fd_clear(m, child, row);
                } else { /* an envelope object again: what the first one said is void */
                    m->topic.type = m->payload.type = FD_ABSENT;
                    m->channel = FD_TOPIC_ABSENT;
                    m->payload_walked = 0;
                }
                p = *p == '{' ? fd_object(m, p, child, row) : fd_skip(p, m->depth);
                break;
            }
            case FD_OP_LEVELS:
                p = fd_level_list(m, p, row, e->arg);
                break;
            case FD_OP_PAYLOAD:
                m->payload.type = FD_OBJ;
                m->payload.off = (uint32_t)(p - m->base);
                m->payload.len = (uint32_t)m->depth; /* nesting, for a walk later on */
                m->payload_walked = m->channel >= 0;
                p = m->channel >= 0 ? fd_payload(m, p) : fd_skip(p, m->depth);
                break;
            default:
                p = fd_skip(p, m->depth);
        }
        if (p == NULL) return NULL;
        p = fd_ws(p);
        if (*p == '}') break;
        if (*p != ',') return NULL;
        p = fd_ws(p + 1);
    }
    m->depth--;
    return p + 1;
}

/* Walk the message as envelope i says. Returns FD_OK or FD_BAD_JSON; m->channel tells the rest. */
static int fd_walk_envelope(fd_msg *m, int i, size_t n) {
    const fd_envelope *envelope = &m->plan->envelopes[i];
    const uint8_t *p = fd_ws(m->base);
    m->envelope = i;
    m->depth = 0;
    m->channel = FD_TOPIC_ABSENT;
    m->topic.type = m->payload.type = FD_ABSENT;
    m->topic_hash = 0;
    m->sym_len = 0;
    m->payload_walked = 0;
    m->rows = 0;
    m->n_levels = 0;
    m->shape_error = 0;
    const fd_node *node = &m->plan->nodes[envelope->node];
    const uint8_t *root = p;
    p = *p == '{' ? fd_object(m, p, node, UINT32_MAX) : fd_skip(p, 0);
    if (p == NULL || fd_ws(p) != m->base + n) return FD_BAD_JSON;
    if (*root == '[' && envelope->root_is_payload && *(p = fd_ws(root + 1)) == '{') {
        m->depth = 1;  /* a bare list of events: its first one tells what they are */
        fd_object(m, p, node, UINT32_MAX);
    }
    if (envelope->fixed >= 0 && *fd_ws(m->base) == '{') m->channel = envelope->fixed;
    if (m->channel < 0) return FD_OK;
    if (envelope->root_is_payload) {
        m->depth = 0;
        fd_payload(m, fd_ws(m->base));
    } else if (m->payload.type == FD_ABSENT) {
        fd_shape(m, "the message has a topic but no payload");
    } else if (!m->payload_walked) {
        m->depth = (int)m->payload.len;
        fd_payload(m, m->base + m->payload.off);
    }
    return FD_OK;
}

/* Decode one message of n bytes (followed by FD_PADDING zero bytes). Afterwards m->channel is a
 * channel index with m->rows rows, or FD_CONTROL_TOPIC, FD_NO_CHANNEL, FD_TOPIC_ABSENT. */
static int fd_decode(fd_msg *m, const uint8_t *base, size_t n) {
    m->base = base;
    m->error = NULL;
    for (uint32_t i = 0; i < m->plan->n_envelopes; i++) {
        if (fd_walk_envelope(m, (int)i, n) != FD_OK) {
            m->error = "not valid JSON";
            return FD_BAD_JSON;
        }
        if (m->channel != FD_TOPIC_ABSENT) break;
    }
    return m->shape_error ? FD_BAD_SHAPE : FD_OK;
}

/* Decode one document that is all payload of one channel (a REST body). */
static int fd_decode_as(fd_msg *m, const uint8_t *base, size_t n, int channel) {
    m->base = base;
    m->error = NULL;
    m->channel = channel;
    m->topic.type = FD_ABSENT;
    m->topic_hash = 0;
    m->sym_len = 0;
    m->depth = 0;
    const uint8_t *p = fd_payload(m, fd_ws(base));
    if (p == NULL || fd_ws(p) != base + n) {
        m->error = "not valid JSON";
        return FD_BAD_JSON;
    }
    return m->shape_error ? FD_BAD_SHAPE : FD_OK;
}

/* Private copy of a message with the padding that the walker reads into. */
static inline const uint8_t *fd_copy(fd_msg *m, const uint8_t *p, size_t n) {
    if (n + FD_PADDING > m->copy_cap) {
        size_t cap = (n + FD_PADDING) * 2;
        uint8_t *grown = (uint8_t *)realloc(m->copy, cap);
        if (grown == NULL) return NULL;
        m->copy = grown;
        m->copy_cap = cap;
    }
    memcpy(m->copy, p, n);
    memset(m->copy + n, 0, FD_PADDING);
    return m->copy;
}

#endif
