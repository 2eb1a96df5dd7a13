"""Which topics are wanted, asked for, accepted or refused: pure bookkeeping of one connection.

Requests go out in batches inside the venue's limits, every answer is compared with its request.
A refused batch is halved until the topic that spoils it stands alone; a topic that failed
``attempts_max`` times is given up until the next connection, reported and counted. A late answer
still settles its request.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson

from feedd.clock import SECOND_NS
from feedd.venues.session_schema import Session, fill_template, path_get

__all__ = ["SendWindow", "Subscriptions", "Topic", "TopicState"]

RESUBSCRIBE_CAP_S = 60.0
RESUBSCRIBE_FORGET_S = 300.0
REQUESTS_MAX = 10_000
_ABSENT = object()


class TopicState(StrEnum):
    QUEUED = "queued"  # to be subscribed
    SENT = "sent"  # asked for, no answer yet
    ACTIVE = "active"
    LEAVING = "leaving"  # to be unsubscribed, then subscribed again
    LEFT = "left"  # unsubscribe sent
    FAILED = "failed"


@dataclass(slots=True)
class Topic:
    name: str
    state: TopicState = TopicState.QUEUED
    attempts: int = 0
    not_before: int = 0
    resubscribes: int = 0
    resubscribed_at: int = 0


@dataclass(slots=True)
class Request:
    kind: str  # subscribe | unsubscribe | arm | reply
    topics: tuple[str, ...]
    sent_at: int
    expired: bool = False


@dataclass(slots=True)
class Outcome:
    """What an answer or a timeout changed; the session turns it into reports."""

    accepted: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    arm_failed: str = ""


class SendWindow:
    """At most ``limit`` frames in any ``window_ns``: exact, not on average."""

    def __init__(self, limit: int, window_ns: int, reserved: int) -> None:
        self._limit = limit
        self._reserved = reserved
        self._window_ns = window_ns
        self._sent: deque[int] = deque(maxlen=limit)

    def room(self, now: int, urgent: bool = False) -> bool:
        """True when one more frame may go out; requests leave the reserve untouched."""
        while self._sent and now - self._sent[0] >= self._window_ns:
            self._sent.popleft()
        return len(self._sent) < (self._limit if urgent else self._limit - self._reserved)

    def note(self, now: int) -> None:
        self._sent.append(now)

    def shift(self, by_ns: int) -> None:
        self._sent = deque((t + by_ns for t in self._sent), maxlen=self._limit)

    def clear(self) -> None:
        self._sent.clear()


class Subscriptions:
    """The topics of one connection; ``pump`` yields the next requests, ``answer`` reads acks."""

    def __init__(self, venue: Session, topics: Iterable[str]) -> None:
        self._venue = venue
        self._next_id = venue.subscribe.id_first
        self.topics: dict[str, Topic] = {name: Topic(name) for name in dict.fromkeys(topics)}
        self._requests: dict[int, Request] = {}
        self._halves: deque[tuple[str, ...]] = deque()
        self._work = True  # some topic may be queued or leaving

    # -- state ---------------------------------------------------------------------------------

    def count(self, state: TopicState) -> int:
        return sum(topic.state is state for topic in self.topics.values())

    @property
    def settled(self) -> bool:
        """Every topic is active or given up."""
        done = (TopicState.ACTIVE, TopicState.FAILED)
        return all(topic.state in done for topic in self.topics.values())

    def restart(self) -> None:
        """A new connection: nothing is subscribed, nothing has failed yet."""
        self._work = True
        self._requests.clear()
        self._halves.clear()
        for topic in self.topics.values():
            topic.state = TopicState.QUEUED
            topic.attempts = 0
            topic.not_before = 0

    def shift(self, by_ns: int) -> None:
        """The process stood still for ``by_ns``: that is no delay of the venue."""
        for request in self._requests.values():
            request.sent_at += by_ns

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
            self._work = True
        return unknown

    # -- requests ------------------------------------------------------------------------------

    def arm(self, now: int) -> bytes | None:
        """The request that asks the venue for heartbeats, if it wants one."""
        template = self._venue.heartbeat.arm
        return None if template is None else self._request(now, "arm", template, ())

    def reply(self, now: int) -> bytes:
        """The answer to a heartbeat of the venue."""
        return self._request(now, "reply", self._venue.heartbeat.reply or {}, ())

    def pump(self, now: int, window: SendWindow) -> list[bytes]:
        """Requests that may go out now; each is noted in ``window``."""
        out: list[bytes] = []
        while self._work and window.room(now):
            batch = self._batch(now, TopicState.LEAVING)
            if batch:
                template, kind, state = self._venue.subscribe.unsubscribe, "unsubscribe", "left"
            else:
                batch = self._next_subscribe(now)
                template, kind, state = self._venue.subscribe.request, "subscribe", "sent"
            if not batch:
                waiting = (TopicState.QUEUED, TopicState.LEAVING)
                self._work = any(topic.state in waiting for topic in self.topics.values())
                break
            for name in batch:
                self.topics[name].state = TopicState(state)
            out.append(self._request(now, kind, template, batch))
            window.note(now)
        return out

    def _next_subscribe(self, now: int) -> tuple[str, ...]:
        while self._halves:
            half = tuple(
                name
                for name in self._halves.popleft()
                if self.topics[name].state is TopicState.QUEUED
            )
            if half:
                return half
        return self._batch(now, TopicState.QUEUED)

    def _batch(self, now: int, state: TopicState) -> tuple[str, ...]:
        limits = self._venue.limits
        batch: list[str] = []
        room = limits.request_bytes_max - 256  # the rest of the message
        for topic in self.topics.values():
            if topic.state is not state or topic.not_before > now:
                continue
            room -= len(topic.name.encode()) + 3
            if batch and room < 0:
                break
            batch.append(topic.name)
            if len(batch) >= limits.topics_per_request:
                break
        return tuple(batch)

    def _request(
        self, now: int, kind: str, template: dict[str, Any], topics: tuple[str, ...]
    ) -> bytes:
        request_id = self._next_id
        self._next_id += 1
        while len(self._requests) >= REQUESTS_MAX:
            del self._requests[next(iter(self._requests))]
        self._requests[request_id] = Request(kind, topics, now)
        return orjson.dumps(fill_template(template, request_id=request_id, topics=list(topics)))

    # -- answers -------------------------------------------------------------------------------

    def answer(self, now: int, message: Any) -> Outcome | None:
        """Settle the request that ``message`` answers; None when it answers none of ours."""
        ack = self._venue.ack
        request_id = path_get(message, ack.id)
        if not isinstance(request_id, int) or isinstance(request_id, bool):
            return None
        request = self._requests.pop(request_id, None)
        if request is None:
            return None
        error = self._error(message)
        outcome = Outcome()
        if request.kind == "arm":
            outcome.arm_failed = error
        elif request.kind == "unsubscribe":
            self._rejoin(request)
        elif request.kind == "subscribe":
            self._subscribed(now, request, message, error, outcome)
        return outcome

    def _error(self, message: Any) -> str:
        for path in self._venue.ack.errors:
            value = path_get(message, path)
            if value is not None:
                shown = message if not isinstance(value, dict) else value
                return orjson.dumps(shown).decode()[:200]
        return ""

    def _rejoin(self, request: Request) -> None:
        self._work = True
        for name in request.topics:
            topic = self.topics[name]
            if topic.state is TopicState.LEFT:
                topic.state = TopicState.QUEUED
                topic.attempts = 0

    def _subscribed(
        self, now: int, request: Request, message: Any, error: str, outcome: Outcome
    ) -> None:
        if error:
            if len(request.topics) > 1:
                self._halve(request)
            else:
                self._failed(now, request.topics, error, outcome)
            return
        missing: list[str] = []
        accepted = set(request.topics)
        if self._venue.ack.kind == "list":
            result = path_get(message, self._venue.ack.result, _ABSENT)
            listed = result if isinstance(result, list) else []
            accepted &= {item for item in listed if isinstance(item, str)}
            missing = [name for name in request.topics if name not in accepted]
        for name in accepted:
            topic = self.topics[name]
            if topic.state in (TopicState.SENT, TopicState.QUEUED, TopicState.FAILED):
                topic.state = TopicState.ACTIVE
                topic.attempts = 0
                outcome.accepted += 1
        self._failed(now, missing, "the venue left it out of its answer", outcome)

    def _halve(self, request: Request) -> None:
        self._work = True
        middle = len(request.topics) // 2
        for half in (request.topics[:middle], request.topics[middle:]):
            for name in half:
                if self.topics[name].state is TopicState.SENT:
                    self.topics[name].state = TopicState.QUEUED
            self._halves.append(half)

    def _failed(self, now: int, names: Iterable[str], reason: str, outcome: Outcome) -> None:
        for name in names:
            topic = self.topics[name]
            if topic.state is not TopicState.SENT:
                continue
            topic.attempts += 1
            if topic.attempts >= self._venue.ack.attempts_max:
                topic.state = TopicState.FAILED
                outcome.failed.append((name, reason))
            else:
                self._work = True
                topic.state = TopicState.QUEUED
                topic.not_before = now + (1 << (topic.attempts - 1)) * SECOND_NS

    def timeouts(self, now: int) -> Outcome:
        """Give up waiting for answers that are overdue."""
        outcome = Outcome()
        limit_ns = int(self._venue.ack.timeout_s * SECOND_NS)
        for request_id, request in list(self._requests.items()):
            if request.expired or now - request.sent_at < limit_ns:
                continue
            request.expired = True
            if request.kind == "subscribe":
                reason = f"no answer to the subscribe request within {limit_ns / SECOND_NS:g} s"
                self._failed(now, request.topics, reason, outcome)
            elif request.kind == "unsubscribe":
                self._rejoin(request)
            elif request.kind == "arm":
                outcome.arm_failed = "no answer to the heartbeat request"
            else:
                del self._requests[request_id]
        return outcome
