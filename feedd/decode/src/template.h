/* Templates: what messages of a venue have in common, learned from those that came before.
 *
 * Messages of one channel differ in their values only. A *message template* is a path in a tree of
 * steps: literal bytes (brackets, keys, punctuation) that must be there to the byte, then a value,
 * and so on to the end of the message. A *level template* is the same for one level of a book:
 * where its digits are, all other bytes as they are. Nothing is assumed: a message that matches has
 * the structure of one that the walker of engine.h has read, each value is checked by the same
 * rules, and any difference sends it to the walker, which reads everything and teaches anew.
 */
#ifndef FEEDD_TEMPLATE_H
#define FEEDD_TEMPLATE_H

#include "plan.h" /* first: it asks the C library for strtod_l */

#include "isa.h"
#include "places.h"

#define FD_STEPS_MAX 4096
#define FD_STEP_TEXT 48
#define FD_HOLES_MAX 96
#define FD_FORMS_MAX 256
#define FD_FORM_VALUES_MAX 2048   /* slots of all rows of a message */
#define FD_FORM_LISTS_MAX 32
#define FD_RELEARN_AFTER 4096     /* misses with a full table */
#define FD_LEVEL_TEMPLATES 512
#define FD_LEVEL_TEXT 64
#define FD_RECENTS 8

/* What stands behind the literal of a step. */
enum {
    FD_HOLE_NONE,   /* more literal */
    FD_HOLE_STR,    /* content of a string, up to its quote */
    FD_HOLE_DEC,    /* the same, mostly a plain decimal */
    FD_HOLE_NUM,
    FD_HOLE_CONST,  /* no bytes of its own: the value is the start of the next literal */
    FD_HOLE_LEVELS, /* a list of levels */
    FD_HOLE_END,
};

typedef struct {
    uint8_t text[FD_STEP_TEXT];
    uint8_t len, kind;
    uint8_t type, value_len; /* FD_HOLE_CONST: the end of the literal is a value */
    uint16_t next, other;    /* step behind the value; another one to try in this place */
    uint16_t form;           /* FD_HOLE_END */
    int8_t channel;          /* what the topic must have told; -1 before it is known */
    uint8_t peek;            /* byte that must stand behind the literal, 0 any */
    uint8_t resolves;        /* behind this step the topic is known */
    union {
        struct {
            uint8_t topic, tag;  /* of one that resolves: holes, FD_NO_HOLE none */
            uint8_t envelope;
        };
        struct {
            uint8_t side, depth; /* FD_HOLE_LEVELS: depth is that of the containers around it */
            uint8_t list_channel;
        };
    };
} fd_step; /* one cache line */

_Static_assert(sizeof(fd_step) == 64, "a step is a cache line");

/* What a whole message of one structure is: where each value of it goes. */
typedef struct {
    int32_t channel;
    uint32_t rows, n_values;
    uint8_t envelope, listed, has_levels;
    uint8_t dead;                          /* learned wrongly: never matches */
    uint8_t list_at[FD_FORM_LISTS_MAX];    /* index in fd_msg.sides */
    uint8_t list_mixed[FD_FORM_LISTS_MAX];
    uint8_t env[FD_ENV_MAX];               /* hole, or FD_HOLES_MAX + type when without bytes */
    uint64_t used;                         /* holes that are values of a row; the last bit: 63 and more */
    uint8_t *value;                        /* the same for every slot of every row */
} fd_form;

/* A level fits when every byte of it lies between `low` and `high`: a digit of a number anywhere
 * among the digits (the first one of several before the point not 0), any other byte as it was. */
typedef struct {
    uint8_t low[FD_LEVEL_TEXT], high[FD_LEVEL_TEXT];
    uint8_t shuffle[32];       /* digits of price and size to the ends of their 16 bytes (AVX2) */
    double scale[2];           /* what divides price and size */
    uint64_t rest[2];          /* of an fd_level, what is not a number: behind its mantissas */
    int32_t channel;
    uint32_t picked;           /* bit i: pick[i] is a digit, not a zero in front of them */
    uint8_t pick[32];          /* where those digits are in the level (AVX-512) */
    uint8_t price_at, size_at;
    uint8_t is_rare;           /* one of the following is not zero */
    uint8_t price_neg;
    uint8_t size_signs;        /* the sign of the size is the side: zero is not a level */
    uint8_t count_at;          /* a single digit, zero when the level is gone; 0 none */
    uint8_t spare[18];         /* whole cache lines */
} fd_level_template;

_Static_assert(sizeof(fd_level_template) == 256, "a template of a level is four cache lines");

/* Levels of one channel as they were last: of each length the template that fitted. */
typedef struct {
    int32_t channel;
    uint8_t has_rare;
    const fd_level_template *by_len[FD_LEVEL_TEXT + 1];
} fd_recent;

typedef struct fd_templates {
    fd_step step[FD_STEPS_MAX];      /* step 0 is none, 1 the root */
    fd_level_template level[FD_LEVEL_TEMPLATES] __attribute__((aligned(64)));
    fd_level_template no_level __attribute__((aligned(64))); /* what nothing fits */
    fd_recent recent[FD_RECENTS];
    uint32_t n_steps, n_forms;
    uint32_t misses;                 /* since the table was full */
    uint32_t pause, pause_next;      /* misses that teach nothing, after one that could not */
    int isa;
    fd_form form[FD_FORMS_MAX];
    uint64_t hits, learned;
    fd_layouts layouts;
} fd_templates;

/* Where the template of a level is, by which of its bytes are digits. */
static inline uint32_t fd_level_slot(uint64_t digits, int channel) {
    return (uint32_t)(((digits ^ (uint64_t)channel << 58) * 0x9e3779b97f4a7c15ull) >> 55);
}

/* A template was replaced: nobody goes on with what stood there. */
static inline void fd_recent_forget(fd_templates *t) {
    for (int i = 0; i < FD_RECENTS; i++) t->recent[i].channel = -1;
}

static inline fd_recent *fd_recent_of(fd_templates *t, int channel) {
    fd_recent *r = &t->recent[channel % FD_RECENTS];
    if (__builtin_expect(r->channel != channel, 0)) {
        r->channel = channel;
        r->has_rare = 0;
        for (int n = 0; n <= FD_LEVEL_TEXT; n++) r->by_len[n] = &t->no_level;
    }
    return r;
}

static inline fd_templates *fd_templates_new(void) {
    void *p = NULL;
    if (posix_memalign(&p, 64, sizeof(fd_templates))) return NULL;
    memset(p, 0, sizeof(fd_templates));
    fd_templates *t = (fd_templates *)p;
    if (!fd_layouts_init(&t->layouts)) {
        free(t);
        return NULL;
    }
    t->isa = fd_isa();
    memset(t->no_level.low, 0xff, sizeof t->no_level.low);
    fd_recent_forget(t);
    t->n_steps = 1;
    t->step[0].channel = INT8_MIN; /* where a way ends that was not learned to its end */
    return t;
}

static void fd_templates_clear(fd_templates *t) {
    for (uint32_t i = 0; i < t->n_forms; i++) free(t->form[i].value);
    t->n_forms = 0;
    t->n_steps = 1;
    t->misses = 0;
    fd_layouts_clear(&t->layouts); /* they lead to steps */
}

static inline void fd_templates_free(fd_templates *t) {
    if (t == NULL) return;
    fd_templates_clear(t);
    free(t->layouts.slot);
    free(t);
}

#endif
