/* From a level that was read to the template of those like it. */
#ifndef FEEDD_TEACH_LEVEL_H
#define FEEDD_TEACH_LEVEL_H

#include "template.h"

/* Where one value of a level is. */
typedef struct {
    const uint8_t *at;       /* content: strings without quotes */
    uint32_t n;
    uint8_t quoted;
} fd_part_of_level;

/* The value at p, flat; NULL when it is not. */
static const uint8_t *fd_flat_value(const uint8_t *p, fd_part_of_level *v) {
    uint8_t escaped = 0;
    v->quoted = *p == '"';
    v->at = p + v->quoted;
    const uint8_t *q = v->quoted                              ? fd_string(v->at, &escaped)
                       : *p == '-' || (*p >= '0' && *p <= '9') ? fd_number(p)
                                                               : fd_literal(p);
    if (q == NULL || escaped) return NULL;
    v->n = (uint32_t)(q - v->at);
    return q + v->quoted;
}

/* A plain decimal of at most 15 digits, perhaps with a minus: whole digits and decimals. */
static int fd_is_plain_part(fd_part_of_level v, uint8_t *neg, uint32_t *whole, uint32_t *decimals) {
    fd_dec d;
    *neg = v.n > 0 && *v.at == '-';
    const uint8_t *p = v.at + *neg, *end = fd_plain_decimal(p, &d);
    if (end == NULL || end != v.at + v.n) return 0;
    *decimals = (uint32_t)-d.e;
    *whole = (uint32_t)(end - p) - *decimals - (*decimals > 0);
    return 1;
}

/* Digits to the end of 16 bytes, the point left out; what is in front becomes zero. */
static void fd_gather(uint8_t *shuffle, uint32_t whole, uint32_t decimals) {
    uint32_t to = 16 - decimals - whole;
    memset(shuffle, 0x80, 16);
    for (uint32_t i = 0; i < whole; i++) shuffle[to++] = (uint8_t)i;
    for (uint32_t i = 0; i < decimals; i++) shuffle[to++] = (uint8_t)(whole + 1 + i);
}

/* Which member of the level this is, FD_MEMBERS for one that does not matter. */
static int fd_member_of(const fd_level_shape *s, uint32_t index, fd_part_of_level key) {
    if (!s->general) return index == s->price ? FD_PRICE : index == s->size ? FD_SIZE : FD_MEMBERS;
    for (int which = 0; which < FD_MEMBERS; which++) {
        if (!s->used[which]) continue;
        if (s->is_object ? s->key_len[which] == key.n && !memcmp(s->key[which], key.at, key.n)
                         : s->at[which] == index)
            return which;
    }
    return FD_MEMBERS;
}

/* Learn from the level in [p, end), which the general path has read. */
static void fd_teach_level(fd_templates *t, int channel, const fd_level_shape *s, const uint8_t *p,
                           const uint8_t *end) {
    const uint8_t *start = p;
    const size_t n = (size_t)(end - p);
    const uint8_t close_with = s->is_object ? '}' : ']';
    fd_part_of_level part[FD_MEMBERS], v = {NULL, 0, 0}, key = {NULL, 0, 0};
    fd_level_template l;
    fd_level as;
    uint64_t digits = 0, leads = 0;  /* leads: first digits of numbers of more than one whole digit */
    int seen = 0;
    memset(&l, 0, sizeof l);
    memset(&as, 0, sizeof as);
    memset(part, 0, sizeof part);
    if (n > FD_LEVEL_TEXT || (s->side_sign && s->used[FD_SIDE])) return;
    for (uint32_t i = 0; i < n; i++) {
        if (start[i] == close_with && i + 1 < n) return;     /* it would seem to end there */
        if (fd_isdigit(start[i])) digits |= 1ull << i;
    }
    p = fd_ws(p + 1);
    for (uint32_t index = 0;; index++) {
        if (s->is_object) {
            if (*p != '"' || (p = fd_flat_value(p, &key)) == NULL) return;
            p = fd_ws(p);
            if (*p != ':') return;
            p = fd_ws(p + 1);
            /* a digit in a key would be free to change */
            for (uint32_t i = 0; i < key.n; i++)
                if (fd_isdigit(key.at[i])) return;
        }
        if ((p = fd_flat_value(p, &v)) == NULL) return;
        const int which = fd_member_of(s, index, key);
        if (which != FD_MEMBERS) {
            if (seen >> which & 1) return;
            seen |= 1 << which;
            part[which] = v;
        }
        if (!v.quoted && v.n > 1) {
            const uint32_t minus = *v.at == '-';
            if (v.n > 18) return;
            for (uint32_t i = 0; i < v.n; i++)
                if ((v.at[i] | 0x20) == 'e' && fd_isdigit(v.at[0 + minus])) return;
            if (fd_isdigit(v.at[minus]) && fd_isdigit(v.at[minus + 1]))
                leads |= 1ull << (v.at + minus - start);
        }
        p = fd_ws(p);
        if (*p == close_with) break;
        if (*p != ',') return;
        p = fd_ws(p + 1);
    }
    uint32_t whole, decimals;
    uint8_t size_neg;
    if (!(seen >> FD_PRICE & 1) || !(seen >> FD_SIZE & 1)) return;
    if (!fd_is_plain_part(part[FD_PRICE], &l.price_neg, &whole, &decimals)) return;
    l.price_at = (uint8_t)(part[FD_PRICE].at + l.price_neg - start);
    as.price_dec = (fd_dec){0, -(int32_t)decimals, l.price_neg, 0};
    l.scale[0] = fd_pow10[decimals];
    fd_gather(l.shuffle, whole, decimals);
    if (whole > 1) leads |= 1ull << l.price_at;
    if (!fd_is_plain_part(part[FD_SIZE], &size_neg, &whole, &decimals)) return;
    l.size_at = (uint8_t)(part[FD_SIZE].at + size_neg - start);
    as.size_e = (int16_t)-(int32_t)decimals;
    l.scale[1] = fd_pow10[decimals];
    fd_gather(l.shuffle + 16, whole, decimals);
    if (whole > 1) leads |= 1ull << l.size_at;
    if (size_neg && !s->side_sign) return;
    if (s->side_sign) {
        l.size_signs = 1;
        as.side = size_neg;
    } else if (s->general && s->used[FD_SIDE]) {
        const int side = fd_level_side(part[FD_SIDE].at - part[FD_SIDE].quoted, s);
        for (uint32_t i = 0; i < part[FD_SIDE].n; i++)
            if (fd_isdigit(part[FD_SIDE].at[i])) return;
        if (side < 0) return;
        as.side = (uint8_t)side;
    }
    if (s->general && s->used[FD_COUNT]) {
        const fd_part_of_level count = part[FD_COUNT];
        if (!(seen >> FD_COUNT & 1) || count.n > 9) return;
        for (uint32_t i = 0; i < count.n; i++)
            if (!fd_isdigit(count.at[i])) return;
        if (count.n == 1) l.count_at = (uint8_t)(count.at - start);
        else leads |= 1ull << (count.at - start);
    }
    l.is_rare = l.price_neg || l.size_signs || l.count_at;
    for (uint32_t i = 0; i < n; i++) {
        const int is_digit = (int)(digits >> i & 1), is_lead = (int)(leads >> i & 1);
        l.low[i] = is_digit ? (uint8_t)('0' + is_lead) : start[i];
        l.high[i] = is_digit ? '9' : start[i];
    }
    memset(l.high + n, 0xff, FD_LEVEL_TEXT - n);
    memcpy(&l.rest[0], (const uint8_t *)&as + 8, 8);
    memcpy(&l.rest[1], (const uint8_t *)&as + 40, 8);
    for (int i = 0; i < 32; i++) {
        if (l.shuffle[i] & 0x80) continue;
        l.pick[i] = (uint8_t)(l.shuffle[i] + (i < 16 ? l.price_at : l.size_at));
        l.picked |= 1u << i;
    }
    l.channel = channel;
    t->level[fd_level_slot(digits, channel)] = l;
    fd_recent_forget(t);
}

#endif
