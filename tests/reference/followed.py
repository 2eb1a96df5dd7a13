"""Books whose snapshots come in the stream and whose deltas follow each other by number.

Two ways to follow: a delta names the number before it (``LINK``) or counts one up (``COUNT``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .book import Book, Output, Update


@dataclass(frozen=True)
class Follow:
    """``expected`` of the last number must be what a delta has ``got``."""

    expected: Callable[[int], int]
    got: Callable[[Update], int | None]


LINK = Follow(expected=lambda last: last, got=lambda update: update.prev)
COUNT = Follow(expected=lambda last: last + 1, got=lambda update: update.last)


def on_followed(book: Book, update: Update, is_snapshot: bool, rule: Follow) -> Output:
    """One missing delta is one gap, also while the first snapshot is awaited."""
    if book.state != "live":
        return _on_waiting(book, update, is_snapshot, rule)
    if is_snapshot:
        return [] if _is_past(update, book.sequence, book.time) else book.replace(update)
    # A delta that follows is applied first: its own number may be smaller (a reset).
    if book.sequence is None or rule.got(update) == rule.expected(book.sequence):
        return book.apply(update)
    if _is_past(update, book.sequence, book.time):
        return []
    return _missing(book, update, book.sequence, rule)


def _is_past(update: Update, number: int | None, time: int | None) -> bool:
    """Nothing new, by the venue's numbers *and* its clock: a repeated or late message."""
    return (
        number is not None
        and update.last is not None
        and update.last <= number
        and (time is None or update.time is None or update.time <= time)
    )


def _on_waiting(book: Book, update: Update, is_snapshot: bool, rule: Follow) -> Output:
    """Deltas before the snapshot say only whether one is missing, and how old a snapshot is.

    Nothing is shown meanwhile, so numbers that went back (a reset) are no loss.
    """
    last = book.waiting
    if is_snapshot:
        overtaken = _is_past(update, last, book.time) and update.last != last
        return [] if overtaken else book.replace(update)
    if _is_past(update, last, None):
        return []
    if book.state == "syncing" and last is not None and rule.got(update) != rule.expected(last):
        return _missing(book, update, last, rule)
    book.waiting, book.time = update.last, update.time
    return []


def _missing(book: Book, update: Update, last: int, rule: Follow) -> Output:
    book.state = "gap"
    book.waiting, book.time = update.last, update.time
    return [("gap", rule.expected(last), rule.got(update))]
