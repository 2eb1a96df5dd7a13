/* Messages of one row whose meaning is known from their layout (places.h): only numbers are read, and
 * the levels of a book that stand behind them.
 *
 * A layout says where everything stands, so who makes records of the messages can say once which of
 * its numbers go where (fd_quick), instead of looking at each value of each message. What is left to
 * ask is whom a message is about: its topic and its symbol are compared, whole, with those of the
 * messages before (fd_routes). What is not known there is decoded as ever, and remembered then.
 */
#ifndef FEEDD_QUICK_H
#define FEEDD_QUICK_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define FD_QUICK_NUMBERS 8
#define FD_QUICK_DECIMALS 4 /* the first ones are float64, the others integers */
#define FD_QUICK_TOPIC 64
#define FD_QUICK_SYMBOL 32
#define FD_QUICK_TYPE 16
#define FD_QUICK_TAIL 8
#define FD_QUICK_TAILS 8   /* values behind the levels that can be numbers */
#define FD_QUICK_NOT 0xff
#define FD_QUICK_TEXT (FD_QUICK_TOPIC + FD_QUICK_SYMBOL)
#define FD_ROUTES 16384

enum { FD_QUICK_NEW, FD_QUICK_NONE, FD_QUICK_USED };

typedef struct {
    uint8_t use;                           /* FD_QUICK_* */
    uint8_t no_zeros;                      /* a decimal that is zero means something else */
    uint8_t n_numbers;
    uint8_t type_len;                      /* of a text that must be there; 0 none */
    uint16_t type_at;
    int32_t channel, envelope;
    /* for who makes records of it: an index of 255 is none */
    uint8_t time, sequence, id;            /* which number; of a book id is the first sequence */
    uint8_t previous;
    uint8_t id_at, side_at;                /* which value of the row; a text */
    int8_t side;
    uint8_t flags, replay;
    int64_t time_scale;                    /* to nanoseconds */
    uint64_t time_max;
    /* where its texts are */
    uint16_t topic_at, symbol_at;
    uint16_t number_at[FD_QUICK_NUMBERS];
    double scale[FD_QUICK_DECIMALS] __attribute__((aligned(32))); /* what divides the decimals */
    uint8_t shuffle[FD_QUICK_NUMBERS][16] __attribute__((aligned(64)));
    uint8_t mask[FD_QUICK_TEXT] __attribute__((aligned(64))); /* of the bytes that are the texts */
    uint8_t type[FD_QUICK_TYPE];
    /* Of the values behind a head, one that must be as it was: which, its length (0: none), its text.
     * And which numbers the others are; FD_QUICK_NOT: none that is wanted. */
    uint8_t tail_at, tail_len, tail[FD_QUICK_TAIL];
    uint8_t tail_to[FD_QUICK_TAILS];
    uint8_t known;      /* bit k: value k is one of these, in messages of `form` */
    uint16_t form;
} fd_quick;

/* Topic and symbol of messages of one channel, zeros behind them, and whom they are about. */
typedef struct {
    uint8_t text[FD_QUICK_TEXT] __attribute__((aligned(32)));
    void *who;
    int32_t channel, envelope;
    uint64_t topic;    /* fd_msg.topic_hash */
    uint8_t spare[8];  /* two cache lines */
} fd_route;

typedef struct {
    fd_route *route; /* FD_ROUTES of them; those never used take no memory */
} fd_routes;

static inline int fd_routes_init(fd_routes *r) {
    void *room = mmap(NULL, FD_ROUTES * sizeof(fd_route), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    r->route = room == MAP_FAILED ? NULL : (fd_route *)room;
    return r->route != NULL;
}

static inline void fd_routes_free(fd_routes *r) {
    if (r->route != NULL) munmap(r->route, FD_ROUTES * sizeof(fd_route));
    r->route = NULL;
}

/* Where a route is, from the sums of its text: words 0 to 3, twice 4 to 7, four times 8 to 11, and
 * of these four the first two with eight times the last two. */
static inline uint32_t fd_route_slot(uint64_t a, uint64_t b) {
    const uint64_t h = (a * 0x9e3779b97f4a7c15ull) ^ (b * 0xff51afd7ed558ccdull);
    return (uint32_t)((h ^ h >> 29) * 0x9e3779b97f4a7c15ull >> 50);
}

_Static_assert(FD_ROUTES == 1 << 14, "a slot has 14 bits");
_Static_assert(sizeof(fd_route) == 128, "a route is two cache lines");

#endif
