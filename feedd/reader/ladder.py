"""Streams that say less than the venue promises, and what is done about it. Pure; ``now`` in ns.

A venue file promises for some channels how long a stream can be silent at the most (repeated
snapshots, keep-alive messages, fixed rates). A stream that is silent for longer climbs a ladder::

    fresh --promise broken--> probe --> resubscribe --> rotate the connection --> alarm

Only data of the stream itself brings it back: pings, acks and other streams do not count. Ages
start when the venue accepted the subscription, so that a stream that never says a word is noticed
too; they are monotonic time between two looks at which the time of the last message had changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from feedd.clock import SECOND_NS

__all__ = ["Ladder", "Look", "Rung", "Step"]

PROBE_NS = 5 * SECOND_NS
"""A dead connection has shown itself by then: its pong is missing."""
ANSWER_MIN_NS = 5 * SECOND_NS
ANSWER_MAX_NS = 30 * SECOND_NS
"""How long a step may take to bring data, between these by the promise."""
ROTATE_PAUSE_NS = 600 * SECOND_NS
"""A stream that is dead for good must not cost the others their connection again and again."""


class Rung(IntEnum):
    FRESH = 0
    PROBED = 1
    RESUBSCRIBED = 2
    ROTATED = 3
    ALARMED = 4


class Look(NamedTuple):
    """One stream at one moment: ``seen`` changes with each of its messages."""

    topic: str
    limit_ns: int
    seen: int
    active: bool


class Step(NamedTuple):
    """A stream reached a rung (FRESH: it is back); ``age_s`` is how long it was silent. Of several
    streams that reach ROTATED together only one is told."""

    topic: str
    rung: Rung
    age_s: float


@dataclass(slots=True)
class _Stream:
    seen: int
    since: int
    rung: Rung = Rung.FRESH
    next_at: int = 0


class Ladder:
    """The streams of one planned line; one thread."""

    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}
        self._rotated_at: int | None = None

    @property
    def stale(self) -> int:
        """How many streams are silent for longer than promised."""
        return sum(stream.rung is not Rung.FRESH for stream in self._streams.values())

    def look(self, now: int, looks: Iterable[Look]) -> list[Step]:
        """All streams as they are now; returns those that took a step."""
        steps: list[Step] = []
        before, self._streams = self._streams, {}
        for look in looks:
            stream = before.get(look.topic) or _Stream(look.seen, now)
            self._streams[look.topic] = stream
            age_s = (now - stream.since) / SECOND_NS
            if look.seen != stream.seen:
                if stream.rung is not Rung.FRESH:
                    steps.append(Step(look.topic, Rung.FRESH, age_s))
                stream.seen, stream.since, stream.rung = look.seen, now, Rung.FRESH
            elif not look.active:
                # nothing can come; a stream on the ladder gets its time once it is back
                if stream.rung is Rung.FRESH:
                    stream.since = now
                stream.next_at = now + _answer_ns(look)
            elif self._climbs(now, stream, look):
                steps.append(Step(look.topic, stream.rung, age_s))
        return steps

    def shift(self, by_ns: int) -> None:
        """The process stood still: nobody is to blame for that."""
        for stream in self._streams.values():
            stream.since += by_ns
            stream.next_at += by_ns

    def _climbs(self, now: int, stream: _Stream, look: Look) -> bool:
        if stream.rung is Rung.FRESH:
            if now - stream.since < look.limit_ns:
                return False
            stream.rung = Rung.PROBED
            stream.next_at = now + PROBE_NS
            return True
        if stream.rung is Rung.ALARMED or now < stream.next_at:
            return False
        stream.rung = Rung(stream.rung + 1)
        stream.next_at = now + _answer_ns(look)
        if stream.rung is not Rung.ROTATED:
            return True
        rotated_at = self._rotated_at
        if rotated_at is None or now - rotated_at >= ROTATE_PAUSE_NS:
            self._rotated_at = now
            return True
        if now < rotated_at + _answer_ns(look):
            stream.next_at = rotated_at + _answer_ns(look)
            return False  # the connection is being replaced for another stream's sake
        stream.rung = Rung.ALARMED
        return True


def _answer_ns(look: Look) -> int:
    return min(max(look.limit_ns, ANSWER_MIN_NS), ANSWER_MAX_NS)
