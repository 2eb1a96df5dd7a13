"""What a venue file says about a connection's life: the ``[session]`` table.

Everything that differs between venues in connecting, subscribing, keeping alive and reconnecting
is a value here; ``feedd.reader.session`` is the one program that runs on these values. For
templates and paths see ``feedd.venues.templates``; ``feedd.venues.session_lint`` finds what types
cannot see.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from feedd.limits import MESSAGE_BYTES_MAX

__all__ = [
    "Ack",
    "Auth",
    "Endpoint",
    "FullSet",
    "Health",
    "Heartbeat",
    "Limits",
    "Match",
    "Notice",
    "RestLimits",
    "Session",
    "Subscribe",
    "Token",
]

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Path = Annotated[str, msgspec.Meta(max_length=128)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=7 * 86_400)]


class _Base(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Match(_Base, frozen=True, kw_only=True):
    """The value at ``path``, as text, is ``value`` or one of them; numbers and truth values count
    as JSON writes them. Without ``value``: there is one, and it is not null."""

    path: Path
    value: str | tuple[str, ...] | None = None


class Endpoint(_Base, frozen=True, kw_only=True):
    """One WebSocket address and the streams that it carries."""

    name: Name
    url: Annotated[str, msgspec.Meta(pattern=r"^wss?://")]
    carries: tuple[str, ...] = ("*",)
    """Names of ``[channels.*]``; ``"*"`` for all of them."""
    symbols: tuple[str, ...] = ("*",)
    """Patterns of the venue's symbols (``"*_USDT"``): one address per settlement coin."""
    streams_max: Positive = 200
    """Streams that the planner puts on one connection (not above the venue's own limit)."""
    channel_max: dict[str, Positive] = {}
    """The same for single channels."""
    headers: dict[str, str] = {}
    """Sent with the handshake."""
    url_topics: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """What a new connection puts behind ``url`` for the streams that it is to carry, with the hole
    ``{topics}``: ``"?streams={topics}"``. No request is sent for these and no answer awaited; those
    that come later, or do not fit into ``url_bytes_max``, are asked for as everywhere."""
    url_separator: Annotated[str, msgspec.Meta(min_length=1, max_length=4)] = "/"
    url_bytes_max: Annotated[int, msgspec.Meta(ge=64, le=16_384)] = 4_096


class Limits(_Base, frozen=True, kw_only=True):
    """What the venue allows; feedd stays inside, over all readers and restarts."""

    connects_max: Positive
    """Connection attempts that one IP may make in ``connects_window_s``."""
    connects_window_s: Seconds
    connections_max: Positive = 1_000
    """Connections that one IP may hold at once."""
    streams_total_max: Positive = 1_000_000
    """Streams that one IP may have on all its connections."""
    messages_max: Positive
    """Frames that one connection may send in ``messages_window_s``, control frames included."""
    messages_window_s: Seconds = 1.0
    messages_reserved: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Part of ``messages_max`` that is kept for pings, pongs and heartbeat replies."""
    requests_per_hour: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Subscribe, unsubscribe and login requests of one connection in any hour; 0: no such limit."""
    topics_per_request: Positive = 200
    request_bytes_max: Positive = 65_536
    topic_chars_max: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Characters of all topics of one connection together; 0: no such limit."""
    subscribe_within_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """The venue closes a connection that has not subscribed after this long; 0: it does not."""
    life_max_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """The venue cuts a connection after this long; 0: it does not. feedd rotates before."""
    message_bytes_max: Positive = MESSAGE_BYTES_MAX


class Subscribe(_Base, frozen=True, kw_only=True):
    """How streams are asked for.

    Placeholders of both templates: ``{id}``, ``{time_s}``, ``{time_ms}`` and one of ``{topics}``
    (the list of all streams of the request: texts, or tables where ``Channel.subscribe`` is one)
    and ``{topic}`` (a single stream; ``"*" = "{topic}"`` puts the fields of its table beside the
    others). ``{handle}`` and ``{handles}``: what the venue called the stream in its answer.
    """

    request: dict[str, Any]
    unsubscribe: dict[str, Any]
    id_first: Annotated[int, msgspec.Meta(ge=0)] = 1
    id_text: bool = False
    """The request number is a JSON text."""
    group: Name | None = None
    """With ``{topic}``: streams whose tables differ at this key alone share a request that holds
    the list of the values there. A value that is a list already stands alone."""
    group_max: dict[str, Positive] = {}
    """Streams per request of single channels, below ``limits.topics_per_request``."""
    opening: tuple[dict[str, Any], ...] = ()
    """Messages of every connection before the first subscription: options of the connection,
    venue-wide channels."""


class FullSet(_Base, frozen=True, kw_only=True):
    """An answer that lists everything that the connection has subscribed.

    At ``path`` is an object from channel name to list of symbols, or with ``name`` and ``symbols``
    a list of objects that hold the two. ``stream_name`` and ``stream_symbol`` are where the same
    two are in the table of a stream.
    """

    path: Path
    name: Path | None = None
    symbols: Path | None = None
    stream_name: Path
    stream_symbol: Path


class Ack(_Base, frozen=True, kw_only=True):
    """How a request is answered.

    ``list``: the value at ``result`` lists the accepted topics; what is not in it was refused.
    ``flag``: the answer accepts the whole request unless it is an error.
    ``per_arg``: one answer for each stream, which it names at one of the paths ``arg``.
    ``full_set``: every answer lists all that is subscribed, see ``full``.
    ``none``: no answer; a stream counts as active when it was asked for.
    """

    kind: Literal["list", "flag", "per_arg", "full_set", "none"]
    when: tuple[Match, ...] = ()
    """Which messages are answers, where there is no request number to tell."""
    id: Path = "id"
    """Where the request number is; "": the venue sends none back."""
    echo: dict[str, Path] = {}
    """Path in the answer -> path in the request: answers repeat these values of their request."""
    result: Path = "result"
    refused: Path | None = None
    """``list``: where refused topics are listed."""
    arg: tuple[Path, ...] = ()
    error_arg: dict[str, Path] = {}
    """Key of a stream's table -> path in an error: which stream was refused."""
    handle: Path | None = None
    """Where an answer names the stream for later requests."""
    full: FullSet | None = None
    errors: tuple[Path, ...] = ("error",)
    """Paths whose presence with a value other than null means that the request failed."""
    failed: tuple[Match, ...] = ()
    """The request failed when one of these holds."""
    duplicate: tuple[str, ...] = ()
    """Parts of an error's text that say: subscribed already."""
    bad_symbol: Literal["error", "omitted", "silent", "closes_socket"] = "error"
    """What an unknown symbol does; ``closes_socket``: streams without an answer when the venue
    closes are asked for one by one afterwards, and the one that closes again is given up."""
    grace_s: Seconds = 1.0
    """``per_arg``: how long after an error without a stream the other answers are waited for."""
    timeout_s: Seconds = 10.0
    attempts_max: Annotated[int, msgspec.Meta(ge=1, le=10)] = 3
    """A topic that failed this often is given up until the next connection, and counted."""


class Heartbeat(_Base, frozen=True, kw_only=True):
    """Who proves to whom that the connection lives.

    ``server_ping``: the venue sends WebSocket pings, which the line answers.
    ``client_ws_ping``: the venue wants WebSocket pings.
    ``client_text``: the venue wants ``payload`` (a text, not JSON) and answers ``reply_text``.
    ``client_json``: the venue wants the message ``payload``; ``reply`` describes its answers.
    ``request_response``: ``arm`` asks the venue for heartbeats, every message that ``trigger``
    describes is answered with ``reply``, where ``{trigger.PATH}`` is the value that the message has
    at the path (a number that must come back).
    ``subscribe_channel``: the venue's heartbeats are a channel that ``subscribe.opening`` asks for.
    """

    mode: Literal[
        "server_ping",
        "client_ws_ping",
        "client_text",
        "client_json",
        "request_response",
        "subscribe_channel",
    ]
    arm: dict[str, Any] | None = None
    trigger: Match | None = None
    reply: dict[str, Any] | None = None
    payload: str | dict[str, Any] | None = None
    reply_text: str | None = None
    reply_when: tuple[tuple[Match, ...], ...] = ()
    """Forms of the answer to ``payload``: in one of them every match holds."""
    texts: tuple[str, ...] = ()
    """Messages of the venue that are not JSON and mean nothing else than that it lives."""
    only_when_idle: bool = False
    """Ping only when nothing came for ``ping_interval_s``."""
    ws_ping: bool | None = None
    """Whether feedd sends WebSocket pings of its own, whether data flows or not: a ping flood or a
    frame that never ends would hide a dead peer from a ping sent only when idle. Default: yes,
    unless the venue has pings of its own form."""
    ping_interval_s: Seconds = 10.0
    pong_timeout_s: Seconds = 5.0
    silence_max_s: Seconds | None = None
    """Nothing at all for this long (not even a heartbeat): the connection is dead."""

    @property
    def pings_ws(self) -> bool:
        if self.ws_ping is not None:
            return self.ws_ping
        return self.mode in ("server_ping", "client_ws_ping", "request_response")

    @property
    def pings_app(self) -> bool:
        return self.mode in ("client_text", "client_json")

    @property
    def control_texts(self) -> frozenset[str]:
        """Whole messages that are no JSON and no data."""
        return frozenset(self.texts) | ({self.reply_text} if self.reply_text else frozenset())


class Health(_Base, frozen=True, kw_only=True):
    data_age_max_s: Seconds = 60.0
    """No data message for this long, counted from the first subscribe: reconnect."""
    sustained_s: Seconds = 10.0
    """Data must have flowed for this long before the reconnect delay starts from zero again."""
    first_message_s: Seconds = 30.0
    """A book whose snapshot comes in the stream has sent it by then: a subscription that was
    accepted and never says a word is noticed (a symbol of another family)."""
    quiet_channels: tuple[str, ...] = ()
    """Channels that may say nothing for hours; a connection of these alone has no data age."""
    stream_age_max_s: dict[str, Seconds] = {}
    """Channel -> the longest silence of one of its streams that the venue promises (repeated
    snapshots, keep-alive messages, fixed rates). Older: probe, resubscribe, rotate, alarm."""


class Notice(_Base, frozen=True, kw_only=True):
    """A control message with a meaning.

    ``rotate`` replaces the connection before it is left (within ``within_s``, when the venue will
    have closed it), ``reconnect`` leaves it at once,
    ``mark_stale`` says that nothing on it can be trusted, ``resubscribe_all`` starts every stream
    anew, ``resume`` does so after ``mark_stale`` alone.
    """

    name: Name
    when: tuple[Match, ...]
    action: Literal[
        "rotate", "reconnect", "mark_stale", "resubscribe_all", "resume", "log", "ignore"
    ]
    within_s: Seconds = 20.0


class RestLimits(_Base, frozen=True, kw_only=True):
    """The request budget of the venue's REST interface, per IP."""

    weight_max: Positive
    window_s: Seconds = 60.0
    snapshot_weight: Positive = 1
    reference_weight: Positive = 1
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4


class Token(_Base, frozen=True, kw_only=True):
    """A token instead of a login: a signed REST request gives it, every subscription of some
    endpoints wants it.

    It is asked for when a connection is about to be opened, and holds as long as the connection.
    """

    path: Annotated[str, msgspec.Meta(pattern=r"^/", max_length=256)]
    """Behind ``rest_url``; the request is a POST."""
    headers: dict[str, str]
    """With the fields of ``method`` as placeholders, as in ``form``."""
    form: str = ""
    """The body, ``application/x-www-form-urlencoded``."""
    result: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    """Where the answer has the token."""
    errors: Path | None = None
    """Where it says what was wrong: something there means that there is no token."""
    endpoints: tuple[Name, ...]
    """Their connections get one."""


class Auth(_Base, frozen=True, kw_only=True):
    """A login before the first subscription, when the configuration names credentials.

    ``method`` is one of ``feedd.venues.auth``; the fields that it makes are placeholders of
    ``request`` and, for venues that want them in every subscription, of ``subscribe``. Nothing of
    either is ever shown.
    """

    method: Name
    request: dict[str, Any] | None = None
    """The login message; nothing is subscribed before its answer."""
    subscribe: dict[str, Any] = {}
    """Put beside the fields of every subscribe and unsubscribe request, signed anew."""
    topic: dict[str, Any] = {}
    """Put into the table of every stream that is asked for: ``{ token = "{token}" }``."""
    token: Token | None = None
    """With it ``{token}`` is the only placeholder of ``subscribe`` and ``topic``, and connections
    of other endpoints do without credentials."""
    accepted: tuple[Match, ...] = ()
    """The login succeeded when all of these hold; without: when the answer with its number is no
    error by the rules of ``[session.ack]``."""
    refused: tuple[tuple[Match, ...], ...] = ()
    """Forms of a refusal: in one of them every match holds."""
    timeout_s: Seconds = 5.0


class Session(_Base, frozen=True, kw_only=True):
    endpoints: tuple[Endpoint, ...]
    limits: Limits
    subscribe: Subscribe
    ack: Ack
    heartbeat: Heartbeat
    health: Health = msgspec.field(default_factory=Health)
    rest: RestLimits
    notices: tuple[Notice, ...] = ()
    auth: Auth | None = None
