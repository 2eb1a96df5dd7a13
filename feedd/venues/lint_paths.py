"""Do the field paths of a channel fit into one tree of key tables, within the engine's bounds?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from feedd.toml_lines import KeyPath
from feedd.toml_lint import Issue
from feedd.venues.schema import Book, Channel, Field, FlagRule, SideRule

__all__ = ["KEYS_MAX", "SLOTS_MAX", "field_problems"]

KEYS_MAX = 48
"""Different keys of one object that the engine's key tables hold."""
SLOTS_MAX = 60
"""Different fields of one channel."""
_LISTS = ("bids", "asks")

Use = tuple[KeyPath, str, bool]
"""Where the venue file names a path, the path, and whether it is a list of levels."""


def _uses(where: KeyPath, names: tuple[str, ...], table: Any) -> Iterator[Use]:
    for name in names:
        value = getattr(table, name)
        if isinstance(value, (Field, SideRule)):
            yield (*where, name), value.path, False
        elif isinstance(value, FlagRule):
            yield from _uses((*where, name), value.__struct_fields__, value)
        elif isinstance(value, str):
            yield (*where, name), value, name in _LISTS


def _row_uses(name: str, channel: Channel) -> Iterator[Use]:
    where: KeyPath = ("channels", name)
    if channel.symbol is not None:
        yield (*where, "symbol"), channel.symbol, False
    for index, path in enumerate(channel.time):
        yield (*where, "time", index), path, False
    for record in ("trade", "liquidation", "quote", "deriv", "greeks"):
        table = getattr(channel, record)
        if table is not None:
            yield from _uses((*where, record), table.__struct_fields__, table)
    if channel.book is not None:
        names = ("current", "previous", "first", "type", *_LISTS)
        yield from _uses((*where, "book"), names, channel.book)


def _rest_uses(name: str, book: Book) -> Iterator[Use]:
    where: KeyPath = ("channels", name, "book", "rest")
    if book.rest is not None:
        yield from _uses(where, ("id", "symbol", *_LISTS), book.rest)
        for index, path in enumerate(book.rest.time):
            yield (*where, "time", index), path, False


def _tree_problems(where: KeyPath, uses: list[Use]) -> Iterator[Issue]:
    leaves: dict[str, tuple[KeyPath, bool]] = {}
    members: dict[str, set[str]] = {}
    for key, path, levels in uses:
        parts = path.split(".")
        if not all(parts):
            yield key, f'"{path}" has an empty step'
            continue
        old = leaves.setdefault(path, (key, levels))
        if old[1] != levels:
            yield key, f'"{path}" is a value and a list of levels at once'
        for i, part in enumerate(parts):
            members.setdefault(".".join(parts[:i]), set()).add(part)
    for path, (key, _) in leaves.items():
        if path in members:
            inside = next(other for other in leaves if other.startswith(path + "."))
            yield key, f'"{path}" cannot be a value: "{inside}" is inside it'
    for table, keys in members.items():
        if len(keys) > KEYS_MAX:
            owner = f'the object "{table}"' if table else "a row"
            yield where, f"{len(keys)} different keys of {owner}; at most {KEYS_MAX}"
    slots = sum(not levels for _, levels in leaves.values())
    if slots > SLOTS_MAX:
        yield where, f"{slots} different fields; at most {SLOTS_MAX}"


def field_problems(name: str, channel: Channel) -> Iterator[Issue]:
    """Paths that exclude each other, and channels that are larger than the engine's tables."""
    yield from _tree_problems(("channels", name), list(_row_uses(name, channel)))
    if channel.book is not None and channel.book.rest is not None:
        where = ("channels", name, "book", "rest")
        yield from _tree_problems(where, list(_rest_uses(name, channel.book)))
