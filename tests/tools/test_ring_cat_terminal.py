"""ring-cat on a real terminal: it follows, says what was lost and what ended, and ends well."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from feedd.records import Flag, Kind
from tests.client.segments import SLOTS, Daemon, record
from tests.tools.tmux import TOOLS, Tmux


def ring_cat(daemon: Daemon, *arguments: str) -> str:
    command = [sys.executable, str(TOOLS / "ring-cat"), "--directory", str(daemon.directory)]
    return shlex.join([*command, *arguments])


@pytest.fixture
def btc(daemon: Daemon) -> int:
    return daemon.list("deribit", "BTC-PERPETUAL", 0)


def trades(daemon: Daemon, instrument: int, *prices: float) -> None:
    daemon.put(*(record(Kind.TRADE, instrument, price=price, size=1.0) for price in prices))


def process_of(daemon: Daemon) -> psutil.Process:
    """The ring-cat that reads this daemon's directory."""
    wanted = str(daemon.directory)
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if wanted in line and str(TOOLS / "ring-cat") in line:
            return process
    raise AssertionError("no ring-cat runs")


def test_it_follows_and_ends_with_ctrl_c(daemon: Daemon, btc: int, tmux: Tmux) -> None:
    trades(daemon, btc, 1.25)
    line = ring_cat(daemon, "--kind", "trade", "--from", "oldest")
    tmux.shell(f"{line}; echo status $?")
    first = tmux.until('"price": 1.25')
    assert '"instrument": "deribit:BTC-PERPETUAL"' in first.replace("\n", "")
    for price in (2.25, 3.25):
        trades(daemon, btc, price)
        tmux.until(f'"price": {price}')
    eth = daemon.list("okx", "ETH-USDT", 1)
    daemon.put(record(Kind.TRADE, eth, price=4.25), reader=1)
    tmux.until(lambda text: "okx:ETH-USDT" in text.replace("\n", ""))
    tmux.keys("C-c")
    ended = tmux.until("status 130")
    assert "Traceback" not in ended


def test_csv_on_a_terminal(daemon: Daemon, btc: int, tmux: Tmux) -> None:
    trades(daemon, btc, 1.5, 2.5)
    line = ring_cat(daemon, "--from", "oldest", "--format", "csv", "-n", "2")
    tmux.shell(f"{line} | cut -d, -f 1,3,4,9; echo done")
    shown = tmux.until("done")
    assert shown.split()[:3] == [
        "reader,kind,instrument,price",
        "0,trade,deribit:BTC-PERPETUAL,1.5",
        "0,trade,deribit:BTC-PERPETUAL,2.5",
    ]


def test_what_a_stopped_terminal_lost_is_said(daemon: Daemon, btc: int, tmux: Tmux) -> None:
    """Ctrl-Z for a while is an ordinary slow consumer: the writer goes on, the loss is counted."""
    tmux.shell(ring_cat(daemon, "--kind", "trade", "--from", "oldest"))
    trades(daemon, btc, 1.25)
    tmux.until('"price": 1.25')
    process = process_of(daemon)
    process.suspend()
    row = record(Kind.QUOTE, btc, flags=Flag.LAST)
    daemon.put(np.concatenate([row] * (SLOTS // 2)))
    daemon.put(np.concatenate([row] * (SLOTS // 2)))
    daemon.put(np.concatenate([row] * (SLOTS // 2)))
    process.resume()
    tmux.until("records lost")
    trades(daemon, btc, 7.75)
    tmux.until('"price": 7.75')


def test_it_tells_of_a_dead_writer_and_goes_on(daemon: Daemon, btc: int, tmux: Tmux) -> None:
    tmux.shell(ring_cat(daemon, "--kind", "trade", "--from", "oldest", "--reader", "0"))
    trades(daemon, btc, 1.25)
    tmux.until('"price": 1.25')
    daemon.kill(0)
    tmux.until("reader 0: its writer is not running")
    daemon.takeover(0)
    trades(daemon, btc, 8.25)
    assert "Traceback" not in tmux.until('"price": 8.25')


def test_a_closed_window_ends_it(daemon: Daemon, btc: int, tmux: Tmux, tmp_path: Path) -> None:
    """The terminal is gone: no process stays behind, no traceback is written."""
    errors = tmp_path / "errors"
    tmux.start("sh", "-c", f"exec {ring_cat(daemon, '--from', 'oldest')} 2>{errors}")
    trades(daemon, btc, 1.25)
    tmux.until('"price": 1.25')
    pid = process_of(daemon).pid
    tmux.close()
    end = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie":
        assert time.monotonic() < end
        time.sleep(0.05)
    assert "Traceback" not in errors.read_text()
