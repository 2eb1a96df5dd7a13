/* One side of an order book: a dense window of ticks near the touch, a sparse rest.
 *
 * Prices are integer keys (price * 10^decimals; bids negated, so the best level always has the
 * smallest key). Levels inside the window cost one store and one bit; the others live in a
 * two-level tree of small sorted chunks. The window follows the touch, and grows with activity,
 * so that thousands of quiet option books stay small. No level is ever dropped here.
 *
 * One owner, no locks; nothing of this is shared memory.
 */
#ifndef FEEDD_SIDE_H
#define FEEDD_SIDE_H

#include "tree.h"

#define FB_WINDOW_MIN_BITS 8
#define FB_WINDOW_MAX_BITS 17
#define FB_FIT_LEVELS 64
#define FB_FIT_TICKS 32
#define FB_NO_KEY INT64_MAX

typedef struct {
    double *size;        /* window of 1 << bits ticks; 0 = no level, never -0 */
    uint64_t *bitmap;    /* bit i: a level is there */
    /* A byte for each word of the bitmap: may it have a bit? Written whenever a level is set, so that
     * setting one waits for nothing; taken back when nothing is found. */
    uint8_t *marks;
    int64_t base;        /* key of window[0] */
    int64_t best;        /* smallest key with a level, FB_NO_KEY when the side is empty */
    uint64_t width;      /* 1 << bits */
    uint32_t bits;
    uint32_t in_window;
    uint32_t levels;     /* window and tree */
    uint32_t ops, tree_ops, moves; /* the first two since the window was last judged */
    uint32_t filling;    /* by a snapshot, which is no activity; until fb_fit */
    uint32_t far[FB_WINDOW_MAX_BITS + 1]; /* of tree_ops: which window would have held the level */
    fb_tree tree;
} fb_side;

/* ---- window --------------------------------------------------------------------------------- */

static inline uint32_t fb_words(uint32_t bits) { return bits > 6 ? 1u << (bits - 6) : 1u; }

/* Marks are looked at eight at a time. */
static inline uint32_t fb_marks(uint32_t bits) {
    return fb_words(bits) > 8 ? fb_words(bits) : 8;
}

static inline int fb_covers(const fb_side *s, int64_t key) {
    return (uint64_t)(key - s->base) < s->width;
}

/* First occupied index >= from, or -1. */
static inline int64_t fb_next(const fb_side *s, uint32_t from) {
    if (from >= s->width) return -1;
    const uint32_t words = fb_words(s->bits);
    uint32_t w = from >> 6;
    uint64_t word = s->bitmap[w] & (~0ull << (from & 63));
    if (word) return (int64_t)(w << 6) + __builtin_ctzll(word);
    for (w++; w < words; w = (w | 7) + 1) {
        uint64_t eight;
        memcpy(&eight, s->marks + (w & ~7u), sizeof eight);
        for (eight &= ~0ull << 8 * (w & 7); eight; eight &= eight - 1) {
            const uint32_t at = (w & ~7u) + ((uint32_t)__builtin_ctzll(eight) >> 3);
            if (s->bitmap[at]) return (int64_t)(at << 6) + __builtin_ctzll(s->bitmap[at]);
            s->marks[at] = 0;
        }
    }
    return -1;
}

static int fb_alloc_window(fb_side *s, uint32_t bits) {
    double *size = (double *)calloc((size_t)1 << bits, sizeof *size);
    uint64_t *bitmap = (uint64_t *)calloc(fb_words(bits) * 8 + fb_marks(bits), 1);
    if (size == NULL || bitmap == NULL) {
        free(size);
        free(bitmap);
        return 0;
    }
    free(s->size);
    free(s->bitmap);
    s->size = size;
    s->bitmap = bitmap;
    s->marks = (uint8_t *)(bitmap + fb_words(bits));
    s->bits = bits;
    s->width = 1ull << bits;
    return 1;
}

static inline int fb_side_init(fb_side *s) {
    memset(s, 0, sizeof *s);
    s->best = FB_NO_KEY;
    return fb_alloc_window(s, FB_WINDOW_MIN_BITS);
}

static void fb_side_free(fb_side *s) {
    fb_tree_free(&s->tree);
    free(s->size);
    free(s->bitmap);
    memset(s, 0, sizeof *s);
}

static void fb_side_clear(fb_side *s) {
    if (s->in_window) {
        memset(s->size, 0, sizeof(double) << s->bits);
        memset(s->bitmap, 0, fb_words(s->bits) * 8 + fb_marks(s->bits));
    }
    fb_tree_clear(&s->tree);
    s->filling = 1;
    s->in_window = s->levels = 0;
    s->best = FB_NO_KEY;
}

/* Without a branch on whether the level comes or goes: that is as good as random. */
static inline int fb_window_set(fb_side *s, uint64_t i, double size) {
    const uint64_t set = size != 0, had = s->bitmap[i >> 6] >> (i & 63) & 1;
    s->size[i] = size + 0.0; /* never -0 */
    s->bitmap[i >> 6] ^= (set ^ had) << (i & 63);
    s->marks[i >> 6] = 1;
    return (int)set - (int)had;
}

/* Smallest key with a level; none is before `from`. */
static inline int64_t fb_find_best(const fb_side *s, int64_t from) {
    int64_t best = FB_NO_KEY;
    if (s->in_window) best = s->base + fb_next(s, from > s->base ? (uint32_t)(from - s->base) : 0);
    if (s->tree.n && s->tree.chunk[0]->key[0] < best) best = s->tree.chunk[0]->key[0];
    return best;
}

/* Put the window where the best level has a quarter of it in front, with 1 << bits ticks. The
 * levels that leave it go to the tree, those of the tree that it now covers come in. */
static int fb_move(fb_side *s, uint32_t bits) {
    const int64_t lead = (int64_t)1 << (bits - 2);
    const int64_t base = s->best - lead;
    fb_side old = *s;
    s->size = NULL;
    s->bitmap = NULL;
    if (!fb_alloc_window(s, bits)) {
        *s = old;
        return 0;
    }
    s->base = base;
    int ok = 1;
    uint32_t kept = 0;
    for (int64_t i = s->in_window ? fb_next(&old, 0) : -1; i >= 0; i = fb_next(&old, (uint32_t)i + 1)) {
        const int64_t key = old.base + i;
        if (fb_covers(s, key)) {
            fb_window_set(s, (uint64_t)(key - base), old.size[i]);
            kept++;
        } else if (fb_tree_set(&s->tree, key, old.size[i]) == 2) {
            ok = 0;
        }
    }
    const int64_t end = base + ((int64_t)1 << bits);
    for (int32_t c = fb_tree_chunk(&s->tree, base); c < s->tree.n;) {
        fb_chunk *chunk = s->tree.chunk[c];
        int32_t from = fb_chunk_at(chunk, base), to = fb_chunk_at(chunk, end);
        for (int32_t i = from; i < to; i++) {
            fb_window_set(s, (uint64_t)(chunk->key[i] - base), chunk->size[i]);
            kept++;
        }
        const int32_t rest = chunk->n - to;
        memmove(chunk->key + from, chunk->key + to, (size_t)rest * sizeof *chunk->key);
        memmove(chunk->size + from, chunk->size + to, (size_t)rest * sizeof *chunk->size);
        chunk->n = from + rest;
        if (chunk->n == 0) {
            fb_tree_drop_chunk(&s->tree, c);
            continue;
        }
        fb_tree_note(&s->tree, c);
        if (rest) break;
        c++;
    }
    s->in_window = kept;
    s->moves++;
    free(old.size);
    free(old.bitmap);
    return ok;
}

/* A change was behind the window: which one would have held it? */
static inline void fb_note_behind(fb_side *s, int64_t key) {
    const uint64_t ticks = (uint64_t)key - (uint64_t)s->best;
    s->tree_ops++;
    if (ticks >= 3ull << (FB_WINDOW_MAX_BITS - 2)) return;
    uint32_t bits = s->bits;
    while (ticks >= 3ull << (bits - 2)) bits++;
    s->far[bits]++;
}

/* The smallest window outside of which no more than one change in 64 would have been; as large as it is
 * when none helps. */
static uint32_t fb_wanted(const fb_side *s) {
    uint32_t bits = s->bits, left = s->tree_ops - s->far[bits], last = bits;
    for (; left > s->ops >> 6 && bits < FB_WINDOW_MAX_BITS; left -= s->far[bits])
        if (s->far[++bits]) last = bits;
    return last;
}

static inline void fb_judged(fb_side *s) {
    s->ops = s->tree_ops = 0;
    memset(s->far, 0, sizeof s->far);
}

/* After some updates: is the window where the trading is, and large enough? */
static int fb_maintain(fb_side *s) {
    if (s->best == FB_NO_KEY) return 1;
    const int64_t width = (int64_t)1 << s->bits, at = s->best - s->base;
    int off = at < width >> 4 || at > width - (width >> 2);
    uint32_t bits = s->bits;
    if (s->ops >= 1024) {
        if (!s->filling && s->tree_ops > s->ops >> 5) {
            bits = fb_wanted(s);
            off |= s->far[s->bits] > s->ops >> 6;
        }
        fb_judged(s);
    }
    return off || bits != s->bits ? fb_move(s, bits) : 1;
}

/* A level behind the window. Returns 0 when memory is out. */
static __attribute__((noinline)) int fb_set_behind(fb_side *s, int64_t key, double size) {
    const int change = fb_tree_set(&s->tree, key, size);
    if (change == 2) return 0;
    fb_note_behind(s, key);
    s->levels += (uint32_t)change;
    return 1;
}

/* Set one level; size 0 deletes. Returns 0 when memory is out. */
static inline int fb_set(fb_side *s, int64_t key, double size) {
    const uint64_t at = (uint64_t)(key - s->base);
    s->ops++;
    if (__builtin_expect(at < s->width, 1)) {
        const uint32_t change = (uint32_t)fb_window_set(s, at, size);
        s->in_window += change;
        s->levels += change;
    } else if (!fb_set_behind(s, key, size)) {
        return 0;
    }
    if (__builtin_expect(key <= s->best, 0)) {
        if (size != 0) s->best = key;
        else if (key == s->best) s->best = fb_find_best(s, key);
    }
    return 1;
}

/* Walk from the best level on. Start with {0}; returns 0 at the end. */
typedef struct {
    int32_t chunk, at;   /* position in the tree */
    int64_t window;      /* next index to look at in the window */
} fb_iter;

static inline int fb_iterate(const fb_side *s, fb_iter *it, int64_t *key, double *size) {
    int64_t tree_key = FB_NO_KEY, window_key = FB_NO_KEY, i = -1;
    const fb_chunk *c = NULL;
    if (it->chunk < s->tree.n) {
        c = s->tree.chunk[it->chunk];
        tree_key = c->key[it->at];
    }
    if (s->in_window && it->window >= 0) {
        i = fb_next(s, (uint32_t)it->window);
        if (i >= 0) window_key = s->base + i;
    }
    if (window_key < tree_key) {
        *key = window_key;
        *size = s->size[i];
        it->window = i + 1;
        return 1;
    }
    if (i < 0) it->window = -1;
    if (c == NULL) return 0;
    *key = tree_key;
    *size = c->size[it->at];
    if (++it->at == c->n) {
        it->chunk++;
        it->at = 0;
    }
    return 1;
}

/* After a snapshot: a window that holds the best levels, where most updates will come, but no more
 * than FB_FIT_TICKS ticks for each of them. Activity makes it larger (fb_maintain): a thousand
 * quiet books with far apart levels must not cost a megabyte a side. */
static int fb_fit(fb_side *s) {
    fb_iter it = {0, 0, 0};
    int64_t key = s->best;
    double size;
    uint32_t bits = s->bits;
    int64_t n = 0;
    s->filling = 0;
    fb_judged(s);
    while (n < FB_FIT_LEVELS && fb_iterate(s, &it, &key, &size)) n++;
    if (s->best == FB_NO_KEY) return 1;
    while (bits < FB_WINDOW_MAX_BITS && (3ll << bits) / 4 <= key - s->best &&
           (1ll << bits) < n * FB_FIT_TICKS)
        bits++;
    return bits == s->bits ? 1 : fb_move(s, bits);
}

#endif
