/* The book of a side under random changes: what it keeps beside the sizes must agree with them.
 *
 * usage: book_replay SEED MESSAGES. Built with sanitizers by test_book_replay.py; ends with a
 * message and status 1 at the first contradiction.
 */
#include "apply.h"
#include "deep.h"
#include "replay.h"
#include "top.h"

#define LEVELS 60
#define TICKS (1 << 20)

/* What each side must hold, by its tick: nothing else is kept of what was said. */
static double truth[2][TICKS];
static uint32_t held[2];

static void say(int side, int64_t tick, double size) {
    held[side] += (uint32_t)(size != 0) - (uint32_t)(truth[side][tick] != 0);
    truth[side][tick] = size == 0 ? 0 : size;
}

static void check_side(const fb_side *s, long n) {
    uint32_t window = 0, tree = 0, found = 0;
    fb_iter it = {0, 0, 0};
    int64_t key, last = INT64_MIN;
    double size;
    for (uint64_t i = 0; i < s->width; i++) {
        const int bit = (int)(s->bitmap[i >> 6] >> (i & 63) & 1);
        if (bit != (s->size[i] != 0)) die("a bit is not as its size", n);
        if (bit && !s->marks[i >> 6]) die("a word is not marked", n);
        if (s->size[i] == 0 && signbit(s->size[i])) die("no level has a sign", n);
        window += (uint32_t)bit;
    }
    for (int32_t i = 0; i < s->tree.n; i++) {
        const fb_chunk *c = s->tree.chunk[i];
        if (c->n < 1 || s->tree.last[i] != c->key[c->n - 1]) die("a last key is another one", n);
        tree += (uint32_t)c->n;
    }
    if (window != s->in_window || window + tree != s->levels) die("levels are miscounted", n);
    for (; fb_iterate(s, &it, &key, &size); found++) {
        if (key <= last || size == 0) die("levels are out of order", n);
        if (found == 0 && key != s->best) die("another level is the best", n);
        last = key;
    }
    if (found != s->levels || (found == 0 && s->best != FB_NO_KEY)) die("levels are missing", n);
}

static void check_top(fb_book *b, int side, long n) {
    const fb_top *t = &b->top[side];
    fb_iter it = {0, 0, 0};
    uint32_t from, to, i = 0;
    int64_t key;
    double size;
    fb_top_update(b, side, &from, &to);
    for (; i < FB_TOP && fb_iterate(&b->side[side], &it, &key, &size); i++) {
        const uint32_t slot = t->order[i];
        if (i >= t->n || t->key[slot] != key || t->pair[slot].size != size ||
            t->pair[slot].price != fb_price(b, key, side))
            die("the top is not the best levels", n);
    }
    if (i != t->n) die("the top is longer than the book", n);
}

static void check_deep(const fb_book *b, int side, long n) {
    static fb_pair shown[1 << 14] __attribute__((aligned(16)));
    const uint32_t depth = any() % 4 ? 1 + (uint32_t)(any() % 200) : 1 << 14;
    const uint32_t many = fb_share_deep(b, side, shown, depth);
    fb_iter it = {0, 0, 0};
    uint32_t i = 0;
    int64_t key;
    double size;
    for (; i < depth && fb_iterate(&b->side[side], &it, &key, &size); i++)
        if (i >= many || shown[i].size != size || shown[i].price != fb_price(b, key, side))
            die("the deep tier is not the best levels", n);
    if (i != many) die("the deep tier is longer than the book", n);
}

static void check_truth(const fb_book *b, int side, long n) {
    fb_iter it = {0, 0, 0};
    uint32_t found = 0;
    int64_t key;
    double size;
    for (; fb_iterate(&b->side[side], &it, &key, &size); found++) {
        const int64_t tick = (side == FB_BID ? -key : key) / (b->decimals == 2 ? 10 : 1);
        if (tick < 0 || tick >= TICKS || truth[side][tick] != size) die("a size is another one", n);
    }
    if (found != held[side]) die("levels are not those that were set", n);
}

/* A level at this tick of 0.1, written with one decimal, with two, or with none where that does. */
static fd_level level(int64_t tick) {
    fd_level l;
    const int longer = (int)(any() % 2);
    memset(&l, 0, sizeof l);
    l.price_dec.m = (uint64_t)tick * (longer ? 10 : 1);
    l.price_dec.e = longer ? -2 : -1;
    if (tick % 10 == 0 && any() % 2) {
        l.price_dec.m = (uint64_t)tick / 10;
        l.price_dec.e = 0;
    }
    memset((uint8_t *)&l.price_dec + 14, (int)any(), 2); /* padding */
    l.price = (double)tick / 10;
    l.size = any() % 3 ? (double)(1 + any() % 9) : any() % 20 ? 0.0 : -0.0;
    return l;
}

int main(int argc, char **argv) {
    fb_book b;
    fd_level levels[LEVELS];
    int64_t touch = 100000;
    uint8_t inexact;
    if (argc != 3 || !fd_decimal_init()) return 64;
    random_begin(argv[1]);
    memset(&b, 0, sizeof b);
    if (!fb_book_init(&b, 1u << 20)) return 64;
    for (long n = 0; n < atol(argv[2]); n++) {
        if (any() % 500 == 0) touch = 1000 + (int64_t)(any() % 400000); /* the market jumps */
        if (any() % 3000 == 0) {
            fb_book_clear(&b);
            memset(truth, 0, sizeof truth);
            memset(held, 0, sizeof held);
        }
        const int64_t spread = 1ll << any() % 16;
        const int one_form = any() % 2; /* no price that could be written without decimals */
        for (int side = 0; side < 2; side++) {
            const uint32_t many = (uint32_t)(any() % (any() % 3 ? LEVELS : 4));
            for (uint32_t i = 0; i < many; i++) {
                const int64_t off = (int64_t)(any() % (uint64_t)(2 * spread));
                int64_t tick = touch + off - (side ? 0 : 2 * spread);
                if (any() % 40 == 0) tick = (int64_t)(any() % 1000000); /* far away */
                tick = tick < 1 ? 1 : tick;
                if (one_form) tick = (tick | 1) % 10 == 0 ? tick + 1 : tick | 1;
                levels[i] = level(tick);
                say(side, tick, levels[i].size);
            }
            if (fb_apply(&b, side, levels, many, &inexact) != FB_OK) die("refused", n);
            check_top(&b, side, n);
            if (n % 17 == 0) check_side(&b.side[side], n);
            if (n % 97 == 0) check_truth(&b, side, n);
            if (n % 5 == 0) check_deep(&b, side, n);
        }
    }
    printf("%u and %u levels, windows of 2^%u and 2^%u, moved %u times\n", b.side[0].levels,
           b.side[1].levels, b.side[0].bits, b.side[1].bits, b.side[0].moves + b.side[1].moves);
    fb_book_free(&b);
    return 0;
}
