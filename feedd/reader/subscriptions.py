"""Which topics are wanted, asked for, accepted or refused: pure bookkeeping of one connection.

Requests go out in batches inside the venue's limits, every answer is compared with its request.
A refused batch is halved until the topic that spoils it stands alone; a topic that failed
``attempts_max`` times is given up, reported and counted: it is asked for once more after a minute,
then ever more seldom. A late answer still settles its request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

import orjson

from feedd.clock import SECOND_NS, now_ns
from feedd.reader.answers import Answers
from feedd.reader.signing import Signer
from feedd.reader.topics import Ledger, Outcome, Request, SendWindow, Topic, TopicState, Wanted
from feedd.venues.session_schema import Endpoint, Session
from feedd.venues.templates import echoes, fill_template, placeholders

__all__ = ["Subscriptions"]

RESUBSCRIBE_CAP_S = 60.0
RESUBSCRIBE_FORGET_S = 300.0
HOUR_NS = 3_600 * SECOND_NS
MESSAGE_BYTES = 256
"""Room that a request leaves for everything but its topics."""
_WAITING = (TopicState.QUEUED, TopicState.LEAVING)


class Subscriptions:
    """The topics of one connection; ``pump`` yields the next requests, ``answer`` reads acks."""

    def __init__(
        self,
        venue: Session,
        wanted: Iterable[str | Wanted],
        wall: Callable[[], int] = now_ns,
        signer: Signer | None = None,
    ) -> None:
        self._venue = venue
        self._wall = wall
        self._signer = signer
        self._next_id = venue.subscribe.id_first
        self._ledger = Ledger(venue, wanted)
        self._answers = Answers(self._ledger)
        held = placeholders(venue.subscribe.unsubscribe)
        self._by_handle = "handle" in held  # one stream per unsubscribe request
        hourly = venue.limits.requests_per_hour
        self._hourly = SendWindow(hourly, HOUR_NS, 0) if hourly else None

    # -- state ---------------------------------------------------------------------------------

    @property
    def topics(self) -> dict[str, Topic]:
        return self._ledger.topics

    def count(self, state: TopicState) -> int:
        return sum(topic.state is state for topic in self.topics.values())

    @property
    def settled(self) -> bool:
        """Every topic is active or given up."""
        done = (TopicState.ACTIVE, TopicState.FAILED)
        return all(topic.state in done for topic in self.topics.values())

    @property
    def asked(self) -> bool:
        """Something was asked for on this connection."""
        return any(topic.state is not TopicState.QUEUED for topic in self.topics.values())

    def starved(self, now: int) -> bool:
        """Something should be sent and this connection may not any more within the hour."""
        return (
            self._hourly is not None
            and not self._hourly.room(now)
            and any(topic.state in _WAITING for topic in self.topics.values())
        )

    def addressed(self, now: int, endpoint: Endpoint) -> tuple[str, tuple[str, ...]]:
        """The address of a new connection, and the topics that it asks for by itself."""
        if not endpoint.url_topics:
            return "", ()
        before, _, after = endpoint.url_topics.partition("{topics}")
        room = endpoint.url_bytes_max - len(endpoint.url) - len(before) - len(after)
        chosen: list[tuple[str, str]] = []
        for topic in self.topics.values():
            if not isinstance(topic.arg, str) or topic.dropped or topic.suspect:
                continue
            text = quote(topic.arg, safe="@!")
            room -= len(text) + len(endpoint.url_separator)
            if room < 0:
                break
            if topic.quarantined_until <= now:
                chosen.append((topic.name, text))
        if not chosen:
            return "", ()
        joined = endpoint.url_separator.join(text for _, text in chosen)
        return f"{before}{joined}{after}", tuple(name for name, _ in chosen)

    def subscribed(self, names: Iterable[str]) -> Outcome:
        """Topics that the address of the new connection asked for."""
        outcome = Outcome()
        for name in names:
            topic = self.topics.get(name)
            if topic is None:  # dropped while the connection opened: the venue sends it
                self._ledger.add(Wanted(name, name))
                topic = self.topics[name]
                topic.dropped = True
            self._ledger.accept(topic, outcome)
        return outcome

    def restart(self, now: int) -> None:
        """A new connection: nothing is subscribed, nothing has failed yet."""
        self._ledger.restart(now)
        if self._hourly is not None:
            self._hourly.clear()

    def lost(self, now: int) -> list[tuple[str, str]]:
        """The venue ended the connection; returns (name, reason) of topics that are given up."""
        return self._ledger.lost(now)

    def shift(self, by_ns: int) -> None:
        """The process stood still for ``by_ns``: that is no delay of the venue."""
        for request in self._ledger.requests.values():
            request.sent_at += by_ns
            if request.judge_at:
                request.judge_at += by_ns

    # -- what is wanted ------------------------------------------------------------------------

    def add(self, wanted: Iterable[str | Wanted]) -> None:
        """More topics on the running connection."""
        for given in wanted:
            self._ledger.add(Wanted.of(given))

    def drop(self, names: Iterable[str]) -> None:
        """Topics that nobody wants any more; unknown ones are no mistake."""
        for name in names:
            topic = self.topics.get(name)
            if topic is None:
                continue
            if topic.state in (TopicState.QUEUED, TopicState.FAILED):
                del self.topics[name]
                continue
            topic.dropped = True
            if topic.state is TopicState.ACTIVE:
                topic.state = TopicState.LEAVING
                topic.not_before = 0
                self._ledger.work = True

    def resubscribe(self, now: int, names: Iterable[str]) -> list[str]:
        """Leave and rejoin topics, each with a growing pause; returns those that are unknown."""
        unknown = []
        for name in names:
            topic = self.topics.get(name)
            if topic is None:
                unknown.append(name)
                continue
            if topic.state is not TopicState.ACTIVE:
                continue
            if now - topic.resubscribed_at > RESUBSCRIBE_FORGET_S * SECOND_NS:
                topic.resubscribes = 0
            pause_s = 0.0
            if topic.resubscribes:
                pause_s = min(RESUBSCRIBE_CAP_S, 0.5 * 2.0 ** min(topic.resubscribes, 16))
            topic.resubscribes += 1
            topic.resubscribed_at = now
            topic.not_before = now + int(pause_s * SECOND_NS)
            topic.state = TopicState.LEAVING
            self._ledger.work = True
        return unknown

    # -- requests ------------------------------------------------------------------------------

    def opening(self, now: int) -> list[bytes]:
        """Messages that come before every subscription of a connection."""
        return [
            self._request(now, "opening", template, ())
            for template in self._venue.subscribe.opening
        ]

    def login(self, now: int) -> bytes | None:
        """The login message, when there are credentials and the venue wants one."""
        auth = self._venue.auth
        if auth is None or auth.request is None or self._signer is None:
            return None
        return self._request(now, "login", auth.request, (), self._signer(self._wall()))

    def arm(self, now: int) -> bytes | None:
        """The request that asks the venue for heartbeats, if it wants one."""
        template = self._venue.heartbeat.arm
        return None if template is None else self._request(now, "arm", template, ())

    def reply(self, now: int, trigger: Any) -> bytes:
        """The answer to ``trigger``, a heartbeat of the venue."""
        template = self._venue.heartbeat.reply or {}
        return self._request(now, "reply", template, (), echoes(template, trigger))

    def ping(self) -> bytes:
        """A ping in the venue's own form."""
        payload = self._venue.heartbeat.payload
        if isinstance(payload, str):
            return payload.encode()
        return orjson.dumps(fill_template(payload or {}, self._values(self._take_id())))

    def pump(self, now: int, window: SendWindow) -> list[bytes]:
        """Requests that may go out now; each is noted in ``window``."""
        out: list[bytes] = []
        while self._ledger.work and window.room(now):
            if self._hourly is not None and not self._hourly.room(now):
                break
            batch = self._batch(now, TopicState.LEAVING)
            if batch:
                out.append(self._leave(now, batch))
            else:
                batch = self._next_subscribe(now)
                if not batch:
                    self._ledger.work = any(t.state in _WAITING for t in self.topics.values())
                    break
                out.append(self._join(now, batch))
            window.note(now)
            if self._hourly is not None:
                self._hourly.note(now)
        return out

    def _join(self, now: int, batch: tuple[Topic, ...]) -> bytes:
        for topic in batch:
            topic.state = TopicState.SENT
            topic.sent_at = now
        data = self._request(now, "subscribe", self._venue.subscribe.request, batch)
        if self._venue.ack.kind == "none":
            for topic in batch:
                self._ledger.accept(topic, Outcome())
        return data

    def _leave(self, now: int, batch: tuple[Topic, ...]) -> bytes:
        for topic in batch:
            topic.state = TopicState.LEFT
        data = self._request(now, "unsubscribe", self._venue.subscribe.unsubscribe, batch)
        if self._venue.ack.kind == "none":
            for topic in batch:
                self._ledger.left(now, topic)
        return data

    def _next_subscribe(self, now: int) -> tuple[Topic, ...]:
        halves = self._ledger.halves
        while halves:
            names = halves.popleft()
            half = tuple(
                topic
                for topic in map(self.topics.get, names)
                if topic is not None and topic.state is TopicState.QUEUED
            )
            if half:
                return half
        batch = self._batch(now, TopicState.QUEUED)
        return batch or self._suspect()

    def _suspect(self) -> tuple[Topic, ...]:
        """The next topic that may close the socket: alone, when nobody else waits for an answer."""
        topics = self.topics.values()
        if any(topic.state in (TopicState.SENT, TopicState.LEFT) for topic in topics):
            return ()
        return tuple(t for t in topics if t.suspect and t.state is TopicState.QUEUED)[:1]

    def _batch(self, now: int, state: TopicState) -> tuple[Topic, ...]:
        batch: list[Topic] = []
        room = self._venue.limits.request_bytes_max - MESSAGE_BYTES
        joining = state is TopicState.QUEUED
        for topic in self.topics.values():
            if topic.state is not state or topic.not_before > now or (joining and topic.suspect):
                continue
            if batch and (topic.shape != batch[0].shape or (self._by_handle and not joining)):
                continue
            room -= topic.size
            if batch and room < 0:
                break
            batch.append(topic)
            if len(batch) >= topic.request_max:
                break
        return tuple(batch)

    def _take_id(self) -> int:
        number = self._next_id
        self._next_id += 1
        return number

    def _values(self, number: int) -> dict[str, Any]:
        wall = self._wall()
        return {
            "id": str(number) if self._venue.subscribe.id_text else number,
            "time_s": wall // SECOND_NS,
            "time_ms": wall // 1_000_000,
        }

    def _request(
        self,
        now: int,
        kind: str,
        template: dict[str, Any],
        topics: tuple[Topic, ...],
        more: Mapping[str, Any] | None = None,
    ) -> bytes:
        number = self._take_id()
        values = self._values(number) | dict(more or {})
        if topics:
            values |= self._stream_values(topics)
        message = fill_template(template, values)
        data = message
        if topics and (own := self._own_fields()):
            data = fill_template(template, {**values, "topic": {**values["topic"], **own}})
        names = tuple(topic.name for topic in topics)
        for topic in topics:
            topic.request = str(number)
        # without a number nothing can answer those that concern no topic
        if topics or "id" in placeholders(template):
            kept = {} if kind == "login" else message
            self._ledger.keep(Request(str(number), kind, names, now, kept))
        return orjson.dumps(data | self._signed(values) if topics else message)

    def _own_fields(self) -> dict[str, Any]:
        """What a venue wants inside of every stream's table of somebody with credentials."""
        auth = self._venue.auth
        if auth is None or not auth.topic or self._signer is None:
            return {}
        filled: dict[str, Any] = fill_template(auth.topic, dict(self._signer(self._wall())))
        return filled

    def _signed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What a venue wants beside every subscription of somebody with credentials."""
        auth = self._venue.auth
        if auth is None or not auth.subscribe or self._signer is None:
            return {}
        filled: dict[str, Any] = fill_template(
            auth.subscribe, {**values, **self._signer(self._wall())}
        )
        return filled

    def _stream_values(self, topics: tuple[Topic, ...]) -> dict[str, Any]:
        group, first = self._venue.subscribe.group, topics[0]
        topic = first.arg
        if group is not None and isinstance(topic, dict) and first.shape != first.name:
            topic = {**topic, group: [t.arg[group] for t in topics]}
        return {
            "topics": [t.arg for t in topics],
            "topic": topic,
            "handle": first.handle,
            "handles": [t.handle for t in topics],
        }

    # -- answers -------------------------------------------------------------------------------

    def answer(self, now: int, message: Any) -> Outcome | None:
        """Settle the request that ``message`` answers; None when it answers none of ours."""
        return self._answers.read(now, message)

    def timeouts(self, now: int) -> Outcome:
        """Give up waiting for answers that are overdue."""
        outcome = Outcome()
        self._ledger.again(now)
        limit_ns = int(self._venue.ack.timeout_s * SECOND_NS)
        for request in list(self._ledger.requests.values()):
            if request.judge_at and now >= request.judge_at:
                self._answers.judge(now, request, request.error, outcome)
            elif not request.expired and now - request.sent_at >= limit_ns:
                self._expire(now, request, limit_ns, outcome)
        return outcome

    def _expire(self, now: int, request: Request, limit_ns: int, outcome: Outcome) -> None:
        request.expired = True
        if request.kind == "subscribe":
            reason = f"no answer to the subscribe request within {limit_ns / SECOND_NS:g} s"
            asked = self._ledger.of(request, TopicState.SENT)
            self._ledger.refuse(now, asked, reason, outcome)
            if not asked:
                self._ledger.settle(request)  # answered, by messages without its number
        elif request.kind == "unsubscribe":
            for topic in self._ledger.of(request, TopicState.LEFT):
                self._ledger.left(now, topic)
            self._ledger.settle(request)
        elif request.kind == "arm":
            outcome.arm_failed = "no answer to the heartbeat request"
        else:
            self._ledger.settle(request)
