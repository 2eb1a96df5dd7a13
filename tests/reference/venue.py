"""What every venue module of the reference provides."""

from __future__ import annotations

from typing import Any

from .book import Book, Update, at_the_end
from .fields import Record, book_records
from .rows import Row
from .states import States


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

    def load_rest(self, rows: list[Row]) -> None:
        """Look through all rows of the session before the first one is decoded."""

    def request(self, value: Any) -> None:
        """A message that the client sent (an ``out`` row), where it matters what was asked for."""

    def finish(self) -> list[Record]:
        """The records that the end of the session brings."""
        out: list[Record] = []
        for name, book in self.books.items():
            out += book_records(name, at_the_end(book, self.snapshots.get(name, [])), None, None)
        return out

    def message(self, value: Any, ts_recv: int | None) -> list[Record]:
        """The records of one frame. A record may carry ``channel``: the scope of its trade id."""
        raise TypeError(f"{type(self).__name__} does not say how to read a message")
