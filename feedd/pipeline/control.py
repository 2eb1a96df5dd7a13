"""What control messages say about data messages: channel numbers, subscribed depths.

Control messages are rare, so this is plain Python; what it finds goes into the native tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from feedd.venues.schema import Depth, Learn, RowFilter
from feedd.venues.templates import path_get, text_of

__all__ = ["Heard", "hear"]

_HOLE = re.compile(r"\{([^{}]+)\}")


class Heard(NamedTuple):
    """What one control message said.

    ``restarts``: it opens a session on its connection. ``topics``: channel numbers that it hands
    out, each with its topic, None takes one back. ``depths``: levels of books by symbol.
    """

    restarts: bool
    topics: list[tuple[int, bytes | None]]
    depths: list[tuple[str, int]]


def hear(learn: Learn | None, rules: Mapping[str, Depth], raw: bytes) -> Heard:
    """Read a control message by the venue's rules. Raises orjson.JSONDecodeError."""
    message = orjson.loads(raw)
    if learn is None:
        return Heard(False, [], list(_depths(rules, message)))
    restarts = learn.restart is not None and path_get(message, learn.restart) is not None
    return Heard(restarts, list(_topics(learn, message)), list(_depths(rules, message)))


def _text(message: Any, path: str) -> str:
    """The value there as text; a missing one, null, an object or a list is empty."""
    return text_of(path_get(message, path)) or ""


def _hold(message: Any, filters: tuple[RowFilter, ...]) -> bool:
    return all(_text(message, each.path) in each.values for each in filters)


def _topics(rule: Learn, message: Any) -> Iterator[tuple[int, bytes | None]]:
    forgets = bool(rule.forget) and _hold(message, rule.forget)
    if not forgets and not _hold(message, rule.when):
        return
    banned = rule.except_prefix
    if banned is not None and _text(message, banned.path).startswith(banned.values):
        return
    number = path_get(message, rule.id)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**64:
        return
    if forgets:
        yield number, None
    else:
        yield number, _HOLE.sub(lambda hole: _text(message, hole[1]), rule.topic).encode()


def _depths(rules: Mapping[str, Depth], message: Any) -> Iterator[tuple[str, int]]:
    for rule in rules.values():
        if rule.depth is None or rule.symbol is None:
            continue
        depth, symbol = path_get(message, rule.depth), path_get(message, rule.symbol)
        if isinstance(symbol, str) and depth in rule.values:
            yield symbol, int(depth)
