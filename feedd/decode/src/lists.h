/* The message that is decoded, and the lists of levels in it. */
#ifndef FEEDD_LISTS_H
#define FEEDD_LISTS_H

#include "template.h"
#include "teach_level.h"

typedef struct {
    uint32_t off, end;
    uint32_t at;                    /* index in fd_msg.sides */
    uint8_t side;
    uint8_t depth;
} fd_list;

#define FD_LEVELS_RUN 128 /* levels that are found before their numbers are read */

#define FD_LEVELS_SLACK 3 /* levels behind the last one that are written, too */

/* Where levels may end in the message. */
typedef struct {
    const uint8_t *first, *scanned; /* between these; NULL: not looked for yet */
    uint32_t next, n;               /* those that are still to come */
    int byte;                       /* bracket or brace */
    uint32_t at[FD_LEVELS_RUN + 80];  /* 16 at once are written */
} fd_closes;

typedef struct {
    const uint8_t *base, *end;
    uint8_t in_place;               /* base is where the message came, not a copy with padding */
    fd_plan *plan;
    int depth;
    int envelope;
    int channel;
    fd_val topic;
    uint64_t topic_hash;            /* tells streams of one channel apart */
    uint16_t sym_off, sym_len;      /* symbol inside the topic text (after unescaping) */
    const uint8_t *topic_at;        /* in the message, or in topic_text where it was put together */
    uint8_t topic_text[FD_TOPIC_MAX];
    fd_val payload, tag;
    uint8_t payload_walked;
    uint8_t listed;                 /* the payload is a list of rows */
    uint8_t bare;                   /* a tag without a payload */
    uint32_t line;                  /* connection: learned topics are its own */
    const fd_learned *learned;
    uint32_t learned_mask;
    uint32_t each_start;
    fd_val env[FD_ENV_MAX];
    fd_val parent[FD_PARENT_MAX];
    fd_val *slots;
    uint32_t rows, slots_cap;
    fd_levels *sides;
    uint32_t sides_cap;
    fd_level *levels;
    uint32_t n_levels, levels_cap;
    fd_level *mixed;                /* room to part a list of both sides */
    uint32_t mixed_cap;
    int shape_error;
    const char *error;
    uint8_t *copy;
    size_t copy_cap;
    /* Values of a message that fits a template; behind them one without bytes of each type. */
    fd_val holes[FD_HOLES_MAX + FD_ARR + 1];
    fd_list lists[FD_FORM_LISTS_MAX];   /* where the walker found levels, for a template */
    uint32_t n_lists;
    fd_closes closes;
    fd_layout *layout;              /* of the whole message; NULL */
    fd_layout *head;                /* of what stands before the first list of levels; NULL */
    uint16_t form;                  /* of a message that fitted a template */
    /* For messages of which only the numbers are read (quick.h). */
    const fd_routes *routes;        /* whom messages were about; NULL: read every value */
    void *who;                      /* whom this one is about */
    double decimal[FD_QUICK_DECIMALS];
    uint64_t number[FD_QUICK_NUMBERS];
} fd_msg;

static inline void fd_msg_free(fd_msg *m) {
    free(m->slots);
    free(m->sides);
    free(m->levels);
    free(m->mixed);
    free(m->copy);
}

/* Part a list of both sides into bids, then asks, each in the order of the list. */
static int fd_part(fd_msg *m, uint32_t start, fd_levels *sides) {
    const uint32_t n = m->n_levels - start;
    fd_level *levels = m->levels + start;
    uint32_t bids = 0, k = 0;
    for (uint32_t i = 0; i < n; i++) bids += levels[i].side == 0;
    sides[0] = (fd_levels){start, bids, 1};
    sides[1] = (fd_levels){start + bids, n - bids, 1};
    for (uint32_t i = 0; i < bids; i++) k += levels[i].side == 0;
    if (k == bids) return 1;
    void *grown = fd_grow(m->mixed, &m->mixed_cap, n, sizeof(fd_level));
    if (grown == NULL) return 0;
    m->mixed = (fd_level *)grown;
    uint32_t bid = 0, ask = bids;
    for (uint32_t i = 0; i < n; i++) m->mixed[levels[i].side ? ask++ : bid++] = levels[i];
    memcpy(levels, m->mixed, n * sizeof(fd_level));
    return 1;
}

static inline uint32_t fd_level_room(const fd_msg *m) {
    const uint32_t taken = m->n_levels + FD_LEVELS_SLACK;
    return m->levels_cap > taken ? m->levels_cap - taken : 0;
}

#if FD_HAS_AVX2
static const uint8_t *fd_levels_avx2(fd_msg *m, const uint8_t *p, int close_with, int *after);
static const uint8_t *fd_levels_avx512(fd_msg *m, const uint8_t *p, int close_with, int *after);
#endif

/* A list of levels at p into range[0], or of both sides into range[0] and range[1]. */
static const uint8_t *fd_level_list(fd_msg *m, const uint8_t *p, fd_levels *range, int side) {
    const uint8_t *start = p;
    const fd_level_shape *shape = &m->plan->channels[m->channel].level;
    fd_templates *templates = m->plan->templates;
    const int mixed = side == FD_BOTH_SIDES, close_with = shape->is_object ? '}' : ']';
    range[0] = (fd_levels){m->n_levels, 0, 0};
    if (mixed) range[1] = range[0];
    if (*p != '[') goto not_levels;
    p++;
    if (!m->in_place) p = fd_ws(p);
    if (*p == ']') {
        range[0].seen = 1;
        if (mixed) range[1].seen = 1;
        return p + 1;
    }
    for (;;) {
        int after = 0;
        if (fd_level_room(m) == 0) {
            void *grown = fd_grow(m->levels, &m->levels_cap, m->n_levels + FD_LEVELS_SLACK + 1,
                                  sizeof(fd_level));
            if (grown == NULL) return NULL;
            m->levels = (fd_level *)grown;
        }
#if FD_HAS_AVX2
        if (templates != NULL && templates->isa != FD_PORTABLE) {
            p = templates->isa == FD_AVX2 ? fd_levels_avx2(m, p, close_with, &after)
                                          : fd_levels_avx512(m, p, close_with, &after);
            if (!after && fd_level_room(m) == 0) continue;
        }
#endif
        if (m->in_place) { /* no more than what is bound to end with the message */
            if (!after || *p != ']') return NULL;
            break;
        }
        if (!after) {
            const uint8_t *level = p = fd_ws(p);
            if (shape->general) {
                p = fd_level_general(p, shape, &m->levels[m->n_levels], m->depth + 1);
            } else {
                if (*p != '[') goto not_levels;
                p = fd_level_array(p + 1, *shape, &m->levels[m->n_levels], m->depth + 2);
            }
            if (p == NULL) goto not_levels;
            m->n_levels++;
            if (templates != NULL && templates->isa != FD_PORTABLE)
                fd_teach_level(templates, m->channel, shape, level, p);
        }
        p = fd_ws(p);
        if (*p == ']') break;
        if (*p != ',') goto not_levels;
        p = fd_ws(p + 1);
    }
    if (mixed) return fd_part(m, range[0].start, range) ? p + 1 : NULL;
    range->count = m->n_levels - range->start;
    range->seen = 1;
    return p + 1;
not_levels: /* not what the venue file promises; a later duplicate of the key may still be */
    m->n_levels = range->start;
    range->count = 0;
    p = fd_skip(start, m->depth);
    if (p != NULL && start[0] == 'n') return p;  /* null: as if it were not there */
    range->seen = 2;
    return p;
}

/* The same, where the walker found it. */
static const uint8_t *fd_member_levels(fd_msg *m, const uint8_t *p, uint32_t row, int side) {
    const uint32_t at = row * 2 + (uint32_t)(side == FD_BOTH_SIDES ? 0 : side);
    const uint8_t *end = fd_level_list(m, p, &m->sides[at], side);
    if (m->plan->templates != NULL && end != NULL && m->sides[at].seen) {
        if (m->n_lists < FD_FORM_LISTS_MAX)
            m->lists[m->n_lists] = (fd_list){(uint32_t)(p - m->base), (uint32_t)(end - m->base), at,
                                             (uint8_t)side, (uint8_t)m->depth};
        m->n_lists++;
    }
    return end;
}

#endif
