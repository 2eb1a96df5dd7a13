"""The reference itself, against generators that know the truth.

The recordings' known facts are in ``test_captures``, which has the reference decode them anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from tests.fixtures import binance, deribit
from tests.fixtures.scenario import Scenario
from tests.fixtures.sessions import SESSIONS
from tests.reference import decode_rows


def scenarios() -> dict[str, Callable[[], Scenario]]:
    """How to make each of them, by name: many are long."""
    made: dict[str, Callable[[], Scenario]] = {}
    for venue, session in SESSIONS.items():
        for seed in (1, 2, 3):
            made[f"{venue}-{seed}"] = partial(session, seed)
    made["deribit-born empty"] = deribit.born_empty
    for venue in ("binance_spot", "binance_usdm", "binance_coinm"):
        made[f"{venue}-only one"] = partial(binance.only_instrument, venue)
        made[f"{venue}-healed"] = partial(_healed, venue)
    return made


def _healed(venue: str) -> Scenario:
    return binance.healed(venue)[0]


SCENARIOS = scenarios()


@pytest.mark.parametrize("name", SCENARIOS)
def test_reference_finds_the_truth_of_made_up_sessions(name: str) -> None:
    scenario = SCENARIOS[name]()
    rest = [{"dir": "rest", **row} for row in scenario.rest_rows]
    result = decode_rows(scenario.venue, scenario.rows + rest)
    assert not result.complaints()
    live = {name: book.levels() for name, book in result.books.items() if book.state == "live"}
    assert live == scenario.books
    trades = [f"{line['instrument']} {line['trade_id']}" for line in result.of("trade")]
    assert trades == scenario.trades
