"""Frames that cannot be read: which books have lost something with them.

Books that are numbered show it with the next message. Of the others, those that the text names as a
book message of theirs are in gap at once; a book message that names none costs all of them (one gap
without an instrument), a frame that shows no sign of a book costs none.
"""

from __future__ import annotations

import re

from .book import Book
from .fields import Record, record
from .venue import Venue

BITGET = (rb"channel|topic", {b"books", b"books5", b"books15", b"books50"})
TOPICS = {
    "bitget_futures": BITGET,
    "bitget_spot": BITGET,
    "bitmex": (rb"table", {b"orderBookL2", b"orderBookL2_25", b"orderBook10"}),
    "coinbase_exchange": (rb"type", {b"snapshot", b"l2update"}),
    "kraken": (rb"channel", {b"book"}),
    "okx": (rb"channel", {b"books", b"books5", b"books-l2-tbt", b"books50-l2-tbt"}),
}


COUNTED = {"coinbase": (rb"channel", {b"l2_data"})}
"""Venues whose connections are numbered."""


def losses(venue: Venue, raw: bytes, ts_recv: int | None, counted: bool = False) -> list[Record]:
    """The gaps that a frame declares; the books leave ``live``. ``counted``: its number was read,
    so the next one will not show it."""
    counted = counted and venue.name in COUNTED
    if not counted and venue.name not in TOPICS:
        return []
    key, books = (COUNTED if counted else TOPICS)[venue.name]
    # a text with an odd byte, or that does not end its member, is none to rely on
    found = re.findall(rb'"(?:' + key + rb')"\s*:\s*"([^"\\\x00-\x1f\x7f-\xff]*)"\s*[,}\]]', raw)
    about = bool(books & set(found)) if found else None
    if about is False:
        return []
    mine = [(name, book) for name, book in venue.books.items() if _would_miss(book, counted)]
    named = {name for name in venue.books if _is_named(name, raw)}
    if named:
        lost = [(name, book) for name, book in mine if name in named]
    else:
        lost = mine if about else []
    for _, book in lost:
        book.state = "gap"
    names = [name for name, _ in lost] if named else [None] * bool(lost)
    gap = {"event": "gap", "expected": None, "got": None}
    return [record("status", name, None, ts_recv, **gap) for name in names]


def _would_miss(book: Book, counted: bool) -> bool:
    return book.state == "live" and (counted or book.sequence is None) and not book.is_window


def _is_named(name: str, raw: bytes) -> bool:
    return b'"' + name.partition(":")[2].encode() + b'"' in raw
