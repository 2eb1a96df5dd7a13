/* Levels of one side by their key, sorted, in chunks of memory: what lies outside the window (side.h).
 *
 * Two levels of search: the last keys of all chunks, which stand side by side, then the keys of one. A
 * book that was not touched lately is in no near cache, so each step of a search that has to wait for
 * memory counts: the keys of the chunk are fetched all at once.
 */
#ifndef FEEDD_TREE_H
#define FEEDD_TREE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FB_CHUNK 64

typedef struct {
    int64_t key[FB_CHUNK];
    double size[FB_CHUNK];
    int32_t n;
} fb_chunk;

typedef struct {
    fb_chunk **chunk;
    int64_t *last; /* of each chunk the last key */
    int32_t n, cap;
} fb_tree;

/* First of n ascending keys that is >= key; n when there is none. Without a branch on what is found:
 * that is as good as random. */
static inline int32_t fb_first_not_below(const int64_t *keys, int32_t n, int64_t key) {
    const int64_t *at = keys;
    while (n > 1) {
        const int32_t half = n >> 1;
        at += (-(int32_t)(at[half - 1] < key)) & half;
        n -= half;
    }
    return (int32_t)(at - keys) + (n == 1 && at[0] < key);
}

/* First chunk whose last key is >= key; n when there is none. */
static inline int32_t fb_tree_chunk(const fb_tree *t, int64_t key) {
    return fb_first_not_below(t->last, t->n, key);
}

static inline int32_t fb_chunk_at(const fb_chunk *c, int64_t key) {
    return fb_first_not_below(c->key, c->n, key);
}

/* After the keys of chunk i have changed; it is not empty. */
static inline void fb_tree_note(fb_tree *t, int32_t i) {
    t->last[i] = t->chunk[i]->key[t->chunk[i]->n - 1];
}

static int fb_tree_grow(fb_tree *t) {
    const int32_t cap = t->cap ? t->cap * 2 : 4;
    fb_chunk **chunk = (fb_chunk **)realloc(t->chunk, (size_t)cap * sizeof *chunk);
    if (chunk == NULL) return 0;
    t->chunk = chunk;
    int64_t *last = (int64_t *)realloc(t->last, (size_t)cap * sizeof *last);
    if (last == NULL) return 0;
    t->last = last;
    t->cap = cap;
    return 1;
}

/* An empty chunk; who fills it notes its last key. */
static int fb_tree_new_chunk(fb_tree *t, int32_t at) {
    if (t->n == t->cap && !fb_tree_grow(t)) return 0;
    fb_chunk *c = (fb_chunk *)malloc(sizeof *c);
    if (c == NULL) return 0;
    c->n = 0;
    memmove(t->chunk + at + 1, t->chunk + at, (size_t)(t->n - at) * sizeof *t->chunk);
    memmove(t->last + at + 1, t->last + at, (size_t)(t->n - at) * sizeof *t->last);
    t->chunk[at] = c;
    t->n++;
    return 1;
}

static void fb_tree_drop_chunk(fb_tree *t, int32_t at) {
    free(t->chunk[at]);
    t->n--;
    memmove(t->chunk + at, t->chunk + at + 1, (size_t)(t->n - at) * sizeof *t->chunk);
    memmove(t->last + at, t->last + at + 1, (size_t)(t->n - at) * sizeof *t->last);
}

/* Make room for a level at place `at` of chunk i, which is full: half of it becomes the next chunk.
 * *at and *i are then where that place is. 0 when memory is out. */
static int fb_tree_split(fb_tree *t, int32_t *i, int32_t *at) {
    if (!fb_tree_new_chunk(t, *i + 1)) return 0;
    fb_chunk *left = t->chunk[*i], *right = t->chunk[*i + 1];
    right->n = FB_CHUNK / 2;
    left->n = FB_CHUNK - FB_CHUNK / 2;
    memcpy(right->key, left->key + left->n, (size_t)right->n * sizeof *left->key);
    memcpy(right->size, left->size + left->n, (size_t)right->n * sizeof *left->size);
    fb_tree_note(t, *i);
    fb_tree_note(t, *i + 1);
    if (*at > left->n) {
        *at -= left->n;
        ++*i;
    }
    return 1;
}

/* Returns the change of the number of levels (+1, 0, -1), or 2 when memory is out. */
static int fb_tree_set(fb_tree *t, int64_t key, double size) {
    int32_t i = fb_tree_chunk(t, key);
    if (i == t->n) {
        if (size == 0) return 0;
        if ((t->n == 0 || t->chunk[t->n - 1]->n == FB_CHUNK) && !fb_tree_new_chunk(t, t->n)) return 2;
        i = t->n - 1;
    }
    fb_chunk *c = t->chunk[i];
    for (int32_t k = 0; k < FB_CHUNK; k += 8) __builtin_prefetch(c->key + k, 1);
    int32_t at = fb_chunk_at(c, key);
    if (at < c->n && c->key[at] == key) {
        if (size != 0) {
            c->size[at] = size;
            return 0;
        }
        c->n--;
        memmove(c->key + at, c->key + at + 1, (size_t)(c->n - at) * sizeof *c->key);
        memmove(c->size + at, c->size + at + 1, (size_t)(c->n - at) * sizeof *c->size);
        if (c->n == 0) fb_tree_drop_chunk(t, i);
        else fb_tree_note(t, i);
        return -1;
    }
    if (size == 0) return 0;
    if (c->n == FB_CHUNK) {
        if (!fb_tree_split(t, &i, &at)) return 2;
        c = t->chunk[i];
    }
    memmove(c->key + at + 1, c->key + at, (size_t)(c->n - at) * sizeof *c->key);
    memmove(c->size + at + 1, c->size + at, (size_t)(c->n - at) * sizeof *c->size);
    c->key[at] = key;
    c->size[at] = size;
    c->n++;
    fb_tree_note(t, i);
    return 1;
}

static void fb_tree_clear(fb_tree *t) {
    for (int32_t i = 0; i < t->n; i++) free(t->chunk[i]);
    t->n = 0;
}

static void fb_tree_free(fb_tree *t) {
    fb_tree_clear(t);
    free(t->chunk);
    free(t->last);
    memset(t, 0, sizeof *t);
}

#endif
