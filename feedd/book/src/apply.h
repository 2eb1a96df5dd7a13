/* Levels of a message into a book.
 *
 * Most levels lie in the window of their side, and their price has the decimals that the book has or
 * one zero more: they are set in one loop, without a branch on whether a level comes or goes, which is
 * as good as random. What is different (a price with more decimals, one before the window) is set on
 * its own, in its turn.
 */
#ifndef FEEDD_APPLY_H
#define FEEDD_APPLY_H

#include "book.h"

/* From where on a change is none of the top levels, once these are known. A change of the best level
 * always is. */
static inline int64_t fb_top_limit(const fb_top *t) {
    return !t->valid ? INT64_MIN : t->n == FB_TOP ? t->key[t->order[FB_TOP - 1]] : INT64_MAX;
}

/* Exponent and flags of a price of so many decimals as they lie in memory, without the padding. */
static inline uint64_t fb_kind(int32_t decimals) { return (uint64_t)(uint32_t)-decimals << 16; }

/* A price with fewer decimals than the book: its integer at those of the book. 0: it is none. */
static inline int fb_fewer_decimals(const fb_book *b, const fd_level *l, uint64_t *m) {
    const int64_t fewer = (int64_t)b->decimals + l->price_dec.e;
    if (l->price_dec.neg || l->price_dec.many || fewer < 1 || fewer > FB_DECIMALS_MAX ||
        *m > fb_mantissa_max[fewer])
        return 0;
    *m *= fd_ipow10[fewer];
    return 1;
}

/* Set levels until one must take the long way. Returns how many were set. */
static inline __attribute__((always_inline)) uint32_t fb_apply_plain(
    fb_book *b, const int side, const fd_level *levels, uint32_t n, uint8_t *inexact) {
    fb_side *s = &b->side[side];
    fb_top *t = &b->top[side];
    /* in registers: the compiler must assume that a stored size is one of them */
    double *const sizes = s->size;
    uint64_t *const bitmap = s->bitmap;
    uint8_t *const marks = s->marks, cut = 0;
    const int64_t base = s->base, limit = fb_top_limit(t);
    const uint64_t width = s->width;
    const uint64_t same = fb_kind(b->decimals), longer = fb_kind(b->decimals + 1);
    int64_t *changed = t->changed + t->n_changed, *const full = t->changed + FB_CHANGES + 1;
    int64_t low = FB_NO_KEY;
    uint32_t more = 0;
    const fd_level *l = levels, *const end = levels + n;
    for (; l < end; l++) {
        uint64_t kind, m = l->price_dec.m, was;
        memcpy(&kind, &l->price_dec.e, sizeof kind);
        kind <<= 16;
        if (kind != same) {
            const uint64_t tenth = m / 10;
            if (kind == longer && tenth * 10 == m) m = tenth;
            else if (!fb_fewer_decimals(b, l, &m)) break;
        }
        const int64_t key = (int64_t)(side == FB_BID ? -m : m); /* it may turn its sign */
        const uint64_t at = (uint64_t)key - (uint64_t)base;
        if (__builtin_expect(at >= width, 0)) {
            /* before the window, which will have to move; or no price that a book can hold */
            if ((int64_t)at < 0 || m > FB_KEY_MAX) break;
            if (!fb_set_behind(s, key, l->size)) break;
        } else {
            memcpy(&was, &sizes[at], sizeof was); /* never -0 */
            const uint64_t set = l->size != 0, had = was != 0;
            more += (uint32_t)set - (uint32_t)had;
            sizes[at] = l->size + 0.0;
            bitmap[at >> 6] ^= (set ^ had) << (at & 63);
            marks[at >> 6] = 1;
        }
        *changed = key;
        changed += key <= limit;
        changed = changed > full ? full : changed;
        low = key < low ? key : low;
        cut |= l->inexact;
    }
    const uint32_t done = (uint32_t)(l - levels);
    t->n_changed = (uint32_t)(changed - t->changed);
    s->in_window += more;
    s->levels += more;
    s->ops += done;
    *inexact |= cut;
    if (done && low <= s->best) s->best = fb_find_best(s, low);
    return done;
}

/* Set the levels of one side. *inexact gains that of the levels. Returns FB_OK or why the book cannot
 * be kept. */
static inline __attribute__((always_inline)) int fb_apply_with(
    fb_book *b, int side, const fd_level *levels, uint32_t n, uint8_t *inexact) {
    fb_side *s = &b->side[side];
    fb_top *t = &b->top[side];
    for (uint32_t i = 0; i < n; i++) {
        int64_t key;
        if (s->levels) {
            i += side == FB_BID ? fb_apply_plain(b, FB_BID, levels + i, n - i, inexact)
                                : fb_apply_plain(b, FB_ASK, levels + i, n - i, inexact);
            if (i == n) break;
        }
        const int status = fb_key(b, levels[i].price_dec, side, &key);
        if (status != FB_OK) return status;
        if (!fb_set(s, key, levels[i].size)) return FB_MEMORY;
        if (s->levels == 1 && !fb_maintain(s)) return FB_MEMORY;
        if (t->n_changed <= FB_CHANGES && key <= fb_top_limit(t)) t->changed[t->n_changed++] = key;
        *inexact |= levels[i].inexact;
    }
    if (s->levels > b->levels_max) return FB_FULL;
    return fb_maintain(s) ? FB_OK : FB_MEMORY;
}

#if defined(__x86_64__) && defined(__GNUC__)
/* Shifts by a variable number are one instruction there, not three. */
static __attribute__((target("bmi,bmi2"), noinline)) int fb_apply_bmi2(
    fb_book *b, int side, const fd_level *levels, uint32_t n, uint8_t *inexact) {
    return fb_apply_with(b, side, levels, n, inexact);
}
#endif

static int fb_apply(fb_book *b, int side, const fd_level *levels, uint32_t n, uint8_t *inexact) {
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("bmi2")) return fb_apply_bmi2(b, side, levels, n, inexact);
#endif
    return fb_apply_with(b, side, levels, n, inexact);
}

#endif
