/* One level of a book: an array or object with a price and a size, perhaps a side and a count.
 *
 * Reads the same padded, NUL-ended message as json.h. A NULL result means "not a level"; the caller
 * decides whether it is still JSON.
 */
#ifndef FEEDD_LEVELS_H
#define FEEDD_LEVELS_H

#include "json.h"

#include <stddef.h>

typedef struct {
    fd_dec price_dec;
    double price, size;
    uint64_t size_m;  /* size as written: size_m * 10^size_e, for checksums over the text */
    int16_t size_e;
    uint8_t inexact;
    uint8_t side;     /* of a mixed list: 0 bid, 1 ask */
} fd_level;

enum { FD_PRICE, FD_SIZE, FD_SIDE, FD_COUNT, FD_MEMBERS };
#define FD_BOTH_SIDES 2
#define FD_SIDE_TEXTS 4
#define FD_SIDE_TEXT_MAX 12

/* Where the members of a level are. The common form, an array of price and size and perhaps more
 * that does not matter, needs positions only; anything else is `general`. */
typedef struct {
    uint16_t price, size;             /* positions in a level array */
    uint8_t general, is_object;
    uint8_t used[FD_MEMBERS];
    uint16_t at[FD_MEMBERS];          /* positions */
    const uint8_t *key[FD_MEMBERS];   /* or keys */
    uint8_t key_len[FD_MEMBERS];
    uint8_t side_sign;                /* a positive number is a bid: that at `side`, or the size */
    uint8_t n_side;
    uint8_t side_value[FD_SIDE_TEXTS], side_len[FD_SIDE_TEXTS];
    uint8_t side_text[FD_SIDE_TEXTS][FD_SIDE_TEXT_MAX];
} fd_level_shape;

/* A number in a string with escapes ("\u0031"): legal JSON, seen from no venue, read all the same. */
static const uint8_t *fd_escaped_number(const uint8_t *p, fd_dec *d, double *v, uint8_t *inexact) {
    uint8_t text[64 + FD_PADDING] = {0}, escaped = 0;
    const uint8_t *end = fd_string(p, &escaped);
    if (end == NULL || !escaped || end - p > 64) return NULL;
    size_t n = fd_unescape(p, (size_t)(end - p), text);
    if (fd_scan_dec(text, d) != text + n) return NULL;
    *v = fd_to_double(*d, 0, text, n, inexact);
    return isinf(*v) ? NULL : end + 1;
}

/* What nearly every level has: digits, perhaps a point and digits, at most 15 of them (exact, one
 * rounding, nothing to flag). NULL for anything else, which the general path then reads. */
static inline const uint8_t *fd_plain_decimal(const uint8_t *p, fd_dec *d) {
    const uint8_t *s = p;
    uint64_t m = 0;
    uint8_t c;
    while ((c = (uint8_t)(*p - '0')) < 10) {
        m = m * 10 + c;
        p++;
    }
    const ptrdiff_t whole = p - s;
    ptrdiff_t decimals = 0;
    if (*p == '.') {
        const uint8_t *f = ++p;
        while ((c = (uint8_t)(*p - '0')) < 10) {
            m = m * 10 + c;
            p++;
        }
        decimals = p - f;
        if (decimals == 0) return NULL;
    }
    if (whole == 0 || whole + decimals > 15 || (*s == '0' && whole > 1)) return NULL;
    *d = (fd_dec){m, (int32_t)-decimals, 0, 0};
    return p;
}

/* One number of a level: a JSON number, or a string that holds one. */
static inline const uint8_t *fd_level_number(const uint8_t *p, fd_dec *d, double *v,
                                             uint8_t *inexact) {
    const int quoted = *p == '"';
    const uint8_t *q = fd_plain_decimal(p + quoted, d);
    if (q != NULL && (quoted ? *q == '"' : *q == ',' || *q == ']' || *q == '}')) {
        *v = (double)d->m / fd_pow10[-d->e];
        return q + quoted;
    }
    q = fd_scan_dec(p + quoted, d);
    if (quoted && (q == NULL || *q != '"')) return fd_escaped_number(p + 1, d, v, inexact);
    if (q == NULL) return NULL;
    *v = fd_to_double(*d, 0, p + quoted, (size_t)(q - p - quoted), inexact);
    return isinf(*v) ? NULL : q + quoted;
}

/* One level array at p (behind its bracket); NULL when it is not a level (maybe still JSON). */
static inline const uint8_t *fd_level_array(const uint8_t *p, fd_level_shape s, fd_level *out,
                                            int depth) {
    int have = 0;
    fd_dec size = {0, 0, 0, 0};
    out->inexact = 0;
    for (uint16_t i = 0;; i++) {
        p = fd_ws(p);
        if (i == s.price) {
            p = fd_level_number(p, &out->price_dec, &out->price, &out->inexact);
            have |= 1;
        } else if (i == s.size) {
            p = fd_level_number(p, &size, &out->size, &out->inexact);
            if (p != NULL && size.neg && size.m) return NULL;
            out->size_m = size.m;
            out->size_e = (int16_t)size.e;
            have |= 2;
        } else {
            p = fd_skip(p, depth);
        }
        if (p == NULL) return NULL;
        p = fd_ws(p);
        if (*p == ']') return have == 3 ? p + 1 : NULL;
        if (*p != ',') return NULL;
        p++;
    }
}

/* The side of a level, from the value at p; -1 when it is none. */
static inline int fd_level_side(const uint8_t *p, const fd_level_shape *s) {
    fd_dec d;
    uint8_t escaped = 0;
    if (s->side_sign) {
        double value;
        if (fd_level_number(p, &d, &value, &escaped) == NULL || d.m == 0) return -1;
        return d.neg;
    }
    if (*p != '"') return -1;
    const uint8_t *end = fd_string(++p, &escaped);
    if (end == NULL) return -1;
    size_t n = (size_t)(end - p);
    uint8_t plain[6 * FD_SIDE_TEXT_MAX + FD_PADDING];
    if (escaped) {
        if (n > 6 * FD_SIDE_TEXT_MAX) return -1;
        n = fd_unescape(p, n, plain);
        p = plain;
    }
    for (int i = 0; i < s->n_side; i++)
        if (s->side_len[i] == n && !memcmp(s->side_text[i], p, n)) return s->side_value[i];
    return -1;
}

/* One level of any form at p (its bracket or brace); NULL when it is not a level (maybe still
 * JSON). The last of duplicate keys wins. */
static const uint8_t *fd_level_general(const uint8_t *p, const fd_level_shape *s, fd_level *out,
                                       int depth) {
    const uint8_t *member[FD_MEMBERS] = {NULL};
    const uint8_t close = s->is_object ? '}' : ']';
    fd_dec d;
    if (*p != (s->is_object ? '{' : '[')) return NULL;
    p = fd_ws(p + 1);
    for (uint16_t i = 0; *p != close; i++) {
        int which = FD_MEMBERS;
        if (s->is_object) {
            uint8_t escaped = 0;
            if (*p != '"') return NULL;
            const uint8_t *k = p + 1;
            if ((p = fd_string(k, &escaped)) == NULL) return NULL;
            uint8_t plain[256 + FD_PADDING];
            size_t n = (size_t)(p - k);
            if (escaped && n <= 256) {
                n = fd_unescape(k, n, plain);
                k = plain;
            }
            for (which = 0; which < FD_MEMBERS; which++)
                if (s->used[which] && s->key_len[which] == n && !memcmp(s->key[which], k, n)) break;
            p = fd_ws(p + 1);
            if (*p != ':') return NULL;
            p = fd_ws(p + 1);
        } else {
            for (which = 0; which < FD_MEMBERS; which++)
                if (s->used[which] && s->at[which] == i) break;
        }
        if (which < FD_MEMBERS) member[which] = p;
        if ((p = fd_skip(p, depth + 1)) == NULL) return NULL;
        p = fd_ws(p);
        if (*p == close) break;
        if (*p != ',') return NULL;
        p = fd_ws(p + 1);
        if (*p == close) return NULL;
    }
    out->inexact = out->side = 0;
    if (member[FD_PRICE] == NULL || member[FD_SIZE] == NULL) return NULL;
    if (fd_level_number(member[FD_PRICE], &out->price_dec, &out->price, &out->inexact) == NULL)
        return NULL;
    if (fd_level_number(member[FD_SIZE], &d, &out->size, &out->inexact) == NULL) return NULL;
    if (d.neg && d.m && !s->side_sign) return NULL;
    out->size_m = d.m;
    out->size_e = (int16_t)d.e;
    if (d.neg) out->size = -out->size;
    if (s->side_sign && !s->used[FD_SIDE]) {
        if (d.m == 0) return NULL;
        out->side = d.neg;
    } else if (s->used[FD_SIDE]) {
        int side = member[FD_SIDE] == NULL ? -1 : fd_level_side(member[FD_SIDE], s);
        if (side < 0) return NULL;
        out->side = (uint8_t)side;
    }
    if (s->used[FD_COUNT]) {
        double count;
        uint8_t cut = 0;
        if (member[FD_COUNT] == NULL || fd_level_number(member[FD_COUNT], &d, &count, &cut) == NULL)
            return NULL;
        if (count == 0) out->size = 0;
    }
    return p + 1;
}

#endif
