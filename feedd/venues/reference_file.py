"""Instruments from a file of recorded REST answers (``feedd decode --instruments FILE``)."""

from __future__ import annotations

import gzip
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
import zstandard

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


def _open(path: Path) -> BinaryIO:
    if path.suffix == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    if path.suffix == ".zst":
        raw = path.open("rb")
        return io.BufferedReader(
            zstandard.ZstdDecompressor().stream_reader(raw, closefd=True, read_across_frames=True)
        )
    return path.open("rb")


def _rows(path: Path) -> Iterator[Any]:
    """Rows of a capture: JSON lines, or one JSON array."""
    with _open(path) as stream:
        first = b""
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            if not first and line.lstrip().startswith(b"["):
                yield from json.loads(line + stream.read())
                return
            first = line
            try:
                yield json.loads(line)
            except ValueError as error:
                raise CaptureError(f"{path}:{number}: not a JSON row: {error}") from error


def load_file(venue: Venue, path: str | Path) -> Loaded:
    """The instruments that a capture file's ``rest`` rows list; other rows are skipped.

    ``path`` may end in ``.gz`` or ``.zst``. Raises CaptureError when the file cannot be read or is
    not in the capture format.
    """
    path = Path(path)
    found: dict[str, InstrumentInfo] = {}
    skipped: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    try:
        for row in _rows(path):
            if not isinstance(row, dict) or not isinstance(row.get("raw"), str):
                skipped["not a capture row"] += 1
            elif row.get("dir", "rest") != "rest":
                skipped["not a rest row"] += 1
            else:
                try:
                    parsed = parse_counted(venue, row["raw"], row.get("url"))
                except VenueError:
                    skipped["not a list of instruments"] += 1
                    continue
                rejected += parsed.rejected
                for instrument in parsed.instruments:
                    found.pop(instrument.symbol, None)
                    found[instrument.symbol] = instrument
    except (OSError, EOFError, ValueError, RecursionError, zstandard.ZstdError) as error:
        raise CaptureError(f"{path}: cannot be read as a capture: {error}") from error
    return Loaded(list(found.values()), skipped, rejected)
