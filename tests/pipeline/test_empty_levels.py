"""Levels of size zero in a snapshot: none, and none of their price before them."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fixtures.effort import tries
from tests.pipeline.rig import Rig

Levels = list[tuple[int, int]]
_LEVELS = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 3)), max_size=60)


def _snapshot(bids: Levels, asks: Levels) -> dict[str, Any]:
    sides = [[{"price": p, "qty": q} for p, q in side] for side in (bids, asks)]
    return {"feed": "book_snapshot", "product_id": "PI_XBTUSD", "timestamp": 1_723_000_000_000,
            "seq": 5, "bids": sides[0], "asks": sides[1]}  # fmt: skip


def _left(levels: Levels) -> dict[float, float]:
    found: dict[float, float] = {}
    for price, size in levels:
        if size:
            found[float(price)] = float(size)
        else:
            found.pop(float(price), None)
    return found


def _check(bids: Levels, asks: Levels) -> None:
    rig = Rig("kraken_futures")
    events = rig.send(_snapshot(bids, asks))
    shown = rig.levels("PI_XBTUSD")
    for (side, levels), sent in zip(zip(("bids", "asks"), shown, strict=True), (bids, asks),
                                    strict=True):  # fmt: skip
        assert dict(levels) == _left(sent)
        told = [level for event in events if event["kind"] == "book" for level in event[side]]
        assert all(size for _, size in told)
        assert dict(told) == _left(sent)


@settings(max_examples=tries(60), deadline=None)
@given(bids=_LEVELS, asks=_LEVELS)
def test_what_is_left_is_what_one_after_the_other_leaves(bids: Levels, asks: Levels) -> None:
    _check(bids, [(price + 20, size) for price, size in asks])


def test_a_snapshot_that_is_half_empty_takes_no_longer_for_that() -> None:
    """30,000 levels: each compared with each would take seconds."""
    rng = random.Random(1)
    bids = [(rng.randrange(1, 40_000), rng.randrange(2)) for _ in range(30_000)]
    _check(bids, [(50_000, 1)])
