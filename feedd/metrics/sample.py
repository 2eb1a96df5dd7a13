"""Everything that the metrics are made of, read at one moment.

Numbers of readers come from the counters segment and the boards, as any other process could read
them; what only the supervisor knows comes as ``Facts``, a mapping that its parts fill.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from feedd.errors import ShmError
from feedd.records import NO_INSTRUMENT, BookState
from feedd.shm.board import BoardReader
from feedd.shm.counters import STAGES, CountersReader
from feedd.shm.instruments import InstrumentsReader
from feedd.shm.ring import RingReader

__all__ = ["Facts", "ReaderSample", "Sample", "Sampler", "Values"]

Values = list[tuple[tuple[str, ...], float]]
"""Label values and the number, one entry per series."""
Facts = Mapping[str, Values]
"""Metric name -> what the supervisor knows."""


@dataclass(frozen=True)
class ReaderSample:
    """One reader process; ``lines`` holds its connections' slots by venue."""

    number: int
    counters: Mapping[str, int]
    lines: Mapping[str, npt.NDArray[Any]]
    histograms: Mapping[str, npt.NDArray[Any]]
    ring: Mapping[str, float]
    books: Mapping[tuple[str, str], int]
    """(venue, state) -> instruments with a board row."""
    losses: Mapping[str, tuple[int, int]]
    """venue -> gaps and resyncs of its books, since this reader process began."""


@dataclass(frozen=True)
class Sample:
    readers: Sequence[ReaderSample]
    instruments: Mapping[str, int]
    """venue -> instruments with an id."""
    facts: Facts = field(default_factory=dict)


class Sampler:
    """Reads one instance. ``venue_of[reader][line]`` names the venue of each planned connection.

    Not thread-safe: one caller at a time, and ``venue_of`` is exchanged between two samples only.
    """

    def __init__(self, directory: Path, venue_of: Mapping[int, Mapping[int, str]]) -> None:
        self._directory = directory
        self.venue_of = venue_of
        self._counters = CountersReader(directory)
        self._instruments = InstrumentsReader(directory)
        self._boards: dict[int, BoardReader] = {}
        self._rings: dict[int, RingReader] = {}

    def sample(self, facts: Facts) -> Sample:
        self._instruments.refresh()
        names = self._instruments.array["venue"]
        venues, codes = np.unique(names, return_inverse=True)
        words = [bytes(venue).decode() for venue in venues]
        counts = np.bincount(codes, minlength=len(words))
        return Sample(
            readers=[self._reader(n, words, codes) for n in range(self._counters.readers)],
            instruments={word: int(n) for word, n in zip(words, counts, strict=True)},
            facts=facts,
        )

    def _reader(self, number: int, venues: list[str], codes: npt.NDArray[Any]) -> ReaderSample:
        books, losses = self._books(number, venues, codes)
        return ReaderSample(
            number=number,
            counters=self._counters.reader(number),
            lines=self._lines(number),
            histograms={stage: self._counters.histogram(number, stage) for stage in STAGES},
            ring=self._ring(number),
            books=books,
            losses=losses,
        )

    def _lines(self, number: int) -> dict[str, npt.NDArray[Any]]:
        slots = self._counters.connections(number)
        by_venue: dict[str, list[int]] = {}
        for line, venue in self.venue_of.get(number, {}).items():
            by_venue.setdefault(venue, []).append(line)
        return {venue: slots[lines] for venue, lines in by_venue.items()}

    def _ring(self, number: int) -> dict[str, float]:
        try:
            ring = self._rings.get(number)
            if ring is None or ring.segment.superseded:
                ring = self._rings[number] = RingReader(self._directory, number)
        except ShmError:
            return {}
        return {
            "capacity": ring.capacity,
            "epoch": ring.epoch,
        }

    def _books(
        self, number: int, venues: list[str], codes: npt.NDArray[Any]
    ) -> tuple[dict[tuple[str, str], int], dict[str, tuple[int, int]]]:
        try:
            board = self._boards.get(number)
            if board is None or board.segment.superseded:
                board = self._boards[number] = BoardReader(self._directory, number)
        except ShmError:
            return {}, {}
        rows = board.snapshot()
        rows = rows[rows["instrument"] != NO_INSTRUMENT]
        rows = rows[rows["instrument"] < len(codes)]
        owner = codes[rows["instrument"]]
        books: dict[tuple[str, str], int] = {}
        losses: dict[str, tuple[int, int]] = {}
        for code in np.unique(owner).tolist():
            mine = rows[owner == code]
            for state in BookState:
                books[venues[code], state.name.lower()] = int((mine["state"] == state).sum())
            losses[venues[code]] = (int(mine["gaps"].sum()), int(mine["resyncs"].sum()))
        return books, losses

    def close(self) -> None:
        for board in self._boards.values():
            board.close()
        for ring in self._rings.values():
            ring.close()
        self._counters.close()
        self._instruments.close()
