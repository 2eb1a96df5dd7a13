"""The daemon records the simulated venue; the replay publishes the same records."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import feedd
from feedd.records import RAW, Event, Kind
from feedd.shm.ring import RingReader
from feedd.sim.testing import SimHandle
from tests.supervisor.conftest import Daemon, until

pytestmark = pytest.mark.timeout(180)
NOT_THE_SAME = ("ring_seq", "publish_delta_ns", "epoch")
PROCESS = (Event.READER_START, Event.READER_STOP)


def cli(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "feedd", *arguments], capture_output=True, text=True, timeout=timeout
    )


def records(directory: Path, reader: int) -> np.ndarray[Any, Any]:
    """Everything that a ring holds, without what may differ."""
    with RingReader(directory, reader, start="oldest") as ring:
        rows = ring.read(ring.capacity).copy()
        assert ring.head < 2 * ring.capacity, "the ring overran: make the test shorter"
    for name in NOT_THE_SAME:
        rows[name] = 0
    codes = rows["payload"].view("<i4")[:, 1]
    process = (rows["kind"] == Kind.STATUS) & np.isin(codes, PROCESS)
    return rows[~process]


def same(live: np.ndarray[Any, Any], again: np.ndarray[Any, Any]) -> None:
    for i in range(min(len(live), len(again))):
        assert live[i].tobytes() == again[i].tobytes(), (i, live[i], again[i])
    assert len(live) == len(again)


@pytest.fixture
def stage() -> Iterator[Path]:
    path = Path(f"/dev/shm/feedd-test-{os.getpid()}-replay")
    yield path
    shutil.rmtree(path, ignore_errors=True)


def sections(target: Path) -> str:
    return f'[capture]\nenabled = true\ndirectory = "{target}"\nring_mb = 8\n'


def record(make_daemon: Callable[..., Daemon], sim: SimHandle, target: Path, **more: Any) -> Daemon:
    daemon: Daemon = make_daemon(sim, readers=2, sections=sections(target), **more)
    return daemon.wait_live()


def test_a_replay_is_bit_by_bit_what_was_live(
    make_daemon: Callable[..., Daemon], sim: SimHandle, tmp_path: Path, stage: Path
) -> None:
    target = tmp_path / "capture"
    daemon = record(make_daemon, sim, target)
    time.sleep(1.5)
    sim.control("fault", "drop,venue=deribit,stream=book.*,nth=3")
    sim.control("fault", "drop,venue=binance_usdm,stream=*depth*,nth=3")
    sim.control("fault", "close,venue=binance_spot,how=rst")
    until(lambda: daemon.counter("gaps") > 2)
    daemon.wait_live()
    time.sleep(1.0)
    assert daemon.counter("captured") > 500
    assert daemon.counter("capture_dropped") == 0
    assert daemon.stop() == 0
    live = {n: records(daemon.directory, n) for n in (0, 1)}
    names = feedd.attach(daemon.directory).instruments.array
    paths = sorted(target.glob("*/*.jsonl.zst"))
    assert {p.parent.name for p in paths} == {"deribit", "binance_usdm", "binance_spot"}
    assert not list(target.glob("*/*.part"))
    checked = cli("capture", "verify", *map(str, paths))
    assert checked.returncode == 0, checked.stdout

    done = cli(
        "replay", "--speed", "max", "--keep", "--dir", str(stage), *map(str, reversed(paths))
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stderr.splitlines()[-1])
    assert (told["missing"], told["damage"], told["unknown_operations"]) == (0, [], [])
    for n, rows in live.items():
        assert len(rows) > 500
        kinds = set(rows["kind"].tolist())
        assert {Kind.TRADE, Kind.QUOTE, Kind.BOOK, Kind.STATUS} <= kinds
        same(rows, records(stage, n))
    assert any((rows["kind"] == Kind.BOOK_CONTROL).any() for rows in live.values())

    feed = feedd.attach(stage)
    assert feed.instruments.array["name"].tolist() == names["name"].tolist()
    assert np.array_equal(feed.instruments.array["tick"], names["tick"], equal_nan=True)
    board = feed.board(venue="deribit")
    assert (board["updates"] > 0).any()


def test_what_was_recorded_can_be_decoded(
    make_daemon: Callable[..., Daemon], sim: SimHandle, tmp_path: Path
) -> None:
    """The files are in the fixed format: ``feedd decode`` finds the same trades in them."""
    target = tmp_path / "capture"
    daemon = record(make_daemon, sim, target)
    time.sleep(1.0)
    assert daemon.stop() == 0
    ids = {i.id: i.name for i in feedd.attach(daemon.directory).instruments}
    live: set[tuple[str, float, float]] = set()
    for n in (0, 1):
        rows = records(daemon.directory, n)
        rows = rows[rows["kind"] == Kind.TRADE]
        for row in rows.view(feedd.records.TRADE):
            live.add((ids[int(row["instrument"])], float(row["price"]), float(row["size"])))
    found: set[tuple[str, float, float]] = set()
    for folder in sorted(target.iterdir()):
        for path in sorted(folder.iterdir()):
            done = cli("decode", "--venue", folder.name, "--books", str(path))
            assert done.returncode == 0, done.stderr
            rows_ = [json.loads(line) for line in done.stdout.splitlines()]
            found |= {
                (r["instrument"], r["price"], r["size"]) for r in rows_ if r["kind"] == "trade"
            }
            books = [r for r in rows_ if r["kind"] == "final_book"]
            assert books
            assert all(book["bids"] and book["asks"] for book in books)
    assert live
    assert live <= found


def test_a_killed_reader_and_a_killed_recorder(
    make_daemon: Callable[..., Daemon], sim: SimHandle, tmp_path: Path, stage: Path
) -> None:
    """The next reader process begins new files; the next recorder loses nothing."""
    target = tmp_path / "capture"
    daemon = make_daemon(sim, venues={"deribit": ["trades", "quote", "book"]},
                         sections=sections(target)).wait_live()  # fmt: skip

    def begun() -> int:
        """Files with something in them, whole or not."""
        names = set()
        for path in target.glob("*/*"):
            with contextlib.suppress(FileNotFoundError):  # it has its whole name now
                if path.stat().st_size:
                    names.add(path.name.removesuffix(".part"))
        return len(names)

    until(lambda: begun() >= 1)
    (recorder,) = pids(daemon, b"feedd.capture.recorder")
    os.kill(recorder, signal.SIGKILL)
    until(lambda: [p for p in pids(daemon, b"feedd.capture.recorder") if p != recorder])
    until(lambda: begun() >= 2)
    (reader,) = daemon.pids()
    os.kill(reader, signal.SIGKILL)
    until(lambda: [p for p in daemon.pids() if p != reader])
    daemon.wait_live()
    until(lambda: begun() >= 3)
    assert daemon.stop() == 0
    live = records(daemon.directory, 0)
    paths = sorted(target.glob("*/*.jsonl.zst"))
    assert len(paths) >= 3
    assert cli("capture", "verify", *map(str, paths)).returncode == 0
    done = cli("replay", "--speed", "max", "--keep", "--dir", str(stage), *map(str, paths))
    assert done.returncode == 0, done.stderr
    again = records(stage, 0)
    # a killed reader had taken in what it did not publish any more, at most one read
    missing = len(again) - len(live)
    assert 0 <= missing <= 50
    head = next(
        i for i in range(len(live)) if live[i].tobytes() != again[i].tobytes()
    ) if missing else len(live)  # fmt: skip
    same(live[:head], again[:head])
    same(live[head:], again[head + missing :])


def pids(daemon: Daemon, module: bytes) -> list[int]:
    assert daemon.process is not None
    path = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children")
    found = []
    for pid in path.read_text().split():
        try:
            if module in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.append(int(pid))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def write_capture(path: Path, seconds: float) -> None:
    """A Deribit recording by hand: two trades, some time apart."""
    rows = []
    for i, at in enumerate((0.0, seconds)):
        data = [
            {
                "trade_seq": i + 1, "trade_id": str(i + 1), "timestamp": 1_700_000_000_000 + i,
                "tick_direction": 0, "price": 100.5 + i, "mark_price": 1.0, "index_price": 1.0,
                "instrument_name": "BTC-PERPETUAL", "direction": "buy", "amount": 10.0,
            }
        ]  # fmt: skip
        params = {"channel": "trades.BTC-PERPETUAL.raw", "data": data}
        raw = json.dumps({"jsonrpc": "2.0", "method": "subscription", "params": params})
        t = 1_700_000_000_000_000_000 + int(at * 1e9)
        rows.append(json.dumps({"t": t, "dir": "in", "raw": raw}))
    path.write_text("\n".join(rows) + "\n")


def test_other_captures_at_their_own_pace(tmp_path: Path, stage: Path) -> None:
    capture = tmp_path / "other.jsonl"
    write_capture(capture, 30.0)
    usage = cli("replay", "--dir", str(stage), str(capture))
    assert usage.returncode == 2
    assert "--venue" in usage.stderr
    assert not stage.exists()
    began = time.monotonic()
    done = cli("replay", "--venue", "deribit", "--speed", "20", "--keep", "--dir", str(stage),
               str(capture))  # fmt: skip
    took = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    assert 1.5 <= took < 20
    trades = records(stage, 0).view(RAW)
    trades = trades[trades["kind"] == Kind.TRADE]
    assert trades["ts_recv"].tolist() == [1_700_000_000_000_000_000, 1_700_000_030_000_000_000]
    assert feedd.attach(stage).instrument("deribit:BTC-PERPETUAL").row == 0


def test_consumers_see_a_living_daemon_while_it_runs(tmp_path: Path, stage: Path) -> None:
    capture = tmp_path / "other.jsonl"
    write_capture(capture, 1.0)
    process = subprocess.Popen(
        [sys.executable, "-m", "feedd", "replay", "--venue", "deribit", "--wait", "1", "--hold",
         "--dir", str(stage), str(capture)], stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        feed = feedd.attach(stage, timeout=20)
        until(lambda: feed.alive)
        stream = feed.stream(kinds=["trade"], start="oldest", timeout=10)
        prices: list[float] = []
        for batch in stream:
            prices += batch.trades["price"].tolist()
            if len(prices) == 2 or not len(batch):
                break
        assert prices == [100.5, 101.5]
        second = cli("replay", "--venue", "deribit", "--dir", str(stage), str(capture))
        assert second.returncode == 75
        assert "held by another" in second.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert not stage.exists(), "the shared memory is removed at the end"
