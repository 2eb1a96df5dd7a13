"""Capture files in each of their forms, and what is wrong with broken ones."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

import pytest
import zstandard

from feedd.capture.rows import read_rows
from feedd.errors import CaptureError

ROWS = [
    {"t": 5, "dir": "out", "raw": '{"a":1}'},
    {"t": None, "dir": "in", "conn": "c1", "raw": '{"é":"☃"}', "extra": 1},
    {"dir": "open", "conn": "c1"},
    {"dir": "rest", "raw": "{}", "url": "https://x/depth?symbol=ab"},
]


def _lines() -> bytes:
    return b"\n".join(json.dumps(r).encode() for r in ROWS) + b"\n"


@pytest.mark.parametrize("form", ["plain", "gz", "zst", "array"])
def test_forms_are_equal(tmp_path: Path, form: str) -> None:
    if form == "plain":
        path = tmp_path / "c.jsonl"
        path.write_bytes(b"\n \n" + _lines())
    elif form == "gz":
        path = tmp_path / "c.jsonl.gz"
        path.write_bytes(gzip.compress(_lines()))
    elif form == "zst":
        path = tmp_path / "c.jsonl.zst"
        path.write_bytes(zstandard.compress(_lines()))
    else:
        path = tmp_path / "c.json"
        path.write_text(" \n" + json.dumps(ROWS))
    problems: list[str] = []
    rows = list(read_rows(path, problems))
    assert problems == []
    assert [r.dir for r in rows] == ["out", "in", "open", "rest"]
    assert rows[0].t == 5
    assert rows[1].t is None
    assert rows[1].data == '{"é":"☃"}'.encode()
    assert rows[1].conn == "c1"
    assert rows[3].url == "https://x/depth?symbol=ab"


def test_array_row_without_dir_is_a_rest_row(tmp_path: Path) -> None:
    path = tmp_path / "rest.json"
    path.write_text(json.dumps([{"t": 1, "url": "u", "raw": "{}"}]))
    (row,) = read_rows(path, [])
    assert row.dir == "rest"


def test_bytes_that_are_no_text_reach_the_decoder_as_they_are(tmp_path: Path) -> None:
    bad = b'{"a":"\xff\xfe"}'
    path = tmp_path / "c.jsonl"
    as_b64 = json.dumps({"dir": "in", "b64": base64.b64encode(bad).decode()}).encode()
    as_bytes = b'{"dir":"in","raw":"{\\"a\\":\\"\xff\xfe\\"}"}'
    as_surrogates = json.dumps({"dir": "in", "raw": bad.decode("utf-8", "surrogateescape")})
    path.write_bytes(as_b64 + b"\n" + as_bytes + b"\n" + as_surrogates.encode() + b"\n")
    assert [r.data for r in read_rows(path, [])] == [bad] * 3


def test_line_that_is_no_row_is_named_and_skipped(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'{"dir":"in","raw":"1"}\nnonsense\n{"dir":"sideways","raw":""}\n')
    problems: list[str] = []
    assert len(list(read_rows(path, problems))) == 1
    assert [p.split(":")[-2] for p in problems] == ["2", "3"]


def test_truncated_gzip_says_so(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl.gz"
    path.write_bytes(gzip.compress(_lines())[:-20])
    with pytest.raises(CaptureError, match=r"c\.jsonl\.gz: cannot be read to its end"):
        list(read_rows(path, []))


def test_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="cannot be opened"):
        list(read_rows(tmp_path / "none.jsonl", []))
