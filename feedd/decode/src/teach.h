/* From a message that the walker has read to the template of those like it. */
#ifndef FEEDD_TEACH_H
#define FEEDD_TEACH_H

#define FD_CONST_MAX 40
#define FD_TEACH_PAUSE_MAX 255

/* A way through the tree of steps while it is made. */
typedef struct {
    fd_msg *m;
    const uint8_t *literal;      /* start of what was not yet put into a step */
    uint32_t step, n_holes;
    uint32_t off[FD_HOLES_MAX];  /* where each value begins */
    int channel, resolved, wait; /* wait: the topic is known behind the literal that follows it */
    uint8_t topic, tag;
    uint8_t has_topic, has_tag;
    uint8_t dry;                 /* only count the steps */
    uint32_t n_steps;
} fd_path;

/* The step behind the last one that is like `want`, made when it is not there. */
static int fd_path_step(fd_path *w, fd_step *want) {
    fd_templates *t = w->m->plan->templates;
    uint16_t root = t->n_steps > 1 ? 1 : 0;
    uint16_t *link = w->step ? &t->step[w->step].next : &root;
    w->n_steps++;
    if (w->dry) return 1;
    while (*link) {
        fd_step *s = &t->step[*link];
        fd_step as = *s;
        as.next = as.other = as.form = 0;
        if (s->kind != FD_HOLE_END && !memcmp(&as, want, sizeof as)) {
            w->step = *link;
            return 1;
        }
        link = &s->other;
    }
    *link = (uint16_t)t->n_steps;
    t->step[t->n_steps] = *want;
    w->step = t->n_steps++;
    return 1;
}

static int fd_path_literal(fd_path *w, const uint8_t *end, uint32_t keep) {
    while ((uint32_t)(end - w->literal) > FD_STEP_TEXT) {
        uint32_t n = (uint32_t)(end - w->literal) - keep;
        fd_step s;
        memset(&s, 0, sizeof s);
        s.len = (uint8_t)(n > FD_STEP_TEXT ? FD_STEP_TEXT : n);
        s.kind = FD_HOLE_NONE;
        s.channel = (int8_t)w->channel;
        memcpy(s.text, w->literal, s.len);
        w->literal += s.len;
        if (s.len == 0 || !fd_path_step(w, &s)) return 0;
    }
    return 1;
}

/* The topic and its tag are behind us, or what comes instead of a tag begins. */
static void fd_path_resolve(fd_path *w, fd_step *s) {
    s->resolves = 1;
    s->topic = w->topic;
    s->tag = w->has_tag ? w->tag : FD_NO_HOLE;
    s->envelope = (uint8_t)w->m->envelope;
    w->resolved = 1;
}

/* A value in [p, q), its literal before it. */
static int fd_path_value(fd_path *w, const uint8_t *p, const uint8_t *q, int kind, int type) {
    const fd_msg *m = w->m;
    const int is_const = kind == FD_HOLE_CONST;
    const uint32_t n = (uint32_t)(q - p), off = (uint32_t)(p - m->base);
    const int is_topic = m->topic.type > FD_NULL && m->topic.off == off;
    const int is_tag = m->tag.type > FD_NULL && m->tag.off == off;
    fd_step s;
    if (w->n_holes == FD_HOLES_MAX || (is_const && n > FD_CONST_MAX)) return 0;
    if (!fd_path_literal(w, is_const ? q : p, is_const ? n : 0)) return 0;
    memset(&s, 0, sizeof s);
    s.kind = (uint8_t)kind;
    s.channel = (int8_t)w->channel;
    s.len = (uint8_t)((is_const ? q : p) - w->literal);
    memcpy(s.text, w->literal, s.len);
    if (is_const) {
        s.type = (uint8_t)type;
        s.value_len = (uint8_t)n;
    }
    w->literal = q;
    w->off[w->n_holes] = off;
    if (is_topic) {
        w->topic = (uint8_t)w->n_holes;
        w->has_topic = 1;
    }
    if (is_tag) {
        w->tag = (uint8_t)w->n_holes;
        w->has_tag = 1;
    }
    w->n_holes++;
    if (!w->resolved && w->has_topic) {
        if (!m->plan->envelopes[m->envelope].tagged || w->has_tag) fd_path_resolve(w, &s);
        else w->wait = 1;   /* a tag may follow, and is told by the literal behind the topic */
    }
    if (!fd_path_step(w, &s)) return 0;
    if (w->resolved) w->channel = m->channel;
    return 1;
}

/* An array begins in place of the tag: the channel is known before its first value. */
static int fd_path_no_tag(fd_path *w, const uint8_t *p) {
    fd_step s;
    if (!fd_path_literal(w, p, 0)) return 0;
    memset(&s, 0, sizeof s);
    s.kind = FD_HOLE_NONE;
    s.channel = (int8_t)w->channel;
    s.len = (uint8_t)(p - w->literal);
    s.peek = *p;
    memcpy(s.text, w->literal, s.len);
    w->literal = p;
    w->wait = 0;
    fd_path_resolve(w, &s);
    if (!fd_path_step(w, &s)) return 0;
    w->channel = w->m->channel;
    return 1;
}

static int fd_path_list(fd_path *w, const fd_list *list) {
    const fd_msg *m = w->m;
    fd_step s;
    if (!fd_path_literal(w, m->base + list->off, 0)) return 0;
    memset(&s, 0, sizeof s);
    s.kind = FD_HOLE_LEVELS;
    s.channel = (int8_t)w->channel;
    s.len = (uint8_t)(m->base + list->off - w->literal);
    s.side = list->side;
    s.depth = list->depth;
    s.list_channel = (uint8_t)m->channel;
    memcpy(s.text, w->literal, s.len);
    w->literal = m->base + list->end;
    return fd_path_step(w, &s);
}

static int fd_path_end(fd_path *w, const uint8_t *end, uint32_t form) {
    fd_templates *t = w->m->plan->templates;
    fd_step s;
    if (!fd_path_literal(w, end, 0)) return 0;
    memset(&s, 0, sizeof s);
    s.kind = FD_HOLE_END;
    s.channel = (int8_t)w->channel;
    s.len = (uint8_t)(end - w->literal);
    s.form = (uint16_t)form;
    memcpy(s.text, w->literal, s.len);
    for (uint16_t i = w->step ? t->step[w->step].next : 0; i; i = t->step[i].other) {
        const fd_step *is = &t->step[i];
        if (is->kind == FD_HOLE_END && is->channel == s.channel && is->len == s.len &&
            !memcmp(is->text, s.text, s.len))
            return 0;    /* known, and passed over for a value that only the walker reads */
    }
    return fd_path_step(w, &s);
}

/* Is the value one that told what the message is? Then it belongs to the literal. */
static int fd_decides(const fd_msg *m, uint32_t off) {
    const fd_envelope *envelope = &m->plan->envelopes[m->envelope];
    if (m->tag.type > FD_NULL && m->tag.off == off) return 1;
    return envelope->n_when && m->env[envelope->when].type > FD_NULL &&
           m->env[envelope->when].off == off;
}

/* The way of the message in m through the tree; false when there can be none. */
static int fd_path_make(fd_path *w, size_t n) {
    const fd_msg *m = w->m;
    const uint8_t *p = m->base, *end = p + n;
    uint32_t list = 0;
    while (p < end) {
        const uint8_t *q;
        uint8_t escaped = 0;
        if (list < m->n_lists && p == m->base + m->lists[list].off) {
            if (w->wait && !fd_path_no_tag(w, p)) return 0;
            if (!fd_path_list(w, &m->lists[list])) return 0;
            p = m->base + m->lists[list++].end;
        } else if (*p == '"') {
            if ((q = fd_string(p + 1, &escaped)) == NULL) return 0;
            if (*fd_ws(q + 1) == ':') {
                p = q + 1;
                continue;
            }
            const uint32_t off = (uint32_t)(p + 1 - m->base);
            fd_dec d;
            if (escaped) return 0;
            const int decimal = fd_plain_decimal(p + 1, &d) == q;
            const int kind = fd_decides(m, off) ? FD_HOLE_CONST
                             : decimal          ? FD_HOLE_DEC
                                                : FD_HOLE_STR;
            if (!fd_path_value(w, p + 1, q, kind, FD_STR)) return 0;
            p = q + 1;
        } else if (*p == '-' || fd_isdigit(*p)) {
            if ((q = fd_number(p)) == NULL) return 0;
            const int decides = fd_decides(m, (uint32_t)(p - m->base));
            if (!fd_path_value(w, p, q, decides ? FD_HOLE_CONST : FD_HOLE_NUM, FD_NUM)) return 0;
            p = q;
        } else if (*p == 't' || *p == 'f' || *p == 'n') {
            if ((q = fd_literal(p)) == NULL) return 0;
            const int type = *p == 't' ? FD_TRUE : *p == 'f' ? FD_FALSE : FD_NULL;
            if (!fd_path_value(w, p, q, FD_HOLE_CONST, type)) return 0;
            p = q;
        } else {
            if (w->wait && (*p == '[' || *p == '{') && !fd_path_no_tag(w, p)) return 0;
            p++;
        }
    }
    return list == m->n_lists;
}

/* Which hole a value is, or the place of one without bytes. -1: none of both. */
static int fd_hole_of(const fd_path *w, const fd_val *v) {
    if (v->type == FD_ABSENT || (v->type == FD_NULL && v->len == 0)) return FD_HOLES_MAX + v->type;
    if (v->type == FD_OBJ || v->type == FD_ARR || v->escaped) return -1;
    for (uint32_t i = 0; i < w->n_holes; i++)
        if (w->off[i] == v->off) return (int)i;
    return -1;
}

static int fd_has_levels(const fd_msg *m) {
    const fd_channel *channel = &m->plan->channels[m->channel];
    return m->plan->nodes[channel->each_node >= 0 ? channel->each_node : channel->node].has_levels;
}

/* What the message is and where its values go, as the walker left it in m. */
static int fd_form_make(fd_form *f, const fd_path *w) {
    const fd_msg *m = w->m;
    f->channel = m->channel;
    f->envelope = (uint8_t)m->envelope;
    f->listed = m->listed;
    f->rows = m->rows;
    f->n_values = m->rows * m->plan->channels[m->channel].slots;
    f->has_levels = (uint8_t)fd_has_levels(m);
    f->dead = 0;
    f->used = 0;
    f->value = NULL;
    if (f->n_values > FD_FORM_VALUES_MAX) return 0;
    for (uint32_t k = 0; k < m->plan->n_env; k++) {
        const int hole = fd_hole_of(w, &m->env[k]);
        if (hole < 0) return 0;
        f->env[k] = (uint8_t)hole;
    }
    for (uint32_t k = 0; k < m->n_lists; k++) {
        const fd_levels *range = &m->sides[m->lists[k].at];
        if (range->seen != 1 || m->lists[k].at > UINT8_MAX - 1) return 0;
        f->list_at[k] = (uint8_t)m->lists[k].at;
        f->list_mixed[k] = m->lists[k].side == FD_BOTH_SIDES;
    }
    if ((f->value = (uint8_t *)malloc(f->n_values + 1)) == NULL) return 0;
    for (uint32_t k = 0; k < f->n_values; k++) {
        const int hole = fd_hole_of(w, &m->slots[k]);
        if (hole < 0) return 0;
        f->value[k] = (uint8_t)hole;
        if (hole < FD_HOLES_MAX) f->used |= 1ull << (hole < 63 ? hole : 63);
    }
    return 1;
}

/* What decoding has left in m, to compare. */
typedef struct {
    int envelope, channel;
    fd_val topic, tag;
    uint64_t topic_hash;
    uint16_t sym_off, sym_len;
    const uint8_t *topic_at;
    uint8_t topic_text[FD_TOPIC_MAX];
    uint8_t listed;
    uint32_t rows, n_levels;
    fd_val env[FD_ENV_MAX];
    fd_val *slots;
    fd_levels *sides;
    fd_level *levels;
} fd_outcome;

static int fd_outcome_of(fd_outcome *o, const fd_msg *m) {
    const size_t slots = (size_t)m->rows * m->plan->channels[m->channel].slots;
    memset(o, 0, sizeof *o);
    o->envelope = m->envelope;
    o->channel = m->channel;
    o->topic = m->topic;
    o->tag = m->tag;
    o->topic_hash = m->topic_hash;
    o->sym_off = m->sym_off;
    o->sym_len = m->sym_len;
    o->topic_at = m->topic_at;
    memcpy(o->topic_text, m->topic_text, sizeof o->topic_text);
    o->listed = m->listed;
    o->rows = m->rows;
    o->n_levels = m->n_levels;
    memcpy(o->env, m->env, sizeof o->env);
    o->slots = (fd_val *)malloc((slots + 1) * sizeof(fd_val));
    o->sides = (fd_levels *)malloc(((size_t)m->rows * 2 + 1) * sizeof(fd_levels));
    o->levels = (fd_level *)malloc(((size_t)m->n_levels + 1) * sizeof(fd_level));
    if (o->slots == NULL || o->sides == NULL || o->levels == NULL) return 0;
    if (slots) memcpy(o->slots, m->slots, slots * sizeof(fd_val));
    if (m->rows) memcpy(o->sides, m->sides, (size_t)m->rows * 2 * sizeof(fd_levels));
    if (m->n_levels) memcpy(o->levels, m->levels, (size_t)m->n_levels * sizeof(fd_level));
    return 1;
}

static void fd_outcome_free(fd_outcome *o) {
    free(o->slots);
    free(o->sides);
    free(o->levels);
}

static int fd_same_value(const fd_val *a, const fd_val *b) {
    return a->type == b->type &&
           (a->type == FD_ABSENT ||
            (a->off == b->off && a->len == b->len && a->escaped == b->escaped));
}

static int fd_same_level(const fd_level *a, const fd_level *b) {
    return a->price == b->price && a->size == b->size && a->price_dec.m == b->price_dec.m &&
           a->price_dec.e == b->price_dec.e && a->price_dec.neg == b->price_dec.neg &&
           a->size_m == b->size_m && a->size_e == b->size_e && a->inexact == b->inexact;
}

static int fd_same_outcome(const fd_outcome *o, const fd_msg *m) {
    const size_t slots = (size_t)m->rows * m->plan->channels[m->channel].slots;
    if (o->envelope != m->envelope || o->channel != m->channel || o->topic_hash != m->topic_hash ||
        o->sym_len != m->sym_len || (m->sym_len && o->sym_off != m->sym_off) ||
        o->listed != m->listed || o->rows != m->rows || o->n_levels != m->n_levels)
        return 0;
    for (uint32_t k = 0; k < m->plan->n_env; k++)
        if (!fd_same_value(&o->env[k], &m->env[k])) return 0;
    for (size_t k = 0; k < slots; k++)
        if (!fd_same_value(&o->slots[k], &m->slots[k])) return 0;
    for (uint32_t k = 0; fd_has_levels(m) && k < m->rows * 2; k++) {
        const fd_levels *a = &o->sides[k], *b = &m->sides[k];
        if (a->seen != b->seen || a->count != b->count || (a->count && a->start != b->start))
            return 0;
    }
    for (uint32_t k = 0; k < m->n_levels; k++)
        if (!fd_same_level(&o->levels[k], &m->levels[k])) return 0;
    return 1;
}

/* Is every number that a template has read what its text says? For tests. */
static int fd_plain_holds(const fd_msg *m) {
    const size_t slots = (size_t)m->rows * m->plan->channels[m->channel].slots;
    for (size_t k = 0; k < slots; k++) {
        const fd_val *v = &m->slots[k];
        fd_dec d = {0, 0, 0, 0};
        if (!v->plain) continue;
        if (fd_scan_dec(m->base + v->off, &d) != m->base + v->off + v->len || d.neg || d.many ||
            d.m != v->m || d.e != -(int32_t)v->decimals)
            return 0;
    }
    return 1;
}

static void fd_outcome_restore(const fd_outcome *o, fd_msg *m) {
    m->envelope = o->envelope;
    m->channel = o->channel;
    m->topic = o->topic;
    m->tag = o->tag;
    m->topic_hash = o->topic_hash;
    m->sym_off = o->sym_off;
    m->sym_len = o->sym_len;
    m->topic_at = o->topic_at;
    memcpy(m->topic_text, o->topic_text, sizeof o->topic_text);
    m->listed = o->listed;
    m->rows = o->rows;
    m->n_levels = o->n_levels;
    m->bare = 0;
    m->shape_error = 0;
    memcpy(m->env, o->env, sizeof o->env);
    /* only messages with rows are taught */
    memcpy(m->slots, o->slots,
           (size_t)o->rows * m->plan->channels[o->channel].slots * sizeof(fd_val));
    memcpy(m->sides, o->sides, (size_t)o->rows * 2 * sizeof(fd_levels));
    if (o->n_levels) memcpy(m->levels, o->levels, (size_t)o->n_levels * sizeof(fd_level));
}

static void fd_teach_back_off(fd_templates *t) {
    t->pause_next = t->pause_next * 2 + 1;
    if (t->pause_next > FD_TEACH_PAUSE_MAX) t->pause_next = FD_TEACH_PAUSE_MAX;
    t->pause = t->pause_next;
}

/* Put the way of the message into the tree, its end into form f, if all of it has a place. */
static int fd_teach_form(fd_msg *m, size_t n, fd_form *f) {
    fd_templates *t = m->plan->templates;
    fd_path dry, w;
    memset(&w, 0, sizeof w);
    w.m = m;
    w.literal = m->base;
    w.channel = -1;
    dry = w;
    dry.dry = 1;
    if (!fd_path_make(&dry, n) || !fd_path_end(&dry, m->base + n, 0)) return 0;
    if (m->topic.type > FD_NULL && !dry.resolved) return 0;
    if (t->n_steps + dry.n_steps > FD_STEPS_MAX) return 0;
    return fd_form_make(f, &dry) && fd_path_make(&w, n) && fd_path_end(&w, m->base + n, t->n_forms);
}

/* Learn from the message in m, which the walker has read without an objection; m is the same
 * afterwards. What is learned is tried on the message itself, and given up if it says otherwise. */
static void fd_teach(fd_msg *m, size_t n) {
    fd_templates *t = m->plan->templates;
    fd_outcome before;
    if (t->n_forms == FD_FORMS_MAX || t->n_steps > FD_STEPS_MAX - FD_HOLES_MAX) {
        if (++t->misses < FD_RELEARN_AFTER) return;
        fd_templates_clear(t); /* what it knows is not what comes now */
    }
    if (t->pause) {
        t->pause--;
        return;
    }
    fd_form *f = &t->form[t->n_forms];
    f->value = NULL;
    if (m->bare || m->rows == 0 || m->n_lists > FD_FORM_LISTS_MAX ||
        m->plan->n_channels > INT8_MAX || m->topic.escaped || m->tag.escaped ||
        !fd_teach_form(m, n, f)) {
        free(f->value);
        f->value = NULL;
        fd_teach_back_off(t);
        return;
    }
    t->n_forms++;
    t->learned++;
    t->pause_next = 0;
    f->dead = !fd_outcome_of(&before, m);
    if (!f->dead && (!fd_run(m, n) || !fd_same_outcome(&before, m))) {
        f->dead = 1;
        fd_outcome_restore(&before, m);
    }
    fd_outcome_free(&before);
}

#endif
