/* What programs have in common that try something at random until it contradicts itself. */
#ifndef FEEDD_REPLAY_H
#define FEEDD_REPLAY_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t random_state;

static void random_begin(const char *seed) {
    random_state = strtoull(seed, NULL, 10) * 0x9e3779b97f4a7c15ull | 1;
}

static uint64_t any(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void die(const char *what, long n) {
    fprintf(stderr, "%s after message %ld\n", what, n);
    exit(1);
}

#endif
