"""The recorder as its supervisor sees it: started with the readers, ended after them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import orjson

from feedd.capture.recorder import RecordPlan
from feedd.errors import ShmError
from feedd.reader.plan import ReaderPlan
from feedd.shm.directory import segment_path
from feedd.shm.layout import SegmentKind
from feedd.shm.rawring import RawReader, create_raw
from feedd.supervisor.config import Config
from feedd.supervisor.notify import without_notify
from feedd.supervisor.segments import retire

__all__ = ["RecorderHandle", "prepare_raw", "record_plan"]

PAUSES_S = (0.1, 0.5, 1.0, 2.0, 5.0)
STOP_S = 10.0
MB = 1 << 20
GB = 1 << 30

log = logging.getLogger("feedd.supervisor")


def prepare_raw(directory: Path, config: Config, plans: Sequence[ReaderPlan]) -> None:
    """The raw rings, when the configuration wants them; what a predecessor left in one that fits is
    recorded first. Raises ``ShmError``."""
    wanted = {plan.reader for plan in plans} if config.capture.enabled else set()
    capacity = config.capture.ring_mb * MB
    for path in directory.glob("reader-*.raw"):
        digits = path.stem.removeprefix("reader-")
        if digits.isdecimal() and int(digits) not in wanted:
            retire(path, SegmentKind.RAW)
    for number in sorted(wanted):
        try:
            ring = RawReader(directory, number)
        except ShmError:
            fits = False
        else:
            fits = bool(ring.capacity == capacity)
            ring.close()
        if not fits:
            retire(segment_path(directory, "raw", number), SegmentKind.RAW)
            create_raw(directory, number, capacity)


def record_plan(config: Config, plans: Sequence[ReaderPlan]) -> RecordPlan:
    capture = config.capture
    return RecordPlan(
        directory=str(config.instance.path),
        target=str(config.capture_path),
        venues={plan.reader: tuple(part.name for part in plan.venues) for plan in plans},
        rotate_bytes=capture.rotate_mb * MB,
        rotate_s=capture.rotate_minutes * 60.0,
        keep_bytes=int(capture.keep_gb * GB),
        log_level=config.log.level,
        log_format=config.log.format,
    )


class RecorderHandle:
    """Keeps the recorder alive: the daemon goes on without it, so it is never given up."""

    def __init__(self, plan: RecordPlan) -> None:
        self.plan = plan
        self.pid = 0
        self.restarts = 0
        self.last_exit = ""
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    async def run(self) -> None:
        """Start, wait and start again until ``stop``."""
        while not self._stopping:
            try:
                self.last_exit = f"ended with status {await self._one_life()}"
            except OSError as exc:  # no memory, no file descriptor, no process is left
                self.last_exit = f"cannot be started: {exc}"
            if self.stopping:
                return
            pause = PAUSES_S[min(self.restarts, len(PAUSES_S) - 1)]
            self.restarts += 1
            log.error("the recorder %s; restart in %.1f s", self.last_exit, pause)
            await asyncio.sleep(pause)

    @property
    def stopping(self) -> bool:
        return self._stopping

    def send(self, message: dict[str, Any]) -> None:
        process = self._process
        if process is not None and process.stdin is not None and not process.stdin.is_closing():
            process.stdin.write(orjson.dumps(message) + b"\n")

    async def _one_life(self) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "feedd.capture.recorder",
            stdin=asyncio.subprocess.PIPE,
            env=without_notify(os.environ),
        )
        self._process, self.pid = process, process.pid
        assert process.stdin is not None  # noqa: S101 - asked for
        with contextlib.suppress(OSError):
            process.stdin.write(msgspec.json.encode(self.plan) + b"\n")
            await process.stdin.drain()
        if self._stopping:
            process.stdin.close()
        status = await process.wait()
        self._process, self.pid = None, 0
        return status

    async def stop(self) -> None:
        """After the last reader: what is in the rings goes to files, then it ends."""
        self._stopping = True
        process = self._process
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            status = await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            log.error("the recorder did not end within %.0f s: killed", STOP_S)
            self.kill()
            return
        if status:
            log.error("the recorder ended with status %d: not everything is in files", status)

    def kill(self) -> None:
        self._stopping = True
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
