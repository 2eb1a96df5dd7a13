/* The levels of a book event, five to a slot, and small records straight into the slots of a ring. */
#ifndef FEEDD_SLOTS_H
#define FEEDD_SLOTS_H

#include "book.h"
#include "feedd/ring.h"
#include "levels.h"

#define FB_SLOT_WORDS 6 /* before the levels; the first is the stamp */

_Static_assert(offsetof(fd_level, size) == offsetof(fd_level, price) + 8,
               "fb_put_pair takes price and size at once");

/* What all slots of the event have in common, and the four bytes in which they differ. */
typedef struct {
    uint64_t word[FB_SLOT_WORDS];
} fb_event;

static inline void fb_event_init(fb_event *e, const feedd_writer *w, uint64_t kind, int64_t ts_event,
                                 int64_t ts_recv, uint64_t sequence, uint16_t line) {
    e->word[1] = kind;
    e->word[2] = (uint64_t)ts_event;
    e->word[3] = (uint64_t)ts_recv;
    e->word[4] = sequence;
    e->word[5] = feedd_epoch_word(w, (uint64_t)line << 32);
}

static inline void fb_put_pair(unsigned char *slot, int i, const fd_level *l) {
    FEEDD_YIELD(FEEDD_AT_DATA);
    feedd_store_pair(slot + 8 * (FB_SLOT_WORDS + 2 * i), &l->price);
}

/* Words 1 to 5: kind, flags, number of levels and their sides; instrument; the rest as it is. */
static inline void fb_put_head(unsigned char *slot, const fb_event *e, uint8_t flags, uint32_t n,
                               uint8_t asks) {
    const uint64_t own = (uint64_t)flags << 8 | (uint64_t)n << 16 | (uint64_t)asks << 24;
    feedd_put_word(slot, 1, e->word[1] | own);
    feedd_store_pair(slot + 16, &e->word[2]);
    feedd_store_pair(slot + 32, &e->word[4]);
}

/* Stage one record of `n` words of payload, the rest of it zeros. `kind` is the record's kind, flags
 * and instrument, `line` its line number. n must be known to the compiler. */
static inline void fb_put_small(feedd_writer *w, uint64_t kind, int64_t ts_event, int64_t ts_recv,
                                uint64_t sequence, uint16_t line, const uint64_t *payload, int n) {
    unsigned char *slot = feedd_stage(w);
#pragma GCC unroll 10
    for (int i = FEEDD_RECORD_WORDS - 1; i > 7; i--) /* the second line first: see feedd_put */
        feedd_put_word(slot, i, i - 6 < n ? payload[i - 6] : 0);
    feedd_put_word(slot, 1, kind);
    feedd_put_word(slot, 2, (uint64_t)ts_event);
    feedd_put_word(slot, 3, (uint64_t)ts_recv);
    feedd_put_word(slot, 4, sequence);
    feedd_put_word(slot, 5, feedd_epoch_word(w, (uint64_t)line << 32));
    feedd_put_word(slot, 6, payload[0]);
    feedd_put_word(slot, 7, n > 1 ? payload[1] : 0);
    feedd_staged(w);
}

static inline void fb_put_quote(feedd_writer *w, uint64_t kind, int64_t ts_event, int64_t ts_recv,
                                uint64_t sequence, uint16_t line, const double *quote) {
    uint64_t word[4];
    memcpy(word, quote, sizeof word);
    fb_put_small(w, kind, ts_event, ts_recv, sequence, line, word, 4);
}

static inline void fb_put_trade(feedd_writer *w, uint64_t kind, int64_t ts_event, int64_t ts_recv,
                                uint64_t sequence, uint16_t line, const feedd_trade *trade) {
    uint64_t word[sizeof(feedd_trade) / 8];
    memcpy(word, trade, sizeof word);
    fb_put_small(w, kind, ts_event, ts_recv, sequence, line, word, sizeof(feedd_trade) / 8);
}

/* The first n bytes at p, which are at most 15 and followed by others, zeros behind them. */
static inline void fb_short_text(char *out, const uint8_t *p, uint32_t n) {
    uint64_t word[2];
    memcpy(word, p, sizeof word);
    if (n < 8) {
        word[0] &= (1ull << 8 * n) - 1;
        word[1] = 0;
    } else {
        word[1] &= (1ull << 8 * (n - 8)) - 1;
    }
    memcpy(out, word, sizeof word);
}

/* The levels [from, to) of the top of a side, best first, into its shared copy. */
static inline void fb_share_top(const fb_top *t, uint32_t from, uint32_t to, void *shared) {
    for (uint32_t i = from; i < to; i++) {
        FEEDD_YIELD(FEEDD_AT_ROW);
        feedd_store_pair((char *)shared + sizeof(fb_pair) * i, &t->pair[t->order[i]]);
    }
}

/* Stage the slots of an event: its bids, then its asks; the last slot gets the flags `last` more.
 * `kind` is the record's kind, the flags that all slots have, and the instrument. Returns how many
 * slots there are: at least one. */
static uint32_t fb_put_levels(feedd_writer *w, uint64_t kind, int64_t ts_event, int64_t ts_recv,
                              uint64_t sequence, uint16_t line, uint8_t last, const fd_level *bids,
                              uint32_t n_bid, const fd_level *asks, uint32_t n_ask) {
    const uint32_t five = FEEDD_BOOK_LEVELS_PER_SLOT, total = n_bid + n_ask;
    uint32_t done = 0, slots = 0;
    fb_event e;
    fb_event_init(&e, w, kind, ts_event, ts_recv, sequence, line);
    do {
        unsigned char *slot = feedd_stage(w);
        const uint32_t left = total - done, n = left < five ? left : five;
        const uint8_t flags = left <= five ? last : 0;
        if (n == five && (done + five <= n_bid || done >= n_bid)) {
            const int ask = done >= n_bid;
            const fd_level *l = ask ? asks + (done - n_bid) : bids + done;
            for (int i = 0; i < FEEDD_BOOK_LEVELS_PER_SLOT; i++) fb_put_pair(slot, i, l + i);
            fb_put_head(slot, &e, flags, five, ask ? 0x1f : 0);
        } else {
            uint8_t mask = 0;
            static const fd_level none;
            for (uint32_t i = 0; i < five; i++) {
                const uint32_t at = done + i;
                if (i >= n) {
                    fb_put_pair(slot, (int)i, &none);
                } else if (at < n_bid) {
                    fb_put_pair(slot, (int)i, bids + at);
                } else {
                    fb_put_pair(slot, (int)i, asks + (at - n_bid));
                    mask |= (uint8_t)(1u << i);
                }
            }
            fb_put_head(slot, &e, flags, n, mask);
        }
        feedd_staged(w);
        done += n;
        slots++;
    } while (done < total);
    return slots;
}

#endif
