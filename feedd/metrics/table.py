"""Every metric that feedd exports: the one place where names, help and units are written.

``docs/metrics.md`` is made from this table (``feedd metrics``), and a test compares them. Rules:
Prometheus' naming conventions, base units, labels of small fixed sets only (``reader``, ``venue``,
``state``, ``process``, ``kind``, ``result``), never a symbol. A name is never reused for something
else. Counters of the counters segment are exported without being listed here: their names and help
come from ``shm/include/feedd/counters.h``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from feedd.clock import SECOND_NS
from feedd.metrics.sample import ReaderSample, Sample, Values
from feedd.shm.connections import CONNECTION_FIELDS, LINE_STATES, SHARE_FIELDS, SHARES_AT
from feedd.shm.counters import COUNTERS, bucket_floor
from feedd.shm.layout import HISTOGRAM_BUCKETS

__all__ = ["BOUNDS_NS", "METRICS", "Metric", "buckets"]

Kind = Literal["counter", "gauge", "histogram", "info"]


@dataclass(frozen=True)
class Metric:
    """``name`` is without ``_total``, which the exposition adds to counters."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    read: Callable[[Sample], Values]
    unit: str = ""
    stage: str = ""
    """Histograms only: the stage of the counters segment."""

    @property
    def exposed(self) -> str:
        """The name as Prometheus shows it."""
        return {"counter": f"{self.name}_total", "info": f"{self.name}_info"}.get(
            self.kind, self.name
        )


# ---- where numbers come from ---------------------------------------------------------------------

_SLOT = {name: i for i, name in enumerate(CONNECTION_FIELDS)} | {
    name: SHARES_AT + i for i, name in enumerate(SHARE_FIELDS)
}
_UP = LINE_STATES.index("up")


def _counter(key: str, scale: float = 1.0) -> Callable[[Sample], Values]:
    return lambda s: [((str(r.number),), r.counters[key] * scale) for r in s.readers]


def _ring(key: str, scale: float = 1.0) -> Callable[[Sample], Values]:
    return lambda s: [((str(r.number),), r.ring[key] * scale) for r in s.readers if key in r.ring]


def _line(key: str, scale: float = 1.0) -> Callable[[Sample], Values]:
    """Sum over the connections of a venue on a reader."""
    slot = _SLOT[key]
    return lambda s: [
        ((str(r.number), venue), float(slots[:, slot].sum()) * scale)
        for r in s.readers
        for venue, slots in r.lines.items()
    ]


def _latest(key: str) -> Callable[[Sample], Values]:
    slot = _SLOT[key]
    return lambda s: [
        ((str(r.number), venue), float(slots[:, slot].max()) / SECOND_NS)
        for r in s.readers
        for venue, slots in r.lines.items()
    ]


def _lines_up(s: Sample) -> Values:
    return [
        ((str(r.number), venue), float((slots[:, _SLOT["state"]] == _UP).sum()))
        for r in s.readers
        for venue, slots in r.lines.items()
    ]


def _lines_planned(s: Sample) -> Values:
    return [
        ((str(r.number), venue), float(len(slots)))
        for r in s.readers
        for venue, slots in r.lines.items()
    ]


def _per_venue(
    read: Callable[[ReaderSample], Iterable[tuple[str, float]]],
) -> Callable[..., Values]:
    return lambda s: [
        ((str(r.number), venue), value) for r in s.readers for venue, value in read(r)
    ]


def _books(s: Sample) -> Values:
    return [
        ((str(r.number), venue, state), float(count))
        for r in s.readers
        for (venue, state), count in r.books.items()
    ]


def _instruments(s: Sample) -> Values:
    return [((venue,), float(count)) for venue, count in s.instruments.items()]


def _nothing(_: Sample) -> Values:
    return []


def _fact(name: str) -> Callable[[Sample], Values]:
    return lambda s: s.facts.get(name, [])


# ---- histograms ----------------------------------------------------------------------------------

BOUNDS_NS = tuple(1 << power for power in range(9, 35))
"""Upper bounds that are exported, ns: 512 ns to 17 s, one per octave (the segment has four)."""
_FLOORS = np.array([bucket_floor(i) for i in range(HISTOGRAM_BUCKETS + 1)], dtype=np.float64)
_MIDDLES = (_FLOORS[:-1] + _FLOORS[1:]) / 2


def buckets(counts: np.ndarray[tuple[int, ...], np.dtype[np.uint64]]) -> tuple[list[float], float]:
    """Cumulative counts at ``BOUNDS_NS`` and at infinity, and the sum in seconds.

    The segment keeps counts alone, so the sum takes every duration as the middle of its bucket:
    within 1/8 of the truth.
    """
    cumulated = np.concatenate([[0], np.cumsum(counts.astype(np.float64))])
    at = np.searchsorted(_FLOORS, BOUNDS_NS)
    total = float((counts * _MIDDLES).sum()) / SECOND_NS
    return [*cumulated[at].tolist(), float(cumulated[-1])], total


# ---- the table -----------------------------------------------------------------------------------

_R, _RV = ("reader",), ("reader", "venue")
_RENAMED = {
    "frames": ("feedd_messages", ""),
    "bytes": ("feedd_received_bytes", "bytes"),
    "statuses": ("feedd_status_records", ""),
    "trades": ("feedd_trade_records", ""),
    "liquidations": ("feedd_liquidation_records", ""),
    "quotes": ("feedd_quote_records", ""),
    "derivs": ("feedd_deriv_records", ""),
    "greeks": ("feedd_greeks_records", ""),
    "inexact": ("feedd_inexact_events", ""),
    "books_total": ("feedd_books_known", ""),
    "rest_requests": ("feedd_snapshot_requests", ""),
    "rest_failures": ("feedd_snapshot_failures", ""),
}
_NS = "_ns"


def _from_segment() -> Iterable[Metric]:
    """One metric per counter of the segment; gauges are told by their help."""
    for key, text in COUNTERS.items():
        kind: Kind = "gauge" if text.startswith("gauge: ") else "counter"
        sentence = text.removeprefix("gauge: ")
        sentence = sentence[0].upper() + sentence[1:] + "."
        name, unit = _RENAMED.get(key, (f"feedd_{key}", ""))
        scale = 1.0
        if key.endswith(_NS):
            name = f"feedd_reader_{key.removesuffix(_NS)}_timestamp_seconds"
            unit, scale = "seconds", 1 / SECOND_NS
        yield Metric(name, kind, sentence, _R, _counter(key, scale), unit)


def _histogram(name: str, stage: str, text: str) -> Metric:
    return Metric(name, "histogram", text, _R, _nothing, "seconds", stage)


_LISTED = (
    # the daemon
    Metric("feedd_build", "info", "Version of feedd.", ("version",), _fact("feedd_build")),
    Metric(
        "feedd_start_timestamp_seconds",
        "gauge",
        "When the supervisor started, Unix time.",
        (),
        _fact("feedd_start_timestamp_seconds"),
        "seconds",
    ),
    Metric(
        "feedd_ready",
        "gauge",
        "1 once every reader runs or had its first chance.",
        (),
        _fact("feedd_ready"),
    ),
    Metric("feedd_instruments", "gauge", "Instruments with an id.", ("venue",), _instruments),
    Metric(
        "feedd_config_generation",
        "gauge",
        "Configurations taken over since the start; 1 is the one it started with.",
        (),
        _fact("feedd_config_generation"),
    ),
    Metric(
        "feedd_config_reloads",
        "counter",
        "Reloads asked for, by result: applied, unchanged, refused.",
        ("result",),
        _fact("feedd_config_reloads"),
    ),
    # readers, as their supervisor sees them
    Metric(
        "feedd_reader_up",
        "gauge",
        "1 while the reader process runs and has said that it is ready.",
        _R,
        _fact("feedd_reader_up"),
    ),
    Metric(
        "feedd_reader_failed",
        "gauge",
        "1 when the reader was given up after too many restarts.",
        _R,
        _fact("feedd_reader_failed"),
    ),
    Metric(
        "feedd_reader_restarts",
        "counter",
        "Starts of the reader process after its first.",
        _R,
        _fact("feedd_reader_restarts"),
    ),
    Metric(
        "feedd_reader_heartbeat_age_seconds",
        "gauge",
        "Time since the reader's event loop last turned.",
        _R,
        _fact("feedd_reader_heartbeat_age_seconds"),
        "seconds",
    ),
    Metric("feedd_ring_slots", "gauge", "Records that the ring holds.", _R, _ring("capacity")),
    Metric("feedd_ring_epoch", "gauge", "Writers that the ring has had.", _R, _ring("epoch")),
    # connections and books by venue
    Metric("feedd_lines", "gauge", "Connections planned.", _RV, _lines_planned),
    Metric("feedd_lines_up", "gauge", "Connections that are open.", _RV, _lines_up),
    Metric("feedd_line_connects", "counter", "Connections opened.", _RV, _line("connects")),
    Metric(
        "feedd_line_disconnects",
        "counter",
        "Connections lost or closed.",
        _RV,
        _line("disconnects"),
    ),
    Metric(
        "feedd_line_connect_failures",
        "counter",
        "Connection attempts that failed.",
        _RV,
        _line("connect_failures"),
    ),
    Metric("feedd_line_messages", "counter", "WebSocket messages received.", _RV, _line("frames")),
    Metric(
        "feedd_line_received_bytes",
        "counter",
        "Payload bytes received.",
        _RV,
        _line("bytes"),
        "bytes",
    ),
    Metric("feedd_line_bad_messages", "counter", "Messages rejected.", _RV, _line("bad")),
    Metric(
        "feedd_line_first_messages",
        "counter",
        "Messages that these connections brought first, of streams that several carry.",
        _RV,
        _line("firsts"),
    ),
    Metric(
        "feedd_line_copied_messages",
        "counter",
        "Messages that another connection had brought already.",
        _RV,
        _line("copies"),
    ),
    Metric(
        "feedd_line_copy_lag_seconds",
        "counter",
        "Sum of how much later measured copies came; by feedd_line_measured_copies: the mean.",
        _RV,
        _line("lag_sum_ns", 1 / SECOND_NS),
        "seconds",
    ),
    Metric(
        "feedd_line_measured_copies",
        "counter",
        "Copies whose lag was measured.",
        _RV,
        _line("lag_count"),
    ),
    Metric(
        "feedd_line_missed_messages",
        "counter",
        "Times that a connection lacked what another one had.",
        _RV,
        _line("missed"),
    ),
    Metric("feedd_topics", "gauge", "Topics that should be subscribed.", _RV, _line("topics")),
    Metric(
        "feedd_topics_active",
        "gauge",
        "Topics that the venue confirmed.",
        _RV,
        _line("topics_active"),
    ),
    Metric(
        "feedd_topics_failed",
        "gauge",
        "Topics that the venue refused.",
        _RV,
        _line("topics_failed"),
    ),
    Metric(
        "feedd_last_data_timestamp_seconds",
        "gauge",
        "When the last data message of the venue came, Unix time; 0: none on these connections.",
        _RV,
        _latest("last_data_ns"),
        "seconds",
    ),
    Metric(
        "feedd_books",
        "gauge",
        "Instruments by the state of their book; init: no book yet, or none subscribed.",
        (*_RV, "state"),
        _books,
    ),
    Metric(
        "feedd_book_gaps",
        "counter",
        "Gaps of the venue's books since the reader process began.",
        _RV,
        _per_venue(lambda r: [(venue, float(n)) for venue, (n, _) in r.losses.items()]),
    ),
    Metric(
        "feedd_book_resyncs",
        "counter",
        "Resyncs of the venue's books since the reader process began.",
        _RV,
        _per_venue(lambda r: [(venue, float(n)) for venue, (_, n) in r.losses.items()]),
    ),
    # latency
    _histogram("feedd_decode_seconds", "decode", "Bytes of a message to checked rows."),
    _histogram("feedd_book_seconds", "book", "Rows to records and books."),
    _histogram("feedd_publish_seconds", "publish", "Commit of the records of one socket read."),
    _histogram(
        "feedd_receive_to_ring_seconds", "total", "Receipt of a message to its records in the ring."
    ),
    _histogram(
        "feedd_venue_lag_seconds",
        "venue",
        "The venue's event time to our receipt; both clocks matter, negative counts as 0.",
    ),
    # what the supervisor shares out
    Metric(
        "feedd_permits_waiting",
        "gauge",
        "Connection attempts that wait for the venue's limit.",
        ("venue",),
        _fact("feedd_permits_waiting"),
    ),
    Metric(
        "feedd_rest_requests", "counter", "REST requests.", ("venue",), _fact("feedd_rest_requests")
    ),
    Metric(
        "feedd_rest_failed_requests",
        "counter",
        "REST requests without an answer of 200.",
        ("venue",),
        _fact("feedd_rest_failed_requests"),
    ),
    Metric(
        "feedd_rest_blocked_seconds",
        "gauge",
        "How long no REST request may be made because the venue said so; 0: free.",
        ("venue",),
        _fact("feedd_rest_blocked_seconds"),
        "seconds",
    ),
    Metric(
        "feedd_broadcast_messages",
        "counter",
        "Messages published over ZeroMQ.",
        ("process",),
        _fact("feedd_broadcast_messages"),
    ),
    Metric(
        "feedd_broadcast_subscriptions",
        "gauge",
        "Different prefixes that are subscribed over ZeroMQ.",
        ("process",),
        _fact("feedd_broadcast_subscriptions"),
    ),
    Metric(
        "feedd_broadcast_lost_records",
        "counter",
        "Ring records that came and went before the broadcaster read them.",
        ("process",),
        _fact("feedd_broadcast_lost_records"),
    ),
    Metric(
        "feedd_broadcast_refused_keys",
        "counter",
        "ZeroMQ clients over TCP whose key is not allowed.",
        ("process",),
        _fact("feedd_broadcast_refused_keys"),
    ),
    Metric(
        "feedd_broadcaster_up",
        "gauge",
        "1 while the broadcaster process runs and has said that it is ready.",
        (),
        _fact("feedd_broadcaster_up"),
    ),
    Metric(
        "feedd_broadcaster_restarts",
        "counter",
        "Starts of the broadcaster process after its first.",
        (),
        _fact("feedd_broadcaster_restarts"),
    ),
    Metric(
        "feedd_control_requests",
        "counter",
        "Requests on the control socket, by result: done, failed, refused.",
        ("result",),
        _fact("feedd_control_requests"),
    ),
    # processes
    Metric(
        "feedd_process_cpu_seconds",
        "counter",
        "CPU time; kind: user, system.",
        ("process", "kind"),
        _fact("feedd_process_cpu_seconds"),
        "seconds",
    ),
    Metric(
        "feedd_process_resident_memory_bytes",
        "gauge",
        "Resident memory, shared segments included.",
        ("process",),
        _fact("feedd_process_resident_memory_bytes"),
        "bytes",
    ),
    Metric(
        "feedd_process_context_switches",
        "counter",
        "Context switches; kind: voluntary, involuntary.",
        ("process", "kind"),
        _fact("feedd_process_context_switches"),
    ),
    Metric(
        "feedd_process_open_fds",
        "gauge",
        "Open file descriptors.",
        ("process",),
        _fact("feedd_process_open_fds"),
    ),
    Metric(
        "feedd_process_threads", "gauge", "Threads.", ("process",), _fact("feedd_process_threads")
    ),
)

METRICS: tuple[Metric, ...] = (*_LISTED, *_from_segment())
