"""venue-lint tries a venue file on recorded messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from feedd import venues
from tests.tools.test_tools import json_lines, run

NAME = "BTC-PERPETUAL"


def frame(channel: str, data: Any) -> str:
    params = {"channel": channel, "data": data}
    return json.dumps({"jsonrpc": "2.0", "method": "subscription", "params": params})


def book(kind: str, change: int) -> str:
    data = {
        "type": kind, "timestamp": 1_700_000_000_000, "instrument_name": NAME, "change_id": change,
        "bids": [["new", 100.0, 1.0]], "asks": [["new", 101.0, 1.0]],
    }  # fmt: skip
    if kind == "change":
        data["prev_change_id"] = change - 1
    return frame(f"book.{NAME}.raw", data)


def write(path: Path, *frames: str) -> Path:
    rows = [json.dumps({"t": 1, "dir": "in", "raw": raw}) for raw in frames]
    path.write_text("\n".join(rows) + "\n")
    return path


def test_the_built_in_files_have_no_mistakes() -> None:
    done = run("venue-lint", "--json", timeout=60)
    assert done.returncode == 0, done.stdout
    rows = json_lines(done.stdout)
    assert len(rows) == len(venues.names())
    assert all(row["mistakes"] == [] for row in rows)


def test_a_good_recording(tmp_path: Path) -> None:
    good = write(tmp_path / "good.jsonl", book("snapshot", 1), book("change", 2))
    done = run("venue-lint", "deribit", "--capture", str(good), "--json")
    assert done.returncode == 0, done.stdout
    tried = json_lines(done.stdout)[0]["capture"]
    assert tried["records"] == {"book": 2, "status": tried["records"]["status"]}
    assert (tried["books"], tried["wrong"]) == ({"live": 1}, [])
    assert "2 book" in run("venue-lint", "deribit", "--capture", str(good)).stdout


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    broken = book("snapshot", 1).replace('"change_id": 1', '"change_id": "x"')
    cases = {
        "rejected": (broken,),
        "no record": (frame("other.topic", {}),),
        "no book ever went live": (book("change", 2), book("change", 3)),
    }
    for words, frames in cases.items():
        path = write(tmp_path / "bad.jsonl", *frames)
        done = run("venue-lint", "deribit", "--capture", str(path))
        assert done.returncode == 1, words
        assert words in done.stdout
    assert run("venue-lint", "--capture", str(path)).returncode == 2
    assert run("venue-lint", "nonsense").returncode == 78
    cut = tmp_path / "cut.jsonl.zst"
    cut.write_bytes(b"(\xb5/\xfd")
    assert run("venue-lint", "deribit", "--capture", str(cut)).returncode == 65
