/* What is learned for messages that are read quickly (quick.h), from one that was read in full. */
#ifndef FEEDD_ROUTE_H
#define FEEDD_ROUTE_H

#include "lists.h"

/* A whole number as venues count: digits, 18 at most, the first of several not 0. */
static inline int fd_tail_digits(const uint8_t *p, size_t n, uint64_t *out) {
    uint64_t m = 0;
    if (n == 0 || n > 18 || (n > 1 && *p == '0')) return 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t digit = (uint8_t)(p[i] - '0');
        if (digit > 9) return 0;
        m = m * 10 + digit;
    }
    *out = m;
    return 1;
}

static int fd_quick_span(const fd_val *v, uint16_t *at, uint8_t *mask, uint32_t most) {
    if (v->type != FD_STR || v->escaped || v->len == 0 || v->len > most) return 0;
    *at = (uint16_t)v->off;
    memset(mask, 0xff, v->len);
    return 1;
}

/* Where the texts are that tell whom a message is about: its topic, and a symbol if that is not in
 * the topic (NULL). 0: they are of a kind that is not compared. */
static int fd_quick_texts(const fd_msg *m, fd_layout *l, const fd_val *symbol) {
    fd_quick *q = &l->quick;
    memset(q->mask, 0, sizeof q->mask);
    q->topic_at = q->symbol_at = 0;
    q->channel = m->channel;
    q->envelope = m->envelope;
    if (!(l->is_whole || l->head.before_levels) || m->rows != 1) return 0;
    if (l->head.resolves) {
        if (m->plan->envelopes[m->envelope].tagged) return 0;
        if (!fd_quick_span(&l->topic, &q->topic_at, q->mask, FD_QUICK_TOPIC)) return 0;
    }
    if (symbol != NULL && symbol->off + symbol->len > l->head.len) return 0;
    return symbol == NULL || fd_quick_span(symbol, &q->symbol_at, q->mask + FD_QUICK_TOPIC,
                                           FD_QUICK_SYMBOL);
}

/* The value `v`, as the layout has it, as number `to`. 0: it is no plain decimal, or behind a head. */
static int fd_quick_number(fd_layout *l, const fd_val *v, uint32_t to) {
    fd_quick *q = &l->quick;
    if (!v->plain) return 0;
    for (uint32_t i = 0; i < l->n_numbers; i++) {
        if (l->number_at[i] != v->off) continue;
        q->number_at[to] = l->number_at[i];
        memcpy(q->shuffle[to], l->shuffle[i], 16);
        if (q->n_numbers <= to) q->n_numbers = (uint8_t)(to + 1);
        return 1;
    }
    return 0;
}

/* Number `to` is the same as number `of`, which is there. */
static inline void fd_quick_again(fd_quick *q, uint32_t of, uint32_t to) {
    q->number_at[to] = q->number_at[of];
    memcpy(q->shuffle[to], q->shuffle[of], 16);
}

/* Messages are read quickly only when this text of the head is what it is here. */
static int fd_quick_type(const fd_msg *m, fd_layout *l, const fd_val *v) {
    fd_quick *q = &l->quick;
    q->type_len = 0;
    if (v->type == FD_ABSENT) return 1;
    if (v->type != FD_STR || v->escaped || v->len == 0 || v->len > FD_QUICK_TYPE ||
        v->off + v->len > l->head.len)
        return 0;
    q->type_at = (uint16_t)v->off;
    q->type_len = (uint8_t)v->len;
    memcpy(q->type, m->base + v->off, v->len);
    return 1;
}

/* Are all bytes of the value those that each message of this layout has? */
static inline int fd_quick_is_fixed(const fd_layout *l, const fd_val *v) {
    if (v->type == FD_ABSENT) return 1;
    if (v->off + v->len > l->head.len) return 0;
    for (uint32_t i = v->off; i < v->off + v->len; i++)
        if (l->low[i] != l->high[i]) return 0;
    return 1;
}

/* Which of the first values behind the head this is; FD_QUICK_NOT: none of them. */
static inline uint32_t fd_quick_behind(const fd_msg *m, const fd_layout *l, const fd_val *v) {
    if (!l->head.before_levels || v->escaped || v->off < l->head.len) return FD_QUICK_NOT;
    for (uint32_t i = 0; i < FD_QUICK_TAILS && l->head.n_holes + i < FD_HOLES_MAX; i++)
        if (m->holes[l->head.n_holes + i].off == v->off) return i;
    return FD_QUICK_NOT;
}

/* From now on it is known what value `at` behind the head is, in messages of the form of this one. */
static inline void fd_quick_know(const fd_msg *m, fd_quick *q, uint32_t at) {
    q->known |= (uint8_t)(1u << at);
    q->form = m->form;
}

/* Behind the head the value must be this one. 0: that can be said of one short value only. */
static inline int fd_quick_pin_tail(const fd_msg *m, fd_layout *l, const fd_val *v) {
    fd_quick *q = &l->quick;
    const uint32_t at = fd_quick_behind(m, l, v);
    if (at == FD_QUICK_NOT || q->tail_len || v->len == 0 || v->len > FD_QUICK_TAIL) return 0;
    fd_quick_know(m, q, at);
    q->tail_at = (uint8_t)at;
    q->tail_len = (uint8_t)v->len;
    memcpy(q->tail, m->base + v->off, v->len);
    return 1;
}

static inline void fd_quick_no_tail(fd_quick *q) {
    memset(q->tail_to, FD_QUICK_NOT, sizeof q->tail_to);
    q->known = q->tail_len = 0;
}

/* A whole number behind the head, as number `to`. 0: it is written in another way. */
static int fd_quick_tail_number(const fd_msg *m, fd_layout *l, const fd_val *v, uint32_t to) {
    uint64_t number;
    if (v->type != FD_NUM && v->type != FD_STR) return 0;
    if (!fd_tail_digits(m->base + v->off, v->len, &number)) return 0;
    const uint32_t at = fd_quick_behind(m, l, v);
    if (at == FD_QUICK_NOT || l->quick.tail_to[at] != FD_QUICK_NOT) return 0;
    fd_quick_know(m, &l->quick, at);
    l->quick.tail_to[at] = (uint8_t)to;
    return 1;
}

/* A value that does not matter where those before it are there. */
static inline void fd_quick_pass(const fd_msg *m, fd_layout *l, const fd_val *v) {
    const uint32_t at = v->type == FD_ABSENT ? FD_QUICK_NOT : fd_quick_behind(m, l, v);
    if (at != FD_QUICK_NOT) fd_quick_know(m, &l->quick, at);
}

/* Is number `i` behind the head? */
static inline int fd_quick_in_tail(const fd_quick *q, uint32_t i) {
    for (uint32_t k = 0; k < FD_QUICK_TAILS; k++)
        if (q->tail_to[k] == i) return 1;
    return 0;
}

/* Does a value behind the head say what the message is, but for those that are known? */
static int fd_quick_told_behind(const fd_msg *m, const fd_layout *l) {
    if (m->topic.type != FD_ABSENT && m->topic.off >= l->head.len) return 1;
    if (l->quick.known && m->form != l->quick.form) return 1;
    for (uint32_t k = 0; k < m->plan->channels[m->channel].slots; k++) {
        const fd_val *v = &m->slots[k];
        if (v->type == FD_ABSENT || v->off < l->head.len) continue;
        const uint32_t at = fd_quick_behind(m, l, v);
        if (at == FD_QUICK_NOT || !(l->quick.known >> at & 1)) return 1;
    }
    return 0;
}

/* From now on only messages with this very value fit the layout. 0: that cannot be told. */
static inline int fd_quick_pin(const fd_msg *m, fd_layout *l, const fd_val *v) {
    if (v->type == FD_ABSENT) return 1;
    if (v->off + v->len > l->head.len) return fd_quick_pin_tail(m, l, v);
    memcpy(l->low + v->off, m->base + v->off, v->len);
    memcpy(l->high + v->off, m->base + v->off, v->len);
    return 1;
}

/* Messages with the topic and the symbol of this one are about `who`. */
static void fd_route_learn(const fd_msg *m, const fd_layout *l, void *who) {
    const fd_quick *q = &l->quick;
    uint64_t w[FD_QUICK_TEXT / 8], s[4];
    uint8_t text[FD_QUICK_TEXT];
    for (uint32_t i = 0; i < FD_QUICK_TEXT; i++) {
        const uint32_t at = i < FD_QUICK_TOPIC ? q->topic_at + i : q->symbol_at + i - FD_QUICK_TOPIC;
        text[i] = q->mask[i] ? m->base[at] : 0;
    }
    memcpy(w, text, sizeof text);
    for (int i = 0; i < 4; i++) s[i] = w[i] + (w[4 + i] << 1) + (w[8 + i] << 2);
    fd_route *r = &m->routes->route[fd_route_slot(s[0] + (s[2] << 3), s[1] + (s[3] << 3))];
    memcpy(r->text, text, sizeof text);
    r->channel = q->channel;
    r->envelope = q->envelope;
    r->topic = m->topic_hash;
    r->who = who;
    fd_family_of(&m->plan->templates->layouts, l->marks)->quick = 1;
}

#endif
