/* Levels that are known by an id: (id, side) -> price, for venues whose changes may leave the
 * price out. Open addressing with backward shift deletion; one owner.
 */
#ifndef FEEDD_ROWMAP_H
#define FEEDD_ROWMAP_H

#include "levels.h"

typedef struct {
    uint64_t id;
    fd_dec price_dec;
    double price;
    uint8_t side, used;
} fr_row;

typedef struct {
    fr_row *row;
    uint32_t mask, n;
} fr_map;

static inline uint32_t fr_hash(uint64_t id, int side) {
    uint64_t h = (id * 2 + (uint64_t)side) * 0x9e3779b97f4a7c15ull;
    return (uint32_t)(h >> 32 ^ h >> 15);
}

static inline void fr_clear(fr_map *m) {
    if (m->n) memset(m->row, 0, ((size_t)m->mask + 1) * sizeof *m->row);
    m->n = 0;
}

static inline void fr_free(fr_map *m) {
    free(m->row);
    *m = (fr_map){NULL, 0, 0};
}

static inline fr_row *fr_find(const fr_map *m, uint64_t id, int side) {
    if (m->n == 0) return NULL;
    for (uint32_t i = fr_hash(id, side) & m->mask; m->row[i].used; i = (i + 1) & m->mask)
        if (m->row[i].id == id && m->row[i].side == side) return &m->row[i];
    return NULL;
}

/* The row of a new id; NULL when memory is out. */
static inline fr_row *fr_add(fr_map *m, uint64_t id, int side) {
    if (m->row == NULL || m->n * 2 > m->mask) {
        const uint32_t mask = m->row == NULL ? 63 : m->mask * 2 + 1;
        fr_row *grown = (fr_row *)calloc((size_t)mask + 1, sizeof *grown);
        if (grown == NULL) return NULL;
        for (uint32_t i = 0; m->row != NULL && i <= m->mask; i++) {
            if (!m->row[i].used) continue;
            uint32_t at = fr_hash(m->row[i].id, m->row[i].side) & mask;
            while (grown[at].used) at = (at + 1) & mask;
            grown[at] = m->row[i];
        }
        free(m->row);
        m->row = grown;
        m->mask = mask;
    }
    uint32_t i = fr_hash(id, side) & m->mask;
    while (m->row[i].used) i = (i + 1) & m->mask;
    m->row[i].id = id;
    m->row[i].side = (uint8_t)side;
    m->row[i].used = 1;
    m->n++;
    return &m->row[i];
}

static inline void fr_drop(fr_map *m, fr_row *row) {
    uint32_t hole = (uint32_t)(row - m->row);
    for (uint32_t i = (hole + 1) & m->mask; m->row[i].used; i = (i + 1) & m->mask) {
        const uint32_t home = fr_hash(m->row[i].id, m->row[i].side) & m->mask;
        if (((i - home) & m->mask) >= ((i - hole) & m->mask)) {
            m->row[hole] = m->row[i];
            hole = i;
        }
    }
    memset(&m->row[hole], 0, sizeof m->row[hole]);
    m->n--;
}

#endif
