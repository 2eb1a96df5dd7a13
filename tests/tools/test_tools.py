"""The tools as a user runs them: as programs, on real segments."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from feedd.records import Flag, Kind, Scope
from feedd.shm.counters import COUNTERS
from tests.client.segments import Daemon, book_records, record
from tests.tools.tmux import TOOLS, Tmux

NAMES = ("ring-cat", "book-view", "feed-top")


def run(tool: str, *arguments: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOOLS / tool), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def full(daemon: Daemon) -> Daemon:
    """Two instruments on two readers, one record of everything, a shared book, counters."""
    btc = daemon.list("deribit", "BTC-PERPETUAL", 0)
    eth = daemon.list("binance_spot", "ETHUSDT", 1)
    trade = record(
        Kind.TRADE, btc, price=100.5, size=0.1, ts_event=5, ts_recv=6, flags=Flag.LAST | Flag.REPLAY
    )
    trade["payload"][0, 24:27] = list(b"T-1")
    trade["payload"][0, 72] = 255  # side -1
    deriv = record(Kind.DERIV, btc, price=float("nan"), size=7.0)
    deriv["payload"].view("<f8")[0, 2:7] = float("nan")
    deriv["payload"].view("<u4")[0, 16] = 2
    status = record(Kind.STATUS, btc)
    status["payload"][0, 0] = Scope.INSTRUMENT
    status["payload"].view("<i4")[0, 1] = 1
    daemon.put(trade, deriv, record(Kind.GREEKS, btc, price=0.25), status)
    daemon.put(record(Kind.QUOTE, eth, price=1.5, size=2.0, sequence=9), reader=1)
    bids, asks = [(99.0, 3.0), (98.5, 6.0)], [(100.0, 1.0)]
    last = daemon.put(book_records(btc, bids, asks, sequence=77, snapshot=True))
    daemon.share_book(0, 0, btc, bids, asks, ring_pos=last, sequence=77)
    daemon.share_board(0, 0, instrument=btc, state=2, updates=3, gaps=1)
    daemon.counters.words(0)[list(COUNTERS).index("gaps")] = 4
    return daemon


@pytest.mark.parametrize("tool", NAMES)
def test_help_and_no_daemon(tool: str, tmp_path: Path) -> None:
    assert os.access(TOOLS / tool, os.X_OK)
    assert (TOOLS / tool).read_text().startswith("#!/usr/bin/env python3\n")
    helped = run(tool, "--help")
    assert helped.returncode == 0
    assert "--json" in helped.stdout
    assert "--directory" in helped.stdout
    more = ["deribit:X"] if tool == "book-view" else []
    missing = run(tool, *more, "--directory", str(tmp_path / "none"))
    assert missing.returncode == 69
    assert "no directory" in missing.stderr
    assert "Traceback" not in missing.stderr


class TestRingCat:
    def cat(self, daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run("ring-cat", "--directory", str(daemon.directory), "--timeout", "0.3", *arguments)

    def test_everything(self, full: Daemon) -> None:
        rows = {row["kind"]: row for row in json_lines(self.cat(full, "--from", "oldest").stdout)}
        trade = rows["trade"]
        assert trade["instrument"] == "deribit:BTC-PERPETUAL"
        assert (trade["price"], trade["size"], trade["side"]) == (100.5, 0.1, "sell")
        assert trade["trade_id"] == "T-1"
        assert sorted(trade["flags"]) == ["last", "replay"]
        assert trade["sequence"] is None
        assert (trade["ts_event"], trade["ts_recv"]) == (5, 6)
        assert rows["quote"]["bid_price"] == 1.5
        assert rows["quote"]["sequence"] == 9
        assert rows["deriv"]["index"] == 7.0
        assert "mark" not in rows["deriv"]
        assert rows["greeks"]["delta"] == 0.25
        assert rows["status"]["event"] == "gap"
        assert rows["book"]["bids"] == [[99.0, 3.0], [98.5, 6.0]]
        assert rows["book"]["asks"] == [[100.0, 1.0]]

    def test_filters_and_count(self, full: Daemon) -> None:
        one = json_lines(self.cat(full, "--from", "oldest", "-n", "1").stdout)
        assert len(one) == 1
        spot = json_lines(
            self.cat(full, "--from", "oldest", "--venue", "binance_spot", "--kind", "quote").stdout
        )
        assert [row["instrument"] for row in spot] == ["binance_spot:ETHUSDT"]
        later = json_lines(
            self.cat(full, "--from", str(one[0]["ring_seq"] + 2), "--reader", "0").stdout
        )
        assert [row["kind"] for row in later] == ["greeks", "status", "book"]

    def test_csv(self, full: Daemon) -> None:
        text = self.cat(full, "--from", "oldest", "--kind", "book", "--format", "csv").stdout
        rows = list(csv.DictReader(io.StringIO(text)))
        assert [(row["side"], row["price"], row["size"]) for row in rows] == [
            ("bid", "99.0", "3.0"),
            ("bid", "98.5", "6.0"),
            ("ask", "100.0", "1.0"),
        ]

    def test_silence_of_a_dead_daemon_ends_it_too(self, full: Daemon) -> None:
        full.kill()
        done = self.cat(full)
        assert done.returncode == 0
        assert "its writer is not running" in done.stderr

    def test_mistakes(self, full: Daemon) -> None:
        wrong = self.cat(full, "--kind", "trades")
        assert wrong.returncode == 2
        assert "use one of trade" in wrong.stderr
        assert self.cat(full, "--from", "12").returncode == 2
        unknown = self.cat(full, "--instrument", "deribit:BTC")
        assert unknown.returncode == 2
        assert "there is deribit:BTC-PERPETUAL" in unknown.stderr


class TestBookView:
    def test_once(self, full: Daemon) -> None:
        base = ("deribit:BTC-PERPETUAL", "--directory", str(full.directory), "--once")
        shown = run("book-view", *base)
        assert shown.returncode == 0
        assert "LIVE" in shown.stdout
        assert shown.stdout.index("100.0") < shown.stdout.index("99.0") < shown.stdout.index("98.5")
        book = json.loads(run("book-view", *base, "--json").stdout)
        assert book["state"] == "live"
        assert book["sequence"] == 77
        assert book["bids"] == [[99.0, 3.0], [98.5, 6.0]]
        assert (book["mid"], book["spread"]) == (99.5, 1.0)

    def test_unknown_and_not_live(self, full: Daemon) -> None:
        where = ("--directory", str(full.directory), "--once")
        assert run("book-view", "deribit:NONE", *where).returncode == 2
        assert run("book-view", "binance_spot:ETHUSDT", *where).returncode == 1


class TestFeedTop:
    def test_once(self, full: Daemon) -> None:
        base = ("--directory", str(full.directory), "--once", "--interval", "0.1")
        done = run("feed-top", *base, "--json")
        view = json.loads(done.stdout)
        assert done.returncode == 0
        assert view["alive"]
        assert [reader["reader"] for reader in view["readers"]] == [0, 1]
        assert view["readers"][0]["totals"]["gaps"] == 4
        deribit = next(venue for venue in view["venues"] if venue["venue"] == "deribit")
        assert deribit["books"] == {"live": 1}
        assert deribit["gaps"] == 1
        text = run("feed-top", *base).stdout
        assert "alive" in text
        assert "deribit" in text
        full.kill(1)
        dead = run("feed-top", *base)
        assert dead.returncode == 1
        assert "DEAD" in dead.stdout


def test_screens_are_live(full: Daemon, tmux: Tmux) -> None:
    where = ["--directory", str(full.directory), "--interval", "0.1"]
    tmux.tool("feed-top", *where)
    assert "deribit" in tmux.until("latency, us")
    full.share_board(0, 0, gaps=4321)
    tmux.until("4321")
    tmux.keys("C-c")
    tmux.until_ended()
    tmux.tool("book-view", "deribit:BTC-PERPETUAL", *where)
    ladder = tmux.until("ask")
    assert ladder.index("100.0") < ladder.index("99.0")
    assert "Traceback" not in ladder
    full.share_book(0, 0, 0, [(55.5, 1.0)], [(60.0, 1.0)], ring_pos=10**6)
    tmux.until("55.5")
