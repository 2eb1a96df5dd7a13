"""Readers that are started before the supervisor is complete: taken once, or ended."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from feedd.errors import Exit
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


def test_the_supervisor_alone_hears_a_ctrl_c() -> None:
    before = signal.getsignal(signal.SIGINT)
    with EarlyReaders(1) as early:
        assert signal.getsignal(signal.SIGINT) is before
        started = early.take()
        assert started is not None
        ignored = 1 << (signal.SIGINT - 1)
        for _ in range(50):  # from its first moment on, while it imports
            with open(f"/proc/{started.pid}/status") as file:
                found = next(line for line in file if line.startswith("SigIgn:"))
            assert int(found.split()[1], 16) & ignored
            os.kill(started.pid, signal.SIGINT)
            time.sleep(0.01)
        assert not gone(started.pid)
        started.abandon()
    assert started.returncode in (0, -signal.SIGTERM)


def test_a_folder_that_cannot_be_recorded_to_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(
        f'[instance]\ndirectory = "{tmp_path}/shm"\nstate_directory = "{tmp_path}/state"\n'
        '[venues.deribit]\ninstruments = ["A"]\nchannels = ["book"]\nreference = false\n'
        'endpoint = "wss://127.0.0.1:9"\n'
    )
    (tmp_path / "file").touch()
    for target in (tmp_path / "file" / "below", Path("/proc/nowhere")):
        done = subprocess.run(
            [sys.executable, "-m", "feedd.cli", "record", "-c", str(path), "--to", str(target)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == Exit.UNAVAILABLE
        assert f"--to: cannot write into {target}" in done.stderr
