"""Capture files as the recorder writes them: whole lines, whole zstd frames, whole files.

A file grows under the name ``<name>.part`` by zstd frames of whole lines; what could not be written
to its end is cut off again, so at any moment the file is a row of whole frames. When it is complete
it is flushed to the disk and renamed. A ``.part`` that a killed recorder left is cut to its last
whole frame and renamed by the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import zstandard

from feedd.clock import SECOND_NS
from feedd.errors import LockedError

__all__ = [
    "SUFFIX",
    "CaptureFile",
    "closed_files",
    "file_name",
    "last_line",
    "lock_folder",
    "recover",
    "retain",
]

SUFFIX = ".jsonl.zst"
PART = ".part"
LEVEL = 3

log = logging.getLogger("feedd.recorder")


def file_name(venue: str, reader: int, t: int) -> str:
    """``deribit-r0-20261127T101500.000000001Z.jsonl.zst``: sorts by time within a reader."""
    seconds, rest = divmod(t, SECOND_NS)
    when = datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%S")
    return f"{venue}-r{reader}-{when}.{rest:09d}Z{SUFFIX}"


class CaptureFile:
    """One growing file. Every method may raise OSError; the file is then as before."""

    def __init__(self, folder: Path, venue: str, reader: int, t: int) -> None:
        """``t``: receive time of its first row (ns)."""
        while (path := folder / file_name(venue, reader, t)).exists():
            t += 1
        self.path = path
        self.bytes = 0
        """Compressed, as written."""
        self._part = path.with_name(path.name + PART)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._fd = os.open(self._part, flags, 0o640)
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)

    def write(self, lines: bytes) -> None:
        """Append one frame of whole lines, or nothing of it."""
        frame = memoryview(self._compressor.compress(lines))
        done = 0
        try:
            while done < len(frame):
                done += os.write(self._fd, frame[done:])
        except OSError:
            if done:
                os.ftruncate(self._fd, self.bytes)
                os.lseek(self._fd, self.bytes, os.SEEK_SET)
            raise
        self.bytes += len(frame)

    def close(self) -> None:
        """Bring it to the disk and give it its name; an empty one vanishes."""
        if self._fd < 0:
            return
        if self.bytes:
            os.fsync(self._fd)
            os.rename(self._part, self.path)
            sync_directory(self.path.parent)
        else:
            os.unlink(self._part)
        os.close(self._fd)
        self._fd = -1


def sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def lock_folder(path: Path) -> int:
    """A descriptor that keeps other recorders away from ``path`` until it is closed; no file is
    made for it. Raises LockedError while another one has it."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        os.close(fd)
        raise LockedError(
            f"capture.directory: {path} is another recorder's: each instance needs its own"
        ) from exc
    except OSError as exc:  # some network file systems lock no directories
        log.warning("%s cannot be locked (%s): let no other recorder use it", path, exc.strerror)
    return fd


def _whole_frames(path: Path) -> tuple[int, bytes]:
    """(bytes of the file up to the end of its last whole frame, the text of that frame)."""
    whole, text, at = 0, b"", 0
    frame = zstandard.ZstdDecompressor().decompressobj()
    parts: list[bytes] = []
    with path.open("rb") as file, contextlib.suppress(zstandard.ZstdError):
        while data := file.read(1 << 17):
            at += len(data)
            while data:
                parts.append(frame.decompress(data))
                data = frame.unused_data if frame.eof else b""
                if frame.eof:
                    whole, text = at - len(data), b"".join(parts)
                    parts.clear()
                    frame = zstandard.ZstdDecompressor().decompressobj()
    return whole, text


def last_line(path: Path) -> bytes:
    """The last whole line of a capture file that this module wrote; empty when there is none."""
    _, text = _whole_frames(path)
    lines = text.rstrip(b"\n").rsplit(b"\n", 1)
    return lines[-1]


def recover(directory: Path) -> list[tuple[Path, int]]:
    """Finish what a killed recorder left: (file, bytes cut off) for each that was worth keeping."""
    found = []
    for part in sorted(directory.glob(f"*/*{SUFFIX}{PART}")):
        size = part.stat().st_size
        whole, _ = _whole_frames(part)
        if not whole:
            part.unlink()
            continue
        os.truncate(part, whole)
        path = part.with_name(part.name.removesuffix(PART))
        os.rename(part, path)
        found.append((path, size - whole))
    return found


def closed_files(directory: Path) -> Iterator[Path]:
    """Every complete file below ``directory``, one folder per venue."""
    yield from directory.glob(f"*/*{SUFFIX}")


def retain(directory: Path, keep_bytes: int) -> list[Path]:
    """Delete the oldest complete files until all of them fit ``keep_bytes``; returns the deleted.

    Age is the time in the name, over all venues.
    """
    files = []
    for path in closed_files(directory):
        with contextlib.suppress(FileNotFoundError):
            files.append((path.name.rsplit("-", 1)[-1], path, path.stat().st_size))
    total = sum(size for _, _, size in files)
    gone = []
    for _, path, size in sorted(files):
        if total <= keep_bytes:
            break
        try:
            path.unlink(missing_ok=True)
        except OSError as exc:  # what is recorded now counts for more
            log.error("cannot delete %s to keep capture.keep_gb: %s", path, exc.strerror or exc)
            continue
        total -= size
        gone.append(path)
    return gone
