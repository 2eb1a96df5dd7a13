/* ring.h - one writer, any number of readers, fixed slots of 128 bytes.
 *
 *   slot(s) = slots[s & (capacity - 1)]; its first word is the stamp:
 *     s      record s is complete
 *     s - 1  record s is being written (no record of this slot can have that number)
 *   The first sequence is the capacity, so that zeroed slots read "not yet".
 *
 * The writer stages records (feedd_put) and publishes them together (feedd_commit): the stamps go
 * out last to first, so whoever sees the first record of a batch sees all. It reads nothing that a
 * reader writes but one flag per commit, and it never waits. A reader maps the ring read-only.
 *
 * Orderings, each with its partner (proofs: docs/ring-protocol.md, `make model`):
 *   W1 release fence   of a record, after the invalidation of its slot   pairs with   R4
 *   W4 release store   of the stamp                                      pairs with   R1
 *   R1 acquire load    of the stamp, before the data
 *   R4 acquire fence   after the data, before the second look at the stamp (R5)
 *   F1 full fence      of a commit, before need_wake is tested           pairs with   S3 (wait.h)
 *
 * Threads: a feedd_writer belongs to one thread of one process (the owner of the lock file), a
 * feedd_reader to one thread.
 */
#ifndef FEEDD_RING_H
#define FEEDD_RING_H

#include "layout.h"
#include "order.h"
#include "wake.h"

typedef struct feedd_writer {
    feedd_header *header;
    unsigned char *slots;
    uint64_t mask;
    uint64_t next;      /* sequence of the next record to stage */
    uint64_t committed; /* first sequence that readers cannot see yet */
    uint64_t batch_max; /* records a commit can hold */
    uint32_t *need_wake;
    uint16_t epoch; /* low bits of the header's epoch: goes into every record */
    uint16_t reserved[3];
} feedd_writer;

typedef struct feedd_reader {
    const feedd_header *header;
    const unsigned char *slots;
    uint64_t mask;
    uint64_t first_seq;
    uint64_t next;       /* sequence of the next record to read */
    uint64_t lost;       /* records never handed out: overtaken, or skipped to reach an event start */
    uint32_t skipping;   /* inside an event whose start was not seen: discard up to its LAST */
    int wake_fd;         /* of the wake file, or -1 */
    uint64_t wake_offset;
    uint32_t *need_wake; /* instead of wake_fd when the flag is in this process; else NULL */
} feedd_reader;

static inline unsigned char *feedd_slot(unsigned char *slots, uint64_t mask, uint64_t seq)
{
    return slots + (size_t)(seq & mask) * FEEDD_RECORD_BYTES;
}

static inline const unsigned char *feedd_reader_slot(const feedd_reader *r, uint64_t seq)
{
    return r->slots + (size_t)(seq & r->mask) * FEEDD_RECORD_BYTES;
}

/* The most records that one commit makes visible at once. */
static inline uint64_t feedd_batch_max(uint64_t capacity)
{
    uint64_t eighth = capacity / 8;
    return eighth < 1 ? 1 : eighth > 1024 ? 1024 : eighth;
}

/* ---- writer --------------------------------------------------------------------------------- */

/* Point a writer at a mapped ring whose header is complete; `next` as found by feedd_takeover. */
static inline void feedd_writer_init(feedd_writer *w, void *base, uint32_t *need_wake, uint64_t next)
{
    feedd_header *h = (feedd_header *)base;
    memset(w, 0, sizeof *w);
    w->header = h;
    w->slots = (unsigned char *)base + FEEDD_HEADER_BYTES;
    w->mask = h->capacity - 1;
    w->next = w->committed = next;
    w->batch_max = feedd_batch_max(h->capacity);
    w->need_wake = need_wake;
    w->epoch = (uint16_t)feedd_load(&h->epoch);
}

/* After the lock is held and before the first put of a new writer, also of the first one: find the
 * first unpublished sequence and make every slot from there on unreadable. A predecessor that died
 * in a commit may have stamped later records of the batch; nobody has seen them, they are undone.
 * Returns that sequence. */
static inline uint64_t feedd_takeover(void *base)
{
    feedd_header *h = (feedd_header *)base;
    unsigned char *slots = (unsigned char *)base + FEEDD_HEADER_BYTES;
    uint64_t capacity = h->capacity, mask = capacity - 1;
    uint64_t seq = feedd_load_acquire(&h->head);
    while (feedd_load_acquire(feedd_slot(slots, mask, seq)) == seq) {
        seq++; /* stamped, but its writer died before it moved the head */
    }
    for (uint64_t i = 0; i < capacity; i++) {
        unsigned char *slot = slots + (size_t)i * FEEDD_RECORD_BYTES;
        uint64_t stamp = feedd_load(slot);
        if ((int64_t)(stamp - seq) >= 0 && (stamp & mask) == i) {
            feedd_store(slot, stamp - 1);
        }
    }
    feedd_store(feedd_slot(slots, mask, seq), seq - 1);
    feedd_store_release(&h->head, seq);
    return seq;
}

/* Publish what is staged up to now; returns the new head. */
static inline uint64_t feedd_commit(feedd_writer *w)
{
    uint64_t first = w->committed, end = w->next;
    if (first == end) {
        return end;
    }
    for (uint64_t seq = end - 1; seq >= first; seq--) {
        FEEDD_YIELD(FEEDD_AT_STAMP);
        feedd_store_release(feedd_slot(w->slots, w->mask, seq), seq); /* W4 */
    }
    FEEDD_YIELD(FEEDD_AT_INVALIDATE_NEXT);
    feedd_store(feedd_slot(w->slots, w->mask, end), end - 1); /* W5, ordered by the next W1 */
    FEEDD_YIELD(FEEDD_AT_HEAD);
    feedd_store_release(&w->header->head, end); /* W6, pairs with readers that join or lapped */
    w->committed = end;
    FEEDD_YIELD(FEEDD_AT_WAKE);
    if (w->need_wake) {
        feedd_fence_full(); /* F1 */
        if (__builtin_expect(__atomic_load_n(w->need_wake, FEEDD_FLAG_ORDER) != 0, 0)) { /* F2 */
            feedd_wake(w->header, w->need_wake);
        }
    }
    FEEDD_YIELD(FEEDD_AT_COMMITTED);
    return end;
}

/* The same, and publish_delta_ns of each record := now - ts_recv (saturated; 0 if negative). */
static inline uint64_t feedd_commit_at(feedd_writer *w, int64_t now_ns)
{
    for (uint64_t seq = w->committed; seq != w->next; seq++) {
        unsigned char *slot = feedd_slot(w->slots, w->mask, seq);
        int64_t delta = now_ns - (int64_t)feedd_load(slot + offsetof(feedd_record, ts_recv));
        uint64_t word = feedd_load(slot + offsetof(feedd_record, publish_delta_ns));
        uint64_t low = delta < 0 ? 0 : delta > (int64_t)UINT32_MAX ? UINT32_MAX : (uint64_t)delta;
        FEEDD_YIELD(FEEDD_AT_DELTA);
        feedd_store(slot + offsetof(feedd_record, publish_delta_ns), (word >> 32 << 32) | low);
    }
    return feedd_commit(w);
}

/* How far ahead of the writer slots are fetched: a large ring is in no cache when it comes round,
 * and stores that wait for memory hold up whatever comes after them. */
#define FEEDD_PREFETCH_SLOTS 12

static inline void feedd_prefetch_slot(unsigned char *slot)
{
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0\n\tprefetchw %1" : : "m"(slot[0]), "m"(slot[64]));
#else
    __builtin_prefetch(slot, 1);
    __builtin_prefetch(slot + 64, 1);
#endif
}

/* The slot of the next record, ready for its words from 1 on (feedd_put_word, in any order; word 5
 * with feedd_epoch_word); then feedd_staged. When batch_max records are staged they are committed
 * first. Nothing is visible before the commit, but the overwritten record is gone. */
static inline unsigned char *feedd_stage(feedd_writer *w)
{
    if (__builtin_expect(w->next - w->committed >= w->batch_max, 0)) {
        feedd_commit(w);
    }
    uint64_t seq = w->next;
    unsigned char *slot = feedd_slot(w->slots, w->mask, seq);
    feedd_prefetch_slot(feedd_slot(w->slots, w->mask, seq + FEEDD_PREFETCH_SLOTS));
    if (seq != w->committed) { /* the first slot of a batch was invalidated by W5 */
        FEEDD_YIELD(FEEDD_AT_INVALIDATE_LATER);
        feedd_store(slot, seq - 1);
    }
    feedd_fence_release(); /* W1: a reader that sees new data sees the invalidation, at R5 */
    return slot;
}

static inline void feedd_put_word(unsigned char *slot, int i, uint64_t word)
{
    FEEDD_YIELD(FEEDD_AT_DATA);
    feedd_store(slot + 8 * i, word);
}

static inline uint64_t feedd_epoch_word(const feedd_writer *w, uint64_t word)
{
    return (word & 0x0000ffffffffffffull) | ((uint64_t)w->epoch << 48);
}

static inline void feedd_staged(feedd_writer *w)
{
    w->next++;
}

/* Stage one record; ring_seq and epoch are filled in. */
static inline void feedd_put(feedd_writer *w, const feedd_record *record)
{
    uint64_t word[FEEDD_RECORD_WORDS];
    memcpy(word, record, sizeof word);
    word[5] = feedd_epoch_word(w, word[5]);
    unsigned char *slot = feedd_stage(w);
    /* the second line first: a reader that spins on the stamp then takes line 0 away once */
#pragma GCC unroll 16
    for (int i = 8; i < FEEDD_RECORD_WORDS; i++) {
        feedd_put_word(slot, i, word[i]);
    }
#pragma GCC unroll 16
    for (int i = 1; i < 7; i++) {
        feedd_put_word(slot, i, word[i]);
    }
    FEEDD_YIELD(FEEDD_AT_DATA);
#ifdef FEEDD_PLAIN_WORD
    ((feedd_word *)(void *)slot)[7] = word[7];
#else
    feedd_store(slot + 8 * 7, word[7]);
#endif
    feedd_staged(w);
}

static inline void feedd_writer_heartbeat(feedd_writer *w, int64_t mono_ns)
{
    feedd_store_release(&w->header->heartbeat_ns, (uint64_t)mono_ns);
}

/* ---- reader --------------------------------------------------------------------------------- */

static inline uint64_t feedd_head(const feedd_header *h)
{
    return feedd_load_acquire(&h->head);
}

/* Where a reader that wants the past may start: far enough from the slots overwritten next that a
 * whole batch under construction does not reach it. */
static inline uint64_t feedd_oldest(const feedd_header *h, uint64_t mask, uint64_t first_seq)
{
    uint64_t capacity = mask + 1, keep = capacity - capacity / 8 - 1, head = feedd_head(h);
    return head - first_seq > keep ? head - keep : first_seq;
}

/* Point a reader at a mapped ring. The caller has checked the header page and passes its geometry
 * (a private copy, so that nothing in shared memory can send the reader out of the map). */
static inline void feedd_reader_init(feedd_reader *r, const void *base, uint64_t capacity,
                                     uint64_t first_seq)
{
    memset(r, 0, sizeof *r);
    r->header = (const feedd_header *)base;
    r->slots = (const unsigned char *)base + FEEDD_HEADER_BYTES;
    r->mask = capacity - 1;
    r->first_seq = first_seq;
    r->next = feedd_head(r->header);
    r->wake_fd = -1;
}

static inline void feedd_join_newest(feedd_reader *r)
{
    r->next = feedd_head(r->header);
    r->skipping = 0;
}

/* Only whole events are handed out: unless it stands at the very first record, the reader discards
 * up to and including the next LAST, and counts that as lost. */
static inline void feedd_join_oldest(feedd_reader *r)
{
    r->next = feedd_oldest(r->header, r->mask, r->first_seq);
    r->skipping = r->next != r->first_seq;
}

/* A position that a reader reported earlier: it is the start of an event or the middle of one that
 * the same consumer began to read, so nothing is skipped. */
static inline void feedd_join_at(feedd_reader *r, uint64_t seq)
{
    r->next = seq < r->first_seq ? r->first_seq : seq;
    r->skipping = 0;
}

/* Overtaken: go on in the middle of the ring (the oldest slot is about to be overwritten). */
static inline void feedd_lapped(feedd_reader *r)
{
    uint64_t half = (r->mask + 1) / 2, head = feedd_head(r->header), to = r->next + 1;
    if (head - r->first_seq > half && (int64_t)(head - half - to) > 0) {
        to = head - half;
    }
    r->lost += to - r->next;
    r->next = to;
    r->skipping = 1;
}

/* 1: there is something to read at `next` (or it was overtaken), 0: not yet. */
static inline int feedd_available(const feedd_reader *r)
{
    uint64_t stamp = feedd_load_acquire(feedd_reader_slot(r, r->next));
    return (int64_t)(stamp - r->next) >= 0;
}

/* Copy record `next`: 1 copied, 0 not there yet, -1 overtaken (the copy is worthless). */
static inline int feedd_copy_slot(const feedd_reader *r, feedd_record *out)
{
    const unsigned char *slot = feedd_reader_slot(r, r->next);
    uint64_t stamp = feedd_load_acquire(slot); /* R1 */
    int64_t ahead = (int64_t)(stamp - r->next);
    if (__builtin_expect(ahead != 0, 0)) {
        return ahead < 0 ? 0 : -1;
    }
    uint64_t word[FEEDD_RECORD_WORDS];
    word[0] = stamp;
    for (int i = 1; i < FEEDD_RECORD_WORDS; i++) {
        word[i] = feedd_load(slot + 8 * i); /* R3 */
    }
    feedd_fence_acquire(); /* R4 */
#ifndef FEEDD_NO_SECOND_CHECK
    if (__builtin_expect(feedd_load(slot) != stamp, 0)) { /* R5 */
        return -1;
    }
#endif
    memcpy(out, word, sizeof word);
    return 1;
}

/* One record: 1 handed out; 0 nothing yet; -1 overtaken: `lost` has grown and the reader has moved
 * on, call again (it discards up to the next start of an event, which counts as lost as well). */
static inline int feedd_read(feedd_reader *r, feedd_record *out)
{
    for (;;) {
        int got = feedd_copy_slot(r, out);
        if (got < 0) {
            feedd_lapped(r);
        }
        if (got <= 0) {
            return got;
        }
        r->next++;
        if (__builtin_expect(!r->skipping, 1)) {
            return 1;
        }
        r->lost++;
        r->skipping = !(out->flags & FEEDD_LAST);
    }
}

/* How often one call goes on after it was overtaken: damaged memory must not catch the caller. */
#define FEEDD_OVERTAKEN_MAX 16

/* Up to `max` records that follow each other without a hole; 0: nothing yet. `lost` grows only
 * between batches: what it grew by in a call was missing before the first record of that call. */
static inline size_t feedd_read_batch(feedd_reader *r, feedd_record *out, size_t max)
{
    size_t n = 0;
    int overtaken = 0;
    while (n < max) {
        int got = feedd_copy_slot(r, out + n);
        if (__builtin_expect(got <= 0, 0)) {
            if (got == 0 || n > 0 || overtaken++ == FEEDD_OVERTAKEN_MAX) {
                break; /* overtaken after some records: the next call will find it again */
            }
            feedd_lapped(r);
            continue;
        }
        r->next++;
        if (__builtin_expect(r->skipping != 0, 0)) {
            r->lost++;
            r->skipping = !(out[n].flags & FEEDD_LAST);
            continue;
        }
        n++;
    }
    return n;
}

/* Up to `max` records more, after one that was read: stops where nothing is yet, and where it was
 * overtaken, which the next feedd_read or feedd_read_batch finds again. `lost` never grows here. */
static inline size_t feedd_read_on(feedd_reader *r, feedd_record *out, size_t max)
{
    size_t n = 0;
    while (n < max && !r->skipping && feedd_copy_slot(r, out + n) > 0) {
        r->next++;
        n++;
    }
    return n;
}

#endif
