"""Capture files of the recorder, row by row with all their keys."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import zstandard

from feedd.capture.rows import open_capture

__all__ = ["Damage", "payload_of", "read_recorded"]


class Damage(list[str]):
    """What was wrong with files, in words; ``cut`` counts files that end before their end."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = 0


def read_recorded(path: Path, damage: list[str]) -> Iterator[dict[str, Any]]:
    """The rows of a file in order; what is no row, and a file that just ends, is told in
    ``damage``. Raises CaptureError when the file cannot be opened."""
    try:
        with open_capture(path) as file:
            for number, line in enumerate(file, 1):
                try:
                    row = orjson.loads(line)
                except orjson.JSONDecodeError:
                    row = None
                if isinstance(row, dict) and isinstance(row.get("dir"), str):
                    yield row
                elif line.strip():
                    what = "cut off in the middle of a row" if line[-1:] != b"\n" else "no row"
                    damage.append(f"{path}:{number}: {what}")
                    if isinstance(damage, Damage) and line[-1:] != b"\n":
                        damage.cut += 1
    except (OSError, EOFError, zstandard.ZstdError) as exc:
        damage.append(f"{path}: cut off or damaged: {exc}")
        if isinstance(damage, Damage):
            damage.cut += 1


def payload_of(row: dict[str, Any]) -> bytes:
    """The message or body of a row, byte by byte."""
    coded = row.get("b64")
    return base64.b64decode(coded) if isinstance(coded, str) else str(row.get("raw", "")).encode()
