"""``feedd bench decode``: a capture through the pipeline, again and again, without a network.

Every round starts from empty books, takes the whole capture in order and joins its REST snapshots
as ``feedd decode`` does (a book for which the capture has none begins empty, which the result
counts); only the native part is on the clock. How the venue writes its messages was learned in a
run before, as a daemon learns it once. By the kind of record that a frame yields: the mean of
decoding alone (walk, validate, convert), of the full path (decode, sequence, book, ring, board,
commit), for Binance depth frames of the naive scan in ``src/floor.h``, and of the reads and writes
of memory that nobody can leave out (``least.pyx``).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from feedd.bench.least import Stores
from feedd.bench.loop import Frames, begin_empty, clock_ns
from feedd.capture.rows import Row, read_rows
from feedd.capture.snapshots import Snapshot, collect_snapshots
from feedd.decode.plan import Plan, compile_plan
from feedd.errors import CaptureError
from feedd.pipeline.core import Pipeline
from feedd.shm.board import BoardWriter
from feedd.shm.books import BooksWriter
from feedd.shm.ring import RingWriter
from feedd.venues.schema import Venue

__all__ = ["KINDS", "race"]

KINDS = ("none", "trade", "quote", "book", "deriv", "greeks", "liquidation", "several")
_COUNTERS = {
    "trade": ("trades", "duplicates"),
    "quote": ("quotes",),
    "book": ("book_deltas", "book_snapshots"),
    "deriv": ("derivs",),
    "greeks": ("greeks",),
    "liquidation": ("liquidations",),
}
_FLOOR = ("binance_usdm", "binance_coinm", "binance_spot")
RING_SLOTS = 1 << 16
INSTRUMENTS_MAX = 4096
CLOCK_READS = 100_000
ROWS_MIN = 64


@dataclass
class Run:
    """One pipeline with what surrounds it."""

    pipeline: Pipeline
    handle: int
    snapshots: dict[str | None, list[Snapshot]]
    begun_empty: int = 0

    def answer(self, now: int) -> None:
        """Give the books that wait the first snapshot that joins."""
        for request in self.pipeline.take_requests():
            if request.kind != "snapshot":
                continue
            known = self.snapshots.get(request.symbol, ())
            if not known and begin_empty(self.pipeline, self.handle, request.symbol, now):
                self.begun_empty += 1
            for snapshot in known:
                done = self.pipeline.on_rest_snapshot(
                    self.handle, request.symbol, snapshot.body, now, True
                )
                if done in ("joined", "not_needed"):
                    break
        self.pipeline.commit()


def _segments(size: int) -> tuple[RingWriter, BoardWriter, BooksWriter]:
    return (
        RingWriter.private(RING_SLOTS, populate=True),
        BoardWriter.private(size, populate=True),
        BooksWriter.private([1024] * size, populate=True),
    )


def _start(venue: Venue, plan: Plan, rows: Sequence[Row], symbols: list[str]) -> Run:
    """A fresh pipeline; ``symbols`` are those of an earlier run, so that rows are at hand."""
    size = max(len(symbols), ROWS_MIN)
    pipeline = Pipeline(*_segments(size))
    handle = pipeline.add_venue(plan)

    def name(_venue: int, symbol: str) -> tuple[int, int, int]:
        if symbol not in symbols and len(symbols) < INSTRUMENTS_MAX:
            symbols.append(symbol)
        row = symbols.index(symbol) if symbol in symbols else -1
        return row if row >= 0 else INSTRUMENTS_MAX, row if row < size else -1, 1024

    pipeline.on_unknown(name)
    return Run(pipeline, handle, collect_snapshots(venue, rows, []))


def _kinds(
    venue: Venue, plan: Plan, rows: Sequence[Row], frames: list[bytes], symbols: list[str]
) -> tuple[list[int], int, Stores]:
    """Which kind of record each frame yields, seen from the counters; books begun empty; what each
    left behind."""
    run = _start(venue, plan, rows, symbols)
    stores = Stores(len(frames), ROWS_MIN)
    kinds = []
    before = run.pipeline.counters()
    for i, frame in enumerate(frames):
        stores.begin(run.pipeline)
        run.pipeline.on_message(run.handle, frame, i + 1)
        stores.note(run.pipeline, i)
        run.answer(i + 1)
        after = run.pipeline.counters()
        grown = [
            kind
            for kind, names in _COUNTERS.items()
            if any(after[name] > before[name] for name in names)
        ]
        before = after
        kinds.append(KINDS.index(grown[0] if len(grown) == 1 else "several" if grown else "none"))
    return kinds, run.begun_empty, stores


def _round(
    venue: Venue,
    plan: Plan,
    rows: Sequence[Row],
    frames: Frames,
    symbols: list[str],
    overhead: float,
) -> tuple[list[float], Any, Run]:
    run = _start(venue, plan, rows, symbols)
    total = np.zeros(256, np.int64)
    each = np.zeros(len(frames), np.int64)
    at = 0
    while at < len(frames):
        at = frames.full(run.pipeline, run.handle, at, total, each, 1_790_000_000_000_000_000)
        run.answer(1_790_000_000_000_000_000 + at)
    return [float(t) for t in total], np.maximum(each - overhead, 0), run


def race(venue: Venue, captures: Sequence[Path], rounds: int) -> dict[str, Any]:
    """Medians over ``rounds`` rounds, by kind of record; see the module.

    Raises CaptureError when the captures hold no frame.
    """
    problems: list[str] = []
    rows = [row for path in captures for row in read_rows(path, problems)]
    texts = {text.encode() for text in venue.session.heartbeat.control_texts}
    raw = [row.data for row in rows if row.dir == "in" and row.data not in texts]
    if not raw:
        raise CaptureError("no received frame in the captures")
    symbols: list[str] = []
    plan = compile_plan(venue)
    kinds, begun_empty, stores = _kinds(venue, plan, rows, raw, symbols)
    frames = Frames(raw, kinds)
    overhead = clock_ns(CLOCK_READS)
    counts = [kinds.count(k) for k in range(len(KINDS))]
    sizes = [sum(len(f) for f, kind in zip(raw, kinds, strict=True) if kind == k) for k in range(8)]
    decoded: list[list[float]] = [[] for _ in KINDS]
    full: list[list[float]] = [[] for _ in KINDS]
    floor: list[list[float]] = [[] for _ in KINDS]
    least: list[list[float]] = [[] for _ in KINDS]
    tails: list[list[float]] = [[] for _ in KINDS]
    by_kind = [np.flatnonzero(np.array(kinds) == k) for k in range(len(KINDS))]
    has_floor = venue.name in _FLOOR
    for _ in range(rounds):
        totals, each, run = _round(venue, plan, rows, frames, symbols, overhead)
        bare = np.zeros(256, np.int64)
        stores.full(frames, *_segments(ROWS_MIN), bare)
        for k, n in enumerate(counts):
            if n == 0 or KINDS[k] == "none":
                continue
            full[k].append(totals[k] / n - overhead)
            least[k].append(max(0.0, float(bare[k]) / n - overhead))
            tails[k].append(float(np.percentile(each[by_kind[k]], 99)))
            spent = np.zeros(256, np.int64)
            frames.decode(run.pipeline, run.handle, spent, k)  # it knows their forms now
            decoded[k].append(float(spent[k]) / n)
            if has_floor:
                spent = np.zeros(256, np.int64)
                frames.floor(spent, k)
                floor[k].append(float(spent[k]) / n)
    result: dict[str, Any] = {}
    for k, name in enumerate(KINDS):
        if not full[k]:
            continue
        result[name] = {
            "frames": counts[k],
            "bytes": round(sizes[k] / counts[k], 1),
            "decode_ns": round(statistics.median(decoded[k]), 1),
            "full_ns": round(statistics.median(full[k]), 1),
            "floor_ns": round(statistics.median(floor[k]), 1) if floor[k] else None,
            "least_ns": round(statistics.median(least[k]), 1),
            "p99_full_ns": round(statistics.median(tails[k]), 1),
            "spread": round(_spread(full[k]), 3),
        }
    return {
        "venue": venue.name,
        "rounds": rounds,
        "clock_ns": round(overhead, 1),
        "books_begun_empty": begun_empty,
        "kinds": result,
    }


def _spread(values: list[float]) -> float:
    """Half the distance of the quartiles, as a share of the median."""
    if len(values) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4)
    return (high - low) / 2 / middle if middle else 0.0
