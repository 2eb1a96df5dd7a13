"""The plan while the daemon runs: instruments come and go, everything else stays where it is.

Starts from the plans that the readers got and says for each change what a reader must be told: new
instruments and their board rows, streams on connections that have room, new connections where none
has, connections that nothing is left for. The plans are kept up to date, so that a reader that
starts again gets what is wanted now. Pure; ``now`` is monotonic ns.
"""

from __future__ import annotations

import copy
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from feedd.clock import SECOND_NS
from feedd.errors import ConfigError
from feedd.limits import BOOK_DEPTH_OPTION
from feedd.reader.plan import (
    Instrument,
    Line,
    LineChange,
    PlanChange,
    ReaderPlan,
    Stream,
)
from feedd.supervisor.config import Config, override_url
from feedd.supervisor.plan import (
    LINES_MAX,
    Load,
    depth_of,
    endpoint_of,
    is_quiet,
    streams_of,
    weight_of,
)
from feedd.supervisor.select import Listed
from feedd.venues.schema import Venue

__all__ = ["LivePlan", "Place"]

ROW_REST_NS = 600 * SECOND_NS
"""A board row that an instrument has left is not given to another one for so long."""


class Place(NamedTuple):
    """Where an instrument is: its reader, its id, its board row (-1: none), its book depth."""

    reader: int
    id: int
    row: int
    depth: int


@dataclass(slots=True)
class _Line:
    venue: str
    line: Line
    load: Load

    @property
    def plan(self) -> Line:
        return msgspec.structs.replace(self.line, streams=tuple(self.load.streams.values()))


@dataclass(slots=True)
class _Edit:
    """What one change does to one reader."""

    instruments: list[Instrument] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    new: list[int] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    add: dict[int, list[Stream]] = field(default_factory=dict)
    drop: dict[int, list[str]] = field(default_factory=dict)

    def as_change(self, venue: str, lines: Mapping[int, _Line]) -> PlanChange:
        running = [n for n in {**self.add, **self.drop} if n not in (*self.new, *self.ended)]
        return PlanChange(
            venue=venue,
            instruments=tuple(self.instruments),
            gone=tuple(self.gone),
            lines=tuple(lines[number].plan for number in self.new),
            ended=tuple(self.ended),
            changes=tuple(
                LineChange(n, tuple(self.add.get(n, ())), tuple(self.drop.get(n, ())))
                for n in running
            ),
        )


class _Reader:
    """One reader: its lines, its free rows, who uses which stream."""

    def __init__(self, plan: ReaderPlan) -> None:
        self.plan = plan
        self.lines: dict[int, _Line] = {}
        self.users: Counter[tuple[str, str]] = Counter()
        self.weight = 0
        used = sum(len(part.instruments) for part in plan.venues)
        self._fresh = deque(range(used, plan.rows))
        self._rested: deque[tuple[int, int]] = deque()

    def take_row(self, now: int) -> int:
        """A row for a new instrument, -1 when there is none."""
        if self._fresh:
            return self._fresh.popleft()
        if self._rested and self._rested[0][0] <= now:
            return self._rested.popleft()[1]
        return -1

    def give_row(self, row: int, now: int) -> None:
        if row >= 0:
            self._rested.append((now + ROW_REST_NS, row))

    def has_row(self, now: int) -> bool:
        return bool(self._fresh) or bool(self._rested and self._rested[0][0] <= now)


class LivePlan:
    """All readers of a daemon. One thread."""

    def __init__(
        self,
        config: Config,
        venues: Mapping[str, Venue],
        plans: Sequence[ReaderPlan],
        chosen: Mapping[str, Sequence[Listed]],
    ) -> None:
        self._config = config
        self._venues = venues
        self._readers = {plan.reader: _Reader(plan) for plan in plans}
        self._wanted: dict[str, dict[str, tuple[Listed, tuple[Stream, ...]]]] = {
            name: {} for name in config.venues
        }
        self.placed: dict[str, Place] = {}
        """By full name, also instruments that nobody planned but that were heard of."""
        for plan in plans:
            self._learn(plan, chosen)

    def _learn(self, plan: ReaderPlan, chosen: Mapping[str, Sequence[Listed]]) -> None:
        reader = self._readers[plan.reader]
        for part in plan.venues:
            venue, mine = self._venues[part.name], self._config.venues[part.name]
            endpoints = {endpoint.name: endpoint for endpoint in venue.session.endpoints}
            listed = {one.symbol: one for one in chosen.get(part.name, ())}
            for item in part.instruments:
                one = listed[item.symbol]
                self.placed[f"{part.name}:{item.symbol}"] = Place(
                    plan.reader, item.id, item.row, item.depth
                )
                streams = tuple(streams_of(venue, mine, one))
                self._wanted[part.name][item.symbol] = one, streams
                reader.users.update((part.name, stream.topic) for stream in streams)
                reader.weight += weight_of(one)
            for line in part.lines:
                load = Load(venue, endpoints[line.endpoint])
                for stream in line.streams:
                    load.add(stream)
                reader.lines[line.number] = _Line(part.name, line, load)

    # -- what is there -------------------------------------------------------------------------

    def plan(self, reader: int) -> ReaderPlan:
        return self._readers[reader].plan

    def wants(self, venue: str, symbol: str) -> bool:
        """Whether the instrument is planned (not only heard of)."""
        return symbol in self._wanted[venue]

    def symbols(self, venue: str) -> list[str]:
        return list(self._wanted[venue])

    def heard_of(self, name: str, number: int, reader: int, now: int) -> Place:
        """A place for a symbol that a reader met and nobody planned."""
        there = self._readers[reader]
        row = there.take_row(now)
        depth = there.plan.depths[row] if row >= 0 else BOOK_DEPTH_OPTION
        place = self.placed[name] = Place(reader, number, row, depth)
        return place

    # -- changes -------------------------------------------------------------------------------

    def trial(
        self, venue: str, add: Iterable[Listed], remove: Iterable[str], now: int
    ) -> list[str]:
        """Why ``change`` could not do all of this; nothing is changed."""
        return self.copy().change(venue, add, remove, now)[1]

    def copy(self) -> LivePlan:
        """Another one to try changes on."""
        shared = {id(kept): kept for kept in (self._config, self._venues)}
        return copy.deepcopy(self, shared)

    def change(
        self, venue: str, add: Iterable[Listed], remove: Iterable[str], now: int
    ) -> tuple[dict[int, PlanChange], list[str]]:
        """Take instruments in (with their ids) and out.

        Returns what each reader must be told, and why instruments could not be taken in.
        """
        edits: dict[int, _Edit] = {}
        problems: list[str] = []
        for symbol in remove:
            self._remove(venue, symbol, edits, now)
        for listed in add:
            if listed.symbol in self._wanted[venue]:
                continue
            try:
                self._add(venue, listed, edits, now)
            except ConfigError as exc:
                problems += exc.problems
        changes = {
            number: edit.as_change(venue, self._readers[number].lines)
            for number, edit in edits.items()
        }
        for number in edits:
            self._renew(number)
        return changes, problems

    def _remove(self, venue: str, symbol: str, edits: dict[int, _Edit], now: int) -> None:
        known = self._wanted[venue].pop(symbol, None)
        if known is None:
            return
        listed, streams = known
        place = self.placed.pop(f"{venue}:{symbol}")
        reader = self._readers[place.reader]
        edit = edits.setdefault(place.reader, _Edit())
        edit.gone.append(symbol)
        reader.give_row(place.row, now)
        reader.weight -= weight_of(listed)
        for stream in streams:
            reader.users[venue, stream.topic] -= 1
            if reader.users[venue, stream.topic] > 0:
                continue
            del reader.users[venue, stream.topic]
            for number, line in list(reader.lines.items()):
                if line.venue == venue and line.load.remove(stream.topic):
                    edit.drop.setdefault(number, []).append(stream.topic)
                    if not line.load.streams:
                        edit.ended.append(number)
                        del reader.lines[number]

    def _add(self, venue: str, listed: Listed, edits: dict[int, _Edit], now: int) -> None:
        described, mine = self._venues[venue], self._config.venues[venue]
        streams = tuple(streams_of(described, mine, listed))
        name = f"{venue}:{listed.symbol}"
        heard = self.placed.get(name)
        number = heard.reader if heard is not None else self._least_loaded(now)
        reader = self._readers[number]
        edit = edits.setdefault(number, _Edit())
        new = [s for s in streams if not reader.users[venue, s.topic]]
        self._carry(venue, reader, edit, new)
        if heard is None:
            row = reader.take_row(now)
            depth = reader.plan.depths[row] if row >= 0 else depth_of(mine, listed)
            heard = self.placed[name] = Place(number, listed.id, row, depth)
        edit.instruments.append(Instrument(listed.symbol, heard.id, heard.row, heard.depth))
        reader.users.update((venue, stream.topic) for stream in streams)
        reader.weight += weight_of(listed)
        self._wanted[venue][listed.symbol] = listed, streams

    def _least_loaded(self, now: int) -> int:
        """Of the readers with a free board row; of all when none has one."""
        with_row = [n for n, reader in self._readers.items() if reader.has_row(now)]
        return min(with_row or self._readers, key=lambda n: (self._readers[n].weight, n))

    def _carry(self, venue: str, reader: _Reader, edit: _Edit, streams: list[Stream]) -> None:
        """Put streams on lines that have room, or on new ones; all of them, or none."""
        mine = self._config.venues[venue]
        placed: list[tuple[int, Stream]] = []
        opened: list[int] = []
        try:
            self._check_total(venue, sum(mine.lines_of(stream.channel) for stream in streams))
            for stream in streams:
                for nth in range(mine.lines_of(stream.channel)):
                    number = self._line_for(venue, reader, edit, stream, nth, opened)
                    reader.lines[number].load.add(stream)
                    placed.append((number, stream))
        except ConfigError:
            for number, stream in placed:
                reader.lines[number].load.remove(stream.topic)
            for number in opened:
                del reader.lines[number]
            raise
        edit.new += opened
        for number, stream in placed:
            if number not in edit.new:
                edit.add.setdefault(number, []).append(stream)

    def _check_total(self, venue: str, more: int) -> None:
        limit = self._venues[venue].session.limits.streams_total_max
        there = sum(
            len(line.load.streams)
            for reader in self._readers.values()
            for line in reader.lines.values()
            if line.venue == venue
        )
        if there + more > limit:
            raise ConfigError(f"venues.{venue}: the venue allows {limit} streams per IP")

    def _line_for(
        self,
        venue: str,
        reader: _Reader,
        edit: _Edit,
        stream: Stream,
        nth: int,
        opened: list[int],
    ) -> int:
        described, mine = self._venues[venue], self._config.venues[venue]
        endpoint = endpoint_of(described, stream.channel, stream.symbol)
        for number, there in reader.lines.items():
            same = there.venue == venue and there.line.endpoint == endpoint.name
            if same and there.line.copy == nth and there.load.takes(stream):
                return number
        limit = described.session.limits.connections_max
        lines = [x for r in self._readers.values() for x in r.lines.values() if x.venue == venue]
        if len(lines) >= limit:
            raise ConfigError(f"venues.{venue}: the venue allows {limit} connections per IP")
        taken = {*reader.lines, *edit.ended}
        number = next((n for n in range(LINES_MAX) if n not in taken), -1)
        if number < 0:
            raise ConfigError(
                f"readers.count: reader {reader.plan.reader} has room for {LINES_MAX} connections; "
                "use more readers"
            )
        line = Line(
            number=number,
            endpoint=endpoint.name,
            url=override_url(endpoint.url, mine.endpoint),
            quiet=is_quiet(described, [stream]),
            streams=(),
            copy=nth,
        )
        reader.lines[number] = _Line(venue, line, Load(described, endpoint))
        opened.append(number)
        return number

    def _renew(self, number: int) -> None:
        """What the next process of the reader will be told."""
        reader = self._readers[number]
        slices = []
        for part in reader.plan.venues:
            names = (f"{part.name}:{symbol}" for symbol in self._wanted[part.name])
            items = tuple(
                Instrument(name.partition(":")[2], place.id, place.row, place.depth)
                for name in names
                if (place := self.placed[name]).reader == number
            )
            lines = tuple(x.plan for x in reader.lines.values() if x.venue == part.name)
            slices.append(msgspec.structs.replace(part, instruments=items, lines=lines))
        reader.plan = msgspec.structs.replace(reader.plan, venues=tuple(slices))
