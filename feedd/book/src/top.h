/* The best levels of a side as consumers see them, kept up to date level by level.
 *
 * Most changes near the touch are those of a size. Each level keeps its slot, which is found by the last
 * digits of its key. What moves when one comes or goes is a byte, its rank, and all of these move at once
 * in a register.
 */
#ifndef FEEDD_TOP_H
#define FEEDD_TOP_H

#include "book.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Size at a key, 0 when there is no level. */
static inline double fb_size_of(const fb_side *s, int64_t key) {
    if (__builtin_expect(fb_covers(s, key), 1)) return s->size[key - s->base];
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

_Static_assert(FB_TOP == 32, "slots are the bits of 32, and their ranks the bytes of a register");

/* A byte for each slot, in halves: every processor has registers for that. */
typedef signed char fb_half __attribute__((vector_size(FB_TOP / 2), may_alias));
typedef struct { fb_half half[2]; } fb_bytes;

/* The slots where a comparison of bytes holds. */
static inline __attribute__((always_inline)) uint32_t fb_slots(fb_half low, fb_half high) {
#ifdef __SSE2__
    return (uint32_t)_mm_movemask_epi8((__m128i)low) |
           (uint32_t)_mm_movemask_epi8((__m128i)high) << 16;
#else
    uint32_t slots = 0;
    for (int i = 0; i < FB_TOP / 2; i++)
        slots |= (uint32_t)(low[i] & 1) << i | (uint32_t)(high[i] & 1) << (i + FB_TOP / 2);
    return slots;
#endif
}

static inline __attribute__((always_inline)) fb_bytes fb_top_rank(const fb_top *t) {
    fb_bytes r;
    memcpy(&r, t->rank, sizeof r);
    return r;
}

static inline __attribute__((always_inline)) uint32_t fb_slot_of(fb_bytes r, signed char rank) {
    return (uint32_t)__builtin_ctz(fb_slots(r.half[0] == rank, r.half[1] == rank));
}

/* The slot with this rank. */
static inline __attribute__((always_inline)) uint32_t fb_top_slot(const fb_top *t, uint32_t rank) {
    return fb_slot_of(fb_top_rank(t), (signed char)rank);
}

/* In one store: who reads it soon reads it whole. */
static inline __attribute__((always_inline)) void fb_put_level(fb_pair *to, double price,
                                                               double size) {
    const double pair __attribute__((vector_size(16))) = {price, size};
    memcpy(to, &pair, sizeof pair);
}

static inline uint32_t fb_bits_of(uint32_t n) { return (uint32_t)((1ull << n) - 1); }

/* All levels anew. */
static uint32_t fb_top_anew(fb_book *b, int side) {
    fb_top *t = &b->top[side];
    t->n = fb_best(b, side, t->key, t->pair, FB_TOP);
    for (uint32_t i = 0; i < FB_TOP; i++) t->rank[i] = (uint8_t)i;
    for (uint32_t i = 0; i < t->n; i++) t->hint[t->key[i] & (FB_HINTS - 1)] = (uint8_t)i;
    for (uint32_t i = t->n; i < FB_TOP; i++) t->key[i] = INT64_MAX;
    t->valid = 1;
    return fb_bits_of(t->n);
}

/* Levels behind the last one, until there are FB_TOP or no more. Returns their slots. */
static uint32_t fb_top_fill(fb_book *b, int side) {
    const fb_side *s = &b->side[side];
    fb_top *t = &b->top[side];
    int64_t last = t->n ? t->key[fb_top_slot(t, t->n - 1)] : -FB_NO_KEY;
    uint32_t filled = 0;
    double size;
    while (t->n < FB_TOP && t->n < s->levels && fb_after(s, last, &last, &size)) {
        const uint32_t slot = fb_top_slot(t, t->n++);
        t->key[slot] = last;
        t->hint[last & (FB_HINTS - 1)] = (uint8_t)slot;
        fb_put_level(&t->pair[slot], fb_price(b, last, side), size);
        filled |= 1u << slot;
    }
    return filled;
}

/* How many of the levels are better than this key. */
static inline __attribute__((always_inline)) uint32_t fb_top_better(const fb_top *t, int64_t key) {
    int64_t better = 0;
    for (uint32_t i = 0; i < FB_TOP; i++) better += t->key[i] < key;
    return (uint32_t)better;
}

/* The slot of rank `from` gets rank `to`; of the others those behind rank `behind` move by one. */
static inline __attribute__((always_inline)) uint32_t fb_top_move(fb_top *t, signed char from,
                                                                  signed char to,
                                                                  signed char behind,
                                                                  signed char by) {
    fb_bytes r = fb_top_rank(t);
    const fb_half low = r.half[0] == from, high = r.half[1] == from;
    r.half[0] = ((r.half[0] + ((r.half[0] > behind) & by)) & ~low) | (low & to);
    r.half[1] = ((r.half[1] + ((r.half[1] > behind) & by)) & ~high) | (high & to);
    memcpy(t->rank, &r, sizeof r);
    return (uint32_t)__builtin_ctz(fb_slots(low, high));
}

/* Bring the top to what has changed. Returns the slots whose level is another one. */
static inline __attribute__((always_inline)) uint32_t fb_top_change(fb_book *b, int side) {
    const fb_side *s = &b->side[side];
    fb_top *t = &b->top[side];
    uint32_t n = t->n, changed = 0;
    for (uint32_t i = 0; i < t->n_changed; i++) {
        const int64_t key = t->changed[i];
        const double size = fb_size_of(s, key);
        uint8_t *hint = &t->hint[key & (FB_HINTS - 1)];
        uint32_t slot = *hint;
        if (__builtin_expect(t->key[slot] != key, 0)) {
            const uint32_t at = fb_top_better(t, key);
            if (at >= n) continue; /* fb_top_fill finds it if it belongs here */
            slot = fb_slot_of(fb_top_rank(t), (signed char)at);
            if (t->key[slot] == key) {
                *hint = (uint8_t)slot;
            } else if (size == 0) {
                continue;
            } else {
                /* it comes: the slot with the last rank is free, or its level drops out */
                slot = fb_top_move(t, FB_TOP - 1, (signed char)at, (signed char)(at - 1), 1);
                t->key[slot] = key;
                t->pair[slot].price = fb_price(b, key, side);
                *hint = (uint8_t)slot;
                n += n < FB_TOP;
            }
        }
        if (size == 0) { /* it goes */
            const signed char at = (signed char)t->rank[slot];
            t->key[slot] = INT64_MAX;
            fb_top_move(t, at, FB_TOP - 1, at, -1);
            n--;
        }
        fb_put_level(&t->pair[slot], t->pair[slot].price, size);
        changed |= 1u << slot;
    }
    t->n = n;
    return changed;
}

#if defined(__x86_64__) && defined(__GNUC__)
static __attribute__((target("avx2"), noinline)) uint32_t fb_top_change_avx2(fb_book *b, int side) {
    return fb_top_change(b, side);
}
#endif

/* After levels were set in the book: bring the top of the side to it. Returns the slots whose level is
 * another one now, or has another rank: what is old in a copy of the top. */
static uint32_t fb_top_update(fb_book *b, int side) {
    fb_top *t = &b->top[side];
    const uint32_t n = t->n_changed;
    const fb_bytes before = fb_top_rank(t);
    uint32_t changed;
    if (!t->valid || n > FB_CHANGES || t->n == 0) changed = fb_top_anew(b, side);
#if defined(__x86_64__) && defined(__GNUC__)
    else if (__builtin_cpu_supports("avx2")) changed = fb_top_change_avx2(b, side);
#endif
    else changed = fb_top_change(b, side);
    t->n_changed = 0;
    if (t->n < FB_TOP && t->n < b->side[side].levels) changed |= fb_top_fill(b, side);
    const fb_bytes rank = fb_top_rank(t);
    const signed char end = (signed char)t->n;
    t->best = fb_slot_of(rank, 0);
    t->limit = t->key[fb_slot_of(rank, FB_TOP - 1)];
    changed |= fb_slots(rank.half[0] != before.half[0], rank.half[1] != before.half[1]);
    return changed & fb_slots(rank.half[0] < end, rank.half[1] < end);
}

#endif
