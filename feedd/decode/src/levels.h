/* One level of a book: an array with a price and a size at known positions.
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
    uint8_t inexact;
} fd_level;

typedef struct {
    uint16_t price, size;  /* positions in a level array */
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
    if (q != NULL && (quoted ? *q == '"' : *q == ',' || *q == ']')) {
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
    fd_dec size;
    out->inexact = 0;
    for (uint16_t i = 0;; i++) {
        p = fd_ws(p);
        if (i == s.price) {
            p = fd_level_number(p, &out->price_dec, &out->price, &out->inexact);
            have |= 1;
        } else if (i == s.size) {
            p = fd_level_number(p, &size, &out->size, &out->inexact);
            if (p != NULL && size.neg && size.m) return NULL;
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

#endif
