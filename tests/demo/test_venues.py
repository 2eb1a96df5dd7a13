"""Every venue end to end: simulated exchange, the real daemon, a consumer, the venue's journal.

Books and trades must equal the journal exactly, on one line and on two of which one is killed
every second. Several venues share a run: most of what one takes is the start of its processes. A
venue that feedd has no file for is skipped.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from feedd.demo.channels import DEMO_CHANNELS, known_venues
from feedd.errors import StartError
from feedd.sim.venues import EXCHANGES
from tests.demo.test_demo import TIMEOUT, counts, demo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(TIMEOUT + 20)]

KINDS = {
    "binance_coinm": {"book", "trade", "quote", "deriv"},
    "binance_options": {"book", "trade", "quote", "deriv", "greeks"},
    "binance_spot": {"book", "trade", "quote"},
    "binance_usdm": {"book", "trade", "quote", "deriv"},
    "bybit_option": {"book", "trade", "quote", "deriv", "greeks"},
    "bybit_inverse": {"book", "trade", "quote", "deriv"},
    "bybit_linear": {"book", "trade", "quote", "deriv"},
    "bybit_spot": {"book", "trade", "quote", "deriv"},
    "coinbase": {"book", "trade", "quote"},
    "coinbase_exchange": {"book", "trade", "quote"},
    "deribit": {"book", "trade", "quote", "deriv", "greeks"},
    "kraken": {"book", "trade", "quote"},
    "okx": {"book", "trade", "quote", "deriv", "greeks"},
    "kraken_futures": {"book", "trade", "quote", "deriv"},
    "bitget_spot": {"book", "trade", "quote", "deriv"},
    "bitget_futures": {"book", "trade", "quote", "deriv"},
    "gate": {"book", "trade", "quote", "deriv"},
    "gate_futures": {"book", "trade", "quote", "deriv", "liquidation"},
    "hyperliquid": {"book", "trade", "quote", "deriv"},
    "bitmex": {"book", "trade", "quote", "deriv", "liquidation"},
    "bitfinex": {"book", "trade", "quote", "deriv", "liquidation"},
}
"""What a run of some seconds yields at least."""
GROUPS = {
    "numbered": "deribit,okx,bybit_spot,bybit_linear,bybit_inverse,bybit_option,"
    "binance_spot,binance_usdm,binance_coinm,binance_options",
    "connection": "coinbase,bitfinex",
    "others": "kraken,coinbase_exchange,bitmex,hyperliquid,"
    "kraken_futures,bitget_spot,bitget_futures,gate,gate_futures",
}
"""Venues run together over two lines, by how they number."""
MAY_DECLARE = frozenset({"connection"})
"""Groups with Coinbase: too many losses in a row for what its connection counts, and a line starts
anew; should the other one lose something meanwhile, it is declared."""
NO_TIME = re.compile(r"^wrong: (\d+) events of orderBookL2:\S+ are out of the venue's order$", re.M)
"""BitMEX: of two messages in a row each is lost on another line, and one has no time. Nothing but
the order of arrival tells which was the first, and a busy machine blurs that."""
NO_TIME_MAX = 2
NO_ORDER = re.compile(r"^gap: (\S+) lines differ, order unknown$", re.M)
"""The same with two changes of one level, where the order makes a difference: declared."""
REPLACED = {"quote", "deriv", "greeks"}
"""Records that replace each other: of two lines, an older one that comes late is of no use."""
KILL = "kill,every_s=1,redundant=1,how=rst"


def has_file(name: str) -> bool:
    try:
        return known_venues(name) == (name,)
    except StartError:
        return False


def known_of(group: str) -> str:
    """The venues of a group that feedd has a file for."""
    named = GROUPS.get(group, group).split(",")
    known = [name for name in named if has_file(name)]
    if not known:
        pytest.skip(f"feedd has no venue file for any of {named}")
    return ",".join(known)


def check(report: dict[str, Any], errors: str) -> None:
    assert counts(report) == (0, 0, 0), errors
    assert report["gaps"] == 0, errors


@pytest.mark.parametrize("group", GROUPS)
def test_books_and_trades_are_those_of_the_journal(tmp_path: Path, group: str) -> None:
    venues = known_of(group)
    rate = str(min(4000, 1200 * len(venues.split(","))))  # for all of them together
    for seconds in ("4", "12"):  # a busy machine makes less of a rare kind
        status, report, errors = demo(
            tmp_path, "--seconds", seconds, "--rate", rate, "--venues", venues
        )  # fmt: skip
        check(report, errors)
        assert status == 0
        missing = {v: KINDS[v] - report["venues"].get(v, {}).keys() for v in venues.split(",")}
        if not any(missing.values()):
            return
    pytest.fail(f"kinds that did not come: {missing}")


@pytest.mark.parametrize("group", GROUPS)
def test_a_line_killed_every_second_loses_nothing(tmp_path: Path, group: str) -> None:
    venues = known_of(group)
    status, report, errors = demo(
        tmp_path, "--seconds", "8", "--rate", "1000", "--venues", venues, "--lines", "2",
        "--fault", KILL,
    )  # fmt: skip
    check(report, errors)
    assert status == 0
    # lines went down and came up: otherwise this test shows nothing
    assert report["records"]["status"] > 3 * len(venues.split(","))


@pytest.mark.parametrize("group", GROUPS)
def test_what_one_line_of_two_loses_is_not_lost(tmp_path: Path, group: str) -> None:
    venues = known_of(group)
    status, report, errors = demo(
        tmp_path, "--seconds", "4", "--rate", "1000", "--venues", venues, "--lines", "2",
        "--fault", "drop,prob=0.05,redundant=1",
    )  # fmt: skip
    lost = [line.split()[1:3] for line in errors.splitlines() if line.startswith("lost: ")]
    swapped = sum(int(n) for n in NO_TIME.findall(errors))
    declared = NO_ORDER.findall(errors)
    assert swapped <= NO_TIME_MAX
    assert len(declared) <= 1
    assert counts(report) == (len(lost), swapped, 0), errors
    # Where the machine holds one line up, its copy comes behind a newer state and is left out.
    assert all(kind in REPLACED or instrument in declared for instrument, kind in lost), errors
    assert report["gaps"] == len(declared) or group in MAY_DECLARE, errors
    assert status == bool(lost or swapped)


def test_the_table_knows_only_simulated_venues() -> None:
    assert set(DEMO_CHANNELS) <= set(EXCHANGES)
    assert set(KINDS) == set(DEMO_CHANNELS)
    grouped = [name for names in GROUPS.values() for name in names.split(",")]
    assert sorted(grouped) == sorted(DEMO_CHANNELS)
