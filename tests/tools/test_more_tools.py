"""gaps, latency, doctor and venue-lint, as a user runs them."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feedd.records import Event, Kind, Scope
from feedd.shm import layout
from feedd.shm.counters import STAGES, bucket_of
from tests.client.segments import Daemon, record
from tests.tools.test_tools import TOOLS, json_lines, run


def status(
    code: Event,
    instrument: int = 0,
    *,
    at: int,
    scope: Scope = Scope.INSTRUMENT,
    text: bytes = b"",
    numbers: tuple[int, int] = (7, 9),
) -> Any:
    made = record(Kind.STATUS, instrument, ts_recv=at)
    made["payload"][0, 0] = scope
    made["payload"].view("<i4")[0, 1] = code
    made["payload"].view("<i8")[0, 3:5] = numbers
    made["payload"][0, 40 : 40 + len(text)] = list(text)
    return made


@pytest.fixture
def losing(daemon: Daemon) -> Daemon:
    """One gap that heals after 1.5 s, one that stays open, a lost connection, a bad frame."""
    btc = daemon.list("deribit", "BTC-PERPETUAL", 0)
    eth = daemon.list("okx", "ETH-USDT", 0)
    second = 10**9
    daemon.put(
        status(Event.GAP, btc, at=1_700_000_000 * second, text=b"prev_change_id"),
        status(Event.LINE_DOWN, at=1_700_000_001 * second, scope=Scope.CONNECTION, text=b"\x1b[2J"),
        status(Event.LIVE, btc, at=1_700_000_001 * second + second // 2),
        status(Event.CHECKSUM, eth, at=1_700_000_003 * second),
        status(Event.BAD_FRAME, at=1_700_000_004 * second, scope=Scope.CONNECTION),
    )
    return daemon


@pytest.mark.parametrize("tool", ["gaps", "latency", "doctor", "venue-lint"])
def test_each_tool_explains_itself(tool: str, tmp_path: Path) -> None:
    assert os.access(TOOLS / tool, os.X_OK)
    helped = run(tool, "--help")
    assert helped.returncode == 0
    assert "--json" in helped.stdout


@pytest.mark.parametrize("tool", ["gaps", "latency"])
def test_no_daemon_is_said(tool: str, tmp_path: Path) -> None:
    missing = run(tool, "--directory", str(tmp_path / "none"))
    assert missing.returncode == 69
    assert "no directory" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_gaps(losing: Daemon) -> None:
    where = ("--directory", str(losing.directory))
    shown = run("gaps", *where)
    assert shown.returncode == 0, shown.stderr
    assert "\x1b" not in shown.stdout
    down, healed, bad, still = shown.stdout.splitlines()
    assert healed == (
        "2023-11-14 22:13:20.000000Z gap        deribit:BTC-PERPETUAL expected 7 got 9 "
        "prev_change_id healed after 1.500 s"
    )
    assert "line_down  reader 0 line 0 ?[2J" in down
    assert "bad_frame" in bad
    assert still.endswith("okx:ETH-USDT  open")

    rows = json_lines(run("gaps", *where, "--json").stdout)
    assert [(row["event"], row["healed_s"]) for row in rows] == [
        ("line_down", None),
        ("gap", 1.5),
        ("bad_frame", None),
        ("checksum", None),
    ]
    assert rows[1]["expected"] == 7
    only = json_lines(run("gaps", *where, "--json", "--venue", "okx").stdout)
    assert [row["instrument"] for row in only] == ["okx:ETH-USDT"]
    counts = json_lines(run("gaps", *where, "--summary", "--json").stdout)
    assert {(row["what"], row["event"], row["count"]) for row in counts} >= {
        ("deribit:BTC-PERPETUAL", "gap", 1),
        ("reader 0 line 0", "bad_frame", 1),
    }
    assert run("gaps", *where, "--fail").returncode == 1
    assert run("gaps", *where, "--fail", "--venue", "deribit").returncode == 0
    assert run("gaps", *where, "--follow", "--summary").returncode == 2


def test_gaps_reads_on_behind_a_restart(daemon: Daemon) -> None:
    """A stream tells of a restart with an empty batch long before the rings are read to their
    ends."""
    eth = daemon.list("okx", "ETH-USDT", 0)
    trades = np.concatenate([record(Kind.TRADE, eth)] * 4_000)
    daemon.put(trades)
    daemon.takeover(0)
    daemon.put(trades, trades, status(Event.GAP, eth, at=10**18, text=b"seqId", numbers=(-1, 9)))
    (row,) = json_lines(run("gaps", "--directory", str(daemon.directory), "--json").stdout)
    assert (row["event"], row["expected"], row["got"]) == ("gap", None, 9)


def observe(daemon: Daemon, reader: int, stage: str, ns: int, count: int) -> None:
    at = layout.COUNTER_SLOTS + layout.CONNECTIONS * layout.CONNECTION_SLOTS
    at += STAGES.index(stage) * layout.HISTOGRAM_BUCKETS + bucket_of(ns)
    daemon.counters.words(reader)[at] += np.uint64(count)


def test_latency(daemon: Daemon, tmp_path: Path) -> None:
    observe(daemon, 0, "total", 3_000, 98)
    observe(daemon, 1, "total", 1_000_000, 2)
    observe(daemon, 0, "decode", 700, 5)
    where = ("--directory", str(daemon.directory))
    found = json.loads(run("latency", *where, "--json").stdout)
    assert found["total"]["count"] == 100
    assert 3_000 <= found["total"]["p50_ns"] <= 3_750
    assert 1_000_000 <= found["total"]["p99_ns"] <= 1_250_000
    assert found["publish"] == {
        "count": 0, "p50_ns": 0, "p90_ns": 0, "p99_ns": 0, "p999_ns": 0, "buckets": [],
    }  # fmt: skip
    one = json.loads(run("latency", *where, "--json", "--reader", "1").stdout)
    assert (one["total"]["count"], one["decode"]["count"]) == (2, 0)
    shown = run("latency", *where, "--stage", "total").stdout
    assert "total: 100   p50 3." in shown
    assert "decode" not in shown
    bars = [line for line in shown.splitlines() if "#" in line]
    assert len(bars) == 2
    assert bars[0].count("#") == 50
    over = json.loads(run("latency", *where, "--json", "--seconds", "0.1").stdout)
    assert over["total"]["count"] == 0, "nothing happened meanwhile"
    assert run("latency", *where, "--reader", "9").returncode == 2

    picture = tmp_path / "l.png"
    drawn = run("latency", *where, "--png", str(picture))
    if importlib.util.find_spec("matplotlib") is None:
        assert drawn.returncode == 69
        assert "needs matplotlib" in drawn.stderr
    else:
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_latency_uses_the_buckets_of_the_segment() -> None:
    from importlib.machinery import SourceFileLoader

    loader = SourceFileLoader("latency_tool", str(TOOLS / "latency"))
    spec = importlib.util.spec_from_loader("latency_tool", loader)
    assert spec is not None
    tool = importlib.util.module_from_spec(spec)
    loader.exec_module(tool)
    from feedd.shm.counters import bucket_floor

    assert [tool.floor_ns(i) for i in range(256)] == [bucket_floor(i) for i in range(256)]


def test_doctor(losing: Daemon, tmp_path: Path) -> None:
    found = json_lines(run("doctor", "--json", "--directory", str(losing.directory)).stdout)
    by_name = {row["what"]: row for row in found}
    assert {"clock", "governor", "load", "open files", "daemon", "reader 0"} <= set(by_name)
    assert all(row["level"] in ("ok", "note", "warn", "fail") for row in found)
    assert all(row["mend"] for row in found if row["level"] in ("warn", "fail"))
    assert by_name["daemon"]["level"] == "ok"
    missing = run("doctor", "--directory", str(tmp_path / "none"))
    assert missing.returncode == 1
    assert "fail  daemon: " in missing.stdout
    assert "\x1b" not in missing.stdout, "no colours into a file"
    unknown = run("doctor", "--reach", "nasdaq")
    assert unknown.returncode == 1
    assert "no venue of this name" in unknown.stdout


def test_doctor_says_which_step_fails() -> None:
    """A closed port of this machine stands for a venue behind a firewall."""
    from importlib.machinery import SourceFileLoader

    loader = SourceFileLoader("doctor_tool", str(TOOLS / "doctor"))
    spec = importlib.util.spec_from_loader("doctor_tool", loader)
    assert spec is not None
    tool = importlib.util.module_from_spec(spec)
    loader.exec_module(tool)
    found = tool._reach("okx", "127.0.0.1", 1)
    assert (found.level, found.found.split(":")[1].strip()) == ("fail", "TCP")
    found = tool._reach("okx", "no-such-host.invalid", 443)
    assert (found.level, found.found.split(":")[1].strip()) == ("fail", "name")
    assert tool.cores("0-2,7") == {0, 1, 2, 7}


def test_venue_lint(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("nonsense = 1\n")
    result = run("venue-lint", str(bad))
    assert result.returncode != 0
    assert "nonsense" in result.stdout + result.stderr


@pytest.mark.parametrize("number", ["nan", "inf", "-1", "1e400"])
@pytest.mark.parametrize(
    "words",
    [
        ("feed-top", "--once", "--interval"),
        ("book-view", "deribit:BTC-PERPETUAL", "--interval"),
        ("latency", "--seconds"),
        ("ring-cat", "--timeout"),
    ],
)
def test_no_time_is_a_usage_error(losing: Daemon, words: tuple[str, ...], number: str) -> None:
    tool, *more = words
    done = run(tool, "--directory", str(losing.directory), *more, number)
    assert done.returncode == 2
    assert more[-1] in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("gaps", "--venue", "deribt"), "deribit, okx"),
        (("ring-cat", "--venue", "deribt"), "deribit, okx"),
        (("ring-cat", "--reader", "77"), "only 0"),
        (("ring-cat", "-n", "0"), "--count"),
        (("ring-cat", "-n", "-1"), "--count"),
    ],
)
def test_what_is_not_there_is_said(losing: Daemon, words: tuple[str, ...], told: str) -> None:
    tool, *more = words
    done = run(tool, "--directory", str(losing.directory), *more, timeout=20)
    assert done.returncode == 2
    assert told in done.stderr
