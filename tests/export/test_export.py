"""Records as Parquet: every value comes back, in a layout that other tools read."""

from __future__ import annotations

import datetime
import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: feedd[arrow]")

from feedd.export.columns import schema, table  # noqa: E402
from feedd.export.writer import ParquetSink  # noqa: E402
from feedd.records import KIND_DTYPES, NO_INSTRUMENT, NO_SEQUENCE, RAW, Kind  # noqa: E402
from feedd.sim.testing import SimHandle, start_sim  # noqa: E402
from tests.client.segments import Daemon, book_records, record  # noqa: E402

SECOND = 10**9
DAY = 1_700_006_400 * SECOND  # 2023-11-15 00:00 UTC
NAMES = {0: "deribit:BTC-PERPETUAL", 1: "okx:BTC-USDT"}


def sink(root: Path, rotate_s: float = 60.0) -> ParquetSink:
    return ParquetSink(root, NAMES.get, rotate_s, "zstd")


def trades(*rows: tuple[int, int, float]) -> Any:
    """(instrument, ts_recv, price) as records."""
    made = np.zeros(len(rows), dtype=KIND_DTYPES[Kind.TRADE])
    made["kind"] = Kind.TRADE
    made["sequence"] = NO_SEQUENCE
    for i, (instrument, at, price) in enumerate(rows):
        made[i]["instrument"], made[i]["ts_recv"], made[i]["price"] = instrument, at, price
        made[i]["side"], made[i]["trade_id_text"] = -1, b"T%d" % i
    return made.view(RAW)


def files(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root).parent) for p in root.rglob("*.parquet"))


def test_layout_by_kind_venue_and_day(tmp_path: Path) -> None:
    out = sink(tmp_path)
    out.take(trades((0, DAY - 1, 1.0), (0, DAY, 2.0), (1, DAY, 3.0)), DAY)
    assert files(tmp_path) == [], "nothing is seen before it is complete"
    out.close()
    assert files(tmp_path) == [
        "kind=trade/venue=deribit/date=2023-11-14",
        "kind=trade/venue=deribit/date=2023-11-15",
        "kind=trade/venue=okx/date=2023-11-15",
    ]
    assert (out.rows, out.files, out.rows_dropped) == (3, 3, 0)
    assert not list(tmp_path.rglob(".*"))


def test_values_come_back(tmp_path: Path) -> None:
    out = sink(tmp_path)
    out.take(trades((0, DAY + 5, 1.5)), DAY)
    status = record(Kind.STATUS, NO_INSTRUMENT, ts_recv=DAY)
    status["payload"][0, 0] = 2
    status["payload"].view("<i4")[0, 1] = 7
    out.take(status, DAY)
    out.close()
    kept = pq.read_table(tmp_path / "kind=trade")
    assert kept.column("ts_recv").cast("int64").to_pylist() == [DAY + 5], "to the nanosecond"
    (row,) = kept.drop(["ts_recv"]).to_pylist()
    assert row["symbol"] == "BTC-PERPETUAL"
    assert (row["price"], row["side"], row["trade_id_text"]) == (1.5, "sell", "T0")
    assert row["sequence"] is None
    assert row["ts_event"] is None
    (row,) = pq.read_table(tmp_path / "kind=status").to_pylist()
    assert (row["symbol"], row["scope"], row["code"]) == (None, "connection", "line_down")
    assert str(row["venue"]) == "none"


def test_books_keep_sides_and_order(tmp_path: Path) -> None:
    bids = [(99.0 - i, 1.0 + i) for i in range(4)]
    asks = [(100.0 + i, 2.0 + i) for i in range(3)]
    records = book_records(0, bids, asks, sequence=5, snapshot=True)
    records["ts_recv"] = DAY
    out = sink(tmp_path)
    out.take(records, DAY)
    out.close()
    rows = pq.read_table(tmp_path / "kind=book").to_pylist()
    levels = [level for row in rows for level in row["levels"]]
    assert [(x["price"], x["size"]) for x in levels if x["side"] == "bid"] == bids
    assert [(x["price"], x["size"]) for x in levels if x["side"] == "ask"] == asks
    assert rows[-1]["sequence"] == 5


@pytest.mark.parametrize("kind", list(Kind))
def test_each_kind_has_a_stable_schema(kind: Kind) -> None:
    made = np.zeros(3, dtype=KIND_DTYPES[kind])
    made["kind"] = kind
    if kind is Kind.BOOK:
        made["n"], made["side_mask"] = [0, 5, 2], [0, 0b10101, 0b01]
    filled = table(kind, made, ["A", "", "B"])
    assert filled.schema == schema(kind)
    assert filled["symbol"].to_pylist() == ["A", None, "B"]
    if kind is Kind.BOOK:
        sides = [[level["side"] for level in row] for row in filled["levels"].to_pylist()]
        assert sides == [[], ["ask", "bid", "ask", "bid", "ask"], ["ask", "bid"]]


def test_files_rotate(tmp_path: Path) -> None:
    out = sink(tmp_path, rotate_s=10)
    for second in range(0, 31, 5):
        at = DAY + second * SECOND
        out.rotate(at)
        out.take(trades((0, at, float(second))), at)
    assert len(files(tmp_path)) == 3
    out.close()
    found = pq.read_table(tmp_path).column("price").to_pylist()
    assert sorted(found) == [0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0]


def test_a_full_disk_costs_rows_that_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = sink(tmp_path, rotate_s=1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    rng = np.random.default_rng(1)
    many = trades(*((0, DAY, float(x)) for x in rng.random(20_000)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, before[1]))  # larger files: an error
    try:
        out.take(many, DAY)
        out.rotate(DAY + 2 * SECOND)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert out.rows_dropped == 20_000
    assert "20000 rows dropped" in caplog.text
    assert not [p for p in tmp_path.rglob("*") if p.is_file()], "no half file is left"
    out.take(trades((0, DAY, 7.0)), DAY + 3 * SECOND)
    out.close()
    assert out.rows == 1
    assert pq.read_table(tmp_path).column("price").to_pylist() == [7.0]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    part = tmp_path / "kind=trade/venue=x/date=2023-11-15/.120000-0.parquet.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"PAR1 half")
    sink(tmp_path)
    assert not part.exists()


def test_polars_and_duckdb_read_the_layout(tmp_path: Path) -> None:
    out = sink(tmp_path)
    out.take(trades((0, DAY, 2.0), (1, DAY, 4.0), (1, DAY + 1, 6.0)), DAY)
    out.close()
    read = 0
    if importlib.util.find_spec("polars"):
        import polars

        frame = polars.scan_parquet(f"{tmp_path}/**/*.parquet", hive_partitioning=True)
        mean = frame.filter(polars.col("venue") == "okx").select(polars.col("price").mean())
        assert mean.collect().item() == 5.0
        read += 1
    if importlib.util.find_spec("duckdb"):
        import duckdb

        query = (
            f"select kind, venue, date, sum(price) from read_parquet('{tmp_path}/**/*.parquet', "
            "hive_partitioning = true) group by all order by venue"
        )
        rows = duckdb.sql(query).fetchall()
        day = datetime.date(2023, 11, 15)
        assert rows == [("trade", "deribit", day, 2.0), ("trade", "okx", day, 10.0)]
        read += 1
    if not read:
        pytest.skip("neither polars nor duckdb is installed")


def export(root: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "feedd.cli", "export", str(root), "--json", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_on_what_the_rings_hold(daemon: Daemon, tmp_path: Path) -> None:
    btc = daemon.list("deribit", "BTC-PERPETUAL", 0)
    daemon.put(*(record(Kind.TRADE, btc, price=float(n), ts_recv=DAY) for n in range(50)))
    daemon.put(record(Kind.QUOTE, btc, price=1.0, ts_recv=DAY))
    where = ("--dir", str(daemon.directory), "--oldest", "--seconds", "0.2")
    out, err = export(tmp_path / "a", *where).communicate(timeout=60)
    assert json.loads(out) == {"rows": 51, "lost": 0, "dropped": 0, "files": 2}, err
    out, _ = export(tmp_path / "b", *where, "--kind", "quote").communicate(timeout=60)
    assert json.loads(out)["rows"] == 1
    found = pq.read_table(tmp_path / "a" / "kind=trade")
    assert found.column("price").to_pylist() == [float(n) for n in range(50)]


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[SimHandle]:
    (tmp_path / "sim").mkdir()
    with start_sim(tmp_path / "sim", rate=400, seed=5) as handle:
        yield handle


@pytest.mark.timeout(90)
def test_a_live_daemon_is_kept_until_asked_to_end(
    sim: SimHandle, make_daemon: Callable[..., Any], tmp_path: Path
) -> None:
    daemon = make_daemon(sim, venues={"binance_usdm": ["depth", "bookTicker"]}).wait_live()
    root = tmp_path / "kept"
    process = export(root, "--dir", str(daemon.directory), "--rotate", "1")
    end = time.monotonic() + 40
    while not list(root.rglob("*.parquet")) and time.monotonic() < end:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    result = json.loads(out)
    assert process.returncode == 0, err
    assert result["lost"] == 0
    kept = sum(pq.ParquetFile(p).metadata.num_rows for p in root.rglob("*.parquet"))
    assert kept == result["rows"] > 0
