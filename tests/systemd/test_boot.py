"""The shipped unit under a real systemd: start, reload, watchdog, crash, stop, a wrong file."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from feedd.sim.testing import SimHandle, start_sim
from tests.systemd.boot import Booted, why_not

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
]
UNIT = "feedd.service"


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[SimHandle]:
    (tmp_path / "sim").mkdir()
    with start_sim(tmp_path / "sim", rate=200, seed=3) as handle:
        yield handle


@pytest.fixture
def machine(tmp_path: Path, sim: SimHandle) -> Iterator[Booted]:
    booted = Booted(tmp_path / "boot.log")
    try:
        problem = booted.wait()
        if problem:
            pytest.skip(problem)
        etc = booted.outside("/etc/feedd")
        etc.mkdir(exist_ok=True)
        shutil.copy(sim.ca, etc / "ca.pem")
        (etc / "ca.pem").chmod(0o644)
        yield booted
    finally:
        booted.close()


def configure(machine: Booted, sim: SimHandle, more: str = "") -> None:
    symbols = json.dumps(sim.instruments["binance_usdm"][:2])
    path = machine.outside("/etc/feedd/feedd.toml")
    path.write_text(
        f"[venues.binance_usdm]\ninstruments = {symbols}\n"
        'channels = ["depth", "bookTicker"]\n'
        f'endpoint = "{sim.ws}"\nrest_endpoint = "{sim.rest}"\nca_file = "/etc/feedd/ca.pem"\n'
        f"{more}"
    )
    path.chmod(0o644)


def until(what: Callable[[], Any], seconds: float = 40.0) -> Any:
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.1)


def test_the_life_of_the_service(machine: Booted, sim: SimHandle) -> None:
    configure(machine, sim)
    drop_in = machine.outside("/run/systemd/system/feedd.service.d")
    drop_in.mkdir()
    out = "StandardError=file:/run/feedd.log\n"
    (drop_in / "test.conf").write_text(f"[Service]\nWatchdogSec=3\n{out}")
    machine.run("systemctl", "daemon-reload")

    def log() -> str:
        path = machine.outside("/run/feedd.log")
        return path.read_text() if path.exists() else ""

    def main_pid() -> int:
        return int(machine.show(UNIT, "MainPID"))

    # start: returns when it serves
    started = machine.run("systemctl", "start", "feedd", seconds=90)
    assert started.returncode == 0, (started.stderr, log())
    assert machine.show(UNIT, "ActiveState") == "active"
    assert "1/1 readers" in until(lambda: "msg/s" in (s := status(machine)) and s)
    directory = machine.outside("/run/feedd")
    assert directory.stat().st_mode & 0o777 == 0o750
    names = {path.name for path in directory.iterdir()}
    assert {"reader-0.ring", "counters", "instruments", "control", "pub"} <= names
    assert machine.outside("/var/lib/feedd/instruments.json").exists()

    # the sandbox holds: it runs as feedd, and what it sees cannot be written
    pid = main_pid()
    inside = machine.run("cat", f"/proc/{pid}/status").stdout
    assert "NoNewPrivs:\t1" in inside
    assert "CapEff:\t0000000000000000" in inside
    assert "Seccomp:\t2" in inside
    uid = machine.run("id", "-u", "feedd").stdout.strip()
    assert f"Uid:\t{uid}\t{uid}" in inside

    # somebody of another group may not look, a member of the group may
    ctl = ["/opt/feedd/bin/feedd", "ctl", "--dir", "/run/feedd"]
    assert machine.run("setpriv", "--reuid=65534", "--clear-groups", *ctl, "status").returncode
    member = ["setpriv", "--reuid=65534", "--groups=feedd", *ctl]
    assert machine.run(*member, "status").returncode == 0
    refused = machine.run(*member, "restart", "0")
    assert refused.returncode == 1
    assert "is for operators" in refused.stderr

    # reload: taken over, and refused with the reason in systemctl's own answer
    configure(machine, sim, '[log]\nlevel = "debug"\n')
    assert machine.run("systemctl", "reload", "feedd").returncode == 0
    assert "reload: log.level" in log()
    configure(machine, sim, "[readers]\ncount = 2\n")
    assert machine.run("systemctl", "reload", "feedd").returncode != 0
    assert "readers.count: 1 -> 2: needs a restart" in log()
    assert machine.show(UNIT, "ActiveState") == "active"
    assert main_pid() == pid
    configure(machine, sim)

    # a crash: started anew, the segments are the same files
    inode = (directory / "reader-0.ring").stat().st_ino
    machine.run("kill", "-KILL", str(pid))
    until(lambda: main_pid() not in (0, pid) and machine.show(UNIT, "ActiveState") == "active")
    assert machine.show(UNIT, "NRestarts") == "1"
    assert (directory / "reader-0.ring").stat().st_ino == inode

    # a hang: the watchdog notices
    pid = main_pid()
    machine.run("kill", "-STOP", str(pid))
    until(lambda: main_pid() not in (0, pid) and machine.show(UNIT, "ActiveState") == "active")
    assert machine.show(UNIT, "NRestarts") == "2"

    # stop
    assert machine.run("systemctl", "stop", "feedd").returncode == 0
    assert machine.show(UNIT, "Result") == "success"
    assert machine.show(UNIT, "ExecMainStatus") == "0"
    assert not machine.outside("/run/feedd").exists()


def status(machine: Booted) -> str:
    return machine.show(UNIT, "StatusText")


def test_a_wrong_file_is_not_tried_again(machine: Booted, sim: SimHandle) -> None:
    configure(machine, sim, "nonsense = 1\n")
    assert machine.run("systemctl", "start", "feedd").returncode != 0
    time.sleep(2.5)
    assert machine.show(UNIT, "ActiveState") == "failed"
    assert machine.show(UNIT, "ExecMainStatus") == "78"
    assert machine.show(UNIT, "NRestarts") == "0"


def test_an_instance_has_its_own_places(machine: Booted, sim: SimHandle) -> None:
    configure(machine, sim)
    etc = machine.outside("/etc/feedd")
    (etc / "feedd.toml").rename(etc / "one.toml")
    started = machine.run("systemctl", "start", "feedd@one", seconds=90)
    assert started.returncode == 0, started.stderr
    assert machine.outside("/run/feedd-one/reader-0.ring").exists()
    assert machine.outside("/var/lib/feedd/one/instruments.json").exists()
    pid = int(machine.show("feedd@one.service", "MainPID"))
    assert pid > 0
    assert machine.run("systemctl", "stop", "feedd@one").returncode == 0
    assert machine.show("feedd@one.service", "Result") == "success"
