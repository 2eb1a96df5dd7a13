"""Mistakes in how a venue file describes a book: rule, snapshot, levels, checksum, REST."""

from __future__ import annotations

from collections.abc import Iterator

from feedd.toml_lint import Issue
from feedd.venues.bounds import (
    LEVEL_SIDE_TEXT_BYTES,
    LEVEL_SIDE_TEXTS_MAX,
    SNAPSHOT_PREVIOUS_MAX,
    TEXT_BYTES,
    TIMES_MAX,
)
from feedd.venues.schema import Book, Channel, LevelSide, RestDepth
from feedd.venues.templates import holes

__all__ = ["book_problems"]

_NEEDS: dict[str, tuple[str, ...]] = {
    "none_full": (),
    "prev_link": ("current", "previous"),
    "prev_link_rest": ("current", "previous", "first", "rest"),
    "range_plus_one": ("current", "first"),
    "range_plus_one_rest": ("current", "first", "rest"),
    "plus_one": ("current",),
    "checksum_only": ("checksum",),
    "keyed_rows": (),
    "trust_tcp": (),
}
_MAY: dict[str, tuple[str, ...]] = {
    "none_full": ("current",),
    "prev_link": ("checksum",),
    "plus_one": ("checksum",),
    # a number that only labels the records
    "trust_tcp": ("checksum", "current"),
    "checksum_only": ("current",),
    "keyed_rows": ("current",),
}
_RESYNC: dict[str, tuple[str, ...]] = {
    "none_full": ("none",),
    "prev_link": ("resubscribe", "reconnect"),
    "prev_link_rest": ("rest",),
    "range_plus_one": ("resubscribe", "reconnect"),
    "range_plus_one_rest": ("rest",),
    "plus_one": ("resubscribe", "reconnect"),
    "checksum_only": ("resubscribe", "reconnect"),
    "keyed_rows": ("resubscribe", "reconnect"),
    "trust_tcp": ("resubscribe", "reconnect"),
}
_IN_STREAM = tuple(policy for policy, ways in _RESYNC.items() if "resubscribe" in ways)
_Path = tuple[str, ...]


def book_problems(name: str, channel: Channel) -> Iterator[Issue]:
    """Every contradiction in the book of one channel."""
    book = channel.book
    if book is None:
        return
    path = ("channels", name, "book")
    needs = _NEEDS[book.policy]
    may = (*needs, *_MAY.get(book.policy, ()))
    for key in ("current", "previous", "first", "rest", "checksum"):
        there = getattr(book, key) is not None
        if there and key not in may:
            yield (*path, key), f'has no meaning with policy = "{book.policy}"'
        elif not there and key in needs:
            yield path, f'policy = "{book.policy}" needs the key "{key}"'
    ways = _RESYNC[book.policy]
    if book.resync not in ways:
        wanted = " or ".join(f'"{way}"' for way in ways)
        yield (*path, "resync"), f'policy = "{book.policy}" needs resync = {wanted}'
    yield from _snapshot_problems(path, book)
    yield from _list_problems(path, book, channel)
    if book.rest is not None:
        yield from _rest_problems((*path, "rest"), book.rest)


def _texts(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value or ()


def _snapshot_problems(path: _Path, book: Book) -> Iterator[Issue]:
    kinds = ("snapshot_type", "delta_type", "insert_type", "delete_type")
    if book.policy not in _IN_STREAM:
        for key in ("type", *kinds, "snapshot_previous"):
            if getattr(book, key):
                yield (*path, key), f'has no meaning with policy = "{book.policy}"'
        return
    texts = {key: _texts(getattr(book, key)) for key in kinds}
    if book.type is None:
        for key in kinds:
            if texts[key]:
                yield (*path, key), 'has no meaning without the key "type"'
    elif not (texts["snapshot_type"] or texts["delta_type"]):
        yield (*path, "type"), 'needs the key "snapshot_type" or "delta_type" beside it'
    seen: dict[str, str] = {}
    for key in kinds:
        for text in texts[key]:
            other = seen.setdefault(text, key)
            if other != key:
                yield (*path, key), f"is the same text as {other}"
            if len(text.encode()) > TEXT_BYTES:
                yield (*path, key), f"at most {TEXT_BYTES} bytes"
    if len(book.snapshot_previous) > SNAPSHOT_PREVIOUS_MAX:
        yield (*path, "snapshot_previous"), f"at most {SNAPSHOT_PREVIOUS_MAX} values"
    if book.snapshot_previous and book.previous is None:
        yield (*path, "snapshot_previous"), 'has no meaning without the key "previous"'


def _list_problems(path: _Path, book: Book, channel: Channel) -> Iterator[Issue]:
    """Where the levels are, and what one looks like."""
    two = [key for key in ("bids", "asks") if getattr(book, key) is not None]
    ways = [bool(two), book.levels is not None, book.rows]
    if sum(ways) != 1:
        yield path, 'the levels are in "bids" and "asks", or in "levels", or are the "rows"'
    if two and len(two) == 1:
        yield path, f'"{two[0]}" needs the other side beside it'
    if book.bids is not None and book.bids == book.asks:
        yield (*path, "asks"), "bids and asks are the same list"
    level = book.level
    key = (*path, "level")
    if level.price == level.size:
        yield key, "price and size are at the same position"
    if two and level.side is not None:
        yield (*key, "side"), 'has no meaning with "bids" and "asks"'
    if not two and level.side is None:
        yield key, 'both sides are in one place: it needs the key "side"'
    if level.side is not None:
        yield from _side_problems((*key, "side"), level.side)
    members = [level.price, level.size, level.count, level.side.at if level.side else None]
    kinds = {type(member) for member in members if member is not None}
    if len(kinds) > 1 and not book.rows:
        yield key, "a level is an array (positions) or an object (keys), not both"
    if (level.id is not None) != (book.policy == "keyed_rows"):
        yield (*key, "id"), 'belongs to policy = "keyed_rows", which needs it'
    if book.policy == "keyed_rows" and not book.rows:
        yield path, 'policy = "keyed_rows" needs rows = true'
    if book.snapshot == "rows" and channel.payload != "either":
        yield (*path, "snapshot"), 'needs payload = "either": a single row is a change'


def _side_problems(path: _Path, side: LevelSide) -> Iterator[Issue]:
    texts = [*side.bid, *side.ask]
    if side.sign and texts:
        yield (*path, "sign"), "the side is either a sign or a text"
    if not side.sign and not (side.bid and side.ask):
        yield path, 'needs texts for "bid" and for "ask", or sign = true'
    for text in sorted(set(side.bid) & set(side.ask)):
        yield path, f'"{text}" is in both bid and ask'
    if len(texts) > LEVEL_SIDE_TEXTS_MAX:
        yield path, f"at most {LEVEL_SIDE_TEXTS_MAX} texts in bid and ask together"
    for text in texts:
        if len(text.encode()) > LEVEL_SIDE_TEXT_BYTES:
            yield path, f'"{text}" is longer than {LEVEL_SIDE_TEXT_BYTES} bytes'


def _rest_problems(path: _Path, rest: RestDepth) -> Iterator[Issue]:
    if "{symbol}" not in rest.url and "{symbol_lower}" not in rest.url:
        yield (*path, "url"), "needs {symbol}"
    known = ("symbol", "symbol_lower", "limit")
    for hole in holes(rest.url):
        if hole not in known:
            shown = ", ".join(f"{{{name}}}" for name in known)
            yield (*path, "url"), f"unknown placeholder {{{hole}}}; known are {shown}"
    if not rest.url.startswith("/"):
        yield (*path, "url"), 'must start with "/": it is appended to rest_url'
    if rest.limit < 1:
        yield (*path, "limit"), "must be at least 1"
    if rest.bids == rest.asks:
        yield (*path, "asks"), "bids and asks are the same list"
    if len(rest.time) > TIMES_MAX:
        yield (*path, "time"), f"at most {TIMES_MAX} paths"
