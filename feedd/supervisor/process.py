"""One reader process as its supervisor sees it: spawn, watch, restart inside a budget."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import msgspec

from feedd.clock import SECOND_NS, monotonic_ns
from feedd.errors import ShmError
from feedd.reader.pipe import Pipe
from feedd.reader.plan import ReaderPlan
from feedd.shm.ring import RingReader
from feedd.supervisor.notify import without_notify

__all__ = ["ReaderHandle", "ReaderState", "RestartBudget"]

HEARTBEAT_MAX_S = 2.0
START_MAX_S = 20.0
WATCH_S = 0.1
STOP_S = 3.0
RESTARTS_MAX = 5
RESTART_WINDOW_S = 60.0
PAUSES_S = (0.0, 0.25, 0.5, 1.0, 2.0)

log = logging.getLogger("feedd.supervisor")


class ReaderState(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"  # between a crash and the next start
    FAILED = "failed"  # too many restarts: given up
    STOPPED = "stopped"


class RestartBudget:
    """At most ``RESTARTS_MAX`` restarts in ``RESTART_WINDOW_S``; pauses grow. Pure."""

    def __init__(self) -> None:
        self._at: deque[int] = deque(maxlen=RESTARTS_MAX)

    def next_pause_s(self, now: int) -> float | None:
        """Count one crash; the pause before the next start, or None: give up."""
        while self._at and now - self._at[0] > RESTART_WINDOW_S * SECOND_NS:
            self._at.popleft()
        if len(self._at) >= RESTARTS_MAX:
            return None
        pause = PAUSES_S[min(len(self._at), len(PAUSES_S) - 1)]
        self._at.append(now)
        return pause


class ReaderHandle:
    """Keeps one reader alive. ``on_message(handle, message, body)`` gets what it asks for."""

    def __init__(
        self,
        plan: ReaderPlan,
        on_message: Callable[[ReaderHandle, dict[str, Any], bytes], None],
        on_change: Callable[[ReaderHandle], None],
    ) -> None:
        self.plan = plan
        self.number = plan.reader
        self.state = ReaderState.STOPPED
        self.restarts = 0
        self.pid = 0
        self.last_exit = ""
        self.heartbeat_ns = 0
        """The reader's own heartbeat (monotonic) as last seen in shared memory; 0: none yet."""
        self._on_message = on_message
        self._on_change = on_change
        self._budget = RestartBudget()
        self._pipe: Pipe | None = None
        self._stopping = False
        self._again = False  # the coming end was asked for: start anew, at no cost to the budget
        self._process: asyncio.subprocess.Process | None = None

    def send(self, message: dict[str, Any], body: bytes | None = None) -> None:
        if self._pipe is not None:
            self._pipe.send(message, body)

    def update_plan(self, plan: ReaderPlan) -> None:
        """What the next process of this reader will be told."""
        self.plan = plan

    async def run(self) -> None:
        """Start, watch and restart until ``stop`` or until the budget is spent."""
        while True:
            await self._one_life()
            if self.stopping:
                break
            if self._again:
                self._again = False
                continue
            pause = self._budget.next_pause_s(monotonic_ns())
            if pause is None:
                log.error(
                    "reader %d ended %d times in %.0f s: given up, the others go on (last: %s)",
                    self.number,
                    RESTARTS_MAX + 1,
                    RESTART_WINDOW_S,
                    self.last_exit,
                )
                self._set(ReaderState.FAILED)
                return
            self.restarts += 1
            self._set(ReaderState.WAITING)
            log.warning("reader %d: %s; restart in %.2f s", self.number, self.last_exit, pause)
            await asyncio.sleep(pause)
        self._set(ReaderState.STOPPED)

    @property
    def stopping(self) -> bool:
        return self._stopping

    def stop(self) -> None:
        """Ask the process to end; ``run`` returns when it has."""
        self._stopping = True
        self._signal(signal.SIGTERM)

    def restart(self) -> None:
        """End the process in order and start the next one at once; a hung one is killed.

        A reader that is between two processes starts anew anyway; one that was given up needs a
        new ``run``.
        """
        if self._process is not None and self._process.returncode is None:
            self._again = True
            self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._stopping = True
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def _set(self, state: ReaderState) -> None:
        if state is not self.state:
            self.state = state
            self._on_change(self)

    async def _one_life(self) -> None:
        self._set(ReaderState.STARTING)
        self.heartbeat_ns = 0
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "feedd.reader",
                str(theirs.fileno()),
                str(os.getpid()),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                env=without_notify(os.environ),
            )
        except OSError as exc:
            ours.close()
            self.last_exit = f"cannot be started: {exc}"
            return
        finally:
            theirs.close()
        self._process, self.pid = process, process.pid
        pipe = await Pipe.over(ours)
        self._pipe = pipe
        pipe.send({"op": "plan", "plan": msgspec.to_builtins(self.plan)})
        if self._stopping:
            self._signal(signal.SIGTERM)
        receiver = asyncio.create_task(self._receive(pipe))
        watcher = asyncio.create_task(self._watch())
        status = await process.wait()
        watcher.cancel()
        # what it still wrote before its end; the pipe of a dead process ends by itself
        await asyncio.wait({receiver}, timeout=1.0)
        receiver.cancel()
        self._pipe = None
        pipe.close()
        self._process = None
        self.pid = 0
        self.last_exit = _exit_text(status)

    async def _receive(self, pipe: Pipe) -> None:
        while True:
            received = await pipe.receive()
            if received is None:
                return
            message, body = received
            if message.get("op") == "ready":
                self._set(ReaderState.RUNNING)
                continue
            try:
                self._on_message(self, message, body)
            except Exception:
                log.exception("reader %d: its message %r failed", self.number, message.get("op"))

    async def _watch(self) -> None:
        """SIGKILL when the heartbeat in shared memory stops."""
        started = monotonic_ns()
        try:
            with RingReader(self.plan.directory, self.number) as ring:
                while True:
                    await asyncio.sleep(WATCH_S)
                    now = monotonic_ns()
                    running = self.state is ReaderState.RUNNING
                    self.heartbeat_ns = int(ring.heartbeat_ns)
                    since = max(self.heartbeat_ns, started) if running else started
                    limit = HEARTBEAT_MAX_S if running else START_MAX_S
                    if now - since > limit * SECOND_NS:
                        what = "no heartbeat" if running else "not ready"
                        log.error("reader %d: %s for %.0f s: killed", self.number, what, limit)
                        self._signal(signal.SIGKILL)
                        return
        except ShmError as exc:
            log.error("reader %d: its ring cannot be watched: %s", self.number, exc)


def _exit_text(status: int) -> str:
    if status < 0:
        try:
            return f"killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"killed by signal {-status}"
    return f"exited with status {status}"
