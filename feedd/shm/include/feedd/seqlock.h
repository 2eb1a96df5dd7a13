/* seqlock.h - board rows and books: one writer, any number of readers, no waiting for the writer.
 *
 *   L1 lock = odd (relaxed)   L2 release fence   L3 words (relaxed)   L4 lock = even (release)
 *   Q1 lock (acquire), even   Q2 words (relaxed) Q3 acquire fence     Q4 lock again, equal
 *
 * L4 pairs with Q1 (the words of an accepted copy are at least as new as the lock), L2 with Q3 (a
 * newer word in the copy makes Q4 see the odd lock). docs/ring-protocol.md, `make model`.
 */
#ifndef FEEDD_SEQLOCK_H
#define FEEDD_SEQLOCK_H

#include <time.h>

#include "layout.h"
#include "order.h"

/* Open a row for writing; pass the result to feedd_seq_end. */
static inline uint64_t feedd_seq_begin(uint64_t *lock)
{
    uint64_t odd = feedd_load(lock) | 1; /* a row left odd by a dead writer stays odd until the end */
    FEEDD_YIELD(FEEDD_AT_LOCK);
    feedd_store(lock, odd); /* L1 */
    feedd_fence_release();  /* L2 */
    return odd;
}

static inline void feedd_seq_end(uint64_t *lock, uint64_t odd)
{
    FEEDD_YIELD(FEEDD_AT_UNLOCK);
    feedd_store_release(lock, odd + 1); /* L4 */
}

/* One attempt to open a row for reading: the lock, or 0 with *busy set when a writer is inside. */
static inline uint64_t feedd_seq_enter(const uint64_t *lock, int *busy)
{
    uint64_t seen = feedd_load_acquire(lock); /* Q1 */
    *busy = (int)(seen & 1);
    return seen;
}

/* 1 if nothing was written since feedd_seq_enter returned `seen`. */
static inline int feedd_seq_check(const uint64_t *lock, uint64_t seen)
{
    feedd_fence_acquire();           /* Q3 */
    return feedd_load(lock) == seen; /* Q4 */
}

/* Copy `bytes` (a multiple of 8) that start with their lock. 1: dst is one consistent state; 0: the
 * writer was inside at every one of the attempts, or died there: dst is worthless (ask feedd_seq_wait
 * whether to try again: a writer that lost its processor inside is there for milliseconds). */
static inline int feedd_seq_read(const void *src, void *dst, size_t bytes, unsigned retries)
{
    const uint64_t *lock = (const uint64_t *)src;
    for (unsigned i = 0; i <= retries; i++) {
        int busy;
        uint64_t seen = feedd_seq_enter(lock, &busy);
        if (!busy) {
            feedd_copy_out(dst, src, bytes); /* Q2 */
            if (feedd_seq_check(lock, seen)) {
                memcpy(dst, &seen, sizeof seen);
                return 1;
            }
        }
        feedd_pause();
    }
    return 0;
}

/* The deep tier of a book: up to `max` levels a side into bids and asks, the 64-byte head of the
 * tier into `head` (n_bid and n_ask cut to what was copied). `depth` is the reader's own copy of
 * the block's depth. Returns as feedd_seq_read. */
static inline int feedd_book_read_deep(const feedd_book *book, uint32_t depth, uint64_t head[8],
                                       feedd_level *bids, feedd_level *asks, uint32_t max,
                                       unsigned retries)
{
    const feedd_level *levels = (const feedd_level *)(const void *)(book + 1);
    uint32_t limit = max < depth ? max : depth;
    for (unsigned i = 0; i <= retries; i++) {
        int busy;
        uint64_t seen = feedd_seq_enter(&book->deep_lock, &busy);
        if (!busy) {
            feedd_copy_out(head, &book->deep_lock, 64);
            uint32_t n_bid = (uint32_t)head[2], n_ask = (uint32_t)(head[2] >> 32);
            n_bid = n_bid < limit ? n_bid : limit; /* not yet validated: never beyond the block */
            n_ask = n_ask < limit ? n_ask : limit;
            feedd_copy_out(bids, levels, n_bid * sizeof(feedd_level));
            feedd_copy_out(asks, levels + depth, n_ask * sizeof(feedd_level));
            if (feedd_seq_check(&book->deep_lock, seen)) {
                head[2] = feedd_pack32(n_bid, n_ask);
                return 1;
            }
        }
        feedd_pause();
    }
    return 0;
}

/* What a reader grants writers that are inside: one that lost its processor there comes back, one
 * that died there never does. */
typedef struct {
    int64_t left_ns;      /* still to be waited, in all */
    const uint64_t *lock; /* whose writer did not come back, */
    uint64_t seen;        /* and as what it left the lock: not waited for again */
} feedd_patience;

#define FEEDD_PATIENCE_NS 100000000 /* to start with: several times a scheduler's slice */
#define FEEDD_PATIENCE_STEP_NS 50000

/* After a read that returned 0, with the lock it was refused by: 1 after a short sleep (try again),
 * 0 when the patience is at an end. */
static inline int feedd_seq_wait(const uint64_t *lock, feedd_patience *patience)
{
    uint64_t seen = feedd_load(lock);
    if ((seen & 1) && patience->lock == lock && patience->seen == seen) {
        return 0;
    }
    if (patience->left_ns <= 0) {
        patience->lock = lock;
        patience->seen = seen;
        return 0;
    }
    struct timespec from, to, step = {0, FEEDD_PATIENCE_STEP_NS};
    (void)clock_gettime(CLOCK_MONOTONIC, &from);
    (void)nanosleep(&step, NULL);
    (void)clock_gettime(CLOCK_MONOTONIC, &to);
    patience->left_ns -= (int64_t)(to.tv_sec - from.tv_sec) * 1000000000 + (to.tv_nsec - from.tv_nsec);
    return 1;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* The word that holds instrument, state and decimals of a board row. */
static inline void feedd_board_identity(feedd_board_row *row, uint32_t instrument, uint8_t state,
                                        uint8_t price_decimals, uint8_t size_decimals)
{
    uint32_t high = (uint32_t)state | (uint32_t)price_decimals << 8 | (uint32_t)size_decimals << 16;
    feedd_store_u64((uint64_t *)(void *)&row->instrument, feedd_pack32(instrument, high));
}

/* The word that holds instrument, state and truncated of a book. */
static inline void feedd_book_identity(feedd_book *book, uint32_t instrument, uint8_t state,
                                       uint8_t truncated)
{
    uint32_t high = (uint32_t)state | (uint32_t)truncated << 8;
    feedd_store_u64((uint64_t *)(void *)&book->instrument, feedd_pack32(instrument, high));
}

/* Row := fresh (every float64 NaN, state INIT), keeping the instrument. The lock ends even. */
static inline void feedd_board_reset(feedd_board_row *row, uint32_t instrument)
{
    const uint64_t nan = 0x7ff8000000000000ull;
    uint64_t word[FEEDD_BOARD_ROW_BYTES / 8] = {0};
    static const struct { uint16_t first, count; } floats[] = {
        {offsetof(feedd_board_row, bid_price), 4},   {offsetof(feedd_board_row, trade_price), 2},
        {offsetof(feedd_board_row, mark), 7},        {offsetof(feedd_board_row, delta), 10},
        {offsetof(feedd_board_row, book_bid_price), 4}, {offsetof(feedd_board_row, liq_price), 2},
    };
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++) {
        for (size_t k = 0; k < floats[i].count; k++) {
            word[floats[i].first / 8 + k] = nan;
        }
    }
    word[offsetof(feedd_board_row, instrument) / 8] = instrument;
    word[offsetof(feedd_board_row, quote_sequence) / 8] = FEEDD_NO_SEQUENCE;
    word[offsetof(feedd_board_row, trade_sequence) / 8] = FEEDD_NO_SEQUENCE;
    word[offsetof(feedd_board_row, book_sequence) / 8] = FEEDD_NO_SEQUENCE;
    uint64_t odd = feedd_seq_begin(&row->lock);
    feedd_copy_in((unsigned char *)row + 8, word + 1, sizeof word - 8);
    feedd_seq_end(&row->lock, odd);
}

/* Book := empty, state INIT, keeping instrument and depth. Both locks end even. */
static inline void feedd_book_reset(feedd_book *book, uint32_t instrument, uint32_t depth)
{
    static const uint64_t zero[2 * FEEDD_TOP * sizeof(feedd_level) / 8] = {0};
    uint64_t word[16] = {0};
    word[offsetof(feedd_book, instrument) / 8] = instrument;
    word[offsetof(feedd_book, depth) / 8] = depth;
    word[offsetof(feedd_book, sequence) / 8] = FEEDD_NO_SEQUENCE;
    uint64_t odd = feedd_seq_begin(&book->lock);
    feedd_copy_in((unsigned char *)book + 8, word + 1, sizeof word - 8);
    feedd_copy_in(book->top_bid, zero, sizeof zero);
    feedd_seq_end(&book->lock, odd);
    odd = feedd_seq_begin(&book->deep_lock);
    feedd_store_u64(&book->deep_ring_pos, 0);
    feedd_store_u64((uint64_t *)(void *)&book->deep_n_bid, 0);
    feedd_store_u64(&book->deep_sequence, FEEDD_NO_SEQUENCE);
    feedd_store_i64(&book->deep_ts_event, 0);
    feedd_store_i64(&book->deep_ts_recv, 0);
    feedd_seq_end(&book->deep_lock, odd);
}

#endif
