/* The hot loops, compiled once for each set of instructions (see isa.h): a literal, a string, a
 * decimal, a run of levels. Included by run.h only.
 */

#if FD_SIMD

/* Do the bytes at p begin with the literal of the step? */
FD_TARGET static inline int FD_V(fd_literal_at)(const uint8_t *p, const fd_step *s) {
    const __m256i low = _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)p),
                                          _mm256_load_si256((const __m256i *)s->text));
    uint64_t differ = (uint32_t)~_mm256_movemask_epi8(low);
    if (s->len > 32) {
        const __m128i high = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(p + 32)),
                                            _mm_load_si128((const __m128i *)(s->text + 32)));
        differ |= (uint64_t)(uint32_t)~_mm_movemask_epi8(high) << 32;
    }
    return _bzhi_u64(differ, s->len) == 0;
}

/* Closing quote of a string without escapes whose content is at p; NULL for any other. */
FD_TARGET static inline const uint8_t *FD_V(fd_plain_string)(const uint8_t *p) {
    const uint8_t *start = p;
    for (;; p += 32) {
        const __m256i x = _mm256_loadu_si256((const __m256i *)p);
        /* a signed comparison: control characters and all beyond ASCII are below a blank */
        const __m256i special = _mm256_or_si256(
            _mm256_or_si256(_mm256_cmpeq_epi8(x, _mm256_set1_epi8('"')),
                            _mm256_cmpeq_epi8(x, _mm256_set1_epi8('\\'))),
            _mm256_cmpgt_epi8(_mm256_set1_epi8(' '), x));
        const uint32_t hit = (uint32_t)_mm256_movemask_epi8(special);
        if (!hit) continue;
        p += __builtin_ctz(hit);
        if (*p == '"') return p;
        break;
    }
    uint8_t escaped = 0;
    p = fd_string(start, &escaped);
    return escaped ? NULL : p;
}

static const uint8_t FD_V(fd_slide)[32] __attribute__((aligned(32))) = {
    0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
    0,    1,    2,    3,    4,    5,    6,    7,    8,    9,    10,   11,   12,   13,   14,   15};

/* A decimal without sign and exponent of up to 15 characters at p into v. Returns its first byte
 * behind it, NULL when there is something else. */
FD_TARGET static inline const uint8_t *FD_V(fd_short_decimal)(const uint8_t *p, fd_val *v) {
    const __m128i t = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)p), _mm_set1_epi8('0'));
    const __m128i is_digit = _mm_cmpeq_epi8(_mm_min_epu8(t, _mm_set1_epi8(9)), t);
    uint32_t marks = ~(uint32_t)_mm_movemask_epi8(is_digit) & 0xffff;
    if (marks == 0) return NULL;
    uint32_t n = (uint32_t)__builtin_ctz(marks), digits = n, decimals = 0;
    if (n == 0 || (p[0] == '0' && n > 1)) return NULL;
    __m128i right;
    if (p[n] == '.') {
        marks &= marks - 1;
        if (marks == 0) return NULL;
        const uint32_t whole = n;
        n = (uint32_t)__builtin_ctz(marks);
        digits = n - 1;
        decimals = digits - whole;
        if (decimals == 0) return NULL;
        /* whole part and fraction to the right, the fraction over the point */
        const __m128i fraction = _mm_shuffle_epi8(
            t, _mm_loadu_si128((const __m128i *)(FD_V(fd_slide) + n)));
        const __m128i whole_at = _mm_shuffle_epi8(
            t, _mm_loadu_si128((const __m128i *)(FD_V(fd_slide) + digits)));
        const __m128i keep = _mm_cmpgt_epi8(
            _mm_setr_epi8(16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1),
            _mm_set1_epi8((char)decimals));
        right = _mm_blendv_epi8(fraction, whole_at, keep);
    } else {
        right = _mm_shuffle_epi8(t, _mm_loadu_si128((const __m128i *)(FD_V(fd_slide) + n)));
    }
    const __m128i fours = _mm_madd_epi16(
        _mm_maddubs_epi16(right, _mm_set1_epi16(0x010a)), _mm_set1_epi32(0x00010064));
    const __m128i eights =
        _mm_madd_epi16(_mm_packus_epi32(fours, fours), _mm_set1_epi32(0x00012710));
    const uint64_t both = (uint64_t)_mm_cvtsi128_si64(eights);
    v->m = (uint64_t)(uint32_t)both * 100000000u + (both >> 32);
    v->decimals = (uint8_t)decimals;
    v->plain = FD_PLAIN;
    return p + n;
}

_Static_assert(offsetof(fd_level, price) == 16 && offsetof(fd_level, size_m) == 32 &&
                   sizeof(fd_level) == 48,
               "fd_two_levels writes a level in three parts of 16 bytes");

/* Is every one of 32 bytes between its bounds? */
FD_TARGET static inline int FD_V(fd_within)(__m256i x, const uint8_t *low, const uint8_t *high) {
#if FD_SIMD == 2
    return (_mm256_cmplt_epu8_mask(x, _mm256_load_si256((const __m256i *)low)) |
            _mm256_cmpgt_epu8_mask(x, _mm256_load_si256((const __m256i *)high))) == 0;
#else
    const __m256i clamped = _mm256_min_epu8(
        _mm256_max_epu8(x, _mm256_load_si256((const __m256i *)low)),
        _mm256_load_si256((const __m256i *)high));
    const __m256i differ = _mm256_xor_si256(clamped, x);
    return _mm256_testz_si256(differ, differ);
#endif
}

/* The digits of price and size of a level at p, each at the end of 16 bytes. */
FD_TARGET static inline __m256i FD_V(fd_level_digits)(const uint8_t *p, const fd_level_template *l) {
    const __m256i both = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(p + l->price_at))),
        _mm_loadu_si128((const __m128i *)(p + l->size_at)), 1);
    return _mm256_shuffle_epi8(_mm256_sub_epi8(both, _mm256_set1_epi8('0')),
                               _mm256_load_si256((const __m256i *)l->shuffle));
}

/* The numbers of two levels at once: what follows one step costs nothing more for the second. */
FD_TARGET static inline void FD_V(fd_two_levels)(fd_level *out, const uint8_t *const *at,
                                                 const fd_level_template *const *with) {
    const __m256i tens = _mm256_set1_epi16(0x010a);          /* 10, 1 */
    const __m256i hundreds = _mm256_set1_epi32(0x00010064);  /* 100, 1 */
    const __m256i myriads = _mm256_set1_epi32(0x00012710);   /* 10000, 1 */
    const fd_level_template *first = with[0], *second = with[1];
    const __m256i a = _mm256_madd_epi16(
        _mm256_maddubs_epi16(FD_V(fd_level_digits)(at[0], first), tens), hundreds);
    const __m256i b = _mm256_madd_epi16(
        _mm256_maddubs_epi16(FD_V(fd_level_digits)(at[1], second), tens), hundreds);
    /* eight digits in each 32 bits: price of a, price of b, then the sizes in the upper half */
    const __m256i halves = _mm256_madd_epi16(_mm256_packus_epi32(a, b), myriads);
    /* mantissas: high half * 10^8 + low half */
    const __m256i mantissas = _mm256_add_epi64(
        _mm256_mul_epu32(halves, _mm256_set1_epi64x(100000000)), _mm256_srli_epi64(halves, 32));
    /* below 2^52 an integer is a float64 whose exponent is put in front of it, less 2^52 */
    const __m256i exponent = _mm256_set1_epi64x(0x4330000000000000);
    const __m256d whole = _mm256_sub_pd(_mm256_castsi256_pd(_mm256_or_si256(mantissas, exponent)),
                                        _mm256_castsi256_pd(exponent));
    const __m128d scale_a = _mm_load_pd(first->scale), scale_b = _mm_load_pd(second->scale);
    const __m256d scale = _mm256_insertf128_pd(
        _mm256_castpd128_pd256(_mm_unpacklo_pd(scale_a, scale_b)),
        _mm_unpackhi_pd(scale_a, scale_b), 1);
    const __m256d values = _mm256_div_pd(whole, scale);
    const __m128i prices_m = _mm256_castsi256_si128(mantissas);
    const __m128i sizes_m = _mm256_extracti128_si256(mantissas, 1);
    const __m128d prices = _mm256_castpd256_pd128(values), sizes = _mm256_extractf128_pd(values, 1);
    const __m128i rest_a = _mm_load_si128((const __m128i *)first->rest);
    const __m128i rest_b = _mm_load_si128((const __m128i *)second->rest);
    _mm_storeu_si128((__m128i *)&out[0].price_dec, _mm_unpacklo_epi64(prices_m, rest_a));
    _mm_storeu_pd(&out[0].price, _mm_unpacklo_pd(prices, sizes));
    _mm_storeu_si128((__m128i *)&out[0].size_m,
                     _mm_unpackhi_epi64(_mm_unpacklo_epi64(sizes_m, sizes_m), rest_a));
    _mm_storeu_si128((__m128i *)&out[1].price_dec,
                     _mm_unpacklo_epi64(_mm_unpackhi_epi64(prices_m, prices_m), rest_b));
    _mm_storeu_pd(&out[1].price, _mm_unpackhi_pd(prices, sizes));
    _mm_storeu_si128((__m128i *)&out[1].size_m, _mm_unpackhi_epi64(sizes_m, rest_b));
}

/* What only some venues' levels need: signs and counts. 0: the level is none. */
static inline int FD_V(fd_rare_level)(fd_level *out, const uint8_t *p, const fd_level_template *l) {
    if (l->size_signs && out->size_m == 0) return 0;
    if (l->price_neg) out->price = -out->price;
    if (l->count_at && p[l->count_at] == '0') out->size = 0;
    return 1;
}

#define FD_LEVELS_RUN 32 /* levels that are found before their numbers are read */

/* Which of 64 bytes are this one. */
FD_TARGET static inline uint64_t FD_V(fd_find64)(const uint8_t *p, __m256i byte) {
#if FD_SIMD == 2
    return (uint64_t)_mm256_cmpeq_epi8_mask(_mm256_loadu_si256((const __m256i *)(p + 32)), byte)
               << 32 | _mm256_cmpeq_epi8_mask(_mm256_loadu_si256((const __m256i *)p), byte);
#else
    const uint32_t low = (uint32_t)_mm256_movemask_epi8(
        _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)p), byte));
    const uint32_t high = (uint32_t)_mm256_movemask_epi8(
        _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)(p + 32)), byte));
    return (uint64_t)high << 32 | low;
#endif
}

/* Which of 32 bytes are digits. */
FD_TARGET static inline uint32_t FD_V(fd_digits32)(__m256i x) {
    const __m256i d = _mm256_sub_epi8(x, _mm256_set1_epi8('0'));
#if FD_SIMD == 2
    return _mm256_cmple_epu8_mask(d, _mm256_set1_epi8(9));
#else
    return (uint32_t)_mm256_movemask_epi8(
        _mm256_cmpeq_epi8(_mm256_min_epu8(d, _mm256_set1_epi8(9)), d));
#endif
}

/* Levels at p, one after the other, as long as each is like one seen before. Returns where it
 * stopped: *after tells whether that is behind a level, or at one that is new. The ends of levels
 * are looked for 64 bytes at a time, and their numbers are read once all of them are found: neither
 * waits for the level before. */
FD_TARGET static inline const uint8_t *FD_V(fd_levels)(fd_msg *m, const uint8_t *p, int close_with,
                                                       int *after) {
    const fd_templates *t = m->plan->templates;
    const int channel = m->channel;
    const __m256i closing = _mm256_set1_epi8((char)close_with);
    const uint8_t *at[FD_LEVELS_RUN + 1], *block = p;
    const fd_level_template *with[FD_LEVELS_RUN + 1];
    uint64_t closes = FD_V(fd_find64)(p, closing);
    uint32_t n, room;
    *after = 0;
    do {
        fd_level *out = m->levels + m->n_levels;
        room = m->levels_cap - m->n_levels;
        if (room > FD_LEVELS_RUN) room = FD_LEVELS_RUN;
        uint8_t is_rare = 0;
        for (n = 0; n < room;) {
            while (__builtin_expect(closes == 0, 0) && block + 64 < m->end) {
                block += 64;
                closes = FD_V(fd_find64)(block, closing);
            }
            if (closes == 0) break;
            const uint8_t *end = block + __builtin_ctzll(closes);
            const size_t len = (size_t)(end + 1 - p);
            closes &= closes - 1;
            const __m256i x = _mm256_loadu_si256((const __m256i *)p);
            uint64_t digits = FD_V(fd_digits32)(x);
            const fd_level_template *l;
            if (__builtin_expect(len <= 32, 1)) {
                l = &t->level[fd_level_slot(_bzhi_u64(digits, (uint32_t)len), channel)];
            } else {
                if (len > FD_LEVEL_TEXT) break;
                const __m256i y = _mm256_loadu_si256((const __m256i *)(p + 32));
                digits |= (uint64_t)FD_V(fd_digits32)(y) << 32;
                l = &t->level[fd_level_slot(_bzhi_u64(digits, (uint32_t)len), channel)];
                if (!FD_V(fd_within)(y, l->low + 32, l->high + 32)) break;
            }
            if (!FD_V(fd_within)(x, l->low, l->high) || l->channel != channel) break;
            at[n] = p;
            with[n++] = l;
            is_rare |= l->is_rare;
            p = end + 1;
            if (*p != ',') {
                *after = 1;
                break;
            }
            p++;
        }
        at[n] = n ? at[n - 1] : p; /* of an odd number the last one is done twice */
        with[n] = n ? with[n - 1] : &t->level[0];
        for (uint32_t i = 0; i + 1 < n; i += 2) FD_V(fd_two_levels)(out + i, at + i, with + i);
        if (n & 1) {
            fd_level two[2];
            FD_V(fd_two_levels)(two, at + n - 1, with + n - 1);
            out[n - 1] = two[0];
        }
        for (uint32_t i = 0; is_rare && i < n; i++) {
            if (FD_V(fd_rare_level)(&out[i], at[i], with[i])) continue;
            m->n_levels += i;
            *after = 0;
            return at[i];
        }
        m->n_levels += n;
    } while (n == FD_LEVELS_RUN && !*after);
    return p;
}

#else

static inline int FD_V(fd_literal_at)(const uint8_t *p, const fd_step *s) {
    uint32_t i = 0;
    for (; i + 8 <= s->len; i += 8)
        if (fd_load64(p + i) != fd_load64(s->text + i)) return 0;
    const uint64_t differ = fd_load64(p + i) ^ fd_load64(s->text + i);
    return (differ & ((1ull << 8 * (s->len - i)) - 1)) == 0; /* little endian */
}

static inline const uint8_t *FD_V(fd_plain_string)(const uint8_t *p) {
    uint8_t escaped = 0;
    p = fd_string(p, &escaped);
    return escaped ? NULL : p;
}

static inline const uint8_t *FD_V(fd_short_decimal)(const uint8_t *p, fd_val *v) {
    fd_dec d;
    p = fd_plain_decimal(p, &d);
    if (p == NULL) return NULL;
    v->m = d.m;
    v->decimals = (uint8_t)-d.e;
    v->plain = FD_PLAIN;
    return p;
}

#endif
