"""Damage captures in one place and look at what changes: exactly what must, and nothing else.

For venues whose books are numbered each for itself: there, every loss must show at once. ``base``
is either a made-up session or a recording.
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.effort import rows_at_most
from tests.fixtures.sessions import SESSIONS
from tests.reference import Result, decode_rows
from tests.reference.rows import all_rows

from . import compare
from .captures import SMALL
from .cli import Decoded
from .here import decode_rows_here
from .mutate import (
    BookFrame,
    Row,
    bad_rows,
    book_frames,
    corrupt_digit,
    inner_deltas,
    is_json,
)

pytestmark = pytest.mark.timeout(600)  # a recording by two decoders, on a loaded machine
NUMBERED = (
    "deribit",
    "binance_spot",
    "binance_usdm",
    "binance_coinm",
    "binance_options",
    "bybit_inverse",
    "bybit_linear",
    "bybit_option",
    "bybit_spot",
    "okx",
    "kraken_futures",
    "bitget_futures",
    "bitget_spot",
    "gate",
    "gate_futures",
)
RECORDED = ("deribit", "binance_usdm", "bybit_linear", "kraken_futures")
ROWS_AT_MOST = rows_at_most(1500) or sys.maxsize  # of a recording: each book is joined by then
BASES = [(v, "session") for v in NUMBERED] + [(v, "recording") for v in RECORDED]


@dataclass(frozen=True)
class Base:
    """An undamaged session and what is known about it."""

    venue: str
    rows: list[Row]
    clean: Decoded
    frames: list[BookFrame]
    losable: list[BookFrame]

    def decode(self, rows: list[Row], folder: Path) -> tuple[Decoded, Result]:
        """A damaged copy, by feedd and by the reference."""
        return decode_rows_here(self.venue, rows, folder), decode_rows(self.venue, rows)


def _rows(venue: str, source: str) -> list[Row]:
    if source == "recording":
        rows = all_rows(SMALL[venue].paths())
        return [row for n, row in enumerate(rows) if n < ROWS_AT_MOST or row["dir"] == "rest"]
    scenario = SESSIONS[venue](21)
    return scenario.rows + [{"dir": "rest", **row} for row in scenario.rest_rows]


def _joined_at(venue: str, rows: list[Row], frames: list[BookFrame]) -> dict[str, int]:
    """The row by which each book is live, as the reference sees it."""
    out: dict[str, int] = {}
    if not compare.has_rest_books(venue):
        for frame in frames:
            if not frame.is_delta:
                out.setdefault(frame.instrument, frame.row)
        return out
    names = {frame.instrument for frame in frames}
    result = decode_rows(venue, rows)
    live_ts = {name: [line["ts_recv"] for line in result.of("book", name)] for name in names}
    for frame in frames:
        times = [ts for ts in live_ts[frame.instrument][1:2] if ts is not None]
        if times and frame.instrument not in out and (rows[frame.row].get("t") or 0) >= times[0]:
            out[frame.instrument] = frame.row
    return out


@pytest.fixture(
    scope="module",
    params=[(venue, "session") for venue in NUMBERED]
    + [(venue, "recording") for venue in RECORDED],
    ids=lambda p: f"{p[0]}-{p[1]}",
)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Base:
    venue, source = request.param
    rows = _rows(venue, source)
    folder = tmp_path_factory.mktemp("clean")
    frames = book_frames(venue, rows)
    losable = inner_deltas(frames, _joined_at(venue, rows, frames))
    assert len(losable) > 10
    return Base(venue, rows, decode_rows_here(venue, rows, folder), frames, losable)


def others(lines: list[dict[str, Any]], venue: str, instrument: str) -> Any:
    """Everything but the book lines of one instrument."""
    groups = compare.grouped(lines, compare.has_rest_books(venue))
    groups.pop(("book", instrument), None)
    return groups


def assert_one_gap(base: Base, got: Decoded, expected: Result, instrument: str) -> None:
    assert [line["instrument"] for line in got.events("gap")] == [instrument]
    assert got.finals[instrument]["state"] == expected.books[instrument].state
    if expected.books[instrument].state != "live":
        assert got.finals[instrument]["state"] == "gap"
    assert others(got.records, base.venue, instrument) == others(
        base.clean.records, base.venue, instrument
    )
    unharmed = {name: line for name, line in got.finals.items() if name != instrument}
    assert unharmed == {n: line for n, line in base.clean.finals.items() if n != instrument}


def assert_nothing_changed(base: Base, got: Decoded) -> None:
    rest_books = compare.has_rest_books(base.venue)
    assert not got.events("gap")
    assert compare.grouped(got.records, rest_books) == compare.grouped(
        base.clean.records, rest_books
    )
    assert got.finals == base.clean.finals


@pytest.mark.parametrize("seed", range(2))
def test_a_lost_delta_is_one_gap(base: Base, seed: int, tmp_path: Path) -> None:
    frame = random.Random(seed).choice(base.losable)
    rows = [row for index, row in enumerate(base.rows) if index != frame.row]
    got, expected = base.decode(rows, tmp_path)
    assert not got.events("bad_frame")
    assert_one_gap(base, got, expected, frame.instrument)
    compare.assert_same(got, expected, base.venue)


def test_a_lost_snapshot_leaves_the_book_not_live(base: Base, tmp_path: Path) -> None:
    first = base.frames[0].instrument
    if not compare.has_rest_books(base.venue):
        gone = [f.row for f in base.frames if f.instrument == first and not f.is_delta]
        rows = [row for index, row in enumerate(base.rows) if index not in gone]
    else:
        rows = [row for row in base.rows if row["dir"] != "rest"]
    got, _ = base.decode(rows, tmp_path)
    assert first not in got.finals or got.finals[first]["state"] != "live"
    assert not got.of("book", first)


@pytest.mark.parametrize("seed", range(2))
def test_repeated_frames_change_nothing(base: Base, seed: int, tmp_path: Path) -> None:
    """Book frames and numbered ones, at once and (deltas) again some frames later."""
    rng = random.Random(seed)
    books = {frame.row: frame for frame in base.frames}
    rows: list[Row] = []
    late: list[tuple[int, Row]] = []
    repeats = 0
    for index, row in enumerate(base.rows):
        rows.append(row)
        numbered = index in books or (row["dir"] == "in" and _has_number(row["raw"]))
        if numbered and rng.random() < 0.3:
            rows.append(row)
            repeats += 1
            due = index + rng.randint(1, 30)
            if index in books and books[index].is_delta and not _restarts(base, books[index], due):
                late.append((due, row))
        rows += [old for due, old in late if due == index]
    assert repeats > 3
    got, _ = base.decode(rows, tmp_path)
    assert not got.events("bad_frame")
    assert_nothing_changed(base, got)


NUMBERED_FRAMES = ('"trades', '@trade"', "@aggTrade", "@bookTicker", "publicTrade.", "orderbook.1.")


def _has_number(raw: str) -> bool:
    """Trades everywhere, and quotes with a number: the numbers show a repetition."""
    return any(text in raw for text in NUMBERED_FRAMES)


def _restarts(base: Base, frame: BookFrame, until: int) -> bool:
    """Whether the book's numbers may begin anew in between: a late message is then not old."""
    return any(
        other.instrument == frame.instrument and not other.is_delta
        for other in base.frames
        if frame.row < other.row <= until
    )


def test_two_lines_with_the_same_subscription_are_one_stream(base: Base, tmp_path: Path) -> None:
    books = {frame.row for frame in base.frames}
    rows: list[Row] = []
    for index, row in enumerate(base.rows):
        rows.append({**row, "conn": "a"})
        if index in books:
            rows.append({**row, "conn": "b"})
    got, _ = base.decode(rows, tmp_path)
    assert_nothing_changed(base, got)


@pytest.mark.parametrize("seed", range(1))
def test_bad_frames_beside_good_ones_are_counted_and_change_nothing(
    base: Base, seed: int, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    good = base.rows[rng.choice(base.frames).row]["raw"]
    bad = bad_rows(base.venue, good, rng)
    rows = list(base.rows)
    for row in bad.values():
        at = rng.randrange(len(rows) + 1)
        rows.insert(at, {"t": rows[max(0, at - 1)].get("t"), **row})
    got, expected = base.decode(rows, tmp_path)
    assert len(expected.events("bad_frame")) == len(bad)
    assert len(got.events("bad_frame")) == len(bad)
    if expected.events("gap"):  # a session with a book of before the numbers, which may miss one
        compare.assert_same(got, expected, base.venue)
    else:
        assert_nothing_changed(base, got)


@pytest.mark.parametrize("seed", range(2))
def test_a_bad_frame_in_place_of_a_delta_is_one_of_each(
    base: Base, seed: int, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    frame = rng.choice(base.losable)
    kinds = bad_rows(base.venue, base.rows[frame.row]["raw"], rng)
    rows = list(base.rows)
    rows[frame.row] = {"t": rows[frame.row].get("t"), **kinds[rng.choice(sorted(kinds))]}
    got, expected = base.decode(rows, tmp_path)
    assert len(got.events("bad_frame")) == 1
    assert_one_gap(base, got, expected, frame.instrument)


@pytest.mark.parametrize("seed", range(2))
def test_two_swapped_deltas_are_one_gap(base: Base, seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    frame = rng.choice(base.losable)
    after = next(f for f in base.frames if f.instrument == frame.instrument and f.row > frame.row)
    rows = list(base.rows)
    rows[frame.row], rows[after.row] = rows[after.row], rows[frame.row]
    got, expected = base.decode(rows, tmp_path)
    assert_one_gap(base, got, expected, frame.instrument)


@pytest.mark.parametrize("seed", range(2))
def test_corrupt_digits_never_stop_the_decoder(base: Base, seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    incoming = [index for index, row in enumerate(base.rows) if row["dir"] == "in" and row["raw"]]
    rows = list(base.rows)
    broken = 0
    for index in rng.sample(incoming, 5):
        if not any(char.isdigit() for char in rows[index]["raw"]):
            continue
        raw = corrupt_digit(rows[index]["raw"], rng)
        broken += not is_json(raw)
        rows[index] = {**rows[index], "raw": raw}
    got, _ = base.decode(rows, tmp_path)
    assert broken <= len(got.events("bad_frame")) <= 5
