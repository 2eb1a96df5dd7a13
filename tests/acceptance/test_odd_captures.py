"""Captures that a careful recorder would not write: odd rows, cut files, many books at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from feedd import venues
from feedd.capture.decode import CaptureDecoder

from .cli import Decoded, run
from .here import decode_here

T = 1_700_000_000_000_000_000


def delta(first: int, last: int, previous: int, symbol: str = "BTCUSDT") -> dict[str, Any]:
    event = {
        "e": "depthUpdate",
        "E": 1_700_000_000_000,
        "T": 1_700_000_000_000,
        "s": symbol,
        "U": first,
        "u": last,
        "pu": previous,
        "b": [["1000", str(last)]],
        "a": [],
    }
    stream = f"{symbol.lower()}@depth@100ms"
    return {"t": T, "dir": "in", "raw": json.dumps({"stream": stream, "data": event})}


def snapshot(last: int, symbol: str = "BTCUSDT", levels: int = 1) -> dict[str, Any]:
    body = {
        "lastUpdateId": last,
        "bids": [[str(1000 - i), "1"] for i in range(levels)],
        "asks": [[str(1001 + i), "1"] for i in range(levels)],
    }
    url = f"https://localhost/fapi/v1/depth?symbol={symbol}&limit=1000"
    return {"t": T, "dir": "rest", "url": url, "raw": json.dumps(body)}


SESSION = [snapshot(100), delta(99, 101, 98), delta(102, 103, 101)]


def lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def decoded(tmp_path: Path, rows: list[dict[str, Any]]) -> Decoded:
    path = tmp_path / "capture.jsonl"
    path.write_bytes(lines(rows))
    return decode_here("binance_usdm", [path])


@pytest.mark.parametrize("time", [2**63, 2**64 - 1, -1, 1e18, "1700000000000000000", True])
def test_a_receive_time_that_is_none_is_absent(time: object, tmp_path: Path) -> None:
    got = decoded(tmp_path, [*SESSION[:2], {**SESSION[2], "t": time}])
    assert got.of("book")[-1]["ts_recv"] is None
    assert [final["state"] for final in got.finals.values()] == ["live"]


@pytest.mark.parametrize(
    "row",
    [
        {"dir": ["in"], "raw": "{}"},
        {"dir": {}, "raw": "{}"},
        {"dir": "in", "b64": "é"},
        {"dir": "rest", "url": "http://[::1", "raw": json.dumps({"lastUpdateId": 5})},
        {**snapshot(100), "raw": json.dumps({"lastUpdateId": -1, "bids": [], "asks": []})},
        {**snapshot(100), "raw": json.dumps({"lastUpdateId": 2**64 - 1, "bids": []})},
        {**snapshot(100), "raw": json.dumps({"lastUpdateId": 100, "bids": 1, "asks": []})},
    ],
)
@pytest.mark.parametrize("place", [0, 1, 3])
def test_an_odd_row_costs_nothing_else(row: dict[str, Any], place: int, tmp_path: Path) -> None:
    want = decoded(tmp_path, SESSION)
    got = decoded(tmp_path, [*SESSION[:place], row, *SESSION[place:]])
    assert got.records == want.records
    assert got.finals == want.finals
    assert [final["state"] for final in got.finals.values()] == ["live"]


def test_books_that_join_at_the_end_lose_no_record(tmp_path: Path) -> None:
    """The snapshots of all of them are far more records than the ring of the decoder holds."""
    rows = []
    for i in range(400):
        rows += [snapshot(200, f"C{i}USDT", 1000), delta(99, 101, 98, f"C{i}USDT")]
    got = decoded(tmp_path, rows)
    assert len(got.finals) == 400
    assert {final["state"] for final in got.finals.values()} == {"live"}
    books = got.of("book")
    assert len(books) == 400
    assert {(len(book["bids"]), len(book["asks"])) for book in books} == {(1000, 1000)}
    assert len(got.events("live")) == 400


class TestZstd:
    def test_several_frames_are_one_file(self, tmp_path: Path) -> None:
        rows = lines(SESSION).splitlines(keepends=True)
        path = tmp_path / "capture.jsonl.zst"
        path.write_bytes(b"".join(zstandard.compress(row) for row in rows))
        assert decode_here("binance_usdm", [path]).records == decoded(tmp_path, SESSION).records

    def test_a_cut_file_was_not_read_to_its_end(self, tmp_path: Path) -> None:
        path = tmp_path / "capture.jsonl.zst"
        path.write_bytes(zstandard.compress(lines(SESSION * 100))[:-9])
        done = run("decode", "--venue", "binance_usdm", str(path))
        assert done.returncode not in (0, 2)
        assert str(path) in done.stderr
        assert "Traceback" not in done.stderr


def test_a_byte_order_mark_is_not_part_of_the_first_row(tmp_path: Path) -> None:
    path = tmp_path / "mark.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + lines(SESSION))
    assert decode_here("binance_usdm", [path]).records == decoded(tmp_path, SESSION).records


class CountedJoins:
    """A pipeline that counts how often it was asked whether a snapshot joins."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        self.joins = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipeline, name)

    def join_state(self, *arguments: Any) -> Any:
        self.joins += 1
        return self._pipeline.join_state(*arguments)


def test_books_that_wait_cost_the_frames_of_others_nothing(tmp_path: Path) -> None:
    """Snapshots that never join, of 50 instruments: each frame asks for its own book only."""
    names = [f"C{i}USDT" for i in range(50)]
    rows = [snapshot(5, name) for name in names]
    for turn in range(20):
        rows += [delta(2 * turn + 11, 2 * turn + 12, 2 * turn + 10, name) for name in names]
    path = tmp_path / "capture.jsonl"
    path.write_bytes(lines(rows))
    decoder = CaptureDecoder(venues.load("binance_usdm"))
    counted = CountedJoins(decoder._pipeline)
    decoder._pipeline = counted  # type: ignore[assignment]
    events = list(decoder.events([path]))
    assert [event["event"] for event in events] == ["resync"] * 50
    assert counted.joins <= 50 * 20 + 50


def test_a_symbol_in_escapes_is_found_all_the_same(tmp_path: Path) -> None:
    rows = [snapshot(100, "\u5e01USDT"), delta(99, 101, 98, "\u5e01USDT")]
    assert "\\u5e01" in rows[1]["raw"]
    got = decoded(tmp_path, rows)
    assert [final["state"] for final in got.finals.values()] == ["live"]
    plain = {**rows[1], "raw": json.dumps(json.loads(rows[1]["raw"]), ensure_ascii=False)}
    assert decoded(tmp_path, [rows[0], plain]).finals == got.finals


@pytest.mark.parametrize("more", [False, True])
def test_a_close_costs_the_book_only_when_data_follows(tmp_path: Path, more: bool) -> None:
    """A recording that ends with a close lost nothing; after one that does not, a gap stands."""
    snapshot = (
        '{"params":{"channel":"book.X.raw","data":{"type":"snapshot","timestamp":1,"change_id":5,'
        '"instrument_name":"X","bids":[["new",1,1]],"asks":[]}}}'
    )
    change = snapshot.replace("snapshot", "change").replace(
        '"change_id":5', '"change_id":6,"prev_change_id":5'
    )
    rows = [{"dir": "in", "conn": "a", "raw": snapshot}, {"dir": "close", "conn": "a"}]
    if more:
        rows.append({"dir": "in", "conn": "a", "raw": change})
    path = tmp_path / "c.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    got = decode_here("deribit", [path])
    assert got.finals["deribit:X"]["state"] == ("gap" if more else "live")
