"""A writer that loses its processor inside a row is waited for; one that does not come back has
left nothing, and nothing is made up in its place."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest

import feedd
from feedd.client.feed import Feed
from feedd.records import BookState, Kind
from tests.client.segments import Daemon, book_records, ladder, record

NAME = "deribit:BTC-PERPETUAL"
AWAY_S = 0.02
"""Longer than all attempts without a pause, shorter than the patience."""


def while_away(inside: AbstractContextManager[None], read: Callable[[], object]) -> object:
    """What ``read`` returns that begins while the writer is away."""
    entered = threading.Event()

    def writer() -> None:
        with inside:
            entered.set()
            time.sleep(AWAY_S)

    thread = threading.Thread(target=writer)
    thread.start()
    entered.wait()
    try:
        return read()
    finally:
        thread.join()


@pytest.mark.parametrize(("lock", "depth"), [("lock", 20), ("deep_lock", None)])
def test_a_book_waits_for_its_writer(
    listed: Daemon, feed: Feed, lock: str, depth: int | None
) -> None:
    bids, asks = ladder(50)
    position = listed.put(book_records(0, bids, asks, snapshot=True))
    listed.share_book(0, 0, 0, bids, asks, ring_pos=position)
    shown = while_away(listed.inside_book(0, 0, lock), feed.book(NAME, depth=depth).refresh)
    assert isinstance(shown, feedd.BookSnapshot)
    assert (shown.state, shown.ring_pos) == (BookState.LIVE, position)
    assert shown.bids.tolist() == bids[:depth]
    assert shown.asks.tolist() == asks[:depth]


def test_a_board_waits_for_its_writer(listed: Daemon, feed: Feed) -> None:
    listed.share_board(0, 0, instrument=0, mark=1234.5, state=BookState.LIVE)
    board = while_away(listed.inside_row(0, 0), feed.board)
    assert isinstance(board, np.ndarray)
    assert (board["mark"].tolist(), board["state"].tolist()) == ([1234.5], [BookState.LIVE])


def test_no_book_is_made_of_the_middle_of_the_ring(listed: Daemon, feed: Feed) -> None:
    """The ring has lost the first slots of the snapshot, and holds the others."""
    bids, asks = ladder(300)
    slots = book_records(0, bids, asks, snapshot=True)
    first = int(listed.rings[0].head)
    position = listed.put(slots)
    listed.share_book(0, 0, 0, bids, asks, ring_pos=position)
    filler = np.concatenate([record(Kind.TRADE, 3)] * 512)
    while int(listed.rings[0].head) < first + listed.rings[0].capacity:
        listed.put(filler)
    book = feed.book(NAME, depth=64)
    with listed.inside_book(0, 0, "deep_lock"):
        for _ in range(3):
            away = book.refresh()
            assert (away.state, away.sequence, away.ring_pos) == (BookState.INIT, None, 0)
            assert (len(away.bids), len(away.asks)) == (0, 0)
    position = listed.put(filler[:1])
    listed.share_book(0, 0, 0, bids, asks, ring_pos=position)
    back = book.refresh()
    assert (back.state, back.ring_pos) == (BookState.LIVE, position)
    assert back.bids.tolist() == bids[:64]
    assert back.asks.tolist() == asks[:64]
