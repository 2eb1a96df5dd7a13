"""The machine stands still for a while, all processes with it: nobody is to blame for that."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from feedd.broadcaster.plan import BroadcasterPlan
from feedd.clock import SECOND_NS
from feedd.reader.plan import ReaderPlan
from feedd.shm.ring import RingWriter, create_ring
from feedd.supervisor import process
from feedd.supervisor.notify import Progress
from feedd.supervisor.process import BroadcasterHandle, ProcessHandle, ReaderHandle, ReaderState

S = SECOND_NS


class Clock:
    """Time that passes when it is told to, and a watch that looks after each step."""

    def __init__(self, monkeypatch: Any) -> None:
        self.now = 1_000 * S
        self.killed: list[str] = []
        monkeypatch.setattr(process, "monotonic_ns", lambda: self.now)
        monkeypatch.setattr(process, "WATCH_S", 0.0)
        monkeypatch.setattr(
            ProcessHandle, "_kill_hung", lambda _, what, limit_s: self.killed.append(what)
        )

    async def step(self, seconds: float, times: int = 1) -> None:
        for _ in range(times):
            self.now += int(seconds * S)
            for _ in range(4):
                await asyncio.sleep(0)


async def test_a_reader_that_stood_still_with_its_supervisor_is_not_killed(
    tmp_path: Path, monkeypatch: Any
) -> None:
    create_ring(tmp_path, 0, 1 << 14, "reader-0")
    ring, clock = RingWriter.takeover(tmp_path, 0), Clock(monkeypatch)
    plan = ReaderPlan(0, str(tmp_path), None, False, 4, (32,) * 4, 1 << 14, ())
    handle = ReaderHandle(plan, lambda *_: None, lambda _: None)
    handle.state = ReaderState.RUNNING
    watching = asyncio.create_task(handle.watch())
    ring.heartbeat(clock.now)
    await clock.step(0.1, 5)
    await clock.step(60.0)
    assert clock.killed == [], "it had no time to beat yet"
    await clock.step(0.1, 19)
    assert clock.killed == []
    ring.heartbeat(clock.now)
    await clock.step(0.1, 19)
    assert clock.killed == []
    await clock.step(0.1, 3)
    assert clock.killed == ["no heartbeat"], "it hangs while others do not"
    watching.cancel()
    ring.close()


async def test_the_same_for_the_broadcaster(tmp_path: Path, monkeypatch: Any) -> None:
    clock = Clock(monkeypatch)
    plan: Any = BroadcasterPlan
    handle = BroadcasterHandle(plan, lambda: None)
    handle.state = ReaderState.RUNNING
    watching = asyncio.create_task(handle.watch())
    await clock.step(0.1, 5)
    await clock.step(60.0)
    await clock.step(0.1, 49)
    assert clock.killed == []
    await clock.step(0.1, 3)
    assert clock.killed == ["no beat"]
    watching.cancel()


def test_the_watchdog_is_fed_after_it() -> None:
    progress, now = Progress(4.0), 1_000 * S
    for _ in range(5):
        now += S // 10
        assert progress.stuck(now, [(0, now)]) == []
    beat = now
    now += 60 * S
    assert progress.stuck(now, [(0, beat)]) == []
    for _ in range(38):
        now += S // 10
        assert progress.stuck(now, [(0, beat)]) == []
    for _ in range(4):
        now += S // 10
        stuck = progress.stuck(now, [(0, beat)])
    assert stuck == [0]
