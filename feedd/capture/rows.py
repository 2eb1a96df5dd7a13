"""Read capture files: JSON lines or one JSON array of rows, plain or compressed by gzip or zstd.

A row is ``{"t": ns or null, "dir": "in"|"out"|"rest"|"open"|"close", "conn": name, "raw": text}``;
``rest`` rows may carry ``"url"``, binary frames carry ``"b64"``, unknown keys are ignored, and a
row of a JSON array without ``dir`` is a ``rest`` row.
"""

from __future__ import annotations

import base64
import codecs
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import orjson
import zstandard

from feedd.errors import CaptureError

__all__ = ["Row", "begins_array", "open_capture", "read_rows"]

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
PEEK_BYTES = 4096
READ_BYTES = 1 << 17
T_MAX = 2**63 - 1
_DIRECTIONS = frozenset(("in", "out", "rest", "open", "close"))


class Row(NamedTuple):
    """One row; ``data`` is the frame or body as bytes, ``t`` None where the file gives none."""

    t: int | None
    dir: str
    conn: str
    data: bytes
    url: str | None


def open_capture(path: Path) -> io.BufferedReader:
    """The decompressed bytes of ``path``; what it begins with counts for more than its name.

    Raises CaptureError with what is wrong.
    """
    try:
        raw = path.open("rb")
        head = raw.peek(len(ZSTD_MAGIC))
    except OSError as exc:
        raise CaptureError(f"{path}: cannot be opened: {exc.strerror or exc}") from exc
    form = path.suffix
    if head.startswith(GZIP_MAGIC):
        form = ".gz"
    elif head.startswith(ZSTD_MAGIC):
        form = ".zst"
    elif not head or head.lstrip()[:1] in (b"{", b"[", codecs.BOM_UTF8[:1]):
        form = ""
    if form == ".gz":
        return io.BufferedReader(cast(io.RawIOBase, _GzipFile(raw)))
    if form == ".zst":
        return io.BufferedReader(_ZstdFile(raw), READ_BYTES)
    return raw


class _GzipFile(gzip.GzipFile):
    """One that closes what it reads from."""

    def __init__(self, raw: IO[bytes]) -> None:
        super().__init__(fileobj=raw)
        self._raw = raw

    def close(self) -> None:
        super().close()
        self._raw.close()


class _ZstdFile(io.RawIOBase):
    """All frames of a zstd file. zstandard's own reader takes a cut file for a whole one."""

    def __init__(self, raw: io.BufferedReader) -> None:
        self._raw = raw
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._in = b""
        self._out = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._out:
            data = self._in or self._raw.read(READ_BYTES)
            if not data:
                if self._frame is not None:
                    raise EOFError("the file ends inside a zstd frame")
                return 0
            if self._frame is None:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._out = memoryview(self._frame.decompress(data))
            self._in = self._frame.unused_data
            if self._frame.eof:
                self._frame = None
        n = min(len(buffer), len(self._out))
        buffer[:n] = self._out[:n]
        self._out = self._out[n:]
        return n

    def close(self) -> None:
        self._raw.close()
        super().close()


def begins_array(file: io.BufferedReader) -> bool:
    """Whether one JSON array comes, not lines; a byte order mark is taken away."""
    if file.peek(PEEK_BYTES).startswith(codecs.BOM_UTF8):
        file.read(len(codecs.BOM_UTF8))
    return file.peek(PEEK_BYTES).lstrip()[:1] == b"["


def read_rows(path: Path, problems: list[str]) -> Iterator[Row]:
    """The rows of one file in order.

    A line that is not a row is described in ``problems`` and skipped; a file that cannot be read
    raises CaptureError.
    """
    try:
        with open_capture(path) as file:
            if begins_array(file):
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
    if not isinstance(direction, str) or direction not in _DIRECTIONS:
        return None
    data = _data(item)
    if data is None and direction not in ("open", "close"):
        return None
    t = item.get("t")
    url = item.get("url")
    return Row(
        t if type(t) is int and 0 <= t <= T_MAX else None,
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
        except ValueError:  # binascii.Error is one
            return None
    raw = item.get("raw")
    if isinstance(raw, str):
        try:
            return raw.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return raw.encode("utf-8", "surrogatepass")
    if isinstance(raw, dict | list):
        try:
            return orjson.dumps(raw)
        except orjson.JSONEncodeError:
            return None
    return None
