/* Decimal text -> mantissa and exponent -> correctly rounded float64.
 *
 * The grammar is JSON's number. A value of up to 19 significant digits is kept exactly as
 * mantissa * 10^exponent; scaling (percent to fraction, ms to ns) shifts the exponent before the
 * one rounding, so 0.07 % is 0.0007 and never 0.0007000000000000001. Conversions outside the range
 * where one float64 operation rounds correctly (Clinger) go to the C library's strtod, which does.
 *
 * Callers guarantee readable bytes behind the text: a NUL or any byte that ends a number.
 */
#ifndef FEEDD_DECIMAL_H
#define FEEDD_DECIMAL_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FD_DIGITS_MAX 19     /* a mantissa of 19 digits always fits in 64 bits */
#define FD_EXPONENT_CAP 100000

typedef struct {
    uint64_t m;      /* first 19 significant digits */
    int32_t e;       /* value = m * 10^e */
    uint8_t neg;
    uint8_t many;    /* non-zero digits beyond the 19th were cut from m */
} fd_dec;

static const double fd_pow10[23] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
static const uint64_t fd_ipow10[20] = {1ull,
                                       10ull,
                                       100ull,
                                       1000ull,
                                       10000ull,
                                       100000ull,
                                       1000000ull,
                                       10000000ull,
                                       100000000ull,
                                       1000000000ull,
                                       10000000000ull,
                                       100000000000ull,
                                       1000000000000ull,
                                       10000000000000ull,
                                       100000000000000ull,
                                       1000000000000000ull,
                                       10000000000000000ull,
                                       100000000000000000ull,
                                       1000000000000000000ull,
                                       10000000000000000000ull};

/* strtod reads the decimal point of the process's locale: use the C locale whatever the host
 * program has set. Each module that includes this file makes its own object, at first use. */
static locale_t fd_c_locale = (locale_t)0;

static inline int fd_decimal_init(void) {
    if (fd_c_locale == (locale_t)0) fd_c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    return fd_c_locale != (locale_t)0;
}

static inline double fd_strtod(const char *text) {
    return fd_decimal_init() ? strtod_l(text, NULL, fd_c_locale) : strtod(text, NULL);
}

static inline int fd_isdigit(uint8_t c) { return (uint8_t)(c - '0') < 10; }

/* Parse one JSON number at p into d. Returns the first byte behind it, or NULL. */
static inline const uint8_t *fd_scan_dec(const uint8_t *p, fd_dec *d) {
    uint64_t m = 0;
    int digits = 0;  /* significant digits seen, leading zeros not counted */
    int32_t e = 0;
    uint8_t many = 0;
    d->neg = 0;
    if (*p == '-') {
        d->neg = 1;
        p++;
    }
    if (*p == '0') {
        p++;
        if (fd_isdigit(*p)) return NULL;  /* leading zero */
    } else {
        const uint8_t *s = p;
        while (fd_isdigit(*p)) {
            if (p - s < FD_DIGITS_MAX) {
                m = m * 10 + (uint64_t)(*p - '0');
            } else {
                if (*p != '0') many = 1;
                if (e < FD_EXPONENT_CAP) e++;
            }
            p++;
        }
        if (p == s) return NULL;
        digits = p - s < FD_DIGITS_MAX ? (int)(p - s) : FD_DIGITS_MAX;
    }
    if (*p == '.') {
        const uint8_t *s = ++p;
        if (m == 0 && digits == 0) {
            while (*p == '0') {
                p++;
                if (e > -FD_EXPONENT_CAP) e--;
            }
        }
        while (fd_isdigit(*p)) {
            if (digits < FD_DIGITS_MAX) {
                m = m * 10 + (uint64_t)(*p - '0');
                digits++;
                if (e > -FD_EXPONENT_CAP) e--;
            } else if (*p != '0') {
                many = 1;
            }
            p++;
        }
        if (p == s) return NULL;
    }
    if (*p == 'e' || *p == 'E') {
        int32_t x = 0;
        int neg = 0;
        p++;
        if (*p == '+' || *p == '-') neg = *p++ == '-';
        if (!fd_isdigit(*p)) return NULL;
        while (fd_isdigit(*p)) {
            if (x < 10 * FD_EXPONENT_CAP) x = x * 10 + (*p - '0');
            p++;
        }
        e += neg ? -x : x;
    }
    d->m = m;
    d->e = e;
    d->many = many;
    return p;
}

/* Remove trailing zeros of the mantissa, so that e says how many decimals the value needs. */
static inline void fd_strip(fd_dec *d) {
    if (d->m == 0) {
        d->e = 0;
        return;
    }
    while (d->m % 10000 == 0) {
        d->m /= 10000;
        d->e += 4;
    }
    while (d->m % 10 == 0) {
        d->m /= 10;
        d->e += 1;
    }
}

/* strtod of mantissa * 10^exponent, when the digits fit; else of the text with its exponent moved. */
static double fd_slow_double(const fd_dec *d, int32_t shift, const uint8_t *text, size_t n) {
    char small[512];
    char *buf = small;
    double v;
    if (!d->many) {
        snprintf(small, sizeof small, "%s%llue%d", d->neg ? "-" : "", (unsigned long long)d->m,
                 (int)(d->e + shift));
        return fd_strtod(small);
    }
    if (n + 32 > sizeof small) {
        buf = (char *)malloc(n + 32);
        if (buf == NULL) return NAN;
    }
    size_t k = 0;
    int64_t e = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == 'e' || text[i] == 'E') {
            e = strtoll((const char *)text + i + 1, NULL, 10);
            if (e > 10 * FD_EXPONENT_CAP) e = 10 * FD_EXPONENT_CAP;
            if (e < -10 * FD_EXPONENT_CAP) e = -10 * FD_EXPONENT_CAP;
            break;
        }
        buf[k++] = (char)text[i];
    }
    snprintf(buf + k, 31, "e%lld", (long long)(e + shift));
    v = fd_strtod(buf);
    if (buf != small) free(buf);
    return v;
}

/* The shortest decimal that reads back as v, which is finite and not below zero; stripped. */
static fd_dec fd_shortest(double v) {
    char buf[48];
    fd_dec s = {0, 0, 0, 0};
    for (int precision = 0; precision < 17; precision++) {
        snprintf(buf, sizeof buf, "%.*e", precision, v);
        if (strtod(buf, NULL) == v) break;  /* same locale writes and reads the point */
    }
    const char *p = buf;
    int decimals = 0, seen = 0;
    for (; *p && *p != 'e'; p++) {
        if (fd_isdigit((uint8_t)*p)) {
            s.m = s.m * 10 + (uint64_t)(*p - '0');
            decimals += seen;
        } else {
            seen = 1;
        }
    }
    s.e = (int32_t)strtol(p + 1, NULL, 10) - decimals;
    fd_strip(&s);
    return s;
}

/* Is m * 10^e (stripped) the shortest decimal that reads back as v? Called beyond 15 digits. */
static int fd_is_shortest(double v, uint64_t m, int32_t e) {
    v = fabs(v);
    if (v == 0.0 || isinf(v)) return m == 0;
    const fd_dec s = fd_shortest(v);
    return s.m == m && s.e == e;
}

/* Value of d * 10^shift, correctly rounded. *inexact is set when the decimal is not the shortest
 * form of the result, which is exactly when a reader of the float64 cannot get the text back.
 * text/n: the digits again, for values of more than 19 of them. */
static inline double fd_to_double(fd_dec d, int32_t shift, const uint8_t *text, size_t n,
                                  uint8_t *inexact) {
    if (d.m == 0 && !d.many) return d.neg ? -0.0 : 0.0;
    fd_dec s = d;
    s.e += shift;
    if (s.m < 1000000000000000ull && s.e >= -22 && s.e <= 22 && !s.many) {  /* 15 digits: exact */
        double v = (double)s.m;
        v = s.e < 0 ? v / fd_pow10[-s.e] : v * fd_pow10[s.e];
        return d.neg ? -v : v;
    }
    fd_strip(&s);
    double v;
    if (s.m <= (1ull << 53) && s.e >= -22 && s.e <= 22 && !s.many) {
        v = (double)s.m;
        v = s.e < 0 ? v / fd_pow10[-s.e] : v * fd_pow10[s.e];
        if (d.neg) v = -v;
    } else {
        v = fd_slow_double(&d, shift, text, n);
    }
    if (s.many || s.m >= 100000000000000000ull ||
        ((s.m >= 1000000000000000ull || s.e < -300 || s.e > 280) &&
         !fd_is_shortest(v, s.m, s.e)))
        *inexact = 1;
    return v;
}

/* Is the number too large for float64? orjson rejects such a document, and so do we. */
static inline int fd_overflows(const fd_dec *d, const uint8_t *text, size_t n) {
    if (d->e < 280 || (d->m == 0 && !d->many)) return 0;
    return isinf(fd_slow_double(d, 0, text, n));
}

/* d * 10^shift as int64, truncated towards zero; 0 when it does not fit. Returns success. */
static inline int fd_to_int(fd_dec d, int32_t shift, int64_t *out) {
    int32_t e = d.e + shift;
    uint64_t m = d.m;
    if (d.many && e > 0) return 0;
    if (m == 0) e = 0;
    if (e < -19) {
        m = 0;
        e = 0;
    }
    if (e < 0) {
        m /= fd_ipow10[-e];
    } else if (e > 0) {
        if (e > 19 || m > INT64_MAX / fd_ipow10[e]) return 0;
        m *= fd_ipow10[e];
    }
    if (m > (uint64_t)INT64_MAX) return 0;
    *out = d.neg ? -(int64_t)m : (int64_t)m;
    return 1;
}

/* An exact non-negative integer below 2^64 (a sequence number); 0 when it is anything else. */
static inline int fd_to_u64(fd_dec d, uint64_t *out) {
    if (d.many) return 0;
    if (d.m == 0) {
        *out = 0;
        return 1;
    }
    if (d.neg) return 0;
    if (d.e < 0) {
        fd_strip(&d);
        if (d.e < 0) return 0;
    }
    if (d.e > 19 || (d.e && d.m > UINT64_MAX / fd_ipow10[d.e])) return 0;
    *out = d.m * fd_ipow10[d.e];
    return 1;
}

/* Digits of a plain integer text of up to 20 digits, exactly (fd_dec keeps only 19). */
static inline int fd_text_u64(const uint8_t *p, size_t n, uint64_t *out) {
    uint64_t v = 0;
    if (n == 0 || n > 20) return 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)(p[i] - '0');
        if (c > 9) return 0;
        if (v > (UINT64_MAX - c) / 10) return 0;
        v = v * 10 + c;
    }
    *out = v;
    return 1;
}

#endif
