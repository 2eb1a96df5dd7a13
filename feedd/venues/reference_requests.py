"""The requests of a ``[reference]`` table: filled in, recognised in recorded URLs, page by page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from feedd.venues.reference_schema import Page, Reference, Request
from feedd.venues.reference_values import Row, first, text_of

__all__ = ["HOLE", "filled", "match_url", "next_page", "paged", "requests_of"]

_DISAGREES = 1_000
HOLE = re.compile(r"\{([a-z][a-z0-9_]*)\}")


@lru_cache(maxsize=256)
def _plain(path: str) -> Request:
    return Request(path=path)


def requests_of(reference: Reference) -> list[Request]:
    """The requests of the table, each as a ``Request``."""
    return [_plain(r) if isinstance(r, str) else r for r in reference.requests]


def _fill(template: Any, names: Mapping[str, str]) -> Any:
    if isinstance(template, dict):
        return {key: _fill(value, names) for key, value in template.items()}
    if isinstance(template, list):
        return [_fill(value, names) for value in template]
    if isinstance(template, str):
        # a value that is exactly a placeholder: the text goes in as JSON, never pasted into it
        hole = HOLE.fullmatch(template)
        return names.get(hole[1], template) if hole is not None else template
    return template


def filled(request: Request, names: Mapping[str, str]) -> tuple[str, dict[str, Any] | None]:
    """Path with query (values percent-encoded) and JSON body of one request."""

    def fill(match: re.Match[str]) -> str:
        return quote(names[match[1]], safe="") if match[1] in names else match[0]

    body = None if request.body is None else _fill(request.body, names)
    return HOLE.sub(fill, request.path), body


# ---- pages ---------------------------------------------------------------------------------------


def next_page(page: Page, body: Any, rows: int, rows_so_far: int) -> str | None:
    """What ``page.parameter`` says to get the next page; None: this was the last one.

    ``body`` is the decoded answer, ``rows`` how many rows it listed.
    """
    if page.cursor is not None:
        return text_of(first(Row(body, body), page.cursor)) or None
    full = page.rows is not None and rows >= page.rows
    return str(rows_so_far) if full else None


def paged(path: str, page: Page, value: str) -> str:
    """``path`` asking for the page ``value``.

    Some cursors come percent-encoded and are meant to be sent as they came, others have bytes that
    a query cannot hold: decoding once before encoding serves both.
    """
    encoded = quote(unquote(value), safe="")
    return f"{path}{'&' if '?' in path else '?'}{page.parameter}={encoded}"


# ---- recorded URLs -------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _pattern(text: str, inside: str) -> re.Pattern[str]:
    parts = HOLE.split(text)
    out = [
        f"(?P<{part}>{inside})" if index % 2 else re.escape(part)
        for index, part in enumerate(parts)
    ]
    return re.compile("".join(out))


def _match(request: Request, url: str) -> tuple[int, dict[str, str]] | None:
    """(parts of the query that agree minus many for each that does not, placeholders); None: the
    paths differ."""
    wanted, given = urlsplit(request.path), urlsplit(url)
    # the base of the REST addresses may have moved: the end of the path decides
    steps = wanted.path.count("/")
    found = _pattern(wanted.path, "[^/]*").fullmatch("/" + "/".join(given.path.split("/")[-steps:]))
    if found is None:
        return None
    names = dict(found.groupdict())
    query = dict(parse_qsl(given.query, keep_blank_values=True))
    score = 0
    for key, value in parse_qsl(wanted.query, keep_blank_values=True):
        match = _pattern(value, ".*").fullmatch(query[key]) if key in query else None
        if match is not None:
            names.update(match.groupdict())
            score += 1
        elif key in query:
            score -= _DISAGREES
    return score, names


def match_url(reference: Reference, url: str) -> list[tuple[Request, dict[str, str]]]:
    """The requests that a recorded URL may be one of, with the values of their placeholders.

    The path must agree, behind whatever base; those whose query agrees best come first, and those
    whose query says something else only count when there are no others.
    """
    found = []
    for request in requests_of(reference):
        match = _match(request, url)
        if match is not None:
            found.append((match[0], request, match[1]))
    found.sort(key=lambda item: -item[0])
    agree = [item for item in found if item[0] >= 0]
    return [(request, names) for _, request, names in agree or found]
