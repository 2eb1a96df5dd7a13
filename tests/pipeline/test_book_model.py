"""Books against a dictionary: any prices, any order, any distance from the touch."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fixtures.effort import tries
from tests.pipeline.rig import Rig, binance_depth, rest_depth

# Prices of very different magnitude and scale: window, tree, re-centring and re-scaling all happen.
_PRICES = st.one_of(
    st.integers(1, 400).map(lambda k: Decimal(k) / 10),
    st.integers(9_990_000, 10_010_000).map(lambda k: Decimal(k) / 100),
    st.integers(1, 10**9).map(lambda k: Decimal(k) / 10**4),
    st.sampled_from([Decimal("0.00000001"), Decimal("123456.789"), Decimal(90_000_000)]),
)
_SIZES = st.one_of(st.just(Decimal(0)), st.integers(1, 10**6).map(lambda k: Decimal(k) / 1000))
_SIDE = st.lists(st.tuples(_PRICES, _SIZES), max_size=40)
_DELTAS = st.lists(st.tuples(_SIDE, _SIDE), min_size=1, max_size=25)


def _apply(side: dict[Decimal, Decimal], levels: list[tuple[Decimal, Decimal]]) -> None:
    for price, size in levels:
        if size:
            side[price] = size
        else:
            side.pop(price, None)


def _best_first(side: dict[Decimal, Decimal], reverse: bool) -> list[tuple[float, float]]:
    return [(float(p), float(side[p])) for p in sorted(side, reverse=reverse)]


@settings(max_examples=tries(50), deadline=None)
@given(start=st.tuples(_SIDE, _SIDE), deltas=_DELTAS)
def test_book_equals_a_dictionary(
    start: tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]],
    deltas: list[tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]],
) -> None:
    rig = Rig("binance_spot")
    bids: dict[Decimal, Decimal] = {}
    asks: dict[Decimal, Decimal] = {}
    replayed: tuple[dict[float, float], dict[float, float]] = ({}, {})
    events = rig.send(binance_depth("AB", 1, 1, [], []))
    answer, more = rig.rest("AB", rest_depth(1, *start))
    assert answer == "joined"
    events += more
    _apply(bids, start[0])
    _apply(asks, start[1])
    for n, (b, a) in enumerate(deltas, 2):
        events += rig.send(binance_depth("AB", n, n, b, a))
        _apply(bids, b)
        _apply(asks, a)
        top = rig.shared_books().top(0)
        assert top.bids.tolist() == _best_first(bids, True)[:32]
        assert top.asks.tolist() == _best_first(asks, False)[:32]

    expected = (_best_first(bids, True), _best_first(asks, False))
    assert rig.levels("AB") == expected
    rig.pipeline.flush()
    deep = rig.shared_books().deep(0)
    assert (deep.bids.tolist(), deep.asks.tolist()) == (expected[0][:64], expected[1][:64])
    for event in events:
        if event["kind"] != "book":
            continue
        for side, levels in zip(replayed, (event["bids"], event["asks"]), strict=True):
            if event["action"] == "snapshot":
                side.clear()
            for price, size in levels:
                if size:
                    side[price] = size
                else:
                    side.pop(price, None)
    assert sorted(replayed[0].items(), reverse=True) == expected[0]
    assert sorted(replayed[1].items()) == expected[1]
    row = rig.shared_board()[0]
    best = expected[0][0] if expected[0] else (np.nan, np.nan)
    np.testing.assert_equal((row["book_bid_price"], row["book_bid_size"]), best)
    assert (row["bid_levels"], row["ask_levels"]) == (len(bids), len(asks))


def test_a_side_of_many_levels_stays_exact() -> None:
    """5,000 levels a side, drifting touch: the window moves and grows, nothing is lost."""
    rng = np.random.default_rng(7)
    rig = Rig("binance_spot", slots=1 << 16)
    bids = {Decimal(100_000 - k) / 100: Decimal(1) for k in range(5000)}
    asks = {Decimal(100_001 + k) / 100: Decimal(1) for k in range(5000)}
    rig.send(binance_depth("AB", 1, 1, [], []))
    rig.rest("AB", rest_depth(1, list(bids.items()), list(asks.items())))
    middle = 100_000
    for n in range(2, 400):
        middle += int(rng.integers(-60, 70))
        b: list[tuple[Decimal, Decimal]] = []
        a: list[tuple[Decimal, Decimal]] = []
        for _ in range(12):
            offset = int(rng.integers(0, 8000))
            b.append((Decimal(middle - offset) / 100, Decimal(int(rng.integers(0, 4)))))
            a.append((Decimal(middle + 1 + offset) / 100, Decimal(int(rng.integers(0, 4)))))
        # the touch moved: what it passed is taken away, as a venue does
        b += [(p, Decimal(0)) for p in bids if p > Decimal(middle) / 100]
        a += [(p, Decimal(0)) for p in asks if p <= Decimal(middle) / 100]
        rig.send(binance_depth("AB", n, n, b, a))
        _apply(bids, b)
        _apply(asks, a)
    assert rig.levels("AB") == (_best_first(bids, True), _best_first(asks, False))


def test_a_snapshot_longer_than_a_commit_is_bracketed_and_whole() -> None:
    rig = Rig("binance_spot", slots=1 << 14)
    levels = [(Decimal(k) / 100, Decimal(1)) for k in range(1, 8001)]
    rig.send(binance_depth("AB", 1, 1, [], []))
    _, events = rig.rest("AB", rest_depth(1, levels, [(p + 100, s) for p, s in levels]))
    (snapshot,) = [e for e in events if e["kind"] == "book"]
    assert snapshot["action"] == "snapshot"
    assert len(snapshot["bids"]) == len(snapshot["asks"]) == 8000
    assert "last" in snapshot["flags"]


@pytest.mark.parametrize("price", ["461168601842738790.4", "1844674407370955161.5"])
def test_a_price_beyond_what_a_key_holds_is_declared(price: str) -> None:
    """Not set far behind the window, where its key would be that of another price."""
    rig = Rig("binance_spot")
    rig.send(binance_depth("AB", 1, 1, [], []))
    one = Decimal(1)
    rig.rest("AB", rest_depth(1, [(Decimal("100.1"), one)], [(Decimal("100.2"), one)]))
    beyond = Decimal(price)
    rig.send(binance_depth("AB", 2, 2, [], [(Decimal("100.3"), one), (beyond, one)]))
    assert rig.pipeline.counters()["book_overflows"] == 1
    assert rig.levels("AB") == ([], [])
