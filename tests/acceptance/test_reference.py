"""The reference itself: against generators that know the truth, and the recordings' known facts."""

from __future__ import annotations

import pytest

from tests.fixtures import binance, deribit
from tests.fixtures.scenario import Scenario
from tests.fixtures.sessions import SESSIONS
from tests.reference import decode_rows

from .captures import RECORDINGS, Recording, reference_once
from .tops import check_tops


def scenarios() -> list[Scenario]:
    out = [session(seed) for session in SESSIONS.values() for seed in (1, 2, 3)]
    out.append(deribit.born_empty())
    for venue in ("binance_spot", "binance_usdm", "binance_coinm"):
        out += [binance.only_instrument(venue), binance.healed(venue)[0]]
    return out


@pytest.mark.parametrize("scenario", scenarios(), ids=lambda s: s.venue)
def test_reference_finds_the_truth_of_made_up_sessions(scenario: Scenario) -> None:
    rest = [{"dir": "rest", **row} for row in scenario.rest_rows]
    result = decode_rows(scenario.venue, scenario.rows + rest)
    assert not result.complaints()
    live = {name: book.levels() for name, book in result.books.items() if book.state == "live"}
    assert live == scenario.books
    trades = [f"{line['instrument']} {line['trade_id']}" for line in result.of("trade")]
    assert trades == scenario.trades


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda r: r.name)
def test_reference_agrees_with_what_is_known_of_the_recordings(recording: Recording) -> None:
    paths = recording.paths()
    result = reference_once(recording.venue, paths)
    assert not result.complaints()
    assert len(result.of("trade")) == recording.trades
    assert len(result.of("quote")) == recording.quotes
    assert [book.state for book in result.books.values()] == [recording.state] * recording.books
    checked, wrong = check_tops(recording.venue, result.records, paths)
    assert not wrong
    assert checked >= recording.checked_tops
