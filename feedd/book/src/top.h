/* The best levels of a side as consumers see them, kept up to date level by level.
 *
 * Most messages change a few levels near the touch. Each keeps its slot; what moves is the order of the
 * slots, a byte for each. So nothing waits for what was moved just before, and what a change needs to
 * know, how many levels are better, is found for all changes of a message at once.
 */
#ifndef FEEDD_TOP_H
#define FEEDD_TOP_H

#include "book.h"

/* Size at a key, 0 when there is no level. */
static inline double fb_size_of(const fb_side *s, int64_t key) {
    if (fb_covers(s, key)) return s->size[key - s->base];
    const int32_t i = fb_tree_chunk(&s->tree, key);
    if (i == s->tree.n) return 0;
    const fb_chunk *c = s->tree.chunk[i];
    const int32_t at = fb_chunk_at(c, key);
    return c->key[at] == key ? c->size[at] : 0;
}

/* The next level behind a key. Returns 0 when there is none. */
static int fb_after(const fb_side *s, int64_t key, int64_t *next, double *size) {
    int64_t found = FB_NO_KEY;
    const int64_t from = key + 1;
    if (s->in_window && from < s->base + ((int64_t)1 << s->bits)) {
        const int64_t i = fb_next(s, from < s->base ? 0 : (uint32_t)(from - s->base));
        if (i >= 0) {
            found = s->base + i;
            *size = s->size[i];
        }
    }
    const int32_t i = fb_tree_chunk(&s->tree, from);
    if (i < s->tree.n) {
        const fb_chunk *c = s->tree.chunk[i];
        const int32_t at = fb_chunk_at(c, from);
        if (c->key[at] < found) {
            found = c->key[at];
            *size = c->size[at];
        }
    }
    *next = found;
    return found != FB_NO_KEY;
}

_Static_assert(FB_TOP == 32, "slots are bits of 32, and their order moves 32 bytes at once");

static inline int64_t fb_top_last(const fb_top *t) { return t->key[t->order[t->n - 1]]; }

static inline void fb_top_put(const fb_book *b, int side, fb_top *t, uint32_t at, int64_t key,
                              double size) {
    const uint32_t slot = (uint32_t)__builtin_ctz(~t->used);
    t->used |= 1u << slot;
    t->key[slot] = key;
    t->pair[slot] = (fb_pair){fb_price(b, key, side), size};
    t->order[at] = (uint8_t)slot;
}

static inline void fb_top_free(fb_top *t, uint32_t slot) {
    t->used &= ~(1u << slot);
    t->key[slot] = INT64_MAX;
}

static void fb_top_anew(fb_book *b, int side) {
    fb_top *t = &b->top[side];
    t->n = fb_best(b, side, t->key, t->pair, FB_TOP);
    t->used = (uint32_t)((1ull << t->n) - 1);
    for (uint32_t i = 0; i < FB_TOP; i++) t->order[i] = (uint8_t)i;
    for (uint32_t i = t->n; i < FB_TOP; i++) t->key[i] = INT64_MAX;
    t->valid = 1;
}

/* Levels behind the last one, until there are FB_TOP or no more. */
static void fb_top_fill(fb_book *b, int side) {
    const fb_side *s = &b->side[side];
    fb_top *t = &b->top[side];
    while (t->n < FB_TOP && t->n < s->levels) {
        int64_t key;
        double size;
        if (!fb_after(s, t->n ? fb_top_last(t) : -FB_NO_KEY, &key, &size)) return;
        fb_top_put(b, side, t, t->n, key, size);
        t->n++;
    }
}

/* How many levels are better than each of the changed ones. */
static inline __attribute__((always_inline)) void fb_top_ranks(const fb_top *t, int64_t *rank) {
    for (uint32_t i = 0; i < t->n_changed; i++) {
        const int64_t key = t->changed[i];
        int64_t below = 0;
        for (uint32_t k = 0; k < FB_TOP; k++) below += t->key[k] < key;
        rank[i] = below;
    }
}

#if defined(__x86_64__) && defined(__GNUC__)
static __attribute__((target("avx2"), noinline)) void fb_top_ranks_avx2(const fb_top *t,
                                                                        int64_t *rank) {
    fb_top_ranks(t, rank);
}
#endif

/* After levels were set in the book: bring the top of the side to it. What is old in a copy of it
 * is [*from, *to). */
static void fb_top_update(fb_book *b, int side, uint32_t *from, uint32_t *to) {
    const fb_side *s = &b->side[side];
    fb_top *t = &b->top[side];
    const uint32_t n = t->n_changed;
    int64_t rank[FB_CHANGES], moved[FB_CHANGES];
    uint32_t low = FB_TOP, high = 0;
    *from = *to = 0;
    if (!t->valid || n > FB_CHANGES || t->n == 0) {
        t->n_changed = 0;
        fb_top_anew(b, side);
        *to = t->n;
        return;
    }
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("avx2")) fb_top_ranks_avx2(t, rank);
    else
#endif
        fb_top_ranks(t, rank);
    for (uint32_t i = 0; i < n; i++) {
        const int64_t key = t->changed[i];
        int64_t at = rank[i];
        uint8_t order[FB_TOP];
        moved[i] = 0;
        for (uint32_t k = 0; k < i; k++) at += t->changed[k] < key ? moved[k] : 0;
        if (at >= (int64_t)t->n) continue; /* fb_top_fill finds it if it belongs here */
        const uint32_t slot = t->order[at];
        const double size = fb_size_of(s, key);
        const int is_there = t->key[slot] == key;
        if (is_there && size != 0) {
            t->pair[slot].size = size;
            if ((uint32_t)at + 1 > high) high = (uint32_t)at + 1;
        } else if (is_there) {
            fb_top_free(t, slot);
            memcpy(order, t->order + at + 1, FB_TOP);
            memcpy(t->order + at, order, FB_TOP);
            t->n--;
            moved[i] = -1;
            high = FB_TOP;
        } else if (size != 0) {
            if (t->n == FB_TOP) fb_top_free(t, t->order[FB_TOP - 1]);
            else t->n++;
            memcpy(order, t->order + at, FB_TOP);
            memcpy(t->order + at + 1, order, FB_TOP);
            fb_top_put(b, side, t, (uint32_t)at, key, size);
            moved[i] = 1;
            high = FB_TOP;
        } else {
            continue;
        }
        if ((uint32_t)at < low) low = (uint32_t)at;
    }
    t->n_changed = 0;
    if (t->n < FB_TOP && t->n < s->levels) {
        if (t->n < low) low = t->n;
        high = FB_TOP;
        fb_top_fill(b, side);
    }
    *to = high < t->n ? high : t->n;
    *from = low < *to ? low : *to;
}

#endif
