"""Readers that are started before the supervisor is complete: taken once, or ended."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from feedd.supervisor.early import EarlyReaders


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("[readers]\ncount = 2\n", 2),
        ("[instance]\n", 1),
        ("[readers]\ncount = 2000\n", 0),
        ('[readers]\ncount = "two"\n', 0),
        ("readers = 3\n", 0),
        ("no toml", 0),
    ],
)
def test_as_many_as_the_file_asks_for(
    tmp_path: Path, text: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(EarlyReaders, "__init__", lambda self, n: asked.append(n))
    path = tmp_path / "c.toml"
    path.write_text(text)
    EarlyReaders.of(path)
    EarlyReaders.of(tmp_path / "absent.toml")
    assert asked == [count, 0]


def test_those_that_nobody_takes_are_ended() -> None:
    with EarlyReaders(2) as early:
        taken = early.take()
        left = early.take()
        assert taken is not None
        assert left is not None
        assert early.take() is None
        taken.abandon()
        left.abandon()
    assert gone(taken.pid)
    assert gone(left.pid)
    with EarlyReaders(1) as early:
        (other,) = early._left
        assert not gone(other.pid)
    assert gone(other.pid)


async def test_its_end_is_waited_for_beside_other_work() -> None:
    with EarlyReaders(1) as early:
        started = early.take()
        assert started is not None
        waiting = asyncio.create_task(started.wait())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        assert started.returncode is None
        started.send_signal(signal.SIGKILL)
        assert await waiting == -signal.SIGKILL
        assert started.returncode == -signal.SIGKILL
        started.sock.close()
