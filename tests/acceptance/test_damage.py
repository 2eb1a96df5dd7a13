"""Seeded damage to sessions and recordings of every venue, against the reference.

What a venue's numbers or checksums cannot show, the reference does not show either: whatever was
done to a capture, both must say the same about it, record by record, loss by loss, level by level.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fixtures.effort import rows_at_most, seeds
from tests.fixtures.sessions import SESSIONS
from tests.reference import decode_rows
from tests.reference.rows import all_rows

from . import compare
from .captures import SMALL
from .here import decode_rows_here
from .mutate import (
    BookFrame,
    Row,
    bad_rows,
    book_frames,
    corrupt_digit,
    differs_in_a_level,
    is_json,
)

SEEDS = {"session": seeds(1), "recording": seeds(1)}
ROWS_AT_MOST = rows_at_most(500)  # of a recording: the front part of a long one says as much
# Recordings with REST books are large, and ``test_mutations`` damages them already.
RECORDED = [venue for venue in SMALL if not compare.has_rest_books(venue)]
BASES = [(v, "session") for v in SESSIONS] + [(v, "recording") for v in RECORDED]


@dataclass(frozen=True)
class Base:
    """An undamaged session and where its books stand."""

    venue: str
    rows: list[Row]
    frames: list[BookFrame]

    def incoming(self) -> list[int]:
        """The rows that hold a message of the venue."""
        return [index for index, row in enumerate(self.rows) if row["dir"] == "in"]


def _rows(venue: str, source: str) -> list[Row]:
    if source == "recording":
        return all_rows(SMALL[venue].paths())[:ROWS_AT_MOST]
    scenario = SESSIONS[venue](31)
    return scenario.rows + [{"dir": "rest", **row} for row in scenario.rest_rows]


TRIES = pytest.mark.parametrize(
    ("base", "seed"),
    [(base, seed) for base in BASES for seed in SEEDS[base[1]]],
    indirect=["base"],
    scope="module",
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else str(value),
)


@pytest.fixture(scope="module")
def base(request: pytest.FixtureRequest) -> Base:
    venue, source = request.param
    rows = _rows(venue, source)
    return Base(venue, rows, book_frames(venue, rows))


def lose_a_book_frame(base: Base, rng: random.Random) -> list[Row]:
    gone = _some_frame(base, rng)
    return [row for index, row in enumerate(base.rows) if index != gone]


def lose_any_frame(base: Base, rng: random.Random) -> list[Row]:
    gone = rng.choice(base.incoming())
    return [row for index, row in enumerate(base.rows) if index != gone]


def lose_a_run_of_frames(base: Base, rng: random.Random) -> list[Row]:
    gone = rng.choice(base.incoming())
    return base.rows[:gone] + base.rows[gone + rng.randint(2, 6) :]


def repeat_a_book_frame(base: Base, rng: random.Random) -> list[Row]:
    again = _some_frame(base, rng)
    return base.rows[: again + 1] + base.rows[again:]


def repeat_a_book_frame_later(base: Base, rng: random.Random) -> list[Row]:
    again = _some_frame(base, rng)
    late = again + rng.randint(2, 40)
    return [*base.rows[:late], base.rows[again], *base.rows[late:]]


def swap_two_frames(base: Base, rng: random.Random) -> list[Row]:
    incoming = base.incoming()
    at = rng.randrange(len(incoming) - 1)
    return _swapped(base.rows, incoming[at], incoming[at + 1])


def swap_two_book_frames(base: Base, rng: random.Random) -> list[Row]:
    frames = base.frames
    if len(frames) < 2:
        return base.rows
    at = rng.randrange(len(frames) - 1)
    later = [frame for frame in frames[at + 1 :] if frame.instrument == frames[at].instrument]
    return _swapped(base.rows, frames[at].row, later[0].row) if later else base.rows


def corrupt_a_level(base: Base, rng: random.Random) -> list[Row]:
    """Another digit in one price or size of a book frame."""
    for _ in range(200):
        at = _some_frame(base, rng)
        raw = base.rows[at]["raw"]
        damaged = corrupt_digit(raw, rng)
        if is_json(damaged) and differs_in_a_level(raw, damaged):
            return [*base.rows[:at], {**base.rows[at], "raw": damaged}, *base.rows[at + 1 :]]
    return base.rows


def break_a_book_frame(base: Base, rng: random.Random) -> list[Row]:
    at = _some_frame(base, rng)
    bad = bad_rows(base.venue, base.rows[at]["raw"], rng)
    rows = list(base.rows)
    rows[at] = {"t": rows[at].get("t"), **bad[rng.choice(sorted(bad))]}
    return rows


def _some_frame(base: Base, rng: random.Random) -> int:
    return rng.choice([frame.row for frame in base.frames] or base.incoming())


def _swapped(rows: list[Row], one: int, other: int) -> list[Row]:
    out = list(rows)
    out[one], out[other] = rows[other], rows[one]
    return out


DAMAGE: list[Callable[[Base, random.Random], list[Row]]] = [
    lose_a_book_frame,
    lose_any_frame,
    lose_a_run_of_frames,
    repeat_a_book_frame,
    repeat_a_book_frame_later,
    swap_two_frames,
    swap_two_book_frames,
    corrupt_a_level,
    break_a_book_frame,
]


@TRIES
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda d: d.__name__)
def test_damage_is_judged_as_the_reference_does(
    base: Base, damage: Callable[[Base, random.Random], list[Row]], seed: int, tmp_path: Path
) -> None:
    rows = damage(base, random.Random(seed))
    got = decode_rows_here(base.venue, rows, tmp_path)
    compare.assert_same(got, decode_rows(base.venue, rows), base.venue)


@TRIES
def test_every_kind_of_damage_at_once(base: Base, seed: int, tmp_path: Path) -> None:
    rng = random.Random(1000 + seed)
    rows = base.rows
    for damage in rng.sample(DAMAGE, 5):
        rows = damage(Base(base.venue, rows, book_frames(base.venue, rows)), rng)
    got = decode_rows_here(base.venue, rows, tmp_path)
    compare.assert_same(got, decode_rows(base.venue, rows), base.venue)
