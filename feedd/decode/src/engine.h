/* The decode engine: one JSON walker driven by a table (the plan), no code per venue.
 *
 * The walker validates the whole message, also what it skips, and leaves spans in slots and levels in
 * a flat array; nothing is handed on before the last byte was seen. Key order does not matter, the
 * last of duplicate keys wins, a payload that comes before its topic is walked afterwards.
 *
 * One fd_msg belongs to one thread. It only allocates when a message is larger than all before.
 */
#ifndef FEEDD_ENGINE_H
#define FEEDD_ENGINE_H

#include "lists.h"
#include "route.h"

static const uint8_t *fd_object(fd_msg *m, const uint8_t *p, const fd_node *node, uint32_t row);
static const uint8_t *fd_array(fd_msg *m, const uint8_t *p, const fd_node *node, uint32_t row);

static inline void fd_shape(fd_msg *m, const char *why) {
    if (!m->shape_error) m->error = why;
    m->shape_error = 1;
}

static const uint8_t *fd_slot_value(fd_msg *m, const uint8_t *p, fd_val *v) {
    const uint8_t *q;
    v->escaped = v->plain = 0;
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

/* The values that an object in this place fills. */
static inline fd_val *fd_bank(fd_msg *m, uint32_t row) {
    if (row == FD_IN_ENVELOPE) return m->env;
    if (row == FD_IN_PARENT) return m->parent;
    return m->slots + (size_t)row * m->plan->channels[m->channel].slots;
}

/* Values of the message have one number in all envelopes, so those of a node are no range. */
static void fd_clear_env(fd_msg *m, const fd_node *node) {
    for (uint32_t i = 0; i < node->n; i++) {
        const fd_key *e = &node->keys[i];
        if (e->op == FD_OP_NODE) fd_clear_env(m, &m->plan->nodes[e->arg]);
        else if ((e->op == FD_OP_SLOT || e->op == FD_OP_TOPIC) && e->arg != FD_NO_SLOT)
            m->env[e->arg] = (fd_val){0};
    }
}

/* Forget what an object or array filled: at its start, and when a duplicate of its key comes. */
static inline void fd_clear(fd_msg *m, const fd_node *node, uint32_t row, uint8_t type) {
    if (row == FD_IN_ENVELOPE) {
        fd_clear_env(m, node);
        return;
    }
    fd_val *bank = fd_bank(m, row);
    for (uint32_t k = node->slot_lo; k < node->slot_hi; k++) bank[k] = (fd_val){.type = type};
    if (node->has_levels) memset(&m->sides[row * 2], 0, 2 * sizeof(fd_levels));
}

static inline int fd_is_container(const uint8_t *p, const fd_node *node) {
    return *p == '{' || (*p == '[' && node->positional);
}

static inline const uint8_t *fd_container(fd_msg *m, const uint8_t *p, const fd_node *node,
                                          uint32_t row) {
    return *p == '{' ? fd_object(m, p, node, row) : fd_array(m, p, node, row);
}

/* One row of the payload at p, or with nested rows the row around them. */
static const uint8_t *fd_one_row(fd_msg *m, const uint8_t *p) {
    const fd_channel *channel = &m->plan->channels[m->channel];
    const fd_node *node = &m->plan->nodes[channel->node];
    const uint8_t blank = *p == '[' ? FD_NULL : FD_ABSENT;
    if (channel->each_node < 0) {
        if (!fd_add_row(m)) return NULL;
        fd_clear(m, node, m->rows - 1, blank);
        return fd_container(m, p, node, m->rows - 1);
    }
    const uint32_t start = m->each_start = m->rows;
    for (uint32_t k = 0; k < channel->n_parent; k++) m->parent[k] = (fd_val){.type = blank};
    if ((p = fd_container(m, p, node, FD_IN_PARENT)) == NULL) return NULL;
    for (uint32_t r = start; r < m->rows; r++) {
        memcpy(m->slots + (size_t)r * channel->slots + channel->parent_base, m->parent,
               channel->n_parent * sizeof(fd_val));
    }
    return p;
}

/* A list of rows at p (its bracket), of the payload or nested ones. */
static const uint8_t *fd_rows(fd_msg *m, const uint8_t *p, int nested) {
    const fd_channel *channel = &m->plan->channels[m->channel];
    const fd_node *node = &m->plan->nodes[nested ? channel->each_node : channel->node];
    const uint8_t *start = p;
    if (m->depth == FD_DEPTH_MAX) return NULL;
    m->depth++;
    p = fd_ws(p + 1);
    if (*p == ']') {
        m->depth--;
        return p + 1;
    }
    for (;;) {
        if (!fd_is_container(p, node)) {
            fd_shape(m, "a row of the payload is not an object");
            m->depth--;
            return fd_skip(start, m->depth);
        }
        if (nested) {
            if (!fd_add_row(m)) return NULL;
            fd_clear(m, node, m->rows - 1, *p == '[' ? FD_NULL : FD_ABSENT);
            p = fd_container(m, p, node, m->rows - 1);
        } else {
            p = fd_one_row(m, p);
        }
        if (p == NULL) return NULL;
        p = fd_ws(p);
        if (*p == ']') break;
        if (*p != ',') return NULL;
        p = fd_ws(p + 1);
    }
    m->depth--;
    return p + 1;
}

/* The payload of a channel: one row, a list of them, or a single value. */
static const uint8_t *fd_payload(fd_msg *m, const uint8_t *p) {
    const fd_channel *channel = &m->plan->channels[m->channel];
    const fd_node *node = &m->plan->nodes[channel->node];
    m->rows = 0;
    m->n_levels = 0;
    m->n_lists = 0;
    m->shape_error = 0;
    m->listed = 0;
    if (channel->shapes & FD_SHAPE_VALUE) {
        if (!fd_add_row(m)) return NULL;
        fd_clear(m, node, 0, FD_ABSENT);
        return fd_slot_value(m, p, &m->slots[channel->value_slot]);
    }
    if (*p == '{' && channel->shapes & FD_SHAPE_OBJECT) return fd_one_row(m, p);
    if (*p == '[') {
        const int alone = node->positional && channel->shapes & FD_SHAPE_OBJECT;
        const uint8_t first = *fd_ws(p + 1);
        if (channel->shapes & FD_SHAPE_ROWS &&
            (!alone || first == '[' || first == '{' || first == ']')) {
            m->listed = 1;
            return fd_rows(m, p, 0);
        }
        if (alone) return fd_one_row(m, p);
    }
    fd_shape(m, "the payload is neither an object nor a list as the venue file says");
    return fd_skip(p, m->depth);
}

static const fd_learned *fd_find_learned(const fd_msg *m, uint64_t id) {
    if (m->learned == NULL) return NULL;
    uint32_t i = (uint32_t)((id * 0x9e3779b97f4a7c15ull) >> 32) & m->learned_mask;
    for (; m->learned[i].len; i = (i + 1) & m->learned_mask)
        if (m->learned[i].id == id && m->learned[i].line == m->line) return &m->learned[i];
    return NULL;
}

/* The topic of the message is known: which channel is it? */
static void fd_topic_known(fd_msg *m) {
    size_t n = m->topic.len;
    uint64_t id;
    const fd_envelope *envelope = &m->plan->envelopes[m->envelope];
    m->channel = FD_NO_CHANNEL;
    m->sym_len = 0;
    m->topic_at = m->topic_text;
    if (m->topic.type == FD_STR && n <= FD_TOPIC_MAX) {
        if (m->topic.escaped) n = fd_unescape(m->base + m->topic.off, n, m->topic_text);
        else if (envelope->tagged) memcpy(m->topic_text, m->base + m->topic.off, n);
        else m->topic_at = m->base + m->topic.off;
    } else if (m->topic.type == FD_NUM && fd_text_u64(m->base + m->topic.off, n, &id)) {
        const fd_learned *known = fd_find_learned(m, id);
        if (known == NULL) return;
        n = known->len;
        memcpy(m->topic_text, known->text, n);
    } else {
        return;
    }
    if (envelope->tagged) {
        const size_t tag = m->tag.type == FD_STR ? m->tag.len : 0;
        if (n + 1 + tag > FD_TOPIC_MAX) return;
        m->topic_text[n++] = envelope->separator;
        if (m->tag.escaped) {
            n += fd_unescape(m->base + m->tag.off, tag, m->topic_text + n);
        } else {
            memcpy(m->topic_text + n, m->base + m->tag.off, tag);
            n += tag;
        }
    }
    m->topic_hash = fd_hash_bytes(m->topic_at, n) + (uint64_t)m->envelope;
    m->channel = fd_resolve(m->plan, m->envelope, m->topic_at, n, m->topic_hash, &m->sym_off,
                            &m->sym_len);
}

/* Is the value one of these texts? Numbers and literals as they are written. */
static int fd_is_one_of(const fd_msg *m, const fd_val *v, const fd_text *texts, uint32_t n) {
    uint8_t scratch[FD_TEXT_MAX * 6 + FD_PADDING];
    const uint8_t *text = m->base + v->off;
    size_t len = v->len;
    if (v->type == FD_ABSENT || v->type == FD_NULL) return 0;
    if (v->escaped) {
        if (len > FD_TEXT_MAX * 6) return 0;
        len = fd_unescape(text, len, scratch);
        text = scratch;
    }
    for (uint32_t i = 0; i < n; i++)
        if (texts[i].n == len && !memcmp(texts[i].text, text, len)) return 1;
    return 0;
}

/* The value at p of a member that the plan names. */
static inline const uint8_t *fd_member(fd_msg *m, const uint8_t *p, const fd_key *e,
                                       const fd_node *owner, uint32_t row) {
    switch (e->op) {
        case FD_OP_SLOT:
            return fd_slot_value(m, p, fd_bank(m, row) + e->arg);
        case FD_OP_NODE: {
            const fd_node *child = &m->plan->nodes[e->arg];
            const int inside = fd_is_container(p, child);
            /* null in an array is a side that is not there, anything else is not what it must be */
            if (inside || !owner->positional || *p != 'n')
                fd_clear(m, child, row, *p == '[' && inside ? FD_NULL : FD_ABSENT);
            if (row == FD_IN_ENVELOPE) { /* again: what the first one said is void */
                if (child->has_topic) {
                    m->topic.type = FD_ABSENT;
                    m->channel = FD_TOPIC_ABSENT;
                    m->payload_walked = 0;
                }
                if (child->has_payload) m->payload.type = FD_ABSENT;
            }
            return inside ? fd_container(m, p, child, row) : fd_skip(p, m->depth);
        }
        case FD_OP_LEVELS:
            return fd_member_levels(m, p, row, e->arg);
        case FD_OP_TOPIC:
            p = fd_slot_value(m, p, &m->topic);
            if (e->arg != FD_NO_SLOT) m->env[e->arg] = m->topic;
            if (p != NULL && !m->plan->envelopes[m->envelope].tagged) {
                fd_topic_known(m);
                m->payload_walked = 0;
            }
            return p;
        case FD_OP_PAYLOAD:
            m->payload.type = FD_OBJ;
            m->payload.off = (uint32_t)(p - m->base);
            m->payload.len = (uint32_t)m->depth; /* nesting, for a walk later on */
            m->payload_walked = m->channel >= 0;
            return m->channel >= 0 ? fd_payload(m, p) : fd_skip(p, m->depth);
        case FD_OP_EACH:
            m->rows = m->each_start;
            if (*p == '[') return fd_rows(m, p, 1);
            if (*p != 'n') fd_shape(m, "nested rows are not a list");
            return fd_skip(p, m->depth);
        default:
            return fd_skip(p, m->depth);
    }
}

/* One array, its bracket at p, whose elements `node` names by position. */
static const uint8_t *fd_array(fd_msg *m, const uint8_t *p, const fd_node *node, uint32_t row) {
    const fd_envelope *envelope = &m->plan->envelopes[m->envelope];
    const int tagged = row == FD_IN_ENVELOPE && node->has_payload && envelope->tagged;
    if (m->depth == FD_DEPTH_MAX) return NULL;
    m->depth++;
    p = fd_ws(p + 1);
    if (*p == ']') {
        m->depth--;
        return p + 1;
    }
    for (uint32_t i = 0;; i++) {
        const fd_key *e = i < FD_POSITIONS && node->at[i] ? &node->keys[node->at[i] - 1] : NULL;
        if (e == NULL) {
            p = fd_skip(p, m->depth);
        } else if (tagged && e->op == FD_OP_PAYLOAD && !m->bare) {
            if (*p == '"' && m->tag.type == FD_ABSENT) {
                if ((p = fd_slot_value(m, p, &m->tag)) == NULL) return NULL;
                m->bare = (uint8_t)fd_is_one_of(m, &m->tag, envelope->bare, envelope->n_bare);
                i -= !m->bare;
            } else {
                fd_topic_known(m);
                p = fd_member(m, p, e, node, row);
            }
        } else {
            p = fd_member(m, p, e, node, row);
        }
        if (p == NULL) return NULL;
        p = fd_ws(p);
        if (*p == ']') break;
        if (*p != ',') return NULL;
        p = fd_ws(p + 1);
    }
    m->depth--;
    return p + 1;
}

/* One object, its brace at p, with the key table of `node`. */
static const uint8_t *fd_object(fd_msg *m, const uint8_t *p, const fd_node *node, uint32_t row) {
    uint8_t key_buf[FD_KEY_TEXT_MAX];
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
        p = e == NULL ? fd_skip(p, m->depth) : fd_member(m, p, e, node, row);
        if (p == NULL) return NULL;
        p = fd_ws(p);
        if (*p == '}') break;
        if (*p != ',') return NULL;
        p = fd_ws(p + 1);
    }
    m->depth--;
    return p + 1;
}

/* What the message says of all rows goes into each of them. */
static void fd_spread(fd_msg *m) {
    const fd_channel *channel = &m->plan->channels[m->channel];
    for (uint32_t r = 0; r < m->rows && channel->n_env; r++) {
        fd_val *to = m->slots + (size_t)r * channel->slots + channel->env_base;
        for (uint32_t k = 0; k < channel->n_env; k++) to[k] = m->env[channel->env[k]];
    }
}

/* Walk the message as envelope i says. Returns FD_OK or FD_BAD_JSON; m->channel tells the rest. */
static int fd_walk_envelope(fd_msg *m, int i, size_t n) {
    const fd_envelope *envelope = &m->plan->envelopes[i];
    const uint8_t *p = fd_ws(m->base);
    m->envelope = i;
    m->depth = 0;
    m->channel = FD_TOPIC_ABSENT;
    m->topic.type = m->payload.type = m->tag.type = FD_ABSENT;
    m->tag.escaped = 0;
    m->topic_hash = 0;
    m->sym_len = 0;
    m->payload_walked = 0;
    m->bare = 0;
    m->rows = 0;
    m->n_levels = 0;
    m->n_lists = 0;
    m->shape_error = 0;
    m->listed = 0;
    const fd_node *node = &m->plan->nodes[envelope->node];
    const uint8_t *root = p;
    memset(m->env, 0, m->plan->n_env * sizeof(fd_val));
    p = fd_is_container(p, node) ? fd_container(m, p, node, FD_IN_ENVELOPE) : fd_skip(p, 0);
    if (p == NULL || fd_ws(p) != m->base + n) return FD_BAD_JSON;
    if (*root == '[' && envelope->root_is_payload && *(p = fd_ws(root + 1)) == '{') {
        m->depth = 1;  /* a bare list of events: its first one tells what they are */
        fd_object(m, p, node, FD_IN_ENVELOPE);
    }
    if (envelope->fixed >= 0 && *fd_ws(m->base) == '{') m->channel = envelope->fixed;
    if (m->bare) m->channel = FD_NO_CHANNEL;
    if (m->channel >= 0 &&
        ((envelope->n_when &&
          !fd_is_one_of(m, &m->env[envelope->when], envelope->when_text, envelope->n_when)) ||
         (envelope->control_if != FD_NO_SLOT && m->env[envelope->control_if].type > FD_NULL))) {
        m->channel = FD_CONTROL_TOPIC;
        m->shape_error = 0;
    }
    if (m->channel < 0) {
        m->shape_error = 0;
        return FD_OK;
    }
    if (envelope->root_is_payload) {
        m->depth = 0;
        fd_payload(m, fd_ws(m->base));
    } else if (m->payload.type == FD_ABSENT) {
        if (envelope->missing_is_control) m->channel = FD_CONTROL_TOPIC;
        else fd_shape(m, "the message has a topic but no payload");
    } else if (!m->payload_walked) {
        m->depth = (int)m->payload.len;
        fd_payload(m, m->base + m->payload.off);
    }
    if (m->channel >= 0) fd_spread(m);
    return FD_OK;
}

/* Private copy of a message with the padding that the walker reads into. */
static inline const uint8_t *fd_copy(fd_msg *m, const uint8_t *p, size_t n) {
#ifdef __SANITIZE_ADDRESS__
    const int room = 1; /* not a byte more than is promised */
#else
    const int room = 2;
#endif
    if (n + FD_PADDING > m->copy_cap || room == 1) {
        const size_t cap = (n + FD_PADDING) * (size_t)room;
        uint8_t *grown = (uint8_t *)realloc(m->copy, cap);
        if (grown == NULL) return NULL;
        m->copy = grown;
        m->copy_cap = cap;
    }
    memcpy(m->copy, p, n);
    memset(m->copy + n, 0, FD_PADDING);
    return m->copy;
}

#define FD_SIMD 0
#define FD_TARGET
#define FD_V(name) name##_portable
#include "run.h"
#undef FD_SIMD
#undef FD_TARGET
#undef FD_V
#if FD_HAS_AVX2
#define FD_SIMD 1
#define FD_TARGET __attribute__((target("avx2,bmi,bmi2,popcnt")))
#define FD_V(name) name##_avx2
#include "run.h"
#undef FD_SIMD
#undef FD_TARGET
#undef FD_V
#define FD_SIMD 2
#define FD_TARGET __attribute__((target("avx2,bmi,bmi2,popcnt,avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vbmi2,prefer-vector-width=256")))
#define FD_V(name) name##_avx512
#include "run.h"
#undef FD_SIMD
#undef FD_TARGET
#undef FD_V
#endif

/* Decode the message by a template, if one fits. */
static inline int fd_run(fd_msg *m, size_t n) {
#if FD_HAS_AVX2
    if (m->plan->templates->isa == FD_AVX512) return fd_run_avx512(m, n);
    if (m->plan->templates->isa == FD_AVX2) return fd_run_avx2(m, n);
#endif
    return fd_run_portable(m, n);
}

static inline void fd_begin(fd_msg *m, const uint8_t *base, size_t n, int in_place) {
    m->base = base;
    m->end = base + n;
    m->in_place = (uint8_t)in_place;
    m->error = NULL;
    m->layout = m->head = NULL;
    m->closes.scanned = NULL;
}

/* Can FD_PADDING bytes behind the message be read, whatever they are? Memory is there in pages. */
static inline int fd_is_padded(const uint8_t *p, size_t n) {
#if defined(FEEDD_PADDED) /* who calls has seen to it */
    return p != NULL && n > 0;
#elif defined(__SANITIZE_ADDRESS__)
    return p == NULL; /* it would be an error there */
#else
    return n > 0 && ((uintptr_t)(p + n - 1) & 4095) + FD_PADDING < 4096;
#endif
}

/* Is the message one of which the numbers are enough (quick.h)? Then they are read, and m->channel,
 * m->layout and m->who tell the rest. Else it is to be copied and decoded. Where the message stands
 * nothing is written, and what is behind it does not matter. */
static inline int fd_quickly(fd_msg *m, const uint8_t *p, size_t n) {
#if FD_HAS_AVX2
    if (m->routes == NULL || m->plan->templates == NULL) return 0;
    if (!fd_is_padded(p, n) && (n > FD_LAYOUT_BYTES || (p = fd_copy(m, p, n)) == NULL)) return 0;
    fd_begin(m, p, n, 1);
    if (m->plan->templates->isa == FD_AVX512) return fd_quick_run_avx512(m, n);
    if (m->plan->templates->isa == FD_AVX2) return fd_quick_run_avx2(m, n);
#endif
    return 0;
}

#include "teach.h"

/* Decode one message of n bytes, where it stands if that will do. Afterwards m->channel is a channel
 * index with m->rows rows, or FD_CONTROL_TOPIC, FD_NO_CHANNEL, FD_TOPIC_ABSENT; what m tells of is
 * behind m->base, the message itself or a copy. */
static int fd_decode(fd_msg *m, const uint8_t *p, size_t n) {
    const fd_templates *t = m->plan->templates;
    /* a number in it then ends before the message does */
    const int closed = n > 0 && (p[n - 1] == '}' || p[n - 1] == ']');
    if (t != NULL && t->n_steps > 1 && t->isa != FD_PORTABLE && closed && fd_is_padded(p, n)) {
        fd_begin(m, p, n, 1);
        if (fd_run(m, n)) return FD_OK;
    }
    if ((p = fd_copy(m, p, n)) == NULL) {
        m->error = "out of memory";
        return FD_BAD_JSON;
    }
    fd_begin(m, p, n, 0);
    if (t != NULL && t->n_steps > 1 && fd_run(m, n)) return FD_OK;
    m->layout = m->head = NULL;
    for (uint32_t i = 0; i < m->plan->n_envelopes; i++) {
        if (fd_walk_envelope(m, (int)i, n) != FD_OK) {
            m->error = "not valid JSON";
            return FD_BAD_JSON;
        }
        if (m->channel != FD_TOPIC_ABSENT) break;
    }
    if (m->shape_error) return FD_BAD_SHAPE;
    if (m->plan->templates != NULL && m->channel >= 0) fd_teach(m, n);
    return FD_OK;
}

/* Decode one document that is all payload of one channel (a REST body). */
static int fd_decode_as(fd_msg *m, const uint8_t *base, size_t n, int channel) {
    fd_begin(m, base, n, 0);
    m->channel = channel;
    m->topic.type = FD_ABSENT;
    m->topic_hash = 0;
    m->sym_len = 0;
    m->depth = 0;
    m->envelope = 0;
    memset(m->env, 0, sizeof m->env);
    const uint8_t *p = fd_payload(m, fd_ws(base));
    if (p == NULL || fd_ws(p) != base + n) {
        m->error = "not valid JSON";
        return FD_BAD_JSON;
    }
    fd_spread(m);
    return m->shape_error ? FD_BAD_SHAPE : FD_OK;
}

#endif
