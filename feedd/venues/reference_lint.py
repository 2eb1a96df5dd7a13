"""Mistakes of a ``[reference]`` table that types cannot see."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from feedd.toml_lines import KeyPath
from feedd.toml_lint import Issue
from feedd.venues.reference_requests import HOLE
from feedd.venues.reference_schema import Each, Page, Reference, Request, Source, Time

__all__ = ["reference_problems"]

_BUILTIN_NAMES = frozenset(("row", "key", "symbol"))
_RULES = ("kind", "contract", "size_unit", "status", "option_type")
_SOURCES = (
    "symbol", "base", "quote", "settle", "underlying", "tick", "price_step", "lot", "min_size",
    "contract_size", "strike",
)  # fmt: skip


def _regex_problem(pattern: str) -> str | None:
    try:
        re.compile(pattern)
    except re.error as error:
        return f'"{pattern}" is no regular expression: {error}'
    return None


# ---- requests ------------------------------------------------------------------------------------


def _holes(template: Any) -> set[str]:
    if isinstance(template, dict):
        return set().union(*map(_holes, template.values())) if template else set()
    if isinstance(template, list):
        return set().union(*map(_holes, template)) if template else set()
    return set(HOLE.findall(template)) if isinstance(template, str) else set()


def _each_problems(path: KeyPath, each: Each) -> Iterator[Issue]:
    if not each.values and each.request is None:
        yield path, 'needs the key "values" or the key "request"'
    if (each.request is None) != (each.path is None):
        yield path, 'the keys "request" and "path" belong together'
    if each.body is not None and each.request is None:
        yield (*path, "body"), 'has no meaning without the key "request"'


def _page_problems(path: KeyPath, page: Page) -> Iterator[Issue]:
    if (page.cursor is None) == (page.rows is None):
        yield path, 'exactly one of the keys "cursor" and "rows" is needed'


def _request_problems(path: KeyPath, request: Request) -> Iterator[Issue]:
    known = {request.each.name} if request.each is not None else set()
    used = _holes(request.path) | _holes(request.body)
    for hole in sorted(used - known):
        yield path, f"unknown placeholder {{{hole}}}: it needs an each with that name"
    for hole in sorted(known - used):
        yield (*path, "each"), f"the placeholder {{{hole}}} is used nowhere in path and body"
    if request.each is not None:
        yield from _each_problems((*path, "each"), request.each)
    if request.page is not None:
        yield from _page_problems((*path, "page"), request.page)
        if request.body is not None:
            yield (*path, "page"), "pages are asked for in the query, and this request is a POST"
    for name in sorted(set(request.set) & (_BUILTIN_NAMES | known)):
        yield (*path, "set", name), "the name is taken"


def _all_request_problems(reference: Reference) -> Iterator[Issue]:
    live = [r for r in reference.requests if isinstance(r, str) or r.live]
    if not live:
        yield ("reference", "requests"), "at least one request is needed"
    for index, request in enumerate(reference.requests):
        path = ("reference", "requests", index)
        if isinstance(request, Request):
            yield from _request_problems(path, request)
        elif HOLE.search(request):
            yield path, "a placeholder needs a table with an each"


# ---- columns -------------------------------------------------------------------------------------


def _names(reference: Reference) -> set[str]:
    names = set(_BUILTIN_NAMES)
    for request in reference.requests:
        if isinstance(request, Request):
            names |= set(request.set)
            if request.each is not None:
                names.add(request.each.name)
    for pattern in reference.grammar:
        if _regex_problem(pattern) is None:
            names |= set(re.compile(pattern).groupindex)
    return names | set(reference.define)


def _name_problems(where: KeyPath, path: str, known: set[str]) -> Iterator[Issue]:
    head = re.split(r"[.\[]", path, maxsplit=1)[0]
    if head.startswith("$") and head[1:] not in known:
        names = ", ".join(f"${name}" for name in sorted(known))
        yield where, f"unknown name {head}; known are {names}"


def _paths(value: Any) -> Iterator[str]:
    """The paths that a source, a rule or a time reads."""
    if isinstance(value, str):
        yield value
        return
    yield from value.when
    if isinstance(value, Source):
        for path in (value.path, value.times, value.over, value.left, value.right):
            if path is not None:
                yield path
    elif isinstance(value, Time):
        yield value.path


def _source_problems(path: KeyPath, source: Source) -> Iterator[Issue]:
    if (source.path is None) == (source.value is None):
        yield path, 'exactly one of the keys "path" and "value" is needed'
    for pattern in (source.match, *source.replace):
        problem = None if pattern is None else _regex_problem(pattern)
        if problem is not None:
            yield path, problem


def _final(row: Any) -> bool:
    """Does nothing after this source or rule count?"""
    if isinstance(row, (str, Time)) or row.when:
        return False
    if not isinstance(row, Source):
        return True
    changed = row.lookup or row.match or row.map or row.times or row.over or row.left or row.right
    return row.value is not None and not changed


def _column_problems(reference: Reference, column: str, known: set[str]) -> Iterator[Issue]:
    rows = getattr(reference, column)
    rows = () if rows is None else rows if isinstance(rows, tuple) else (rows,)
    yield from _rows_problems(("reference", column), rows, known)


def _rows_problems(where: KeyPath, rows: tuple[Any, ...], known: set[str]) -> Iterator[Issue]:
    reached = True
    for index, row in enumerate(rows):
        path = (*where, index)
        if isinstance(row, Source):
            yield from _source_problems(path, row)
        if not reached:
            yield path, "never reached: the rule before it holds for every row"
        for read in _paths(row):
            yield from _name_problems(path, read, known)
        reached = reached and not _final(row)


def reference_problems(reference: Reference) -> Iterator[Issue]:
    """Every contradiction in the table: ``(key path, message)``."""
    yield from _all_request_problems(reference)
    for index, pattern in enumerate(reference.grammar):
        problem = _regex_problem(pattern)
        if problem is not None:
            yield ("reference", "grammar", index), problem
    if not reference.symbol:
        yield ("reference", "symbol"), "at least one source is needed"
    known = _names(reference)
    for name, sources in reference.define.items():
        yield from _rows_problems(("reference", "define", name), sources, known)
    for column in (*_SOURCES, "expiry", "listed", *_RULES):
        yield from _column_problems(reference, column, known)
