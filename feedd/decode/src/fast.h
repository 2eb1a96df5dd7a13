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
FD_TARGET static inline const uint8_t *FD_V(fd_plain_string)(const fd_msg *m, const uint8_t *p) {
    const uint8_t *start = p;
    for (; p < m->end; p += 32) {
        const __m256i x = _mm256_loadu_si256((const __m256i *)p);
        /* a signed comparison: control characters and all beyond ASCII are below a blank */
        const __m256i special = _mm256_or_si256(
            _mm256_or_si256(_mm256_cmpeq_epi8(x, _mm256_set1_epi8('"')),
                            _mm256_cmpeq_epi8(x, _mm256_set1_epi8('\\'))),
            _mm256_cmpgt_epi8(_mm256_set1_epi8(' '), x));
        const uint32_t hit = (uint32_t)_mm256_movemask_epi8(special);
        if (!hit) continue;
        p += __builtin_ctz(hit);
        if (*p == '"' && p < m->end) return p;
        break;
    }
    uint8_t escaped = 0;
    if (m->in_place) return NULL;
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
    return _kortestz_mask32_u8(_mm256_cmplt_epu8_mask(x, _mm256_load_si256((const __m256i *)low)),
                               _mm256_cmpgt_epu8_mask(x, _mm256_load_si256((const __m256i *)high)));
#else
    const __m256i clamped = _mm256_min_epu8(
        _mm256_max_epu8(x, _mm256_load_si256((const __m256i *)low)),
        _mm256_load_si256((const __m256i *)high));
    const __m256i differ = _mm256_xor_si256(clamped, x);
    return _mm256_testz_si256(differ, differ);
#endif
}

/* 16 bytes of one level, 16 of another. */
FD_TARGET static inline __m256i FD_V(fd_two_parts)(const uint8_t *a, const uint8_t *b) {
    return _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)a)),
        _mm_loadu_si128((const __m128i *)b), 1);
}

#if FD_SIMD == 2

/* Four times four digits of the price and the size of the level of `len` bytes at p. */
FD_TARGET static inline void FD_V(fd_level_digits)(__m256i *out, const uint8_t *p, size_t len,
                                                   const fd_level_template *l) {
    const __m256i pick = _mm256_loadu_si256((const __m256i *)l->pick);
    const __m256i digits =
        len <= 32 ? _mm256_permutexvar_epi8(pick, _mm256_loadu_si256((const __m256i *)p))
                  : _mm512_castsi512_si256(_mm512_permutexvar_epi8(_mm512_castsi256_si512(pick),
                                                                   _mm512_loadu_si512(p)));
    const __m256i values = _mm256_maskz_sub_epi8(l->picked, digits, _mm256_set1_epi8('0'));
    _mm256_store_si256(out, _mm256_madd_epi16(
        _mm256_maddubs_epi16(values, _mm256_set1_epi16(0x010a)) /* 10, 1 */,
        _mm256_set1_epi32(0x00010064) /* 100, 1 */));
}

/* Price and size of two levels, as integers. */
FD_TARGET static inline __m256i FD_V(fd_two_mantissas)(const __m256i *digits) {
    /* eight digits in each 32 bits: both prices, both sizes */
    const __m256i halves = _mm256_madd_epi16(
        _mm256_packus_epi32(_mm256_load_si256(digits), _mm256_load_si256(digits + 1)),
        _mm256_set1_epi32(0x00012710) /* 10000, 1 */);
    /* high half * 10^8 + low half; then level by level */
    return _mm256_permute4x64_epi64(
        _mm256_add_epi64(_mm256_mul_epu32(halves, _mm256_set1_epi64x(100000000)),
                         _mm256_srli_epi64(halves, 32)), 0xd8);
}

#else

/* Four times four digits of two numbers, each of which is in 16 bytes at a and b. */
FD_TARGET static inline __m256i FD_V(fd_two_fours)(const uint8_t *a, const uint8_t *b,
                                                   const uint8_t *shuffle_a,
                                                   const uint8_t *shuffle_b) {
    const __m256i digits = _mm256_shuffle_epi8(
        _mm256_sub_epi8(FD_V(fd_two_parts)(a, b), _mm256_set1_epi8('0')),
        FD_V(fd_two_parts)(shuffle_a, shuffle_b));
    return _mm256_madd_epi16(_mm256_maddubs_epi16(digits, _mm256_set1_epi16(0x010a)) /* 10, 1 */,
                             _mm256_set1_epi32(0x00010064)); /* 100, 1 */
}

/* Price and size of two levels, as integers; what follows one step costs nothing more for the second. */
FD_TARGET static inline __m256i FD_V(fd_two_mantissas)(const uint8_t *const *at,
                                                       const fd_level_template *const *with) {
    const fd_level_template *first = with[0], *second = with[1];
    const __m256i prices = FD_V(fd_two_fours)(at[0] + first->price_at, at[1] + second->price_at,
                                              first->shuffle, second->shuffle);
    const __m256i sizes = FD_V(fd_two_fours)(at[0] + first->size_at, at[1] + second->size_at,
                                             first->shuffle + 16, second->shuffle + 16);
    /* eight digits in each 32 bits: price and size of the first one, then of the second */
    const __m256i halves = _mm256_madd_epi16(_mm256_packus_epi32(prices, sizes),
                                             _mm256_set1_epi32(0x00012710)); /* 10000, 1 */
    /* high half * 10^8 + low half */
    return _mm256_add_epi64(_mm256_mul_epu32(halves, _mm256_set1_epi64x(100000000)),
                            _mm256_srli_epi64(halves, 32));
}

#endif

/* Levels that were found and are like one seen before, and their numbers as far as they are read. */
typedef struct {
    const uint8_t *at[FD_LEVELS_RUN + FD_LEVELS_SLACK];
    const fd_level_template *with[FD_LEVELS_RUN + FD_LEVELS_SLACK];
#if FD_SIMD == 2
    __m256i digits[FD_LEVELS_RUN + FD_LEVELS_SLACK];
#else
    __m256i integers[(FD_LEVELS_RUN + FD_LEVELS_SLACK + 1) / 2];
#endif
} FD_V(fd_found);

/* Two levels whose integers are known. */
FD_TARGET static inline void FD_V(fd_two_levels)(fd_level *out, __m256i mantissas,
                                                 const fd_level_template *const *with) {
    const fd_level_template *first = with[0], *second = with[1];
#if FD_SIMD == 2
    const __m256d whole = _mm256_cvtepi64_pd(mantissas);
#else
    /* below 2^52 an integer is a float64 whose exponent is put in front of it, less 2^52 */
    const __m256i exponent = _mm256_set1_epi64x(0x4330000000000000);
    const __m256d whole = _mm256_sub_pd(_mm256_castsi256_pd(_mm256_or_si256(mantissas, exponent)),
                                        _mm256_castsi256_pd(exponent));
#endif
    const __m256d scale = _mm256_castsi256_pd(FD_V(fd_two_parts)(
        (const uint8_t *)first->scale, (const uint8_t *)second->scale));
    const __m256i rest = FD_V(fd_two_parts)((const uint8_t *)first->rest,
                                            (const uint8_t *)second->rest);
    const __m256d values = _mm256_div_pd(whole, scale);
    const __m256i price_m = _mm256_unpacklo_epi64(mantissas, rest);
    const __m256i size_m = _mm256_unpackhi_epi64(mantissas, rest);
    _mm_storeu_si128((__m128i *)&out[0].price_dec, _mm256_castsi256_si128(price_m));
    _mm_storeu_pd(&out[0].price, _mm256_castpd256_pd128(values));
    _mm_storeu_si128((__m128i *)&out[0].size_m, _mm256_castsi256_si128(size_m));
    _mm_storeu_si128((__m128i *)&out[1].price_dec, _mm256_extracti128_si256(price_m, 1));
    _mm_storeu_pd(&out[1].price, _mm256_extractf128_pd(values, 1));
    _mm_storeu_si128((__m128i *)&out[1].size_m, _mm256_extracti128_si256(size_m, 1));
}

/* The numbers of n levels. Four at a time, the last one again where there are fewer: how many there are
 * is hard to predict. In rounds: all steps of one level at once leave a processor that looks a hundred
 * instructions ahead nothing else to do while each step waits for the one before. */
FD_TARGET static inline void FD_V(fd_level_numbers)(fd_level *out, uint32_t n, FD_V(fd_found) *f) {
    if (n == 0) return;
    for (uint32_t i = n; i < n + FD_LEVELS_SLACK; i++) {
        f->at[i] = f->at[n - 1];
        f->with[i] = f->with[n - 1];
#if FD_SIMD == 2
        f->digits[i] = f->digits[n - 1];
#endif
    }
#if FD_SIMD == 2
    for (uint32_t i = 0; i < n; i += 4) {
        FD_V(fd_two_levels)(out + i, FD_V(fd_two_mantissas)(f->digits + i), f->with + i);
        FD_V(fd_two_levels)(out + i + 2, FD_V(fd_two_mantissas)(f->digits + i + 2), f->with + i + 2);
    }
#else
    for (uint32_t i = 0; i < n; i += 4) {
        f->integers[i / 2] = FD_V(fd_two_mantissas)(f->at + i, f->with + i);
        f->integers[i / 2 + 1] = FD_V(fd_two_mantissas)(f->at + i + 2, f->with + i + 2);
    }
    for (uint32_t i = 0; i < n; i += 4) {
        FD_V(fd_two_levels)(out + i, f->integers[i / 2], f->with + i);
        FD_V(fd_two_levels)(out + i + 2, f->integers[i / 2 + 1], f->with + i + 2);
    }
#endif
}

/* What only some venues' levels need: signs and counts. 0: the level is none. */
static inline int FD_V(fd_rare_level)(fd_level *out, const uint8_t *p, const fd_level_template *l) {
    if (l->size_signs && out->size_m == 0) return 0;
    if (l->price_neg) out->price = -out->price;
    if (l->count_at && p[l->count_at] == '0') out->size = 0;
    return 1;
}

/* Which of 64 bytes are this one. */
FD_TARGET static inline uint64_t FD_V(fd_find64)(const uint8_t *p, int byte) {
#if FD_SIMD == 2
    return _mm512_cmpeq_epi8_mask(_mm512_loadu_si512(p), _mm512_set1_epi8((char)byte));
#else
    const __m256i all = _mm256_set1_epi8((char)byte);
    const uint32_t low = (uint32_t)_mm256_movemask_epi8(
        _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)p), all));
    const uint32_t high = (uint32_t)_mm256_movemask_epi8(
        _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)(p + 32)), all));
    return (uint64_t)high << 32 | low;
#endif
}

#if FD_SIMD == 2
static const uint8_t FD_V(fd_bit_places)[64] __attribute__((aligned(64))) = {
    0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
    22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
    44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};
#endif

/* The places of these bits, each with `from` more. Without a branch on how many there are, which is as
 * good as random; room for 16 more than there are. */
FD_TARGET static inline void FD_V(fd_places_of_bits)(uint32_t *out, uint64_t bits, uint32_t from) {
#if FD_SIMD == 2
    __m512i places = _mm512_maskz_compress_epi8(bits, _mm512_load_si512(FD_V(fd_bit_places)));
    const __m512i start = _mm512_set1_epi32((int)from);
    _mm512_storeu_si512(out, _mm512_add_epi32(
        _mm512_cvtepu8_epi32(_mm512_castsi512_si128(places)), start));
    for (uint32_t n = (uint32_t)_mm_popcnt_u64(bits); __builtin_expect(n > 16, 0); n -= 16) {
        places = _mm512_shuffle_i64x2(places, places, 0x39); /* 16 bytes on */
        out += 16;
        _mm512_storeu_si512(out, _mm512_add_epi32(
            _mm512_cvtepu8_epi32(_mm512_castsi512_si128(places)), start));
    }
#else
    do
        for (uint32_t i = 0; i < 4; i++, bits = _blsr_u64(bits))
            *out++ = from + (uint32_t)_tzcnt_u64(bits);
    while (__builtin_expect(bits != 0, 0));
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

/* Does the level of `len` bytes at p fit? */
FD_TARGET static inline int FD_V(fd_level_fits)(const uint8_t *p, size_t len,
                                                const fd_level_template *l) {
    return FD_V(fd_within)(_mm256_loadu_si256((const __m256i *)p), l->low, l->high) &&
           (len <= 32 || FD_V(fd_within)(_mm256_loadu_si256((const __m256i *)(p + 32)),
                                         l->low + 32, l->high + 32));
}

/* The template of a level that the one last seen with its length does not fit; NULL: it has none. */
FD_TARGET static __attribute__((noinline)) const fd_level_template *FD_V(fd_level_like)(
    const fd_templates *t, const uint8_t *p, size_t len, int channel) {
    uint64_t digits = FD_V(fd_digits32)(_mm256_loadu_si256((const __m256i *)p));
    if (len > 32)
        digits |= (uint64_t)FD_V(fd_digits32)(_mm256_loadu_si256((const __m256i *)(p + 32))) << 32;
    const fd_level_template *l =
        &t->level[fd_level_slot(_bzhi_u64(digits, (uint32_t)len), channel)];
    return l->channel == channel && FD_V(fd_level_fits)(p, len, l) ? l : NULL;
}

/* Find more ends of levels; 0 when the message has no more. */
FD_TARGET static inline uint32_t FD_V(fd_more_closes)(fd_msg *m, int byte) {
    fd_closes *c = &m->closes;
    const uint8_t *block = c->scanned;
    uint32_t n = 0;
    c->first = block;
    for (; n < FD_LEVELS_RUN && block < m->end; block += 64) {
        uint64_t bits = FD_V(fd_find64)(block, byte);
        if (block + 64 > m->end) bits = _bzhi_u64(bits, (uint32_t)(m->end - block));
        FD_V(fd_places_of_bits)(c->at + n, bits, (uint32_t)(block - m->base));
        n += (uint32_t)_mm_popcnt_u64(bits);
    }
    c->scanned = block;
    return n;
}

/* How many of the levels at *p, one after the other, are like those seen last; they are `f` from
 * `filled` on. `ends` are those of `n`. *p moves behind them; *last: no other follows. */
FD_TARGET static inline uint32_t FD_V(fd_levels_like)(const uint8_t **p_io, const uint8_t *base,
                                                      const uint32_t *ends, uint32_t n,
                                                      const fd_level_template *const *recent,
                                                      FD_V(fd_found) *f, uint32_t filled,
                                                      int *last) {
    const uint8_t *p = *p_io;
    uint32_t i = 0;
    while (i < n) {
        const uint8_t *next = base + ends[i] + 1;
        const size_t len = (size_t)(next - p); /* huge: that was not the end of a level */
        if (__builtin_expect(len > FD_LEVEL_TEXT, 0)) break;
        const fd_level_template *l = recent[len];
        if (__builtin_expect(!FD_V(fd_level_fits)(p, len, l), 0)) break;
#if FD_SIMD == 2
        FD_V(fd_level_digits)(&f->digits[filled + i], p, len, l);
#endif
        f->at[filled + i] = p;
        f->with[filled + i++] = l;
        p = next;
        if (*p != ',') {
            *last = 1;
            break;
        }
        p++;
    }
    *p_io = p;
    return i;
}

/* Levels at p, one after the other, as long as each is like one seen before. Returns where it
 * stopped: *after tells whether that is behind a level, or at one that is new. The ends of levels
 * are looked for first, and their numbers are read once all of them were compared: neither waits for
 * the level before. */
FD_TARGET static inline const uint8_t *FD_V(fd_levels)(fd_msg *m, const uint8_t *p, int close_with,
                                                       int *after) {
    fd_templates *t = m->plan->templates;
    fd_recent *recent = fd_recent_of(t, m->channel);
    FD_V(fd_found) f;
    fd_closes *c = &m->closes;
    uint32_t next = c->next, found = c->n;
    *after = 0;
    /* another list may begin before this one, when a message is read once more */
    if (c->scanned == NULL || c->byte != close_with || p < c->first ||
        (next && m->base + c->at[next - 1] >= p)) {
        c->scanned = p;
        c->byte = close_with;
        next = found = 0;
    }
    for (int more = 1; more;) {
        fd_level *out = m->levels + m->n_levels;
        uint32_t n = 0, room = fd_level_room(m);
        if (room > FD_LEVELS_RUN) room = FD_LEVELS_RUN;
        more = room != 0;
        while (n < room && !*after) {
            if (next == found) {
                next = 0;
                found = FD_V(fd_more_closes)(m, close_with);
                more = found != 0;
                if (!found) break;
            }
            const uint32_t want = found - next < room - n ? found - next : room - n;
            const uint32_t got = FD_V(fd_levels_like)(&p, m->base, c->at + next, want,
                                                      recent->by_len, &f, n, after);
            n += got;
            next += got;
            if (got == want || *after) continue;
            const uint8_t *end = m->base + c->at[next];
            if (end < p) { /* it was not one of a level */
                next++;
                continue;
            }
            const size_t len = (size_t)(end + 1 - p);
            const fd_level_template *l =
                len > FD_LEVEL_TEXT ? NULL : FD_V(fd_level_like)(t, p, len, m->channel);
            more = l != NULL;
            if (l == NULL) break;
            recent->by_len[len] = l;
            recent->has_rare |= l->is_rare;
        }
        more = more && !*after;
        FD_V(fd_level_numbers)(out, n, &f);
        for (uint32_t i = 0; recent->has_rare && i < n; i++) {
            if (FD_V(fd_rare_level)(&out[i], f.at[i], f.with[i])) continue;
            n = i;
            p = f.at[i];
            more = *after = 0;
        }
        m->n_levels += n;
    }
    c->next = next;
    c->n = found;
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

static inline const uint8_t *FD_V(fd_plain_string)(const fd_msg *m, const uint8_t *p) {
    uint8_t escaped = 0;
    (void)m; /* it is never in place here */
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
