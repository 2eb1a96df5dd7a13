"""Keeps the plan while the daemon runs: new listings, expiries, symbols that readers met."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from feedd.clock import monotonic_ns
from feedd.errors import ConfigError, ShmError
from feedd.reader.plan import ReaderPlan
from feedd.shm.rows import InstrumentStatus
from feedd.supervisor.config import Config
from feedd.supervisor.follow import Said
from feedd.supervisor.listing import Diff
from feedd.supervisor.liveplan import LivePlan, Place
from feedd.supervisor.process import ReaderHandle
from feedd.supervisor.reference import listed_of
from feedd.supervisor.registry import Registry
from feedd.supervisor.select import Entry, Listed, Selection

if TYPE_CHECKING:
    from feedd.supervisor.run import Supervisor

__all__ = ["PlanKeeper"]

log = logging.getLogger("feedd.supervisor")


def _is_symbol(text: str) -> bool:
    try:
        return Entry.parse(text).exact
    except ValueError:
        return False


class PlanKeeper:
    """Carries out changes of the live plan: ids, places, what readers are told. One event loop."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._live: LivePlan | None = None

    @property
    def live(self) -> LivePlan:
        assert self._live is not None  # noqa: S101 - ``begin`` comes before any reader
        return self._live

    @property
    def _registry(self) -> Registry:
        assert self._supervisor.registry is not None  # noqa: S101 - made before the plan
        return self._supervisor.registry

    def begin(self, plans: Sequence[ReaderPlan], chosen: Mapping[str, Sequence[Listed]]) -> None:
        """The plans that the readers start with."""
        supervisor = self._supervisor
        self._live = LivePlan(supervisor.config, supervisor.venues, plans, chosen)
        places = self._live.placed.values()
        self._registry.place({place.id: (place.reader, place.row) for place in places})

    def reader_of(self, name: str) -> int | None:
        """The reader of an instrument ("venue:SYMBOL"); None when no reader has it."""
        place = None if self._live is None else self._live.placed.get(name)
        return None if place is None else place.reader

    # -- what readers meet ---------------------------------------------------------------------

    def on_unknown(self, reader: ReaderHandle, venue: str, symbol: str) -> None:
        """An id for a symbol that nobody planned; its board row is one of the reader's spares.

        One that another reader has stays there and is not answered: this reader hears of it on a
        topic that several instruments share, and passes it over.
        """
        name = f"{venue}:{symbol}"
        place = self.live.placed.get(name)
        if place is not None and place.reader != reader.number:
            return
        if place is None:
            try:
                self._registry.add([name])
            except (ShmError, ValueError, OSError) as exc:
                log.error("no id for %s: %s", name, exc)
                return
            number = self._registry.id_of(name)
            place = self.live.heard_of(name, number, reader.number, monotonic_ns())
            self._show(name, place)
        reader.send(
            {
                "op": "instrument",
                "venue": venue,
                "symbol": symbol,
                "id": place.id,
                "row": place.row,
                "depth": place.depth,
            }
        )

    def _show(self, name: str, place: Place) -> None:
        """Tell everybody where an instrument is now."""
        self._registry.place_one(place.id, place.reader, place.row)
        end = "" if place.row >= 0 else ", but no board row is left"
        log.info("new instrument %s: id %d%s", name, place.id, end)
        self._broadcast(name, place)

    def _broadcast(self, name: str, place: Place, **more: object) -> None:
        broadcast = self._supervisor.broadcast
        if broadcast is not None:
            where = {"name": name, "id": place.id, "reader": place.reader, "row": place.row}
            broadcast.send(f"instrument.{name}", {**where, **more})

    # -- what venues list ----------------------------------------------------------------------

    def on_listing(self, diff: Diff) -> None:
        """New reference data: the table knows already; the plan follows, who listens is told."""
        venue = diff.venue
        selection = Selection(venue, self._supervisor.config.venues[venue].instruments)
        new = [one for one in map(listed_of, diff.started) if selection.follows(one)]
        left = {info.name: self.live.placed.get(info.name) for info in diff.ended}
        self.follow(venue, new, [info.symbol for info in diff.ended])
        for info in diff.rows:
            place = self.live.placed.get(info.name)
            if place is None and (gone := left.get(info.name)) is not None:
                place = gone._replace(reader=-1, row=-1)
            if place is not None:
                status = info.status.name.lower()
                self._broadcast(info.name, place, status=status, expiry=info.expiry)

    def on_states(self, venue: str, states: Sequence[Said]) -> None:
        """What a venue said of instruments on a channel."""
        for follower in self._supervisor.followers:
            if follower.listing.venue == venue:
                follower.on_states(states)
                return
        for symbol, number, _, _ in states:  # a venue whose list is not fetched
            name, status = f"{venue}:{symbol}", InstrumentStatus(number)
            place = self.live.placed.get(name)
            if place is not None and status is not InstrumentStatus.UNKNOWN:
                self._registry.tell(place.id, status)
                self._broadcast(name, place, status=status.name.lower())

    # -- what the configuration means -----------------------------------------------------------

    def check(self, config: Config, names: Iterable[str]) -> None:
        """Whether ``reselect`` could do what ``config`` wants of these venues. Raises
        ``ConfigError``."""
        problems: list[str] = []
        trial = self.live.copy()  # of all venues: they share the readers' connections
        for venue in names:
            try:
                add, remove = self._difference(venue, config)
            except ConfigError as exc:
                problems += exc.problems
                continue
            problems += trial.change(venue, add, remove, monotonic_ns())[1]
        if problems:
            raise ConfigError(problems)

    def give_ids(self, config: Config, names: Iterable[str]) -> None:
        """Ids for all that ``reselect`` will take in, who keep them in any case. Raises
        ``ConfigError`` when there are none."""
        for venue in names:
            new = [f"{venue}:{one.symbol}" for one in self._difference(venue, config)[0]]
            try:
                self._registry.add(new)
            except (ShmError, ValueError, OSError) as exc:
                raise ConfigError(
                    f"venues.{venue}.instruments: no ids for {len(new)} new instruments: {exc}"
                ) from exc

    def reselect(self, venue: str) -> None:
        """The configuration means other instruments now."""
        self.follow(venue, *self._difference(venue, self._supervisor.config))

    def _difference(self, venue: str, config: Config) -> tuple[list[Listed], list[str]]:
        """Instruments to take in and symbols to leave."""
        known = (f.listing.infos for f in self._supervisor.followers if f.listing.venue == venue)
        listed = map(listed_of, next(known, []))
        chosen = Selection(venue, config.venues[venue].instruments).choose(listed)
        wanted = {one.symbol for one in chosen}
        there = self.live.symbols(venue)
        return (
            [one for one in chosen if not self.live.wants(venue, one.symbol)],
            [symbol for symbol in there if symbol not in wanted],
        )

    # -- what operators ask for ------------------------------------------------------------------

    def subscribe(self, name: str) -> bool:
        """Take one instrument in; False when it is there already. Raises ``ConfigError``."""
        venue, _, symbol = name.partition(":")
        if venue not in self._supervisor.config.venues:
            known = ", ".join(self._supervisor.config.venues)
            raise ConfigError(
                f"{name}: this daemon holds no connection to {venue}, only to {known}"
            )
        if self.live.wants(venue, symbol):
            return False
        if not _is_symbol(symbol):
            raise ConfigError(
                f"{name}: one instrument by its symbol; what means several belongs into the "
                f"configuration (venues.{venue}.instruments), then `feedd ctl reload`"
            )
        infos = next(
            (f.listing.infos for f in self._supervisor.followers if f.listing.venue == venue), []
        )
        if infos:  # as an entry of the configuration: an error names what is close
            (one,) = Selection(venue, (symbol,)).choose(map(listed_of, infos))
        else:
            one = Listed(symbol)
        problems = self.live.trial(venue, [one], [], monotonic_ns())
        if problems:
            raise ConfigError(problems)
        self.follow(venue, [one], [])
        return True

    def unsubscribe(self, name: str) -> None:
        """Leave one instrument. Raises ``ConfigError`` when it is not subscribed."""
        venue, _, symbol = name.partition(":")
        if venue not in self._supervisor.config.venues or not self.live.wants(venue, symbol):
            raise ConfigError(f"{name} is not subscribed")
        self.follow(venue, [], [symbol])

    def follow(self, venue: str, add: Iterable[Listed], remove: Iterable[str]) -> None:
        """Subscribe instruments and leave others, while everything else goes on."""
        live, registry = self.live, self._registry
        new = [one for one in add if not live.wants(venue, one.symbol)]
        try:
            registry.add(f"{venue}:{one.symbol}" for one in new)
        except (ShmError, ValueError, OSError) as exc:
            log.error("%s: no ids for %d new instruments: %s", venue, len(new), exc)
            new = []
        new = [replace(one, id=registry.id_of(f"{venue}:{one.symbol}")) for one in new]
        names = {symbol: f"{venue}:{symbol}" for symbol in remove if live.wants(venue, symbol)}
        left = {names[symbol]: live.placed[names[symbol]] for symbol in names}
        changes, problems = live.change(venue, new, names, monotonic_ns())
        for name, place in left.items():
            registry.place_one(place.id, -1, -1)
            self._broadcast(name, place._replace(reader=-1, row=-1))
        for one in new:
            if live.wants(venue, one.symbol):
                name = f"{venue}:{one.symbol}"
                self._show(name, live.placed[name])
        for number, change in changes.items():
            slices = live.plan(number).venues
            for reader in self._supervisor.handovers.both(number):
                reader.plan = msgspec.structs.replace(reader.plan, venues=slices)
                reader.send({"op": "change", "change": msgspec.to_builtins(change)})
        if changes:
            log.info("%s: %d instruments subscribed, %d left", venue, len(new), len(left))
        for problem in problems:
            log.error("not subscribed: %s", problem)
