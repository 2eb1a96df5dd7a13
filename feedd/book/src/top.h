/* The best levels of a side as consumers see them, kept up to date level by level.
 *
 * Most messages change a few levels near the touch. Putting those few into an ordered array is
 * cheaper than finding the best levels anew, and tells which part of the shared copy is old.
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

/* How many keys are below this one; without branches, which would be as good as random. */
static inline uint32_t fb_top_below(const fb_top *t, int64_t key) {
    uint32_t at = 0;
    for (uint32_t step = FB_TOP / 2; step; step /= 2)
        at += (at + step <= t->n && t->key[at + step - 1] < key) ? step : 0;
    return at + (at < t->n && t->key[at] < key);
}

static void fb_top_anew(fb_book *b, int side) {
    fb_top *t = &b->top[side];
    t->n = fb_best(b, side, t->key, t->pair, FB_TOP);
    t->valid = 1;
}

/* Levels behind the last one, until there are FB_TOP or no more. */
static void fb_top_fill(fb_book *b, int side) {
    const fb_side *s = &b->side[side];
    fb_top *t = &b->top[side];
    while (t->n < FB_TOP && t->n < s->levels) {
        const int64_t last = t->n ? t->key[t->n - 1] : -FB_NO_KEY;
        if (!fb_after(s, last, &t->key[t->n], &t->pair[t->n].size)) return;
        t->pair[t->n].price = fb_price(b, t->key[t->n], side);
        t->n++;
    }
}

/* After levels were set in the book: bring the top of the side to it. What is old in a copy of it
 * is [*from, *to). */
static void fb_top_update(fb_book *b, int side, uint32_t *from, uint32_t *to) {
    const fb_side *s = &b->side[side];
    fb_top *t = &b->top[side];
    const uint32_t n = t->n_changed;
    uint32_t low = FB_TOP, high = 0;
    *from = *to = 0;
    t->n_changed = 0;
    if (!t->valid || n > FB_CHANGES || t->n == 0) {
        fb_top_anew(b, side);
        *to = t->n;
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        const int64_t key = t->changed[i];
        /* behind the last one: fb_top_fill finds it if it belongs here */
        if (t->n == 0 || key > t->key[t->n - 1]) continue;
        const uint32_t at = fb_top_below(t, key);
        const double size = fb_size_of(s, key);
        const int is_there = t->key[at] == key;
        if (is_there && size != 0) {
            t->pair[at].size = size;
            if (at + 1 > high) high = at + 1;
        } else if (is_there) {
            t->n--;
            memmove(t->key + at, t->key + at + 1, (t->n - at) * sizeof *t->key);
            memmove(t->pair + at, t->pair + at + 1, (t->n - at) * sizeof *t->pair);
            high = FB_TOP;
        } else if (size != 0) {
            if (t->n < FB_TOP) t->n++;
            memmove(t->key + at + 1, t->key + at, (t->n - 1 - at) * sizeof *t->key);
            memmove(t->pair + at + 1, t->pair + at, (t->n - 1 - at) * sizeof *t->pair);
            t->key[at] = key;
            t->pair[at] = (fb_pair){fb_price(b, key, side), size};
            high = FB_TOP;
        } else {
            continue;
        }
        if (at < low) low = at;
    }
    if (t->n < FB_TOP && t->n < s->levels) {
        if (t->n < low) low = t->n;
        high = FB_TOP;
        fb_top_fill(b, side);
    }
    *to = high < t->n ? high : t->n;
    *from = low < *to ? low : *to;
}

#endif
