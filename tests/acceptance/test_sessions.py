"""Made-up sessions with every message form, against the reference and the generator's truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures import binance, deribit
from tests.fixtures.effort import seeds
from tests.fixtures.sessions import SESSIONS
from tests.reference import decode as reference_decode

from . import compare
from .captures import VENUES
from .cli import decode
from .here import decode_here

SEEDS = seeds(3, first=11)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("venue", VENUES)
def test_a_session_with_every_message_form(venue: str, seed: int, tmp_path: Path) -> None:
    scenario = SESSIONS[venue](seed)
    paths = scenario.write(tmp_path)
    got = (decode if seed == SEEDS[0] else decode_here)(venue, paths)  # once by the command
    compare.assert_same(got, reference_decode(venue, paths), venue)
    live = {name for name, line in got.finals.items() if line["state"] == "live"}
    assert live == set(scenario.books)
    trades = [f"{line['instrument']} {line['trade_id']}" for line in got.of("trade")]
    assert trades == scenario.trades


def test_a_book_born_empty_starts_with_its_first_change(tmp_path: Path) -> None:
    paths = deribit.born_empty().write(tmp_path)
    got = decode("deribit", paths)
    compare.assert_same(got, reference_decode("deribit", paths), "deribit")


@pytest.mark.parametrize("venue", ["binance_spot", "binance_usdm", "binance_coinm"])
class TestRestRows:
    def test_a_row_that_names_nothing_is_the_only_instruments(
        self, venue: str, tmp_path: Path
    ) -> None:
        paths = binance.only_instrument(venue).write(tmp_path)
        got = decode_here(venue, paths)
        compare.assert_same(got, reference_decode(venue, paths), venue)

    def test_rows_are_at_hand_whatever_the_order_of_the_files(
        self, venue: str, tmp_path: Path
    ) -> None:
        paths = binance.session(venue).write(tmp_path)
        assert len(paths) == 2
        forward, backward = decode_here(venue, paths), decode_here(venue, paths[::-1])
        assert compare.grouped(forward.records, True) == compare.grouped(backward.records, True)
        assert forward.finals == backward.finals

    def test_a_later_row_heals_a_loss(self, venue: str, tmp_path: Path) -> None:
        scenario, lost = binance.healed(venue)
        del scenario.rows[lost]
        paths = scenario.write(tmp_path)
        got = decode_here(venue, paths)
        assert len(got.events("gap")) == 1
        assert [line["action"] for line in got.of("book")].count("snapshot") == 2
        compare.assert_same(got, reference_decode(venue, paths), venue)

    def test_without_the_later_row_the_book_stays_in_gap(self, venue: str, tmp_path: Path) -> None:
        scenario, lost = binance.healed(venue)
        del scenario.rows[lost]
        scenario.rest_rows.clear()
        got = decode_here(venue, scenario.write(tmp_path))
        assert len(got.events("gap")) == 1
        (final,) = got.finals.values()
        assert final["state"] == "gap"
