"""Values of one row of an instrument list: paths, conditions and sources of a ``[reference]``.

Texts keep the venue's spelling of a number until a column turns it into a float, so that decimals
are counted on what the venue wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, DecimalException
from functools import lru_cache
from typing import Any, NamedTuple

from feedd.venues.reference_schema import Condition, Lookup, Source, Sources

__all__ = ["Row", "decimal_of", "first", "holds", "regex", "source_text", "text_of", "values"]

_PLACES_MAX = 100
"""A decimal point moves by at most this many places."""

Step = tuple[str, str]
_PICK = re.compile(r"\[([^\]]*)\]")


class Row(NamedTuple):
    """One row: its JSON value, the answer that it came in, and texts that go with it."""

    node: Any
    root: Any = None
    names: Mapping[str, str] = {}


@lru_cache(maxsize=4096)
def _steps(path: str) -> tuple[Step, ...]:
    """("key", name), ("index", n), ("all", "") and ("member=", "value") steps of a path."""
    steps: list[Step] = []
    for part in re.split(r"\.(?![^\[]*\])", path):
        key, bracket, _ = part.partition("[")
        if key:
            steps.append(("key", key))
        for pick in _PICK.findall(part) if bracket else ():
            member, equals, value = pick.partition("=")
            if equals:
                steps.append((member + "=", value))
            else:
                steps.append(("all", "") if pick == "*" else ("index", pick))
    return tuple(steps)


def _walk(node: Any, steps: tuple[Step, ...]) -> Iterator[Any]:
    if not steps:
        if node is not None:
            yield node
        return
    (what, name), rest = steps[0], steps[1:]
    if what == "key":
        if isinstance(node, dict):
            yield from _walk(node.get(name), rest)
    elif what == "index":
        if isinstance(node, list) and int(name) < len(node):
            yield from _walk(node[int(name)], rest)
    elif what == "all":
        items = node.values() if isinstance(node, dict) else node
        for item in items if isinstance(node, (dict, list)) else ():
            yield from _walk(item, rest)
    elif isinstance(node, list):
        member = what[:-1]
        for item in node:
            if isinstance(item, dict) and text_of(item.get(member)) == name:
                yield from _walk(item, rest)


def values(row: Row, path: str) -> Iterator[Any]:
    """Every value at ``path``, none of them null."""
    steps = _steps(path)
    what, name = steps[0]
    if what == "key" and name.startswith("$"):
        yield from _walk(row.names.get(name[1:]), steps[1:])
    elif what == "key" and name == "@":
        yield from _walk(row.root, steps[1:])
    else:
        yield from _walk(row.node, steps)


def first(row: Row, path: str) -> Any:
    """The first value at ``path``, or None."""
    return next(values(row, path), None)


def text_of(value: Any) -> str:
    """A JSON value as the text that a venue file compares with; "" for null and containers."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, (int, float, Decimal)) else ""


def decimal_of(text: str) -> Decimal | None:
    """The number that a text is, exactly as written; None for none and for NaN and infinities."""
    try:
        value = Decimal(text)
    except DecimalException:
        return None
    return value if value.is_finite() else None


def holds(row: Row, when: Condition) -> bool:
    """Does the row fulfil every part of the condition?"""
    for path, wanted in when.items():
        text = text_of(first(row, path))
        if text not in ((wanted,) if isinstance(wanted, str) else wanted):
            return False
    return True


# ---- sources -------------------------------------------------------------------------------------


def source_text(row: Row, sources: Sources) -> str:
    """Text of the first source that has a value, "" for none."""
    for source in sources:
        if isinstance(source, str):
            text = text_of(first(row, source))
        elif holds(row, source.when):
            text = _source(row, source)
        else:
            continue
        if text:
            return text
    return ""


def _source(row: Row, source: Source) -> str:
    if source.value is not None:
        text = source.value
    else:
        text = text_of(first(row, source.path)) if source.path is not None else ""
    if source.lookup is not None and text:
        text = _looked_up(row, source.lookup, text)
    if source.match is not None and text:
        found = regex(source.match).fullmatch(text)
        text = "" if found is None else (found[1] or "" if found.re.groups else text)
    for pattern, new in source.replace.items():
        text = regex(pattern).sub(lambda _, new=new: new, text)  # type: ignore[misc]
    if source.map:
        text = source.map.get(text, "")
    if source.upper:
        text = text.upper()
    if text and source.prefix:
        text = source.prefix + text
    return _arithmetic(row, source, text) if text else ""


@lru_cache(maxsize=1024)
def regex(pattern: str) -> re.Pattern[str]:
    """Compiled once, however many rows it is tried on."""
    return re.compile(pattern)


def _looked_up(row: Row, lookup: Lookup, text: str) -> str:
    table = first(row, lookup.table)
    for item in table if isinstance(table, list) else ():
        other = Row(item, row.root, row.names)
        if text_of(first(other, lookup.key)) == text:
            return text_of(first(other, lookup.take))
    return ""


def _arithmetic(row: Row, source: Source, text: str) -> str:
    """``text`` with the source's arithmetic done, unchanged where it asks for none."""
    factors = (source.times, source.over, source.left, source.right)
    if factors == (None, None, None, None) and not source.shift and not source.abs:
        return text
    value = decimal_of(text)
    others = [None if p is None else decimal_of(text_of(first(row, p))) for p in factors]
    missing = any(p is not None and other is None for p, other in zip(factors, others, strict=True))
    if value is None or missing:
        return ""
    times, over, left, right = others
    places = Decimal(source.shift) + (right or Decimal(0)) - (left or Decimal(0))
    if abs(places) > _PLACES_MAX:
        return ""
    try:
        if times is not None:
            value *= times
        if over is not None:
            value /= over
        value = value.scaleb(int(places))
        return str(abs(value) if source.abs else value)
    except DecimalException:
        return ""
