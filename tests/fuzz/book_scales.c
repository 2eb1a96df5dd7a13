/* A book whose prices change their scale: more decimals, a thousand times as much, negative, zero.
 *
 * usage: book_scales SEED BOOKS. Built with sanitizers by test_book_replay.py; ends with a message and
 * status 1 at the first contradiction to a sorted list of what was said.
 */
#include "apply.h"
#include "deep.h"
#include "replay.h"
#include "top.h"

#define LEVELS 80
#define MOST 20000
#define DECIMALS 6 /* prices in the list are in millionths, those of bids negated */

typedef struct { int64_t price; double size; } said;

static said truth[2][MOST + LEVELS];
static uint32_t have[2];
static fb_pair shared[2][FB_TOP]; /* the copy of the top that consumers see */
static int64_t below(int64_t n) { return (int64_t)(any() % (uint64_t)n); }

static void say(int side, int64_t price, double size) {
    said *t = truth[side];
    uint32_t lo = 0, hi = have[side];
    while (lo < hi) {
        const uint32_t middle = (lo + hi) / 2;
        if (t[middle].price < price) lo = middle + 1;
        else hi = middle;
    }
    const int is_there = lo < have[side] && t[lo].price == price;
    if (size != 0 && !is_there) memmove(t + lo + 1, t + lo, sizeof *t * (have[side]++ - lo));
    if (size != 0) t[lo] = (said){price, size};
    else if (is_there) memmove(t + lo, t + lo + 1, sizeof *t * (--have[side] - lo));
}

static void check_pair(fb_pair p, int side, uint32_t i, const char *what, long n) {
    const said *t = &truth[side][i];
    char text[40];
    snprintf(text, sizeof text, "%llde-6", (long long)(side == FB_BID ? -t->price : t->price));
    if (p.size != t->size || p.price != strtod(text, NULL)) die(what, n);
}

static void check(fb_book *b, int side, long n) {
    static fb_pair deep[MOST + LEVELS] __attribute__((aligned(16)));
    const fb_side *s = &b->side[side];
    const int64_t factor = (int64_t)fd_ipow10[DECIMALS - b->decimals];
    fb_iter it = {0, 0, 0};
    int64_t key;
    double size;
    uint32_t i = 0, from, to;
    for (; fb_iterate(s, &it, &key, &size); i++)
        if (i >= have[side] || key * factor != truth[side][i].price || size != truth[side][i].size)
            die("a level is another one", n);
    if (i != have[side] || i != s->levels) die("levels are missing", n);
    if (s->best * (i ? factor : 1) != (i ? truth[side][0].price : FB_NO_KEY))
        die("another level is the best", n);
    fb_top_update(b, side, &from, &to);
    for (i = from; i < to; i++) shared[side][i] = b->top[side].pair[b->top[side].order[i]];
    if (b->top[side].n != (have[side] < FB_TOP ? have[side] : FB_TOP)) die("the top is cut", n);
    for (i = 0; i < b->top[side].n; i++) check_pair(shared[side][i], side, i, "another top", n);
    if (any() % 4) return;
    if (fb_share_deep(b, side, deep, MOST) != have[side]) die("the deep tier is cut", n);
    for (i = 0; i < have[side]; i++) check_pair(deep[i], side, i, "another deep tier", n);
}

/* A level at this price of so many decimals, written in one way or another, and told to the list. */
static void level(fd_level *l, int side, int64_t price, int decimals, double size) {
    memset(l, 0, sizeof *l);
    l->price_dec.neg = price < 0 || (price == 0 && any() % 3 == 0);
    l->price_dec.m = (uint64_t)(price < 0 ? -price : price);
    l->price_dec.e = -decimals;
    l->size = size;
    for (int more = any() % 4 ? 0 : (int)below(4); more && l->price_dec.m < 1ull << 55; more--) {
        l->price_dec.m *= 10;
        l->price_dec.e--;
    }
    if (any() % 4 == 0) fd_strip(&l->price_dec);
    if (price == 0 && any() % 2) l->price_dec.e = (int32_t)below(60) - 30;
    memset((uint8_t *)&l->price_dec + 14, (int)any(), 2); /* padding */
    const int64_t millionths = price * (int64_t)fd_ipow10[DECIMALS - decimals];
    say(side, side == FB_BID ? -millionths : millionths, size);
}

/* Changes of one side; half of them of what is there, now and then of all of it. */
static uint32_t change(fd_level *to, int side, int64_t touch, int64_t spread, int decimals,
                       uint32_t busy, int negative) {
    uint32_t n = 0;
    while (any() % 100 == 0 && n < LEVELS && have[side]) {
        for (; n < LEVELS && have[side]; n++) {
            const int64_t price = truth[side][0].price;
            level(&to[n], side, side == FB_BID ? -price : price, DECIMALS, 0);
        }
    }
    for (uint32_t end = (uint32_t)below(busy + 1); n < end; n++) {
        const double size = any() % 3 ? (double)(1 + any() % 99) : any() % 5 ? 0.0 : -0.0;
        if (have[side] && any() % 3 == 0) {
            const uint32_t near = any() % 2 && have[side] > 40 ? 40 : have[side];
            const int64_t price = truth[side][below(near)].price;
            level(&to[n], side, side == FB_BID ? -price : price, DECIMALS, size);
            continue;
        }
        int64_t price = touch + (side == FB_BID ? -below(spread) : 1 + below(spread));
        if (any() % 50 == 0) price = 1 + below(1000000);
        if (!negative && price < 1) price = 1 + below(50);
        level(&to[n], side, price, decimals, size);
    }
    return n;
}

int main(int argc, char **argv) {
    static fb_book b;
    fd_level levels[LEVELS];
    uint8_t inexact;
    long n = 0;
    if (argc != 3 || !fd_decimal_init()) return 64;
    random_begin(argv[1]);
    for (long book = 0; book < atol(argv[2]); book++) {
        const int negative = any() % 4 == 0;
        const uint32_t busy = 1 + (uint32_t)below(LEVELS);
        int64_t touch = 1 + below(any() % 2 ? 1000 : 1000000), spread = 1ll << below(16);
        int decimals = (int)below(3);
        memset(&b, 0, sizeof b);
        have[0] = have[1] = 0;
        if (!fb_book_init(&b, MOST)) return 64;
        for (int i = 0; i < 300; i++, n++) {
            if (any() % 60 == 0 && decimals < DECIMALS) decimals++, touch *= 10;
            if (any() % 90 == 0) touch = any() % 2 ? touch * 1000 : touch / 1000;
            if (any() % 90 == 0) touch = negative ? below(400) - 200 : 1 + below(300);
            if (any() % 40 == 0) spread = 1ll << below(18);
            if (touch > 100000000000ll || touch < -100000000000ll) touch = 1000;
            touch += below(spread / 4 + 3) - spread / 8 - 1;
            for (int side = 0; side < 2; side++) {
                const uint32_t many = change(levels, side, touch, spread, decimals, busy, negative);
                if (fb_apply(&b, side, levels, many, &inexact) != FB_OK) die("refused", n);
                check(&b, side, n);
                if (any() % 50 == 0 && !fb_fit(&b.side[side])) die("out of memory", n);
            }
        }
        /* beyond what a key holds, where its sign may turn */
        levels[0].price_dec = (fd_dec){1ull << (61 + any() % 3), -b.decimals, any() % 2, 0};
        levels[0].size = 1;
        if (fb_apply(&b, (int)(any() % 2), levels, 1, &inexact) != FB_PRICE) die("taken", n);
        fb_book_free(&b);
    }
    printf("%ld messages\n", n);
    return 0;
}
