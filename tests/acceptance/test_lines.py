"""Two connections with the same subscriptions are one stream: the first copy of a message wins.

The second line carries every message of the first a little later; a line may also end half way.
Books and trades must come out as from one line alone. (Messages that nothing numbers, such as
tickers, may come twice.)
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.sessions import SESSIONS

from . import compare
from .cli import Decoded
from .here import decode_rows_here
from .mutate import Row

LAGS = (0, 1, 7)


def two_lines(rows: list[Row], lag: int, rng: random.Random) -> list[Row]:
    """Every row on line ``a``, and on line ``b`` at most ``lag`` rows later, in the same order."""
    out: list[tuple[int, int, Row]] = []
    latest = 0
    for index, row in enumerate(rows):
        out.append((2 * index, 0, {**row, "conn": "a"}))
        latest = max(latest, 2 * (index + rng.randint(0, lag)) + 1)
        if row["dir"] != "rest":
            out.append((latest, 1, {**row, "conn": "b"}))
    return [row for _, _, row in sorted(out, key=lambda item: item[:2])]


def told(got: Decoded) -> Any:
    """Books and trades by instrument, without the time of receipt: that is the first copy's."""
    lines = [
        {**line, "ts_recv": None}
        for line in got.records
        if line["kind"] == "book" or (line["kind"] == "trade" and line["trade_id"])
    ]
    return compare.grouped(lines, True)


@pytest.fixture(scope="module", params=list(SESSIONS))
def venue(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def session_rows(venue: str) -> list[Row]:
    scenario = SESSIONS[venue](41)
    return scenario.rows + [{"dir": "rest", **row} for row in scenario.rest_rows]


@pytest.mark.parametrize("lag", LAGS)
def test_the_second_copy_changes_nothing(venue: str, lag: int, tmp_path: Path) -> None:
    rows = session_rows(venue)
    alone = decode_rows_here(venue, rows, tmp_path)
    both = decode_rows_here(venue, two_lines(rows, lag, random.Random(lag)), tmp_path)
    assert not compare.losses(both.records)
    assert both.finals == alone.finals
    assert told(both) == told(alone)


def test_the_other_line_goes_on_where_one_ends(venue: str, tmp_path: Path) -> None:
    rows = session_rows(venue)
    alone = decode_rows_here(venue, rows, tmp_path)
    both = two_lines(rows, 0, random.Random(1))
    half = len(both) // 2
    ended = [row for row in both[half:] if row["conn"] == "b" or row["dir"] == "rest"]
    closed = {"t": both[half].get("t"), "dir": "close", "conn": "a"}
    got = decode_rows_here(venue, [*both[:half], closed, *ended], tmp_path)
    assert not compare.losses(got.records)
    assert told(got) == told(alone)
    assert got.finals == alone.finals
