/* Replays messages through the native decode engine under AddressSanitizer and UBSan.
 *
 * usage: asan_replay SEED MUTATIONS FILE...
 * Each file is decoded whole, cut at every offset, and MUTATIONS times with random changes; every
 * message lies in a heap block of exactly its size plus the documented padding, so that one byte
 * read behind it is an error. Built with -DFEEDD_LIBFUZZER this is a libFuzzer target instead.
 */
#define FEEDD_PADDED 1 /* every message is followed by as many bytes as may be read */
#include "engine.h"

#ifndef REPLAY_PADDING
#define REPLAY_PADDING FD_PADDING /* a test builds with less and must see an error */
#endif
#define NODES 16
#define KEYS 24

static fd_plan plan;
static fd_node nodes[NODES];
static fd_key keys[NODES][KEYS];
static fd_channel channels[2];
static fd_topic topics[8];
static fd_envelope envelopes[4];
static fd_cached_topic cache[1024];
static uint8_t arena[64 * 1024];
#define SETS 3
static fd_templates *templates[SETS]; /* one for each set of instructions that this machine has */
static fd_routes routes[SETS];
static uint64_t decoded, rejected, with_rows, quick, quick_books;

static void die(const char *what) {
    fprintf(stderr, "asan_replay: %s\n", what);
    abort();
}

/* Key names in blocks of their own with the 8 bytes behind them that the engine may read. */
static void add_key(int node, const char *name, uint8_t op, uint16_t arg) {
    fd_node *n = &nodes[node];
    fd_key *e = &keys[node][n->n];
    size_t len = strlen(name);
    uint8_t *copy = calloc(len + 8, 1);
    if (copy == NULL || n->n == KEYS) die("no room for a key");
    memcpy(copy, name, len);
    n->keys = keys[node];
    e->key = copy;
    e->len = (uint32_t)len;
    memcpy(&e->prefix, copy, 8);
    e->op = op;
    e->arg = arg;
    uint32_t h = fd_key_hash(e->prefix, e->len);
    while (n->table[h]) h = (h + 1) & 63;
    n->table[h] = (uint8_t)++n->n;
}

static void add_topic(uint8_t envelope, int32_t channel, const char *before, const char *after,
                      int8_t symbol_at) {
    fd_topic *t = &topics[plan.n_topics++];
    t->text[0] = (const uint8_t *)before;
    t->len[0] = (uint16_t)strlen(before);
    t->holes = after != NULL;
    if (after != NULL) {
        t->text[1] = (const uint8_t *)after;
        t->len[1] = (uint16_t)strlen(after);
    }
    t->symbol_at = symbol_at;
    t->channel = channel;
    t->envelope = envelope;
}

/* Channel 0 has books and nested fields, channel 1 only fields; three envelopes as venues have. */
static void build_plan(void) {
    const char *fields[] = {"s", "u", "U", "pu", "E", "instrument_name", "underlying_price", "p",
                            "q", "change_id", "timestamp"};
    plan.nodes = nodes;
    plan.n_nodes = NODES;
    plan.channels = channels;
    plan.n_channels = 2;
    plan.topics = topics;
    plan.envelopes = envelopes;
    plan.n_envelopes = 4;
    plan.cache = cache;
    plan.cache_mask = 1023;
    plan.arena = arena;
    plan.arena_cap = sizeof arena;
    plan.delimiter['@'] = plan.delimiter['.'] = 1;
    for (int c = 0; c < 2; c++) {
        uint16_t slot = 0;
        for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
            add_key(c, fields[i], FD_OP_SLOT, slot++);
        add_key(c, "greeks", FD_OP_NODE, (uint16_t)(2 + c));
        nodes[2 + c].slot_lo = slot;
        add_key(2 + c, "delta", FD_OP_SLOT, slot++);
        add_key(2 + c, "gamma", FD_OP_SLOT, slot++);
        nodes[2 + c].slot_hi = nodes[c].slot_hi = slot;
        channels[c].node = c;
        channels[c].each_node = -1;
        channels[c].slots = slot;
        channels[c].shapes = FD_SHAPE_OBJECT | FD_SHAPE_ROWS;
        channels[c].level.size = 1;
    }
    const char *lists[][2] = {{"b", "a"}, {"bids", "asks"}};
    for (int i = 0; i < 2; i++)
        for (uint16_t side = 0; side < 2; side++) add_key(0, lists[i][side], FD_OP_LEVELS, side);
    nodes[0].has_levels = 1;
    add_key(4, "stream", FD_OP_TOPIC, FD_NO_SLOT);
    add_key(4, "data", FD_OP_PAYLOAD, 0);
    add_key(5, "params", FD_OP_NODE, 6);
    add_key(6, "channel", FD_OP_TOPIC, FD_NO_SLOT);
    add_key(6, "data", FD_OP_PAYLOAD, 0);
    add_key(7, "e", FD_OP_TOPIC, FD_NO_SLOT);
    nodes[6].has_topic = nodes[6].has_payload = 1;
    const int32_t at[] = {4, 5, 7, 8};
    for (int i = 0; i < 4; i++) {
        envelopes[i].node = at[i];
        envelopes[i].fixed = i == 3 ? 1 : -1;
        envelopes[i].root_is_payload = i >= 2;
    }
    add_topic(0, 0, "", "@depth", 0);
    add_topic(0, 0, "", "@depth@100ms", 0);
    add_topic(0, 1, "", "@trade", 0);
    add_topic(1, 0, "book.", ".100ms", 0);
    add_topic(1, 1, "trades.", ".100ms", 0);
    add_topic(1, 1, "ticker.", ".100ms", 0);
    add_topic(2, 0, "depthUpdate", NULL, -1);
    add_topic(2, 1, "aggTrade", NULL, -1);
}

/* Everything that the pipeline does with a value, and that spans lie inside the message. */
static void use_value(const fd_msg *m, const fd_val *v, size_t n) {
    uint8_t inexact = 0;
    uint64_t u;
    int64_t i;
    fd_dec d;
    if (v->type == FD_ABSENT) return;
    if (v->off > n || v->len > n - v->off) die("a span leaves the message");
    const uint8_t *p = m->base + v->off;
    if (v->type == FD_STR) {
        uint8_t *out = malloc(v->len ? v->len : 1);
        if (out == NULL || fd_unescape(p, v->len, out) > v->len) die("unescaped text grew");
        free(out);
    }
    fd_text_u64(p, v->len, &u);
    if (v->type == FD_NUM || v->type == FD_STR) {
        if (fd_scan_dec(p, &d) != p + v->len) return;
        for (int shift = -20; shift <= 20; shift += 5) {
            fd_to_double(d, shift, p, v->len, &inexact);
            fd_to_int(d, shift, &i);
        }
        fd_to_u64(d, &u);
    }
}

/* Read quickly, a message has the channel and the numbers that it has when it is decoded. */
typedef struct {
    int read, channel;
    uint64_t topic_hash;
    const fd_layout *layout;
    double decimal[FD_QUICK_DECIMALS];
    uint64_t number[FD_QUICK_NUMBERS];
    fd_levels sides[2];
    fd_level *levels;
} quick_read;

static void read_quickly(fd_msg *m, const uint8_t *block, size_t n, quick_read *r) {
    r->read = fd_quickly(m, block, n);
    if (!r->read) return;
    quick++;
    r->channel = m->channel;
    r->topic_hash = m->topic_hash;
    r->layout = m->layout;
    if (m->who != &channels[m->channel]) die("quick: about something else");
    memcpy(r->decimal, m->decimal, sizeof r->decimal);
    memcpy(r->number, m->number, sizeof r->number);
    r->levels = NULL;
    if (m->layout->is_whole) return;
    quick_books++;
    memcpy(r->sides, m->sides, sizeof r->sides);
    r->levels = malloc((m->n_levels + 1) * sizeof *r->levels);
    if (r->levels == NULL) die("out of memory");
    if (m->n_levels) memcpy(r->levels, m->levels, m->n_levels * sizeof *r->levels);
}

/* The integers of the head of a book and its levels. */
static void check_book(const fd_msg *m, const quick_read *r) {
    const fd_layout *l = r->layout;
    for (uint32_t i = FD_QUICK_DECIMALS; i < l->quick.n_numbers; i++) {
        fd_dec d;
        fd_scan_dec(m->base + l->quick.number_at[i], &d);
        if (d.m != r->number[i] || d.e) die("quick book: another number");
    }
    for (int side = 0; side < 2; side++) {
        const fd_levels *a = &r->sides[side], *b = &m->sides[side];
        if (a->seen != b->seen || (a->seen == 1 && a->count != b->count)) die("quick book: sides");
        for (uint32_t k = 0; a->seen == 1 && k < a->count; k++) {
            const fd_level *x = &r->levels[a->start + k], *y = &m->levels[b->start + k];
            if (x->price != y->price || x->size != y->size || x->price_dec.m != y->price_dec.m ||
                x->price_dec.e != y->price_dec.e || x->price_dec.neg != y->price_dec.neg ||
                x->inexact != y->inexact)
                die("quick book: another level");
        }
    }
}

/* The plain numbers of a row, in order: the first ones as float64, the others as integers. */
static void check_quickly(const fd_msg *m, const quick_read *r) {
    if (m->channel != r->channel || m->rows != 1) die("quick: another channel");
    if (m->topic_hash != r->topic_hash) die("quick: another topic");
    if (!r->layout->is_whole) {
        check_book(m, r);
        return;
    }
    uint32_t at = 0;
    for (uint32_t k = 0; k < r->layout->n_values && at < FD_QUICK_NUMBERS; k++) {
        fd_dec d;
        if (!r->layout->value[k].plain) continue;
        const fd_val *v = &m->slots[k];
        if (fd_scan_dec(m->base + v->off, &d) != m->base + v->off + v->len) die("quick: no number");
        if (at < FD_QUICK_DECIMALS ? r->decimal[at] != (double)d.m : r->number[at] != d.m)
            die("quick: another number");
        at++;
    }
}

static void learn_book(fd_msg *m) {
    fd_layout *l = m->head;
    uint32_t at = FD_QUICK_DECIMALS;
    if (l->quick.use == FD_QUICK_NEW) {
        l->quick.use = FD_QUICK_NONE;
        for (uint32_t k = 0; k < l->n_values && at < FD_QUICK_NUMBERS; k++)
            at += l->value[k].decimals == 0 && fd_quick_number(l, &l->value[k], at);
        if (!fd_quick_texts(m, l, NULL)) return;
        for (uint32_t k = 0; k < l->n_values && !l->quick.type_len; k++)
            if (l->value[k].type == FD_STR) fd_quick_type(m, l, &l->value[k]);
        for (uint32_t i = at; at > FD_QUICK_DECIMALS && i < FD_QUICK_NUMBERS; i++)
            fd_quick_again(&l->quick, FD_QUICK_DECIMALS, i);
        l->quick.use = FD_QUICK_USED;
    }
    if (l->quick.use == FD_QUICK_USED && !fd_quick_told_behind(m, l))
        fd_route_learn(m, l, &channels[m->channel]);
}

static void learn_quickly(fd_msg *m) {
    fd_layout *l = m->layout;
    if (m->head != NULL && m->rows == 1) learn_book(m);
    if (l == NULL || m->rows != 1 || !l->is_whole) return;
    if (l->quick.use == FD_QUICK_NEW) {
        uint32_t at = 0, first = UINT32_MAX;
        l->quick.use = FD_QUICK_NONE;
        for (uint32_t k = 0; k < l->n_values && at < FD_QUICK_NUMBERS; k++) {
            if (!l->value[k].plain) continue;
            if (first == UINT32_MAX) first = k;
            if (!fd_quick_number(l, &l->value[k], at++)) die("quick: a number is not there");
        }
        if (first == UINT32_MAX || !fd_quick_texts(m, l, NULL)) return;
        for (; at < FD_QUICK_NUMBERS; at++) fd_quick_number(l, &l->value[first], at);
        for (int i = 0; i < FD_QUICK_DECIMALS; i++) l->quick.scale[i] = 1;
        l->quick.use = FD_QUICK_USED;
    }
    if (l->quick.use == FD_QUICK_USED) fd_route_learn(m, l, &channels[m->channel]);
}

/* The message by templates: they must read what the walker has read into m. */
static void use_templates(fd_msg *m, const uint8_t *data, size_t n, int rc) {
    static fd_msg other;
    /* where it came, with what may follow it there: text that goes on as if it were the same message */
    uint8_t *block = malloc(n + FD_PADDING);
    if (block == NULL) die("out of memory");
    memcpy(block, data, n);
    for (size_t i = 0; i < FD_PADDING; i++) block[n + i] = n ? data[(n / 2 + i) % n] : ']';
    quick_read quickly;
    const int rows = rc == FD_OK && m->channel >= 0;
    fd_outcome outcome;
    if (rows && !fd_outcome_of(&outcome, m)) die("out of memory");
    other.plan = &plan;
    for (int i = 0; i < SETS; i++) {
        plan.templates = templates[i];
        other.routes = &routes[i];
        read_quickly(&other, block, n, &quickly);
        if (fd_decode(&other, block, n) != rc) die("templates: another status");
        if (rc != FD_BAD_JSON && other.channel != m->channel) die("templates: another channel");
        if (rows && !fd_same_outcome(&outcome, &other)) die("templates: other values");
        if (rows && !fd_plain_holds(&other)) die("templates: another number");
        if (quickly.read && !rows) die("quick: nothing to be read");
        if (quickly.read) {
            check_quickly(&other, &quickly);
            free(quickly.levels);
        }
        if (rows) learn_quickly(&other);
    }
    plan.templates = NULL;
    if (rows) fd_outcome_free(&outcome);
    free(block);
}

static void use_message(fd_msg *m, const uint8_t *data, size_t n, int as_channel) {
    uint8_t *block = calloc(n + REPLAY_PADDING, 1);
    if (block == NULL) die("out of memory");
    if (n) memcpy(block, data, n);
    int rc = as_channel < 0 ? fd_decode(m, block, n) : fd_decode_as(m, block, n, as_channel);
    decoded++;
    if (as_channel < 0) use_templates(m, block, n, rc);
    if (rc == FD_BAD_JSON) {
        rejected++;
    } else if (rc == FD_OK && m->channel >= 0 && m->rows) {
        with_rows++;
        uint32_t slots = plan.channels[m->channel].slots;
        for (uint32_t i = 0; i < m->rows * slots; i++) use_value(m, &m->slots[i], n);
        for (uint32_t i = 0; i < m->rows * 2; i++) {
            if (m->channel == 1 || m->sides[i].seen != 1) continue;
            if (m->sides[i].start + m->sides[i].count > m->n_levels) die("levels out of range");
            for (uint32_t k = 0; k < m->sides[i].count; k++)
                if (!(m->levels[m->sides[i].start + k].size >= 0)) die("a negative size");
        }
        if (m->sym_off + m->sym_len > FD_TOPIC_MAX) die("the symbol leaves the topic");
    }
    free(block);
}

static void use_all(fd_msg *m, const uint8_t *data, size_t n) {
    for (int as = -1; as < 2; as++) use_message(m, data, n, as);
}

static void setup(fd_msg *m) {
    if (!fd_decimal_init()) die("no C locale");
    build_plan();
    memset(m, 0, sizeof *m);
    m->plan = &plan;
    for (int i = 0; i < SETS; i++) {
        if ((templates[i] = fd_templates_new()) == NULL) die("out of memory");
        if (templates[i]->isa > i) templates[i]->isa = i; /* portable, AVX2, AVX-512 */
        if (!fd_routes_init(&routes[i])) die("out of memory");
    }
}

#ifdef FEEDD_LIBFUZZER
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static fd_msg m;
    if (m.plan == NULL) setup(&m);
    use_all(&m, data, n);
    return 0;
}
#else
static uint64_t random_state;

static uint64_t random_below(uint64_t n) { /* splitmix64 */
    uint64_t z = random_state += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return (z ^ z >> 31) % n;
}

/* One to four changes: a byte replaced, put in or cut out, a piece doubled. Returns the length. */
static size_t mutate(const uint8_t *data, size_t n, uint8_t *out, size_t cap) {
    static const uint8_t tokens[] = "[]{}\",:\\ 0123456789-.eEu\xff\xc3\xf0\x80\0\x1f";
    memcpy(out, data, n);
    for (uint64_t k = 1 + random_below(4); k && n; k--) {
        size_t at = random_below(n);
        uint8_t c = random_below(2) ? tokens[random_below(sizeof tokens)]
                                    : (uint8_t)random_below(256);
        switch (random_below(4)) {
            case 0: out[at] = c; break;
            case 1:
                if (n == cap) break;
                memmove(out + at + 1, out + at, n - at);
                out[at] = c;
                n++;
                break;
            case 2: {
                size_t cut = 1 + random_below(n - at < 8 ? n - at : 8);
                memmove(out + at, out + at + cut, n - at - cut);
                n -= cut;
                break;
            }
            default: {
                size_t len = random_below(n - at < 64 ? n - at : 64);
                if (n + len > cap) break;
                memmove(out + at + len, out + at, n - at);
                n += len;
            }
        }
    }
    return n;
}

static uint8_t *read_file(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    if (f == NULL || fseek(f, 0, SEEK_END)) die(path);
    long size = ftell(f);
    uint8_t *data = malloc((size_t)size + 1);
    rewind(f);
    if (data == NULL || fread(data, 1, (size_t)size, f) != (size_t)size) die(path);
    fclose(f);
    *n = (size_t)size;
    return data;
}

int main(int argc, char **argv) {
    static fd_msg m;
    if (argc < 4) {
        fprintf(stderr, "usage: %s SEED MUTATIONS FILE...\n", argv[0]);
        return 64;
    }
    setup(&m);
    random_state = strtoull(argv[1], NULL, 10);
    const long mutations = strtol(argv[2], NULL, 10);
    for (int i = 3; i < argc; i++) {
        size_t n;
        uint8_t *data = read_file(argv[i], &n);
        uint8_t *out = malloc(2 * n + 64);
        if (out == NULL) die("out of memory");
        use_all(&m, data, n);
        for (size_t cut = 0; cut < n; cut++) use_message(&m, data, cut, (int)(cut % 3) - 1);
        for (long k = 0; k < mutations; k++) {
            use_message(&m, out, mutate(data, n, out, 2 * n + 64), (int)(k % 3) - 1);
            /* a message whose places are known, then one that has another byte in one of them */
            if (k % 3 || n == 0) continue;
            for (int again = 0; again < 3; again++) use_message(&m, data, n, -1);
            memcpy(out, data, n);
            out[random_below(n)] = (uint8_t)random_below(256);
            use_message(&m, out, n, -1);
        }
        free(out);
        free(data);
    }
    printf("%llu messages fitted a layout\n",
           (unsigned long long)(templates[1]->layouts.hits + templates[2]->layouts.hits));
    printf("%llu messages were read quickly, %llu of them books\n", (unsigned long long)quick,
           (unsigned long long)quick_books);
    printf("%d files, %llu messages, %llu rejected, %llu with rows\n", argc - 3,
           (unsigned long long)decoded, (unsigned long long)rejected,
           (unsigned long long)with_rows);
    free(m.slots);
    free(m.sides);
    free(m.levels);
    free(m.copy);
    return with_rows && rejected ? 0 : 1;
}
#endif
