"""What a consumer can know about one reader process without asking it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from feedd import clock
from feedd.shm.connections import connection_row
from feedd.shm.counters import STAGES, CountersReader, bucket_floor, percentile
from feedd.shm.directory import lock_held, lock_path
from feedd.shm.layout import SegmentState
from feedd.shm.ring import RingReader

__all__ = ["ReaderInfo"]


@dataclass(frozen=True, slots=True)
class ReaderInfo:
    """One reader process at one moment; ages in seconds, latencies in ns."""

    number: int
    alive: bool
    state: SegmentState
    epoch: int
    """Grows by one with each process that wrote this ring."""
    heartbeat_age: float
    head: int
    """Ring sequence of the next record."""
    capacity: int
    counters: dict[str, int]
    histograms: dict[str, npt.NDArray[Any]] = field(repr=False)
    """Stage -> bucket counts; ``latency`` turns them into percentiles."""
    connections: npt.NDArray[Any] = field(repr=False)
    """u64 (connections, slots), as laid out by the reader process; ``lines`` names them."""
    venues: dict[int, str] = field(repr=False, default_factory=dict)
    """``venue_code`` -> venue, of those that the instruments table knows."""

    @classmethod
    def look(
        cls,
        directory: Path,
        number: int,
        counters: CountersReader | None,
        venues: dict[int, str] | None = None,
    ) -> ReaderInfo:
        with RingReader(directory, number) as ring:
            beat = ring.heartbeat_ns
            have = counters is not None and number < counters.readers
            return cls(
                number=number,
                alive=lock_held(lock_path(directory, number)),
                state=ring.state,
                epoch=ring.epoch,
                heartbeat_age=(clock.monotonic_ns() - beat) / clock.SECOND_NS if beat else np.inf,
                head=ring.head,
                capacity=ring.capacity,
                counters=counters.reader(number) if counters and have else {},
                histograms=(
                    {stage: counters.histogram(number, stage) for stage in STAGES}
                    if counters and have
                    else {}
                ),
                connections=(
                    counters.connections(number)
                    if counters and have
                    else np.empty((0, 0), dtype=np.uint64)
                ),
                venues=venues or {},
            )

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The connections: ``line``, ``venue``, ``state`` (a word), counters and times (ns)."""
        rows = []
        for line, words in enumerate(self.connections):
            if words[0]:
                row: dict[str, Any] = {"line": line, **connection_row(words)}
                row["venue"] = self.venues.get(row["venue"], "")
                rows.append(row)
        return rows

    def buckets(self, stage: str) -> list[tuple[int, int, int]]:
        """The histogram of a stage: (from ns, below ns, count) of each bucket that is not empty."""
        histogram = self.histograms.get(stage)
        if histogram is None:
            return []
        return [
            (bucket_floor(i), bucket_floor(i + 1), int(histogram[i]))
            for i in np.flatnonzero(histogram).tolist()
        ]

    def latency(self, stage: str = "total", q: float = 0.5) -> int:
        """The duration in ns below which the fraction ``q`` of this stage stayed; 0: no data."""
        histogram = self.histograms.get(stage)
        return 0 if histogram is None else int(percentile(histogram, q))
