"""What a message that cannot be read was about, as far as its text still says so.

Such messages are next to none, so this is plain Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from feedd.venues.schema import Venue

__all__ = ["Marks", "holds_book", "marks_of", "named_in"]

_HOLE = re.compile(r"\{[^{}]*\}")


class Marks(NamedTuple):
    """``topics`` finds the topics that a text names in full (None: they have no key to be known
    by), ``books`` are those of books, ``beside`` may stand next to a symbol."""

    topics: re.Pattern[bytes] | None
    books: re.Pattern[bytes]
    beside: bytes


def marks_of(venue: Venue) -> Marks:
    """By what to know the topics of a venue's books, and its symbols."""
    envelopes = [each for each in venue.decode.envelopes if each.topic is not None]
    keys = {str(each.topic).rpartition(".")[2] for each in envelopes}
    books = [
        pattern
        for each in envelopes
        for channel in venue.channels.values()
        if channel.book is not None
        for pattern in getattr(channel, each.match)
    ]
    topics = None
    if keys and not any(key.isdecimal() for key in keys):
        names = "|".join(re.escape(key) for key in sorted(keys))
        # a text that is cut short or holds something odd is none that can be relied on
        topics = re.compile(rf'"(?:{names})"\s*:\s*"([\x20!#-\[\]-~]*)"\s*[,}}\]]'.encode())
    patterns = "|".join(".*".join(map(re.escape, _HOLE.split(each))) for each in books)
    return Marks(
        topics, re.compile(f"(?:{patterns or '(?!)'})".encode()), venue.decode.delimiters.encode()
    )


def holds_book(marks: Marks, raw: bytes) -> bool | None:
    """Is the topic one of a book? None: the text does not name it any more."""
    found = [] if marks.topics is None else marks.topics.findall(raw)
    return any(marks.books.fullmatch(each) for each in found) if found else None


def named_in(marks: Marks, raw: bytes, symbols: Iterable[bytes]) -> Iterator[bool]:
    """Which of the symbols stand in the text as such, not as a part of a longer one?"""
    beside = b'["' + re.escape(marks.beside) + b"]"
    for symbol in symbols:
        yield symbol in raw and bool(re.search(beside + re.escape(symbol) + beside, raw))
