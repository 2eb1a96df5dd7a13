"""The streams of one connection and the requests about them: data and small rules, no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import orjson

from feedd.clock import SECOND_NS
from feedd.venues.session_schema import Session
from feedd.venues.templates import arg_key, placeholders

__all__ = ["Ledger", "Outcome", "Request", "SendWindow", "Topic", "TopicState", "Wanted"]

REQUESTS_MAX = 10_000
QUARANTINE_S = 3_600.0
AGAIN_S = 60.0
AGAIN_MAX_S = 3_600.0
"""When a topic that was given up is asked for once more, ever more seldom: what the venue has
against it may pass, and the connection may last for a day."""
TOGETHER_NS = SECOND_NS // 20
"""How long topics that leave with one request are waited for, to rejoin with one request."""


class TopicState(StrEnum):
    QUEUED = "queued"  # to be subscribed
    SENT = "sent"  # asked for, no answer yet
    ACTIVE = "active"
    LEAVING = "leaving"  # to be unsubscribed, then subscribed again or dropped
    LEFT = "left"  # unsubscribe sent
    FAILED = "failed"


class Wanted(NamedTuple):
    """A stream to subscribe: its name here, what is sent for it, its channel."""

    name: str
    arg: Any
    channel: str = ""

    @classmethod
    def of(cls, given: str | Wanted) -> Wanted:
        return given if isinstance(given, Wanted) else cls(given, given)


@dataclass(slots=True)
class Topic:
    name: str
    arg: Any
    channel: str
    shape: str  # topics of one shape share a subscribe request
    size: int  # bytes in a request
    request_max: int  # topics of this shape in one request
    state: TopicState = TopicState.QUEUED
    attempts: int = 0
    given_up: int = 0  # times in a row
    not_before: int = 0
    resubscribes: int = 0
    resubscribed_at: int = 0
    sent_at: int = 0
    request: str = ""  # key of the last request that it was part of
    handle: Any = None  # what the venue calls it
    suspect: bool = False  # asked for when the venue closed: now one by one
    quarantined_until: int = 0
    dropped: bool = False  # not wanted any more: gone when the venue has let go


@dataclass(slots=True)
class Request:
    key: str
    kind: str  # subscribe | unsubscribe | arm | reply | opening | login
    topics: tuple[str, ...]
    sent_at: int
    message: dict[str, Any]
    expired: bool = False
    error: str = ""  # refused without saying which topic: the rest is judged at ``judge_at``
    judge_at: int = 0


@dataclass(slots=True)
class Outcome:
    """What an answer or a timeout changed; the session turns it into reports."""

    accepted: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    arm_failed: str = ""
    opening_failed: str = ""
    login: bool | None = None  # the answer to a login, if it is one: accepted or not


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


class Ledger:
    """All topics and all requests without an answer, in the order of sending."""

    def __init__(self, venue: Session, wanted: Iterable[str | Wanted]) -> None:
        self.venue = venue
        self.topics: dict[str, Topic] = {}
        self.requests: dict[str, Request] = {}
        self.halves: deque[tuple[str, ...]] = deque()
        self.work = True  # some topic may be queued or leaving
        self._again_at = 0  # when the first of those that were given up is due; 0: none is
        for given in wanted:
            self.add(Wanted.of(given))

    def add(self, wanted: Wanted) -> bool:
        """A new topic; False when it is here already."""
        there = self.topics.get(wanted.name)
        if there is not None:
            there.dropped = False
            return False
        shape, limit = self._shape(wanted)
        size = len(orjson.dumps(wanted.arg)) + 1
        self.topics[wanted.name] = Topic(*wanted, shape, size, limit)
        self.work = True
        return True

    def _shape(self, wanted: Wanted) -> tuple[str, int]:
        rule = self.venue.subscribe
        limit = self.venue.limits.topics_per_request
        own = rule.group_max.get(wanted.channel)
        if "topics" in placeholders(rule.request):
            return ("", limit) if own is None else (f"{wanted.channel}\n", min(own, limit))
        group = rule.group
        if group is None or not isinstance(wanted.arg, dict) or group not in wanted.arg:
            return wanted.name, 1
        if isinstance(wanted.arg[group], list):
            return wanted.name, 1
        rest = {key: value for key, value in wanted.arg.items() if key != group}
        return f"{arg_key(rest)}\n{wanted.channel}", min(own or limit, limit)

    # -- what happens to topics ----------------------------------------------------------------

    def accept(self, topic: Topic, outcome: Outcome, handle: Any = None) -> None:
        if topic.state in (TopicState.SENT, TopicState.QUEUED, TopicState.FAILED):
            topic.state = TopicState.LEAVING if topic.dropped else TopicState.ACTIVE
            self.work = self.work or topic.dropped
            topic.attempts = topic.given_up = 0
            topic.suspect = False
            topic.quarantined_until = 0
            outcome.accepted.append(topic.name)
        if handle is not None:
            topic.handle = handle

    def left(self, now: int, topic: Topic) -> None:
        """The venue has let go of it."""
        if topic.state is not TopicState.LEFT:
            return
        mates = [t for t in self.topics.values() if t.request == topic.request and t is not topic]
        if any(mate.state is TopicState.LEFT for mate in mates):
            topic.not_before = now + TOGETHER_NS  # the answers to the others come one by one
        else:
            for mate in mates:
                if mate.state is TopicState.QUEUED:
                    mate.not_before = now
        if topic.dropped:
            del self.topics[topic.name]
            return
        self.work = True
        topic.state = TopicState.QUEUED
        topic.attempts = 0

    def refuse(self, now: int, topics: Iterable[Topic], reason: str, outcome: Outcome) -> None:
        """One more failure of topics that were asked for."""
        for topic in list(topics):
            if topic.state is not TopicState.SENT:
                continue
            topic.attempts += 1
            if topic.dropped:
                del self.topics[topic.name]
            elif topic.attempts >= self.venue.ack.attempts_max:
                topic.state = TopicState.FAILED
                pause_s = min(AGAIN_S * 2.0 ** min(topic.given_up, 16), AGAIN_MAX_S)
                topic.given_up += 1
                topic.not_before = now + int(pause_s * SECOND_NS)
                self._again_at = min(self._again_at or topic.not_before, topic.not_before)
                outcome.failed.append((topic.name, reason))
            else:
                self.work = True
                topic.state = TopicState.QUEUED
                topic.not_before = now + (1 << (topic.attempts - 1)) * SECOND_NS

    def again(self, now: int) -> None:
        """One more attempt for topics that were given up a while ago; not for those that cost the
        connection."""
        if not self._again_at or now < self._again_at:
            return
        self._again_at = 0
        for topic in self.topics.values():
            if topic.state is not TopicState.FAILED or topic.quarantined_until:
                continue
            if topic.not_before > now:
                self._again_at = min(self._again_at or topic.not_before, topic.not_before)
                continue
            topic.state = TopicState.QUEUED
            topic.attempts = self.venue.ack.attempts_max - 1
            self.work = True

    def halve(self, topics: tuple[Topic, ...]) -> None:
        """One of them spoils the request: ask again for each half."""
        self.work = True
        middle = len(topics) // 2
        for half in (topics[:middle], topics[middle:]):
            for topic in half:
                topic.state = TopicState.QUEUED
            self.halves.append(tuple(topic.name for topic in half))

    def lost(self, now: int) -> list[tuple[str, str]]:
        """The venue ended the connection; returns (name, reason) of topics that are given up.

        Where an unknown symbol closes the socket, whoever was still without an answer is suspect;
        a suspect that stood alone is the culprit.
        """
        if self.venue.ack.bad_symbol != "closes_socket":
            return []
        waiting = [topic for topic in self.topics.values() if topic.state is TopicState.SENT]
        if len(waiting) == 1 and waiting[0].suspect:
            culprit = waiting[0]
            culprit.state = TopicState.FAILED
            culprit.quarantined_until = now + int(QUARANTINE_S * SECOND_NS)
            return [(culprit.name, "the venue closes the connection when it is asked for")]
        for topic in waiting:
            topic.suspect = True
        return []

    def restart(self, now: int) -> None:
        """A new connection: nothing is subscribed, nothing has failed yet."""
        self.work = True
        self.requests.clear()
        self.halves.clear()
        self._again_at = 0
        for topic in list(self.topics.values()):
            if topic.dropped:
                del self.topics[topic.name]
                continue
            topic.handle = None
            topic.attempts = topic.given_up = 0
            topic.not_before = 0
            if topic.quarantined_until <= now:
                topic.state = TopicState.QUEUED

    # -- requests ------------------------------------------------------------------------------

    def of(self, request: Request, state: TopicState) -> tuple[Topic, ...]:
        """The topics of a request that are still in ``state`` and in no later request."""
        found = (self.topics.get(name) for name in request.topics)
        return tuple(
            topic
            for topic in found
            if topic is not None and topic.state is state and topic.request == request.key
        )

    def keep(self, request: Request) -> None:
        while len(self.requests) >= REQUESTS_MAX:
            del self.requests[next(iter(self.requests))]
        self.requests[request.key] = request

    def settle(self, request: Request) -> None:
        self.requests.pop(request.key, None)
