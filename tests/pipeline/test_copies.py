"""Records without number or id over two lines: each once, old ones never after newer ones."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.pipeline.lab import BOOKS, T0, lab_venue
from tests.pipeline.rig import Rig, kinds

CHANNELS: dict[str, dict[str, Any]] = {
    "ticker": {
        "topics": ["ticker.{symbol}"],
        "time": ["ts"],
        "deriv": {"mark": "m", "open_interest": "oi"},
    },
    "quote": {
        "topics": ["quote.{symbol}"],
        "time": ["ts"],
        "quote": {"bid_price": "b", "bid_size": "B", "ask_price": "a", "ask_size": "A"},
    },
    "liquidations": {
        "topics": ["liq.{symbol}"],
        "time": ["ts"],
        "liquidation": {"price": "p", "size": "q"},
    },
}


def two() -> Rig:
    return Rig(lab_venue({"policy": "plus_one", **BOOKS["plus_one"]}, **CHANNELS))


def ticker(mark: float, ms: int | None) -> dict[str, Any]:
    data: dict[str, Any] = {"m": mark}
    if ms is not None:
        data["ts"] = T0 + ms
    return {"t": "ticker.X", "d": data}


def liquidation(price: int, ms: int) -> dict[str, Any]:
    return {"t": "liq.X", "d": {"ts": T0 + ms, "p": price, "q": 1}}


def test_a_copy_is_silent_also_the_very_first() -> None:
    rig = two()
    for n in range(5):
        assert kinds(rig.send(ticker(n, n), 0)) == ["deriv"]
    for n in range(5):
        assert rig.send(ticker(n, n), 1) == []
    assert kinds(rig.send(ticker(9, 9), 1)) == ["deriv"]
    assert rig.send(ticker(9, 9), 0) == []


def numbered(u: int) -> dict[str, Any]:
    data = {"u": u, "s": "AB", "b": "1", "B": str(u), "a": "2", "A": "1", "T": 1, "E": 1}
    return {"stream": "ab@bookTicker", "data": {"e": "bookTicker", **data}}


def test_a_line_far_behind_is_no_new_numbering() -> None:
    """Any number of old quotes from a lagging line is silent while the other goes on."""
    rig = Rig("binance_usdm")
    for u in range(100, 300):
        assert kinds(rig.send(numbered(u), 0)) == ["quote"]
        assert rig.send(numbered(u - 60), 1) == []


def test_a_numbering_that_starts_over_is_believed() -> None:
    """From the line that brought the last quote, or from any when that one has long been silent."""
    for line, silence_ns in ((0, 0), (1, 6_000_000_000)):
        rig = Rig("binance_usdm")
        assert kinds(rig.send(numbered(1_000), 0)) == ["quote"]
        rig.t += silence_ns
        heard = [kinds(rig.send(numbered(u), line)) for u in range(1, 41)]
        assert heard[:31] == [[]] * 31
        assert heard[31:] == [["quote"]] * 9


def test_one_line_alone_may_repeat_itself() -> None:
    rig = two()
    assert kinds(rig.send(ticker(1, 1)) + rig.send(ticker(1, 1))) == ["deriv"] * 2


def test_old_prices_do_not_come_after_newer_ones() -> None:
    rig = two()
    rig.send(ticker(1, 1), 0)
    rig.send(ticker(1, 1), 1)
    rig.send(ticker(3, 3), 0)  # line 0 lost the second
    assert rig.send(ticker(2, 2), 1) == []
    assert rig.send(ticker(3, 3), 1) == []
    assert rig.shared_board()["mark"][0] == 3


def test_prices_without_a_time_keep_their_order_too() -> None:
    rig = two()
    rig.send(ticker(1, None), 0)
    rig.send(ticker(1, None), 1)
    rig.send(ticker(3, None), 0)
    assert rig.send(ticker(2, None), 1) == []  # line 1 still lacks the third
    assert rig.send(ticker(3, None), 1) == []
    assert kinds(rig.send(ticker(1, None), 1)) == ["deriv"]  # back to an earlier value: news
    assert rig.send(ticker(1, None), 0) == []


def test_equal_liquidations_of_one_line_are_all_real() -> None:
    rig = two()
    first = liquidation(5, 1)
    assert kinds(rig.send(first, 0) + rig.send(first, 0)) == ["liquidation"] * 2
    assert rig.send(first, 1) == rig.send(first, 1) == []
    assert kinds(rig.send(first, 1)) == ["liquidation"]  # line 0 lost the third
    # a late one is published: an event is not replaced by a later one
    rig.send(liquidation(7, 9), 0)
    assert kinds(rig.send(liquidation(6, 5), 1)) == ["liquidation"]


@pytest.mark.parametrize("seed", range(6))
def test_any_interleaving_with_losses_and_new_connections(seed: int) -> None:
    rng = random.Random(seed)
    rig = two()
    stream = [liquidation(n, n // 2) for n in range(400)]
    at = [0, 0]
    lost: list[set[int]] = [set(), set()]
    seen = 0
    while min(at) < len(stream):
        line = rng.randint(0, 1)
        if at[line] == len(stream) or at[line] - at[1 - line] > 30:
            line = 1 - line
        index = at[line]
        at[line] += 1
        if rng.random() < 0.1 and index not in lost[1 - line] and at[1 - line] <= index:
            lost[line].add(index)
            continue
        if rng.random() < 0.02:
            rig.pipeline.line_down(rig.handle, line, rig.t)
            rig.drain()
            # the new connection goes on where the old one ended
        seen += len(rig.send(stream[index], line))
    assert seen == len(stream)


def test_quotes_with_the_number_of_their_frame_are_told_by_content() -> None:
    """Each connection counts its own frames: a lower number on another one is no older quote."""
    quote = CHANNELS["quote"]["quote"] | {"sequence": "@.n"}
    channels = {**CHANNELS, "quote": CHANNELS["quote"] | {"quote": quote}}
    decode = {"connection_sequence": {"path": "@.n", "first": 0}}
    rig = Rig(lab_venue({"policy": "trust_tcp", **BOOKS["trust_tcp"]}, decode, **channels))
    counts = {0: 1_000, 1: 0}

    def send(n: int, line: int) -> list[dict[str, Any]]:
        counts[line] += 1
        data = {"ts": T0 + n, "b": 10 + n, "B": 1, "a": 11 + n, "A": 1}
        return rig.send({"t": "quote.X", "n": counts[line], "d": data}, line)

    for n in range(3):
        (event,) = send(n, 0)
        assert (event["kind"], event["sequence"]) == ("quote", counts[0])
        assert send(n, 1) == []
    # the line with the higher count is gone: every quote of the other one is news
    for n in range(3, 9):
        assert kinds(send(n, 1)) == ["quote"]
