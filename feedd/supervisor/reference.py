"""The venues' lists of instruments at start: fetched at once, kept for the plan and the table."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from feedd.errors import ConfigError, StartError, VenueError
from feedd.reader.net import is_loopback
from feedd.shm.rows import InstrumentStatus
from feedd.supervisor.config import Config, override_url
from feedd.supervisor.fetch import Fetcher
from feedd.supervisor.listing import fetch_list
from feedd.supervisor.plan import Listed, choose_symbols
from feedd.supervisor.registry import Registry
from feedd.venues.reference import InstrumentInfo
from feedd.venues.schema import Venue

__all__ = ["choose", "fetch_reference", "rest_base"]

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
        patterns = [entry for entry in config.venues[name].instruments if "*" in entry]
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
    symbols: dict[str, list[str]] = {}
    problems: list[str] = []
    for name, venue in config.venues.items():
        listed = lists.get(name, [])
        active = [info.symbol for info in listed if info.status is InstrumentStatus.ACTIVE]
        try:
            symbols[name] = choose_symbols(name, venue, (i.symbol for i in listed), active)
        except ConfigError as exc:
            problems += exc.problems
    if problems:
        raise ConfigError(problems)
    for infos in lists.values():
        registry.learn(infos)
    registry.add(f"{name}:{symbol}" for name, some in symbols.items() for symbol in some)
    chosen: dict[str, list[Listed]] = {}
    for name, some in symbols.items():
        chosen[name] = []
        for symbol in some:
            full = f"{name}:{symbol}"
            chosen[name].append(_listed(symbol, registry.id_of(full), registry.info(full)))
    return chosen


def _listed(symbol: str, number: int, info: InstrumentInfo | None) -> Listed:
    if info is None:
        return Listed(symbol, number)
    return Listed(
        symbol,
        number,
        info.kind.name.lower(),
        info.base,
        info.quote,
        info.settle,
        info.underlying,
    )
