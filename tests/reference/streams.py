"""The book rule of venues that count their messages and send snapshots in the stream."""

from __future__ import annotations

from .book import Book, Output, Update


def is_old(book: Book, last: int | None) -> bool:
    """What the numbering of a live book shows as repeated or late is silent."""
    return (
        book.state == "live"
        and last is not None
        and book.sequence is not None
        and last <= book.sequence
    )


def on_counted(book: Book, update: Update, is_snapshot: bool) -> Output:
    """Numbers without holes: a delta starts right after the end of the one before."""
    if is_old(book, update.last):
        return []
    if is_snapshot:
        return book.replace(update)
    if book.state != "live":
        return []
    assert book.sequence is not None
    first = update.last if update.first is None else update.first
    if first == book.sequence + 1:
        return book.apply(update)
    book.state = "gap"
    return [("gap", book.sequence + 1, first)]
