"""Decode a whole session: rows in, records and final books out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from . import refused
from .book import Book
from .fields import BadMessage, Record, record
from .rows import Row, all_rows, frame_bytes
from .strict_json import BadJson, loads
from .venue import Venue
from .venues import VENUES


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

    def complaints(self) -> list[Record]:
        """Status records that tell of something wrong: all but the states of instruments."""
        return [item for item in self.of("status") if item["event"] != "instrument_state"]

    def events(self, event: str) -> list[Record]:
        """The status records with that ``event``."""
        return [item for item in self.of("status") if item["event"] == event]


def decode_rows(venue_name: str, rows: Iterable[Row]) -> Result:
    """Decode rows that are already in memory."""
    rows = list(rows)
    venue = VENUES[venue_name](venue_name)
    venue.load_rest(rows)
    result = Result(books=venue.books)
    seen: set[tuple[str, str]] = set()
    for row in rows:
        venue.conn = row.get("conn") or ""
        if row["dir"] == "out":
            _tell(venue, row)
        if row["dir"] != "in":
            continue
        result.frames += 1
        for line in _lines(venue, row):
            channel = line.pop("channel", None)
            if line["kind"] == "trade" and line["trade_id"]:
                key = (f"{line['instrument']} {channel}", line["trade_id"])
                if key in seen:
                    continue
                seen.add(key)
            result.records.append(line)
    result.records.extend(venue.finish())
    return result


def _tell(venue: Venue, row: Row) -> None:
    try:
        venue.request(loads(frame_bytes(row)))
    except (BadJson, BadMessage):
        return  # what the client sent is no frame of the venue


def _lines(venue: Venue, row: Row) -> list[Record]:
    message = frame_bytes(row)
    if message in venue.texts:
        return []
    bad = record("status", None, None, row.get("t"), event="bad_frame")
    try:
        value = loads(message)
    except BadJson:
        return [bad, *refused.losses(venue, message, row.get("t"))]
    try:
        return venue.message(value, row.get("t"))
    except BadMessage:
        shown = venue.count_unread(value, row.get("t"))
        if shown is None:
            return []
        lost = refused.losses(venue, message, row.get("t"), counted=True)
        return [*shown, bad, *lost]


def decode(venue_name: str, paths: Iterable[Path]) -> Result:
    """Decode captures as one session, in the order given."""
    return decode_rows(venue_name, all_rows(paths))
