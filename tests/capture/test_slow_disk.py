"""A disk that blocks, and one that is slow: the recording has counted holes, the data none."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feedd.capture.verify import verify_all
from feedd.shm.counters import CountersReader, percentile
from feedd.sim.testing import SimHandle, start_sim
from tests.supervisor.conftest import Daemon, until

pytestmark = pytest.mark.timeout(120)
HERE = Path(__file__).parent
BLOCKED_S = 3.0


class Disk:
    """The other end of the recorder's pipe. ``rate`` bytes a second; None: as fast as it can."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self.rate: float | None = None
        self.passed = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._end.wait(0.01):
            allowed = 1 << 24 if self.rate is None else int(self.rate / 100)
            while allowed > 0:
                try:
                    got = len(os.read(self._fd, min(allowed, 1 << 16)))
                except BlockingIOError:
                    break
                allowed -= got
                self.passed += got

    def close(self) -> None:
        """Let a recorder whose daemon has been killed write what it has: it ends then."""
        self.rate, passed, quiet = None, -1, time.monotonic() + 20
        while passed != self.passed and time.monotonic() < quiet:
            passed = self.passed
            time.sleep(0.5)
        self._end.set()
        self._thread.join()
        os.close(self._fd)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    made = Disk(tmp_path / "gate")
    monkeypatch.setenv("FEEDD_TEST_GATE", str(tmp_path / "gate"))
    path = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", f"{HERE / 'slow_disk'}:{path}")
    yield made
    made.close()


@pytest.fixture
def busy_sim(tmp_path: Path) -> Iterator[SimHandle]:
    (tmp_path / "busy").mkdir()
    with start_sim(tmp_path / "busy", rate=4_000, seed=5) as handle:
        yield handle


def histogram(daemon: Daemon) -> Any:
    counters = CountersReader(daemon.directory)
    try:
        return counters.histogram(0, "total").astype(np.int64)
    finally:
        counters.close()


def said(sim: SimHandle) -> int:
    """Messages of all its streams until now."""
    return sum(stream["messages"] for stream in sim.control("status")["streams"].values())


def at_last(daemon: Daemon, name: str) -> int:
    """A counter of the reader that has ended."""
    counters = CountersReader(daemon.directory)
    try:
        return counters.reader(0)[name]
    finally:
        counters.close()


def test_a_disk_that_blocks_never_slows_the_reader(
    disk: Disk, make_daemon: Callable[..., Daemon], busy_sim: SimHandle, tmp_path: Path
) -> None:
    target = tmp_path / "capture"
    capture = f'[capture]\nenabled = true\ndirectory = "{target}"\nring_mb = 1\n'
    daemon = make_daemon(busy_sim, sections=capture).wait_live()
    until(lambda: disk.passed > 0)

    def measured(seconds: float) -> tuple[float, int]:
        """(frames for each message of the venue, p99 of receipt to ring in ns)"""
        frames, before, sent = daemon.counter("frames"), histogram(daemon), said(busy_sim)
        time.sleep(seconds)
        share = (daemon.counter("frames") - frames) / (said(busy_sim) - sent)
        return share, percentile(histogram(daemon) - before, 0.99)

    free, free_p99 = measured(BLOCKED_S)
    disk.rate = 0.0
    until(lambda: daemon.counter("capture_dropped") > 0, 30)
    blocked, blocked_p99 = measured(BLOCKED_S)
    assert blocked > 0.8 * free, "frames come at the venue's pace, disk or not"
    assert blocked_p99 < max(8 * free_p99, 20_000_000)
    dropped = daemon.counter("capture_dropped")
    disk.rate = 2e4  # slow, not dead: what is recorded is whole, the rest counted
    until(lambda: daemon.counter("capture_dropped") > dropped)
    disk.rate = None
    until(lambda: _no_more_drops(daemon), 30)
    captured = daemon.counter("captured")
    until(lambda: daemon.counter("captured") > captured + 1_000)
    assert daemon.counter("gaps") == daemon.counter("disconnects") == 0
    assert "restart in" not in daemon.log()
    assert daemon.stop() == 0
    dropped = at_last(daemon, "capture_dropped")  # on a busy machine there may be more until then
    reports = verify_all(sorted(target.glob("*/*.jsonl.zst")))
    counted = [report.dropped for report in reports if report.path.parent.name == "deribit"]
    assert sum(counted) == dropped, "the files of each venue tell of every hole"
    problems = [problem for report in reports for problem in report.problems]
    assert problems
    assert all("entries lost: the recorder lagged" in problem for problem in problems)


def _no_more_drops(daemon: Daemon) -> bool:
    before = daemon.counter("capture_dropped")
    time.sleep(0.5)
    return daemon.counter("capture_dropped") == before
