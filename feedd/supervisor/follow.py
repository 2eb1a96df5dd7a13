"""Follow the venues' lists of instruments: ask again, tell the table, tell who listens."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable

from feedd.clock import SECOND_NS, now_ns
from feedd.errors import ShmError, VenueError
from feedd.shm.rows import InstrumentStatus
from feedd.supervisor.fetch import Fetcher
from feedd.supervisor.listing import TOLD_S, Diff, Listing, fetch_list, next_fetch_s
from feedd.supervisor.registry import Registry
from feedd.venues.reference import InstrumentInfo
from feedd.venues.schema import Venue

__all__ = ["Follower", "Said"]

RETRY_S = 60.0
"""After a list that could not be had; sooner when the venue's own interval is shorter."""

APART_S = 2.0
"""Between two lists that states of instruments ask for: many of them come at once."""
MISSING_S = (0.0, 10.0, 60.0)
"""When an instrument that no list had so far is looked for: the list may lag behind the channel."""
WORDS_MAX = 1_000
MISSING_MAX = 10_000

log = logging.getLogger("feedd.supervisor")

Said = tuple[str, int, str, bool]
"""Symbol, ``InstrumentStatus``, the venue's word, whether other facts changed."""


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
        said = (channel.state for channel in venue.channels.values())
        self._partial = any(state is not None and state.partial for state in said)
        self._wanted = asyncio.Event()
        self._missing: dict[str, int] = {}
        """Symbols that no list had so far -> how often they were looked for."""
        self._words: set[str] = set()
        """Words that the venue file does not know and the log has."""

    async def run(self) -> None:
        """Until cancelled."""
        assert self._venue.reference is not None  # noqa: S101 - made for venues with a list
        refresh_s = self._venue.reference.refresh_s
        while True:
            pause = next_fetch_s(self.listing.infos, refresh_s, now_ns())
            await self._wait(pause if self.refreshed_ns else min(RETRY_S, refresh_s))
            try:
                await self.refresh()
            except Exception:  # the next list may be fine: who gave up would never hear of it
                self.failures += 1
                log.exception("%s: the list of instruments was not used", self.listing.venue)

    async def _wait(self, pause: float) -> None:
        """Until the list is due, or wanted and the last one was not just now."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._wanted.wait()
                since = (now_ns() - self.refreshed_ns) / SECOND_NS
                await asyncio.sleep(APART_S - min(max(since, 0.0), APART_S))
        self._wanted.clear()

    def _want(self, after_s: float = 0.0) -> None:
        if after_s:
            asyncio.get_running_loop().call_later(after_s, self._wanted.set)
        else:
            self._wanted.set()

    def on_states(self, states: Iterable[Said]) -> None:
        """What the venue said of instruments on a channel, subscribed or not.

        The table knows at once what the word says; the list is asked for everything else, and
        once more when its word counts again."""
        now = now_ns()
        wanted = told = False
        for symbol, number, word, facts_changed in states:
            status = InstrumentStatus(number)
            if status is InstrumentStatus.UNKNOWN:
                self._unknown(symbol, word)
                wanted = True
                continue
            if self._partial and status is InstrumentStatus.ACTIVE and self.listing.knows(symbol):
                wanted = self.listing.untold(symbol, status) or facts_changed or wanted
                continue
            diff = self.listing.told(symbol, status, now)
            if diff:
                self._act(diff)
                told = True
            elif diff is None and status is not InstrumentStatus.EXPIRED:
                wanted = self._look_for(symbol) or wanted
            wanted = wanted or facts_changed
        if wanted or told:
            self._want()
        if told:
            self._want(TOLD_S + 1.0)

    def _unknown(self, symbol: str, word: str) -> None:
        if word and word not in self._words and len(self._words) < WORDS_MAX:
            self._words.add(word)
            log.warning(
                "%s: the venue says %r of %s, which its file does not know: the status stays as it "
                "is until the list of instruments says more",
                self._venue.name,
                word,
                symbol,
            )

    def _look_for(self, symbol: str) -> bool:
        if symbol in self._missing or len(self._missing) >= MISSING_MAX:
            return False
        self._missing[symbol] = 1
        return True

    def _look_again(self) -> None:
        """What was looked for and is still in no list."""
        for symbol in [symbol for symbol in self._missing if self.listing.knows(symbol)]:
            del self._missing[symbol]
        pauses = set()
        for symbol, tries in self._missing.items():
            if tries < len(MISSING_S):
                pauses.add(MISSING_S[tries])
                self._missing[symbol] = tries + 1
        for pause in pauses:
            self._want(pause)

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
            self._act(diff)
        self._look_again()
        return diff

    def _act(self, diff: Diff) -> None:
        name = self._venue.name
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
