"""Processes that cannot be started because the machine has no room for them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from feedd.capture.recorder import RecordPlan
from feedd.reader.plan import ReaderPlan
from feedd.supervisor import process, recorder
from feedd.supervisor.process import BroadcasterHandle, ReaderHandle, ReaderState
from feedd.supervisor.recorder import RecorderHandle


def no_room(*_: object, **__: object) -> Any:
    raise OSError(24, "Too many open files")


@pytest.mark.parametrize("what", ["socket.socketpair", "asyncio.create_subprocess_exec"])
async def test_a_reader_that_cannot_be_started_is_one_that_ended(
    tmp_path: Path, monkeypatch: Any, what: str
) -> None:
    monkeypatch.setattr(process, "PAUSES_S", (0.0,))
    plan = ReaderPlan(0, str(tmp_path), None, False, 4, (32,) * 4, 1 << 14, ())
    handle = ReaderHandle(plan, lambda *_: None, lambda _: None)
    with monkeypatch.context() as patch:
        patch.setattr(f"feedd.supervisor.process.{what}", no_room)
        life = asyncio.create_task(handle.run())
        async with asyncio.timeout(2):
            while handle.state is not ReaderState.FAILED:
                await asyncio.sleep(0)
                assert not life.done(), life.exception()
    assert "cannot be started: [Errno 24] Too many open files" in handle.last_exit
    handle.stop()
    await life
    assert handle.state is ReaderState.STOPPED


async def test_a_recorder_that_cannot_be_started_is_tried_again(
    tmp_path: Path, monkeypatch: Any, caplog: Any
) -> None:
    monkeypatch.setattr(recorder, "PAUSES_S", (0.01,))
    handle = RecorderHandle(
        RecordPlan(
            str(tmp_path), str(tmp_path / "files"), {}, 1 << 20, 60.0, 1 << 30, "info", "text"
        )
    )
    with monkeypatch.context() as patch:
        patch.setattr("feedd.supervisor.recorder.asyncio.create_subprocess_exec", no_room)
        life = asyncio.create_task(handle.run())
        while handle.restarts < 2 and not life.done():
            await asyncio.sleep(0.001)
    assert handle.restarts == 2
    async with asyncio.timeout(10):
        while not handle.pid:
            await asyncio.sleep(0.01)
    await handle.stop()
    await life
    assert "the recorder cannot be started: [Errno 24] Too many open files" in caplog.text


async def test_a_broadcaster_that_was_given_up_is_tried_again(monkeypatch: Any) -> None:
    """Its port may be free later, and no command is there to start it."""
    monkeypatch.setattr(process, "PAUSES_S", (0.0,))
    monkeypatch.setattr(BroadcasterHandle, "again_s", 0.01)
    monkeypatch.setattr("feedd.supervisor.process.socket.socketpair", no_room)
    states: list[ReaderState] = []
    plan: Any = None
    handle = BroadcasterHandle(plan, lambda: states.append(handle.state))
    life = asyncio.create_task(handle.run())
    async with asyncio.timeout(5):
        while states.count(ReaderState.FAILED) < 3:
            await asyncio.sleep(0.001)
    assert ReaderHandle.again_s is None
    handle.stop()
    await life
