/* A value of a message as float64, for a field of a record. */
#ifndef FEEDD_NUMBERS_H
#define FEEDD_NUMBERS_H

#include "engine.h"

#define FD_NUMBER_TEXT_MAX 192 /* a number with escapes in its text may be so long */

/* 1: *out is value * 10^shift, correctly rounded; 0: absent, null or an empty text; -1: no number.
 * *inexact is set when the decimal is not the shortest form of the result. Not inlined: what a
 * template has read needs none of this. */
static __attribute__((noinline)) int fd_number_of(const fd_msg *m, const fd_val *v, int32_t shift,
                                                  double *out, uint8_t *inexact) {
    uint8_t scratch[FD_NUMBER_TEXT_MAX + FD_PADDING];
    const uint8_t *text = m->base + v->off;
    size_t n = v->len;
    fd_dec d;
    if (v->type <= FD_NULL || (v->type == FD_STR && n == 0)) return 0;
    if (v->type != FD_STR && v->type != FD_NUM) return -1;
    if (v->escaped) {
        if (n > FD_NUMBER_TEXT_MAX) return -1;
        memset(scratch, 0, sizeof scratch);
        n = fd_unescape(text, n, scratch);
        text = scratch;
    }
    if (fd_scan_dec(text, &d) != text + n) return -1;
    *out = fd_to_double(d, shift, text, n, inexact);
    return isinf(*out) ? -1 : 1;
}

#endif
