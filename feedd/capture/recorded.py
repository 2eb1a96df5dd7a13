"""Capture files of the recorder, row by row with all their keys."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import orjson
import zstandard

from feedd.capture.lines import VERSION
from feedd.capture.rows import begins_array, open_capture
from feedd.errors import CaptureError

__all__ = ["Damage", "check_head", "payload_of", "read_recorded"]

_Id = Annotated[int, msgspec.Meta(ge=0, lt=1 << 24)]


class _Instrument(msgspec.Struct):
    id: _Id
    symbol: str
    row: Annotated[int, msgspec.Meta(ge=-1, lt=1 << 24)]
    depth: Annotated[int, msgspec.Meta(ge=0, lt=1 << 20)] = 0


class _Head(msgspec.Struct):
    """What a replay needs of the first row."""

    version: int
    venue: str
    reader: Annotated[int, msgspec.Meta(ge=0, lt=1 << 10)]
    handle: Annotated[int, msgspec.Meta(ge=0, lt=1 << 10)] = 0
    instruments: list[_Instrument] = []


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
            if begins_array(file):
                yield from _array(path, file.read(), damage)
                return
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


def _array(path: Path, text: bytes, damage: list[str]) -> Iterator[dict[str, Any]]:
    try:
        items = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        damage.append(f"{path}: starts with '[' but is no JSON array of rows: {exc}")
        return
    for number, item in enumerate(items):
        if isinstance(item, dict) and isinstance(item.setdefault("dir", "rest"), str):
            yield item
        else:
            damage.append(f"{path}: row {number} is no row")


def check_head(path: Path, facts: dict[str, Any]) -> None:
    """What the first row says of a recording; CaptureError when no recorder wrote that."""
    try:
        head = msgspec.convert(facts, _Head)
    except msgspec.ValidationError as exc:
        raise CaptureError(f"{path}: its first row is none of a recording: {exc}") from exc
    if head.version != VERSION:
        raise CaptureError(
            f"{path}: recorded in form {head.version}; this feedd knows form {VERSION}"
        )


def payload_of(row: dict[str, Any]) -> bytes:
    """The message or body of a row, byte by byte."""
    coded = row.get("b64")
    return base64.b64decode(coded) if isinstance(coded, str) else str(row.get("raw", "")).encode()
