"""BitMEX over two lines that lag, lose, die and begin anew, against the venue's truth.

As on the wire: steps of several messages at one millisecond, a third of them without times, changes
over a new line before its snapshot. What becomes of the book must be the venue's, or declared.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from typing import Any

import pytest

from feedd.records import BookState
from tests.pipeline.rig import Rig
from tests.pipeline.test_hidden_losses import DELETE, INSERT, PARTIAL, UPDATE, Row, text

MESSAGES = 800
MS_US = 1_000
TICK_US = 5_000
START_NS = 1_767_323_000_000_000_000
OLD_FORM_EVERY = 3
BY_NATURE = {"lines differ, order unknown", "change of an unknown id"}
"""Gaps that cannot be helped: two lines lost one each of two changes of one level, one of them
without a time; or both lines lost something, one of them by its end."""

Said = tuple[int, tuple[Row, ...]]
"""Number of a message and what it changes."""


class Line:
    def __init__(self) -> None:
        self.id = 0
        self.up = False
        self.epoch = 0
        self.free_us = 0
        """When what it carries arrives at the earliest."""
        self.back_us = 0
        """When it comes up again; 0: it is up."""


class Lines:
    """Two lines of one venue; all times in microseconds."""

    def __init__(self, seed: int, loss: float = 0.0, kill: bool = False, stall_ms: int = 0) -> None:
        self.rng = random.Random(f"{seed} {loss} {kill} {stall_ms}")
        self.loss, self.stall_ms = loss, stall_ms
        self.rig = Rig("bitmex")
        self.now = 0
        self.events: list[tuple[int, int, int, int, str, Any, int]] = []
        self.order = itertools.count()
        self.ids = itertools.count()
        self.lines = (Line(), Line())
        self.levels: dict[tuple[str, int], int] = {("b", 100): 5, ("a", 110): 5}
        self.sent: list[tuple[Row, ...]] = []
        self.got: list[tuple[Row, ...]] = []
        self.arrived: set[int] = set()
        self.gaps: list[str] = []
        self.drops = self.deaths = 0
        for index in (0, 1):
            self.join(index, greet_us=200)
            self.deliver(self.now + 2_000)
        next_kill = 300_000
        for _ in range(MESSAGES):
            self.step()
            if kill and self.now > next_kill and all(line.up for line in self.lines):
                self.die(self.rng.randint(0, 1))
                next_kill = self.now + self.rng.randint(400_000, 1_000_000)
            for index, line in enumerate(self.lines):
                if line.back_us and self.now > line.back_us:
                    self.join(index, greet_us=self.rng.choice([200, 50_000]))
            self.deliver(self.now + int(self.rng.expovariate(1 / 3_000)))
        for index, line in enumerate(self.lines):
            if line.back_us:
                self.join(index, greet_us=200)
        self.deliver(self.now + 3_000_000)

    # -- the venue -----------------------------------------------------------------------

    def post(self, index: int, kind: str, content: Any = None, said: int = -1) -> None:
        line = self.lines[index]
        at = max(self.now + self.rng.randint(80, 400), line.free_us + self.rng.randint(1, 20))
        if self.stall_ms and self.rng.random() < 0.003:
            at += self.rng.randint(1, self.stall_ms) * MS_US
        line.free_us = at
        self.push(at, index, kind, content, said)

    def push(self, at: int, index: int, kind: str, content: Any = None, said: int = -1) -> None:
        epoch = self.lines[index].epoch
        heapq.heappush(self.events, (at, next(self.order), index, epoch, kind, content, said))

    def join(self, index: int, greet_us: int) -> None:
        line = self.lines[index]
        line.up, line.back_us, line.free_us = True, 0, self.now
        line.epoch += 1
        line.id = next(self.ids)
        self.post(index, "ack")
        self.push(self.now + self.rng.randint(0, greet_us), index, "greet")

    def die(self, index: int) -> None:
        line = self.lines[index]
        line.up = False
        line.epoch += 1
        line.back_us = self.now + self.rng.randint(20_000, 200_000)
        self.deaths += 1
        self.clock()
        self.rig.pipeline.line_down(self.rig.handle, line.id, self.rig.t)
        self.rig.pipeline.line_forget(line.id)
        self.note(self.rig.drain())

    def step(self) -> None:
        """Changes at one time: what goes, what changes, what is new."""
        rows: dict[str, list[Row]] = {DELETE: [], UPDATE: [], INSERT: []}
        for _ in range(self.rng.choice([1, 1, 1, 2, 3])):
            side = self.rng.choice("ba")
            depth = min(int(self.rng.expovariate(0.5)), 8)
            price = 110 + depth if side == "a" else 100 - depth
            there = self.levels.get((side, price), 0)
            size = 0 if self.rng.random() < 0.3 and depth else self.rng.randint(1, 9) * 100
            known = {row[:2] for some in rows.values() for row in some}
            if (side, price) in known or there == size:
                continue
            action = DELETE if size == 0 else UPDATE if there else INSERT
            rows[action].append((side, price, size))
            self.levels[side, price] = size
            if size == 0:
                del self.levels[side, price]
        for action, some in rows.items():
            if some:
                self.say(action, some)

    def say(self, action: str, rows: list[Row]) -> None:
        said = len(self.sent)
        ms = 0 if said % OLD_FORM_EVERY == 0 else self.now // MS_US + 1
        self.sent.append(tuple(sorted(rows)))
        carriers = [index for index in (0, 1) if self.lines[index].up]
        hit = -1
        if len(carriers) > 1 and self.rng.random() < 2 * self.loss:
            hit = self.rng.choice(carriers)
            self.drops += 1
        for index in carriers:
            if index != hit:
                self.post(index, "message", text(action, rows, ms), said)

    def partial(self) -> dict[str, Any]:
        rows = [(side, price, size) for (side, price), size in sorted(self.levels.items())]
        return text(PARTIAL, rows, self.now // MS_US + 1)

    # -- what comes of it -------------------------------------------------------------------

    def clock(self) -> None:
        self.rig.t = START_NS + self.now * 1_000 - 1_000_000  # Rig adds a millisecond

    def deliver(self, until: int) -> None:
        tick = self.now
        while True:
            coming = min(self.events[0][0] if self.events else until, until)
            while tick + TICK_US <= coming:
                self.now = tick = tick + TICK_US
                self.clock()
                self.note(self.rig.send({"info": "Welcome", "version": "1"}, 60_000))
                coming = min(self.events[0][0] if self.events else until, until)
            if not self.events or self.events[0][0] > until:
                break
            at, _, index, epoch, kind, content, said = heapq.heappop(self.events)
            line = self.lines[index]
            if epoch != line.epoch:
                continue
            self.now = max(at, self.now)
            self.clock()
            if kind == "greet":
                self.post(index, "message", self.partial())
            elif kind == "ack":
                self.rig.pipeline.line_carries(self.rig.handle, line.id, "X")
            else:
                self.arrived.add(said)
                self.note(self.rig.send(content, line.id))
        self.now = until

    def note(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            if event["kind"] == "status":
                if event["event"] == "gap":
                    self.gaps.append(event["reason"])
            elif event["action"] != "snapshot":
                self.got.append(
                    tuple(
                        sorted(
                            (side, int(price), int(size))
                            for side, key in (("b", "bids"), ("a", "asks"))
                            for price, size in event[key]
                        )
                    )
                )
        for request in self.rig.pipeline.take_requests():
            at = [i for i in (0, 1) if self.lines[i].id == request.line and self.lines[i].up]
            for index in at or [i for i in (0, 1) if self.lines[i].up][:1]:
                self.push(self.now + self.rng.randint(300, 1_500), index, "greet")

    def check_book(self) -> None:
        assert self.rig.state("X")[0] == BookState.LIVE
        shown = [[(int(p), int(s)) for p, s in side] for side in self.rig.levels("X")]
        assert [sorted(side) for side in shown] == [
            sorted((p, s) for (side, p), s in self.levels.items() if side == wanted)
            for wanted in "ba"
        ]

    @property
    def lost_on_both(self) -> int:
        return len(self.sent) - len(self.arrived - {-1})


@pytest.mark.parametrize("kill", [False, True])
@pytest.mark.parametrize("stall_ms", [0, 40])
@pytest.mark.parametrize("seed", range(3))
def test_without_losses_all_is_as_the_venue_said(seed: int, stall_ms: int, kill: bool) -> None:
    lines = Lines(seed, 0.0, kill, stall_ms)
    assert bool(lines.deaths) == kill
    assert lines.gaps == []
    assert lines.got == lines.sent
    lines.check_book()


@pytest.mark.parametrize("kill", [False, True])
@pytest.mark.parametrize("stall_ms", [0, 40])
@pytest.mark.parametrize("loss", [0.01, 0.05])
@pytest.mark.parametrize("seed", range(3))
def test_what_one_line_loses_the_other_one_has(
    seed: int, loss: float, stall_ms: int, kill: bool
) -> None:
    lines = Lines(seed, loss, kill, stall_ms)
    assert lines.drops > 300 * loss
    lines.check_book()
    missing = Counter(lines.sent) - Counter(lines.got)
    if lines.gaps:
        assert len(lines.gaps) <= 3
        assert kill or stall_ms or set(lines.gaps) <= BY_NATURE
    else:
        assert missing.total() <= lines.lost_on_both
        assert Counter(lines.got) <= Counter(lines.sent)


@pytest.mark.parametrize("seed", range(3))
def test_a_line_that_stands_still_for_long(seed: int) -> None:
    """Nothing is lost, and so nothing is declared, however late one of the lines is."""
    lines = Lines(seed, stall_ms=400)
    assert lines.gaps == []
    assert lines.got == lines.sent
    lines.check_book()
