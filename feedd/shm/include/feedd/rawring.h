/* rawring.h - messages as they came, from the reader to the recorder: one writer, one reader.
 *
 * A ring of bytes in a segment of its own. The first page of the body holds the shared words, the
 * rest the entries, each 8-byte aligned and in one piece; where one does not fit before the end of
 * the ring, an entry of kind FEEDD_RAW_PAD fills the rest and it begins at the start again.
 *
 * The writer never waits. What does not fit is dropped, counted, and told by the next entry that
 * does fit (`dropped`), so that a reader knows where something is missing.
 *
 *   writer: entry ... store-release head        reader: load-acquire head ... entry
 *   writer: load-acquire tail ... overwrite     reader: entry ... store-release tail
 *
 * The reader moves `tail` when what it read is safe elsewhere; a reader that died is followed by
 * another one that begins at `tail` again.
 */
#ifndef FEEDD_RAWRING_H
#define FEEDD_RAWRING_H

#include "feedd/order.h"

#define FEEDD_RAW_PAGE 4096 /* the shared words */

enum feedd_raw_kind {
    FEEDD_RAW_PAD = 0,
    FEEDD_RAW_IN = 1,     /* a message received: its bytes */
    FEEDD_RAW_OUT = 2,    /* a message sent: its bytes */
    FEEDD_RAW_REST = 3,   /* a REST body: a line of JSON about it, then the body */
    FEEDD_RAW_OP = 4      /* anything else that was done to the pipeline: JSON */
};

/* Byte offsets of the shared words in the page; a cache line each where two sides write. */
enum feedd_raw_word {
    FEEDD_RAW_HEAD = 0,      /* bytes ever written */
    FEEDD_RAW_SEQ = 8,       /* number of the last entry */
    FEEDD_RAW_DROPPED = 16,  /* entries that found no room */
    FEEDD_RAW_DROPPED_BYTES = 24,
    FEEDD_RAW_TAIL = 64      /* bytes that the reader is done with */
};

typedef struct {
    uint32_t total; /* bytes with this header, a multiple of 8 */
    uint8_t kind, venue;
    uint16_t line;
    int64_t t;        /* ns since the Unix epoch */
    uint64_t seq;     /* counts entries, dropped ones too */
    uint32_t size;    /* bytes of payload that follow */
    uint32_t dropped; /* entries dropped just before this one */
} feedd_raw_entry;

typedef struct {
    uint8_t *page, *data;
    uint64_t capacity; /* of data, a power of two */
    uint64_t head, tail, seq;
    uint32_t dropped; /* since the last entry that fitted */
} feedd_raw;

/* Map the words and entries of a body of FEEDD_RAW_PAGE + capacity bytes. */
static inline void feedd_raw_init(feedd_raw *r, void *body, uint64_t capacity)
{
    r->page = (uint8_t *)body;
    r->data = r->page + FEEDD_RAW_PAGE;
    r->capacity = capacity;
    r->head = feedd_load_acquire(r->page + FEEDD_RAW_HEAD);
    r->tail = feedd_load_acquire(r->page + FEEDD_RAW_TAIL);
    r->seq = feedd_load(r->page + FEEDD_RAW_SEQ);
    r->dropped = 0;
}

static inline int feedd_raw_fits(feedd_raw *r, uint64_t bytes)
{
    if (bytes > r->capacity / 2)
        return 0;
    if (r->head - r->tail + bytes <= r->capacity)
        return 1;
    r->tail = feedd_load_acquire(r->page + FEEDD_RAW_TAIL);
    return r->tail <= r->head && r->head - r->tail + bytes <= r->capacity;
}

/* One entry; 0 when it was dropped. `extra` bytes at `more` follow those at `p`. */
static inline int feedd_raw_put(feedd_raw *r, unsigned kind, unsigned venue, unsigned line,
                                int64_t t, const void *p, size_t n, const void *more, size_t extra)
{
    uint64_t need = (sizeof(feedd_raw_entry) + n + extra + 7) & ~(uint64_t)7;
    uint64_t at = r->head & (r->capacity - 1);
    uint64_t rest = r->capacity - at;
    feedd_raw_entry e;
    r->seq++;
    if (!feedd_raw_fits(r, need <= rest ? need : rest + need)) {
        r->dropped += r->dropped != UINT32_MAX;
        feedd_store(r->page + FEEDD_RAW_DROPPED, feedd_load(r->page + FEEDD_RAW_DROPPED) + 1);
        feedd_store(r->page + FEEDD_RAW_DROPPED_BYTES,
                    feedd_load(r->page + FEEDD_RAW_DROPPED_BYTES) + n + extra);
        return 0;
    }
    if (need > rest) {
        feedd_raw_entry pad = {0};
        pad.total = (uint32_t)rest;
        memcpy(r->data + at, &pad, 8); /* rest may be as short as that */
        r->head += rest;
        at = 0;
    }
    e.total = (uint32_t)need;
    e.kind = (uint8_t)kind;
    e.venue = (uint8_t)venue;
    e.line = (uint16_t)line;
    e.t = t;
    e.seq = r->seq;
    e.size = (uint32_t)(n + extra);
    e.dropped = r->dropped;
    memcpy(r->data + at, &e, sizeof e);
    memcpy(r->data + at + sizeof e, p, n);
    if (extra)
        memcpy(r->data + at + sizeof e + n, more, extra);
    r->head += need;
    r->dropped = 0;
    feedd_store(r->page + FEEDD_RAW_SEQ, r->seq);
    feedd_store_release(r->page + FEEDD_RAW_HEAD, r->head);
    return 1;
}

/* The next entry at `*at` (bytes ever read) and its payload; 0: none, -1: what lies there is no
 * entry. Pads are passed over. */
static inline int feedd_raw_next(feedd_raw *r, uint64_t *at, feedd_raw_entry *e,
                                 const uint8_t **payload)
{
    for (;;) {
        uint64_t place = *at & (r->capacity - 1);
        if (*at == r->head) {
            r->head = feedd_load_acquire(r->page + FEEDD_RAW_HEAD);
            if (*at == r->head)
                return 0;
        }
        memset(e, 0, sizeof *e);
        memcpy(e, r->data + place, 8);
        if (e->total < 8 || e->total % 8 || e->total > r->capacity - place
            || e->total > r->head - *at)
            return -1;
        if (e->kind == FEEDD_RAW_PAD) {
            *at += e->total;
            continue;
        }
        if (e->total < sizeof *e)
            return -1;
        memcpy(e, r->data + place, sizeof *e);
        if (e->size > e->total - sizeof *e)
            return -1;
        *payload = r->data + place + sizeof *e;
        *at += e->total;
        return 1;
    }
}

#endif
