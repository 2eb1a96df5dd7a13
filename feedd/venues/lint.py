"""Mistakes of a venue file that types cannot see: keys that contradict each other.

``problems`` yields ``(key path, message)`` for a typed ``Venue``; ``lint`` reads a file and tells
everything that is wrong with it at once. The bounds of the native engine are checked here too, so
that a file without problems always compiles.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from feedd.toml_lint import Issue, Problem, parse
from feedd.venues.bounds import (
    HOLES_MAX,
    MESSAGE_PATHS_MAX,
    SIDE_TEXTS_MAX,
    STATE_CONDITIONS_MAX,
    STATE_FACTS_MAX,
    STATE_RULES_MAX,
    TEXT_BYTES,
    TIMES_MAX,
    TOPIC_BYTES,
)
from feedd.venues.lint_books import book_problems
from feedd.venues.lint_paths import field_problems, inside, message_paths
from feedd.venues.reference_lint import reference_problems
from feedd.venues.schema import (
    Channel,
    Decode,
    Envelope,
    FlagRule,
    RowFilter,
    SideRule,
    State,
    Venue,
)
from feedd.venues.session_lint import session_problems
from feedd.venues.templates import FACT_HOLES, FACTS, HOLE, fill_topic
from feedd.venues.templates import holes as topic_holes

__all__ = ["lint", "parse_venue", "problems"]

_HOLE = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
_RECORDS = ("trade", "liquidation", "quote", "book", "deriv", "greeks", "checksum", "state")
_LISTS = ("topics", "events", "names")
_SYMBOL_HOLES = ("symbol", "symbol_lower")


# ---- topics --------------------------------------------------------------------------------------


def _malformed(pattern: str) -> bool:
    rest = _HOLE.sub("", pattern)
    return "{" in rest or "}" in rest


def _pattern_problems(pattern: str, delimiters: str) -> Iterator[str]:
    literals = _HOLE.split(pattern)[::2]
    holes = _HOLE.findall(pattern)
    if not pattern:
        yield "is empty"
    if _malformed(pattern):
        yield f'"{pattern}": a placeholder is {{name}} in small letters, digits and _'
        return
    for hole in sorted({hole for hole in holes if holes.count(hole) > 1}):
        yield f'"{pattern}": the placeholder {{{hole}}} is there twice'
    if len(holes) > HOLES_MAX:
        yield f'"{pattern}": at most {HOLES_MAX} placeholders'
    if len(pattern.encode()) > TOPIC_BYTES:
        yield f"longer than {TOPIC_BYTES} bytes"
    for index, literal in enumerate(literals[1:] if delimiters else (), start=1):
        last = index == len(literals) - 1
        if (literal and literal[0] not in delimiters) or (not literal and not last):
            yield (
                f'"{pattern}": {{{holes[index - 1]}}} must end at a delimiter '
                f"({delimiters}) or with the topic"
            )


def _shape(pattern: str) -> str:
    return _HOLE.sub("{}", pattern)


def _matches(pattern: str, topic: str, delimiters: str) -> bool:
    parts = _HOLE.split(pattern)
    hole = f"[^{re.escape(delimiters)}]+" if delimiters else ".+"
    text = "".join(hole if i % 2 else re.escape(part) for i, part in enumerate(parts))
    return re.fullmatch(text, topic) is not None


def _topic_problems(venue: Venue) -> Iterator[Issue]:
    owners: dict[tuple[str, str], str] = {}
    for kind in ("topics", "events"):
        for topic in getattr(venue.decode, f"control_{kind}"):
            owners[kind, _shape(topic)] = f"decode.control_{kind}"
    for name, channel in venue.channels.items():
        for kind in _LISTS:
            patterns = getattr(channel, kind)
            for index, pattern in enumerate(patterns):
                path = ("channels", name, kind, index)
                for message in _pattern_problems(pattern, venue.decode.delimiters):
                    yield path, message
                owner = owners.setdefault((kind, _shape(pattern)), f"channels.{name}")
                if owner != f"channels.{name}":
                    yield path, f'"{pattern}" is already a pattern of {owner}'
                elif [_shape(p) for p in patterns].index(_shape(pattern)) < index:
                    yield path, f'"{pattern}" is there twice'


def _symbol_problems(name: str, channel: Channel) -> Iterator[Issue]:
    """Without a path of its own the symbol comes from the topic."""
    pattern = channel.symbol_pattern
    if pattern is not None:
        key = ("channels", name, "symbol_pattern")
        if channel.symbol is None:
            yield key, 'has no meaning without the key "symbol"'
        if pattern.count("{symbol}") != 1:
            yield key, "needs {symbol} once"
        if len(pattern.partition("{symbol}")[0].encode()) > TEXT_BYTES:
            yield key, f"at most {TEXT_BYTES} bytes before {{symbol}}"
    if channel.symbol is not None:
        return
    for index, topic in enumerate(channel.topics):
        if "{symbol}" not in topic:
            place = ("channels", name, "topics", index)
            yield place, f'"{topic}" needs {{symbol}}, because the channel has no key "symbol"'
    if channel.events:
        yield (
            ("channels", name, "events"),
            'an event does not name the instrument: the channel needs the key "symbol"',
        )


def _any_of(default: str | dict[str, str]) -> str:
    if isinstance(default, str):
        return default
    return next((value for key, value in default.items() if key != "by"), "")


def _subscribe_problems(name: str, channel: Channel, decode: Decode) -> Iterator[Issue]:
    path = ("channels", name, "subscribe")
    holes = topic_holes(channel.subscribe)
    for option in channel.options:
        if option in (*_SYMBOL_HOLES, *FACT_HOLES):
            yield ("channels", name, "options", option), "the name is taken by the instrument"
        elif option not in holes:
            yield ("channels", name, "options", option), 'not a placeholder of "subscribe"'
        default = channel.options[option]
        if isinstance(default, dict) and (default.get("by") not in FACT_HOLES or len(default) < 2):
            facts = ", ".join(FACTS)
            yield (
                ("channels", name, "options", option),
                f'a table needs "by" (one of {facts}) and at least one value',
            )
        texts = default.values() if isinstance(default, dict) else [default]
        for hole in topic_holes(list(texts)):
            if hole not in (*_SYMBOL_HOLES, *FACT_HOLES):
                yield ("channels", name, "options", option), f"unknown placeholder {{{hole}}}"
    if channel.subscribe is None:
        return
    known = [*_SYMBOL_HOLES, *FACT_HOLES, *channel.options]
    unknown = [hole for hole in holes if hole not in known]
    for hole in unknown:
        names = ", ".join(f"{{{k}}}" for k in known if k not in FACT_HOLES)
        yield path, f"unknown placeholder {{{hole}}}; known are {names} (add it to options)"
    if not isinstance(channel.subscribe, str):
        return
    if _malformed(HOLE.sub("", channel.subscribe)):
        yield path, f'"{channel.subscribe}": a placeholder is {{name}} in small letters'
        return
    # a topic without placeholders is a channel's name, and what is subscribed something else
    judged = any("{" in topic for topic in channel.topics) and any(
        envelope.match == "topics" for envelope in _topical(decode)
    )
    if unknown or not judged or any(_malformed(topic) for topic in channel.topics):
        return
    values = {"symbol": "X", "symbol_lower": "x"} | dict.fromkeys(FACT_HOLES, "x")
    values["expiry"] = "2026-12-25"
    try:
        values |= {n: fill_topic(_any_of(d), values) for n, d in channel.options.items()}
        topic = fill_topic(channel.subscribe, values)
    except ValueError:
        yield path, f'"{channel.subscribe}": only the expiry can be written as a day'
        return
    except KeyError:
        return  # told above
    if not any(_matches(p, topic, decode.delimiters) for p in channel.topics):
        yield path, f'"{topic}" (of a symbol X) matches none of the topics of this channel'


# ---- envelopes -----------------------------------------------------------------------------------


def _topical(decode: Decode) -> list[Envelope]:
    return [envelope for envelope in decode.envelopes if envelope.topic is not None]


def _message_problems(venue: Venue) -> Iterator[Issue]:
    """The ``@.`` paths of all channels: every envelope reads them beside its topic and payload."""
    found = message_paths(venue)
    if len(found) > MESSAGE_PATHS_MAX:
        yield ("decode",), f'{len(found)} different "@." fields; at most {MESSAGE_PATHS_MAX}'
    for path, key in found.items():
        if not path.startswith("@."):
            yield key, 'must start at the root of the message: "@."'
            continue
        step = path.removeprefix("@.")
        for longer in found:
            if longer.startswith(path + "."):
                yield key, f'"{path}" cannot be a value: "{longer}" is inside it'
        for envelope in venue.decode.envelopes:
            topic, payload = envelope.topic, envelope.payload
            if payload and inside(step, payload):
                yield key, f'"{path}" and the payload "{payload}" exclude each other'
                break
            if topic is not None and step != topic and inside(step, topic):
                yield key, f'"{path}" and the topic "{topic}" exclude each other'
                break


def _envelope_problems(venue: Venue) -> Iterator[Issue]:
    decode = venue.decode
    if not decode.envelopes:
        yield ("decode", "envelopes"), "at least one envelope is needed"
    if decode.only is not None:
        yield from _filter_problems(("decode", "only"), decode.only)
    if decode.learn is not None and not any(e.tagged or e.topic for e in decode.envelopes):
        yield ("decode", "learn"), "no envelope has a topic that could be a number"
    for index, envelope in enumerate(decode.envelopes):
        path = ("decode", "envelopes", index)
        if (envelope.topic is None) == (envelope.channel is None):
            yield path, 'exactly one of the keys "topic" and "channel" is needed'
        if envelope.channel is not None and envelope.channel not in venue.channels:
            known = ", ".join(venue.channels)
            yield (*path, "channel"), f'no channel "{envelope.channel}"; there are {known}'
        if envelope.when is not None:
            yield from _filter_problems((*path, "when"), envelope.when)
        if envelope.bare_tags and not envelope.tagged:
            yield (*path, "bare_tags"), "has no meaning without tagged = true"
        for text in envelope.bare_tags:
            if len(text.encode()) > TEXT_BYTES:
                yield (*path, "bare_tags"), f'"{text}" is longer than {TEXT_BYTES} bytes'
        if envelope.topic is not None:
            if envelope.payload and inside(envelope.topic, envelope.payload):
                yield (*path, "topic"), f'lies inside the payload "{envelope.payload}"'
            if not any(getattr(c, envelope.match) for c in venue.channels.values()):
                yield path, f'no channel has a list "{envelope.match}" to compare the topic with'
    fixed = {envelope.channel for envelope in decode.envelopes}
    lists = {envelope.match for envelope in _topical(decode)}
    for name, channel in venue.channels.items():
        offered = {kind for kind in _LISTS if getattr(channel, kind)}
        if channel.same_messages_as is not None:
            yield from _same_messages_problems(venue, name, channel, offered)
            continue
        for kind in sorted(offered - lists):
            yield ("channels", name, kind), f'no envelope has match = "{kind}"'
        if not offered and name not in fixed:
            yield (
                ("channels", name),
                'never recognised: it needs the key "topics", "events" or "names"',
            )
        alias = channel.same_stream_as
        if alias is not None:
            key = ("channels", name, "same_stream_as")
            if alias not in venue.channels or alias == name:
                known = ", ".join(other for other in venue.channels if other != name)
                yield key, f'no other channel "{alias}"; there are {known}'
            elif venue.channels[alias].same_stream_as is not None:
                yield key, f'"{alias}" itself belongs to another channel'
        if channel.checksum is not None:
            book = venue.channels[alias].book if alias in venue.channels else None
            if book is None or book.checksum is None:
                yield (
                    ("channels", name, "checksum"),
                    'needs "same_stream_as" with a channel whose book has a checksum rule',
                )


def _same_messages_problems(
    venue: Venue, name: str, channel: Channel, offered: set[str]
) -> Iterator[Issue]:
    """A channel that is only another way to subscribe."""
    key, alias = ("channels", name, "same_messages_as"), channel.same_messages_as
    other = venue.channels.get(alias or "")
    if other is None or other.same_messages_as is not None or alias == name:
        known = ", ".join(o for o, c in venue.channels.items() if c.same_messages_as is None)
        yield key, f'no channel "{alias}" to be decoded as; there are {known}'
    said = [*sorted(offered), *(r for r in _RECORDS if getattr(channel, r) is not None)]
    for what in said:
        yield ("channels", name, what), f'has no meaning beside same_messages_as = "{alias}"'
    if channel.subscribe is None:
        yield ("channels", name), 'without the key "subscribe" it says nothing'
    carries = [set(endpoint.carries) for endpoint in venue.session.endpoints]
    own = next((some for some in carries if some & {"*", name}), set())
    if name not in own or own & {"*", alias}:
        yield key, f'needs an endpoint of its own before that of "{alias}"'


# ---- channels ------------------------------------------------------------------------------------


def _side_problems(path: tuple[str, ...], side: SideRule) -> Iterator[Issue]:
    if side.sign and (side.buy or side.sell):
        yield (*path, "sign"), "the side is either a sign or a text"
    for key in () if side.sign else ("buy", "sell"):
        if not getattr(side, key):
            yield (*path, key), "at least one text is needed"
    for text in sorted(set(side.buy) & set(side.sell)):
        yield path, f'"{text}" is in both buy and sell'
    texts = [*side.buy, *side.sell]
    if len(texts) > SIDE_TEXTS_MAX:
        yield path, f"at most {SIDE_TEXTS_MAX} texts in buy and sell together"
    for text in texts:
        if len(text.encode()) > TEXT_BYTES:
            yield path, f'"{text}" is longer than {TEXT_BYTES} bytes'


def _filter_problems(path: tuple[str | int, ...], rule: RowFilter) -> Iterator[Issue]:
    for text in rule.values:
        if len(text.encode()) > TEXT_BYTES:
            yield (*path, "values"), f'"{text}" is longer than {TEXT_BYTES} bytes'


def _flag_problems(path: tuple[str, ...], flags: FlagRule) -> Iterator[Issue]:
    for name in flags.__struct_fields__:
        rule = getattr(flags, name)
        if isinstance(rule, RowFilter):
            yield from _filter_problems((*path, name), rule)


def _state_problems(path: tuple[str, ...], state: State) -> Iterator[Issue]:
    if state.word is None and state.status:
        yield (*path, "status"), 'has no meaning without the key "word"'
    if state.word is not None and not state.status:
        yield (*path, "status"), "at least one rule is needed"
    if state.word is None and not state.facts:
        yield path, 'needs the key "word", "facts" or both'
    if len(state.status) > STATE_RULES_MAX:
        yield (*path, "status"), f"at most {STATE_RULES_MAX} rules"
    if len(state.facts) > STATE_FACTS_MAX:
        yield (*path, "facts"), f"at most {STATE_FACTS_MAX} paths"
    for index, rule in enumerate(state.status):
        where: tuple[str | int, ...] = (*path, "status", index, "when")
        if len(rule.when) > STATE_CONDITIONS_MAX:
            yield where, f"at most {STATE_CONDITIONS_MAX} values"
        for texts in rule.when.values():
            for text in (texts,) if isinstance(texts, str) else texts:
                if len(text.encode()) > TEXT_BYTES:
                    yield where, f'"{text}" is longer than {TEXT_BYTES} bytes'


def _channel_problems(name: str, channel: Channel, decode: Decode) -> Iterator[Issue]:
    path = ("channels", name)
    if channel.same_messages_as is None and not any(
        getattr(channel, record) is not None for record in _RECORDS
    ):
        yield path, f"yields no record: it needs one of the tables {', '.join(_RECORDS)}"
    if channel.trade is not None and channel.liquidation is not None:
        yield (*path, "liquidation"), 'a channel has either "trade" or "liquidation"'
    if channel.book is not None:
        yield from book_problems(name, channel)
    if isinstance(channel.only, RowFilter):
        yield from _filter_problems((*path, "only"), channel.only)
    for record in ("trade", "liquidation"):
        trade = getattr(channel, record)
        if trade is not None and trade.side is not None:
            yield from _side_problems((*path, record, "side"), trade.side)
        if trade is not None:
            yield from _flag_problems((*path, record, "flags"), trade.flags)
            if isinstance(trade.replay, RowFilter):
                yield from _filter_problems((*path, record, "replay"), trade.replay)
    if channel.state is not None:
        yield from _state_problems((*path, "state"), channel.state)
    for record in ("deriv", "greeks"):
        table = getattr(channel, record)
        if table is not None and all(getattr(table, f) is None for f in table.__struct_fields__):
            yield (*path, record), "names no field"
    if len(channel.time) > TIMES_MAX:
        yield (*path, "time"), f"at most {TIMES_MAX} paths"
    yield from field_problems(name, channel, decode)


def problems(venue: Venue) -> Iterator[Issue]:
    """Every contradiction in ``venue``: ``(key path, message)``."""
    if not re.match(r"https?://[^/]", venue.rest_url):
        yield ("rest_url",), 'must start with "https://" or "http://"'
    delimiters = venue.decode.delimiters
    if not delimiters or not delimiters.isascii():
        yield ("decode", "delimiters"), "at least one character is needed, all of them ASCII"
    if not venue.channels:
        yield ("channels",), "at least one channel is needed"
    yield from _envelope_problems(venue)
    yield from _topic_problems(venue)
    for name, channel in venue.channels.items():
        yield from _symbol_problems(name, channel)
        yield from _subscribe_problems(name, channel, venue.decode)
        yield from _channel_problems(name, channel, venue.decode)
    yield from _message_problems(venue)
    for text in session_problems(venue.session, set(venue.channels)):
        key, _, message = text.partition(": ")
        yield key, message
    if venue.reference is not None:
        yield from reference_problems(venue.reference)


def parse_venue(text: str | bytes, file: str) -> tuple[Venue | None, list[Problem]]:
    """The venue of a TOML text, or None with all of its problems."""
    return parse(text, file, Venue, problems)


def lint(path: str | Path) -> list[Problem]:
    """All problems of a venue file, in the order of its lines; an empty list: it can be used."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        return [Problem(str(path), 0, "", f"cannot be read: {error.strerror or error}")]
    return parse_venue(data, str(path))[1]
