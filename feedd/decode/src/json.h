/* JSON, validated byte by byte and without recursion: strings, numbers, whole values.
 *
 * What is valid is what orjson accepts (design rule, checked by differential tests): UTF-8 without
 * BOM or lone surrogates, at most FD_DEPTH_MAX nested containers, no number beyond float64.
 * Every function takes a pointer into a message that is followed by FD_PADDING zero bytes, so it
 * may read ahead, and a NUL (invalid anywhere in JSON) ends every loop.
 * On success it returns the first byte behind what it read, on error NULL.
 */
#ifndef FEEDD_JSON_H
#define FEEDD_JSON_H

#include "decimal.h"

#define FD_DEPTH_MAX 1024
#define FD_PADDING 64

static inline const uint8_t *fd_ws(const uint8_t *p) {
    while (*p <= ' ' && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r')) p++;
    return p;
}

static inline uint64_t fd_load64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

/* Length of the well-formed UTF-8 sequence at p (Unicode table 3-7), 0 if it is not one. */
static inline int fd_utf8_len(const uint8_t *p) {
    uint8_t c = p[0];
    if (c < 0x80) return 1;
    if (c < 0xc2) return 0;
    if ((p[1] & 0xc0) != 0x80) return 0;
    if (c < 0xe0) return 2;
    if ((p[2] & 0xc0) != 0x80) return 0;
    if (c < 0xf0) {
        if (c == 0xe0 && p[1] < 0xa0) return 0;
        if (c == 0xed && p[1] > 0x9f) return 0;
        return 3;
    }
    if (c > 0xf4 || (p[3] & 0xc0) != 0x80) return 0;
    if (c == 0xf0 && p[1] < 0x90) return 0;
    if (c == 0xf4 && p[1] > 0x8f) return 0;
    return 4;
}

static inline int fd_hex4(const uint8_t *p, uint32_t *out) {
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t c = p[i];
        uint32_t d;
        if (fd_isdigit(c)) {
            d = c - '0';
        } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
            d = (uint32_t)((c | 0x20) - 'a' + 10);
        } else {
            return 0;
        }
        v = v << 4 | d;
    }
    *out = v;
    return 1;
}

/* p behind a backslash. A surrogate must be the first half of a whole pair. */
static inline const uint8_t *fd_escape(const uint8_t *p) {
    uint32_t u, low;
    switch (*p) {
        case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
            return p + 1;
        case 'u':
            if (!fd_hex4(p + 1, &u)) return NULL;
            p += 5;
            if (u < 0xd800 || u > 0xdfff) return p;
            if (u > 0xdbff || p[0] != '\\' || p[1] != 'u' || !fd_hex4(p + 2, &low)) return NULL;
            if (low < 0xdc00 || low > 0xdfff) return NULL;
            return p + 6;
        default:
            return NULL;
    }
}

/* High bit of each byte of v that ends the fast scan: '"', '\\', control or non-ASCII. */
static inline uint64_t fd_special(uint64_t v) {
    const uint64_t ones = 0x0101010101010101ull, high = 0x8080808080808080ull;
    uint64_t q = v ^ (ones * '"'), b = v ^ (ones * '\\');
    return (((q - ones) & ~q) | ((b - ones) & ~b) | (v - ones * 0x20) | v) & high;
}

/* p behind the opening quote; returns the closing quote. *escaped is set when it has escapes. */
static inline const uint8_t *fd_string(const uint8_t *p, uint8_t *escaped) {
    for (;;) {
        uint64_t hit;
        while ((hit = fd_special(fd_load64(p))) == 0) p += 8;
        /* little endian: the lowest set bit is the first special byte; a borrow of the
         * subtraction can only set bits above a true hit */
        p += __builtin_ctzll(hit) >> 3;
        uint8_t c = *p;
        if (c == '"') return p;
        if (c == '\\') {
            *escaped = 1;
            if ((p = fd_escape(p + 1)) == NULL) return NULL;
        } else if (c < 0x20) {
            return NULL;
        } else {
            int k = fd_utf8_len(p);
            if (k == 0) return NULL;
            p += k;
        }
    }
}

/* A number that is only checked: grammar and range. Without an exponent it takes 300 digits to
 * leave float64. */
static inline const uint8_t *fd_number(const uint8_t *p) {
    const uint8_t *q = p + (*p == '-'), *s = q;
    fd_dec d;
    while (fd_isdigit(*q)) q++;
    if (q == s || (*s == '0' && q - s > 1)) return NULL;
    if (*q == '.') {
        s = ++q;
        while (fd_isdigit(*q)) q++;
        if (q == s) return NULL;
    }
    if ((*q | 0x20) != 'e' && q - p < 300) return q;
    q = fd_scan_dec(p, &d);
    if (q == NULL || fd_overflows(&d, p, (size_t)(q - p))) return NULL;
    return q;
}

static inline const uint8_t *fd_literal(const uint8_t *p) {
    if (*p == 't') return p[1] == 'r' && p[2] == 'u' && p[3] == 'e' ? p + 4 : NULL;
    if (*p == 'n') return p[1] == 'u' && p[2] == 'l' && p[3] == 'l' ? p + 4 : NULL;
    if (*p == 'f') return p[1] == 'a' && p[2] == 'l' && p[3] == 's' && p[4] == 'e' ? p + 5 : NULL;
    return NULL;
}

/* Check one container at nesting `depth` (containers already open around it). */
static const uint8_t *fd_skip_container(const uint8_t *p, int depth) {
    uint64_t is_object[FD_DEPTH_MAX / 64] = {0};  /* bit d: container d is an object */
    const int floor = depth;
    uint8_t escaped;
    for (;;) {
        p = fd_ws(p);  /* a value starts here */
        switch (*p) {
            case '{':
            case '[': {
                if (depth == FD_DEPTH_MAX) return NULL;
                int object = *p == '{';
                p = fd_ws(p + 1);
                if (*p == (object ? '}' : ']')) {
                    p++;
                    break;
                }
                uint64_t bit = 1ull << (depth & 63);
                if (object) is_object[depth >> 6] |= bit;
                else is_object[depth >> 6] &= ~bit;
                depth++;
                if (object) goto key;
                continue;
            }
            case '"':
                if ((p = fd_string(p + 1, &escaped)) == NULL) return NULL;
                p++;
                break;
            case '-': case '0': case '1': case '2': case '3': case '4':
            case '5': case '6': case '7': case '8': case '9':
                if ((p = fd_number(p)) == NULL) return NULL;
                break;
            default:
                if ((p = fd_literal(p)) == NULL) return NULL;
        }
        for (;;) {  /* a value ended: close containers, or go to the next member */
            if (depth == floor) return p;
            p = fd_ws(p);
            int object = (int)(is_object[(depth - 1) >> 6] >> ((depth - 1) & 63) & 1);
            if (*p == ',') {
                p = fd_ws(p + 1);
                if (object) goto key;
                break;
            }
            if (*p != (object ? '}' : ']')) return NULL;
            p++;
            depth--;
        }
        continue;
    key:
        if (*p != '"' || (p = fd_string(p + 1, &escaped)) == NULL) return NULL;
        p = fd_ws(p + 1);
        if (*p != ':') return NULL;
        p++;
    }
}

/* Check one whole value. */
static inline const uint8_t *fd_skip(const uint8_t *p, int depth) {
    uint8_t escaped;
    p = fd_ws(p);
    switch (*p) {
        case '{': case '[':
            return fd_skip_container(p, depth);
        case '"':
            p = fd_string(p + 1, &escaped);
            return p == NULL ? NULL : p + 1;
        case '-': case '0': case '1': case '2': case '3': case '4':
        case '5': case '6': case '7': case '8': case '9':
            return fd_number(p);
        default:
            return fd_literal(p);
    }
}

/* Decode a validated string with escapes into out (at most n bytes). Returns the length. */
static inline size_t fd_unescape(const uint8_t *p, size_t n, uint8_t *out) {
    const uint8_t *end = p + n;
    uint8_t *o = out;
    while (p < end) {
        if (*p != '\\') {
            *o++ = *p++;
            continue;
        }
        p++;
        uint32_t u = 0, low = 0;
        switch (*p++) {
            case 'b': *o++ = '\b'; continue;
            case 'f': *o++ = '\f'; continue;
            case 'n': *o++ = '\n'; continue;
            case 'r': *o++ = '\r'; continue;
            case 't': *o++ = '\t'; continue;
            case 'u': break;
            default: *o++ = p[-1]; continue;
        }
        fd_hex4(p, &u);
        p += 4;
        if (u >= 0xd800 && u < 0xdc00) {
            fd_hex4(p + 2, &low);
            p += 6;
            u = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
        }
        if (u < 0x80) {
            *o++ = (uint8_t)u;
        } else if (u < 0x800) {
            *o++ = (uint8_t)(0xc0 | u >> 6);
            *o++ = (uint8_t)(0x80 | (u & 0x3f));
        } else if (u < 0x10000) {
            *o++ = (uint8_t)(0xe0 | u >> 12);
            *o++ = (uint8_t)(0x80 | (u >> 6 & 0x3f));
            *o++ = (uint8_t)(0x80 | (u & 0x3f));
        } else {
            *o++ = (uint8_t)(0xf0 | u >> 18);
            *o++ = (uint8_t)(0x80 | (u >> 12 & 0x3f));
            *o++ = (uint8_t)(0x80 | (u >> 6 & 0x3f));
            *o++ = (uint8_t)(0x80 | (u & 0x3f));
        }
    }
    return (size_t)(o - out);
}

#endif
