"""Files that are not what their name or first row says: words and a status, no traceback."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard

from feedd.capture.rows import read_rows
from feedd.errors import Exit

HEAD = {"version": 1, "venue": "deribit", "reader": 0, "instruments": []}
MESSAGE = {"t": 2, "dir": "in", "conn": "deribit:0", "n": 2, "raw": "{}"}


def feedd(*words: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "feedd.cli", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def recording(path: Path, head: Any, *rows: Any) -> Path:
    first = {"t": 1, "dir": "open", "conn": "feedd", "n": 1, "raw": "", "feedd": head}
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in (first, *rows)))
    return path


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": None},
        {"venue": 5},
        {"reader": "0"},
        {"reader": -1},
        {"reader": 10**9},
        {"instruments": "x"},
        {"instruments": [{"symbol": "A"}]},
        {"instruments": [{"id": 2**40, "symbol": "A", "row": 0}]},
    ],
)
def test_a_head_that_no_recorder_wrote(tmp_path: Path, change: dict[str, Any]) -> None:
    path = recording(tmp_path / "a.jsonl", {**HEAD, **change}, MESSAGE)
    checked = feedd("capture", "verify", "--json", path)
    assert checked.returncode == Exit.UNHEALTHY
    assert not json.loads(checked.stdout)["ok"]
    replayed = feedd("replay", "--speed", "max", "--dir", f"/dev/shm/{tmp_path.name}", path)
    assert replayed.returncode == Exit.DATA
    assert str(path) in replayed.stderr


@pytest.mark.parametrize(
    "op",
    [
        5,
        [],
        ["resync"],
        ["resync", [7, "A"], {}],
        ["resync", ["x"], {}],
        ["add_instrument", [0, "A", "x"], {}],
        ["line_down", [0], {"line": []}],
    ],
)
def test_an_operation_that_nobody_did(tmp_path: Path, op: Any) -> None:
    row = {"t": 3, "dir": "open", "conn": "feedd", "n": 3, "raw": "", "op": op}
    path = recording(tmp_path / "a.jsonl", HEAD, MESSAGE, row)
    replayed = feedd("replay", "--speed", "max", "--dir", f"/dev/shm/{tmp_path.name}", path)
    assert replayed.returncode == Exit.DATA
    assert f"{path}: entry 3" in replayed.stderr


def test_only_operations_are_done(tmp_path: Path) -> None:
    row = {"t": 3, "dir": "open", "conn": "feedd", "n": 3, "raw": "", "op": ["__init__", [0], {}]}
    path = recording(tmp_path / "a.jsonl", HEAD, MESSAGE, row)
    replayed = feedd("replay", "--speed", "max", "--dir", f"/dev/shm/{tmp_path.name}", path)
    assert replayed.returncode == Exit.UNHEALTHY
    assert json.loads(replayed.stderr.splitlines()[-1])["unknown_operations"] == ["__init__"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.log"])
@pytest.mark.parametrize("form", ["plain", "gzip", "zstd"])
def test_the_bytes_say_how_a_file_is_compressed(tmp_path: Path, name: str, form: str) -> None:
    text = orjson.dumps(MESSAGE) + b"\n"
    forms = {"plain": text, "gzip": gzip.compress(text), "zstd": zstandard.compress(text)}
    path = tmp_path / name
    path.write_bytes(forms[form])
    problems: list[str] = []
    (row,) = read_rows(path, problems)
    assert (row.t, row.data, problems) == (2, b"{}", [])


def test_an_array_can_be_verified(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf" + orjson.dumps([MESSAGE, {"raw": "{}"}, 5]))
    checked = json.loads(feedd("capture", "verify", "--json", path).stdout)
    assert checked["rows"] == {"in": 1, "rest": 1}
    assert checked["problems"] == [f"{path}: row 2 is no row"]


@pytest.mark.parametrize("form", [gzip.compress, zstandard.compress])
def test_what_is_before_a_cut_is_decoded(tmp_path: Path, form: Any) -> None:
    data = {"instrument_name": "A", "trade_seq": 1, "timestamp": 1, "price": 1.5, "amount": 1.0,
            "direction": "buy", "index_price": 1.0, "mark_price": 1.0}  # fmt: skip
    rows = []
    for number in range(2_000):
        params = {"channel": "trades.A.raw", "data": [{**data, "trade_id": str(number)}]}
        raw = json.dumps({"jsonrpc": "2.0", "method": "subscription", "params": params})
        rows.append({"t": number, "dir": "in", "conn": "a", "raw": raw})
    text = b"".join(orjson.dumps(row) + b"\n" for row in rows)
    path = tmp_path / "a.jsonl"
    path.write_bytes(text)
    whole = feedd("decode", "--venue", "deribit", path).stdout.splitlines()
    assert len(whole) == 2_000
    path.write_bytes(form(text[: len(text) // 2]) + form(text[len(text) // 2 :])[:-9])
    cut = feedd("decode", "--venue", "deribit", path)
    assert cut.returncode == Exit.DATA
    assert str(path) in cut.stderr
    got = cut.stdout.splitlines()
    assert len(got) >= 999
    assert got == whole[: len(got)]
