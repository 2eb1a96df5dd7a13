"""Who reads what: instruments to readers, streams to connections. Pure, and deterministic.

An instrument stays whole on one reader; readers get about the same load. On a reader, a venue's
streams are grouped by the endpoint that carries their channel and cut into connections of at most
``streams_max``.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from feedd.errors import ConfigError
from feedd.reader.plan import Instrument, Line, ReaderPlan, Stream, VenueSlice
from feedd.supervisor.config import PLACEHOLDER, Config, VenueConfig, override_url
from feedd.venues.schema import Venue
from feedd.venues.session_schema import Endpoint

__all__ = ["Listed", "choose_symbols", "make_plan", "topic_of"]

LINES_MAX = 64
"""Connections that a reader's counters have room for."""
WEIGHTS = {"option": 1, "combo": 1, "spot": 4}
WEIGHT_OTHER = 8


@dataclass(frozen=True, slots=True)
class Listed:
    """An instrument that the plan may use; ``id`` is its row in the instruments table."""

    symbol: str
    id: int
    kind: str = "unknown"
    active: bool = True


def choose_symbols(
    name: str, config: VenueConfig, listed: Iterable[str], active: Iterable[str]
) -> list[str]:
    """The symbols that the configuration means, in its order; patterns match active ones only.

    Raises ``ConfigError`` naming every entry that means nothing. Without reference data
    (``listed`` empty) exact symbols are believed.
    """
    known, tradable = set(listed), sorted(active)
    chosen: dict[str, None] = {}
    problems = []
    for entry in config.instruments:
        if "*" in entry:
            pattern = re.compile(fnmatch.translate(re.sub(r"([\[\]?])", r"[\1]", entry)))
            found = [symbol for symbol in tradable if pattern.match(symbol)]
            if not found:
                problems.append(f"venues.{name}.instruments: nothing matches {entry!r}")
            chosen.update(dict.fromkeys(found))
        elif known and entry not in known:
            near = sorted(s for s in known if s.lower() == entry.lower())[:1]
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            problems.append(f"venues.{name}.instruments: {name} does not list {entry!r}{hint}")
        else:
            chosen[entry] = None
    if problems:
        raise ConfigError(problems)
    return list(chosen)


def topic_of(venue: Venue, channel: str, symbol: str, options: Mapping[str, str]) -> str:
    """What to subscribe to for one channel of one instrument."""
    described = venue.channels[channel]
    if described.subscribe is None:
        raise ConfigError(f"venues.{venue.name}.channels: {channel!r} cannot be subscribed")
    values = dict(described.options)
    for option in described.options:
        values[option] = options.get(f"{channel}.{option}", options.get(option, values[option]))
    values["symbol"] = symbol
    values["symbol_lower"] = symbol.lower()

    def fill(match: re.Match[str]) -> str:
        return values[match[1]]

    return PLACEHOLDER.sub(fill, described.subscribe)


def _weight(listed: Listed) -> int:
    return WEIGHTS.get(listed.kind, WEIGHT_OTHER)


def _spread(readers: int, chosen: Mapping[str, Sequence[Listed]]) -> list[dict[str, list[Listed]]]:
    """Heaviest first onto the least loaded reader; within a reader the order of the config."""
    loads = [0] * readers
    owner: dict[tuple[str, str], int] = {}
    flat = [(venue, listed) for venue, some in chosen.items() for listed in some]
    for venue, listed in sorted(flat, key=lambda item: -_weight(item[1])):
        reader = loads.index(min(loads))
        loads[reader] += _weight(listed)
        owner[venue, listed.symbol] = reader
    shares: list[dict[str, list[Listed]]] = [{} for _ in range(readers)]
    for venue, listed in flat:
        shares[owner[venue, listed.symbol]].setdefault(venue, []).append(listed)
    return shares


def _endpoint(venue: Venue, channel: str) -> Endpoint:
    for endpoint in venue.session.endpoints:
        if "*" in endpoint.carries or channel in endpoint.carries:
            return endpoint
    raise ConfigError(f"venue {venue.name}: no endpoint carries the channel {channel!r}")


def _lines(venue: Venue, config: VenueConfig, symbols: Sequence[str], first: int) -> list[Line]:
    by_endpoint: dict[str, dict[str, Stream]] = {}
    for symbol in symbols:
        for channel in config.channels:
            stream = Stream(channel, symbol, topic_of(venue, channel, symbol, config.options))
            streams = by_endpoint.setdefault(_endpoint(venue, channel).name, {})
            streams.setdefault(stream.topic, stream)
    lines: list[Line] = []
    quiet = set(venue.session.health.quiet_channels)
    for endpoint in venue.session.endpoints:
        streams_here = list(by_endpoint.get(endpoint.name, {}).values())
        for start in range(0, len(streams_here), endpoint.streams_max):
            part = tuple(streams_here[start : start + endpoint.streams_max])
            lines.append(
                Line(
                    number=first + len(lines),
                    endpoint=endpoint.name,
                    url=override_url(endpoint.url, config.endpoint),
                    quiet=all(stream.channel in quiet for stream in part),
                    streams=part,
                )
            )
    return lines


def make_plan(
    config: Config,
    venues: Mapping[str, Venue],
    chosen: Mapping[str, Sequence[Listed]],
    cores: Sequence[int | None],
) -> list[ReaderPlan]:
    """One plan per reader; ``cores[n]`` is the core of reader n or None.

    Raises ``ConfigError`` when a venue or a reader would need more connections than it may have.
    """
    shares = _spread(config.readers.count, chosen)
    plans = [
        _reader_plan(config, venues, share, reader, cores[reader])
        for reader, share in enumerate(shares)
    ]
    problems = []
    for name, venue in venues.items():
        count = sum(v.name == name for plan in plans for v, _ in plan.lines)
        limit = venue.session.limits.connections_max
        if count > limit:
            problems.append(
                f"venues.{name}: {count} connections are needed, the venue allows {limit} per IP; "
                "name fewer instruments or channels"
            )
    problems += [
        f"readers.count: reader {plan.reader} would hold {len(plan.lines)} connections, it has "
        f"room for {LINES_MAX}; use more readers"
        for plan in plans
        if len(plan.lines) > LINES_MAX
    ]
    if problems:
        raise ConfigError(problems)
    return plans


def _reader_plan(
    config: Config,
    venues: Mapping[str, Venue],
    share: Mapping[str, Sequence[Listed]],
    reader: int,
    core: int | None,
) -> ReaderPlan:
    depths: list[int] = []
    slices: list[VenueSlice] = []
    lines = 0
    spare = 0
    for name, some in share.items():
        mine = config.venues[name]
        instruments = []
        for listed in some:
            depth = mine.option_depth if listed.kind == "option" else mine.depth
            instruments.append(Instrument(listed.symbol, listed.id, len(depths), depth))
            depths.append(depth)
        spare = max(spare, mine.spare_rows)
        made = _lines(venues[name], mine, [listed.symbol for listed in some], lines)
        lines += len(made)
        slices.append(VenueSlice(name, mine.ca_file, tuple(instruments), tuple(made)))
    spare_depth = min((config.venues[name].option_depth for name in share), default=128)
    depths += [spare_depth] * max(spare, 1 if not depths else 0)
    return ReaderPlan(
        reader=reader,
        directory=str(config.instance.path),
        core=core,
        busy_poll=config.readers.busy_poll,
        rows=len(depths),
        depths=tuple(depths),
        ring_slots=config.readers.ring_slots,
        venues=tuple(slices),
        log_level=config.log.level,
        log_format=config.log.format,
    )
