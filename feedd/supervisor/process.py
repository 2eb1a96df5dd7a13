"""The daemon's processes as their supervisor sees them: spawn, watch, restart inside a budget."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
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

from feedd.broadcaster.plan import BroadcasterPlan
from feedd.clock import SECOND_NS, monotonic_ns
from feedd.errors import ShmError
from feedd.reader.pipe import Pipe
from feedd.reader.plan import ReaderPlan
from feedd.shm.ring import RingReader
from feedd.supervisor.early import Started
from feedd.supervisor.notify import without_notify

__all__ = [
    "BroadcasterHandle",
    "ProcessHandle",
    "ReaderHandle",
    "ReaderState",
    "RestartBudget",
]

HEARTBEAT_MAX_S = 2.0
START_MAX_S = 20.0
BEAT_MAX_S = 5.0
WATCH_S = 0.1
STALL_NS = SECOND_NS
"""A longer pause between two looks is our own: the machine stood still, and all others with us."""
MEMORY_EVERY_NS = SECOND_NS
STOP_S = 3.0
RESTARTS_MAX = 5
RESTART_WINDOW_S = 60.0
PAUSES_S = (0.0, 0.25, 0.5, 1.0, 2.0)

_permit_keys = itertools.count()

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

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


class ProcessHandle:
    """Keeps one process alive. ``on_message(message, body)`` gets what it asks for."""

    module = ""
    again_s: float | None = None
    """When one that was given up is tried once more all the same; None: when somebody asks."""

    def __init__(
        self,
        name: str,
        on_message: Callable[[dict[str, Any], bytes], None],
        on_change: Callable[[], None],
    ) -> None:
        self.name = name
        self.state = ReaderState.STOPPED
        self.memory_max = 0
        """Bytes of memory of its own, shared segments not counted; 0: no limit."""
        self.restarts = 0
        self.pid = 0
        self.last_exit = ""
        self._tell_message = on_message
        self._tell_change = on_change
        self._budget = RestartBudget()
        self._pipe: Pipe | None = None
        self._stopping = False
        self._wake = asyncio.Event()
        self._again = False  # the coming end was asked for: start anew, at no cost to the budget
        self._reason = ""
        self._process: asyncio.subprocess.Process | Started | None = None
        self.early: Started | None = None
        """A process for the first life that runs already."""

    def first_message(self) -> dict[str, Any]:
        """What a new process is told: its plan."""
        raise LookupError(f"{self.name} has no plan")

    async def watch(self) -> None:
        """SIGKILL when the process hangs; until cancelled."""

    def send(self, message: dict[str, Any], body: bytes | None = None) -> None:
        if self._pipe is not None:
            self._pipe.send(message, body)

    async def run(self) -> None:
        """Start, watch and restart until ``stop``; with a spent budget wait for ``restart``."""
        while True:
            await self._one_life()
            if self.stopping():
                break
            if self._again:
                self._again = False
                continue
            pause = self._budget.next_pause_s(monotonic_ns())
            if pause is None:
                log.error(
                    "%s ended %d times in %.0f s: given up, the others go on (last: %s)",
                    self.name,
                    RESTARTS_MAX + 1,
                    RESTART_WINDOW_S,
                    self.last_exit,
                )
                self._set(ReaderState.FAILED)
                with contextlib.suppress(TimeoutError):  # or until somebody asks, or the end
                    await asyncio.wait_for(self._wake.wait(), self.again_s)
                self._wake.clear()
                if self.stopping():
                    break
                self._budget = RestartBudget()
                continue
            self.restarts += 1
            self._set(ReaderState.WAITING)
            log.warning("%s: %s; restart in %.2f s", self.name, self.last_exit, pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause)
            self._wake.clear()
            if self.stopping():
                break
        self._set(ReaderState.STOPPED)

    def stopping(self) -> bool:
        return self._stopping

    def stop(self) -> None:
        """Ask the process to end; ``run`` returns when it has."""
        self._stopping = True
        self._wake.set()
        self._signal(signal.SIGTERM)

    def restart(self) -> None:
        """End the process in order and start the next one at once; a hung one is killed.

        One that waits for its next start, or was given up, starts now with a fresh budget.
        """
        if self._process is not None and self._process.returncode is None:
            self._again = True
            self._signal(signal.SIGTERM)
        else:
            if self.state is ReaderState.FAILED:
                self._set(ReaderState.WAITING)
            self._wake.set()

    def give_way(self) -> None:
        """Ask a reader to end at the end of an event; ``run`` returns when it has."""
        self._stopping = True
        self._wake.set()
        self.send({"op": "hand_over"})

    def kill(self) -> None:
        self._stopping = True
        self._wake.set()
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def _set(self, state: ReaderState) -> None:
        if state is not self.state:
            self.state = state
            self._tell_change()

    async def _one_life(self) -> None:
        self._set(ReaderState.STARTING)
        begun = await self._begin()
        if begun is None:
            return
        process, ours = begun
        self._process, self.pid = process, process.pid
        pipe = await Pipe.over(ours)
        self._pipe = pipe
        pipe.send(self.first_message())
        if self._stopping:
            self._signal(signal.SIGTERM)
        receiver = asyncio.create_task(self._receive(pipe))
        watcher = asyncio.create_task(self.watch())
        status = await process.wait()
        watcher.cancel()
        # what it still wrote before its end; the pipe of a dead process ends by itself
        await asyncio.wait({receiver}, timeout=1.0)
        receiver.cancel()
        self._pipe = None
        pipe.close()
        self._process = None
        self.pid = 0
        self.last_exit = self._reason or _exit_text(status)
        self._reason = ""

    async def _begin(self) -> tuple[asyncio.subprocess.Process | Started, socket.socket] | None:
        """A process without a plan and our end of its pipe; None when it cannot be started."""
        if self.early is not None:
            early, self.early = self.early, None
            return early, early.sock
        try:
            ours, theirs = socket.socketpair()
        except OSError as exc:  # no file descriptor is left
            self.last_exit = f"cannot be started: {exc}"
            return None
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self.module,
                str(theirs.fileno()),
                str(os.getpid()),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                env=without_notify(os.environ),
            )
        except OSError as exc:
            ours.close()
            self.last_exit = f"cannot be started: {exc}"
            return None
        finally:
            theirs.close()
        return process, ours

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
                self._tell_message(message, body)
            except Exception:
                log.exception("%s: its message %r failed", self.name, message.get("op"))

    def _kill_hung(self, what: str, limit_s: float) -> None:
        self._reason = f"killed: {what} for {limit_s:.0f} s"
        log.error("%s: %s for %.0f s: killed", self.name, what, limit_s)
        self._signal(signal.SIGKILL)

    def _over_memory(self) -> bool:
        """End the process in order when its own memory is more than it may have."""
        own = own_memory(self.pid)
        if not self.memory_max or own <= self.memory_max:
            return False
        self._reason = f"ended: {own >> 20} MiB of memory, {self.memory_max >> 20} allowed"
        log.error("%s: %s", self.name, self._reason)
        self._signal(signal.SIGTERM)
        return True


class ReaderHandle(ProcessHandle):
    """A reader; ``on_message(handle, message, body)`` gets what it asks for."""

    module = "feedd.reader"

    def __init__(
        self,
        plan: ReaderPlan,
        on_message: Callable[[ReaderHandle, dict[str, Any], bytes], None],
        on_change: Callable[[ReaderHandle], None],
    ) -> None:
        super().__init__(
            f"reader {plan.reader}",
            lambda message, body: on_message(self, message, body),
            lambda: on_change(self),
        )
        self.plan = plan
        """What the next process of this reader will be told."""
        self.number = plan.reader
        self.permit_key = next(_permit_keys)
        """Whom connect permits are for: two processes of one reader may ask at a time."""
        self.standby = False
        """It gets ready beside the process that it is to replace."""
        self.warm = False
        self.missing = "it has not started yet"
        self.life: asyncio.Task[None] | None = None
        """``run``, as somebody spawned it."""
        self.heartbeat_ns = 0
        """The reader's own heartbeat (monotonic) as last seen in shared memory; 0: none yet."""

    def first_message(self) -> dict[str, Any]:
        plan = msgspec.structs.replace(self.plan, standby=self.standby)
        return {"op": "plan", "plan": msgspec.to_builtins(plan)}

    async def watch(self) -> None:
        """SIGKILL when the heartbeat in shared memory stops."""
        self.heartbeat_ns = 0
        started = looked = next_memory = monotonic_ns()
        try:
            with RingReader(self.plan.directory, self.number) as ring:
                while True:
                    await asyncio.sleep(WATCH_S)
                    now, before = monotonic_ns(), looked
                    looked = now
                    if now - before > STALL_NS:
                        started = now  # whoever stood still as well gets its time to beat
                    if self.standby:  # whoever waits for it has a deadline
                        started = now
                        continue
                    running = self.state is ReaderState.RUNNING
                    self.heartbeat_ns = int(ring.heartbeat_ns)
                    since = max(self.heartbeat_ns, started) if running else started
                    limit = HEARTBEAT_MAX_S if running else START_MAX_S
                    if now - since > limit * SECOND_NS:
                        self._kill_hung("no heartbeat" if running else "not ready", limit)
                        return
                    if now >= next_memory:
                        next_memory = now + MEMORY_EVERY_NS
                        if self._over_memory():
                            next_memory = now + 5 * MEMORY_EVERY_NS
        except ShmError as exc:
            log.error("%s: its ring cannot be watched: %s", self.name, exc)


class BroadcasterHandle(ProcessHandle):
    """The broadcaster; its figures come with its beats."""

    module = "feedd.broadcaster"
    again_s = 60.0

    def __init__(self, plan: BroadcasterPlan, on_change: Callable[[], None]) -> None:
        super().__init__("broadcaster", self._on_beat, on_change)
        self.plan = plan
        self.figures: dict[str, int] = {}
        self._beat_at = 0

    def first_message(self) -> dict[str, Any]:
        return {"op": "plan", "plan": msgspec.to_builtins(self.plan)}

    def _on_beat(self, message: dict[str, Any], _: bytes) -> None:
        if message.pop("op", "") == "beat":
            self._beat_at = monotonic_ns()
            self.figures = message

    async def watch(self) -> None:
        """SIGKILL when no beat comes over the pipe."""
        self.figures = {}
        started = looked = self._beat_at = monotonic_ns()
        while True:
            await asyncio.sleep(WATCH_S)
            now, before = monotonic_ns(), looked
            looked = now
            if now - before > STALL_NS:
                started = now
            running = self.state is ReaderState.RUNNING
            limit = BEAT_MAX_S if running else START_MAX_S
            since = max(self._beat_at, started) if running else started
            if now - since > limit * SECOND_NS:
                self._kill_hung("no beat" if running else "not ready", limit)
                return


def own_memory(pid: int) -> int:
    """Bytes of resident memory that the process shares with nobody; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            _, resident, shared, *_ = map(int, file.read().split())
    except (OSError, ValueError):
        return 0
    return (resident - shared) * PAGE_BYTES


def _exit_text(status: int) -> str:
    if status < 0:
        try:
            return f"killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"killed by signal {-status}"
    return f"exited with status {status}"
