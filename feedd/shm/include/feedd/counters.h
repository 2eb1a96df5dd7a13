/* Names of the per-reader counters, in the order of their slots in a reader's counter block.
 *
 * X(name, help). Append only: a slot never changes its meaning, so that tools of another version
 * read the right number. The Python table is generated from this list (feedd.shm.counters).
 */
#ifndef FEEDD_COUNTERS_H
#define FEEDD_COUNTERS_H

#define FEEDD_COUNTERS(X) \
    X(frames, "WebSocket messages received") \
    X(bytes, "payload bytes received") \
    X(records, "ring records published") \
    X(events, "venue events published") \
    X(commits, "ring commits") \
    X(bad_frames, "messages rejected: not valid JSON, or not what the venue file promises") \
    X(ignored_frames, "valid messages of channels that the venue file does not name") \
    X(control_frames, "acks, heartbeats, errors and notices") \
    X(unknown_symbols, "distinct symbols met without an instrument id") \
    X(unknown_symbol_events, "events not published because their symbol had no id yet") \
    X(trades, "TRADE records") \
    X(liquidations, "LIQUIDATION records") \
    X(quotes, "QUOTE records") \
    X(book_deltas, "book delta events applied") \
    X(book_snapshots, "book snapshot events applied") \
    X(derivs, "DERIV records") \
    X(greeks, "GREEKS records") \
    X(statuses, "STATUS records") \
    X(gaps, "sequence gaps declared") \
    X(checksum_failures, "book checksums that did not match") \
    X(resyncs, "book resyncs requested") \
    X(duplicates, "repeated trades, quotes and deltas dropped") \
    X(old_deltas, "deltas older than the book dropped") \
    X(waiting_deltas, "deltas dropped while a snapshot in the stream was awaited") \
    X(buffered_deltas, "deltas buffered while a REST snapshot was awaited") \
    X(buffer_overflows, "snapshot buffers that overflowed and lost their oldest deltas") \
    X(snapshots_unusable, "REST snapshots that could not join the stream") \
    X(book_overflows, "books given up because a side outgrew its bound") \
    X(inexact, "events with a decimal that float64 cannot hold") \
    X(bad_timestamps, "events with an implausible venue time") \
    X(connects, "connections opened") \
    X(disconnects, "connections lost or closed") \
    X(connect_failures, "connection attempts that failed") \
    X(subscribe_errors, "streams that the venue refused or left out of its ack") \
    X(pings_sent, "heartbeats sent") \
    X(pings_received, "venue heartbeats answered") \
    X(assembler_errors, "WebSocket messages that broke the protocol") \
    X(rest_requests, "REST snapshots asked for") \
    X(rest_failures, "REST snapshots that failed") \
    X(deep_refreshes, "refreshes of the deep book tier") \
    X(unowned_books, "book events of a channel that does not own the instrument's book") \
    X(last_data_ns, "gauge: receive time of the last data message") \
    X(streams_subscribed, "gauge: streams subscribed and acknowledged") \
    X(books_live, "gauge: books in state live") \
    X(books_total, "gauge: books known") \
    X(requests_dropped, "requests to the supervisor dropped because the list was full") \
    X(control_unread, "control messages that do not say what the venue file promises") \
    X(streams_stale, "gauge: streams that are silent for longer than the venue promises") \
    X(stale_alarms, "streams that stayed silent after a new subscription and a new connection") \
    X(quarantines, "books that did not heal and were left alone for a while") \
    X(books_quarantined, "gauge: books left alone now") \
    X(checksum_rules_changed, "channels whose every checksum fails") \
    X(held_messages, "messages held until another line brings the one before") \
    X(line_takeovers, "books carried on by another line's snapshot") \
    X(stale_books, "live books marked stale") \
    X(drift_alarms, "fields of a channel that vanished, changed type or stand still") \
    X(captured, "entries for the recorder") \
    X(capture_dropped, "entries that the recorder lost because it lagged a whole ring behind") \
    X(instrument_states, "changes of what a venue says of an instrument: listed, halted, ended") \
    X(unknown_states, "states of instruments in words that the venue file does not know")

/* Slots of a connection that the pipeline writes; the first 32 are the session's (see
 * feedd/reader/counts.py). They count only streams that more than one connection carries. */
enum feedd_line_slot {
    FEEDD_LINE_FIRSTS = 32,   /* messages that came over this connection first */
    FEEDD_LINE_COPIES = 33,   /* messages that another connection had brought already */
    FEEDD_LINE_LAG_SUM = 34,  /* ns that measured copies came later, and how many were measured */
    FEEDD_LINE_LAG_COUNT = 35,
    FEEDD_LINE_LAG_MAX = 36,
    FEEDD_LINE_MISSED = 37,   /* times that this connection lacked what another one had */
    FEEDD_LINE_LAG_BUCKETS = 40, /* 16 of them: bucket b counts lags below 16 us * 2^b, the last
                                    one all others */
    FEEDD_LINE_SLOTS_END = 56
};

enum feedd_counter {
#define FEEDD_COUNTER_ENUM(name, help) FEEDD_C_##name,
    FEEDD_COUNTERS(FEEDD_COUNTER_ENUM)
#undef FEEDD_COUNTER_ENUM
    FEEDD_COUNTER_COUNT
};

#endif
