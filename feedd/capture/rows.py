"""Read capture files: JSON lines or one JSON array of rows, plain, ``.gz`` or ``.zst``.

A row is ``{"t": ns or null, "dir": "in"|"out"|"rest"|"open"|"close", "conn": name, "raw": text}``;
``rest`` rows may carry ``"url"``, binary frames carry ``"b64"``, unknown keys are ignored, and a
row of a JSON array without ``dir`` is a ``rest`` row.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import orjson
import zstandard

from feedd.errors import CaptureError

__all__ = ["Row", "open_capture", "read_rows"]

PEEK_BYTES = 4096
_DIRECTIONS = frozenset(("in", "out", "rest", "open", "close"))


class Row(NamedTuple):
    """One row; ``data`` is the frame or body as bytes, ``t`` None where the file gives none."""

    t: int | None
    dir: str
    conn: str
    data: bytes
    url: str | None


def open_capture(path: Path) -> io.BufferedReader:
    """The decompressed bytes of ``path``. Raises CaptureError with what is wrong."""
    try:
        if path.suffix == ".gz":
            return io.BufferedReader(cast(io.RawIOBase, gzip.open(path, "rb")))
        raw = path.open("rb")
    except OSError as exc:
        raise CaptureError(f"{path}: cannot be opened: {exc.strerror or exc}") from exc
    if path.suffix == ".zst":
        return io.BufferedReader(
            cast(io.RawIOBase, zstandard.ZstdDecompressor().stream_reader(raw, closefd=True))
        )
    return raw


def read_rows(path: Path, problems: list[str]) -> Iterator[Row]:
    """The rows of one file in order.

    A line that is not a row is described in ``problems`` and skipped; a file that cannot be read
    raises CaptureError.
    """
    try:
        with open_capture(path) as file:
            if file.peek(PEEK_BYTES).lstrip()[:1] == b"[":
                yield from _array_rows(path, file.read(), problems)
            else:
                for number, line in enumerate(file, 1):
                    if not line.strip():
                        continue
                    row = _row(_loads(line), "")
                    if row is None:
                        problems.append(f"{path}:{number}: not a capture row, skipped")
                    else:
                        yield row
    except (OSError, EOFError, zstandard.ZstdError) as exc:
        raise CaptureError(f"{path}: cannot be read to its end: {exc}") from exc


def _array_rows(path: Path, text: bytes, problems: list[str]) -> Iterator[Row]:
    items = _loads(text)
    if not isinstance(items, list):
        raise CaptureError(f"{path}: starts with '[' but is no JSON array of rows")
    for number, item in enumerate(items):
        row = _row(item, "rest")
        if row is None:
            problems.append(f"{path}: row {number} is not a capture row, skipped")
        else:
            yield row


def _loads(text: bytes) -> Any:
    """The JSON value; None when it is none. Bytes that are not UTF-8 survive as surrogates: a
    capture may well hold a frame with broken text."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            return json.loads(text.decode("utf-8", "surrogateescape"), strict=False)
        except (ValueError, RecursionError):
            return None


def _row(item: Any, default_dir: str) -> Row | None:
    if not isinstance(item, dict):
        return None
    direction = item.get("dir", default_dir)
    if direction not in _DIRECTIONS:
        return None
    data = _data(item)
    if data is None and direction not in ("open", "close"):
        return None
    t = item.get("t")
    url = item.get("url")
    return Row(
        t if isinstance(t, int) and not isinstance(t, bool) else None,
        direction,
        str(item.get("conn", "")),
        data or b"",
        url if isinstance(url, str) else None,
    )


def _data(item: dict[str, Any]) -> bytes | None:
    b64 = item.get("b64")
    # "enc" names a compression: then the text is in "raw"
    if isinstance(b64, str) and item.get("enc") in (None, "binary", "binary-utf8"):
        try:
            return base64.b64decode(b64, validate=True)
        except binascii.Error:
            return None
    raw = item.get("raw")
    if isinstance(raw, str):
        try:
            return raw.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return raw.encode("utf-8", "surrogatepass")
    if isinstance(raw, dict | list):
        return orjson.dumps(raw)
    return None
