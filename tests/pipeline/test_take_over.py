"""A pipeline that published for itself goes on in the segments that another one wrote."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from feedd.records import BookState
from feedd.shm.board import BoardReader
from feedd.shm.books import BooksReader
from feedd.shm.counters import CountersReader, CountersWriter
from feedd.shm.ring import RingReader
from tests.pipeline.rig import Rig, deribit_book

X = "BTC-PERPETUAL"
BIDS = [(100.0 - i, 1.0 + i) for i in range(40)]
ASKS = [(101.0 + i, 2.0) for i in range(40)]


def ticker(**values: float) -> dict[str, Any]:
    data = {"timestamp": 1_700_000_000_000, "instrument_name": X, "state": "open", **values}
    channel = f"ticker.{X}.100ms"
    params = {"channel": channel, "data": data}
    return {"jsonrpc": "2.0", "method": "subscription", "params": params}


class Two:
    """One pipeline that writes to the segments of a reader, one that gets ready beside it."""

    def __init__(self) -> None:
        self.old, self.new = Rig("deribit"), Rig("deribit")
        self.counters = CountersWriter.private(3)
        self.old.send(deribit_book(X, 7, None, BIDS, ASKS))
        self.new.send(deribit_book(X, 7, None, BIDS, ASKS))

    def both(self, message: dict[str, Any]) -> None:
        self.old.send(message)
        self.new.send(message)

    def take_over(self) -> None:
        rig = self.old
        self.new.pipeline.take_over(rig.ring, rig.board, rig.books, self.counters, 2)

    @property
    def row(self) -> Any:
        return BoardReader(self.old.board).snapshot([0])[0]


@pytest.fixture
def two() -> Two:
    return Two()


def test_books_are_shown_as_of_the_last_record_of_the_ring(two: Two) -> None:
    two.both(deribit_book(X, 8, 7, [(100.0, 5.0)], []))
    for _ in range(20):
        two.old.send(ticker(mark_price=1.0))
    two.new.send(deribit_book(X, 9, 8, [(60.0, 9.0)], [(141.0, 4.0)]))  # was on the way
    held = RingReader(two.new.ring, start="oldest").read(4096)
    two.old.ring.put(held[-1:])
    head = two.old.ring.commit()
    two.take_over()
    shown = BooksReader(two.old.books)
    for view in (shown.top(0), shown.deep(0)):
        assert (view.state, view.sequence, view.ring_pos) == (BookState.LIVE, 9, head - 1)
    bids, asks = two.new.levels(X)
    assert shown.deep(0).bids.tolist() == bids[:64]
    assert shown.deep(0).asks.tolist() == asks[:64]
    assert shown.top(0).bids.tolist() == bids[:32]
    assert (two.row["ring_pos"], two.row["book_sequence"]) == (head - 1, 9)


def test_it_publishes_there_from_then_on(two: Two) -> None:
    two.take_over()
    reader = RingReader(two.old.ring)
    two.new.send(deribit_book(X, 8, 7, [(100.0, 5.0)], []))
    (record,) = reader.read()
    assert (record["sequence"], record["ring_seq"]) == (8, two.old.ring.head - 1)
    assert BooksReader(two.old.books).top(0).ring_pos == record["ring_seq"]
    assert two.row["book_bid_size"] == 5.0


def test_what_was_known_and_was_not_heard_again_stays(two: Two) -> None:
    two.old.send(ticker(mark_price=10.0, index_price=11.0, open_interest=5.0))
    two.new.send(ticker(mark_price=12.0))
    updates = two.row["updates"]
    two.take_over()
    row = two.row
    assert (row["mark"], row["index"], row["open_interest"]) == (12.0, 11.0, 5.0)
    assert np.isnan(row["funding_rate"])
    assert row["updates"] == updates, "what the new one did until now was for itself"
    two.new.send(deribit_book(X, 9, 8, [], []))  # 8 is missing
    assert two.row["gaps"] == 1


def test_counts_go_on_and_gauges_are_its_own(two: Two) -> None:
    words = two.counters.words(2)
    names = list(CountersReader(two.counters).reader(2))
    words[names.index("records")] = 1_000
    words[names.index("books_live")] = 77
    two.take_over()
    two.new.send(deribit_book(X, 8, 7, [(100.0, 5.0)], []))
    counts = CountersReader(two.counters).reader(2)
    assert counts["records"] == 1_001
    assert (counts["books_live"], counts["books_total"]) == (1, 1)
    two.new.send(deribit_book(X, 10, 9, [], []))
    assert CountersReader(two.counters).reader(2)["books_live"] == 0


def test_there_must_be_counters_of_that_reader(two: Two) -> None:
    with pytest.raises(ValueError, match="no counters of reader 2"):
        two.new.pipeline.take_over(
            two.old.ring, two.old.board, two.old.books, CountersWriter.private(2), 2
        )
