"""sd_notify: what is sent, when, and when not; a socket of our own stands for systemd."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from feedd.clock import SECOND_NS
from feedd.shm.counters import CountersWriter
from feedd.sim.testing import SimHandle
from feedd.supervisor.notify import Notifier, Progress, without_notify
from feedd.supervisor.process import ReaderState
from feedd.supervisor.service import Service
from tests.supervisor.conftest import until


class Systemd:
    """The receiving end; ``messages`` are dictionaries in the order of arrival."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.messages: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)

    def read(self) -> list[dict[str, str]]:
        with contextlib.suppress(BlockingIOError):
            while True:
                text = self._socket.recv(4096).decode()
                pairs = (line.partition("=") for line in text.split("\n"))
                self.messages.append({key: value for key, _, value in pairs})
        return self.messages

    def having(self, key: str) -> list[dict[str, str]]:
        return [message for message in self.read() if key in message]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    name = f"@feedd-test-{uuid.uuid4().hex}"
    made = Systemd(name if request.param == "abstract" else str(tmp_path / "notify"))
    yield made
    made.close()


def environ(systemd: Systemd, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": systemd.address, **more}


def test_messages_are_lines_of_key_and_value(systemd: Systemd) -> None:
    notifier = Notifier(environ(systemd))
    notifier.ready("serving")
    notifier.status("serving")  # nothing new: not sent
    notifier.status("all well")
    notifier.reloading()
    notifier.stopping()
    notifier.watchdog()
    notifier.starting("waiting", 30.0)
    ready, status, reloading, stopping, ping, starting = systemd.read()
    assert ready == {"READY": "1", "STATUS": "serving", "MAINPID": str(os.getpid())}
    assert status == {"STATUS": "all well"}
    assert reloading["RELOADING"] == "1"
    assert abs(int(reloading["MONOTONIC_USEC"]) - time.monotonic_ns() // 1000) < 5_000_000
    assert stopping["STOPPING"] == "1"
    assert ping == {"WATCHDOG": "1"}
    assert starting["EXTEND_TIMEOUT_USEC"] == "30000000"
    notifier.close()


def test_a_status_cannot_smuggle_a_field(systemd: Systemd) -> None:
    notifier = Notifier(environ(systemd))
    notifier.status("one\nMAINPID=1\x00\x1b[2J" + "é" * 500)
    (message,) = systemd.read()
    assert list(message) == ["STATUS"]
    assert message["STATUS"].startswith("one MAINPID=1  [2J")
    assert len(message["STATUS"].encode()) <= 400
    notifier.close()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"WATCHDOG_USEC": "9000000"}, 3.0),
        ({"WATCHDOG_USEC": "9000000", "WATCHDOG_PID": str(os.getpid())}, 3.0),
        ({"WATCHDOG_USEC": "9000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_watchdog_period(tmp_path: Path, given: dict[str, str], expected: float | None) -> None:
    assert Notifier({"NOTIFY_SOCKET": "/x", **given}).watchdog_s == expected
    assert Notifier(given).watchdog_s is None, "no socket: nobody waits for pings"


def test_without_systemd_nothing_is_sent_and_nothing_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert not Notifier({}).send(READY=1)
    gone = Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    assert not gone.send(READY=1)
    assert not gone.send(READY=1)
    assert caplog.text.count("cannot reach systemd") == 1
    gone.close()


def test_a_full_queue_does_not_block(tmp_path: Path) -> None:
    systemd = Systemd(str(tmp_path / "notify"))
    notifier = Notifier(environ(systemd))
    sent = 0
    for _ in range(100_000):
        if not notifier.send(WATCHDOG=1):
            break
        sent += 1
    assert 0 < sent < 100_000
    notifier.close()
    systemd.close()


def test_children_do_not_inherit_it() -> None:
    given = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "PATH": "/bin"}
    assert without_notify(given) == {"PATH": "/bin"}


def test_progress() -> None:
    progress = Progress(4.0)
    assert progress.stuck(0, [(0, 100), (1, 100)]) == []
    assert progress.stuck(3 * SECOND_NS, [(0, 200), (1, 100)]) == []
    assert progress.stuck(5 * SECOND_NS, [(0, 200), (1, 100)]) == [1]
    # reader 1 is being restarted: in the supervisor's hands, then it begins anew
    assert progress.stuck(6 * SECOND_NS, [(0, 300)]) == []
    assert progress.stuck(7 * SECOND_NS, [(0, 300), (1, 100)]) == []
    assert progress.stuck(11 * SECOND_NS, [(0, 300), (1, 101)]) == [0]


async def test_no_ping_while_a_running_reader_hangs(
    systemd: Systemd, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    CountersWriter.create(tmp_path, 1, 1).close()
    reader = SimpleNamespace(state=ReaderState.RUNNING, heartbeat_ns=1, restarts=0)
    notifier = Notifier(environ(systemd, WATCHDOG_USEC="30000"))
    service = Service(tmp_path, {0: reader}, notifier)  # type: ignore[dict-item]
    service._progress = Progress(0.2)
    task = asyncio.create_task(service.watch())
    await asyncio.sleep(0.15)
    assert len(systemd.having("WATCHDOG")) >= 2
    await asyncio.sleep(0.2)
    systemd.messages.clear()
    await asyncio.sleep(0.2)
    while systemd.having("WATCHDOG"):  # what was on its way
        systemd.messages.clear()
        await asyncio.sleep(0.2)
    assert "reader 0 makes no progress" in caplog.text
    reader.heartbeat_ns = 2
    await asyncio.sleep(0.1)
    assert systemd.having("WATCHDOG")
    reader.state = ReaderState.WAITING  # the supervisor has noticed: its own limits apply
    await asyncio.sleep(0.4)
    systemd.messages.clear()
    await asyncio.sleep(0.1)
    assert systemd.having("WATCHDOG")
    task.cancel()
    notifier.close()


Make = Callable[..., Any]
USDM = {"binance_usdm": ["depth", "bookTicker"]}


def test_a_daemon_tells_its_life(
    sim: SimHandle, make_daemon: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd = Systemd(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
    monkeypatch.setenv("WATCHDOG_USEC", "600000")
    daemon = make_daemon(sim, venues=USDM)
    (ready,) = until(lambda: systemd.having("READY"), 25)
    assert ready["MAINPID"] == str(daemon.process.pid)
    assert daemon.status()["running"], "READY means that consumers can attach"
    daemon.wait_live()
    before = len(systemd.having("WATCHDOG"))
    until(lambda: len(systemd.having("WATCHDOG")) > before + 3)
    line = until(lambda: [m for m in systemd.having("STATUS") if "msg/s" in m["STATUS"]], 20)[-1]
    assert line["STATUS"].startswith("1/1 readers, ")
    # the reader knows nothing of systemd
    with open(f"/proc/{daemon.pids()[0]}/environ", "rb") as file:
        assert b"NOTIFY_SOCKET" not in file.read()
    # a supervisor that does not turn feeds no watchdog
    os.kill(daemon.process.pid, signal.SIGSTOP)
    time.sleep(0.3)
    systemd.read().clear()
    time.sleep(0.8)
    assert systemd.read() == []
    os.kill(daemon.process.pid, signal.SIGCONT)
    until(lambda: systemd.having("WATCHDOG"))
    assert daemon.stop() == 0
    assert len(systemd.having("STOPPING")) == 1
    systemd.close()


def test_a_start_that_waits_for_a_venue_asks_for_time(
    sim: SimHandle, make_daemon: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd = Systemd(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
    sim.control("fault", "rest,delay_ms=60000")
    daemon = make_daemon(sim, venues=USDM, instruments={"binance_usdm": ["*"]})
    (message,) = until(lambda: systemd.having("EXTEND_TIMEOUT_USEC"), 25)
    assert "waiting for the venues" in message["STATUS"]
    assert systemd.having("READY") == []
    assert daemon.stop() == 0
    systemd.close()


def test_a_mistake_inside_is_70_and_a_wrong_file_78(tmp_path: Path) -> None:
    import subprocess

    bad = tmp_path / "c.toml"
    bad.write_text("nonsense = 1\n")
    run = [sys.executable, "-m", "feedd.cli", "run", "-c", str(bad)]
    assert subprocess.run(run, capture_output=True, timeout=30).returncode == 78
    code = (
        "import sys, feedd.cli as c, click\n"
        "c._COMMANDS['boom'] = ('boom_module', 'boom')\n"
        "import types\n"
        "m = types.ModuleType('boom_module')\n"
        "@click.command()\n"
        "def boom(): raise ZeroDivisionError\n"
        "m.boom = boom\n"
        "sys.modules['boom_module'] = m\n"
        "sys.argv = ['feedd', 'boom']\n"
        "c.main()\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30)
    assert result.returncode == 70
    assert b"ZeroDivisionError" in result.stderr
