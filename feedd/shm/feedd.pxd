"""C declarations of feedd/feedd.h for the Cython modules of feedd."""

from libc.stdint cimport (
    int8_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t,
)


cdef extern from "feedd/feedd.h" nogil:
    enum:
        FEEDD_HEADER_BYTES
        FEEDD_RECORD_BYTES
        FEEDD_BOOK_LEVELS_PER_SLOT
        FEEDD_BOARD_ROW_BYTES
        FEEDD_TOP
        FEEDD_TRADE
        FEEDD_LIQUIDATION
        FEEDD_QUOTE
        FEEDD_BOOK
        FEEDD_BOOK_CONTROL
        FEEDD_DERIV
        FEEDD_GREEKS
        FEEDD_STATUS
        FEEDD_INEXACT
        FEEDD_REPLAY
        FEEDD_MAYBE_BAD_BOOK
        FEEDD_BAD_TS
        FEEDD_SNAPSHOT
        FEEDD_LAST
        FEEDD_TRADE_LIQUIDATION
        FEEDD_TRADE_BLOCK
        FEEDD_TRADE_COMBO
        FEEDD_TRADE_ID_CUT
        FEEDD_BOOK_INIT
        FEEDD_BOOK_SYNCING
        FEEDD_BOOK_LIVE
        FEEDD_BOOK_GAP
        FEEDD_BOOK_CHECKSUM
        FEEDD_BOOK_STALE
        FEEDD_REASON_CLEAR
        FEEDD_REASON_SNAPSHOT_BEGIN
        FEEDD_REASON_SNAPSHOT_END
        FEEDD_REASON_GAP
        FEEDD_REASON_CHECKSUM
        FEEDD_STATE_NEW
        FEEDD_STATE_RUN
        FEEDD_STATE_CLOSED
        FEEDD_STATE_SUPERSEDED
        FEEDD_COUNTER_SLOTS
        FEEDD_CONNECTIONS
        FEEDD_CONNECTION_SLOTS
        FEEDD_HISTOGRAMS
        FEEDD_HISTOGRAM_BUCKETS
        FEEDD_ROW_SLOTS
        FEEDD_AT_CONNECTIONS
        FEEDD_AT_HISTOGRAMS
        FEEDD_AT_ROWS
        FEEDD_STAGE_DECODE
        FEEDD_STAGE_BOOK
        FEEDD_STAGE_PUBLISH
        FEEDD_STAGE_TOTAL
        FEEDD_STAGE_VENUE
        FEEDD_STAGE_LOOP
        FEEDD_STAGE_COUNT
        FEEDD_WAIT_SLICE_NS
        FEEDD_WAIT_ANY_MAX
    const uint64_t FEEDD_NO_SEQUENCE
    const uint32_t FEEDD_NO_INSTRUMENT

    ctypedef struct feedd_header:
        uint64_t magic
        uint64_t capacity, first_seq, epoch, file_size
        uint64_t prev_epoch, prev_last_seq
        uint32_t pid
        uint64_t pid_starttime
        uint8_t boot_id[16]
        uint64_t head, version
        uint64_t heartbeat_ns
        uint32_t state, upstream
        uint64_t next_epoch
        uint32_t wake_seq
        uint32_t kind, dtype_bytes

    ctypedef struct feedd_level:
        double price, size

    ctypedef struct feedd_trade:
        double price, size
        uint64_t trade_id
        char trade_id_text[48]
        int8_t side
        uint8_t trade_flags

    ctypedef struct feedd_quote:
        double bid_price, bid_size, ask_price, ask_size

    ctypedef struct feedd_control:
        uint32_t reason, depth
        uint64_t expected, got

    ctypedef struct feedd_deriv:
        double mark, index, last, open_interest, funding_rate, predicted_funding, settlement
        int64_t next_funding
        uint32_t mask

    ctypedef struct feedd_greeks:
        double delta, gamma, vega, theta, rho, mark_iv, bid_iv, ask_iv, underlying, mark

    ctypedef struct feedd_status:
        uint8_t scope, state, previous
        int32_t code
        int64_t since, last_data, arg0, arg1
        char text[40]

    ctypedef union feedd_payload:
        uint64_t w[10]
        uint8_t bytes[80]
        feedd_trade trade
        feedd_quote quote
        feedd_level levels[5]
        feedd_control control
        feedd_deriv deriv
        feedd_greeks greeks
        feedd_status status

    ctypedef struct feedd_record:
        uint64_t ring_seq
        uint8_t kind, flags, n, side_mask
        uint32_t instrument
        int64_t ts_event, ts_recv
        uint64_t sequence
        uint32_t publish_delta_ns
        uint16_t line, epoch
        feedd_payload p

    ctypedef struct feedd_writer:
        feedd_header* header
        unsigned char* slots
        uint64_t mask, next, committed, batch_max
        uint32_t* need_wake
        uint16_t epoch

    ctypedef struct feedd_reader:
        const feedd_header* header
        uint64_t mask, first_seq, next, lost
        uint32_t skipping
        int wake_fd
        uint64_t wake_offset
        uint32_t* need_wake

    ctypedef struct feedd_board_row:
        uint64_t lock, ring_pos
        uint32_t instrument
        uint8_t state, price_decimals, size_decimals
        uint64_t updates
        int64_t ts_state
        uint64_t gaps, resyncs
        int64_t last_data
        double bid_price, bid_size, ask_price, ask_size
        int64_t quote_ts_event, quote_ts_recv
        uint64_t quote_sequence
        double trade_price, trade_size
        uint64_t trade_id
        int64_t trade_side, trade_ts_event, trade_ts_recv
        uint64_t trade_sequence
        double mark, index, last, open_interest, funding_rate, predicted_funding, settlement
        int64_t next_funding
        uint64_t deriv_mask
        int64_t deriv_ts_event, deriv_ts_recv
        double delta, gamma, vega, theta, rho, mark_iv, bid_iv, ask_iv, underlying, greeks_mark
        int64_t greeks_ts_event, greeks_ts_recv
        double book_bid_price, book_bid_size, book_ask_price, book_ask_size
        int64_t book_ts_event, book_ts_recv
        uint64_t book_sequence
        uint32_t bid_levels, ask_levels
        double liq_price, liq_size
        int64_t liq_side, liq_ts_event

    ctypedef struct feedd_book_index:
        uint64_t offset
        uint32_t depth, instrument

    ctypedef struct feedd_book:
        uint64_t lock, ring_pos
        uint32_t instrument
        uint8_t state, truncated
        uint32_t depth
        uint32_t levels_total_bid, levels_total_ask
        uint32_t n_bid, n_ask
        uint64_t sequence
        int64_t ts_event, ts_recv
        feedd_level top_bid[32]
        feedd_level top_ask[32]
        uint64_t deep_lock, deep_ring_pos
        uint32_t deep_n_bid, deep_n_ask
        uint64_t deep_sequence
        int64_t deep_ts_event, deep_ts_recv

    # order.h
    uint64_t feedd_load(const void* p)
    uint64_t feedd_load_acquire(const void* p)
    uint32_t feedd_load32_acquire(const void* p)
    void feedd_store(void* p, uint64_t v)
    void feedd_store_release(void* p, uint64_t v)
    void feedd_store32_release(void* p, uint32_t v)
    void feedd_store_u64(uint64_t* p, uint64_t v)
    void feedd_store_i64(int64_t* p, int64_t v)
    void feedd_store_f64(double* p, double v)
    void feedd_copy_in(void* shared, const void* src, size_t n)
    void feedd_copy_out(void* dst, const void* shared, size_t n)

    # layout.h
    size_t feedd_book_bytes(uint32_t depth)
    feedd_level* feedd_book_deep_bids(feedd_book* book)
    feedd_level* feedd_book_deep_asks(feedd_book* book, uint32_t depth)
    uint64_t feedd_pack32(uint32_t low, uint32_t high)
    size_t FEEDD_BLOCK_WORDS(size_t rows)
    unsigned feedd_bucket(uint64_t ns)

    # ring.h
    uint64_t feedd_batch_max(uint64_t capacity)
    void feedd_writer_init(feedd_writer* w, void* base, uint32_t* need_wake, uint64_t next)
    uint64_t feedd_takeover(void* base)
    void feedd_put(feedd_writer* w, const feedd_record* record)
    uint64_t feedd_commit(feedd_writer* w)
    uint64_t feedd_commit_at(feedd_writer* w, int64_t now_ns)
    void feedd_writer_heartbeat(feedd_writer* w, int64_t mono_ns)
    uint64_t feedd_head(const feedd_header* h)
    void feedd_reader_init(
        feedd_reader* r, const void* base, uint64_t capacity, uint64_t first_seq)
    void feedd_join_newest(feedd_reader* r)
    void feedd_join_oldest(feedd_reader* r)
    void feedd_join_at(feedd_reader* r, uint64_t seq)
    int feedd_available(const feedd_reader* r)
    int feedd_copy_slot(const feedd_reader* r, feedd_record* out)
    int feedd_read(feedd_reader* r, feedd_record* out)
    size_t feedd_read_batch(feedd_reader* r, feedd_record* out, size_t n)
    size_t feedd_read_on(feedd_reader* r, feedd_record* out, size_t n)

    # seqlock.h
    uint64_t feedd_seq_begin(uint64_t* lock)
    void feedd_seq_end(uint64_t* lock, uint64_t odd)
    int feedd_seq_read(const void* src, void* dst, size_t n, unsigned retries)
    int feedd_book_read_deep(
        const feedd_book* book, uint32_t depth, uint64_t* head, feedd_level* bids,
        feedd_level* asks, uint32_t limit, unsigned retries)
    enum:
        FEEDD_PATIENCE_NS
    ctypedef struct feedd_patience:
        int64_t left_ns
        const uint64_t* lock
        uint64_t seen
    int feedd_seq_wait(const uint64_t* lock, feedd_patience* patience)
    void feedd_board_identity(
        feedd_board_row* row, uint32_t instrument, uint8_t state, uint8_t price_decimals,
        uint8_t size_decimals)
    void feedd_book_identity(
        feedd_book* book, uint32_t instrument, uint8_t state, uint8_t truncated)
    void feedd_board_reset(feedd_board_row* row, uint32_t instrument)
    void feedd_book_reset(feedd_book* book, uint32_t instrument, uint32_t depth)

    # wake.h, wait.h
    void feedd_bell(feedd_header* h)
    int feedd_ask_wake(const feedd_reader* r)
    int feedd_wait_futex(const feedd_reader* r, int64_t timeout_ns)
    int feedd_wait_any(
        const feedd_reader* const* readers, unsigned n, int64_t timeout_ns)
    int feedd_wait_spin(const feedd_reader* r, unsigned turns)

    # order.h
    void feedd_pause()
