"""What the supervisor tells a reader process to do: plain data that travels as JSON.

All streams and all connections of an instrument belong to one reader, so each ring, board row and
book has one writer.
"""

from __future__ import annotations

from typing import Any

import msgspec

from feedd.limits import LINE_AGREE_MS
from feedd.reader.topics import Wanted

__all__ = [
    "Instrument",
    "Line",
    "LineChange",
    "PlanChange",
    "ReaderPlan",
    "Stream",
    "VenueSlice",
]


class Instrument(msgspec.Struct, frozen=True):
    """An instrument of this reader: its table id, its board row, its shared book depth."""

    symbol: str
    id: int
    row: int
    depth: int


class Stream(msgspec.Struct, frozen=True):
    """``topic`` is its name here; ``arg`` is what is sent for it where that is not the same."""

    channel: str
    symbol: str
    topic: str
    arg: Any = None

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.topic, self.topic if self.arg is None else self.arg, self.channel)


class Line(msgspec.Struct, frozen=True):
    """One connection; ``number`` is what records carry in ``line``.

    A connection that replaces another has a number of its own and the same ``row`` of the counters.
    """

    number: int
    endpoint: str
    url: str
    quiet: bool
    """All of its channels may say nothing for hours."""
    streams: tuple[Stream, ...]
    copy: int = 0
    """Which of the redundant lines with the same streams it is."""
    delay_s: float = 0.0
    """How long after the start of the reader it connects first."""
    row: int | None = None
    """Its row of the counters, when that is not ``number``."""


class VenueSlice(msgspec.Struct, frozen=True):
    name: str
    ca_file: str | None
    instruments: tuple[Instrument, ...]
    lines: tuple[Line, ...]
    credentials: str | None = None
    """Where the keys for a login are: their place, never they themselves."""
    agree_ms: int = LINE_AGREE_MS
    """How long messages of books whose losses nothing shows wait until their lines agree."""


class ReaderPlan(msgspec.Struct, frozen=True):
    reader: int
    directory: str
    core: int | None
    busy_poll: bool
    rows: int
    """Board rows, spare ones included."""
    depths: tuple[int, ...]
    """Shared book depth of each row."""
    ring_slots: int
    venues: tuple[VenueSlice, ...]
    capture: bool = False
    """A recorder reads along: the raw ring is there."""
    log_level: str = "info"
    log_format: str = "text"
    standby: bool = False
    """Another process of this reader runs: get ready beside it, then take its place."""

    @property
    def lines(self) -> list[tuple[VenueSlice, Line]]:
        return [(venue, line) for venue in self.venues for line in venue.lines]


class LineChange(msgspec.Struct, frozen=True):
    """What comes to and goes from one planned line that runs already."""

    number: int
    add: tuple[Stream, ...] = ()
    drop: tuple[str, ...] = ()
    """Topics."""


class PlanChange(msgspec.Struct, frozen=True):
    """What changes on a reader for one venue, while everything else goes on."""

    venue: str
    instruments: tuple[Instrument, ...] = ()
    """New ones, or ones that come to a row."""
    gone: tuple[str, ...] = ()
    """Symbols that nobody wants any more; their rows may go to others later."""
    lines: tuple[Line, ...] = ()
    """New connections."""
    ended: tuple[int, ...] = ()
    """Planned lines that have nothing left to carry."""
    changes: tuple[LineChange, ...] = ()
