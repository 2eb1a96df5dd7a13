/* All levels of a side in order, as the deep tier of a shared book wants them.
 *
 * The window is one range of keys, so what the tree holds stands either before it or behind it, and
 * nothing has to be merged.
 */
#ifndef FEEDD_DEEP_H
#define FEEDD_DEEP_H

#include "book.h"
#include "feedd/order.h"

/* Levels that are on their way: prices are worked out for many of them at once. */
typedef struct {
    const fb_book *book;
    int side;
    unsigned char *to;       /* where the next pairs go, aligned to 16 */
    uint32_t left, n;        /* still wanted; waiting */
    int64_t key[FB_BEST_MAX];
    fb_pair pair[FB_BEST_MAX];
} fb_deep;

static void fb_deep_flush(fb_deep *d) {
    fb_prices(d->book, d->side, d->key, d->pair, d->n);
    for (uint32_t i = 0; i < d->n; i++) {
        FEEDD_YIELD(FEEDD_AT_ROW);
        feedd_store_pair(d->to + sizeof(fb_pair) * i, &d->pair[i]);
    }
    d->to += sizeof(fb_pair) * d->n;
    d->n = 0;
}

/* Take one level; 0 when no more are wanted. */
static inline int fb_deep_take(fb_deep *d, int64_t key, double size) {
    d->key[d->n] = key;
    d->pair[d->n].size = size;
    if (++d->n == FB_BEST_MAX) fb_deep_flush(d);
    return --d->left != 0;
}

/* The levels of the tree from chunk *chunk on whose key is below `end`; 0 when no more are wanted. */
static int fb_deep_tree(fb_deep *d, const fb_tree *t, int32_t *chunk, int32_t *at, int64_t end) {
    for (; *chunk < t->n; ++*chunk, *at = 0) {
        const fb_chunk *c = t->chunk[*chunk];
        for (; *at < c->n; ++*at) {
            if (c->key[*at] >= end) return 1;
            if (!fb_deep_take(d, c->key[*at], c->size[*at])) return 0;
        }
    }
    return 1;
}

static int fb_deep_window(fb_deep *d, const fb_side *s) {
    for (int64_t next = fb_next(s, 0); next >= 0;) {
        const uint32_t w = (uint32_t)next >> 6;
        for (uint64_t word = s->bitmap[w]; word; word &= word - 1) {
            const uint32_t i = (w << 6) + (uint32_t)__builtin_ctzll(word);
            if (!fb_deep_take(d, s->base + i, s->size[i])) return 0;
        }
        next = fb_next(s, (w + 1) << 6);
    }
    return 1;
}

/* The best `depth` levels of a side to shared memory at `to`, best first. Returns how many there are. */
static uint32_t fb_share_deep(const fb_book *b, int side, void *to, uint32_t depth) {
    const fb_side *s = &b->side[side];
    fb_deep d = {.book = b, .side = side, .to = (unsigned char *)to, .left = depth};
    int32_t chunk = 0, at = 0;
    if (depth == 0 || s->levels == 0) return 0;
    if (fb_deep_tree(&d, &s->tree, &chunk, &at, s->in_window ? s->base : FB_NO_KEY) &&
        s->in_window && fb_deep_window(&d, s))
        (void)fb_deep_tree(&d, &s->tree, &chunk, &at, FB_NO_KEY);
    fb_deep_flush(&d);
    return depth - d.left;
}

#endif
