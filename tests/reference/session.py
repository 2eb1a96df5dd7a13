"""Decode a whole session: rows in, records and final books out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .binance import Binance
from .book import Book
from .deribit import Deribit
from .fields import BadMessage, Record, record
from .rows import Row, all_rows, frame_bytes
from .strict_json import BadJson, loads


class Venue(Protocol):
    """What a venue module provides."""

    name: str
    books: dict[str, Book]

    def load_rest(self, rows: list[Row]) -> None: ...

    def message(self, value: Any, ts_recv: int | None) -> list[Record]: ...


@dataclass
class Result:
    """``records`` in order, ``books`` by instrument name, and the number of frames read."""

    records: list[Record] = field(default_factory=list)
    books: dict[str, Book] = field(default_factory=dict)
    frames: int = 0

    def of(self, kind: str, instrument: str | None = None) -> list[Record]:
        """The records of one kind, of one instrument where given."""
        return [
            item
            for item in self.records
            if item["kind"] == kind and instrument in (None, item["instrument"])
        ]

    def events(self, event: str) -> list[Record]:
        """The status records with that ``event``."""
        return [item for item in self.of("status") if item["event"] == event]


def _venue(name: str) -> Venue:
    if name == "deribit":
        return Deribit()
    if name in ("binance_spot", "binance_usdm"):
        return Binance(name)
    raise ValueError(f"the reference knows deribit, binance_spot and binance_usdm, not {name}")


def decode_rows(venue_name: str, rows: Iterable[Row]) -> Result:
    """Decode rows that are already in memory."""
    rows = list(rows)
    venue = _venue(venue_name)
    venue.load_rest(rows)
    result = Result(books=venue.books)
    seen: set[tuple[str, str]] = set()
    for row in rows:
        if row["dir"] != "in":
            continue
        result.frames += 1
        try:
            lines = venue.message(loads(frame_bytes(row)), row.get("t"))
        except (BadJson, BadMessage):
            lines = [record("status", None, None, row.get("t"), event="bad_frame")]
        for line in lines:
            channel = line.pop("channel", None)
            if line["kind"] == "trade" and line["trade_id"]:
                key = (f"{line['instrument']} {channel}", line["trade_id"])
                if key in seen:
                    continue
                seen.add(key)
            result.records.append(line)
    return result


def decode(venue_name: str, paths: Iterable[Path]) -> Result:
    """Decode captures as one session, in the order given."""
    return decode_rows(venue_name, all_rows(paths))
