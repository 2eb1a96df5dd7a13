"""What a venue file says about a connection's life: the ``[session]`` table.

Everything that differs between venues in connecting, subscribing, keeping alive and reconnecting
is a value here; ``feedd.reader.session`` is the one program that runs on these values. A *template*
is a TOML table that becomes one JSON message: a value that is exactly ``"{id}"`` or ``"{topics}"``
is replaced by the request number or by the list of topics, so that a symbol is never pasted into
JSON text. A *path* is a dotted list of object keys (``"params.type"``); ``""`` is the message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

__all__ = [
    "PLACEHOLDERS",
    "Ack",
    "Endpoint",
    "Health",
    "Heartbeat",
    "Limits",
    "Match",
    "Notice",
    "RestLimits",
    "Session",
    "Subscribe",
    "fill_template",
    "path_get",
    "session_problems",
]

PLACEHOLDERS = ("{id}", "{topics}", "{topic}")
_MISSING = object()

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Path = Annotated[str, msgspec.Meta(max_length=128)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=7 * 86_400)]


class _Base(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Endpoint(_Base, frozen=True, kw_only=True):
    """One WebSocket address and the channels that it carries."""

    name: Name
    url: Annotated[str, msgspec.Meta(pattern=r"^wss?://")]
    carries: tuple[str, ...] = ("*",)
    """Names of ``[channels.*]``; ``"*"`` for all of them."""
    streams_max: Positive = 200
    """Streams that the planner puts on one connection (not above the venue's own limit)."""


class Limits(_Base, frozen=True, kw_only=True):
    """What the venue allows; feedd stays inside, over all readers and restarts."""

    connects_max: Positive
    """Connection attempts that one IP may make in ``connects_window_s``."""
    connects_window_s: Seconds
    connections_max: Positive = 1_000
    """Connections that one IP may hold at once."""
    messages_max: Positive
    """Frames that one connection may send in ``messages_window_s``, control frames included."""
    messages_window_s: Seconds = 1.0
    messages_reserved: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Part of ``messages_max`` that is kept for pings, pongs and heartbeat replies."""
    topics_per_request: Positive = 200
    request_bytes_max: Positive = 65_536
    life_max_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """The venue cuts a connection after this long; 0: it does not. feedd rotates before."""
    message_bytes_max: Positive = 16 * 1024 * 1024


class Subscribe(_Base, frozen=True, kw_only=True):
    request: dict[str, Any]
    unsubscribe: dict[str, Any]
    id_first: Annotated[int, msgspec.Meta(ge=0)] = 1


class Ack(_Base, frozen=True, kw_only=True):
    """How a request is answered.

    ``list``: the value at ``result`` lists the accepted topics, and what is not in it was refused.
    ``flag``: the answer accepts the whole request unless one of the ``errors`` paths has a value.
    """

    kind: Literal["list", "flag"]
    id: Path = "id"
    result: Path = "result"
    errors: tuple[Path, ...] = ("error",)
    """Paths whose presence with a value other than null means that the request failed."""
    timeout_s: Seconds = 10.0
    attempts_max: Annotated[int, msgspec.Meta(ge=1, le=10)] = 3
    """A topic that failed this often is given up until the next connection, and counted."""


class Match(_Base, frozen=True, kw_only=True):
    path: Path
    value: str


class Heartbeat(_Base, frozen=True, kw_only=True):
    """Who proves to whom that the connection lives.

    ``server_ping``: the venue sends WebSocket pings, which the line answers.
    ``request_response``: ``arm`` asks the venue for heartbeats, every message that ``trigger``
    describes is answered with ``reply``.
    feedd sends WebSocket pings of its own in both modes, whether data flows or not: a ping flood
    or a frame that never ends would hide a dead peer from a ping sent only when idle.
    """

    mode: Literal["server_ping", "request_response"]
    arm: dict[str, Any] | None = None
    trigger: Match | None = None
    reply: dict[str, Any] | None = None
    ping_interval_s: Seconds = 10.0
    pong_timeout_s: Seconds = 5.0
    silence_max_s: Seconds | None = None
    """Nothing at all for this long (not even a heartbeat): the connection is dead."""


class Health(_Base, frozen=True, kw_only=True):
    data_age_max_s: Seconds = 60.0
    """No data message for this long, counted from the first subscribe: reconnect."""
    sustained_s: Seconds = 10.0
    """Data must have flowed for this long before the reconnect delay starts from zero again."""
    quiet_channels: tuple[str, ...] = ()
    """Channels that may say nothing for hours; a connection of these alone has no data age."""


class Notice(_Base, frozen=True, kw_only=True):
    """A control message with a meaning: ``rotate`` and ``reconnect`` leave the connection."""

    name: Name
    when: tuple[Match, ...]
    action: Literal["rotate", "reconnect", "log", "ignore"]


class RestLimits(_Base, frozen=True, kw_only=True):
    """The request budget of the venue's REST interface, per IP."""

    weight_max: Positive
    window_s: Seconds = 60.0
    snapshot_weight: Positive = 1
    reference_weight: Positive = 1
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4


class Session(_Base, frozen=True, kw_only=True):
    endpoints: tuple[Endpoint, ...]
    limits: Limits
    subscribe: Subscribe
    ack: Ack
    heartbeat: Heartbeat
    health: Health = msgspec.field(default_factory=Health)
    rest: RestLimits
    notices: tuple[Notice, ...] = ()


def path_get(message: Any, path: str, default: Any = None) -> Any:
    """The value at a dotted ``path`` of a decoded JSON message, else ``default``."""
    if path == "":
        return message
    for key in path.split("."):
        if not isinstance(message, Mapping):
            return default
        message = message.get(key, _MISSING)
        if message is _MISSING:
            return default
    return message


def fill_template(template: Any, *, request_id: int = 0, topics: list[str] | None = None) -> Any:
    """``template`` with its placeholders replaced; the result is ready for ``orjson.dumps``."""
    if isinstance(template, Mapping):
        return {
            key: fill_template(value, request_id=request_id, topics=topics)
            for key, value in template.items()
        }
    if isinstance(template, list):
        return [fill_template(value, request_id=request_id, topics=topics) for value in template]
    if template == "{id}":
        return request_id
    if template == "{topics}":
        return list(topics or ())
    if template == "{topic}":
        return topics[0] if topics else ""
    return template


def _placeholders(template: Any) -> set[str]:
    if isinstance(template, Mapping):
        return set().union(*map(_placeholders, template.values())) if template else set()
    if isinstance(template, list):
        return set().union(*map(_placeholders, template)) if template else set()
    if isinstance(template, str) and template.startswith("{") and template.endswith("}"):
        return {template}
    return set()


def _template_problems(where: str, template: Any, needs: set[str]) -> list[str]:
    found = _placeholders(template)
    unknown = sorted(found - set(PLACEHOLDERS))
    problems = [
        f"{where}: unknown placeholder {name}; known are {', '.join(PLACEHOLDERS)}"
        for name in unknown
    ]
    problems += [f'{where}: must hold the value "{name}"' for name in sorted(needs - found)]
    return problems


def session_problems(session: Session, channels: set[str]) -> list[str]:
    """Mistakes that types alone cannot see, each as ``key: what is wrong``."""
    problems: list[str] = []
    if not session.endpoints:
        problems.append("session.endpoints: at least one endpoint is needed")
    names = [endpoint.name for endpoint in session.endpoints]
    problems += [
        f"session.endpoints: the name {name!r} is used more than once"
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    carried: set[str] = set()
    for endpoint in session.endpoints:
        for channel in endpoint.carries:
            if channel == "*":
                carried |= channels
            elif channel not in channels:
                problems.append(
                    f"session.endpoints.{endpoint.name}.carries: no channel {channel!r}; "
                    f"this venue has {', '.join(sorted(channels))}"
                )
            carried.add(channel)
    problems += [
        f"session.endpoints: no endpoint carries the channel {channel!r}"
        for channel in sorted(channels - carried)
    ]
    problems += [
        f"session.health.quiet_channels: no channel {channel!r}"
        for channel in sorted(set(session.health.quiet_channels) - channels)
    ]
    needs = {"{id}", "{topics}"}
    if _placeholders(session.subscribe.request) & {"{topic}"}:
        needs = {"{id}", "{topic}"}
    problems += _template_problems("session.subscribe.request", session.subscribe.request, needs)
    problems += _template_problems(
        "session.subscribe.unsubscribe", session.subscribe.unsubscribe, needs
    )
    beat = session.heartbeat
    if beat.mode == "request_response":
        for key in ("trigger", "reply"):
            if getattr(beat, key) is None:
                problems.append(f'session.heartbeat.{key}: needed when mode is "request_response"')
    if beat.arm is not None:
        problems += _template_problems("session.heartbeat.arm", beat.arm, {"{id}"})
    if beat.reply is not None:
        problems += _template_problems("session.heartbeat.reply", beat.reply, set())
    if beat.pong_timeout_s >= beat.ping_interval_s:
        problems.append("session.heartbeat.pong_timeout_s: must be less than ping_interval_s")
    limits = session.limits
    if limits.messages_reserved >= limits.messages_max:
        problems.append("session.limits.messages_reserved: must be less than messages_max")
    return problems
