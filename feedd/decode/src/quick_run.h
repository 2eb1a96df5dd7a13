/* Messages of which only the numbers are read (quick.h); compiled once for each set of vector
 * instructions. Included by run.h only.
 */

/* What a message with this topic and this symbol was about; NULL when none was here before. */
FD_TARGET static inline const fd_route *FD_V(fd_routed)(const fd_msg *m, const fd_layout *l) {
    const fd_quick *q = &l->quick;
    const uint8_t *topic = m->base + q->topic_at, *symbol = m->base + q->symbol_at;
    const __m256i a = _mm256_and_si256(_mm256_loadu_si256((const __m256i *)topic),
                                       _mm256_load_si256((const __m256i *)q->mask));
    const __m256i b = _mm256_and_si256(_mm256_loadu_si256((const __m256i *)(topic + 32)),
                                       _mm256_load_si256((const __m256i *)(q->mask + 32)));
    const __m256i c = _mm256_and_si256(_mm256_loadu_si256((const __m256i *)symbol),
                                       _mm256_load_si256((const __m256i *)(q->mask + 64)));
    const __m256i four = _mm256_add_epi64(
        a, _mm256_add_epi64(_mm256_slli_epi64(b, 1), _mm256_slli_epi64(c, 2)));
    const __m128i two = _mm_add_epi64(_mm256_castsi256_si128(four),
                                      _mm_slli_epi64(_mm256_extracti128_si256(four, 1), 3));
    const fd_route *r = &m->routes->route[fd_route_slot((uint64_t)_mm_cvtsi128_si64(two),
                                                        (uint64_t)_mm_extract_epi64(two, 1))];
    const __m256i differ = _mm256_or_si256(
        _mm256_or_si256(
            _mm256_xor_si256(a, _mm256_load_si256((const __m256i *)r->text)),
            _mm256_xor_si256(b, _mm256_load_si256((const __m256i *)(r->text + 32)))),
        _mm256_xor_si256(c, _mm256_load_si256((const __m256i *)(r->text + 64))));
    if (!_mm256_testz_si256(differ, differ) || r->channel != q->channel ||
        r->envelope != q->envelope)
        return NULL;
    return r->who != NULL ? r : NULL;
}

/* The integers of a message, as its fd_quick says. */
FD_TARGET static inline void FD_V(fd_quick_integers)(fd_msg *m, const fd_quick *q) {
    if (q->n_numbers > FD_QUICK_DECIMALS)
        _mm256_storeu_si256((__m256i *)(m->number + 4),
                            _mm256_permute4x64_epi64(
                                FD_V(fd_four_numbers)(m->base, q->number_at + 4, q->shuffle + 4),
                                0xd8));
}

/* The value in [from, p) of those behind a head: a number that is wanted, or one that tells whose the
 * message is. `v` is what was read of it. 0: it means something else than it did. */
FD_TARGET static inline int FD_V(fd_quick_keep)(fd_msg *m, const fd_quick *q, const uint8_t *from,
                                                const uint8_t *p, const fd_val *v, uint32_t which) {
    const size_t n = (size_t)(p - from);
    if (q->tail_len && which == q->tail_at && (n != q->tail_len || memcmp(from, q->tail, n)))
        return 0;
    if (which >= FD_QUICK_TAILS || q->tail_to[which] == FD_QUICK_NOT) return 1;
    uint64_t *to = &m->number[q->tail_to[which]];
    *to = v->m;
    return v->plain ? v->decimals == 0 : fd_tail_digits(from, n, to);
}

/* Behind the value of step s, whose content is at p: of the values behind a head no more is read than
 * is wanted. NULL: the message is read in full. */
FD_TARGET static inline const uint8_t *FD_V(fd_quick_tail)(fd_msg *m, const fd_quick *q,
                                                           const fd_step *s, const uint8_t *p,
                                                           uint32_t which) {
    const uint8_t *from = p, *r;
    fd_val v;
    v.m = 0;
    v.plain = v.decimals = 0;
    if (s->resolves) return NULL;
    switch (s->kind) {
        case FD_HOLE_CONST: from = p - s->value_len; break;
        case FD_HOLE_NUM:
            r = FD_V(fd_short_decimal)(p, &v);
            if (r == NULL || (*r | 0x20) == 'e' || fd_isdigit(*r) || *r == '.') {
                v.plain = 0;
                /* it ends before the message does */
                if (m->end[-1] != '}' && m->end[-1] != ']') return NULL;
                if ((*p != '-' && !fd_isdigit(*p)) || (r = fd_number(p)) == NULL) return NULL;
            }
            p = r;
            break;
        case FD_HOLE_DEC:
            r = FD_V(fd_short_decimal)(p, &v);
            if (r != NULL && *r == '"') {
                p = r;
                break;
            }
            v.plain = 0; /* fall through */
        case FD_HOLE_STR:
            if ((p = FD_V(fd_plain_string)(m, p)) == NULL) return NULL;
            break;
        default: return NULL;
    }
    return FD_V(fd_quick_keep)(m, q, from, p, &v, which) ? p : NULL;
}

/* The levels behind the head of a message, and all that is left of it, if that are the lists of both
 * sides, literals and values that do not matter. 0: it is something else. */
FD_TARGET static inline int FD_V(fd_quick_levels)(fd_msg *m, const fd_layout *l) {
    const fd_templates *t = m->plan->templates;
    const fd_quick *q = &l->quick;
    const fd_step *s = &t->step[l->head.step];
    const uint8_t *p = m->base + l->head.len;
    fd_levels list[2][2];
    uint32_t n = 0, values = 0;
    if (q->type_len && memcmp(m->base + q->type_at, q->type, q->type_len)) return 0;
    FD_V(fd_quick_integers)(m, q);
    m->n_levels = 0;
    do {
        if (n == 2 || *p != '[') return 0;
        m->channel = s->list_channel;
        m->depth = s->depth;
        p = fd_level_list(m, p, list[n], s->side);
        if (p == NULL || list[n][0].seen != 1) return 0;
        n++;
        do {
            s = &t->step[s->next];
            while (s->channel != q->channel || !FD_V(fd_literal_at)(p, s) ||
                   (s->peek && p[s->len] != s->peek)) {
                if (s->other == 0) return 0;
                s = &t->step[s->other];
            }
            p += s->len;
            if (p > m->end) return 0;
            if (s->kind == FD_HOLE_NONE || s->kind == FD_HOLE_LEVELS || s->kind == FD_HOLE_END)
                continue;
            if ((p = FD_V(fd_quick_tail)(m, q, s, p, values++)) == NULL) return 0;
        } while (s->kind != FD_HOLE_LEVELS && s->kind != FD_HOLE_END);
    } while (s->kind == FD_HOLE_LEVELS);
    const fd_form *f = &t->form[s->form];
    if (p != m->end || f->dead || f->rows != 1 || m->sides_cap < 2 || f->channel != q->channel ||
        l->head.n_holes > 63 || (q->known && s->form != q->form))
        return 0;
    /* a key that was in the head once more, or one that was not: the last one counts */
    if (f->used >> l->head.n_holes & ~(uint64_t)q->known) return 0;
    m->rows = 1;
    memset(m->sides, 0, 2 * sizeof(fd_levels));
    for (uint32_t k = 0; k < n; k++) {
        m->sides[f->list_at[k]] = list[k][0];
        if (f->list_mixed[k]) m->sides[f->list_at[k] + 1] = list[k][1];
    }
    return 1;
}

/* The numbers of a message, as its fd_quick says. 0: one of them means something else. */
FD_TARGET static inline int FD_V(fd_quick_read)(fd_msg *m, const fd_layout *l) {
    const fd_quick *q = &l->quick;
    const __m256i exponent = _mm256_set1_epi64x(0x4330000000000000); /* see fd_two_levels */
    const __m256i mantissas = _mm256_permute4x64_epi64(
        FD_V(fd_four_numbers)(m->base, q->number_at, q->shuffle), 0xd8);
    const __m256d whole = _mm256_sub_pd(_mm256_castsi256_pd(_mm256_or_si256(mantissas, exponent)),
                                        _mm256_castsi256_pd(exponent));
    _mm256_storeu_pd(m->decimal, _mm256_div_pd(whole, _mm256_load_pd(q->scale)));
    FD_V(fd_quick_integers)(m, q);
    return !q->no_zeros ||
           !_mm256_movemask_pd(_mm256_castsi256_pd(
               _mm256_cmpeq_epi64(mantissas, _mm256_setzero_si256())));
}

/* Read the numbers of a message of n bytes, if its layout is one of which no more is needed. 0: it is
 * to be decoded, nothing of m has changed that counts. */
FD_TARGET static int FD_V(fd_quick_run)(fd_msg *m, size_t n) {
    fd_layouts *all = &m->plan->templates->layouts;
    const uint8_t *p = m->base;
    if (n < 64) return 0;
    uint64_t marks = FD_V(fd_marks)(p), whose = marks;
    fd_family *family = FD_V(fd_family_at)(all, p, n, &whose);
    if (family->marks != whose || family->pause || !family->quick) return 0;
    const size_t len = family->len ? family->len : n;
    if (len > FD_LAYOUT_BYTES || len > n) return 0;
    uint64_t hash = len;
    size_t at = 64;
    for (; at < len; at += 64) {
        hash = fd_places_mix(hash, marks);
        marks = FD_V(fd_marks)(p + at);
    }
    hash = fd_places_mix(hash, _bzhi_u64(marks, (uint32_t)(len + 64 - at)));
    for (uint32_t i = 0; i < 2; i++) {
        const uint32_t slot = (uint32_t)hash % FD_LAYOUT_SLOTS ^ i;
        fd_layout *l = &all->slot[slot];
        if (!all->used[slot] || l->quick.use != FD_QUICK_USED ||
            !FD_V(fd_layout_fits)(l, p, len))
            continue;
        const fd_route *route = FD_V(fd_routed)(m, l);
        if (route == NULL) continue;
        if (!(l->is_whole ? len == n && FD_V(fd_quick_read)(m, l) : FD_V(fd_quick_levels)(m, l)))
            return 0;
        if (family->credit < FD_FAMILY_CREDIT) family->credit++;
        all->hits++;
        all->quick++;
        m->plan->templates->hits++;
        m->envelope = l->quick.envelope;
        m->channel = l->quick.channel;
        m->layout = l;
        m->who = route->who;
        m->topic_hash = route->topic;
        return 1;
    }
    return 0;
}
