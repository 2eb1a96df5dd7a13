"""Reference data from a capture file: what ``feedd decode --instruments`` reads."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec

from feedd.capture.rows import read_rows
from feedd.errors import CaptureError, VenueError
from feedd.venues.reference import InstrumentInfo, parse_counted
from feedd.venues.schema import Venue

__all__ = ["Loaded", "load_file"]


class Loaded(msgspec.Struct, frozen=True):
    """Instruments of a file (of a symbol that comes again the last) and what was left out.

    ``skipped`` counts whole rows of the file by reason, ``rejected`` single instruments.
    """

    instruments: list[InstrumentInfo]
    skipped: Counter[str]
    rejected: Counter[str]


def load_file(venue: Venue, path: str | Path) -> Loaded:
    """The instruments that a capture file's ``rest`` rows list; other rows are skipped.

    A line that is no row is counted. Raises CaptureError when the file cannot be read, or when
    nothing but such lines is in it.
    """
    problems: list[str] = []
    found: dict[str, InstrumentInfo] = {}
    skipped: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    for row in read_rows(Path(path), problems):
        if row.dir != "rest":
            skipped["not a rest row"] += 1
            continue
        try:
            parsed = parse_counted(venue, row.data, row.url)
        except VenueError:
            skipped["not a list of instruments"] += 1
            continue
        rejected += parsed.rejected
        for instrument in parsed.instruments:
            found.pop(instrument.symbol, None)
            found[instrument.symbol] = instrument
    if problems and not found:
        raise CaptureError(f"{path}: no instruments in it: {problems[0]}")
    if problems:
        skipped["not a capture row"] += len(problems)
    return Loaded(list(found.values()), skipped, rejected)
