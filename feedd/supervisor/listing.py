"""A venue's list of instruments over time: fetched whole, compared with the last one.

``fetch_list`` asks for every request of the ``[reference]`` table, with its fan-out and its pages.
``Listing`` is pure: it keeps what is known of one venue and says what a new list changes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from feedd.clock import SECOND_NS
from feedd.errors import VenueError
from feedd.shm.rows import InstrumentStatus
from feedd.supervisor.fetch import Fetcher, RefusedError
from feedd.venues.reference import InstrumentInfo, Parsed, json_of, parse_answer
from feedd.venues.reference_requests import filled, next_page, paged, requests_of
from feedd.venues.reference_schema import Each, Request
from feedd.venues.reference_values import Row, text_of, values
from feedd.venues.schema import Venue

__all__ = ["TOLD_S", "Diff", "Listing", "fetch_list", "next_fetch_s"]

log = logging.getLogger("feedd.supervisor")

MISSED_S = 60.0
"""An instrument that lists in a row leave out, for so long at least, is gone. What is said on a
channel asks for lists that are seconds apart: those may all come from one server that lags."""
VANISHED_MAX = 0.5
"""A list that leaves out a larger part of what should be there is not believed."""
TOLD_S = 60.0
"""How long what a channel said of an instrument counts against a list that says otherwise: the list
may be older than the word."""
EXPIRY_GRACE_S = 30.0
"""How long after an expiry the venue's list is expected to tell of it."""


# ---- one whole list ------------------------------------------------------------------------------


class _Source:
    """What one venue's requests have in common."""

    def __init__(self, venue: Venue, base: str, fetcher: Fetcher) -> None:
        assert venue.reference is not None  # noqa: S101 - the caller asks for venues with a list
        self.venue = venue
        self.reference = venue.reference
        self._base = base
        self._fetcher = fetcher
        self._weight = venue.session.rest.reference_weight

    async def json(self, path: str, body: dict[str, Any] | None) -> Any:
        response = await self._fetcher.get_ok(self._base + path, self._weight, body=body)
        where = f"{self.venue.name}: the answer of {path}"
        # a body of some megabytes takes a second: not in the loop's thread
        return await asyncio.to_thread(json_of, response.body, where)

    async def parsed(self, request: Request, answer: Any, names: dict[str, str]) -> Parsed:
        return await asyncio.to_thread(
            parse_answer, self.venue.name, self.reference, request, answer, names
        )


async def _each_values(source: _Source, each: Each) -> list[str]:
    found = dict.fromkeys(each.values)
    if each.request is not None and each.path is not None:
        answer = await source.json(each.request, each.body)
        listed = [text for value in values(Row(answer), each.path) if (text := text_of(value))]
        if not listed and not found:
            raise VenueError(
                f'{source.venue.name}: the answer of {each.request} lists nothing at "{each.path}"'
            )
        found.update(dict.fromkeys(listed))
    return list(found)


async def _pages(source: _Source, request: Request, names: dict[str, str]) -> list[InstrumentInfo]:
    first_path, body = filled(request, names)
    path: str | None = first_path
    found: list[InstrumentInfo] = []
    rows = pages = 0
    while path is not None:
        answer = await source.json(path, body)
        parsed = await source.parsed(request, answer, names)
        found += parsed.instruments
        rows += parsed.rows
        pages += 1
        if request.page is None:
            break
        following = next_page(request.page, answer, parsed.rows, rows)
        if following is not None and pages >= request.page.pages_max:
            raise VenueError(
                f"{source.venue.name}: {first_path} has more than {pages} pages of instruments"
            )
        path = None if following is None else paged(first_path, request.page, following)
    return found


async def fetch_list(venue: Venue, base: str, fetcher: Fetcher) -> list[InstrumentInfo]:
    """All instruments of the venue, one after the other request within its budget.

    Raises ``VenueError`` when any answer is missing or is none: a list is complete or not there.
    Only what the venue file calls optional may be refused.
    """
    source = _Source(venue, base, fetcher)
    found: dict[str, InstrumentInfo] = {}
    for request in requests_of(source.reference):
        if not request.live:
            continue
        each = request.each
        try:
            some = [""] if each is None else await _each_values(source, each)
            for value in some:
                names = {} if each is None else {each.name: value}
                for info in await _pages(source, request, names):
                    found[info.symbol] = info
        except RefusedError as exc:
            if not request.optional:
                raise
            log.info("%s", exc)
    return list(found.values())


# ---- what changed --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Diff:
    """What a new list says that the last one did not; every row as it is now."""

    venue: str
    added: tuple[InstrumentInfo, ...] = ()
    """New names, and those that had ended and are listed again."""
    changed: tuple[tuple[InstrumentInfo, InstrumentInfo], ...] = ()
    """(before, now) of the others that differ and have not ended."""
    ended: tuple[InstrumentInfo, ...] = ()
    """Expired or delisted: their status is EXPIRED."""
    doubt: str = ""
    """Why instruments that the list leaves out were not taken for gone, if they were not."""

    @property
    def rows(self) -> list[InstrumentInfo]:
        """Every row that is new in any way."""
        return [*self.added, *(now for _, now in self.changed), *self.ended]

    @property
    def started(self) -> list[InstrumentInfo]:
        """Instruments that are traded from now on, and were not before."""
        active = InstrumentStatus.ACTIVE
        opened = [now for old, now in self.changed if old.status is not active]
        return [info for info in (*self.added, *opened) if info.status is active]

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.ended)


def _same(a: InstrumentInfo, b: InstrumentInfo) -> bool:
    # NaN differs from itself: as text it does not
    return a == b or repr(a) == repr(b)


class Listing:
    """What is known of one venue's instruments. One thread; no clock of its own."""

    def __init__(self, venue: str, infos: Iterable[InstrumentInfo] = ()) -> None:
        self.venue = venue
        self._known: dict[str, InstrumentInfo] = {info.symbol: info for info in infos}
        self._misses: dict[str, int] = {}
        """When a list left them out first."""
        self._told: dict[str, tuple[InstrumentStatus, int]] = {}

    def __len__(self) -> int:
        return len(self._known)

    @property
    def infos(self) -> list[InstrumentInfo]:
        """All instruments ever listed, as they were last."""
        return list(self._known.values())

    def knows(self, symbol: str) -> bool:
        return symbol in self._known

    def told(self, symbol: str, status: InstrumentStatus, now: int) -> Diff | None:
        """A channel said what an instrument is; None: no list had it so far."""
        old = self._known.get(symbol)
        if old is None:
            return None
        self._told[symbol] = (status, now)
        if old.status is status:
            return Diff(self.venue)
        info = self._known[symbol] = msgspec.structs.replace(old, status=status)
        if _ended(info):
            return Diff(self.venue, ended=(info,))
        if _ended(old):
            return Diff(self.venue, added=(info,))
        return Diff(self.venue, changed=((old, info),))

    def untold(self, symbol: str, status: InstrumentStatus) -> bool:
        """A channel said what may be: the list decides. False when it has decided so already."""
        self._told.pop(symbol, None)
        known = self._known.get(symbol)
        return known is not None and known.status is not status

    def _as_told(self, info: InstrumentInfo, now: int) -> InstrumentInfo:
        status, since = self._told.get(info.symbol, (info.status, 0))
        if info.status is status or now - since > TOLD_S * SECOND_NS:
            self._told.pop(info.symbol, None)
            return info
        return msgspec.structs.replace(info, status=status)

    def update(self, infos: Iterable[InstrumentInfo], now: int) -> Diff:
        """Take a complete list; ``now`` is the wall time in ns."""
        new = {info.symbol: self._as_told(info, now) for info in infos}
        added: list[InstrumentInfo] = []
        changed: list[tuple[InstrumentInfo, InstrumentInfo]] = []
        ended: list[InstrumentInfo] = []
        for symbol, info in new.items():
            old = self._known.get(symbol)
            if old is None or (_ended(old) and not _ended(info)):
                added.append(info)
            elif not _same(old, info):
                if _ended(info) and not _ended(old):
                    ended.append(info)
                else:
                    changed.append((old, info))
        gone, doubt = self._gone(new, now)
        self._known |= new
        for symbol in gone:
            info = msgspec.structs.replace(self._known[symbol], status=InstrumentStatus.EXPIRED)
            self._known[symbol] = info
            ended.append(info)
        return Diff(self.venue, tuple(added), tuple(changed), tuple(ended), doubt)

    def _gone(self, new: dict[str, InstrumentInfo], now: int) -> tuple[list[str], str]:
        """Names that the list leaves out and that are gone; why the others are doubted."""
        for symbol in new:
            self._misses.pop(symbol, None)
        living = [info for info in self._known.values() if not _ended(info)]
        missing = [info for info in living if info.symbol not in new]
        expired = [info.symbol for info in missing if 0 < info.expiry <= now]
        early = [info.symbol for info in missing if not 0 < info.expiry <= now]
        expected = len(living) - len(expired)
        if len(early) > 1 and len(early) > expected * VANISHED_MAX:
            return expired, f"{len(early)} of {expected} instruments are missing from the list"
        since = {symbol: self._misses.get(symbol) for symbol in early}
        delisted = [
            s for s, at in since.items() if at is not None and now - at >= MISSED_S * SECOND_NS
        ]
        self._misses |= {symbol: now for symbol, at in since.items() if at is None}
        for symbol in (*expired, *delisted):
            self._misses.pop(symbol, None)
        return expired + delisted, ""


def _ended(info: InstrumentInfo) -> bool:
    return info.status is InstrumentStatus.EXPIRED


def next_fetch_s(infos: Iterable[InstrumentInfo], refresh_s: float, now: int) -> float:
    """Seconds until the list should be asked for again: after ``refresh_s``, or just after the
    next expiry when that comes first. ``now`` is the wall time in ns."""
    coming = (info.expiry for info in infos if info.expiry > now and not _ended(info))
    first = min(coming, default=0)
    if not first:
        return refresh_s
    return min(refresh_s, (first - now) / SECOND_NS + EXPIRY_GRACE_S)
