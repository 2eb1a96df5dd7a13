"""Who reads what: instruments to readers, streams to connections. Pure, and deterministic.

An instrument stays whole on one reader; readers get about the same load. On a reader, a venue's
streams are grouped by the endpoint that carries their channel and cut into connections of at most
``streams_max``.
"""

from __future__ import annotations

import fnmatch
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from feedd.errors import ConfigError
from feedd.limits import BOOK_DEPTH_OPTION
from feedd.reader.plan import Instrument, Line, ReaderPlan, Stream, VenueSlice
from feedd.shm.layout import CONNECTIONS
from feedd.supervisor.config import Config, VenueConfig, override_url
from feedd.supervisor.select import Listed
from feedd.venues.schema import Channel, Venue
from feedd.venues.session_schema import Endpoint
from feedd.venues.templates import arg_key, fill_topic, option_of

__all__ = [
    "LINES_MAX",
    "Load",
    "depth_of",
    "endpoint_of",
    "has_channel",
    "is_quiet",
    "make_plan",
    "streams_of",
    "topic_of",
    "weight_of",
]

LINES_SPARE = 4
"""Line numbers of a reader kept free for connections that replace others."""
LINES_MAX = CONNECTIONS - LINES_SPARE
"""Connections that a reader may be planned to have."""
START_APART_S = 2.0
"""Redundant lines of one stream start this far apart."""
WEIGHTS = {"option": 1, "combo": 1, "spot": 4}
WEIGHT_OTHER = 8


def topic_of(venue: Venue, channel: str, listed: Listed, options: Mapping[str, str]) -> Any:
    """What to subscribe to for one channel of one instrument: a text or a table.

    Raises ``ConfigError`` when the topic needs something that is not known of the instrument.
    """
    described = venue.channels[channel]
    if described.subscribe is None:
        raise ConfigError(f"venues.{venue.name}.channels: {channel!r} cannot be subscribed")
    facts = listed.facts()
    values = {**facts, "symbol": listed.symbol, "symbol_lower": listed.symbol.lower()}
    try:
        for option, default in described.options.items():
            chosen = options.get(f"{channel}.{option}", options.get(option))
            values[option] = (
                fill_topic(option_of(default, facts), values) if chosen is None else chosen
            )
        return fill_topic(described.subscribe, values)
    except KeyError as exc:
        raise ConfigError(
            f"venues.{venue.name}.channels: {channel!r} of {listed.symbol} needs its "
            f"{_needed(exc.args[0], described)}, which the reference data does not tell"
        ) from None
    except ValueError as exc:
        raise ConfigError(f"venues.{venue.name}.options: {channel!r}: {exc}") from None


def _needed(name: str, channel: Channel) -> str:
    """The fact that was missing: the hole itself, or what an option is told from."""
    tables = (table for table in channel.options.values() if isinstance(table, dict))
    return name if name != "*" else next((table["by"] for table in tables), name)


def has_channel(venue: Venue, channel: str, listed: Listed) -> bool:
    """False when instruments of this kind do not have the channel."""
    kinds = venue.channels[channel].kinds
    return not kinds or listed.kind in kinds or listed.kind == "unknown"


def weight_of(listed: Listed) -> int:
    return WEIGHTS.get(listed.kind, WEIGHT_OTHER)


def _spread(readers: int, chosen: Mapping[str, Sequence[Listed]]) -> list[dict[str, list[Listed]]]:
    """Heaviest first onto the least loaded reader; within a reader the order of the config."""
    loads = [0] * readers
    owner: dict[tuple[str, str], int] = {}
    flat = [(venue, listed) for venue, some in chosen.items() for listed in some]
    for venue, listed in sorted(flat, key=lambda item: -weight_of(item[1])):
        reader = loads.index(min(loads))
        loads[reader] += weight_of(listed)
        owner[venue, listed.symbol] = reader
    shares: list[dict[str, list[Listed]]] = [{} for _ in range(readers)]
    for venue, listed in flat:
        shares[owner[venue, listed.symbol]].setdefault(venue, []).append(listed)
    return shares


def endpoint_of(venue: Venue, channel: str, symbol: str) -> Endpoint:
    for endpoint in venue.session.endpoints:
        if ("*" in endpoint.carries or channel in endpoint.carries) and any(
            fnmatch.fnmatchcase(symbol, pattern) for pattern in endpoint.symbols
        ):
            return endpoint
    raise ConfigError(f"venue {venue.name}: no endpoint carries {channel!r} of {symbol}")


class Load:
    """The streams of one connection, and what they use of its limits."""

    def __init__(self, venue: Venue, endpoint: Endpoint) -> None:
        self._chars_max = venue.session.limits.topic_chars_max
        self._endpoint = endpoint
        self._chars = 0
        self._channels: Counter[str] = Counter()
        self.streams: dict[str, Stream] = {}

    def takes(self, stream: Stream) -> bool:
        limit = self._endpoint.channel_max.get(stream.channel)
        return (
            len(self.streams) < self._endpoint.streams_max
            and (limit is None or self._channels[stream.channel] < limit)
            and (not self._chars_max or self._chars + _chars(stream) <= self._chars_max)
        )

    def add(self, stream: Stream) -> None:
        self.streams[stream.topic] = stream
        self._channels[stream.channel] += 1
        self._chars += _chars(stream)

    def remove(self, topic: str) -> bool:
        """False when it is not here."""
        stream = self.streams.pop(topic, None)
        if stream is None:
            return False
        self._channels[stream.channel] -= 1
        self._chars -= _chars(stream)
        return True


def _chars(stream: Stream) -> int:
    """What a stream costs of a limit on the characters of all topics."""
    return len(stream.topic) + 3


def _pack(venue: Venue, endpoint: Endpoint, streams: Iterable[Stream]) -> list[list[Stream]]:
    """Connections: each stream goes to the first that takes it."""
    loads: list[Load] = []
    for stream in streams:
        for load in loads:
            if load.takes(stream):
                break
        else:
            load = Load(venue, endpoint)
            loads.append(load)
        load.add(stream)
    return [list(load.streams.values()) for load in loads]


def is_quiet(venue: Venue, streams: Iterable[Stream]) -> bool:
    """All of the streams may say nothing for hours."""
    quiet = venue.session.health.quiet_channels
    return all(stream.channel in quiet for stream in streams)


def depth_of(config: VenueConfig, listed: Listed) -> int:
    """Levels a side of the instrument's shared book."""
    return config.option_depth if listed.kind == "option" else config.depth


def streams_of(venue: Venue, config: VenueConfig, listed: Listed) -> Iterator[Stream]:
    """What to subscribe for one instrument."""
    for channel in config.channels:
        if has_channel(venue, channel, listed):
            arg = topic_of(venue, channel, listed, config.options)
            plain = isinstance(arg, str)
            yield Stream(channel, listed.symbol, arg_key(arg), None if plain else arg)


def _lines(
    venue: Venue, config: VenueConfig, instruments: Sequence[Listed], first: int
) -> list[Line]:
    by_endpoint: dict[str, dict[str, Stream]] = {}
    for listed in instruments:
        for stream in streams_of(venue, config, listed):
            endpoint = endpoint_of(venue, stream.channel, listed.symbol)
            streams = by_endpoint.setdefault(endpoint.name, {})
            streams.setdefault(stream.topic, stream)
    lines: list[Line] = []
    copies = max(map(config.lines_of, config.channels), default=1)
    for endpoint, copy in itertools.product(venue.session.endpoints, range(copies)):
        streams = by_endpoint.get(endpoint.name, {})
        wanted = (s for s in streams.values() if config.lines_of(s.channel) > copy)
        for part in _pack(venue, endpoint, wanted):
            lines.append(
                Line(
                    number=first + len(lines),
                    endpoint=endpoint.name,
                    url=override_url(endpoint.url, config.endpoint),
                    quiet=is_quiet(venue, part),
                    streams=tuple(part),
                    copy=copy,
                    delay_s=copy * START_APART_S,
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
        streams = sum(
            len(line.streams) for plan in plans for v, line in plan.lines if v.name == name
        )
        limits = venue.session.limits
        for needed, limit, what in (
            (count, limits.connections_max, "connections"),
            (streams, limits.streams_total_max, "streams"),
        ):
            if needed > limit:
                problems.append(
                    f"venues.{name}: {needed} {what} are needed, the venue allows {limit} per IP; "
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
    for name, mine in config.venues.items():
        some = share.get(name, [])
        instruments = []
        for listed in some:
            depth = depth_of(mine, listed)
            instruments.append(Instrument(listed.symbol, listed.id, len(depths), depth))
            depths.append(depth)
        spare = max(spare, mine.spare_rows)
        made = _lines(venues[name], mine, some, lines)
        lines += len(made)
        part = VenueSlice(
            name, mine.ca_file, tuple(instruments), tuple(made), mine.credentials, mine.agree_ms
        )
        slices.append(part)
    option_depths = (mine.option_depth for mine in config.venues.values())
    spare_depth = min(option_depths, default=BOOK_DEPTH_OPTION)
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
