"""Deep tiers stay within reach of the ring, and none has to wait for all others."""

from __future__ import annotations

import orjson
import pytest

from feedd import venues
from feedd.decode.plan import compile_plan
from feedd.pipeline.core import Pipeline
from feedd.shm.board import BoardWriter
from feedd.shm.books import BooksReader, BooksWriter
from feedd.shm.ring import RingWriter
from tests.pipeline.rig import deribit_book

BOOKS = 60
SLOTS = 1 << 10
DEPTH = 40


class Market:
    """Many books of one venue, all changed in turn."""

    def __init__(self, books: int = BOOKS) -> None:
        self.ring = RingWriter.private(SLOTS)
        self.books = BooksWriter.private([DEPTH] * books)
        self.pipeline = Pipeline(self.ring, BoardWriter.private(books), self.books)
        self.handle = self.pipeline.add_venue(compile_plan(venues.load("deribit")))
        self.symbols = [f"ETH-26MAR27-{1000 + n}-C" for n in range(books)]
        self.change = 1
        for row, symbol in enumerate(self.symbols):
            self.pipeline.add_instrument(self.handle, symbol, row, row, DEPTH)
            self.send(symbol, [(10 - i / 100, 1.0) for i in range(50)], first=True)

    def send(self, symbol: str, bids: list[tuple[float, float]], first: bool = False) -> int:
        """One message and its commit; how many deep tiers were written by it."""
        before = self.refreshes
        previous = None if first else self.change - 1
        message = deribit_book(symbol, self.change, previous, bids, [])
        self.pipeline.on_message(self.handle, orjson.dumps(message), 1)
        self.pipeline.commit()
        return self.refreshes - before

    def change_all(self) -> list[int]:
        self.change += 1
        return [self.send(symbol, [(9.9, float(self.change))]) for symbol in self.symbols]

    @property
    def refreshes(self) -> int:
        return self.pipeline.counters()["deep_refreshes"]

    def lags(self) -> list[int]:
        """Records since each deep tier was written."""
        reader = BooksReader(self.books)
        return [self.ring.head - 1 - reader.deep(row).ring_pos for row in range(self.books.n_rows)]


def test_deep_tiers_are_never_far_behind_and_come_one_by_one() -> None:
    market = Market()
    most = 0
    for _ in range(100):
        most = max(most, *market.change_all())
        assert max(market.lags()) <= SLOTS // 4 + SLOTS // 8 + BOOKS
    # 60 books in turn within 128 records: not more than two for each of the four that it looks back
    assert 0 < most <= 3


def test_a_tick_takes_up_where_the_last_one_ended() -> None:
    market = Market()
    market.change_all()
    reader = BooksReader(market.books)

    def behind() -> int:
        shown = [reader.deep(row) for row in range(BOOKS)]
        return sum((9.9, 2.0) not in view.bids.tolist() for view in shown)

    left = behind()
    assert left > 40
    while left:
        market.pipeline.tick(8)
        assert behind() == max(left - 8, 0)
        left = behind()
    refreshes = market.refreshes
    market.pipeline.tick(8)
    assert market.refreshes == refreshes, "nothing is behind"


def test_a_book_that_was_quiet_for_longer_than_the_ring_is_within_reach_at_once() -> None:
    market = Market(2)
    quiet, busy = market.symbols
    for _ in range(3 * SLOTS):
        market.change += 1
        market.send(busy, [(9.9, float(market.change))])
    shown = BooksReader(market.books)
    before = shown.deep(0)
    assert market.lags()[0] > SLOTS
    message = deribit_book(quiet, 2, 1, [(9.9, 7.0)], [])
    market.pipeline.on_message(market.handle, orjson.dumps(message), 1)
    market.pipeline.commit()
    after = shown.deep(0)
    assert after.ring_pos == market.ring.head - 2, "the record before the change"
    assert after.bids.tolist() == before.bids.tolist()
    assert after.sequence == before.sequence


@pytest.mark.parametrize("books", [1, 3])
def test_few_books_are_not_written_more_often_than_they_need(books: int) -> None:
    market = Market(books)
    start, head = market.refreshes, market.ring.head
    for _ in range(6000):
        market.change_all()
    rounds = (market.ring.head - head) / (SLOTS // 4)
    assert rounds * books * 0.6 < market.refreshes - start <= rounds * books + books
