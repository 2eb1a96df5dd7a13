"""Read captures: JSON lines or one JSON array, plain, ``.gz`` or ``.zst``."""

from __future__ import annotations

import base64
import gzip
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def read_bytes(path: Path) -> bytes:
    """The whole file, decompressed by its name."""
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    if path.suffix == ".zst":
        import zstandard  # only the zst fixtures need it

        with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(path.read_bytes())) as stream:
            return bytes(stream.read())
    return path.read_bytes()


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of one capture in file order.

    ``surrogateescape`` keeps bytes that are not UTF-8 recognisable: ``frame_bytes`` restores
    them, so that such a frame is judged like any other instead of ending the capture.
    """
    data = read_bytes(path)
    if data.lstrip()[:1] == b"[":
        for row in json.loads(data):
            row.setdefault("dir", "rest")
            yield row
        return
    for line in data.split(b"\n"):
        if line.strip():
            row = json.loads(line.decode("utf-8", "surrogateescape"))
            row.setdefault("dir", "rest")
            yield row


def frame_bytes(row: Row) -> bytes:
    """The message as bytes. A lone surrogate becomes bytes that are not valid UTF-8."""
    if "b64" in row:
        return base64.b64decode(row["b64"])
    raw: str = row["raw"]
    try:
        return raw.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return raw.encode("utf-8", "surrogatepass")


def all_rows(paths: Iterable[Path]) -> list[Row]:
    """Several captures are one session, in the order given."""
    return [row for path in paths for row in read_rows(path)]
