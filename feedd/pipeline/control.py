"""What control messages say about data messages: channel numbers, subscribed depths.

Control messages are rare, so this is plain Python; what it finds goes into the native tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from feedd.venues.schema import Depth, Learn, RowFilter

__all__ = ["depths", "learned", "restarts"]

_HOLE = re.compile(r"\{([^{}]+)\}")


def _value(message: Any, path: str) -> Any:
    for step in path.split("."):
        if isinstance(message, Mapping):
            message = message.get(step)
        elif isinstance(message, list) and step.isdecimal() and int(step) < len(message):
            message = message[int(step)]
        else:
            return None
    return message


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _holds(message: Any, rule: RowFilter) -> bool:
    return _text(_value(message, rule.path)) in rule.values


def restarts(rule: Learn | None, raw: bytes) -> bool:
    """Does the message open a session on its connection?"""
    if rule is None or rule.restart is None:
        return False
    return _value(orjson.loads(raw), rule.restart) is not None


def learned(rule: Learn | None, raw: bytes) -> Iterator[tuple[int, bytes | None]]:
    """Channel numbers that the message hands out, each with its topic; None takes one back."""
    if rule is None:
        return
    message = orjson.loads(raw)
    forgets = bool(rule.forget) and all(_holds(message, each) for each in rule.forget)
    if not forgets and not all(_holds(message, each) for each in rule.when):
        return
    banned = rule.except_prefix
    if banned is not None and _text(_value(message, banned.path)).startswith(banned.values):
        return
    number = _value(message, rule.id)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**64:
        return
    if forgets:
        yield number, None
    else:
        topic = _HOLE.sub(lambda hole: _text(_value(message, hole[1])), rule.topic)
        yield number, topic.encode()


def depths(rules: Mapping[str, Depth], raw: bytes) -> Iterator[tuple[str, int]]:
    """Subscribed depths of books that the message confirms: symbol and number of levels."""
    for rule in rules.values():
        if rule.depth is None or rule.symbol is None:
            continue
        message = orjson.loads(raw)
        depth, symbol = _value(message, rule.depth), _value(message, rule.symbol)
        if isinstance(symbol, str) and depth in rule.values:
            yield symbol, int(depth)
