"""Processes that end, hang, grow or are left behind, and what the daemon makes of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import feedd
from feedd.errors import StartError
from feedd.shm.directory import Lock, lock_held, lock_path
from feedd.shm.ring import RingWriter, create_ring
from feedd.sim.testing import SimHandle
from feedd.supervisor import orphans
from feedd.supervisor.cores import core_list, note_nodes, numa_nodes
from feedd.supervisor.orphans import end_orphans
from feedd.supervisor.process import RESTARTS_MAX, own_memory
from tests.supervisor.conftest import until
from tests.supervisor.test_ctl import ctl

pytestmark = pytest.mark.timeout(120)
Make = Callable[..., Any]
USDM = {"binance_usdm": ["depth", "bookTicker"]}
BOTH = {"binance_usdm": ["depth"], "deribit": ["book"]}


def reader_pid(daemon: Any, number: int) -> int:
    import json

    found = json.loads(ctl(daemon, "--json", "status"))["readers"][number]
    return int(found["pid"])


def test_a_crash_loop_ends_one_reader_and_the_others_go_on(
    sim: SimHandle, make_daemon: Make
) -> None:
    daemon = make_daemon(sim, venues=BOTH, readers=2).wait_live()
    other = reader_pid(daemon, 1)
    before = daemon.status()["readers"][1]
    killed: set[int] = set()
    while len(killed) <= RESTARTS_MAX:
        pid = until(lambda: (p := reader_pid(daemon, 0)) not in killed and p)
        os.kill(pid, signal.SIGKILL)
        killed.add(pid)
    until(lambda: "reader 0 ended 6 times in 60 s: given up, the others go on" in daemon.log())
    assert reader_pid(daemon, 1) == other
    after = daemon.status()["readers"][1]
    assert after["epoch"] == before["epoch"]
    until(lambda: daemon.status()["readers"][1]["counters"]["frames"] > after["counters"]["frames"])
    # who mended the cause can have it back, without a restart of the rest
    ctl(daemon, "restart", "0")
    daemon.wait_live()
    assert reader_pid(daemon, 1) == other
    assert daemon.stop() == 0


def test_a_daemon_without_any_reader_ends_for_a_restart(sim: SimHandle, make_daemon: Make) -> None:
    daemon = make_daemon(sim, venues=USDM).wait_live()
    for _ in range(RESTARTS_MAX + 1):
        pid = until(lambda: daemon.pids() and daemon.pids()[0])
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: pid not in daemon.pids())
        if daemon.process.poll() is not None:
            break
    assert daemon.process.wait(10) == 69
    assert "every reader was given up" in daemon.log()


def test_a_reader_that_grows_is_started_anew(sim: SimHandle, make_daemon: Make) -> None:
    daemon = make_daemon(sim, venues=USDM).wait_live()
    (pid,) = daemon.pids()
    own = own_memory(pid)
    assert 5 << 20 < own < 1 << 30
    assert own_memory(2**22 + 1) == 0, "nobody"
    path = daemon.files / "feedd.toml"
    path.write_text(path.read_text().replace("count = 1", "count = 1\nmemory_max_mib = 1"))
    ctl(daemon, "reload")
    until(lambda: daemon.pids() and pid not in daemon.pids())
    assert "MiB of memory, 1 allowed" in daemon.log()
    path.write_text(path.read_text().replace("memory_max_mib = 1", "memory_max_mib = 0"))
    ctl(daemon, "reload")
    daemon.wait_live()


def test_a_killed_reader_is_back_soon_and_consumers_go_on(
    sim: SimHandle, make_daemon: Make
) -> None:
    daemon = make_daemon(sim, venues=USDM).wait_live()
    feed = feedd.attach(daemon.directory)
    with feed.stream(timeout=0.2) as stream:
        until(lambda: len(next(stream)) > 0)
        (pid,) = daemon.pids()
        started = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        until(lambda: any(b.restarted for b in [next(stream)]))
        until(lambda: len(next(stream)) > 0)
        # 2 s on an idle machine; what is asserted leaves room for a loaded one
        assert time.monotonic() - started < 12
    feed.close()


def test_readers_end_soon_after_their_supervisor(sim: SimHandle, make_daemon: Make) -> None:
    daemon = make_daemon(sim, venues=BOTH, readers=2).wait_live()
    until(lambda: all(r["connections"] for r in daemon.status()["readers"]) and daemon.live())
    daemon.process.kill()
    daemon.process.wait(5)
    started = time.monotonic()
    until(lambda: not any(lock_held(lock_path(daemon.directory, n)) for n in range(2)), 5)
    assert time.monotonic() - started < 4
    states = [r["state"] for r in daemon.status()["readers"]]
    assert states == ["closed", "closed"], daemon.log()


def test_a_reader_that_hangs_and_was_left_behind_is_ended(
    sim: SimHandle, make_daemon: Make
) -> None:
    daemon = make_daemon(sim, venues=USDM).wait_live()
    daemon.process.kill()
    daemon.process.wait(5)
    until(lambda: not lock_held(lock_path(daemon.directory, 0)), 5)
    with left_behind(daemon.directory) as orphan:
        daemon.start(venues=USDM).wait_live()
        said = f"reader 0 of a dead supervisor still runs (pid {orphan.pid}): killed"
        assert said in daemon.log()
        assert orphan.wait(5) == -signal.SIGKILL


WRITER = """
import sys, time
from feedd.shm.ring import RingWriter
writer = RingWriter.takeover(sys.argv[1], 0)
print("held", flush=True)
time.sleep(60)
"""


@contextlib.contextmanager
def left_behind(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds a ring and does not listen."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


async def test_only_the_writer_itself_is_ended(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(orphans, "ORDERLY_S", 0.1)
    create_ring(tmp_path, 0, 16_384)
    await end_orphans(tmp_path)  # nobody holds anything
    with left_behind(tmp_path) as process:
        await end_orphans(tmp_path)
        assert process.wait(5) == -signal.SIGKILL
    RingWriter.takeover(tmp_path, 0).close()

    # a lock whose holder is not the ring's writer: nobody is killed
    with Lock(lock_path(tmp_path, 0)):
        monkeypatch.setattr(orphans, "process_starttime", lambda pid: 1)
        with pytest.raises(StartError, match="lslocks"):
            await end_orphans(tmp_path)
    await asyncio.sleep(0)


def test_cores_and_nodes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert core_list("0-3,8,10-11\n") == {0, 1, 2, 3, 8, 10, 11}
    assert core_list("") == set()
    for node, cores in ((0, "0-1"), (1, "2-3")):
        (tmp_path / f"node{node}").mkdir()
        (tmp_path / f"node{node}/cpulist").write_text(cores)
    nodes = numa_nodes(tmp_path)
    assert nodes == {0: {0, 1}, 1: {2, 3}}
    note_nodes([0, 1], nodes)
    note_nodes([], nodes)
    assert caplog.records == []
    note_nodes([1, 2], nodes)
    assert "2 memory nodes (node 0: cores [1]; node 1: cores [2])" in caplog.text
