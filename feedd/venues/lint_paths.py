"""Do the field paths of a channel fit into one tree of key tables, within the engine's bounds?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from feedd.toml_lines import KeyPath
from feedd.toml_lint import Issue
from feedd.venues.schema import (
    Book,
    Channel,
    Field,
    FlagRule,
    RowFilter,
    SideRule,
    TimeField,
    Venue,
)

__all__ = ["KEYS_MAX", "MESSAGE_PATHS_MAX", "SLOTS_MAX", "field_problems", "message_paths"]

KEYS_MAX = 48
"""Different keys of one object that the engine's key tables hold."""
SLOTS_MAX = 60
"""Different fields of one channel."""
POSITIONS_MAX = 32
"""Array elements that a path can name."""
PARENT_MAX = 16
"""Different fields of the row around nested rows."""
MESSAGE_PATHS_MAX = 24
"""Different fields of a message outside of its payload."""
_LISTS = ("bids", "asks", "levels")

Use = tuple[KeyPath, str, bool]
"""Where the venue file names a path, the path, and whether it is a list of levels."""


def _uses(where: KeyPath, names: tuple[str, ...], table: Any) -> Iterator[Use]:
    for name in names:
        value = getattr(table, name)
        if isinstance(value, (Field, SideRule, RowFilter, TimeField)):
            yield (*where, name), value.path, False
        elif isinstance(value, FlagRule):
            yield from _uses((*where, name), value.__struct_fields__, value)
        elif isinstance(value, str):
            yield (*where, name), value, name in _LISTS


def _book_uses(where: KeyPath, book: Book) -> Iterator[Use]:
    yield from _uses(where, ("current", "previous", "first", "type", *_LISTS), book)
    if book.checksum is not None:
        yield from _uses((*where, "checksum"), ("path",), book.checksum)
    if book.rows:
        level = (*where, "level")
        for name in ("price", "size", "count", "id"):
            member = getattr(book.level, name)
            if member is not None:
                yield (*level, name), str(member), False
        if book.level.side is not None:
            yield (*level, "side"), str(book.level.side.at), False


def _row_uses(name: str, channel: Channel) -> Iterator[Use]:
    where: KeyPath = ("channels", name)
    if channel.symbol is not None:
        yield (*where, "symbol"), channel.symbol, False
    if channel.only is not None:
        path = channel.only.path if isinstance(channel.only, RowFilter) else channel.only
        yield (*where, "only"), path, False
    for index, time in enumerate(channel.time):
        path = time.path if isinstance(time, TimeField) else time
        yield (*where, "time", index), path, False
    for record in ("trade", "liquidation", "quote", "deriv", "greeks"):
        table = getattr(channel, record)
        if table is None:
            continue
        names = [n for n in table.__struct_fields__ if getattr(table, n) != "rows"]
        yield from _uses((*where, record), tuple(names), table)
    if channel.book is not None:
        yield from _book_uses((*where, "book"), channel.book)
    if channel.checksum is not None:
        yield from _uses((*where, "checksum"), ("path",), channel.checksum)


def _rest_uses(name: str, book: Book) -> Iterator[Use]:
    where: KeyPath = ("channels", name, "book", "rest")
    if book.rest is not None:
        yield from _uses(where, ("id", "symbol", *_LISTS[:2]), book.rest)
        for index, path in enumerate(book.rest.time):
            yield (*where, "time", index), path, False


def _tree_problems(where: KeyPath, uses: list[Use]) -> Iterator[Issue]:
    leaves: dict[str, tuple[KeyPath, bool]] = {}
    members: dict[str, set[str]] = {}
    for key, path, levels in uses:
        parts = path.split(".") if path != "." else [path]
        if not all(parts):
            yield key, f'"{path}" has an empty step'
            continue
        if levels and parts[0] in ("@", "^"):
            yield key, f'"{path}": levels must be inside the row'
            continue
        if any(part.isdecimal() and int(part) >= POSITIONS_MAX for part in parts):
            yield key, f'"{path}": positions go up to {POSITIONS_MAX - 1}'
            continue
        old = leaves.setdefault(path, (key, levels))
        if old[1] != levels:
            yield key, f'"{path}" is a value and a list of levels at once'
        for i, part in enumerate(parts):
            members.setdefault(".".join(parts[:i]), set()).add(part)
    for path, (key, _) in leaves.items():
        if path in members and path != ".":
            inside = next(other for other in leaves if other.startswith(path + "."))
            yield key, f'"{path}" cannot be a value: "{inside}" is inside it'
    for table, keys in members.items():
        if len(keys) > KEYS_MAX:
            owner = f'the object "{table}"' if table else "a row"
            yield where, f"{len(keys)} different keys of {owner}; at most {KEYS_MAX}"
    slots = sum(not levels for _, levels in leaves.values())
    if slots > SLOTS_MAX:
        yield where, f"{slots} different fields; at most {SLOTS_MAX}"
    if sum(path.startswith("^.") for path in leaves) > PARENT_MAX:
        yield where, f'at most {PARENT_MAX} different "^." fields'


def field_problems(name: str, channel: Channel) -> Iterator[Issue]:
    """Paths that exclude each other, and channels that are larger than the engine's tables."""
    uses = list(_row_uses(name, channel))
    if channel.each is None:
        for key, path, _ in uses:
            if path.startswith("^."):
                yield key, f'"{path}" needs the key "each": there is no row around the row'
    yield from _tree_problems(("channels", name), uses)
    if channel.book is not None and channel.book.rest is not None:
        where = ("channels", name, "book", "rest")
        yield from _tree_problems(where, list(_rest_uses(name, channel.book)))


def message_paths(venue: Venue) -> set[str]:
    """Every ``@.`` path of the file: the values of a message that its channels ask for."""
    paths = {
        path
        for name, channel in venue.channels.items()
        for _, path, _ in _row_uses(name, channel)
        if path.startswith("@.")
    }
    paths |= {e.when.path for e in venue.decode.envelopes if e.when is not None}
    paths |= {e.control_if for e in venue.decode.envelopes if e.control_if is not None}
    for rule in (venue.decode.only, venue.decode.connection_sequence):
        if rule is not None and rule.path.startswith("@."):
            paths.add(rule.path)
    return paths
