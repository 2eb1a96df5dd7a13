"""Follow the venues' lists of instruments: ask again, tell the table, tell who listens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from feedd.clock import now_ns
from feedd.errors import ShmError, VenueError
from feedd.supervisor.fetch import Fetcher
from feedd.supervisor.listing import Diff, Listing, fetch_list, next_fetch_s
from feedd.supervisor.registry import Registry
from feedd.venues.reference import InstrumentInfo
from feedd.venues.schema import Venue

__all__ = ["Follower"]

RETRY_S = 60.0
"""After a list that could not be had; sooner when the venue's own interval is shorter."""

log = logging.getLogger("feedd.supervisor")


class Follower:
    """Keeps one venue's instruments up to date. One event loop.

    ``on_diff`` is called after the table knows: it decides what to subscribe and unsubscribe.
    """

    def __init__(
        self,
        venue: Venue,
        base: str,
        fetcher: Fetcher,
        registry: Registry,
        infos: list[InstrumentInfo],
        on_diff: Callable[[Diff], None],
    ) -> None:
        self.listing = Listing(venue.name, infos)
        self.refreshed_ns = now_ns() if infos else 0
        """Wall time of the last complete list, 0 for none yet."""
        self.failures = 0
        self._venue = venue
        self._base = base
        self._fetcher = fetcher
        self._registry = registry
        self._on_diff = on_diff

    async def run(self) -> None:
        """Until cancelled."""
        assert self._venue.reference is not None  # noqa: S101 - made for venues with a list
        refresh_s = self._venue.reference.refresh_s
        while True:
            pause = next_fetch_s(self.listing.infos, refresh_s, now_ns())
            await asyncio.sleep(pause if self.refreshed_ns else min(RETRY_S, refresh_s))
            await self.refresh()

    async def refresh(self) -> Diff:
        """Ask for the list once and act on what it changes. Never raises for the venue's sake."""
        name = self._venue.name
        try:
            infos = await fetch_list(self._venue, self._base, self._fetcher)
        except VenueError as exc:
            self.failures += 1
            log.warning("%s: the list of instruments was not renewed: %s", name, exc)
            return Diff(name)
        self.refreshed_ns = now_ns()
        diff = self.listing.update(infos, self.refreshed_ns)
        if diff.doubt:
            log.warning("%s: %s: they are kept", name, diff.doubt)
        if diff:
            log.info(
                "%s: %d instruments added, %d changed, %d ended",
                name,
                len(diff.added),
                len(diff.changed),
                len(diff.ended),
            )
            try:
                self._registry.learn(diff.rows)
            except (ShmError, ValueError) as exc:
                log.error("%s: the instruments table was not updated: %s", name, exc)
            self._on_diff(diff)
        return diff
