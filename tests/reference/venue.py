"""What every venue module of the reference provides."""

from __future__ import annotations

from typing import Any

from .book import Book, Update, at_the_end
from .fields import Record, book_records
from .rows import Row
from .states import States

PAST_NS = 1_000_000_000


class Venue:
    """The defaults suit a venue whose snapshots come in the stream and whose frames are JSON.

    ``message`` must be all or nothing: it reads the whole frame (``BadMessage`` where it cannot)
    before it changes any book.
    """

    texts: frozenset[bytes] = frozenset()  # frames that are not JSON and say nothing ("pong")

    def __init__(self, name: str) -> None:
        self.name = name
        self.books: dict[str, Book] = {}
        self.snapshots: dict[str, list[Update]] = {}  # REST answers, where books start from them
        self.states = States(name)
        self.conn = ""  # connection of the row that is being read
        self.heard: set[tuple[str, str, str]] = set()

    def load_rest(self, rows: list[Row]) -> None:
        """Look through all rows of the session before the first one is decoded."""

    def request(self, value: Any) -> None:
        """A message that the client sent (an ``out`` row), where it matters what was asked for."""

    def with_past(self, channel: str, trades: list[Record]) -> list[Record]:
        """The trades of one frame; those that the first frame of a stream on its connection repeats
        from the past, which nothing marks, carry ``replay``: they are older than a second."""
        for name in {trade["instrument"] for trade in trades}:
            key = (self.conn, channel, name)
            if key in self.heard:
                continue
            self.heard.add(key)
            for trade in trades:
                times = trade["ts_recv"], trade["ts_event"]
                if trade["instrument"] == name and all(times) and times[0] - times[1] > PAST_NS:
                    trade["flags"].add("replay")
        return trades

    def count_unread(self, value: Any, ts_recv: int | None) -> list[Record] | None:
        """What the number of a frame shows that is JSON but not readable; None: it came before."""
        return []

    def finish(self) -> list[Record]:
        """The records that the end of the session brings."""
        out: list[Record] = []
        for name, book in self.books.items():
            out += book_records(name, at_the_end(book, self.snapshots.get(name, [])), None, None)
        return out

    def message(self, value: Any, ts_recv: int | None) -> list[Record]:
        """The records of one frame. A record may carry ``channel``: the scope of its trade id."""
        raise TypeError(f"{type(self).__name__} does not say how to read a message")
