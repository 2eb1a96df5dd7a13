/* floor_ring.h - the least that a broadcast ring of 128-byte records can be.
 *
 * One writer, sequence-stamped slots, a second look at the stamp; no header page, no batches, no
 * wake, no epochs, no events, no recovery after death. What the real ring costs beyond this is what
 * its promises cost.
 */
#ifndef FEEDD_FLOOR_RING_H
#define FEEDD_FLOOR_RING_H

#include <feedd/order.h>

#define FLOOR_WORDS 16

typedef struct {
    uint64_t *slots; /* FLOOR_WORDS words each, aligned to 128 bytes */
    uint64_t mask;
    uint64_t next; /* of the writer: to write; of a reader: to read. Begins at the capacity */
} feedd_floor_ring;

static inline void feedd_floor_put(feedd_floor_ring *r, const uint64_t *word)
{
    uint64_t seq = r->next;
    uint64_t *slot = r->slots + (seq & r->mask) * FLOOR_WORDS;
    feedd_fence_release(); /* the slot was made unreadable with the record before */
    for (int i = 8; i < FLOOR_WORDS; i++) {
        feedd_store(slot + i, word[i]);
    }
    for (int i = 1; i < 8; i++) {
        feedd_store(slot + i, word[i]);
    }
    feedd_store_release(slot, seq);
    feedd_store(r->slots + ((seq + 1) & r->mask) * FLOOR_WORDS, seq);
    r->next = seq + 1;
}

/* 1: copied; 0: not there yet; -1: overtaken. */
static inline int feedd_floor_get(feedd_floor_ring *r, uint64_t *word)
{
    const uint64_t *slot = r->slots + (r->next & r->mask) * FLOOR_WORDS;
    uint64_t stamp = feedd_load_acquire(slot);
    if (stamp != r->next) {
        return (int64_t)(stamp - r->next) < 0 ? 0 : -1;
    }
    word[0] = stamp;
    for (int i = 1; i < FLOOR_WORDS; i++) {
        word[i] = feedd_load(slot + i);
    }
    feedd_fence_acquire();
    if (feedd_load(slot) != stamp) {
        return -1;
    }
    r->next++;
    return 1;
}

#endif
