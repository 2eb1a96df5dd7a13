"""Checksums over the text of a book's levels, and books that are cut to a depth."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from decimal import Decimal
from itertools import zip_longest
from typing import Any

import pytest

from feedd.records import BookState
from tests.pipeline.lab import BOOKS, IN_STREAM, lab_venue, message
from tests.pipeline.rig import Rig, kinds

Side = dict[Decimal, str]  # price -> size as written
KRAKEN = {
    "path": "cs",
    "levels": 10,
    "order": "asks_then_bids",
    "join": "",
    "digits_only": True,
}
OKX = {"path": "cs", "signed": True, "levels": 25, "zero_is_none": True}
BITFINEX = {"signed": True, "levels": 25, "number": "javascript", "negative_asks": True}


def signed(value: int) -> int:
    return value - 2**32 if value >= 2**31 else value


def ordered(bids: Side, asks: Side) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    return (
        [(str(p), bids[p]) for p in sorted(bids, reverse=True)],
        [(str(p), asks[p]) for p in sorted(asks)],
    )


def kraken_sum(bids: Side, asks: Side) -> int:
    b, a = ordered(bids, asks)
    digits = [t.replace(".", "").lstrip("0") for level in a[:10] + b[:10] for t in level]
    return zlib.crc32("".join(digits).encode())


def okx_sum(bids: Side, asks: Side) -> int:
    b, a = ordered(bids, asks)
    pairs = [level for pair in zip_longest(b[:25], a[:25]) for level in pair if level]
    return signed(zlib.crc32(":".join(":".join(level) for level in pairs).encode()))


def checked(rule: dict[str, Any], **more: Any) -> Rig:
    return Rig(lab_venue({"policy": "checksum_only", **IN_STREAM, "checksum": rule, **more}))


# ---- worked examples of the venues' documents ----


def levels(text: str) -> list[tuple[str, str]]:
    return [(p, s) for p, s in (level.split("x") for level in text.split())]


def test_kraken_example() -> None:
    asks = levels(
        "45285.2x0.00100000 45286.4x1.54571953 45286.6x1.54571109 45289.6x1.54560911 "
        "45290.2x0.15890660 45291.8x1.54553491 45294.7x0.04454749 45296.1x0.35380000 "
        "45297.5x0.09945542 45299.5x0.18772827"
    )
    bids = levels(
        "45283.5x0.10000000 45283.4x1.54582015 45282.1x0.10000000 45281.0x0.10000000 "
        "45280.3x1.54592586 45279.0x0.07990000 45277.6x0.03310103 45277.5x0.30000000 "
        "45277.3x1.54602737 45276.6x0.15445238"
    )
    rig = checked(KRAKEN)
    good = message(bids, asks, snapshot=True, cs=3310070434, ms=0)
    assert kinds(rig.send(good)) == ["book:snapshot", "status:live"]


@pytest.mark.parametrize(
    ("bids", "asks", "expected"),
    [
        ("3366.1x7 3366x6", "3366.8x9 3368x8", -1881014294),
        ("3366.1x7", "3366.8x9 3368x8 3372x8", 831078360),
    ],
)
def test_okx_examples(bids: str, asks: str, expected: int) -> None:
    rig = checked(OKX)
    good = message(levels(bids), levels(asks), snapshot=True, cs=expected, ms=0)
    assert kinds(rig.send(good)) == ["book:snapshot", "status:live"]
    rig = checked(OKX)
    bad = message(levels(bids), levels(asks), snapshot=True, cs=expected + 1, ms=0)
    assert kinds(rig.send(bad)) == ["status:checksum", "status:resync"]


def bitfinex() -> Rig:
    return Rig(
        lab_venue(
            {"policy": "trust_tcp", **IN_STREAM, "checksum": BITFINEX},
            cs={
                "topics": ["cs.{symbol}"],
                "payload": "value",
                "same_stream_as": "book",
                "checksum": {"path": "."},
            },
        )
    )


def test_bitfinex_example_in_a_message_of_its_own() -> None:
    rig = bitfinex()
    bids, asks = levels("6000x1 5900x2.000"), levels("6100x3.0 6200x4")
    rig.send(message(bids, asks, snapshot=True, ms=0))
    assert rig.send({"t": "cs.X", "d": 1756193398}) == []
    events = rig.send({"t": "cs.X", "d": 1756193399})
    assert kinds(events) == ["status:checksum", "status:resync"]
    assert (events[0]["expected"], events[0]["got"]) == (1756193399, 1756193398)
    assert rig.send({"t": "cs.X", "d": 1}) == []  # once, until a snapshot


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0.0000005", "5e-7"),
        ("0.00000150", "0.0000015"),
        ("0.000001", "0.000001"),
        ("12300", "12300"),
        ("0.10", "0.1"),
        ("1e-7", "1e-7"),
        ("123456789012345678", "123456789012345680"),
        ("0.12345678901234567", "0.12345678901234566"),
    ],
)
def test_numbers_as_javascript_prints_them(text: str, shown: str) -> None:
    rig = bitfinex()
    rig.send(message([("7", text)], [], snapshot=True, ms=0))
    assert rig.send({"t": "cs.X", "d": signed(zlib.crc32(f"7:{shown}".encode()))}) == []
    assert kinds(rig.send({"t": "cs.X", "d": signed(zlib.crc32(b"7:0"))}))[0] == "status:checksum"


# ---- made-up books ----


@pytest.mark.parametrize(("rule", "total"), [(KRAKEN, kraken_sum), (OKX, okx_sum)])
@pytest.mark.parametrize("seed", range(4))
def test_every_message_of_a_random_book(
    rule: dict[str, Any], total: Callable[[Side, Side], int], seed: int
) -> None:
    rng = random.Random(seed)
    rig = checked(rule)
    sides: tuple[Side, Side] = ({}, {})
    for n in range(400):
        changed: tuple[list[Any], list[Any]] = ([], [])
        for side, change in zip(sides, changed, strict=True):
            for _ in range(rng.randint(40 if n == 0 else 0, 60 if n == 0 else 4)):
                ticks = rng.randint(1, 80) + (0 if side is sides[0] else 100)
                # the same price may be written with more or fewer decimals
                price = Decimal(ticks).scaleb(-1).quantize(Decimal(rng.choice(["0.1", "0.10"])))
                sizes = ["0.00100000", f"{rng.random() * 9:.8f}", "3", "0.000", "0.0"]
                size = rng.choice(sizes[: 3 if n == 0 else 5])  # a snapshot deletes nothing
                side.pop(price, None)
                if Decimal(size):
                    side[price] = size
                change.append((price, size))
        out = rig.send(message(*changed, snapshot=n == 0, cs=total(*sides), ms=n))
        assert [kind for kind in kinds(out) if kind.startswith("status")] == (
            ["status:live"] if n == 0 else []
        )
    wrong = (total(*sides) ^ 1) or 2
    events = rig.send(message([("0.1", "5")], cs=wrong, ms=1000))
    assert kinds(events) == ["status:checksum", "status:resync"]
    assert events[0]["expected"] == wrong % 2**32
    assert rig.state("X")[0] == BookState.CHECKSUM
    assert (Decimal("0.1") in sides[0]) == (0.1 in dict(rig.levels("X")[0]))  # not applied


def test_zero_means_none_where_the_venue_says_so() -> None:
    rig = checked(OKX)
    assert kinds(rig.send(message([("1", "1")], snapshot=True, cs=0, ms=0)))[-1] == "status:live"
    assert kinds(rig.send(message([("2", "1")], cs=0, ms=1))) == ["book:delta"]


def test_a_checksum_that_fails_for_everything_is_an_alarm_not_a_loop() -> None:
    rig = checked(KRAKEN)
    books = [f"S{n}" for n in range(6)]
    for symbol in books:
        rig.send(message([("10", "1")], snapshot=True, symbol=symbol, ms=0))
    events: list[dict[str, Any]] = []
    for n in range(1, 20):
        for symbol in books:
            snapshot = rig.state(symbol)[0] != BookState.LIVE
            sent = message([("10", str(n))], snapshot=snapshot, symbol=symbol, cs=n, ms=n)
            events += rig.send(sent)
    assert kinds(events).count("status:rule_changed") == 1
    assert rig.counters["checksum_rules_changed"] == 1
    resyncs = kinds(events).count("status:resync")
    assert resyncs == rig.counters["resyncs"] <= 10
    # the feed goes on, flagged
    (event,) = rig.send(message([("10", "99")], symbol="S0", cs=1, ms=99))
    assert event["kind"] == "book"
    assert "maybe_bad_book" in event["flags"]
    assert rig.levels("S0")[0] == [(10.0, 99.0)]
    assert rig.state("S0")[0] == BookState.CHECKSUM


def test_one_bad_book_does_not_change_the_rule() -> None:
    rig = checked(KRAKEN)
    good = zlib.crc32(b"101")
    for n in range(40):
        rig.send(message([("10", "1")], snapshot=True, symbol="G", cs=good, ms=n))
        rig.send(message([("10", "1")], snapshot=True, symbol="B", cs=5, ms=n))
    assert rig.counters["checksum_rules_changed"] == 0
    assert rig.state("B")[0] == BookState.CHECKSUM
    assert rig.state("G")[0] == BookState.LIVE


def test_a_rule_that_holds_again_heals_the_books() -> None:
    rig = checked(KRAKEN)
    for n in range(4):
        for symbol in "ABC":
            rig.send(message([("10", "1")], snapshot=True, symbol=symbol, cs=5, ms=n))
    assert rig.counters["checksum_rules_changed"] == 1
    events: list[dict[str, Any]] = []
    for n in range(10, 24):
        for symbol in "ABC":
            sent = message([("10", "1")], symbol=symbol, cs=zlib.crc32(b"101"), ms=n)
            events += rig.send(sent)
    assert kinds(events).count("status:rule_changed") == 1
    assert kinds(events).count("status:live") == 3
    assert [rig.state(symbol)[0] for symbol in "ABC"] == [BookState.LIVE] * 3


# ---- depth ----


def cut_rig(**more: Any) -> Rig:
    return Rig(
        lab_venue(
            {**BOOKS["plus_one"], "policy": "plus_one", "depth": {"values": [2, 4], **more}},
        )
    )


def test_levels_behind_the_depth_leave_as_deletes() -> None:
    rig = cut_rig()
    rig.send(message([("10", "1"), ("9", "1")], [("11", "1")], snapshot=True, u=1, ms=0))
    (event,) = rig.send(message([("9.5", "2")], [("12", "1"), ("13", "1")], u=2, ms=1))
    assert event["bids"] == [[9.5, 2.0], [9.0, 0.0]]
    assert event["asks"] == [[12.0, 1.0], [13.0, 1.0], [13.0, 0.0]]
    assert rig.levels("X") == ([(10.0, 1.0), (9.5, 2.0)], [(11.0, 1.0), (12.0, 1.0)])
    (event,) = rig.send(message([("10", "0")], u=3, ms=2))
    assert rig.levels("X")[0] == [(9.5, 2.0)]  # what was cut does not come back


def test_the_depth_is_the_least_that_holds_the_snapshot() -> None:
    rig = cut_rig()
    rig.send(message([("10", "1"), ("9", "1"), ("8", "1")], snapshot=True, u=1, ms=0))
    rig.send(message([("7", "1"), ("6", "1")], u=2, ms=1))
    assert [p for p, _ in rig.levels("X")[0]] == [10.0, 9.0, 8.0, 7.0]


def test_the_confirmed_depth_counts() -> None:
    rig = cut_rig(depth="result.depth", symbol="result.symbol")
    rig.pipeline.set_depth(rig.handle, "X", 4)
    rig.send(message([("10", "1")], snapshot=True, u=1, ms=0))
    rig.send(message([("9", "1"), ("8", "1"), ("7", "1"), ("6", "1")], u=2, ms=1))
    assert [p for p, _ in rig.levels("X")[0]] == [10.0, 9.0, 8.0, 7.0]


def test_checksum_and_depth_together() -> None:
    """Kraken's two: what is cut off does not count when better levels go."""
    rng = random.Random(5)
    rig = checked(KRAKEN, depth={"values": [12]})
    sides: tuple[Side, Side] = ({}, {})
    for n in range(600):
        changed: tuple[list[Any], list[Any]] = ([], [])
        for k, (side, change) in enumerate(zip(sides, changed, strict=True)):
            for _ in range(12 if n == 0 else rng.randint(0, 3)):
                price = Decimal(rng.randint(1, 40) + 50 * k).scaleb(-2)
                size = f"{rng.randint(1, 99)}.5000"
                if n and rng.random() < 0.5:
                    size = "0.0000"
                side.pop(price, None)
                if Decimal(size):
                    side[price] = size
                change.append((price, size))
            for price in sorted(side, reverse=k == 0)[12:]:
                del side[price]
        out = rig.send(message(*changed, snapshot=n == 0, cs=kraken_sum(*sides), ms=n))
        assert "status:checksum" not in kinds(out)
    bids, asks = rig.levels("X")
    assert [p for p, _ in bids] == [float(p) for p in sorted(sides[0], reverse=True)]
    assert [p for p, _ in asks] == [float(p) for p in sorted(sides[1])]
