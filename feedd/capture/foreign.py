"""Replay of captures that others made: one venue, ids as its instruments come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from feedd.capture.decode import CaptureDecoder
from feedd.capture.instruments import load_file
from feedd.capture.rows import Row
from feedd.capture.stage import DEPTH, Platform
from feedd.venues.schema import Venue

__all__ = ["ForeignReplay"]


class ForeignReplay(CaptureDecoder):
    """The way of ``feedd decode`` through the captures, into the rings of a stage as reader 0.

    ``pace(t)`` is called before each row with its time in ns (0: the capture gives none). All of
    ``events`` must be taken: it yields an empty one whenever the ring has taken many records.
    """

    def __init__(self, venue: Venue, stage: Platform, pace: Callable[[int], None]) -> None:
        pipeline = stage.pipeline(0)
        super().__init__(venue, stage.ring(0), pipeline)
        self._stage = stage
        self._pace = pace
        self._columns: dict[str, dict[str, Any]] = {}

    def load_instruments(self, path: Path) -> int:
        self._columns = {
            info.symbol: info.columns() for info in load_file(self.venue, path).instruments
        }
        return len(self._columns)

    def _register(self, _venue: int, symbol: str) -> tuple[int, int, int]:
        row = self._stage.row(len(self._names))
        columns = {"venue": self.venue.name, "symbol": symbol, **self._columns.get(symbol, {})}
        self._names.append(f"{self.venue.name}:{symbol}")
        self._symbols.add(symbol)
        return self._stage.add(**columns, reader=0, row=row), row, DEPTH

    def _feed(self, row: Row) -> None:
        self._pace(row.t or 0)
        super()._feed(row)

    def _drain(self) -> Iterator[dict[str, Any]]:
        self._reader.seek("newest")
        yield {}
