"""Books of several venues against a dictionary of decimals, however they are sent and read.

Every message goes through two pipelines: one that reads as quickly as it can, one that reads
everything in full. Their records must be the same; the book that a consumer folds from them, the
shared book, its deep tier and the board must be what the dictionary says.
"""

from __future__ import annotations

import random
from decimal import Decimal

import numpy as np
import pytest

from feedd.client.fold import BookBuilder, FoldedBook
from feedd.records import RAW, BookState, Flag, Kind
from feedd.shm.board import BoardReader
from feedd.shm.books import BooksReader
from tests.fixtures.effort import seeds
from tests.pipeline.any_venue import FORMS, Coinbase, Form, Market, Spelling
from tests.pipeline.test_quick import Both

Sides = tuple[list[tuple[float, float]], list[tuple[float, float]]]
DEEP = 64
SYMBOLS = ("BTCUSDT", "AB", "1000SHIBUSDT-26SEP25-0d25-C")


class Session:
    def __init__(self, venue: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rng = random.Random(f"{venue}{seed}")
        self.venue = venue
        self.both = Both(venue, monkeypatch, "avx2" if seed % 2 else "")
        self.builder = BookBuilder()
        self.joined: dict[int, FoldedBook] = {}  # from the deep tier on
        self.messages = 0
        self.inexact = False

    def books(self, n: int) -> list[tuple[Form, Market, Spelling]]:
        rng = self.rng
        numbers = [0]
        found = []
        for symbol in SYMBOLS[:n]:
            form = FORMS[self.venue](symbol, rng)
            if isinstance(form, Coinbase):
                form.numbers = numbers
            form.last = rng.choice((1_000_000, 2**53 - 20, 2**62))
            market = Market(rng, crosses=form.crosses, negative=rng.random() < 0.3)
            spelling = Spelling(rng, form.quoted, odd=rng.choice((0, 0, 0.02, 0.4)))
            spelling.price_decimals = rng.choice((None, 1, 2, 8))
            spelling.size_decimals = rng.choice((None, 3, 8))
            found.append((form, market, spelling))
        return found

    def start(self, form: Form, market: Market, spelling: Spelling) -> None:
        bids, asks = market.snapshot()
        if form.depths:
            market.cut(form.depths, True)
        if not form.by_rest:
            self.send(form.snapshot(spelling.levels(bids), spelling.levels(asks)))
            return
        self.send(form.change([], []))
        body = form.snapshot(spelling.levels(bids), spelling.levels(asks)).encode()
        for side in (self.both.fast, self.both.full):
            rest = side.pipeline.on_rest_snapshot  # its records come with the next message
            rest(side.handle, form.symbol, body, self.both.t, True)

    def send(self, text: str) -> None:
        self.messages += 1
        records = np.frombuffer(self.both.send(text.encode(), step=1_000_000), RAW)
        self.builder.apply(records)
        for book in self.joined.values():
            book.fold(records)
        books = records[(records["kind"] == Kind.BOOK) & (records["ts_recv"] == self.both.t)]
        self.inexact |= bool((books["flags"] & Flag.INEXACT).any())

    def check(self, row: int, market: Market, deep: bool) -> None:
        want = market.best_first()
        name = self.both.fast.symbols[row]
        assert self.both.fast.pipeline.book_levels(self.both.fast.handle, name) == want
        folded = self.builder[row]
        assert folded.state.name == "LIVE"
        assert folded.bids.tolist() == want[0]
        assert folded.asks.tolist() == want[1]
        top = BooksReader(self.both.fast.books).top(row)
        assert top.bids.tolist() == want[0][:32]
        assert top.asks.tolist() == want[1][:32]
        shown = BoardReader(self.both.fast.board).snapshot()[row]
        for side, levels in zip(("bid", "ask"), want, strict=True):
            best = levels[0] if levels else (np.nan, np.nan)
            np.testing.assert_equal((shown[f"book_{side}_price"], shown[f"book_{side}_size"]), best)
            assert shown[f"{side}_levels"] == len(levels)
        if row in self.joined:
            self.check_joined(row, want)
        if deep:
            self.both.fast.pipeline.flush()
            self.both.full.pipeline.flush()
            view = BooksReader(self.both.fast.books).deep(row)
            assert (view.bids.tolist(), view.asks.tolist()) == (want[0][:DEEP], want[1][:DEEP])
            self.joined[row] = FoldedBook(row)
            self.joined[row].seed(
                view.bids,
                view.asks,
                sequence=view.sequence,
                ring_pos=view.ring_pos,
                cut=(len(want[0]) > DEEP, len(want[1]) > DEEP),
            )

    def check_joined(self, row: int, want: Sides) -> None:
        """A book that a consumer joined in its middle: as deep as what it was shown reaches."""
        book = self.joined[row]
        for shown, all_of_it in zip((book.bids.tolist(), book.asks.tolist()), want, strict=True):
            assert shown == all_of_it[: len(shown)]
            if not shown and all_of_it:
                assert book.state is BookState.GAP
        if book.state is BookState.GAP:
            del self.joined[row]


def not_exact(texts: list[str]) -> bool:
    """Is one of them not the shortest form of the float64 nearest to it?"""
    return any(Decimal(repr(float(text))) != Decimal(text) for text in texts)


@pytest.mark.parametrize("seed", seeds(2))
@pytest.mark.parametrize("venue", FORMS)
def test_books_are_what_was_said(venue: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(venue, seed, monkeypatch)
    rng = session.rng
    books = session.books(rng.randrange(1, 4))
    for form, market, spelling in books:
        session.start(form, market, spelling)
    for _ in range(150):
        row = rng.randrange(len(books))
        form, market, spelling = books[row]
        again = not form.by_rest and rng.random() < 0.02
        bids, asks = market.snapshot() if again or form.whole else market.change()
        if form.depths:
            market.cut(form.depths, again)
        spelling.texts.clear()
        levels = spelling.levels(bids), spelling.levels(asks)
        session.inexact = False
        for text in [form.snapshot(*levels)] if again else form.messages(*levels):
            session.send(text)
        assert session.inexact == not_exact(spelling.texts)
        session.check(row, market, deep=rng.random() < 0.1)
    session.both.check()
    counters = session.both.fast.pipeline.counters()
    assert counters["gaps"] == counters["book_overflows"] == counters["bad_frames"] == 0


@pytest.mark.parametrize("seed", seeds(1))
def test_books_of_many_thousand_levels(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a window holds, changed by thousands at a time, their scale among it."""
    session = Session("deribit", seed, monkeypatch)
    form, market, spelling = session.books(1)[0]
    market.touch, market.decimals, market.spread = 6_100_000, 2, 1 << 17
    spelling.odd = 0
    session.send(form.snapshot(*map(spelling.levels, market.snapshot(35_000))))
    for i in range(4):
        market.quiet = 2_000
        session.send(form.change(*map(spelling.levels, market.change())))
        session.check(0, market, deep=i % 2 == 0)
        market.decimals += i == 1
    session.both.check()


EDGES = [
    *(str(2**60 + n) for n in (-1, 0, 1)),
    *(str(10**n) for n in (15, 16, 17, 18, 19, 20)),
    *(f"{2**60 + n:d}"[:-9] + "." + f"{2**60 + n:d}"[-9:] for n in (-1, 0, 1)),
    *("0." + "0" * n + "1" for n in (0, 8, 15, 16, 17, 18, 19, 30)),
    *("1152921504606846976e-18", "1.152921504606846976", "1.152921504606846977", "9e18", "1e-17"),
    *("9223372036854775807", "9223372036854775808", "9999999999999999999", "1e300", "1e-300"),
    *(f"-{n}" for n in ("0.5", "1", "12345678901234567", "1152921504606846976", "1e-18")),
    *("12345678901234567", "123456789012345678.9", "0", "-0", "1", "2.5", "300.25", "1e2", "64"),
]  # fmt: skip
KEY_MAX = 2**60
DECIMALS_MAX = 18


def decimals_of(price: Decimal) -> int:
    exponent = price.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return max(0, -exponent) if price else 0


@pytest.mark.parametrize("seed", seeds(10))
def test_prices_at_the_edge_are_kept_or_declared(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A price that the scale of its book does not hold costs the book, and is said; it is never
    taken for another one."""
    session = Session("deribit", seed, monkeypatch)
    rng = session.rng
    form = FORMS["deribit"]("X", rng)
    pipeline, handle = session.both.fast.pipeline, session.both.fast.handle
    model: tuple[dict[Decimal, float], dict[Decimal, float]] = ({}, {})
    lost = True
    scale = overflows = 0  # the scale may be that of prices that are gone
    edges = rng.sample(EDGES, rng.randrange(2, len(EDGES)))
    for _ in range(60):
        again = lost or rng.random() < 0.1
        sizes = ("1", "2.5") if again else ("0", "1", "2.5")
        levels = [
            [(rng.choice(edges), rng.choice(sizes)) for _ in range(rng.randrange(4))]
            for _ in range(2)
        ]
        session.send((form.snapshot if again else form.change)(*levels))
        most = max(
            (abs(price) for side in model for price in side if not again), default=Decimal(0)
        )
        for side, changes in zip(model, levels, strict=True):
            if again:
                side.clear()
            for text, size in changes:
                price = Decimal(text)
                most = max(most, abs(price))
                if abs(price) * 10**DECIMALS_MAX == int(abs(price) * 10**DECIMALS_MAX):
                    scale = max(scale, decimals_of(price))
                else:
                    most = Decimal("inf")
                side.pop(price, None)
                if float(size):
                    side[price] = float(size)
        lost = pipeline.counters()["book_overflows"] > overflows
        overflows += lost
        if lost:
            assert pipeline.book_levels(handle, "X") == ([], [])
            assert most * 10**scale > KEY_MAX
        else:
            assert pipeline.book_levels(handle, "X") == (
                [(float(p), s) for p, s in sorted(model[0].items(), reverse=True)],
                [(float(p), s) for p, s in sorted(model[1].items())],
            )
    session.both.check()
