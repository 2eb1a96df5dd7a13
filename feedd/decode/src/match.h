/* A message against the layouts (places.h); compiled once for each set of vector instructions. Included
 * by run.h only.
 */

/* Which of 64 bytes are quotes or points. */
FD_TARGET static inline uint64_t FD_V(fd_marks)(const uint8_t *p) {
#if FD_SIMD == 2
    const __m512i x = _mm512_loadu_si512(p);
    return _mm512_cmpeq_epi8_mask(x, _mm512_set1_epi8('"')) |
           _mm512_cmpeq_epi8_mask(x, _mm512_set1_epi8('.'));
#else
    const __m256i quote = _mm256_set1_epi8('"'), point = _mm256_set1_epi8('.');
    const __m256i x = _mm256_loadu_si256((const __m256i *)p);
    const __m256i y = _mm256_loadu_si256((const __m256i *)(p + 32));
    const uint32_t low = (uint32_t)_mm256_movemask_epi8(
        _mm256_or_si256(_mm256_cmpeq_epi8(x, quote), _mm256_cmpeq_epi8(x, point)));
    const uint32_t high = (uint32_t)_mm256_movemask_epi8(
        _mm256_or_si256(_mm256_cmpeq_epi8(y, quote), _mm256_cmpeq_epi8(y, point)));
    return (uint64_t)high << 32 | low;
#endif
}

/* The family of a message of n bytes, 64 at least; *marks are those of its first 64 bytes, then those of
 * the family, if it is this one's. */
FD_TARGET static inline fd_family *FD_V(fd_family_at)(fd_layouts *all, const uint8_t *p, size_t n,
                                                      uint64_t *marks) {
    fd_family *family = fd_family_of(all, *marks);
    if (!family->varied || family->marks != *marks) return family;
    *marks = fd_family_marks(*marks, FD_V(fd_marks)(p + 64), family->len < n ? family->len : n);
    return fd_family_of(all, *marks);
}

/* The places of the first len bytes; marks[0] is there already, of 64 bytes. */
FD_TARGET static inline void FD_V(fd_places_of)(fd_places *at, const uint8_t *p, uint32_t len) {
    const uint32_t last = (len - 1) / 64;
    for (uint32_t i = 1; i <= last; i++) at->marks[i] = FD_V(fd_marks)(p + 64 * i);
    at->marks[last] = _bzhi_u64(at->marks[last], len - 64 * last);
    at->len = len;
    at->hash = fd_places_hash(at->marks, len);
}

/* Has the message, or its head, the length of the layout, and is every byte between its bounds? Both
 * are followed by 64 bytes that may be read. */
FD_TARGET static inline int FD_V(fd_layout_fits)(const fd_layout *l, const uint8_t *p, size_t n) {
    if (l->head.len != n) return 0;
#if FD_SIMD == 2
    __mmask64 out = 0;
    for (size_t i = 0; i < n; i += 64) {
        const __m512i x = _mm512_loadu_si512(p + i);
        out |= _mm512_cmplt_epu8_mask(x, _mm512_load_si512(l->low + i)) |
               _mm512_cmpgt_epu8_mask(x, _mm512_load_si512(l->high + i));
    }
    return out == 0;
#else
    __m256i differ = _mm256_setzero_si256();
    for (size_t i = 0; i < n; i += 32) {
        const __m256i x = _mm256_loadu_si256((const __m256i *)(p + i));
        const __m256i clamped = _mm256_min_epu8(
            _mm256_max_epu8(x, _mm256_load_si256((const __m256i *)(l->low + i))),
            _mm256_load_si256((const __m256i *)(l->high + i)));
        differ = _mm256_or_si256(differ, _mm256_xor_si256(clamped, x));
    }
    return _mm256_testz_si256(differ, differ);
#endif
}

/* Does its topic mean what that of the layout meant? */
FD_TARGET static inline int FD_V(fd_layout_topic)(fd_msg *m, const fd_layout *l) {
    if (!l->head.resolves) return 1;
    m->topic = l->topic;
    m->tag = l->tag; /* absent where there is none */
    m->envelope = l->head.envelope;
    fd_topic_known(m);
    return m->channel == l->head.channel;
}

/* The layout of a message of n bytes, NULL when there is none; its topic is then resolved. *at tells
 * its places, as far as they were looked at. */
FD_TARGET static inline fd_layout *FD_V(fd_layout_of)(fd_msg *m, size_t n, fd_places *at) {
    fd_layouts *all = &m->plan->templates->layouts;
    const uint8_t *p = m->base;
    fd_layout *found = NULL;
    int fit = 0;
    at->len = 0;
    at->paused = 0;
    if (n < 64) return NULL;
    at->marks[0] = FD_V(fd_marks)(p);
    uint64_t marks = at->marks[0];
    fd_family *family = FD_V(fd_family_at)(all, p, n, &marks);
    const int known = family->known && family->marks == marks;
    if (known && family->pause) {
        if (--family->pause == 0) family->credit = FD_FAMILY_CREDIT;
        at->paused = 1;
        return NULL;
    }
    const size_t len = known && family->len ? family->len : n;
    if (len > FD_LAYOUT_BYTES || len > n) return NULL;
    FD_V(fd_places_of)(at, p, (uint32_t)len);
    for (uint32_t i = 0; i < 2 && found == NULL; i++) {
        const uint32_t slot = (uint32_t)at->hash % FD_LAYOUT_SLOTS ^ i;
        fd_layout *l = &all->slot[slot];
        if (!all->used[slot] || !FD_V(fd_layout_fits)(l, p, at->len)) continue;
        if (at->len != n && !l->head.before_levels) continue; /* a whole message, and then some more */
        fit++;
        if (FD_V(fd_layout_topic)(m, l)) found = l;
    }
    /* more topics of one form than there is room for, each of another channel: do not learn in turns */
    if (found == NULL && fit == 2) at->paused = 1;
    if (known) {
        family->credit = (int16_t)(family->credit + (found != NULL ? 1 : -1));
        if (family->credit > FD_FAMILY_CREDIT) family->credit = FD_FAMILY_CREDIT;
        if (family->credit < 0) family->pause = FD_FAMILY_PAUSE;
    }
    return found;
}

/* The digits of two numbers, each at the end of 16 bytes. */
FD_TARGET static inline __m256i FD_V(fd_two_texts)(const uint8_t *p, const uint16_t *at,
                                                   const uint8_t (*shuffle)[16]) {
    const __m256i x = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(p + at[0]))),
        _mm_loadu_si128((const __m128i *)(p + at[1])), 1);
    return _mm256_shuffle_epi8(_mm256_sub_epi8(x, _mm256_set1_epi8('0')),
                               _mm256_load_si256((const __m256i *)shuffle));
}

/* Four numbers, those at[0], at[2], at[1], at[3]. */
FD_TARGET static inline __m256i FD_V(fd_four_numbers)(const uint8_t *p, const uint16_t *at,
                                                      const uint8_t (*shuffle)[16]) {
    const __m256i tens = _mm256_set1_epi16(0x010a);          /* 10, 1 */
    const __m256i hundreds = _mm256_set1_epi32(0x00010064);  /* 100, 1 */
    const __m256i myriads = _mm256_set1_epi32(0x00012710);   /* 10000, 1 */
    const __m256i a = FD_V(fd_two_texts)(p, at, shuffle);
    const __m256i b = FD_V(fd_two_texts)(p, at + 2, shuffle + 2);
    const __m256i halves = _mm256_madd_epi16(
        _mm256_packus_epi32(_mm256_madd_epi16(_mm256_maddubs_epi16(a, tens), hundreds),
                            _mm256_madd_epi16(_mm256_maddubs_epi16(b, tens), hundreds)),
        myriads);
    return _mm256_add_epi64(_mm256_mul_epu32(halves, _mm256_set1_epi64x(100000000)),
                            _mm256_srli_epi64(halves, 32));
}

/* The values of a message that fits, to m->slots or m->holes. */
FD_TARGET static inline void FD_V(fd_layout_read)(const fd_msg *m, const fd_layout *l, fd_val *to) {
    for (uint32_t i = 0; i < l->n_values; i++)
        _mm256_storeu_si256((__m256i *)&to[i], _mm256_load_si256((const __m256i *)&l->value[i]));
    for (uint32_t i = 0; i < l->n_numbers; i += 4) {
        const uint8_t *which = l->number_to + i;
        const __m256i four = FD_V(fd_four_numbers)(m->base, l->number_at + i, l->shuffle + i);
        const __m128i low = _mm256_castsi256_si128(four);
        const __m128i high = _mm256_extracti128_si256(four, 1);
        to[which[0]].m = (uint64_t)_mm_cvtsi128_si64(low);
        to[which[1]].m = (uint64_t)_mm_cvtsi128_si64(high);
        to[which[2]].m = (uint64_t)_mm_extract_epi64(low, 1);
        to[which[3]].m = (uint64_t)_mm_extract_epi64(high, 1);
    }
}

/* Remember the places of a message that was read step by step and is all in m. */
FD_TARGET static inline void FD_V(fd_layout_note)(fd_msg *m, fd_places *at, const fd_head *head,
                                                  const fd_form *f) {
    if (at->paused || head->len > FD_LAYOUT_BYTES || head->len < 64) return;
    if (at->len != head->len) {
        at->marks[0] = FD_V(fd_marks)(m->base);
        FD_V(fd_places_of)(at, m->base, head->len);
    }
    fd_layout_learn(&m->plan->templates->layouts, at, m->base, m->holes, head,
                    head->before_levels ? NULL : m->slots, f->n_values, m->env, m->plan->n_env);
}
