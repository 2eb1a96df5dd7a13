"""``feedd ctl`` against a whole daemon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from feedd.cli import cli
from feedd.errors import FeeddError
from feedd.records import Event, Kind
from feedd.shm.ring import RingReader
from feedd.sim.testing import SimHandle
from tests.supervisor.conftest import until

pytestmark = pytest.mark.timeout(150)
Make = Callable[..., Any]
BOTH = {"binance_usdm": ["depth", "bookTicker"], "deribit": ["book"]}


def ctl(daemon: Any, *words: str, ok: bool = True) -> str:
    """``feedd ctl`` without a process of its own: what the daemon does is the same.

    Without one it may ask too often, and then waits and asks again as it is told to.
    """
    for _ in range(20):
        run = CliRunner().invoke(cli, ["ctl", "--dir", str(daemon.directory), *words])
        if isinstance(run.exception, FeeddError):
            status, errors = int(run.exception.exit_code), f"feedd: {run.exception}\n"
        else:
            assert run.exception is None or isinstance(run.exception, SystemExit), run.exception
            status, errors = run.exit_code, run.stderr
        if not ok or "too many requests" not in errors:
            break
        time.sleep(0.5)
    assert (status == 0) is ok, (run.stdout, errors, daemon.log())
    return run.stdout if ok else errors


def ctl_process(daemon: Any, *words: str, ok: bool = True) -> str:
    """``feedd ctl`` as an operator runs it, and as threads must."""
    run = subprocess.run(
        [sys.executable, "-m", "feedd.cli", "ctl", "--dir", str(daemon.directory), *words],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (run.returncode == 0) is ok, (run.stdout, run.stderr, daemon.log())
    return run.stdout if ok else run.stderr


def events(ring: RingReader) -> list[tuple[int, int]]:
    """(instrument, code) of the STATUS records since the last call."""
    records = ring.read(16_384)
    found = records[records["kind"] == Kind.STATUS]
    return [
        (int(r["instrument"]), int.from_bytes(bytes(r["payload"][4:8]), "little")) for r in found
    ]


def test_an_operator_at_work(sim: SimHandle, make_daemon: Make) -> None:
    daemon = make_daemon(sim, venues=BOTH, readers=2).wait_live()

    # status
    status = json.loads(ctl_process(daemon, "--json", "status"))
    assert status["pid"] == daemon.process.pid
    assert [r["state"] for r in status["readers"]] == ["running", "running"]
    assert set(status["processes"]) == {"supervisor", "reader-0", "reader-1"}
    assert "reader 1: running" in ctl_process(daemon, "status")
    assert "reader 1: running" in ctl(daemon, "status")

    # snapshot
    name = f"deribit:{sim.instruments['deribit'][0]}"
    shot = json.loads(ctl(daemon, "snapshot", name, "--depth", "3"))
    assert shot["book"]["state"] == "live"
    assert len(shot["book"]["bids"]) == 3
    assert shot["latest"]["symbol"] == name.split(":")[1]
    assert "no instrument" in ctl(daemon, "snapshot", "deribit:NOPE", ok=False).lower()

    # resync of a book that heals in its stream, and of one that needs REST
    for venue in BOTH:
        name = f"{venue}:{sim.instruments[venue][0]}"
        shot = json.loads(ctl(daemon, "snapshot", name))
        number, reader = shot["latest"]["instrument"], shot["reader"]
        gaps = daemon.counter("gaps")
        with RingReader(daemon.directory, reader) as ring:
            ctl(daemon, "resync", name)
            seen: list[tuple[int, int]] = []

            def healed(number: int = number, seen: Any = seen, ring: Any = ring) -> bool:
                seen += [code for who, code in events(ring) if who == number]
                return Event.GAP in seen and Event.LIVE in seen

            until(healed)
        assert daemon.counter("gaps") == gaps + 1, "one gap, of one instrument"
    assert daemon.counter("disconnects") == 0

    # rotate one connection
    lines = status["readers"][0]["lines"]
    connects = daemon.counter("connects")
    ctl(daemon, "rotate", "0", str(lines[0]["line"]))
    until(lambda: daemon.counter("connects") == connects + 1)
    daemon.wait_live()
    assert "an operator asked for it" in daemon.log()
    assert "it has" in ctl(daemon, "rotate", "0", "60", ok=False)

    # restart one reader; the other stays, and it costs nothing of the budget
    first, second = (r["pid"] for r in status["readers"])
    ctl(daemon, "restart", "0", "--at-once")
    after = json.loads(ctl(daemon, "--json", "status"))["readers"]
    assert after[0]["pid"] != first
    assert after[1]["pid"] == second
    assert [r["restarts"] for r in after] == [0, 0]
    daemon.wait_live()
    for run in ctl, ctl_process:
        assert "there are 0, 1" in run(daemon, "restart", "7", ok=False)

    # log level, of the readers too, and of those that come later
    assert " DEBUG " not in daemon.log()
    ctl(daemon, "log-level", "error")
    ctl(daemon, "rotate", "1", "0")
    size = len(daemon.log())
    until(lambda: daemon.counter("disconnects") >= 2)
    daemon.wait_live()
    assert "reader 1" not in daemon.log()[size:]
    # it is in force until a reload, which goes by the file
    assert json.loads(ctl(daemon, "config"))["log"]["level"] == "error"
    assert 'log.level: "error" -> "info"' in ctl(daemon, "reload")
    assert "nothing changed" in ctl(daemon, "reload")
    audit = [line for line in daemon.log().splitlines() if "feedd.audit" in line]
    assert any("restart reader=0 at_once=True: done" in line for line in audit)
    assert all(f"uid={os.getuid()}" in line for line in audit)
    assert daemon.stop() == 0
    assert not (daemon.directory / "control").exists()


def test_no_daemon_and_no_socket(sim: SimHandle, make_daemon: Make) -> None:
    daemon = make_daemon(
        sim, venues={"deribit": ["book"]}, sections="[control]\nenabled = false\n"
    ).wait_live()
    assert "is [control] enabled?" in ctl(daemon, "status", ok=False)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    run = [sys.executable, "-m", "feedd.cli", "completion", shell]
    out = subprocess.run(run, capture_output=True, text=True, timeout=20, check=True).stdout
    assert "_FEEDD_COMPLETE" in out


def test_completion_knows_instruments(sim: SimHandle, make_daemon: Make) -> None:
    daemon = make_daemon(sim, venues={"deribit": ["book"]}).wait_live()
    words = f"feedd ctl --dir {daemon.directory} resync deribit:"
    out = subprocess.run(
        [sys.executable, "-c", "from feedd.cli import cli; cli(prog_name='feedd')"],
        capture_output=True,
        text=True,
        timeout=20,
        env={
            **os.environ,
            "_FEEDD_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": "5",
        },
    ).stdout
    offered = {line.partition(",")[2] for line in out.splitlines()}
    assert offered == {f"deribit:{symbol}" for symbol in sim.instruments["deribit"]}


def test_instruments_come_and_go(sim: SimHandle, make_daemon: Make) -> None:
    symbols = sim.instruments["binance_usdm"]
    venues = {"binance_usdm": ["depth", "bookTicker"]}
    chosen = {"binance_usdm": symbols[:1]}
    daemon = make_daemon(sim, venues=venues, instruments=chosen).wait_live()
    name = f"binance_usdm:{symbols[1]}"
    assert "subscribed on reader 0" in ctl(daemon, "subscribe", name)
    assert "already" in ctl(daemon, "subscribe", name)
    daemon.wait_live()
    until(lambda: json.loads(ctl(daemon, "snapshot", name))["book"]["state"] == "live")
    assert daemon.counter("disconnects") == 0
    assert daemon.counter("gaps") == 0
    assert "does not list" in ctl(daemon, "subscribe", "binance_usdm:NOPE", ok=False)
    assert "holds no connection to okx" in ctl(daemon, "subscribe", "okx:BTC-USDT", ok=False)
    ctl(daemon, "unsubscribe", name)
    assert "not subscribed" in ctl(daemon, "unsubscribe", name, ok=False)
    until(lambda: all(x["topics"] == 2 for x in daemon.status()["readers"][0]["connections"]))
    assert daemon.counter("disconnects") == 0


def test_an_instrument_is_one(sim: SimHandle, make_daemon: Make) -> None:
    daemon = make_daemon(sim, venues={"deribit": ["book"]}).wait_live()
    for text in (
        "*",
        "BTC-*",
        sim.instruments["deribit"][0][:-1] + "*",
        "kind=option",
        "A B",
        "!A",
    ):
        told = ctl(daemon, "subscribe", f"deribit:{text}", ok=False)
        assert "one instrument by its symbol" in told
    for text in ("BTC-PERPETUAL", "deribit:", ":A", ""):
        for command in ("subscribe", "unsubscribe", "resync", "snapshot"):
            assert "VENUE:SYMBOL" in ctl(daemon, command, text, ok=False)
    assert "Traceback" not in daemon.log()
    assert daemon.stop() == 0
