"""Records of captures, through the same decoder as live ones, for an export."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from feedd import venues
from feedd.capture.foreign import ForeignReplay
from feedd.capture.replay import Recorded, Replay, open_recorded
from feedd.errors import CaptureError, LappedError
from feedd.pipeline.core import Pipeline
from feedd.shm.ring import RingReader, RingWriter

__all__ = ["Memory", "Source", "open_source"]

SLOTS = 1 << 17
DRAIN = SLOTS // 4
READ = 8_192

Records = npt.NDArray[Any]
"""Records of one reader in the order of its ring."""


class Memory:
    """A stage without shared memory: rings of this process, read as they fill."""

    def __init__(self, names: dict[int, str]) -> None:
        self.names = names
        self._rings: dict[int, tuple[RingWriter, RingReader]] = {}

    def pipeline(self, reader: int) -> Pipeline:
        if reader not in self._rings:
            writer = RingWriter.private(SLOTS)
            self._rings[reader] = writer, RingReader(writer, start="oldest")
        return Pipeline(self._rings[reader][0])

    def ring(self, reader: int) -> RingWriter:
        return self._rings[reader][0]

    def row(self, _row: int) -> int:
        return -1

    def add(self, **columns: Any) -> int:
        number = len(self.names)
        self.names[number] = f"{columns['venue']}:{columns['symbol']}"
        return number

    def place(self, number: int, reader: int, row: int) -> None:
        """Nobody looks at boards here."""

    def drain(self, *, everything: bool) -> Iterator[Records]:
        """What the rings hold, when it is much. Raises LappedError rather than lose a record."""
        for writer, reader in self._rings.values():
            if not everything and writer.next_seq - reader.position < DRAIN:
                continue
            while len(rows := reader.read(READ)):
                if reader.lost:
                    raise LappedError(reader.lost, reader.position)
                yield rows


@dataclass(slots=True)
class Source:
    """``records`` to be taken to their end; then ``missing`` says what was not there."""

    records: Iterator[Records]
    missing: Callable[[], list[str]]


def open_source(
    captures: tuple[Path, ...], venue: str | None, instruments: Path | None, names: dict[int, str]
) -> Source:
    """Captures of the recorder, or with ``venue`` of others. ``names`` is filled: id -> name.

    Raises CaptureError when it is unclear what they are.
    """
    recorded = open_recorded(captures) if venue is None else None
    if recorded is not None:
        return _recorded(recorded, Memory(names))
    if venue is None:
        raise CaptureError(
            "these captures were not recorded by feedd: say whose they are, --recorded-venue"
        )
    memory = Memory(names)
    decoder = ForeignReplay(venues.load(venue), memory, lambda _t: None)
    if instruments is not None:
        decoder.load_instruments(instruments)

    def records() -> Iterator[Records]:
        for _ in decoder.events(captures):
            yield from memory.drain(everything=True)
        yield from memory.drain(everything=True)

    return Source(records(), lambda: decoder.problems[:20])


def _recorded(recorded: Recorded, memory: Memory) -> Source:
    for number, row in recorded.instruments().items():
        memory.names[number] = f"{row['venue']}:{row['symbol']}"
    replay = Replay(recorded, memory)

    def records() -> Iterator[Records]:
        for _ in replay.steps():
            yield from memory.drain(everything=False)
        yield from memory.drain(everything=True)

    def missing() -> list[str]:
        gaps = [f"entries or files are missing at {replay.missing} places"] * (replay.missing > 0)
        return [*gaps, *replay.damage]

    return Source(records(), missing)
