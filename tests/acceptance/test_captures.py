"""Every recording, line by line against the reference.

feedd decodes every recording to its end. The reference is slow: of a big one it reads the front
part, unless more effort is wanted (``FEEDD_EFFORT``, see ``tests/fixtures/effort.py``).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.fixtures.effort import rows_at_most
from tests.reference import Result, decode_rows
from tests.reference.rows import all_rows

from . import compare
from .captures import RECORDINGS, Recording, reference_once
from .cli import Decoded, decode_once
from .here import decode_rows_here
from .tops import check_tops

ROWS_AT_MOST = rows_at_most(6_000)  # of a big recording, for the reference

SLOW_FIRST = [
    pytest.param(r, marks=[pytest.mark.slow] if r.is_big else [], id=r.name) for r in RECORDINGS
]
pytestmark = pytest.mark.parametrize("recording", SLOW_FIRST, scope="module")


@pytest.fixture(scope="module", autouse=True)
def _no_collections() -> Iterator[None]:
    """Walking a million long-lived records over and over takes longer than making them."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(scope="module")
def paths(recording: Recording) -> tuple[Path, ...]:
    return recording.paths()


@pytest.fixture(scope="module")
def got(recording: Recording, paths: tuple[Path, ...]) -> Decoded:
    return decode_once(recording.venue, paths)


@pytest.fixture(scope="module")
def both(
    recording: Recording, paths: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Decoded, Result]:
    """What feedd and the reference make of the same rows."""
    if ROWS_AT_MOST is None or not recording.is_big:
        return decode_once(recording.venue, paths), reference_once(recording.venue, paths)
    rows = all_rows(paths)[:ROWS_AT_MOST]
    here = decode_rows_here(recording.venue, rows, tmp_path_factory.mktemp("front"))
    return here, decode_rows(recording.venue, rows)


def test_counts_are_those_of_the_index(recording: Recording, got: Decoded) -> None:
    assert len(got.of("trade")) == recording.trades
    assert len(got.of("quote")) == recording.quotes
    assert len(got.finals) == recording.books


def test_no_gap_and_no_bad_frame(recording: Recording, got: Decoded) -> None:
    assert not got.events("gap")
    assert not got.events("bad_frame")
    assert not got.events("checksum")


def test_every_record_equals_the_reference(
    recording: Recording, both: tuple[Decoded, Result]
) -> None:
    got, expected = both
    rest_books = compare.has_rest_books(recording.venue)
    compare.assert_groups_equal(
        compare.grouped(got.records, rest_books), compare.grouped(expected.records, rest_books)
    )


def test_trade_sums_equal_the_reference(recording: Recording, both: tuple[Decoded, Result]) -> None:
    got, expected = both
    ours = sum((Decimal(t["price"]) * Decimal(t["size"]) for t in got.of("trade")), Decimal(0))
    theirs = sum((t["price"] * t["size"] for t in expected.of("trade")), Decimal(0))
    assert ours == theirs


def test_final_books_equal_the_reference_level_by_level(
    recording: Recording, both: tuple[Decoded, Result]
) -> None:
    got, expected = both
    assert {line["state"] for line in got.finals.values()} <= {recording.state}
    compare.assert_finals_equal(got, expected)


def test_book_lines_alone_build_the_final_books(recording: Recording, got: Decoded) -> None:
    compare.assert_replay_builds_finals(got)


def test_books_equal_the_venues_own_best_bid_and_offer(
    recording: Recording, got: Decoded, paths: tuple[Path, ...]
) -> None:
    checked, wrong = check_tops(recording.venue, got.records, paths)
    assert not wrong
    assert checked >= recording.checked_tops


def test_the_reference_agrees_with_what_is_known(
    recording: Recording, both: tuple[Decoded, Result], paths: tuple[Path, ...]
) -> None:
    _, result = both
    assert not result.complaints()
    assert [book.state for book in result.books.values()] == [recording.state] * recording.books
    checked, wrong = check_tops(recording.venue, result.records, paths)
    assert not wrong
    if ROWS_AT_MOST is None or not recording.is_big:
        assert len(result.of("trade")) == recording.trades
        assert len(result.of("quote")) == recording.quotes
        assert checked >= recording.checked_tops
    else:
        assert checked > 0
