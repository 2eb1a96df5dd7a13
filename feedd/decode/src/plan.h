/* The plan that drives the engine: envelopes, topics, channels and key tables, and finding in them.
 *
 * A plan is a set of *envelopes* (where the topic and the payload of a message are), *topics*
 * (patterns that tell channels apart) and one key table (*node*) per object of each channel.
 */
#ifndef FEEDD_PLAN_H
#define FEEDD_PLAN_H

#include "levels.h"

enum { FD_ABSENT, FD_NULL, FD_FALSE, FD_TRUE, FD_NUM, FD_STR, FD_OBJ, FD_ARR };
enum { FD_OP_SKIP, FD_OP_SLOT, FD_OP_NODE, FD_OP_LEVELS, FD_OP_PAYLOAD, FD_OP_TOPIC, FD_OP_EACH };
enum { FD_OK = 0, FD_BAD_JSON = 1, FD_BAD_SHAPE = 2 };
enum { FD_SHAPE_OBJECT = 1, FD_SHAPE_ROWS = 2, FD_SHAPE_VALUE = 4 };

/* Which bank of values an object fills: that of a row (its number), of the row around nested ones,
 * or of the message. */
#define FD_IN_ENVELOPE UINT32_MAX
#define FD_IN_PARENT (UINT32_MAX - 1)
#define FD_ENV_MAX 24
#define FD_PARENT_MAX 16
#define FD_POSITIONS 32     /* array elements that a plan can name */
#define FD_NO_SLOT 0xffff
#define FD_WHEN_TEXTS 8

#define FD_NO_CHANNEL (-1)
#define FD_CONTROL_TOPIC (-2)
#define FD_TOPIC_ABSENT (-3)
#define FD_SYMBOL_MAX 64
#define FD_TOPIC_MAX 256
#define FD_PLAN_DEPTH_MAX 8
#define FD_TEXT_MAX 16
#define FD_LEARNED_MAX 112
#define FD_KEY_TEXT_MAX 1536  /* a key of 128 characters, each written as two \uXXXX */

typedef struct {
    uint32_t off, len;  /* span in the message; strings without their quotes */
    uint8_t type, escaped;
    uint8_t plain;      /* a decimal without exponent or sign, read already */
    uint8_t decimals;   /* its value is m * 10^-decimals */
    uint64_t m;
    uint64_t spare;     /* 32 bytes are copied in one go */
} fd_val;

#define FD_PLAIN 1

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
    uint8_t has_levels, has_topic, has_payload;
    uint8_t positional;         /* an array is meant: what it does not have is null, not absent */
    uint8_t at[FD_POSITIONS];   /* position -> index + 1 */
    uint8_t table[64];          /* hash -> index + 1; collisions walk on */
} fd_node;

/* A row's slots are its own, then those of the row around it, then those of the message. */
typedef struct {
    int32_t node;
    int32_t each_node;          /* of the nested rows, -1 none; `node` is then the row around them */
    uint16_t slots;
    uint16_t parent_base, n_parent, env_base, n_env;
    uint16_t env[FD_ENV_MAX];   /* which value of the message each of them is */
    uint16_t value_slot;
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
    uint8_t to_end;                    /* the last placeholder takes all that is left */
    int32_t channel;                   /* index, or FD_CONTROL_TOPIC */
    uint8_t envelope;
} fd_topic;

typedef struct {
    uint8_t n;
    uint8_t text[FD_TEXT_MAX];
} fd_text;

/* Where topic and payload are. Without a topic of its own (fixed >= 0) an envelope is the last
 * resort: the whole message is tried as that channel. */
typedef struct {
    int32_t node;
    int32_t fixed;
    uint8_t root_is_payload;
    uint8_t tagged, n_bare;
    uint8_t missing_is_control;
    uint8_t n_when;             /* texts of which a data message has one at env[when] */
    uint16_t when;
    uint16_t control_if;        /* a message with a value there is control; FD_NO_SLOT none */
    fd_text when_text[FD_WHEN_TEXTS], bare[FD_WHEN_TEXTS];
    uint8_t separator;          /* between a topic and its tag */
} fd_envelope;

/* What a number in place of a topic means on one connection (Bitfinex chanId). */
typedef struct {
    uint64_t id;
    uint32_t line;
    uint16_t len;               /* 0: free */
    uint8_t text[FD_LEARNED_MAX];
} fd_learned;

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
    uint32_t n_env;          /* values of the message that channels ask for */
    struct fd_templates *templates;  /* NULL: every message is walked */
} fd_plan;

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
        if (t->to_end && i + 1 == t->holes) at = n;
        while (at < n && !plan->delimiter[s[at]]) at++;
        if (at == from) return 0;
        if (i == t->symbol_at) {
            *sym_off = (uint16_t)from;
            *sym_len = (uint16_t)(at - from);
        }
    }
}

/* The same n bytes? Reads nothing outside of them; no call for what is short. */
static inline int fd_same_bytes(const uint8_t *a, const uint8_t *b, size_t n) {
    if (n < 8) {
        for (size_t i = 0; i < n; i++)
            if (a[i] != b[i]) return 0;
        return 1;
    }
    for (size_t i = 0; i + 8 < n; i += 8)
        if (fd_load64(a + i) != fd_load64(b + i)) return 0;
    return fd_load64(a + n - 8) == fd_load64(b + n - 8);
}

/* Channel of a topic text: from the cache, else by the patterns (and then remembered). */
static int fd_resolve(fd_plan *plan, int envelope, const uint8_t *s, size_t n, uint64_t hash,
                      uint16_t *sym_off, uint16_t *sym_len) {
    uint32_t i = (uint32_t)hash & plan->cache_mask;
    for (; plan->cache[i].used; i = (i + 1) & plan->cache_mask) {
        fd_cached_topic *c = &plan->cache[i];
        if (c->hash == hash && c->len == n && c->envelope == envelope &&
            fd_same_bytes(plan->arena + c->off, s, n)) {
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

#endif
