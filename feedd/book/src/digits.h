/* Decimal numbers as the text that a venue's checksum runs over.
 *
 * A number is m * 10^e with its trailing zeros, so the text that was sent can be written again.
 */
#ifndef FEEDD_DIGITS_H
#define FEEDD_DIGITS_H

#include "decimal.h"

#define FX_NUMBER_MAX 80 /* bytes that one number may take; longer ones are cut to nothing */

enum {
    FX_AS_SENT = 0,    /* "0.0010", "45285.2" */
    FX_DIGITS = 1,     /* without the point and without leading zeros: "10", "452852" */
    FX_JAVASCRIPT = 2, /* String(number): no trailing zeros, exponent form below 1e-6 */
};

static inline uint32_t fx_put_digits(uint8_t *out, uint64_t m) {
    uint8_t buf[20];
    uint32_t n = 0;
    do {
        buf[n++] = (uint8_t)('0' + m % 10);
        m /= 10;
    } while (m);
    for (uint32_t i = 0; i < n; i++) out[i] = buf[n - 1 - i];
    return n;
}

/* Digits with the point `decimals` places from the right: (15, 3) is "0.015". */
static inline uint32_t fx_put_fixed(uint8_t *out, uint64_t m, int32_t decimals) {
    uint8_t digits[20];
    const int32_t n = (int32_t)fx_put_digits(digits, m);
    uint32_t k = 0;
    if (n <= decimals) {
        out[k++] = '0';
        out[k++] = '.';
        for (int32_t i = n; i < decimals; i++) out[k++] = '0';
        memcpy(out + k, digits, (size_t)n);
        return k + (uint32_t)n;
    }
    memcpy(out, digits, (size_t)(n - decimals));
    k = (uint32_t)(n - decimals);
    if (decimals) {
        out[k++] = '.';
        memcpy(out + k, digits + n - decimals, (size_t)decimals);
        k += (uint32_t)decimals;
    }
    return k;
}

/* The shortest decimal that reads back as the float64 of m * 10^e; stripped. */
static inline void fx_shortest(uint64_t *m, int32_t *e) {
    fd_dec d = {*m, *e, 0, 0};
    fd_strip(&d);
    if (d.m < 1000000000000000ull) { /* 15 digits are always the shortest form of themselves */
        *m = d.m;
        *e = d.e;
        return;
    }
    uint8_t inexact = 0;
    d = fd_shortest(fd_to_double(d, 0, (const uint8_t *)"", 0, &inexact));
    *m = d.m;
    *e = d.e;
}

/* ECMAScript Number::toString for a number that is not negative. */
static inline uint32_t fx_put_javascript(uint8_t *out, uint64_t m, int32_t e) {
    uint8_t digits[20];
    uint32_t k = 0;
    if (m == 0) {
        out[0] = '0';
        return 1;
    }
    fx_shortest(&m, &e);
    const int32_t n = (int32_t)fx_put_digits(digits, m), point = n + e;
    if (point > 21 || point <= -6) {
        int32_t x = point - 1;
        out[k++] = digits[0];
        if (n > 1) {
            out[k++] = '.';
            memcpy(out + k, digits + 1, (size_t)(n - 1));
            k += (uint32_t)(n - 1);
        }
        out[k++] = 'e';
        out[k++] = x < 0 ? '-' : '+';
        return k + fx_put_digits(out + k, (uint64_t)(x < 0 ? -x : x));
    }
    if (e < 0) return fx_put_fixed(out, m, -e);
    memcpy(out, digits, (size_t)n);
    for (k = (uint32_t)n; k < (uint32_t)point; k++) out[k] = '0';
    return k;
}

/* m * 10^e as text; returns its length, at most FX_NUMBER_MAX. */
static inline uint32_t fx_put(uint8_t *out, uint64_t m, int32_t e, int negative, int format) {
    uint32_t k = 0;
    if (e < -40 || e > 40) return 0; /* no venue writes such a number */
    if (negative) out[k++] = '-';
    if (format == FX_JAVASCRIPT) return k + fx_put_javascript(out + k, m, e);
    if (format == FX_DIGITS) {
        if (m == 0) return 0; /* all of its digits are leading zeros */
        k += fx_put_digits(out + k, m);
    } else if (e < 0) {
        return k + fx_put_fixed(out + k, m, -e);
    } else {
        k += fx_put_digits(out + k, m);
        if (m == 0) return k;
    }
    for (; e > 0; e--) out[k++] = '0';
    return k;
}

/* ---- CRC-32 (IEEE 802.3, the one of zlib), eight bytes at a time ----------------------------- */

static uint32_t fx_crc_table[8][256];

static inline void fx_crc_init(void) {
    if (fx_crc_table[0][1]) return;
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
        fx_crc_table[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int t = 1; t < 8; t++)
            fx_crc_table[t][i] =
                fx_crc_table[t - 1][i] >> 8 ^ fx_crc_table[0][fx_crc_table[t - 1][i] & 0xff];
}

static inline uint32_t fx_word(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint32_t fx_crc32(const uint8_t *p, size_t n) {
    uint32_t c = 0xffffffffu;
    fx_crc_init();
    for (; n >= 8; n -= 8, p += 8) {
        const uint32_t low = c ^ fx_word(p), high = fx_word(p + 4);
        c = fx_crc_table[7][low & 0xff] ^ fx_crc_table[6][low >> 8 & 0xff] ^
            fx_crc_table[5][low >> 16 & 0xff] ^ fx_crc_table[4][low >> 24] ^
            fx_crc_table[3][high & 0xff] ^ fx_crc_table[2][high >> 8 & 0xff] ^
            fx_crc_table[1][high >> 16 & 0xff] ^ fx_crc_table[0][high >> 24];
    }
    for (; n; n--, p++) c = c >> 8 ^ fx_crc_table[0][(c ^ *p) & 0xff];
    return ~c;
}

#endif
