"""Mistakes of a ``[session]`` table that types cannot see: keys that contradict each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from feedd.venues.auth import FIELDS
from feedd.venues.session_schema import Ack, Heartbeat, Session, Subscribe, Token
from feedd.venues.templates import TRIGGER, placeholders

__all__ = ["session_problems"]

COMMON = frozenset({"id", "time_s", "time_ms"})
STREAMS = frozenset({"topic", "topics"})
HANDLES = frozenset({"handle", "handles"})
TOPICS = "{topics}"


def session_problems(session: Session, channels: set[str]) -> list[str]:
    """Every mistake, each as ``key: what is wrong``."""
    return [
        *_endpoints(session, channels),
        *_subscribe(session.subscribe, session.ack),
        *_ack(session.ack, session.subscribe),
        *_heartbeat(session.heartbeat),
        *_rest(session, channels),
        *_auth(session),
    ]


def _endpoints(session: Session, channels: set[str]) -> Iterator[str]:
    if not session.endpoints:
        yield "session.endpoints: at least one endpoint is needed"
    names = [endpoint.name for endpoint in session.endpoints]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"session.endpoints: the name {name!r} is used more than once"
    carried: set[str] = set()
    for endpoint in session.endpoints:
        where = f"session.endpoints.{endpoint.name}"
        for channel in endpoint.carries:
            if channel == "*":
                carried |= channels
            elif channel not in channels:
                yield (
                    f"{where}.carries: no channel {channel!r}; "
                    f"this venue has {', '.join(sorted(channels))}"
                )
            carried.add(channel)
        for channel in sorted(set(endpoint.channel_max) - channels):
            yield f"{where}.channel_max: no channel {channel!r}"
        if endpoint.url_topics and endpoint.url_topics.count(TOPICS) != 1:
            yield f'{where}.url_topics: needs "{TOPICS}" once'
        if not endpoint.symbols:
            yield f"{where}.symbols: at least one pattern is needed"
    for channel in sorted(channels - carried):
        yield f"session.endpoints: no endpoint carries the channel {channel!r}"


def _rest(session: Session, channels: set[str]) -> Iterator[str]:
    for key, names in (
        ("health.quiet_channels", set(session.health.quiet_channels)),
        ("health.stream_age_max_s", set(session.health.stream_age_max_s)),
        ("subscribe.group_max", set(session.subscribe.group_max)),
    ):
        for name in sorted(names - channels):
            yield f"session.{key}: no channel {name!r}"
    limits = session.limits
    if limits.messages_reserved >= limits.messages_max:
        yield "session.limits.messages_reserved: must be less than messages_max"


def _template(
    where: str, template: Any, known: frozenset[str], needs: frozenset[str] = frozenset()
) -> Iterator[str]:
    found = placeholders(template)
    for name in sorted(found - known):
        shown = ", ".join(f"{{{k}}}" for k in sorted(known))
        yield f"{where}: unknown placeholder {{{name}}}; known are {shown}"
    for name in sorted(needs - found):
        yield f'{where}: must hold the value "{{{name}}}"'


def _subscribe(subscribe: Subscribe, ack: Ack) -> Iterator[str]:
    needs = frozenset({"id"}) if ack.id else frozenset()
    many = "topics" in placeholders(subscribe.request)
    stream = frozenset({"topics" if many else "topic"})
    yield from _template(
        "session.subscribe.request", subscribe.request, COMMON | STREAMS, needs | stream
    )
    known = COMMON | STREAMS | (HANDLES if ack.handle is not None else frozenset())
    found = placeholders(subscribe.unsubscribe)
    if found & HANDLES:
        stream = frozenset()
    yield from _template(
        "session.subscribe.unsubscribe", subscribe.unsubscribe, known, needs | stream
    )
    if {"topic", "topics"} <= placeholders(subscribe.request):
        yield "session.subscribe.request: either {topic} or {topics}, not both"
    if subscribe.group is not None and many:
        yield "session.subscribe.group: only for a request with {topic}"
    if subscribe.group_max and many is False and subscribe.group is None:
        yield "session.subscribe.group_max: a request with {topic} and no group holds one stream"
    for index, message in enumerate(subscribe.opening):
        yield from _template(f"session.subscribe.opening[{index}]", message, COMMON)


def _ack(ack: Ack, subscribe: Subscribe) -> Iterator[str]:
    where = "session.ack"
    if ack.kind == "per_arg" and not ack.arg:
        yield f'{where}.arg: needed when kind is "per_arg"'
    if ack.kind == "per_arg" and not ack.id and not ack.when:
        yield f"{where}.when: needed to tell answers when they have no number"
    if (ack.kind == "full_set") != (ack.full is not None):
        yield f'{where}.full: goes with kind = "full_set"'
    if ack.kind == "full_set" and not ack.when:
        yield f'{where}.when: needed when kind is "full_set"'
    if ack.kind == "flag" and not ack.id and not ack.echo:
        yield f'{where}.echo: needed when kind is "flag" and answers have no number'
    if ack.full is not None and (ack.full.name is None) != (ack.full.symbols is None):
        yield f"{where}.full: name and symbols go together"
    request = set(subscribe.request)
    for answer, path in ack.echo.items():
        if path.split(".")[0] not in request and "*" not in request:
            yield f"{where}.echo.{answer}: the request has no {path!r}"
    if ack.refused is not None and ack.kind != "list":
        yield f'{where}.refused: goes with kind = "list"'


def _auth(session: Session) -> Iterator[str]:
    auth, where = session.auth, "session.auth"
    if auth is None:
        return
    known = FIELDS.get(auth.method)
    if known is None:
        yield f"{where}.method: no way to sign called {auth.method!r}; known: {', '.join(FIELDS)}"
        return
    if auth.token is not None:
        yield from _token(session, auth.token, known)
        known = frozenset({"token"})
    yield from _template(f"{where}.topic", auth.topic, known)
    numbered = frozenset({"id"}) if auth.request is not None and not auth.accepted else frozenset()
    if auth.request is not None:
        yield from _template(f"{where}.request", auth.request, COMMON | known, numbered)
    yield from _template(f"{where}.subscribe", auth.subscribe, COMMON | known)
    if auth.request is None and not auth.subscribe and not auth.topic:
        yield f"{where}: request, subscribe or topic is needed"
    if auth.topic and "topic" not in placeholders(session.subscribe.request):
        yield f"{where}.topic: only for a request with {{topic}}"
    within_s = session.limits.subscribe_within_s
    if auth.request is not None and within_s and auth.timeout_s >= within_s:
        yield f"{where}.timeout_s: must be less than limits.subscribe_within_s"


def _token(session: Session, token: Token, known: frozenset[str]) -> Iterator[str]:
    where = "session.auth.token"
    for name, text in {**token.headers, "form": token.form}.items():
        key = "form" if name == "form" else f"headers.{name}"
        yield from _template(f"{where}.{key}", text, known)
    names = {endpoint.name for endpoint in session.endpoints}
    for name in token.endpoints:
        if name not in names:
            yield f"{where}.endpoints: no endpoint {name!r}; there are {', '.join(sorted(names))}"
    if not token.endpoints:
        yield f"{where}.endpoints: at least one is needed"
    if session.auth is not None and session.auth.request is not None:
        yield f"{where}: either a token or a login (request)"


def _heartbeat(beat: Heartbeat) -> Iterator[str]:
    where = "session.heartbeat"
    if beat.mode == "request_response":
        for key in ("trigger", "reply"):
            if getattr(beat, key) is None:
                yield f'{where}.{key}: needed when mode is "request_response"'
    if beat.mode == "client_text":
        if not isinstance(beat.payload, str):
            yield f'{where}.payload: a text is needed when mode is "client_text"'
        if beat.reply_text is None and not beat.reply_when:
            yield f'{where}.reply_text: needed when mode is "client_text" (or reply_when)'
    if beat.mode == "client_json":
        if not isinstance(beat.payload, dict):
            yield f'{where}.payload: a table is needed when mode is "client_json"'
        if beat.reply_text is None and not beat.reply_when:
            yield f'{where}.reply_when: needed when mode is "client_json" (or reply_text)'
    if beat.payload is not None and not beat.pings_app:
        yield f'{where}.payload: goes with mode = "client_text" or "client_json"'
    if beat.mode == "client_ws_ping" and not beat.pings_ws:
        yield f'{where}.ws_ping: cannot be false when mode is "client_ws_ping"'
    if not beat.pings_ws and not beat.pings_app and beat.silence_max_s is None:
        yield f"{where}.silence_max_s: needed where nothing is pinged"
    if beat.arm is not None:
        yield from _template(f"{where}.arm", beat.arm, COMMON, frozenset({"id"}))
    if beat.reply is not None:
        echoed = {name for name in placeholders(beat.reply) if name.startswith(TRIGGER)}
        yield from _template(f"{where}.reply", beat.reply, COMMON | echoed)
    if isinstance(beat.payload, dict):
        yield from _template(f"{where}.payload", beat.payload, COMMON)
    if beat.pong_timeout_s >= beat.ping_interval_s:
        yield f"{where}.pong_timeout_s: must be less than ping_interval_s"
    for text in sorted(beat.control_texts):
        if not 0 < len(text.encode()) <= 32:
            yield f"{where}: the text {text!r} is not 1 to 32 bytes long"
