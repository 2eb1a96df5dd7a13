"""Read a TOML file into msgspec structs and tell all of its mistakes at once.

``msgspec.convert`` stops at the first mistake; then the same types are walked by hand, so that one
run lists every unknown, missing and wrong key with file, line and key path. A value is only
returned when there is no mistake at all.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from feedd.toml_lines import KeyPath, key_lines

__all__ = ["Document", "Issue", "Problem", "check", "expected_text", "parse", "read"]

T = TypeVar("T")
Issue = tuple[KeyPath | str, str]
"""A rule's finding: the key (a path, or dotted text) and what is wrong with it."""


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake; ``line`` is 0 when no line can be named."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.key}: {self.message}" if self.key else f"{where}: {self.message}"


def key_text(path: KeyPath) -> str:
    """``("a", "b", 0, "c d")`` as ``a.b[0]."c d"``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{part}"'
            text += f".{shown}" if text else shown
    return text


@dataclass(frozen=True)
class Document:
    """A parsed TOML text with the lines of its keys."""

    file: str
    data: dict[str, Any]
    text: str

    @cached_property
    def lines(self) -> dict[KeyPath, int]:
        """Only mistakes have to be found in the text."""
        return key_lines(self.text)

    def path(self, key: KeyPath | str) -> KeyPath:
        """A path for dotted text; an element of a list is found by index or by its ``name``."""
        if not isinstance(key, str):
            return key
        path: KeyPath = ()
        node: Any = self.data
        for part in re.sub(r"\[(\d+)\]", r".\1", key).split("."):
            if isinstance(node, list):
                index = _element(node, part)
                if index is None:
                    break
                path, node = (*path, index), node[index]
            else:
                path = (*path, part)
                node = node.get(part) if isinstance(node, dict) else None
        return path

    def line(self, path: KeyPath) -> int:
        """Line of the key, else of the nearest table around it, else 0."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def problem(self, key: KeyPath | str, message: str) -> Problem:
        path = self.path(key)
        text = key if isinstance(key, str) else key_text(path)
        return Problem(self.file, self.line(path), text, message)


def _element(items: list[Any], part: str) -> int | None:
    if part.isdigit():
        return int(part) if int(part) < len(items) else None
    for index, item in enumerate(items):
        if isinstance(item, dict) and item.get("name") == part:
            return index
    return None


def read(text: str | bytes, file: str) -> Document | Problem:
    """Parse TOML; what is no TOML is the one problem that can be told."""
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            return Problem(file, line, "", "not UTF-8 text: TOML files are UTF-8")
    if text.startswith("\ufeff"):
        return Problem(file, 1, "", "not valid TOML: begins with a byte order mark")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
        message = str(error)[: match.start()] if match else str(error)
        line = text.count("\n") + 1
        if match and match[1]:
            line = int(match[1])
        return Problem(file, line, "", f"not valid TOML: {message}")
    except RecursionError:
        return Problem(file, 0, "", "not valid TOML: arrays or tables are nested too deeply")
    return Document(file, data, text)


# ---- what a type expects, in words ---------------------------------------------------------------


def _bounds(low: Any, above: Any, high: Any, below: Any) -> str:
    if low is not None and high is not None:
        return f" from {low} to {high}"
    words = [
        f"{name} {limit}"
        for name, limit in (
            ("at least", low),
            ("more than", above),
            ("at most", high),
            ("less than", below),
        )
        if limit is not None
    ]
    return f" of {' and '.join(words)}" if words else ""


def _quoted(values: Iterable[Any]) -> str:
    return ", ".join(f'"{v}"' if isinstance(v, str) else str(v) for v in values)


def _choices(kind: inspect.Type) -> tuple[Any, ...] | None:
    if isinstance(kind, inspect.LiteralType):
        return tuple(kind.values)
    if isinstance(kind, inspect.EnumType):
        return tuple(member.value for member in kind.cls)
    return None


def expected_text(kind: inspect.Type) -> str:
    """What a value of this type looks like, in words."""
    kind = _plain(kind)
    choices = _choices(kind)
    if choices is not None:
        return _quoted(choices) if len(choices) == 1 else f"one of {_quoted(choices)}"
    if isinstance(kind, inspect.UnionType):
        options = [expected_text(t) for t in kind.types if not isinstance(t, inspect.NoneType)]
        return " or ".join(dict.fromkeys(options))
    if isinstance(kind, inspect.IntType):
        return "a whole number" + _bounds(kind.ge, kind.gt, kind.le, kind.lt)
    if isinstance(kind, inspect.FloatType):
        return "a number" + _bounds(kind.ge, kind.gt, kind.le, kind.lt)
    if isinstance(kind, (inspect.DictType, inspect.StructType)):
        return "a table"
    if isinstance(kind, inspect.BoolType):
        return "true or false"
    if isinstance(kind, inspect.StrType):
        return "text"
    item = getattr(kind, "item_type", None)
    if isinstance(item, inspect.Type):
        return f"a list (each element {expected_text(item)})"
    return type(kind).__name__.removesuffix("Type").lower()


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return f'the text "{value}"' if len(value) <= 60 else f'the text "{value[:57]}..."'
    return str(value)


def _plain(kind: inspect.Type) -> inspect.Type:
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    return kind


def _fits(kind: inspect.Type, value: Any) -> bool:
    """Is ``value`` of the outer form of ``kind``, whatever is inside?"""
    kind = _plain(kind)
    choices = _choices(kind)
    if choices is not None:
        return type(value) in {type(choice) for choice in choices}
    if isinstance(kind, inspect.BoolType):
        return isinstance(value, bool)
    if isinstance(kind, inspect.IntType):
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(kind, inspect.FloatType):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(kind, inspect.StrType):
        return isinstance(value, str)
    if isinstance(kind, (inspect.StructType, inspect.DictType)):
        return isinstance(value, dict)
    if isinstance(kind, inspect.UnionType):
        return any(_fits(option, value) for option in kind.types)
    if hasattr(kind, "item_type"):
        return isinstance(value, list)
    return not isinstance(kind, inspect.NoneType)


# ---- the walk ------------------------------------------------------------------------------------


def _names(kind: inspect.Type) -> set[str]:
    """Field names of a struct, or of the structs in a list of them or in an optional one."""
    kind = _plain(kind)
    if isinstance(kind, inspect.StructType):
        return {field.encode_name for field in kind.fields}
    if isinstance(kind, inspect.UnionType):
        return set().union(*map(_names, kind.types))
    item = getattr(kind, "item_type", None)
    return _names(item) if isinstance(item, inspect.Type) else set()


def _suggest(
    key: str, kind: inspect.StructType, outer: inspect.StructType | None, taken: set[str]
) -> tuple[str | None, str]:
    """The key that was probably meant (None: no idea) and the message about an unknown one."""
    names = {field.encode_name: field.type for field in kind.fields}
    near = difflib.get_close_matches(key, names, 1)
    if near:
        meant = near[0] if near[0] not in taken else None
        return meant, f'unknown key; did you mean "{near[0]}"?'
    inside = sorted(name for name, inner in names.items() if key in _names(inner))
    if inside:
        return None, f'unknown key; it belongs one table further in, into "{inside[0]}"'
    if outer is not None and key in _names(outer):
        return None, "unknown key; it belongs into a table further out"
    return None, f"unknown key; known are {', '.join(names)}"


class _Walk:
    """Collects the mistakes and builds the value all the same, mended where it was wrong, so that
    rules between keys can be checked in the same run. What rules say about a table with a mended
    key is not told: it would be a consequence of the mistake."""

    def __init__(self) -> None:
        self.issues: list[tuple[KeyPath, str]] = []
        self.mended: set[KeyPath] = set()

    def wrong(self, path: KeyPath, message: str, kind: inspect.Type, value: Any) -> Any:
        self.issues.append((path, message))
        self.mended.add(path)
        kinds = map(_plain, kind.types) if isinstance(kind, inspect.UnionType) else (kind,)
        texts = any(isinstance(one, inspect.StrType) for one in kinds)
        if texts and isinstance(value, (str, int, float)):
            return str(value)
        return _stand_in(kind)

    def walk(
        self, value: Any, kind: inspect.Type, path: KeyPath, outer: inspect.StructType | None
    ) -> Any:
        kind = _plain(kind)
        if isinstance(kind, inspect.AnyType):
            return value
        if isinstance(kind, inspect.UnionType):
            return self.union(value, kind, path, outer)
        if not _fits(kind, value):
            message = f"expected {expected_text(kind)}, got {_shown(value)}"
            return self.wrong(path, message, kind, value)
        if isinstance(kind, inspect.StructType):
            return self.struct(value, kind, path, outer)
        if isinstance(kind, inspect.DictType):
            for key in value:
                self.walk(key, kind.key_type, (*path, key), outer)
            return {k: self.walk(v, kind.value_type, (*path, k), outer) for k, v in value.items()}
        if isinstance(value, list) and hasattr(kind, "item_type"):
            for message in _length(value, kind, "element"):
                self.wrong(path, message, kind, value)
            items = [self.walk(v, kind.item_type, (*path, i), outer) for i, v in enumerate(value)]
            return _container(kind)(items)
        for message in _scalar(value, kind):
            return self.wrong(path, message, kind, value)
        return kind.cls(value) if isinstance(kind, inspect.EnumType) else value

    def struct(
        self,
        value: dict[str, Any],
        kind: inspect.StructType,
        path: KeyPath,
        outer: inspect.StructType | None,
    ) -> Any:
        fields = {field.encode_name: field for field in kind.fields}
        built: dict[str, Any] = {}
        for key, inner in value.items():
            name: str | None = key
            if key not in fields:
                name, message = _suggest(key, kind, outer, set(value))
                if kind.forbid_unknown_fields:
                    self.issues.append(((*path, key), message))
            if name is not None and name in fields:
                field = fields[name]
                built[field.name] = self.walk(inner, field.type, (*path, key), kind)
        for name, field in fields.items():
            if field.required and field.name not in built:
                message = f'the key "{name}" is missing: {expected_text(field.type)}'
                self.issues.append((path, message))
                self.mended.add((*path, name))
                built[field.name] = _stand_in(field.type)
        return kind.cls(**built)

    def union(
        self,
        value: Any,
        kind: inspect.UnionType,
        path: KeyPath,
        outer: inspect.StructType | None,
    ) -> Any:
        options = [option for option in kind.types if _fits(option, value)]
        if not options:
            message = f"expected {expected_text(kind)}, got {_shown(value)}"
            return self.wrong(path, message, kind, value)
        tries = []
        for option in options:
            attempt = _Walk()
            tries.append((attempt, attempt.walk(value, option, path, outer)))
        best, built = min(tries, key=lambda item: len(item[0].issues))
        self.issues += best.issues
        self.mended |= best.mended
        return built

    def hides(self, path: KeyPath) -> bool:
        """Is ``path`` at or inside a mended key, the table around one, or beside one?"""
        for mended in self.mended:
            table = mended[:-1]
            if path[: len(mended)] == mended or (table and table in (path, path[:-1])):
                return True
        return False


def _container(kind: inspect.Type) -> type:
    if isinstance(kind, inspect.ListType):
        return list
    if isinstance(kind, inspect.SetType):
        return set
    return frozenset if isinstance(kind, inspect.FrozenSetType) else tuple


def _stand_in(kind: inspect.Type) -> Any:
    """Some value of the type, in place of a missing or wrong one."""
    kind = _plain(kind)
    choices = _choices(kind)
    if choices is not None:
        return kind.cls(choices[0]) if isinstance(kind, inspect.EnumType) else choices[0]
    if isinstance(kind, inspect.UnionType):
        return _stand_in(kind.types[0])
    if isinstance(kind, inspect.StructType):
        needed = [field for field in kind.fields if field.required]
        return kind.cls(**{field.name: _stand_in(field.type) for field in needed})
    if isinstance(kind, inspect.DictType):
        return {}
    if isinstance(kind, inspect.StrType):
        return ""
    if isinstance(kind, (inspect.IntType, inspect.FloatType)):
        limits = [v for v in (kind.ge, kind.gt, kind.le, kind.lt) if v is not None]
        return limits[0] if limits else 0
    if hasattr(kind, "item_type"):
        return _container(kind)()
    return False if isinstance(kind, inspect.BoolType) else None


def _scalar(value: Any, kind: inspect.Type) -> Iterator[str]:
    choices = _choices(kind)
    if choices is not None:
        if value not in choices:
            near = difflib.get_close_matches(str(value), [str(c) for c in choices], 1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            yield f"expected {expected_text(kind)}, got {_shown(value)}{hint}"
    elif isinstance(kind, (inspect.IntType, inspect.FloatType)):
        low = kind.ge is not None and not value >= kind.ge
        low = low or (kind.gt is not None and not value > kind.gt)
        high = kind.le is not None and not value <= kind.le
        high = high or (kind.lt is not None and not value < kind.lt)
        if low or high:
            yield f"expected {expected_text(kind)}, got {value}"
    elif isinstance(kind, inspect.StrType):
        yield from _length(value, kind, "character")
        if kind.pattern is not None and re.search(kind.pattern, value) is None:
            yield f"{_shown(value)} is not of the form {kind.pattern}"


def _length(value: Any, kind: Any, unit: str) -> Iterator[str]:
    low, high = kind.min_length, kind.max_length
    if low is not None and len(value) < low:
        yield f"at least {low} {unit}{'s' * (low != 1)} needed, got {len(value)}"
    if high is not None and len(value) > high:
        yield f"at most {high} {unit}{'s' * (high != 1)} allowed, got {len(value)}"


def _converted(document: Document, kind: type[T]) -> T | Problem:
    """What the walk does not know (a struct's own ``__post_init__``) is msgspec's to tell."""
    try:
        return msgspec.convert(document.data, kind, strict=True)
    except msgspec.ValidationError as error:
        match = re.fullmatch(r"(?s)(.*?) - at `\$\.?(.*)`", str(error))
        if match is None:
            return Problem(document.file, 0, "", str(error))
        return document.problem(re.sub(r"\[\.\.\.\]", "", match[2]), match[1])


def check(
    document: Document, kind: type[T], rules: Callable[[T], Iterable[Issue]] | None = None
) -> tuple[T | None, list[Problem]]:
    """``document`` as ``kind``, or None, and all mistakes in the order of the file.

    ``rules`` sees the typed value and names what types cannot (values that contradict each other);
    where types are wrong it sees a mended value, and what it says about the mended is left out.
    """
    walk = _Walk()
    problems: list[Problem] = []
    value: T | None = None
    converted = _converted(document, kind)
    if isinstance(converted, Problem):
        try:
            built = walk.walk(document.data, inspect.type_info(kind), (), None)
        except (TypeError, ValueError):  # a struct's own __post_init__: _converted tells it
            built = None
        problems += [document.problem(key, message) for key, message in walk.issues]
        problems = problems or [converted]
    else:  # to walk a type of hundreds of keys takes longer than all the rest of a start
        value = built = converted
    if rules is not None and isinstance(built, kind):
        found = [(document.path(key), key, message) for key, message in rules(built)]
        problems += [
            document.problem(key, message) for path, key, message in found if not walk.hides(path)
        ]
    problems = sorted(dict.fromkeys(problems))
    return (None if problems else value), problems


def parse(
    text: str | bytes,
    file: str,
    kind: type[T],
    rules: Callable[[T], Iterable[Issue]] | None = None,
) -> tuple[T | None, list[Problem]]:
    """``read`` and ``check`` in one: the value, or None with at least one problem."""
    document = read(text, file)
    if isinstance(document, Problem):
        return None, [document]
    return check(document, kind, rules)
