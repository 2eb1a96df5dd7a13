"""Books of several venues against a dictionary of decimals, whatever is sent and however it is read.

Every message goes through two pipelines: one that reads as quickly as it can, one that reads
everything in full. Their records must be the same; the book that a consumer folds from them, the
shared book, its deep tier and the board must be what the dictionary says.
"""

from __future__ import annotations

import random
from decimal import Decimal

import numpy as np
import pytest

from feedd.client.fold import BookBuilder
from feedd.records import RAW, Flag, Kind
from feedd.shm.board import BoardReader
from feedd.shm.books import BooksReader
from tests.fixtures.effort import seeds
from tests.pipeline.any_venue import FORMS, Coinbase, Form, Market, Spelling
from tests.pipeline.test_quick import Both

DEEP = 64
SYMBOLS = ("BTCUSDT", "AB", "1000SHIBUSDT-26SEP25-0d25-C")


class Session:
    def __init__(self, venue: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rng = random.Random(f"{venue}{seed}")
        self.venue = venue
        self.both = Both(venue, monkeypatch, "avx2" if seed % 2 else "")
        self.builder = BookBuilder()
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
        books = records[(records["kind"] == Kind.BOOK) & (records["ts_recv"] == self.both.t)]
        self.inexact = bool((books["flags"] & Flag.INEXACT).any())

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
        if deep:
            self.both.fast.pipeline.flush()
            self.both.full.pipeline.flush()
            view = BooksReader(self.both.fast.books).deep(row)
            assert (view.bids.tolist(), view.asks.tolist()) == (want[0][:DEEP], want[1][:DEEP])


def not_exact(texts: list[str]) -> bool:
    """Is one of them not the shortest form of the float64 nearest to it?"""
    return any(Decimal(repr(float(text))) != Decimal(text) for text in texts)


@pytest.mark.parametrize("seed", seeds(4))
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
        write = form.snapshot if again else form.change
        session.send(write(spelling.levels(bids), spelling.levels(asks)))
        assert session.inexact == not_exact(spelling.texts)
        session.check(row, market, deep=rng.random() < 0.1)
    session.both.check()
    counters = session.both.fast.pipeline.counters()
    assert counters["gaps"] == counters["book_overflows"] == counters["bad_frames"] == 0
