"""Readers that outlived their supervisor: they must be gone before new ones take over.

A reader ends by itself when its supervisor dies: the kernel sends it SIGTERM, and its pipe ends.
One that hangs notices neither. Whoever holds the directory's lock may end it: nobody else will.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from pathlib import Path

from feedd.clock import SECOND_NS, monotonic_ns
from feedd.errors import ShmError, StartError
from feedd.shm.directory import lock_held, lock_path
from feedd.shm.identity import boot_id, process_starttime
from feedd.shm.layout import Offset, SegmentKind
from feedd.shm.segment import open_segment

__all__ = ["end_orphans"]

ORDERLY_S = 1.5
KILL_S = 2.0
LOOK_S = 0.02

log = logging.getLogger("feedd.supervisor")


async def end_orphans(directory: Path) -> None:
    """Wait for readers of a dead supervisor to end, then end them.

    Raises ``StartError`` naming the reader when one does not go away.
    """
    locks = {number: lock_path(directory, number) for number in _numbers(directory)}
    left = await _wait(locks, ORDERLY_S)
    for number in left:
        pid = _writer(directory, number)
        if pid is None:
            raise StartError(
                f"some process holds {locks[number]} and it is not known which: find it with "
                "lslocks and end it"
            )
        log.warning("reader %d of a dead supervisor still runs (pid %d): killed", number, pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if left and (left := await _wait({n: locks[n] for n in left}, KILL_S)):
        raise StartError(f"reader {left[0]} in {directory} does not end: is it in the kernel?")


def _numbers(directory: Path) -> list[int]:
    found = (path.name.removeprefix("LOCK.") for path in directory.glob("LOCK.*"))
    return sorted(int(text) for text in found if text.isdecimal())


async def _wait(locks: dict[int, Path], seconds: float) -> list[int]:
    """Readers whose lock is still held after so long at most."""
    deadline = monotonic_ns() + int(seconds * SECOND_NS)
    while True:
        held = [number for number, path in locks.items() if lock_held(path)]
        if not held or monotonic_ns() >= deadline:
            return held
        await asyncio.sleep(LOOK_S)


def _writer(directory: Path, number: int) -> int | None:
    """The process that took the ring over last, when it is still that very process."""
    try:
        segment = open_segment(directory / f"reader-{number}.ring", SegmentKind.RING)
    except ShmError:
        return None
    try:
        pid, started = segment.u32(Offset.PID), segment.u64(Offset.PID_STARTTIME)
        same_boot = bytes(segment.buf[Offset.BOOT_ID : Offset.BOOT_ID + 16]) == boot_id()
    finally:
        segment.close()
    if not pid or not same_boot or started != process_starttime(pid):
        return None
    return int(pid)
