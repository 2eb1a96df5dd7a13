/* Levels of size zero in a snapshot: each is none, and takes away one of its price before it. */
#ifndef FEEDD_EMPTY_H
#define FEEDD_EMPTY_H

#include <stdlib.h>
#include <string.h>

#include "levels.h"

static inline uint32_t fb_price_slot(double price, uint32_t mask) {
    uint64_t bits;
    const double positive = price + 0.0; /* -0 is 0 */
    memcpy(&bits, &positive, sizeof bits);
    return (uint32_t)(bits * 0x9e3779b97f4a7c15ull >> 32) & mask;
}

/* Leave out what is none, in their order. Returns how many levels there are then, UINT32_MAX when
 * memory is out. Time grows with n alone, whatever a venue sends. */
static uint32_t fb_without_empty(fd_level *levels, uint32_t n) {
    uint32_t empty = 0, mask = 63, to = n;
    for (uint32_t i = 0; i < n; i++) empty += levels[i].size == 0;
    if (empty == 0) return n;
    while (mask < 2 * (uint64_t)empty) mask = 2 * mask + 1;
    double *gone = (double *)malloc(((size_t)mask + 1) * sizeof *gone);
    if (gone == NULL) return UINT32_MAX;
    memset(gone, 0xff, ((size_t)mask + 1) * sizeof *gone); /* not a number: free */
    for (uint32_t i = n; i-- > 0;) { /* those behind take away those before */
        uint32_t at = fb_price_slot(levels[i].price, mask);
        while (gone[at] == gone[at] && gone[at] != levels[i].price) at = (at + 1) & mask;
        if (levels[i].size == 0) gone[at] = levels[i].price;
        else if (gone[at] != levels[i].price) levels[--to] = levels[i];
    }
    free(gone);
    memmove(levels, levels + to, (size_t)(n - to) * sizeof *levels);
    return n - to;
}

#endif
