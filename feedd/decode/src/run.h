/* A message against the templates; compiled once for each set of instructions (see isa.h). */
#include "fast.h"
#if FD_SIMD
#include "match.h"
#include "quick_run.h"
#endif

/* What the message is, as its form says; no levels yet. */
FD_TARGET static inline void FD_V(fd_formed)(fd_msg *m, const fd_form *f) {
    m->envelope = f->envelope;
    m->channel = f->channel;
    m->rows = f->rows;
    m->listed = f->listed;
    m->bare = 0;
    m->shape_error = 0;
    if (f->has_levels) memset(m->sides, 0, (size_t)f->rows * 2 * sizeof(fd_levels));
}

/* Decode the message by a template. 0: none fits, nothing of m may be used. Where the message is read
 * in place (m->in_place), anything may follow it in the FD_PADDING bytes behind it that can be read. */
FD_TARGET static int FD_V(fd_run)(fd_msg *m, size_t n) {
    fd_templates *t = m->plan->templates;
    const uint8_t *p = m->base;
    fd_val *hole = m->holes;
    fd_levels list[FD_FORM_LISTS_MAX][2];
    uint32_t n_lists = 0;
    int channel = -1;
    const fd_step *s = &t->step[1];
    if (m->holes[FD_HOLES_MAX + FD_ARR].type != FD_ARR)
        for (int type = 0; type <= FD_ARR; type++)
            m->holes[FD_HOLES_MAX + type].type = (uint8_t)type;
    m->n_levels = 0;
    m->topic_hash = 0;
    m->sym_len = 0;
    fd_head head = {.tag = FD_NO_HOLE, .channel = -1};
    const uint8_t *q;
#if FD_SIMD
    fd_places places;
    fd_layout *layout = FD_V(fd_layout_of)(m, n, &places);
    if (layout != NULL) {
        t->layouts.hits++;
        head.len = layout->head.len;
        s = &t->step[layout->head.step];
        if (layout->is_whole) {
            const fd_form *f = &t->form[s->form];
            if (f->dead || layout->n_values > m->slots_cap || f->rows * 2 > m->sides_cap) return 0;
            m->layout = layout;
            FD_V(fd_layout_read)(m, layout, m->slots);
            for (uint32_t k = 0; k < m->plan->n_env; k++) m->env[k] = layout->env[k];
            FD_V(fd_formed)(m, f);
            t->hits++;
            return 1;
        }
        if (layout->head.before_levels) m->head = layout;
        FD_V(fd_layout_read)(m, layout, m->holes);
        hole += layout->head.n_holes;
        channel = layout->head.channel;
        if (!layout->head.before_levels) goto found;
        q = m->base + head.len;
        goto levels;
    }
    m->topic_hash = 0; /* a topic of the same form that means something else */
    m->sym_len = 0;
#endif
    for (;;) {
        while (s->channel != channel || !FD_V(fd_literal_at)(p, s)) {
        other:
            if (s->other == 0) return 0;
            s = &t->step[s->other];
        }
        q = p + s->len;
        if (__builtin_expect(q > m->end, 0)) return 0; /* what is behind a message may look like one */
        switch (s->kind) {
            case FD_HOLE_DEC: {
                const uint8_t *r = FD_V(fd_short_decimal)(q, hole);
                if (r != NULL && *r == '"') {
                    hole->off = (uint32_t)(q - m->base);
                    hole->len = (uint32_t)(r - q);
                    hole->type = FD_STR;
                    hole++;
                    p = r;
                    break;
                }
            } /* fall through */
            case FD_HOLE_STR: {
                const uint8_t *r = FD_V(fd_plain_string)(m, q);
                if (r == NULL) goto other;
                *hole++ = (fd_val){.off = (uint32_t)(q - m->base), .len = (uint32_t)(r - q),
                                   .type = FD_STR};
                p = r;
                break;
            }
            case FD_HOLE_NUM: {
                const uint8_t *r = FD_V(fd_short_decimal)(q, hole);
                if (r == NULL || (*r | 0x20) == 'e' || fd_isdigit(*r) || *r == '.') {
                    if (q >= m->end || (*q != '-' && !fd_isdigit(*q)) || (r = fd_number(q)) == NULL)
                        goto other;
                    hole->plain = 0;
                }
                hole->off = (uint32_t)(q - m->base);
                hole->len = (uint32_t)(r - q);
                hole->type = FD_NUM;
                hole++;
                p = r;
                break;
            }
            case FD_HOLE_CONST:
                if (hole < m->holes + 64) head.fixed |= 1ull << (hole - m->holes);
                *hole++ = (fd_val){.off = (uint32_t)(q - m->base) - s->value_len,
                                   .len = s->value_len, .type = s->type};
                p = q;
                break;
            case FD_HOLE_LEVELS:
#if FD_SIMD
            levels:
#endif
                if (*q != '[') goto other;
                if (head.len == 0) {
                    head.len = (uint32_t)(q - m->base);
                    head.n_holes = (uint32_t)(hole - m->holes);
                    head.step = (uint16_t)(s - t->step);
                    head.before_levels = 1;
                }
                m->channel = s->list_channel;
                m->depth = s->depth;
                p = fd_level_list(m, q, list[n_lists], s->side);
                if (p == NULL || list[n_lists][0].seen != 1) return 0;
                n_lists++;
                break;
            case FD_HOLE_NONE:
                if (s->peek && *q != s->peek) goto other;
                p = q;
                break;
            default:
                if (q != m->base + n) goto other;
                goto found;
        }
        if (s->resolves) {
            if (head.len == 0) {
                head.resolves = 1;
                head.topic = s->topic;
                head.tag = s->tag;
                head.envelope = s->envelope;
            }
            m->topic = m->holes[s->topic];
            m->tag.type = FD_ABSENT;
            m->tag.escaped = 0;
            if (s->tag != FD_NO_HOLE) m->tag = m->holes[s->tag];
            m->envelope = s->envelope;
            fd_topic_known(m);
            channel = m->channel;
            if (channel < 0) return 0;
            if (head.len == 0) head.channel = channel;
        }
        s = &t->step[s->next];
    }
found:;
    const fd_form *f = &t->form[s->form];
    if (f->dead) return 0;
    if (f->n_values > m->slots_cap || f->rows * 2 > m->sides_cap) return 0;
    FD_V(fd_formed)(m, f);
    m->form = s->form;
    for (uint32_t k = 0; k < f->n_values; k++) m->slots[k] = m->holes[f->value[k]];
    for (uint32_t k = 0; k < m->plan->n_env; k++) m->env[k] = m->holes[f->env[k]];
    for (uint32_t k = 0; k < n_lists; k++) {
        m->sides[f->list_at[k]] = list[k][0];
        if (f->list_mixed[k]) m->sides[f->list_at[k] + 1] = list[k][1];
    }
    t->hits++;
#if FD_SIMD
    if (layout == NULL) {
        if (head.len == 0) {
            head.len = (uint32_t)n;
            head.n_holes = (uint32_t)(hole - m->holes);
            head.step = (uint16_t)(s - t->step);
        }
        FD_V(fd_layout_note)(m, &places, &head, f);
    }
#endif
    return 1;
}
