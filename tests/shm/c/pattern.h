/* A record whose every bit follows from its sequence: what a torn or foreign record cannot fake. */
#ifndef PATTERN_H
#define PATTERN_H

#include <feedd/feedd.h>

static inline uint64_t pattern_word(uint64_t seq, int i, uint64_t tag)
{
    uint64_t x = (seq + tag) * 0x9e3779b97f4a7c15ull + (uint64_t)i * 0xbf58476d1ce4e5b9ull;
    x ^= x >> 31;
    return x * 0x94d049bb133111ebull;
}

/* flags: LAST on every third record, so that readers see events of up to three records */
static inline uint8_t pattern_flags(uint64_t seq)
{
    return seq % 3 == 2 ? FEEDD_LAST : 0;
}

static inline void pattern_fill(feedd_record *record, uint64_t seq, uint64_t tag)
{
    uint64_t word[FEEDD_RECORD_WORDS];
    for (int i = 0; i < FEEDD_RECORD_WORDS; i++) {
        word[i] = pattern_word(seq, i, tag);
    }
    memcpy(record, word, sizeof word);
    record->flags = pattern_flags(seq);
}

/* 1 when the record is exactly what pattern_fill made (ring_seq and epoch are the writer's) */
static inline int pattern_matches(const feedd_record *record, uint64_t seq, uint64_t tag)
{
    feedd_record expected;
    pattern_fill(&expected, seq, tag);
    expected.ring_seq = seq;
    expected.epoch = record->epoch;
    return memcmp(&expected, record, sizeof expected) == 0;
}

#endif
