/* layout.h - every byte that two processes share. Little endian, natural alignment.
 *
 * A segment is a file: one header page of 4,096 bytes, then its body.
 *
 *   kind          file                body
 *   1 ring        reader-<n>.ring     capacity slots of 128 bytes (feedd_record)
 *   2 board       reader-<n>.board    capacity rows of 512 bytes (feedd_board_row)
 *   3 books       reader-<n>.books    capacity index entries of 16 bytes, then the book blocks
 *   4 instruments instruments         capacity rows of 512 bytes (dtype in the header)
 *   5 counters    counters            capacity reader blocks (counter_layout.h)
 *   6 wake        wake                capacity lines of 64 bytes, one u32 need_wake at each start
 *   7 raw         reader-<n>.raw      a page of words, then capacity bytes (rawring.h); private
 */
#ifndef FEEDD_LAYOUT_H
#define FEEDD_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define FEEDD_ASSERT(condition, text) static_assert(condition, text)
#else
#define FEEDD_ASSERT(condition, text) _Static_assert(condition, text)
#endif

#define FEEDD_MAGIC 0x0a1a0a0d31425246ull /* the bytes "FRB1\r\n\x1a\n" */
#define FEEDD_LAYOUT_MAJOR 1
#define FEEDD_LAYOUT_MINOR 0
#define FEEDD_BYTE_ORDER 0x0102
#define FEEDD_HEADER_BYTES 4096
#define FEEDD_DTYPE_MAX (FEEDD_HEADER_BYTES - 0x288)

enum feedd_segment_kind {
    FEEDD_SEGMENT_RING = 1,
    FEEDD_SEGMENT_BOARD = 2,
    FEEDD_SEGMENT_BOOKS = 3,
    FEEDD_SEGMENT_INSTRUMENTS = 4,
    FEEDD_SEGMENT_COUNTERS = 5,
    FEEDD_SEGMENT_WAKE = 6,
    FEEDD_SEGMENT_RAW = 7
};

enum feedd_segment_state {
    FEEDD_STATE_NEW = 0,
    FEEDD_STATE_RUN = 1,
    FEEDD_STATE_CLOSED = 2,
    FEEDD_STATE_SUPERSEDED = 3
};

/* The header page. What changes while others read has a 128-byte pair of lines of its own. */
typedef struct feedd_header {
    uint64_t magic; /* 0x000, stored last (release): a file without it is not finished */
    uint16_t layout_major, layout_minor;
    uint32_t header_bytes;
    uint32_t feat_incompat, feat_compat; /* 0x010, an unknown incompat bit: refuse the file */
    uint32_t slot_bytes;                 /* 0x018 */
    uint16_t slot_header_bytes, byte_order;
    uint64_t capacity;  /* 0x020, slots or rows; of a ring a power of two */
    uint64_t first_seq; /* 0x028, = capacity in a ring, so that zeroed slots read "not yet" */
    uint64_t epoch;     /* 0x030, 1, 2, 3 ...: grows with each writer */
    uint64_t file_size; /* 0x038 */
    uint64_t schema_hash; /* 0x040, FNV-1a 64 of the dtype JSON */
    uint32_t schema_version, header_crc32c;
    uint64_t prev_epoch, prev_last_seq; /* 0x050 */
    uint32_t pid, reserved0;            /* 0x060, the writer */
    uint64_t pid_starttime;
    uint8_t boot_id[16]; /* 0x070 */
    char name[64];       /* 0x080 */
    uint64_t file_id;    /* 0x0c0, random: an inode number may come again */
    uint8_t reserved1[56];
    uint64_t head;    /* 0x100, ring: next sequence to be published; instruments: rows valid */
    uint64_t version; /* 0x108, instruments: grows with every change */
    uint8_t reserved2[112];
    uint64_t heartbeat_ns; /* 0x180, CLOCK_MONOTONIC */
    uint32_t state, upstream;
    uint64_t next_epoch; /* 0x190, of the file that superseded this one */
    uint8_t reserved3[104];
    uint32_t wake_seq; /* 0x200, the futex word */
    uint8_t reserved4[124];
    uint32_t kind, dtype_bytes; /* 0x280 */
    char dtype[FEEDD_DTYPE_MAX];
} feedd_header;

FEEDD_ASSERT(sizeof(feedd_header) == FEEDD_HEADER_BYTES, "header page");
FEEDD_ASSERT(offsetof(feedd_header, first_seq) == 0x028, "first_seq");
FEEDD_ASSERT(offsetof(feedd_header, pid) == 0x060, "pid");
FEEDD_ASSERT(offsetof(feedd_header, name) == 0x080, "name");
FEEDD_ASSERT(offsetof(feedd_header, file_id) == 0x0c0, "file_id");
FEEDD_ASSERT(offsetof(feedd_header, head) == 0x100, "head");
FEEDD_ASSERT(offsetof(feedd_header, heartbeat_ns) == 0x180, "heartbeat");
FEEDD_ASSERT(offsetof(feedd_header, next_epoch) == 0x190, "next_epoch");
FEEDD_ASSERT(offsetof(feedd_header, wake_seq) == 0x200, "wake_seq");
FEEDD_ASSERT(offsetof(feedd_header, kind) == 0x280, "kind");

/* ---- records: feedd/records.py says what the fields mean ----------------------------------- */

#define FEEDD_RECORD_BYTES 128
#define FEEDD_RECORD_WORDS 16
#define FEEDD_BOOK_LEVELS_PER_SLOT 5
#define FEEDD_NO_SEQUENCE UINT64_MAX
#define FEEDD_NO_INSTRUMENT UINT32_MAX

enum feedd_kind {
    FEEDD_TRADE = 1,
    FEEDD_LIQUIDATION = 2,
    FEEDD_QUOTE = 3,
    FEEDD_BOOK = 4,
    FEEDD_BOOK_CONTROL = 5,
    FEEDD_DERIV = 6,
    FEEDD_GREEKS = 7,
    FEEDD_STATUS = 8
};

enum feedd_flag {
    FEEDD_INEXACT = 1,
    FEEDD_REPLAY = 2,
    FEEDD_MAYBE_BAD_BOOK = 4,
    FEEDD_BAD_TS = 8,
    FEEDD_SNAPSHOT = 32,
    FEEDD_LAST = 128
};

enum feedd_trade_flag {
    FEEDD_TRADE_LIQUIDATION = 1,
    FEEDD_TRADE_BLOCK = 2,
    FEEDD_TRADE_COMBO = 4,
    FEEDD_TRADE_ID_CUT = 8
};

enum feedd_book_state {
    FEEDD_BOOK_INIT = 0,
    FEEDD_BOOK_SYNCING = 1,
    FEEDD_BOOK_LIVE = 2,
    FEEDD_BOOK_GAP = 3,
    FEEDD_BOOK_CHECKSUM = 4,
    FEEDD_BOOK_STALE = 5
};

enum feedd_book_reason {
    FEEDD_REASON_CLEAR = 1,
    FEEDD_REASON_SNAPSHOT_BEGIN = 2,
    FEEDD_REASON_SNAPSHOT_END = 3,
    FEEDD_REASON_GAP = 4,
    FEEDD_REASON_CHECKSUM = 5
};

typedef struct feedd_level {
    double price, size;
} feedd_level;

typedef struct feedd_trade {
    double price, size;
    uint64_t trade_id;
    char trade_id_text[48];
    int8_t side;
    uint8_t trade_flags;
    uint8_t reserved[6];
} feedd_trade;

typedef struct feedd_quote {
    double bid_price, bid_size, ask_price, ask_size;
} feedd_quote;

typedef struct feedd_control {
    uint32_t reason, depth;
    uint64_t expected, got;
} feedd_control;

typedef struct feedd_deriv {
    double mark, index, last, open_interest, funding_rate, predicted_funding, settlement;
    int64_t next_funding;
    uint32_t mask, reserved;
} feedd_deriv;

typedef struct feedd_greeks {
    double delta, gamma, vega, theta, rho, mark_iv, bid_iv, ask_iv, underlying, mark;
} feedd_greeks;

typedef struct feedd_status {
    uint8_t scope, state, previous, reserved;
    int32_t code;
    int64_t since, last_data, arg0, arg1;
    char text[40];
} feedd_status;

typedef union feedd_payload {
    uint64_t w[10];
    uint8_t bytes[80];
    feedd_trade trade;
    feedd_quote quote;
    feedd_level levels[FEEDD_BOOK_LEVELS_PER_SLOT];
    feedd_control control;
    feedd_deriv deriv;
    feedd_greeks greeks;
    feedd_status status;
} feedd_payload;

typedef struct feedd_record {
    uint64_t ring_seq; /* the stamp of the slot: filled in by the writer */
    uint8_t kind, flags, n, side_mask;
    uint32_t instrument;
    int64_t ts_event, ts_recv;
    uint64_t sequence;
    uint32_t publish_delta_ns; /* filled in by feedd_commit_at */
    uint16_t line, epoch;      /* epoch: filled in by the writer */
    feedd_payload p;
} feedd_record;

FEEDD_ASSERT(sizeof(feedd_record) == FEEDD_RECORD_BYTES, "record");
FEEDD_ASSERT(offsetof(feedd_record, ts_event) == 16, "ts_event");
FEEDD_ASSERT(offsetof(feedd_record, publish_delta_ns) == 40, "publish_delta_ns");
FEEDD_ASSERT(offsetof(feedd_record, p) == 48, "payload");
FEEDD_ASSERT(sizeof(feedd_trade) == 80, "trade");
FEEDD_ASSERT(offsetof(feedd_trade, side) == 72, "side");
FEEDD_ASSERT(sizeof(feedd_greeks) == 80, "greeks");
FEEDD_ASSERT(sizeof(feedd_status) == 80, "status");
FEEDD_ASSERT(offsetof(feedd_status, text) == 40, "status text");

/* ---- board ---------------------------------------------------------------------------------- */

/* The latest of everything of one instrument. Word 0 is the seqlock: odd while a writer is inside.
 * A fresh row: every float64 NaN, instrument FEEDD_NO_INSTRUMENT, the rest 0. */
typedef struct feedd_board_row {
    uint64_t lock, ring_pos; /* ring_pos: ring_seq of the last record of the last event applied */
    uint32_t instrument;     /* one word with the four bytes after it: feedd_board_identity */
    uint8_t state, price_decimals, size_decimals, reserved0;
    uint64_t updates;
    int64_t ts_state;
    uint64_t gaps, resyncs;
    int64_t last_data; /* ts_recv of the last data of any kind */
    double bid_price, bid_size, ask_price, ask_size; /* 0x040, the quote channel */
    int64_t quote_ts_event, quote_ts_recv;
    uint64_t quote_sequence;
    double trade_price, trade_size; /* 0x078 */
    uint64_t trade_id;
    int64_t trade_side, trade_ts_event, trade_ts_recv;
    uint64_t trade_sequence;
    double mark, index, last, open_interest, funding_rate, predicted_funding; /* 0x0b0 */
    double settlement;
    int64_t next_funding;
    uint64_t deriv_mask;
    int64_t deriv_ts_event, deriv_ts_recv;
    double delta, gamma, vega, theta, rho, mark_iv, bid_iv, ask_iv; /* 0x108 */
    double underlying, greeks_mark;
    int64_t greeks_ts_event, greeks_ts_recv;
    double book_bid_price, book_bid_size, book_ask_price, book_ask_size; /* 0x168 */
    int64_t book_ts_event, book_ts_recv;
    uint64_t book_sequence;
    uint32_t bid_levels, ask_levels; /* 0x1a0, one word: feedd_pack32 */
    double liq_price, liq_size;      /* 0x1a8 */
    int64_t liq_side, liq_ts_event;
    uint64_t reserved[7];
} feedd_board_row;

#define FEEDD_BOARD_ROW_BYTES 512
FEEDD_ASSERT(sizeof(feedd_board_row) == FEEDD_BOARD_ROW_BYTES, "board row");
FEEDD_ASSERT(offsetof(feedd_board_row, bid_price) == 0x040, "quote");
FEEDD_ASSERT(offsetof(feedd_board_row, trade_price) == 0x078, "trade");
FEEDD_ASSERT(offsetof(feedd_board_row, mark) == 0x0b0, "deriv");
FEEDD_ASSERT(offsetof(feedd_board_row, delta) == 0x108, "greeks");
FEEDD_ASSERT(offsetof(feedd_board_row, book_bid_price) == 0x168, "book");
FEEDD_ASSERT(offsetof(feedd_board_row, liq_price) == 0x1a8, "liquidation");

/* ---- books ---------------------------------------------------------------------------------- */

#define FEEDD_TOP 32

typedef struct feedd_book_index {
    uint64_t offset; /* of the block, from the start of the file */
    uint32_t depth, instrument;
} feedd_book_index;

/* One instrument's book: the top tier is the state at ring_pos, the deep tier the state at
 * deep_ring_pos (older or equal). After this struct: feedd_level bids[depth], asks[depth] of the
 * deep tier, best first. A reader that needs more than FEEDD_TOP levels copies the deep tier and
 * applies the ring's BOOK records with ring_seq > deep_ring_pos. */
typedef struct feedd_book {
    uint64_t lock, ring_pos;
    uint32_t instrument; /* 0x10, one word with the four bytes after it */
    uint8_t state, truncated, reserved0[2];
    uint32_t depth, reserved1;                     /* 0x18 */
    uint32_t levels_total_bid, levels_total_ask;   /* 0x20, of the writer's private book */
    uint32_t n_bid, n_ask;                         /* 0x28, levels valid in the top tier */
    uint64_t sequence;                             /* 0x30 */
    int64_t ts_event, ts_recv;
    uint64_t reserved2[7];
    feedd_level top_bid[FEEDD_TOP], top_ask[FEEDD_TOP]; /* 0x080 */
    uint64_t deep_lock, deep_ring_pos;                  /* 0x480 */
    uint32_t deep_n_bid, deep_n_ask;
    uint64_t deep_sequence;
    int64_t deep_ts_event, deep_ts_recv;
    uint64_t reserved3[2];
} feedd_book;

FEEDD_ASSERT(sizeof(feedd_book_index) == 16, "book index");
FEEDD_ASSERT(offsetof(feedd_book, sequence) == 0x030, "book sequence");
FEEDD_ASSERT(offsetof(feedd_book, top_bid) == 0x080, "top tier");
FEEDD_ASSERT(offsetof(feedd_book, deep_lock) == 0x480, "deep tier");
FEEDD_ASSERT(sizeof(feedd_book) == 0x4c0, "book block");

static inline feedd_level *feedd_book_deep_bids(feedd_book *book)
{
    return (feedd_level *)(void *)(book + 1);
}

static inline feedd_level *feedd_book_deep_asks(feedd_book *book, uint32_t depth)
{
    return feedd_book_deep_bids(book) + depth;
}

static inline size_t feedd_book_bytes(uint32_t depth)
{
    return (sizeof(feedd_book) + 2u * depth * sizeof(feedd_level) + 63u) & ~(size_t)63u;
}

/* Two u32 fields that share a word, as the one store that writes both. */
static inline uint64_t feedd_pack32(uint32_t low, uint32_t high)
{
    return (uint64_t)low | ((uint64_t)high << 32);
}

/* ---- counters: one block per reader --------------------------------------------------------- */

#define FEEDD_COUNTER_SLOTS 256
#define FEEDD_CONNECTIONS 64
#define FEEDD_CONNECTION_SLOTS 64
#define FEEDD_HISTOGRAMS 8
#define FEEDD_HISTOGRAM_BUCKETS 256
#define FEEDD_ROW_SLOTS 16
/* first word of each part of a block */
#define FEEDD_AT_CONNECTIONS FEEDD_COUNTER_SLOTS
#define FEEDD_AT_HISTOGRAMS (FEEDD_AT_CONNECTIONS + FEEDD_CONNECTIONS * FEEDD_CONNECTION_SLOTS)
#define FEEDD_AT_ROWS (FEEDD_AT_HISTOGRAMS + FEEDD_HISTOGRAMS * FEEDD_HISTOGRAM_BUCKETS)
#define FEEDD_BLOCK_WORDS(rows) ((size_t)FEEDD_AT_ROWS + (size_t)(rows) * FEEDD_ROW_SLOTS)

enum feedd_stage {
    FEEDD_STAGE_DECODE = 0,
    FEEDD_STAGE_BOOK = 1,
    FEEDD_STAGE_PUBLISH = 2,
    FEEDD_STAGE_TOTAL = 3,
    FEEDD_STAGE_VENUE = 4,
    FEEDD_STAGE_LOOP = 5,
    FEEDD_STAGE_COUNT = 6
};

/* Bucket of a duration: 4 per octave. 0..3 ns are exact; then 4 * (log2 - 1) + the two bits after
 * the leading one, so bucket b >= 4 starts at (4 + b % 4) << (b / 4 - 1) ns. */
static inline unsigned feedd_bucket(uint64_t ns)
{
    if (ns < 4) {
        return (unsigned)ns;
    }
    unsigned log2 = 63u - (unsigned)__builtin_clzll(ns);
    return 4u * (log2 - 1u) + (unsigned)((ns >> (log2 - 2u)) & 3u);
}

#endif
