"""Every venue's instrument list, on small bodies made by hand in the venue's own form."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedd import venues
from feedd.capture.instruments import load_file
from feedd.errors import VenueError
from feedd.shm.rows import INSTRUMENT, InstrumentKind
from feedd.venues.reference import InstrumentInfo, parse
from feedd.venues.reference_lint import reference_problems
from feedd.venues.reference_requests import requests_of
from tests.venues.references import NAMES, ROOT, venue_of

FIXTURES = ROOT / "tests" / "fixtures" / "reference"


def _expected() -> dict[str, list[str]]:
    """Venue -> one line per instrument, in the order of its fixture."""
    found: dict[str, list[str]] = {}
    for line in (FIXTURES / "expected.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            venue, _, cells = line.partition(": ")
            found.setdefault(venue, []).append(cells)
    return found


EXPECTED = _expected()
REJECTED = {"kraken": {"no wsname": 1}}


def shown(info: InstrumentInfo) -> str:
    def text(value: str | float) -> str:
        return "-" if value in ("", 0) or value != value else str(value)

    seconds = 1_000_000_000
    assert info.expiry % seconds == info.listed_ts % seconds == 0
    cells = (
        info.symbol, info.kind.name.lower(), text(info.base), text(info.quote), text(info.settle),
        text(info.underlying), text(info.tick), text(info.lot), text(info.min_size),
        text(info.contract_size), str(info.price_decimals), str(info.size_decimals),
        info.size_unit.name.lower(), info.contract.name.lower(), text(info.expiry // seconds),
        text(info.strike), str(info.option_type), info.status.name.lower(),
        text(info.listed_ts // seconds),
    )  # fmt: skip
    return " ".join(cells)


@pytest.mark.parametrize("name", EXPECTED)
def test_every_column(name: str) -> None:
    loaded = load_file(venue_of(name), FIXTURES / f"{name}.json")
    assert [shown(info) for info in loaded.instruments] == EXPECTED[name]
    assert loaded.rejected == REJECTED.get(name, {})
    assert not loaded.skipped


@pytest.mark.parametrize("name", EXPECTED)
def test_no_kind_is_unknown(name: str) -> None:
    loaded = load_file(venue_of(name), FIXTURES / f"{name}.json")
    assert loaded.instruments
    assert [i.symbol for i in loaded.instruments if i.kind is InstrumentKind.UNKNOWN] == []


@pytest.mark.parametrize("name", NAMES)
def test_tables_have_no_mistakes(name: str) -> None:
    reference = venue_of(name).reference
    assert reference is not None
    assert list(reference_problems(reference)) == []


def test_every_venue_has_a_fixture() -> None:
    assert {path.stem for path in FIXTURES.glob("*.json")} == set(EXPECTED)
    described = {name for name in venues.names() if venues.load(name).reference is not None}
    assert described <= set(EXPECTED)
    assert set(NAMES) <= set(EXPECTED)


ADDRESSES = [
    "https://www.deribit.com/api/v2/public/get_instruments",
    "https://api.binance.com/api/v3/exchangeInfo",
    "https://fapi.binance.com/fapi/v1/exchangeInfo",
    "https://dapi.binance.com/dapi/v1/exchangeInfo",
    "https://eapi.binance.com/eapi/v1/exchangeInfo",
    "https://www.okx.com/api/v5/public/instruments",
    "https://www.okx.com/api/v5/public/underlying",
    "https://api.bybit.com/v5/market/instruments-info",
    "https://api.coinbase.com/api/v3/brokerage/market/products",
    "https://api.exchange.coinbase.com/products",
    "https://api.kraken.com/0/public/AssetPairs",
    "https://futures.kraken.com/derivatives/api/v3/instruments",
    "https://api.bitget.com/api/v2/spot/public/symbols",
    "https://api.bitget.com/api/v2/mix/market/contracts",
    "https://api.gateio.ws/api/v4/spot/currency_pairs",
    "https://api.gateio.ws/api/v4/futures/usdt/contracts",
    "https://api.gateio.ws/api/v4/futures/btc/contracts",
    "https://api.gateio.ws/api/v4/delivery/usdt/contracts",
    "https://api.hyperliquid.xyz/info",
    "https://www.bitmex.com/api/v1/instrument/active",
    "https://api-pub.bitfinex.com/v2/conf/pub:info:pair",
    "https://api-pub.bitfinex.com/v2/conf/pub:info:pair:futures",
    "https://api.crypto.com/exchange/v1/public/get-instruments",
    "https://www.bitstamp.net/api/v2/markets/",
]


def test_the_addresses_are_those_of_the_documents() -> None:
    """The base of a venue's addresses and the paths of its list come from different tables."""
    found = set()
    for name in NAMES:
        venue = venue_of(name)
        assert venue.reference is not None
        for request in requests_of(venue.reference):
            each = request.each
            paths = [request.path] if request.live else []
            paths += [each.request] if each is not None and each.request is not None else []
            found |= {venue.rest_url + path.partition("?")[0] for path in paths}
    assert sorted(found) == sorted(ADDRESSES)


def test_families_of_one_exchange_leave_each_other_alone() -> None:
    """A list of another product, asked for by mistake, adds nothing."""
    families = ("bybit_spot", "bybit_linear", "bybit_inverse", "bybit_option")
    for name in families:
        venue = venue_of(name)
        for other in families:
            found = load_file(venue, FIXTURES / f"{other}.json").instruments
            assert bool(found) is (other == name), (name, other)


NONSENSE = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**30), 10**30), st.floats(), st.text(max_size=9),
    st.sampled_from(["", "0", "-1", "1e999", "NaN", "2030-06-28T00:00:00Z", "\ud800"]),
    st.builds(list), st.builds(dict), st.builds(lambda: [[]]),
)  # fmt: skip


def _places(node: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a JSON value where something can be put."""
    keys = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    return [at] * bool(at) + [place for key in keys for place in _places(node[key], (*at, key))]


@pytest.mark.parametrize("name", EXPECTED)
@given(st.data())
@settings(max_examples=30, deadline=None)
def test_nonsense_anywhere_is_survived(name: str, data: st.DataObject) -> None:
    """A damaged answer is refused as a whole or gives rows that fit into the table."""
    row = data.draw(st.sampled_from(json.loads((FIXTURES / f"{name}.json").read_text())))
    body = json.loads(row["raw"])
    for _ in range(data.draw(st.integers(1, 4))):
        *path, last = data.draw(st.sampled_from(_places(body)))
        node = body
        for key in path:
            node = node[key]
        node[last] = data.draw(NONSENSE)
        if not _places(body):
            break
    try:
        infos = parse(venue_of(name), json.dumps(body), row["url"])
    except VenueError:
        return
    for info in infos:
        record = np.zeros(1, dtype=INSTRUMENT)
        for column, value in info.columns().items():
            record[column] = value.encode() if isinstance(value, str) else value
        assert record["symbol"][0].decode() == info.symbol
        assert info.tick != info.tick or info.tick > 0
        assert -1 <= info.price_decimals <= 100
