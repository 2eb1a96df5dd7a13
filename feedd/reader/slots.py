"""A planned line and the connections that carry it, one after the other, without a gap between.

A connection that must go (the venue's limit of life, a notice, a spent budget) asks for a
replacement: another connection with the same streams and a number of its own. When that one has
every stream that the old one has and its books have joined, it takes over and the old one is
closed; two connections of one stream at a time are nothing special to the pipeline. When the old
one ends before, the replacement takes over as it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from feedd.clock import SECOND_NS
from feedd.reader.ladder import Ladder
from feedd.reader.plan import Line as LinePlan
from feedd.reader.plan import Stream

if TYPE_CHECKING:
    from feedd.reader.connection import Connection

__all__ = ["Numbers", "Slot"]

OVERLAP_NS = 2 * SECOND_NS
"""How long both connections carry every stream before the old one goes."""
JOIN_WAIT_NS = 15 * SECOND_NS
"""A book that says nothing for so long joins with the next message, by its sequence."""


class Numbers:
    """Line numbers of a reader that no connection has; the one given back last comes last."""

    def __init__(self, used: Iterable[int], limit: int) -> None:
        taken = set(used)
        self._free = deque(number for number in range(limit) if number not in taken)

    def take(self) -> int | None:
        return self._free.popleft() if self._free else None

    def claim(self, number: int) -> int | None:
        """``number`` when it is free, else another one."""
        if number in self._free:
            self._free.remove(number)
            return number
        return self.take()

    def give(self, number: int) -> None:
        self._free.append(number)


class Slot:
    """One planned line; one thread. ``make`` builds a connection for a plan."""

    def __init__(
        self, plan: LinePlan, make: Callable[[LinePlan], Connection], numbers: Numbers
    ) -> None:
        self.plan = plan
        self.current = make(plan)
        self.successor: Connection | None = None
        self._make = make
        self._numbers = numbers
        self._leaving: list[Connection] = []
        self._wanted = ""
        self._settled_at = 0
        self.ladder = Ladder()
        self.active = 0
        """Streams that were active when they were last counted."""
        self.stale = 0

    @property
    def row(self) -> int:
        """Its number in the plan and in the counters."""
        return self.plan.number if self.plan.row is None else self.plan.row

    @property
    def connections(self) -> Iterator[Connection]:
        """All that are open or on the way there."""
        yield self.current
        if self.successor is not None:
            yield self.successor
        yield from self._leaving

    def count(self) -> None:
        """Write the counters of all connections."""
        for connection in self.connections:
            connection.count(row=connection is self.current)
        self.active = self.current.session.active_topics
        self.stale = self.ladder.stale

    # -- what is carried -----------------------------------------------------------------------

    def change(self, add: Iterable[Stream], drop: Iterable[str]) -> None:
        """Streams come and go on the running connections."""
        add, drop = list(add), list(drop)
        self.current.change(add, drop)
        if self.successor is not None:
            self.successor.change(add, drop)

    # -- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        self.current.start(self.plan.delay_s)

    @property
    def finished(self) -> bool:
        """After ``stop``: every connection has ended."""
        return not any(connection.closing for connection in self.connections)

    def release(self) -> None:
        """Give all numbers back."""
        for connection in self.connections:
            self._numbers.give(connection.number)

    def stop(self) -> None:
        for connection in self.connections:
            connection.stop()

    def replace(self, connection: Connection, reason: str) -> None:
        """``connection`` wants to be replaced."""
        if connection is self.current and self.successor is None:
            self._wanted = reason

    def tick(self, now: int) -> None:
        for connection in list(self.connections):
            connection.tick(now)
        for connection in [c for c in self._leaving if c.finished]:
            self._leaving.remove(connection)
            self._numbers.give(connection.number)
        if self._wanted and self.successor is None:
            self._open()
        if self.successor is not None and (not self.current.up or self._ready(now)):
            self._take_over(now)

    def watch(self, now: int) -> None:
        """Look after streams that say less than the venue promises."""
        for step in self.ladder.look(now, self.current.looks()):
            self.current.climb(step)

    def _open(self) -> None:
        number = self._numbers.take()
        if number is None:
            return  # asked again at the next tick; the old connection knows its deadline
        plan = msgspec.structs.replace(
            self.plan,
            number=number,
            row=self.row,
            streams=tuple(self.current.streams.values()),
        )
        self._wanted = ""
        self._settled_at = 0
        self.successor = self._make(plan)
        self.successor.start(0.0)

    def _ready(self, now: int) -> bool:
        new = self.successor
        if new is None or not new.complete or new.lacks(self.current):
            self._settled_at = 0
            return False
        self._settled_at = self._settled_at or now
        waited = now - self._settled_at
        if waited < OVERLAP_NS:
            return False
        return waited >= JOIN_WAIT_NS or new.joined(self.current)

    def _take_over(self, now: int) -> None:
        old, new = self.current, self.successor
        if new is None:
            return
        self.current, self.successor = new, None
        self._wanted = ""
        new.inherit(old)
        old.hand_over(new)
        self._leaving.append(old)
