"""The venues' lists of instruments at start: fetched at once, kept for the plan and the table."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from feedd.clock import SECOND_NS
from feedd.errors import ConfigError, StartError, VenueError
from feedd.reader.net import is_loopback
from feedd.shm.rows import InstrumentStatus
from feedd.supervisor.config import Config, override_url
from feedd.supervisor.fetch import Fetcher
from feedd.supervisor.listing import fetch_list
from feedd.supervisor.registry import Registry
from feedd.supervisor.select import Listed, Selection
from feedd.venues.reference import InstrumentInfo
from feedd.venues.schema import Venue

__all__ = ["choose", "fetch_reference", "listed_of", "rest_base"]

EXACT_WAIT_S = 30.0
"""How long a start waits for the list of a venue whose symbols are named exactly anyway."""

log = logging.getLogger("feedd.supervisor")


def rest_base(venue: Venue, override: str | None) -> str:
    """Base of REST addresses. Raises ``ConfigError`` for plain HTTP beyond loopback."""
    base = override_url(venue.rest_url, override).rstrip("/")
    if not base.startswith("https://") and not is_loopback(base):
        raise ConfigError(f"venue {venue.name}: {base} is not https://")
    return base


async def fetch_reference(
    config: Config, venues: Mapping[str, Venue], fetchers: Mapping[str, Fetcher]
) -> dict[str, list[InstrumentInfo]]:
    """Instruments of every venue that wants them. A venue that does not answer is left out with
    a warning when its configuration names exact symbols only; else ``StartError``. With patterns a
    venue that bans us is waited for: a restart would only ask again too early."""

    async def one(name: str) -> list[InstrumentInfo]:
        base = rest_base(venues[name], config.venues[name].rest_endpoint)
        patterns = Selection(name, config.venues[name].instruments).needs_list
        try:
            async with asyncio.timeout(None if patterns else EXACT_WAIT_S):
                return await fetch_list(venues[name], base, fetchers[name])
        except TimeoutError:
            log.warning("no reference data for %s: none within %.0f s", name, EXACT_WAIT_S)
            return []
        except VenueError as exc:
            if patterns:
                raise StartError(
                    f"venues.{name}: the patterns {patterns} need the list of instruments, and it "
                    f"could not be had: {exc}"
                ) from exc
            log.warning("no reference data for %s: %s", name, exc)
            return []

    wanted = [
        name
        for name, venue in venues.items()
        if config.venues[name].reference and venue.reference is not None
    ]
    lists = await asyncio.gather(*(one(name) for name in wanted))
    return dict(zip(wanted, lists, strict=True))


def choose(
    config: Config, lists: Mapping[str, list[InstrumentInfo]], registry: Registry
) -> dict[str, list[Listed]]:
    """The instruments that the configuration means, with their ids."""
    chosen: dict[str, list[Listed]] = {}
    problems: list[str] = []
    for name, venue in config.venues.items():
        try:
            listed = map(listed_of, lists.get(name, []))
            chosen[name] = Selection(name, venue.instruments).choose(listed)
        except ConfigError as exc:
            problems += exc.problems
    if problems:
        raise ConfigError(problems)
    for infos in lists.values():
        registry.learn(infos)
    try:
        registry.add(f"{name}:{one.symbol}" for name, some in chosen.items() for one in some)
    except OSError as exc:
        raise StartError(
            f"instance.state_directory: cannot write {exc.filename or 'to it'}: {exc.strerror}; "
            "the ids of instruments are kept there: make room, or put the permissions right"
        ) from exc
    return {
        name: [replace(one, id=registry.id_of(f"{name}:{one.symbol}")) for one in some]
        for name, some in chosen.items()
    }


def listed_of(info: InstrumentInfo) -> Listed:
    """What the plan wants to know of an instrument; its id is not known here."""
    return Listed(
        info.symbol,
        kind=info.kind.name.lower(),
        base=info.base,
        quote=info.quote,
        settle=info.settle,
        underlying=info.underlying,
        expiry=_day(info.expiry) if info.expiry else "",
        active=info.status is InstrumentStatus.ACTIVE,
    )


def _day(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // SECOND_NS, UTC):%Y-%m-%d}"
