"""Parquet files say what ``feedd decode`` says, and polars and DuckDB read them."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from feedd.records import Flag

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: Parquet is not tested")

DAY = 1_700_006_400_000_000_000  # 2023-11-15 00:00:00 UTC
NAME = "BTC-PERPETUAL"


def cli(*arguments: object, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "feedd", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


def frame(channel: str, data: Any) -> str:
    params = {"channel": channel, "data": data}
    return json.dumps({"jsonrpc": "2.0", "method": "subscription", "params": params})


def trade(number: int, price: float) -> dict[str, Any]:
    return {
        "trade_seq": number, "trade_id": f"T{number}", "timestamp": 1_700_000_000_000 + number,
        "tick_direction": 0, "price": price, "mark_price": 1.0, "index_price": 1.0,
        "instrument_name": NAME, "direction": "sell" if number % 2 else "buy", "amount": 10.0,
    }  # fmt: skip


def book(kind: str, change: int, bids: list[Any], asks: list[Any]) -> dict[str, Any]:
    out = {
        "type": kind, "timestamp": 1_700_000_000_000, "instrument_name": NAME,
        "change_id": change, "bids": bids, "asks": asks,
    }  # fmt: skip
    return out if kind == "snapshot" else {**out, "prev_change_id": change - 1}


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Two days: trades on both, a book of 13 levels with a delta, a lost delta."""
    bids = [["new", 100.0 - i, 1.0 + i] for i in range(8)]
    asks = [["new", 101.0 + i, 2.0 + i] for i in range(5)]
    frames = [
        (-2, frame(f"trades.{NAME}.raw", [trade(1, 100.5), trade(2, 100.0)])),
        (-1, frame(f"book.{NAME}.raw", book("snapshot", 10, bids, asks))),
        (0, frame(f"trades.{NAME}.raw", [trade(3, 99.5)])),
        (1, frame(f"book.{NAME}.raw", book("change", 11, [["delete", 100.0, 0.0]], []))),
        (2, frame(f"book.{NAME}.raw", book("change", 13, [], [["change", 101.0, 7.0]]))),
    ]
    path = tmp_path / "capture.jsonl"
    rows = [{"t": DAY + at, "dir": "in", "conn": "a", "raw": raw} for at, raw in frames]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def exported(capture: Path, tmp_path: Path) -> Path:
    target = tmp_path / "parquet"
    done = cli("export", "--recorded-venue", "deribit", "--json", target, capture)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["files"] == len(list(target.rglob("*.parquet")))
    assert told["missing"] == []
    assert not list(target.rglob("*.part"))
    return target


def test_the_layout(exported: Path) -> None:
    folders = {str(p.parent.relative_to(exported)) for p in exported.rglob("*.parquet")}
    assert "kind=trade/venue=deribit/date=2023-11-14" in folders
    assert "kind=trade/venue=deribit/date=2023-11-15" in folders
    assert "kind=book/venue=deribit/date=2023-11-14" in folders
    assert {folder.split("/")[0] for folder in folders} >= {"kind=status", "kind=book_control"}


def rows_of(folder: Path, where: Any = None) -> list[dict[str, Any]]:
    """Rows in the order of the ring, times as integers (Python's own lose the nanoseconds)."""
    import pyarrow.dataset as ds

    table = ds.dataset(folder).to_table(filter=where).sort_by("ring_seq")
    for i, column in enumerate(table.schema):
        if pa.types.is_timestamp(column.type):
            table = table.set_column(i, column.name, table[column.name].cast(pa.int64()))
    return table.to_pylist()


def test_it_says_what_decode_says(exported: Path, capture: Path) -> None:
    """Against the other way to read the same capture."""
    import pyarrow.dataset as ds

    decoded = [
        json.loads(line)
        for line in cli("decode", "--venue", "deribit", capture).stdout.splitlines()
    ]
    trades = rows_of(exported / "kind=trade")
    expected = [row for row in decoded if row["kind"] == "trade"]
    assert len(trades) == len(expected) == 3
    for got, want in zip(trades, expected, strict=True):
        for name in ("price", "size", "side", "sequence"):
            assert got[name] == want[name], name
        assert got["trade_id_text"] == want["trade_id"]
        assert f"deribit:{got['symbol']}" == want["instrument"]
        assert got["ts_recv"] == want["ts_recv"]
        assert got["ts_event"] == want["ts_event"]
    events: list[dict[str, list[list[float]]]] = []
    ended = True
    for row in rows_of(exported / "kind=book"):
        if ended:
            events.append({"bid": [], "ask": []})
        for level in row["levels"]:
            events[-1][level["side"]].append([level["price"], level["size"]])
        ended = bool(row["flags"] & Flag.LAST)
    books = [row for row in decoded if row["kind"] == "book"]
    assert [(b["bids"], b["asks"]) for b in books] == [(e["bid"], e["ask"]) for e in events]
    assert len(books) == 2, "the delta after the loss is not applied"
    (told,) = rows_of(exported / "kind=status", ds.field("code") == "gap")
    (want,) = [r for r in decoded if r["kind"] == "status" and r["event"] == "gap"]
    assert (told["arg0"], told["arg1"], told["symbol"]) == (want["expected"], want["got"], NAME)


def test_polars_reads_it(exported: Path) -> None:
    pl = pytest.importorskip("polars", reason="polars is not installed")
    trades = pl.scan_parquet(exported / "kind=trade", hive_partitioning=True).sort("ring_seq")
    found = trades.filter(pl.col("venue") == "deribit").collect()
    assert found["price"].to_list() == [100.5, 100.0, 99.5]
    assert [str(day) for day in found["date"]] == ["2023-11-14", "2023-11-14", "2023-11-15"]
    assert found["ts_recv"].dtype == pl.Datetime("ns", "UTC")
    one = trades.filter(pl.col("date") == datetime(2023, 11, 15, tzinfo=UTC).date()).collect()
    assert one["side"].to_list() == ["sell"]


def test_duckdb_reads_it(exported: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
    source = f"read_parquet('{exported}/kind=trade/**/*.parquet', hive_partitioning=true)"
    rows = duckdb.sql(f"select date::varchar, sum(size), count(*) from {source} group by 1 "
                      "order by 1").fetchall()  # fmt: skip
    assert rows == [("2023-11-14", 20.0, 2), ("2023-11-15", 10.0, 1)]


def test_a_second_export_adds_files(exported: Path, capture: Path) -> None:
    before = {p: p.read_bytes() for p in exported.rglob("*.parquet")}
    assert cli("export", "--recorded-venue", "deribit", exported, capture).returncode == 0
    after = list(exported.rglob("*.parquet"))
    assert len(after) == 2 * len(before)
    assert all(path.read_bytes() == data for path, data in before.items())


def test_filters(capture: Path, tmp_path: Path) -> None:
    target = tmp_path / "trades"
    done = cli("export", "--recorded-venue", "deribit", "--kind", "trade", target, capture)
    assert done.returncode == 0, done.stderr
    assert [p.name for p in target.iterdir()] == ["kind=trade"]
    other = cli("export", "--recorded-venue", "deribit", "--kind", "trade", "--venue", "okx",
                tmp_path / "none", capture)  # fmt: skip
    assert other.returncode == 0
    assert not list((tmp_path / "none").rglob("*.parquet"))


def test_more_records_than_a_ring_holds(tmp_path: Path) -> None:
    frames = []
    for i in range(1_500):
        data = [trade(100 * i + n, 100.0) for n in range(100)]
        frames.append({"t": DAY + i, "dir": "in", "raw": frame(f"trades.{NAME}.raw", data)})
    path = tmp_path / "long.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in frames))
    target = tmp_path / "parquet"
    done = cli("export", "--recorded-venue", "deribit", "--json", target, path)
    assert done.returncode == 0, done.stderr
    numbers = [row["sequence"] for row in rows_of(target / "kind=trade")]
    assert numbers == list(range(150_000))


def test_what_is_missing_is_said(tmp_path: Path, capture: Path) -> None:
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(capture.read_bytes() + b"nonsense")
    done = cli("export", "--recorded-venue", "deribit", tmp_path / "x", cut)
    assert done.returncode == 1
    assert "not a capture row" in done.stderr


def test_mistakes(tmp_path: Path, capture: Path) -> None:
    nameless = cli("export", tmp_path / "x", capture)
    assert nameless.returncode == 65
    assert "--recorded-venue" in nameless.stderr
    assert cli("export", tmp_path / "x", "--seconds", "1", capture).returncode == 2
    assert cli("export", tmp_path / "x", "--recorded-venue", "deribit").returncode == 2
    assert cli("export", tmp_path / "x", "--recorded-venue", "nonsense", capture).returncode == 78
