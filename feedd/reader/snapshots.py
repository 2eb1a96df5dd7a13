"""Snapshots that books wait for: who was asked, when to ask again. Pure; ``now`` in ns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from feedd.clock import SECOND_NS

__all__ = ["STREAM_WAIT_S", "SnapshotDesk", "StreamDesk"]

FIRST_PAUSE_S = 0.25
PAUSE_MAX_S = 30.0
ANSWER_TIMEOUT_S = 60.0
STREAM_WAIT_S = 5.0
"""After a resubscription the snapshot is the first message: later it was lost."""


@dataclass(slots=True)
class _Book:
    failures: int = 0
    asked_at: int = 0  # 0: nothing under way
    again_at: int = 0  # 0: no retry planned


class SnapshotDesk:
    """At most one request per book; an unusable answer is asked for again, ever more slowly."""

    def __init__(self) -> None:
        self._books: dict[tuple[int, str], _Book] = {}

    def want(self, venue: int, symbol: str, now: int) -> bool:
        """The book wants a snapshot; True when the supervisor should be asked now."""
        book = self._books.setdefault((venue, symbol), _Book())
        if book.asked_at or book.again_at > now:
            return False
        book.asked_at = now
        book.again_at = 0
        return True

    def answered(self, venue: int, symbol: str, useful: bool, now: int) -> None:
        book = self._books.setdefault((venue, symbol), _Book())
        book.asked_at = 0
        if useful:
            book.failures = 0
            book.again_at = 0
            return
        pause_s = min(PAUSE_MAX_S, FIRST_PAUSE_S * 2.0 ** min(book.failures, 16))
        book.failures += 1
        book.again_at = now + int(pause_s * SECOND_NS)

    def due(self, now: int) -> list[tuple[int, str]]:
        """Books whose answer was no use and that should be asked for again."""
        out = []
        for key, book in self._books.items():
            if book.asked_at and now - book.asked_at > ANSWER_TIMEOUT_S * SECOND_NS:
                book.asked_at = 0
                book.again_at = now
            if book.again_at and now >= book.again_at and not book.asked_at:
                book.again_at = 0
                out.append(key)
        return out


class StreamDesk:
    """Resubscribed books, by (venue, symbol, channel): the snapshot must come in the stream.

    It can be lost like any message; then nothing but another resubscription brings one. The pause
    between those grows in the subscriptions of the connection.
    """

    def __init__(self) -> None:
        self._look_at: dict[tuple[int, str, str], int] = {}

    def asked(self, venue: int, symbol: str, channel: str, now: int) -> None:
        self._look_at[venue, symbol, channel] = now + int(STREAM_WAIT_S * SECOND_NS)

    def due(self, now: int, waits: Callable[[int, str], bool]) -> list[tuple[int, str, str]]:
        """Those that still wait although it is time: ask again."""
        ripe = [book for book, at in self._look_at.items() if now >= at]
        for book in ripe:
            del self._look_at[book]
        return [book for book in ripe if waits(book[0], book[1])]
