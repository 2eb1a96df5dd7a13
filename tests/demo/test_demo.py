"""The demo end to end: real processes, real TLS, and faults that it must find."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from feedd.demo.command import demo as command_of_demo
from feedd.demo.compare import Result
from feedd.demo.consumer import SCREEN_GAPS
from feedd.demo.run import sweep
from feedd.records import Event, Kind
from tests.client.segments import Daemon, record

ROOT = Path(__file__).parents[2]
TIMEOUT = 100

pytestmark = [pytest.mark.slow, pytest.mark.timeout(TIMEOUT + 20)]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "feedd", "demo", *arguments]


def environment(tmp_path: Path) -> dict[str, str]:
    """Temporary files go where the test can see that none is left."""
    return {**os.environ, "TMPDIR": str(tmp_path)}


def demo(tmp_path: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        command("--json", *arguments),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=ROOT,
        env=environment(tmp_path),
    )
    assert done.stdout.count("\n") == 1, done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


def counts(report: dict[str, Any]) -> tuple[int, int, int]:
    return report["lost"], report["wrong"], report["duplicates"]


def left_behind(pid: int) -> list[str]:
    return [path.name for path in Path("/dev/shm").glob(f"feedd-demo-{pid}-*")]


def test_faultless(tmp_path: Path) -> None:
    status, report, errors = demo(tmp_path, "--seconds", "4")
    assert counts(report) == (0, 0, 0), errors
    assert status == 0
    assert report["gaps"] == 0
    assert report["seconds"] == 4
    assert report["total"] == sum(report["records"].values()) > 2_000
    for kind in ("trade", "quote", "book", "deriv", "greeks"):
        assert report["records"][kind] > 0
    latency = report["latency_ns"]
    assert 0 < latency["p50"] <= latency["p99"] <= latency["p999"]
    assert list(tmp_path.iterdir()) == []


def test_reload_and_rolling_restart_under_load(tmp_path: Path) -> None:
    """One more instrument of each venue, then another process for every reader: every record of
    that, those of the new instruments too, compared with what the venues sent."""
    status, report, errors = demo(
        tmp_path, "--reload", "--roll", "--seconds", "1", "--rate", "3000"
    )
    assert counts(report) == (0, 0, 0), errors
    assert (status, report["gaps"]) == (0, 0)
    assert report["total"] > 5_000


# each on a stream where feedd itself cannot see it: no sequence, no identity of a message
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("drop,stream=quote.BTC-PERPETUAL,nth=20", (1, 0, 0)),
        ("alter,stream=btcusdt@trade,nth=5", (0, 1, 0)),
        ("duplicate,stream=ticker.BTC-PERPETUAL.100ms,nth=5", (0, 0, 1)),
    ],
    ids=["lost", "wrong", "duplicates"],
)
def test_one_fault_is_one_count(tmp_path: Path, fault: str, expected: tuple[int, int, int]) -> None:
    status, report, errors = demo(tmp_path, "--seconds", "1.5", "--rate", "2000", "--fault", fault)
    assert counts(report) == expected, errors
    assert status == 1
    assert "BTC" in errors
    assert "feedd demo failed: " in errors


@pytest.mark.parametrize(
    ("result", "faults", "status"),
    [
        (Result(gaps=2), [], 1),
        (Result(gaps=2), ["--fault", "drop,nth=5"], 0),
        (Result(lost=1, gaps=2), ["--fault", "drop,nth=5"], 1),
        (Result(), [], 0),
    ],
)
def test_gaps_are_a_failure_when_no_fault_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, result: Result, faults: list[str], status: int
) -> None:
    monkeypatch.setattr("feedd.demo.run.measure", lambda seconds, options: result)
    monkeypatch.setattr("feedd.demo.run.show", lambda o, s: result.failed(faults=bool(o.faults)))
    for mode in ["--json"], []:
        done = CliRunner().invoke(command_of_demo, [*mode, *faults])
        assert done.exit_code == status, done.output
        assert ("feedd demo failed: " in done.stderr) == bool(status)


@pytest.mark.parametrize(("code", "status"), [(Event.GAP, SCREEN_GAPS), (Event.LIVE, 0)])
def test_the_screen_ends_with_what_it_showed(daemon: Daemon, code: Event, status: int) -> None:
    row = record(Kind.STATUS, daemon.list("deribit", "BTC-PERPETUAL"))
    row["payload"].view("<i4")[0, 1] = code
    daemon.put(row)
    consumer = [sys.executable, "-m", "feedd.demo.consumer", "--screen"]
    consumer += ["--directory", str(daemon.directory)]
    done = subprocess.run(consumer, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    assert done.returncode == status, done.stderr.decode()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_ended_by_a_signal_it_leaves_nothing(tmp_path: Path, end: signal.Signals) -> None:
    process = subprocess.Popen(
        command(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=ROOT,
        env=environment(tmp_path),
    )
    assert process.stdout is not None
    try:
        shown = b""
        deadline = time.monotonic() + 60
        while b"binance_usdm:BTCUSDT" not in shown and time.monotonic() < deadline:
            shown += os.read(process.stdout.fileno(), 65536)
        assert b"latency, socket to this process" in shown
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 5  # simulator, supervisor, two readers, consumer
        process.send_signal(end)
        assert process.wait(60) == 0
        assert not [c for c in children if c.is_running() and c.status() != "zombie"]
        assert left_behind(process.pid) == []
        assert list(tmp_path.iterdir()) == []
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_what_a_killed_demo_left_is_removed(tmp_path: Path) -> None:
    dead, alive = f"feedd-demo-{2**22 - 1}-x", f"feedd-demo-{os.getpid()}-x"
    for name in (dead, alive, "feedd-demo-none", "other"):
        (tmp_path / name).mkdir()
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [alive, "feedd-demo-none", "other"]
    )


def test_a_wrong_fault_is_explained(tmp_path: Path) -> None:
    done = subprocess.run(
        command("--json", "--seconds", "1", "--fault", "lose,nth=1"),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=ROOT,
        env=environment(tmp_path),
    )
    assert done.returncode not in (0, 1)
    assert "unknown action 'lose'" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
