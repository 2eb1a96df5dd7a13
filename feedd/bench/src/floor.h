/* What a depth frame costs at the least: one pass over the bytes, numbers converted, levels kept.
 *
 * Hard-coded for Binance's {"b":[["p","q"],…],"a":[…]}, no validation, no book: a yardstick to
 * measure against, not a decoder.
 */
#ifndef FEEDD_BENCH_FLOOR_H
#define FEEDD_BENCH_FLOOR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FEEDD_FLOOR_LEVELS 8192

typedef struct {
    uint64_t numbers[5]; /* E, T, U, u, pu */
    uint32_t n[2];
    double levels[2 * FEEDD_FLOOR_LEVELS];
} feedd_floor;

static inline const uint8_t *feedd_floor_decimal(const uint8_t *p, double *out) {
    static const double scale[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8, 1e9,
                                   1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18};
    uint64_t m = 0;
    unsigned decimals = 0;
    for (; (uint8_t)(*p - '0') < 10; p++) m = m * 10 + (uint64_t)(*p - '0');
    if (*p == '.')
        for (p++; (uint8_t)(*p - '0') < 10; p++, decimals++) m = m * 10 + (uint64_t)(*p - '0');
    *out = (double)m / scale[decimals < 19 ? decimals : 18];
    return p;
}

static inline const uint8_t *feedd_floor_integer(const uint8_t *p, uint64_t *out) {
    uint64_t m = 0;
    for (; (uint8_t)(*p - '0') < 10; p++) m = m * 10 + (uint64_t)(*p - '0');
    *out = m;
    return p;
}

static inline const uint8_t *feedd_floor_list(const uint8_t *p, const uint8_t *end,
                                              feedd_floor *f, int side) {
    double *at = f->levels + (side ? 2 * (size_t)f->n[0] : 0);
    uint32_t n = 0;
    while (p < end && *p != ']') {
        p = feedd_floor_decimal(p + 2, &at[0]);  /* ["price","size"] */
        p = feedd_floor_decimal(p + 3, &at[1]);
        p += 2;
        if (*p == ',') p++;
        at += 2;
        if (++n + f->n[0] * (uint32_t)side == FEEDD_FLOOR_LEVELS) break;
    }
    f->n[side] = n;
    return p + 1;
}

/* One frame of n bytes; a NUL stands behind it. Returns the number of levels. */
static uint32_t feedd_floor_frame(const uint8_t *p, size_t n, feedd_floor *f) {
    const uint8_t *end = p + n;
    f->n[0] = f->n[1] = 0;
    while (p < end) {
        if (*p++ != '"') continue;
        const uint8_t *key = p;
        while (p < end && *p != '"') p++;
        const size_t len = (size_t)(p - key);
        if (p + 2 >= end || p[1] != ':') {
            p++;
            continue;
        }
        p += 2;
        if (len == 1 && *p == '[') {
            p = feedd_floor_list(p + 1, end, f, *key == 'a');
        } else if (len == 1 && *key != 's' && *key != 'e') {
            const int which = *key == 'E' ? 0 : *key == 'T' ? 1 : *key == 'U' ? 2 : 3;
            p = feedd_floor_integer(p, &f->numbers[which]);
        } else if (len == 2 && key[0] == 'p' && key[1] == 'u') {
            p = feedd_floor_integer(p, &f->numbers[4]);
        } else if (*p == '"') {
            for (p++; p < end && *p != '"'; p++) {}
            p++;
        }
    }
    return f->n[0] + f->n[1];
}

#endif
