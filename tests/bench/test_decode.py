"""``feedd bench decode`` on made-up sessions: what it counts, not how fast it is."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from feedd.cli import cli
from tests.fixtures.sessions import SESSIONS

VENUES = ("binance_usdm", "deribit", "okx", "bitfinex", "gate_futures", "bitmex", "kraken")


@pytest.mark.parametrize("venue", VENUES)
def test_every_frame_is_counted_under_what_it_yields(venue: str, tmp_path: Path) -> None:
    scenario = SESSIONS[venue](3)
    paths = [str(path) for path in scenario.write(tmp_path)]
    command = ["bench", "decode", "--venue", venue, "--rounds", "2", "--json", *paths]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    result = orjson.loads(done.stdout)
    kinds = result["kinds"]
    assert {"book", "trade"} <= set(kinds) | ({"trade"} if "several" in kinds else set())
    received = sum(row["dir"] == "in" for row in scenario.rows)
    assert 0 < sum(kind["frames"] for kind in kinds.values()) <= received
    for name, kind in kinds.items():
        assert 0 < kind["bytes"] < 100_000
        assert kind["decode_ns"] > 0
        assert kind["full_ns"] > 0
        assert 0 <= kind["least_ns"] < kind["full_ns"]
        assert kind["p99_full_ns"] > 0
        assert (kind["floor_ns"] is not None) is (venue == "binance_usdm"), name
    assert set(result["machine"]) == {"cpu", "cores", "kernel", "python"}


def test_books_of_a_capture_without_snapshots_begin_empty(tmp_path: Path) -> None:
    """Frames alone are enough: their books begin at the first delta, and the result says so."""
    scenario = SESSIONS["binance_usdm"](3)
    path = tmp_path / "frames.jsonl"
    rows = [row for row in scenario.rows if row["dir"] == "in"]
    path.write_bytes(b"\n".join(orjson.dumps(row) for row in rows))
    command = ["bench", "decode", "--venue", "binance_usdm", "--rounds", "1", "--json", str(path)]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    result = orjson.loads(done.stdout)
    assert result["books_begun_empty"] > 0
    assert result["kinds"]["book"]["frames"] > 10


def test_a_capture_without_frames_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text('{"t": 1, "dir": "open", "raw": ""}\n')
    done = CliRunner().invoke(cli, ["bench", "decode", "--venue", "okx", str(path)])
    assert done.exit_code == 2
    assert "no received frame" in done.stderr
