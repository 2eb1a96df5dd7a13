"""Do the field paths of a channel fit into one tree of key tables, within the engine's bounds?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from feedd.toml_lines import KeyPath
from feedd.toml_lint import Issue
from feedd.venues.bounds import KEYS_MAX, PARENT_MAX, POSITIONS_MAX, SLOTS_MAX
from feedd.venues.schema import (
    Book,
    Channel,
    Decode,
    Field,
    FlagRule,
    RowFilter,
    SideRule,
    State,
    TimeField,
    Venue,
)

__all__ = ["field_problems", "inside", "message_paths"]

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
        elif isinstance(value, tuple):
            for index, path in enumerate(value):
                yield (*where, name, index), path, False
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
        names = [name for name in table.__struct_fields__ if name != "replay"]
        yield from _uses((*where, record), tuple(names), table)
        if record in ("trade", "liquidation") and isinstance(table.replay, RowFilter):
            yield (*where, record, "replay"), table.replay.path, False
    if channel.book is not None:
        yield from _book_uses((*where, "book"), channel.book)
    if channel.checksum is not None:
        yield from _uses((*where, "checksum"), ("path",), channel.checksum)
    if channel.state is not None:
        yield from _state_uses((*where, "state"), channel.state)


def _state_uses(where: KeyPath, state: State) -> Iterator[Use]:
    if state.word is not None:
        yield (*where, "word"), state.word, False
    for index, rule in enumerate(state.status):
        for path in rule.when:
            yield (*where, "status", index, "when"), path, False
    for index, path in enumerate(state.facts):
        yield (*where, "facts", index), path, False


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
        if path in members and path != "." and not path.startswith("@."):
            longer = next(other for other in leaves if other.startswith(path + "."))
            yield key, f'"{path}" cannot be a value: "{longer}" is inside it'
    for table, keys in members.items():
        if len(keys) > KEYS_MAX:
            owner = f'the object "{table}"' if table else "a row"
            yield where, f"{len(keys)} different keys of {owner}; at most {KEYS_MAX}"
    slots = sum(not levels for _, levels in leaves.values())
    if slots > SLOTS_MAX:
        yield where, f"{slots} different fields; at most {SLOTS_MAX}"
    if sum(path.startswith("^.") for path in leaves) > PARENT_MAX:
        yield where, f'at most {PARENT_MAX} different "^." fields'


def inside(path: str, other: str) -> bool:
    """Is one of the two paths the other one, or inside it?"""
    return path == other or path.startswith(other + ".") or other.startswith(path + ".")


def field_problems(name: str, channel: Channel, decode: Decode) -> Iterator[Issue]:
    """Paths that exclude each other, and channels that are larger than the engine's tables."""
    uses = list(_row_uses(name, channel))
    for key, path, _ in uses:
        if not path.startswith("^."):
            continue
        if channel.each is None:
            yield key, f'"{path}" needs the key "each": there is no row around the row'
        elif inside(path.removeprefix("^."), channel.each):
            yield key, f'"{path}" and each = "{channel.each}" exclude each other'
    if decode.only is not None:
        uses.append((("decode", "only"), decode.only.path, False))
    yield from _tree_problems(("channels", name), uses)
    if channel.book is not None and channel.book.rest is not None:
        where = ("channels", name, "book", "rest")
        yield from _tree_problems(where, list(_rest_uses(name, channel.book)))


def message_paths(venue: Venue) -> dict[str, KeyPath]:
    """Every ``@.`` path of the file, the values of a message that its channels ask for, and the
    key that names it first."""
    found: dict[str, KeyPath] = {}
    for name, channel in venue.channels.items():
        for key, path, _ in _row_uses(name, channel):
            if path.startswith("@."):
                found.setdefault(path, key)
        if channel.symbol_of_none is not None:
            found.setdefault(channel.symbol_of_none, ("channels", name, "symbol_of_none"))
    for index, envelope in enumerate(venue.decode.envelopes):
        where = ("decode", "envelopes", index)
        if envelope.when is not None:
            found.setdefault(envelope.when.path, (*where, "when", "path"))
        if envelope.control_if is not None:
            found.setdefault(envelope.control_if, (*where, "control_if"))
    if venue.decode.connection_sequence is not None:
        key = ("decode", "connection_sequence", "path")
        found.setdefault(venue.decode.connection_sequence.path, key)
    if venue.decode.only is not None and venue.decode.only.path.startswith("@."):
        found.setdefault(venue.decode.only.path, ("decode", "only", "path"))
    return found
