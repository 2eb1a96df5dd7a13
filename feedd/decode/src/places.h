/* Layouts: whole messages, or their heads, that have each byte in its place.
 *
 * A small message of one channel mostly has the length of one before, with the same keys, quotes and
 * points in the same places; only digits and the letters of a symbol differ. A *layout* says of each
 * byte between which bounds it lies, so that one look at 32 bytes at a time tells whether a message
 * fits, and its numbers are read from where they are known to be. It is a short way through the steps
 * of template.h to the end of the message, or to its first list of levels; what does not fit takes
 * the long one. A layout is made when the same places were seen twice.
 */
#ifndef FEEDD_PLACES_H
#define FEEDD_PLACES_H

#include "isa.h"
#include "plan.h"
#include "quick.h"

#define FD_NO_HOLE 0xff
#define FD_LAYOUT_BYTES 384
#define FD_LAYOUT_WORDS (FD_LAYOUT_BYTES / 64)
#define FD_LAYOUT_VALUES 32
#define FD_LAYOUT_NUMBERS 24 /* a multiple of four */
#define FD_LAYOUT_SLOTS 256
#define FD_FAMILIES 128
#define FD_FAMILY_CREDIT 32    /* what a layout that was learned may miss before others pause */
#define FD_FAMILY_PAUSE 2048   /* messages of a family that are not looked at, once most miss */

/* How far the steps have come, and what they know there. */
typedef struct {
    uint64_t fixed;          /* holes that are literals */
    uint32_t len, n_holes;
    int32_t channel;
    uint16_t step;           /* where it ends in the tree of steps */
    uint8_t before_levels;   /* the rest of the message follows, a list of levels first */
    uint8_t resolves;        /* the topic is in it: holes of it and its tag */
    uint8_t topic, tag, envelope;
} fd_head;

typedef struct {
    uint8_t n_numbers;
    fd_head head;
    uint8_t is_whole;                /* its values are those of a row, not those of the steps */
    uint32_t n_values;
    fd_val topic, tag;
    uint64_t marks;                  /* of its family */
    fd_val env[FD_ENV_MAX];          /* of a whole message */
    uint16_t number_at[FD_LAYOUT_NUMBERS]; /* where it begins; in fours, the last one repeated */
    uint8_t number_to[FD_LAYOUT_NUMBERS];  /* which value it is */
    uint8_t shuffle[FD_LAYOUT_NUMBERS][16] __attribute__((aligned(32)));
    uint8_t low[FD_LAYOUT_BYTES] __attribute__((aligned(64)));
    uint8_t high[FD_LAYOUT_BYTES] __attribute__((aligned(64)));
    fd_val value[FD_LAYOUT_VALUES] __attribute__((aligned(32)));
    fd_quick quick;
} fd_layout;

/* Messages that begin alike: how much of them a layout tells. Where a venue puts so much in front that
 * channel or symbol come behind the first 64 bytes (Deribit, Bitget), messages of several channels and
 * symbols begin alike, and what stands before the levels is of several lengths: then the bytes behind
 * part them into families of their own. */
typedef struct {
    uint64_t marks;     /* of the first 64 bytes, or with the others that part them */
    uint16_t len;       /* of the part before the levels; 0: all of the message. Of varied ones: how
                           many bytes part them, 128 at most */
    int16_t credit;     /* grows with hits, falls with misses */
    uint16_t pause;
    uint8_t known : 1;
    uint8_t varied : 1;
    uint8_t quick;      /* the numbers of some of them are enough (quick.h) */
} fd_family;

typedef struct {
    fd_layout *slot;                 /* FD_LAYOUT_SLOTS of them */
    uint8_t used[FD_LAYOUT_SLOTS];
    uint32_t seen[FD_LAYOUT_SLOTS];  /* of places met once */
    fd_family family[FD_FAMILIES];
    uint64_t hits, learned;
    uint64_t quick;                  /* hits of which only the numbers were read */
} fd_layouts;

/* Places of one message: what a layout is looked up by. */
typedef struct {
    uint64_t marks[FD_LAYOUT_WORDS];
    uint64_t hash;
    uint32_t len;      /* 0: not looked at */
    uint8_t paused;    /* its family is left alone for now */
} fd_places;

/* Room for all layouts at once, so that none is asked for while messages come; what no layout is put
 * into takes no memory. */
static int fd_layouts_init(fd_layouts *l) {
    void *room = NULL;
    if (posix_memalign(&room, 4096, FD_LAYOUT_SLOTS * sizeof(fd_layout))) return 0;
    l->slot = (fd_layout *)room;
    return 1;
}

static void fd_layouts_clear(fd_layouts *l) {
    memset(l->used, 0, sizeof l->used);
    memset(l->seen, 0, sizeof l->seen);
    memset(l->family, 0, sizeof l->family);
}

static inline uint64_t fd_places_mix(uint64_t h, uint64_t marks) {
    h = (h ^ marks) * 0x9e3779b97f4a7c15ull;
    return h ^ h >> 32;
}

/* Marks of the first 64 bytes and of those of the next 64 that are among the first `part`. */
static inline uint64_t fd_family_marks(uint64_t first, uint64_t second, size_t part) {
    return fd_places_mix(first, part < 128 ? second & ((1ull << (part - 64)) - 1) : second);
}

static inline fd_family *fd_family_of(fd_layouts *l, uint64_t marks) {
    return &l->family[(marks * 0x9e3779b97f4a7c15ull) >> 57];
}

static inline uint64_t fd_places_hash(const uint64_t *marks, uint32_t len) {
    uint64_t h = len;
    for (uint32_t i = 0; i < (len + 63) / 64; i++) h = fd_places_mix(h, marks[i]);
    return h;
}

/* The bounds of a byte in the content of a string: no quote, no backslash, no control character. */
static int fd_layout_letter(fd_layout *l, uint32_t i, uint8_t c) {
    if (c < 0x20 || c > 0x7f || c == '"' || c == '\\') return 0;
    l->low[i] = c < '"' ? 0x20 : c < '\\' ? '"' + 1 : '\\' + 1;
    l->high[i] = c < '"' ? '"' - 1 : c < '\\' ? '\\' - 1 : 0x7f;
    return 1;
}

/* The bounds of a number's bytes. */
static void fd_layout_digits(fd_layout *l, const uint8_t *base, const fd_val *v) {
    const uint8_t *p = base + v->off;
    const uint32_t first = v->len > 1 && *p == '-';
    for (uint32_t i = 0; i < v->len; i++) {
        if (!fd_isdigit(p[i])) continue;
        l->low[v->off + i] = '0';
        l->high[v->off + i] = '9';
    }
    /* several digits in front of the point do not begin with a zero */
    if (first + 1 < v->len && fd_isdigit(p[first + 1])) l->low[v->off + first] = '1';
}

/* Could other digits in their places make the number too large for float64? */
static int fd_layout_overflows(const uint8_t *p, uint32_t n) {
    if (n > 300) return 1;
    for (uint32_t i = 0; i + 1 < n; i++)
        if ((p[i] | 0x20) == 'e' && p[i + 1] != '-') return 1;
    return 0;
}

/* How the digits of a plain decimal, which is value `to`, are put together. */
static int fd_layout_number(fd_layout *l, const uint8_t *base, const fd_val *v, uint32_t to) {
    const uint8_t *p = base + v->off;
    uint32_t at = 16;
    if (l->n_numbers == FD_LAYOUT_NUMBERS) return 0;
    uint8_t *shuffle = l->shuffle[l->n_numbers];
    memset(shuffle, 0x80, 16);
    for (uint32_t i = 0; i < v->len; i++) at -= fd_isdigit(p[i]);
    for (uint32_t i = 0; i < v->len; i++)
        if (fd_isdigit(p[i])) shuffle[at++] = (uint8_t)i;
    l->number_at[l->n_numbers] = (uint16_t)v->off;
    l->number_to[l->n_numbers++] = (uint8_t)to;
    return 1;
}

/* What is copied for a message that fits: the values of a row where the message ends with the layout,
 * else those that the steps go on with. 0: they are too many. */
static int fd_layout_values(fd_layout *l, const uint8_t *base, const fd_val *value, uint32_t n) {
    if (n > FD_LAYOUT_VALUES) return 0;
    l->n_values = n;
    for (uint32_t i = 0; i < n; i++) {
        l->value[i] = value[i];
        if (value[i].plain && !fd_layout_number(l, base, &value[i], i)) return 0;
    }
    for (; l->n_numbers & 3; l->n_numbers++) {
        memcpy(l->shuffle[l->n_numbers], l->shuffle[l->n_numbers - 1], 16);
        l->number_at[l->n_numbers] = l->number_at[l->n_numbers - 1];
        l->number_to[l->n_numbers] = l->number_to[l->n_numbers - 1];
    }
    return 1;
}

/* The layout of a message whose values the steps have read; 0: it has none. `slots` are those of its
 * rows, NULL before the end of it; `env` are `n_env` values of the message. */
static int fd_layout_make(fd_layout *l, const uint8_t *base, const fd_val *hole,
                          const fd_head *head, const fd_val *slots, uint32_t n_slots,
                          const fd_val *env, uint32_t n_env) {
    if (head->n_holes > 64) return 0; /* more than `fixed` can tell */
    l->head = *head;
    memcpy(l->low, base, head->len);
    memcpy(l->high, base, head->len);
    memset(l->high + head->len, 0xff, FD_LAYOUT_BYTES - head->len);
    for (uint32_t i = 0; i < head->n_holes; i++) {
        const fd_val *v = &hole[i];
        if (v->escaped || v->off + v->len > head->len) return 0;
        if (head->fixed >> i & 1) continue;
        if (v->type == FD_NUM || v->plain) {
            if (!v->plain && fd_layout_overflows(base + v->off, v->len)) return 0;
            fd_layout_digits(l, base, v);
            continue;
        }
        for (uint32_t k = v->off; k < v->off + v->len; k++)
            if (!fd_layout_letter(l, k, base[k])) return 0;
    }
    if (head->resolves) l->topic = hole[head->topic];
    if (head->resolves && head->tag != FD_NO_HOLE) l->tag = hole[head->tag];
    l->is_whole = slots != NULL && n_slots <= FD_LAYOUT_VALUES;
    for (uint32_t k = 0; l->is_whole && k < n_env; k++) {
        l->env[k] = env[k];
        if (env[k].plain) l->is_whole = 0;
    }
    return l->is_whole ? fd_layout_values(l, base, slots, n_slots)
                       : fd_layout_values(l, base, hole, head->n_holes);
}

/* Make the layout of a message, if its places were seen before. The rest as fd_layout_make. */
static void fd_layout_learn(fd_layouts *all, const fd_places *places, const uint8_t *base,
                            const fd_val *hole, const fd_head *head, const fd_val *slots,
                            uint32_t n_slots, const fd_val *env, uint32_t n_env) {
    const uint32_t tag = (uint32_t)(places->hash >> 32) | 1;
    const uint32_t at = (uint32_t)places->hash % FD_LAYOUT_SLOTS;
    if (all->seen[at] != tag) {
        all->seen[at] = tag;
        return;
    }
    const uint32_t to = all->used[at] && !all->used[at ^ 1] ? at ^ 1 : at;
    fd_layout *l = &all->slot[to];
    memset(l, 0, sizeof *l);
    all->used[to] = (uint8_t)fd_layout_make(l, base, hole, head, slots, n_slots, env, n_env);
    if (!all->used[to]) return;
    all->learned++;
    const uint16_t len = head->before_levels ? (uint16_t)head->len : 0;
    const uint16_t part = len && len < 128 ? len : 128;
    uint64_t marks = places->marks[0];
    fd_family *family = fd_family_of(all, marks);
    if (family->known && family->marks == marks && (family->varied || family->len != len)) {
        if (!family->varied) *family = (fd_family){marks, family->len, 0, 0, 1, 1, 0};
        if (family->len == 0 || family->len > part) family->len = part;
        const size_t n = family->len < places->len ? family->len : places->len;
        marks = fd_family_marks(marks, n > 64 ? places->marks[1] : 0, n);
        family = fd_family_of(all, marks);
    }
    l->marks = marks;
    if (!family->known || family->marks != marks || family->len != len)
        *family = (fd_family){marks, len, FD_FAMILY_CREDIT, 0, 1, 0, 0};
}

#endif
