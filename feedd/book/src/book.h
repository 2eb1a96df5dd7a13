/* A full order book: two sides and the decimal scale of their price keys.
 *
 * The scale starts at what the first prices need and grows when a price has more decimals, so no
 * reference data is needed and no price is ever rounded. One owner, no locks.
 */
#ifndef FEEDD_BOOK_H
#define FEEDD_BOOK_H

#include "engine.h"
#include "side.h"

#define FB_BID 0
#define FB_ASK 1
#define FB_DECIMALS_MAX 18
#define FB_KEY_MAX (1ll << 60)
#define FB_BEST_MAX 64 /* levels that fb_best can give */

enum { FB_OK = 0, FB_PRICE = 1, FB_FULL = 2, FB_MEMORY = 3 };

#define FB_TOP 32   /* levels a side that top.h keeps */
#define FB_CHANGES 16  /* changes among them that are kept apart; beyond, finding them anew is cheaper */

typedef struct { double price, size; } fb_pair;

/* The best levels of a side as consumers see them (top.h): in slots, and the order of these. */
typedef struct {
    int64_t key[FB_TOP]; /* INT64_MAX where the slot is free */
    fb_pair pair[FB_TOP];
    uint8_t order[2 * FB_TOP + 1]; /* best first; moved 32 bytes at once */
    uint32_t n, used;    /* bit i: slot i is used */
    uint32_t valid;      /* 0: must be found anew */
    uint32_t n_changed;  /* keys since the last update; FB_CHANGES + 1: too many */
    int64_t changed[FB_CHANGES + 2];
} fb_top;

typedef struct {
    fb_side side[2];
    int32_t decimals;
    uint32_t levels_max;
    fb_top top[2];
} fb_book;

static inline int fb_book_init(fb_book *b, uint32_t levels_max) {
    b->decimals = 0;
    b->levels_max = levels_max;
    return fb_side_init(&b->side[FB_BID]) && fb_side_init(&b->side[FB_ASK]);
}

static inline void fb_book_free(fb_book *b) {
    fb_side_free(&b->side[FB_BID]);
    fb_side_free(&b->side[FB_ASK]);
}

static inline void fb_book_clear(fb_book *b) {
    fb_side_clear(&b->side[FB_BID]);
    fb_side_clear(&b->side[FB_ASK]);
    b->top[FB_BID].valid = b->top[FB_ASK].valid = 0;
}

/* Float64 of |key| * 10^-decimals, correctly rounded. */
static inline double fb_price(const fb_book *b, int64_t key, int side) {
    const int64_t ticks = side == FB_BID ? -key : key;
    if (ticks <= (1ll << 53) && ticks >= -(1ll << 53))
        return (double)ticks / fd_pow10[b->decimals];
    fd_dec d = {(uint64_t)(ticks < 0 ? -ticks : ticks), -b->decimals, ticks < 0, 0};
    uint8_t inexact;
    return fd_to_double(d, 0, NULL, 0, &inexact);
}

/* Make room for `more` further decimals: every key is multiplied by 10^more. */
static int fb_rescale(fb_book *b, int32_t more) {
    if (b->decimals + more > FB_DECIMALS_MAX) return FB_PRICE;
    const int64_t factor = (int64_t)fd_ipow10[more];
    for (int i = 0; i < 2; i++) {
        fb_side *s = &b->side[i];
        fb_iter it = {0, 0, 0};
        int64_t key;
        double size;
        fb_side grown;
        if (s->levels == 0) continue;
        if (!fb_side_init(&grown)) return FB_MEMORY;
        grown.filling = s->filling;
        while (fb_iterate(s, &it, &key, &size)) {
            if (key > FB_KEY_MAX / factor || key < -FB_KEY_MAX / factor) {
                fb_side_free(&grown);
                return FB_PRICE;
            }
            if (!fb_set(&grown, key * factor, size) || (grown.levels == 1 && !fb_maintain(&grown))) {
                fb_side_free(&grown);
                return FB_MEMORY;
            }
        }
        fb_side_free(s);
        *s = grown;
    }
    b->decimals += more;
    b->top[FB_BID].valid = b->top[FB_ASK].valid = 0; /* its keys have the old scale */
    return FB_OK;
}

/* The largest mantissa that 10^e more digits leave in range. */
static const uint64_t fb_mantissa_max[19] = {
    FB_KEY_MAX,         FB_KEY_MAX / 10ull,         FB_KEY_MAX / 100ull,
    FB_KEY_MAX / 1000ull,          FB_KEY_MAX / 10000ull,          FB_KEY_MAX / 100000ull,
    FB_KEY_MAX / 1000000ull,       FB_KEY_MAX / 10000000ull,       FB_KEY_MAX / 100000000ull,
    FB_KEY_MAX / 1000000000ull,    FB_KEY_MAX / 10000000000ull,    FB_KEY_MAX / 100000000000ull,
    FB_KEY_MAX / 1000000000000ull, FB_KEY_MAX / 10000000000000ull, FB_KEY_MAX / 100000000000000ull,
    FB_KEY_MAX / 1000000000000000ull, FB_KEY_MAX / 10000000000000000ull,
    FB_KEY_MAX / 100000000000000000ull, FB_KEY_MAX / 1000000000000000000ull};

/* Key of a decimal price at the book's scale, which grows when it must. */
static inline int fb_key(fb_book *b, fd_dec d, int side, int64_t *key) {
    int32_t e = d.e + b->decimals;
    uint64_t m = d.m;
    if (m == 0) {
        *key = 0;
        return FB_OK;
    }
    while (e < 0 && m % 10 == 0) {
        m /= 10;
        e++;
    }
    if (e < 0) {
        int status = fb_rescale(b, -e);
        if (status != FB_OK) return status;
        e = 0;
    }
    if (e > 18 || m > fb_mantissa_max[e]) return FB_PRICE;
    int64_t k = (int64_t)(m * fd_ipow10[e]);
    if (d.neg) k = -k;
    *key = side == FB_BID ? -k : k;
    return FB_OK;
}

/* The best n levels of the window, or all that there are. Returns how many. */
static uint32_t fb_window_levels(const fb_side *s, int64_t *keys, fb_pair *out, uint32_t n) {
    uint32_t w = (uint32_t)((uint64_t)(s->best - s->base) >> 6), k = 0;
    uint64_t word = s->bitmap[w];
    for (;;) {
        while (word) {
            const uint32_t i = (w << 6) + (uint32_t)__builtin_ctzll(word);
            word &= word - 1;
            keys[k] = s->base + i;
            out[k].size = s->size[i];
            if (++k == n) return k;
        }
        const int64_t next = fb_next(s, (w + 1) << 6);
        if (next < 0) return k;
        w = (uint32_t)next >> 6;
        word = s->bitmap[w];
    }
}

/* Prices of n levels of a side, best first, whose keys are known. */
static inline void fb_prices(const fb_book *b, int side, const int64_t *keys, fb_pair *out,
                             uint32_t n) {
    if (n == 0) return;
    if (keys[0] >= -(1ll << 53) && keys[n - 1] <= 1ll << 53) {
        /* keys ascend, so all of them are exact float64: one correctly rounded division each
         * (and no -0.0) */
        const double scale = side == FB_BID ? -fd_pow10[b->decimals] : fd_pow10[b->decimals];
        double price[FB_BEST_MAX];
        for (uint32_t i = 0; i < n; i++) price[i] = (double)keys[i];
        for (uint32_t i = 0; i < n; i++) price[i] = price[i] / scale + 0.0;
        for (uint32_t i = 0; i < n; i++) out[i].price = price[i];
    } else {
        for (uint32_t i = 0; i < n; i++) out[i].price = fb_price(b, keys[i], side);
    }
}

/* Are the best n levels, or all that there are, those of the window? */
static inline int fb_near(const fb_side *s, uint32_t n) {
    return fb_covers(s, s->best) && (s->in_window >= n || s->in_window == s->levels);
}

/* Best n (at most FB_BEST_MAX) levels of a side, best first, with their keys. Returns how many
 * there are. */
static uint32_t fb_best(const fb_book *b, int side, int64_t *keys, fb_pair *out, uint32_t n) {
    const fb_side *s = &b->side[side];
    uint32_t k = 0;
    if (s->levels == 0) return 0;
    if (fb_near(s, n)) {
        k = fb_window_levels(s, keys, out, n);
    } else {
        fb_iter it = {0, 0, 0};
        while (k < n && fb_iterate(s, &it, &keys[k], &out[k].size)) k++;
    }
    fb_prices(b, side, keys, out, k);
    return k;
}

#endif
