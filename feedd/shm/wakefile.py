"""The wake file: a flag per reader that sleeping consumers raise and the writer lowers.

It is the one file that consumers may write (0660), so nothing in it is trusted: the writer uses a
flag and nothing else, and a consumer raises it with ``pwrite``, never through a map.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from pathlib import Path

from feedd.errors import ShmError
from feedd.shm import layout
from feedd.shm.layout import SegmentKind
from feedd.shm.segment import create

__all__ = ["WakeLine", "ensure", "line_offset", "map_for_writer", "open_for_reader"]

_PAGE = layout.HEADER_BYTES
_BODY = layout.WAKE_LINES * layout.WAKE_LINE_BYTES


def line_offset(reader: int) -> int:
    """Byte offset of a reader's need_wake flag (u32) in the wake file."""
    if not 0 <= reader < layout.WAKE_LINES:
        raise ShmError(f"reader number {reader}: it must be 0 to {layout.WAKE_LINES - 1}")
    return _PAGE + reader * layout.WAKE_LINE_BYTES


def ensure(directory: Path | str, group: int | None = None) -> None:
    """Make the wake file of an instance unless it is there; one of another size is replaced."""
    path = Path(directory) / "wake"
    with contextlib.suppress(FileNotFoundError):
        if os.lstat(path).st_size == _PAGE + _BODY:
            return
        path.unlink()  # of another layout: its consumers cannot read our rings either
    create(
        path,
        SegmentKind.WAKE,
        capacity=layout.WAKE_LINES,
        slot_bytes=layout.WAKE_LINE_BYTES,
        body_bytes=_BODY,
        dtype='{"itemsize":64,"fields":[["need_wake","<u4",0]]}',
        name="wake",
        group=group,
        mode=0o660,
    ).close()


class WakeLine:
    """A writer's map of its flag. ``line`` is 64 writable bytes, the flag in the first four."""

    def __init__(self, mapping: mmap.mmap, offset: int) -> None:
        self._map = mapping
        self.line = memoryview(mapping)[offset : offset + layout.WAKE_LINE_BYTES]

    def close(self) -> None:
        self.line.release()
        with contextlib.suppress(BufferError):  # the writer's view is alive: the map goes with it
            self._map.close()


def map_for_writer(directory: Path | str, reader: int) -> WakeLine:
    """Map the flags for the writer of ring ``reader``."""
    path = Path(directory) / "wake"
    offset = line_offset(reader)
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as exc:
        raise ShmError(f"cannot open {path}: {exc.strerror}") from exc
    try:
        size = os.fstat(fd).st_size
        if size < _PAGE + _BODY:
            raise ShmError(f"{path} has {size} bytes instead of {_PAGE + _BODY}: remove it")
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
        return WakeLine(mmap.mmap(fd, _BODY, flags=flags, offset=_PAGE), offset - _PAGE)
    except OSError as exc:
        raise ShmError(f"cannot map {path}: {exc.strerror}") from exc
    finally:
        os.close(fd)


def open_for_reader(directory: Path | str) -> int:
    """A descriptor to raise flags through, or -1 without the right to: then waiting polls."""
    try:
        return os.open(Path(directory) / "wake", os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return -1
