/* The levels of a book as they were written, for checksums over their text.
 *
 * Beside the book proper (float64 sizes), only where a venue has a checksum. A side is a sorted
 * array, worst level first: most changes are at its end, and a cut to the subscribed depth only
 * moves its start. One owner, no locks.
 */
#ifndef FEEDD_TEXTS_H
#define FEEDD_TEXTS_H

#include "digits.h"
#include "levels.h"

#define FX_LEVELS_MAX 100 /* levels a side that a checksum may cover */
#define FX_TEXT_KEPT 40   /* bytes of a level's text that are kept for the next checksum */

typedef struct {
    uint64_t price_m, size_m;
    int32_t price_e;
    int16_t size_e;
    uint8_t neg;      /* of the price */
    uint8_t n_text;   /* 0: not written yet, or too long to keep */
    uint8_t text[FX_TEXT_KEPT];
} fx_level;

typedef struct {
    fx_level *level; /* level[first .. first + n), worst first */
    uint32_t first, n, cap;
} fx_side;

typedef struct {
    fx_side side[2];
} fx_texts;

typedef struct {
    uint8_t levels, asks_first, join, format, negative_asks;
} fx_rule;

static inline void fx_clear(fx_texts *t) {
    for (int i = 0; i < 2; i++) t->side[i].first = t->side[i].n = 0;
}

static inline void fx_free(fx_texts *t) {
    for (int i = 0; i < 2; i++) {
        free(t->side[i].level);
        t->side[i] = (fx_side){NULL, 0, 0, 0};
    }
}

/* Order of two prices, exactly: <0, 0, >0. */
static inline int fx_compare(uint64_t am, int32_t ae, int an, uint64_t bm, int32_t be, int bn) {
    an = an && am;
    bn = bn && bm;
    if (an != bn) return an ? -1 : 1;
    int order;
    if (ae == be) {
        order = (am > bm) - (am < bm);
    } else if (am == 0 || bm == 0) {
        order = (am > 0) - (bm > 0);
    } else if (ae > be) {
        const int32_t d = ae - be;
        if (d > 19) {
            order = 1;
        } else {
            const unsigned __int128 a = (unsigned __int128)am * fd_ipow10[d];
            order = (a > bm) - (a < bm);
        }
    } else {
        const int32_t d = be - ae;
        if (d > 19) {
            order = -1;
        } else {
            const unsigned __int128 b = (unsigned __int128)bm * fd_ipow10[d];
            order = (am > b) - (am < b);
        }
    }
    return an ? -order : order;
}

/* Set one level; a size of zero deletes. *old is the level before, size_m 0 when there was none.
 * Returns 0 when memory is out. */
static inline int fx_set(fx_side *s, int ask, const fx_level *set, fx_level *old) {
    uint32_t lo = 0, hi = s->n;
    fx_level *base = s->level + s->first;
    int found = 0;
    while (lo < hi) { /* the first level that is not worse than the new one */
        const uint32_t mid = (lo + hi) >> 1;
        const fx_level *l = &base[mid];
        int order = fx_compare(l->price_m, l->price_e, l->neg, set->price_m, set->price_e, set->neg);
        if (ask) order = -order;
        if (order == 0) {
            lo = mid;
            found = 1;
            break;
        }
        if (order < 0) lo = mid + 1;
        else hi = mid;
    }
    if (found) {
        *old = base[lo];
        if (set->size_m) {
            base[lo] = *set;
            return 1;
        }
        memmove(base + lo, base + lo + 1, (s->n - lo - 1) * sizeof *base);
        s->n--;
        return 1;
    }
    *old = *set;
    old->size_m = 0;
    if (set->size_m == 0) return 1;
    if (s->first + s->n == s->cap) {
        if (s->first > s->cap / 2) { /* room that cuts have left at the start */
            memmove(s->level, base, s->n * sizeof *base);
        } else {
            const uint32_t cap = s->cap ? s->cap * 2 : 32;
            fx_level *grown = (fx_level *)malloc(cap * sizeof *grown);
            if (grown == NULL) return 0;
            if (s->n) memcpy(grown, base, s->n * sizeof *base);
            free(s->level);
            s->level = grown;
            s->cap = cap;
        }
        s->first = 0;
        base = s->level;
    }
    memmove(base + lo + 1, base + lo, (s->n - lo) * sizeof *base);
    base[lo] = *set;
    s->n++;
    return 1;
}

/* A copy of all levels; 0 when memory is out. */
static inline int fx_copy(fx_texts *to, const fx_texts *from) {
    for (int i = 0; i < 2; i++) {
        const fx_side *s = &from->side[i];
        fx_side *t = &to->side[i];
        if (t->cap < s->n) {
            fx_level *grown = (fx_level *)realloc(t->level, (s->n + 32) * sizeof *grown);
            if (grown == NULL) return 0;
            t->level = grown;
            t->cap = s->n + 32;
        }
        if (s->n) memcpy(t->level, s->level + s->first, s->n * sizeof *t->level);
        t->first = 0;
        t->n = s->n;
    }
    return 1;
}

static inline fx_level fx_of(const fd_level *l) {
    /* a delete may be told by something else than the size (a count, the message's type) */
    fx_level out;
    out.price_m = l->price_dec.m;
    out.size_m = l->size == 0 ? 0 : l->size_m;
    out.price_e = l->price_dec.e;
    out.size_e = l->size_e;
    out.neg = l->price_dec.neg;
    out.n_text = 0;
    return out;
}

static inline int fx_apply(fx_texts *t, int side, const fd_level *levels, uint32_t n) {
    fx_level old;
    for (uint32_t i = 0; i < n; i++) {
        const fx_level set = fx_of(&levels[i]);
        if (!fx_set(&t->side[side], side, &set, &old)) return 0;
    }
    return 1;
}

/* Keep the best `depth` levels of a side. */
static inline void fx_cut(fx_side *s, uint32_t depth) {
    if (s->n <= depth) return;
    s->first += s->n - depth;
    s->n = depth;
}

static inline uint32_t fx_put_level(uint8_t *out, fx_level *l, int ask, const fx_rule *r) {
    if (l->n_text) { /* most levels are those of the message before */
        memcpy(out, l->text, FX_TEXT_KEPT);
        return l->n_text;
    }
    uint32_t k = fx_put(out, l->price_m, l->price_e, l->neg && r->format != FX_DIGITS, r->format);
    if (r->join) out[k++] = r->join;
    k += fx_put(out + k, l->size_m, l->size_e, ask && r->negative_asks, r->format);
    if (r->join) out[k++] = r->join;
    if (k <= FX_TEXT_KEPT) {
        memcpy(l->text, out, k);
        l->n_text = (uint8_t)k;
    }
    return k;
}

/* CRC-32 over the text of the best levels. The texts of one book are asked for by one rule. */
static inline uint32_t fx_checksum(fx_texts *t, const fx_rule *r) {
    uint8_t text[2 * FX_LEVELS_MAX * (2 * FX_NUMBER_MAX + 2) + FX_TEXT_KEPT];
    const fx_side *bids = &t->side[0], *asks = &t->side[1];
    const uint32_t levels = r->levels < FX_LEVELS_MAX ? r->levels : FX_LEVELS_MAX;
    const uint32_t nb = bids->n < levels ? bids->n : levels, na = asks->n < levels ? asks->n : levels;
    uint32_t k = 0;
    if (r->asks_first) {
        for (uint32_t i = 0; i < na; i++)
            k += fx_put_level(text + k, &asks->level[asks->first + asks->n - 1 - i], 1, r);
        for (uint32_t i = 0; i < nb; i++)
            k += fx_put_level(text + k, &bids->level[bids->first + bids->n - 1 - i], 0, r);
    } else {
        for (uint32_t i = 0; i < nb || i < na; i++) {
            if (i < nb)
                k += fx_put_level(text + k, &bids->level[bids->first + bids->n - 1 - i], 0, r);
            if (i < na)
                k += fx_put_level(text + k, &asks->level[asks->first + asks->n - 1 - i], 1, r);
        }
    }
    if (r->join && k) k--; /* no separator at the end */
    return fx_crc32(text, k);
}

#endif
