"""Example messages of the later venues, one session per channel, against the reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reference import decode_rows

from . import compare
from .example_sessions import SORTS, example_sessions
from .here import decode_rows_here

KINDS = {
    "kraken_futures": {"trade", "quote", "book", "deriv"},
    "bitget_spot": {"trade", "quote", "book"},
    "bitget_futures": {"trade", "quote", "book", "deriv", "liquidation"},
    "gate": {"trade", "quote", "book"},
    "gate_futures": {"trade", "quote", "book", "deriv"},
    "hyperliquid": {"trade", "quote", "book", "deriv"},
    "bitmex": {"trade", "quote", "book", "deriv", "liquidation"},
    "bitfinex": {"trade", "book", "deriv", "liquidation"},
}


@pytest.mark.parametrize("venue", KINDS)
def test_the_reference_reads_every_example(venue: str) -> None:
    kinds = set()
    for group, rows in example_sessions(venue).items():
        result = decode_rows(venue, rows)
        assert not result.events("bad_frame"), group
        kinds |= {line["kind"] for line in result.records if line["kind"] != "status"}
    assert kinds == KINDS[venue]


@pytest.mark.parametrize("venue", KINDS)
def test_examples_decode_as_the_reference_says(venue: str, tmp_path: Path) -> None:
    for group, rows in example_sessions(venue).items():
        got, expected = decode_rows_here(venue, rows, tmp_path), decode_rows(venue, rows)
        try:
            compare.assert_same(got, expected, venue)
        except AssertionError as error:
            error.add_note(f"examples of {group}")
            raise


def test_every_venue_with_examples_is_in_the_table() -> None:
    assert set(KINDS) == {*SORTS, "bitfinex"}
