"""``feedd decode`` inside this process: the same code without a start of Python each time.

For tests of which there are very many; the others run the command itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from feedd import venues
from feedd.capture.decode import CaptureDecoder

from .cli import Decoded, read_lines
from .fixture_files import write_capture


def decode_rows_here(venue: str, rows: list[dict[str, Any]], folder: Path) -> Decoded:
    """Decode rows as one capture and read the lines that the command would have written."""
    return decode_here(venue, [write_capture(folder / "rows.jsonl", rows)])


def decode_here(venue: str, captures: Sequence[Path]) -> Decoded:
    """Decode captures as one session and read the lines that the command would have written."""
    decoder = CaptureDecoder(venues.load(venue))
    lines = [orjson.dumps(event).decode() for event in decoder.events(list(captures))]
    lines += [orjson.dumps(book).decode() for book in decoder.final_books()]
    return read_lines(lines)
