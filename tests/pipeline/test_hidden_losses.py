"""Two lines of a book whose losses nothing shows, against the venue's truth.

Neither a number nor a checksum nor a count of the connection: what one of the lines lost is only
known by what the other one brings. No message is lost on both lines.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feedd.records import BookState
from tests.pipeline.rig import Rig

Row = tuple[str, int, int]
"""Side, price and size; 0: the level goes."""
SIDES = {"b": "Buy", "a": "Sell"}
PARTIAL, INSERT, UPDATE, DELETE = "partial", "insert", "update", "delete"
LATE_MS = 60
"""Longer than a line is waited for."""
SETTLED_MS = 300
"""Longer than lines lag behind each other."""
APART = 4
"""Messages without a time between two losses of different lines: if both lose something of a level
that goes back and forth, nothing tells what came first."""


def number(price: int) -> int:
    return 88_000_000 + price * 7_919 % 1_000


def text(action: str, rows: list[Row], ms: int) -> dict[str, Any]:
    """A message; without times when ``ms`` is 0."""
    data = []
    for side, price, size in rows:
        row: dict[str, Any] = {"symbol": "X", "id": number(price), "side": SIDES[side]}
        if action != DELETE:
            row["size"] = size
        if ms or action in (PARTIAL, INSERT):
            row["price"] = price
        if ms:
            minute, rest = divmod(ms, 60_000)
            row["timestamp"] = f"2026-01-02T03:{minute:02}:{rest // 1000:02}.{rest % 1000:03}Z"
        data.append(row)
    more = {"keys": ["id"], "filter": {"symbol": "X"}} if action == PARTIAL else {}
    return {"table": "orderBookL2", "action": action, **more, "data": data}


class Line:
    def __init__(self) -> None:
        self.up = False
        self.sent: deque[Any] = deque()


class Venue:
    """One book over several lines, and what became of it."""

    def __init__(self, lines: int = 2) -> None:
        self.rig = Rig("bitmex")
        self.levels: dict[tuple[str, int], int] = {("b", 100): 5, ("a", 110): 5}
        self.ms = 2  # 0 would be without a time
        self.said = 0
        self.sent: list[Any] = []
        self.got: list[Any] = []
        self.snapshots = self.gaps = 0
        self.lost: tuple[int, int] = (-1, -100)
        """The line that lost something last, and when."""
        self.hits = 0
        self.strict = False
        """Keep losses of the same line apart, too."""
        self.requests: list[str] = []
        self.lines = [Line() for _ in range(lines)]
        for line in range(lines):
            self.join(line)
            self.bring(line)

    # -- what the venue says -------------------------------------------------------------

    def join(self, line: int) -> None:
        rows = [(side, price, size) for (side, price), size in sorted(self.levels.items())]
        self.lines[line].up = True
        self.lines[line].sent.append(text(PARTIAL, rows, self.ms))

    def say(self, side: str, price: int, size: int, dated: bool, lose: int = -1) -> None:
        """A change, to all lines but one."""
        there = self.levels.get((side, price), 0)
        if there == size:
            return
        action = DELETE if size == 0 else UPDATE if there else INSERT
        self.levels[side, price] = size
        if size == 0:
            del self.levels[side, price]
        self.ms += 2
        self.said += 1
        up = [line for line in self.lines if line.up]
        if lose >= 0 and (
            len(up) < 2
            or ((self.lost[0] != lose or self.strict) and self.said - self.lost[1] <= APART)
            or not self.lines[lose].up
        ):
            lose = -1
        if lose >= 0:
            self.lost = (lose, self.said)
            self.hits += 1
        message = text(action, [(side, price, size)], self.ms if dated else 0)
        self.sent.append((side, price, size))
        for i, line in enumerate(self.lines):
            if line.up and i != lose:
                line.sent.append(message)

    # -- what comes of it ------------------------------------------------------------------

    def bring(self, line: int, count: int = -1) -> None:
        while self.lines[line].sent and count:
            count -= 1
            self.rig.t -= 980_000  # a message takes 20 us
            self.note(self.rig.send(self.lines[line].sent.popleft(), line))
            self.serve(line)

    def serve(self, line: int) -> None:
        for request in self.rig.pipeline.take_requests():
            self.requests.append(request.kind)
            self.join(request.line if self.lines[request.line].up else line)

    def die(self, line: int) -> None:
        self.lines[line].up = False
        self.lines[line].sent.clear()
        self.rig.pipeline.line_down(self.rig.handle, line, self.rig.t)
        self.rig.pipeline.line_forget(line)
        self.note(self.rig.drain())

    def drain(self) -> None:
        while any(line.sent for line in self.lines):
            for i in range(len(self.lines)):
                self.bring(i)

    def wait(self, ms: int = LATE_MS) -> None:
        self.drain()
        self.pass_time(ms)
        self.serve(0)

    def pass_time(self, ms: int) -> None:
        """What is due by then is done with the next message, whatever it is."""
        self.rig.t += ms * 1_000_000
        self.note(self.rig.send({"info": "Welcome", "version": "1"}))

    def note(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            if event["kind"] == "status":
                self.gaps += event["event"] == "gap"
            elif event["action"] == "snapshot":
                self.snapshots += 1
            else:
                self.got += [
                    (side, int(price), int(size))
                    for side, key in (("b", "bids"), ("a", "asks"))
                    for price, size in event[key]
                ]

    def check(self) -> None:
        self.wait()
        self.wait(SETTLED_MS)
        assert self.gaps == 0
        assert self.snapshots == 1
        assert self.got == self.sent
        assert self.rig.state("X")[0] == BookState.LIVE
        shown = [[(int(p), int(s)) for p, s in side] for side in self.rig.levels("X")]
        assert [
            sorted((p, s) for (side, p), s in self.levels.items() if side == wanted)
            for wanted in "ba"
        ] == [sorted(side) for side in shown]


# ---- by hand ----


def test_what_one_line_brings_waits_for_the_other() -> None:
    venue = Venue()
    venue.say("b", 100, 6, True)
    venue.bring(0)
    assert venue.got == []
    venue.bring(1)
    assert venue.got == venue.sent
    venue.check()


def test_what_only_one_line_brings_waits_a_short_while() -> None:
    venue = Venue()
    venue.say("b", 100, 6, True, lose=1)
    venue.bring(0)
    venue.pass_time(45)
    assert venue.got == []
    venue.wait(10)
    assert venue.got == venue.sent
    venue.say("b", 100, 7, True)
    venue.check()


@pytest.mark.parametrize("dated", [False, True])
@pytest.mark.parametrize("first", [0, 1])
def test_the_line_that_lost_it_comes_first(first: int, dated: bool) -> None:
    """It brings what comes behind before the other line brings what it lost."""
    venue = Venue()
    venue.say("b", 100, 6, dated, lose=first)
    for size in (7, 8, 9):
        venue.say("b", 100, size, dated)
    venue.bring(first)
    assert venue.got == []
    venue.bring(1 - first)
    assert venue.got == venue.sent
    venue.check()


def test_each_line_loses_one_of_two_in_a_row() -> None:
    """What they say of themselves tells which was the first: their times here."""
    for lines in ((0, 1), (1, 0)):
        venue = Venue()
        for n, line in enumerate(lines):
            venue.lost = (-1, -100)
            venue.say("b", 100 - n, 9, True, lose=line)
        for size in (7, 8):
            venue.say("b", 100, size, True)
        for line in (0, 1):
            venue.bring(line)
        venue.check()


def test_a_row_is_not_changed_before_it_is_there() -> None:
    for line in (0, 1):
        venue = Venue()
        venue.say("b", 90, 9, False, lose=line)
        venue.lost = (-1, -100)
        venue.say("b", 90, 8, False, lose=1 - line)
        for size in (7, 8, 7):
            venue.say("b", 100, size, False)
        for number_ in (0, 1):
            venue.bring(number_)
        venue.check()


def test_a_line_alone_waits_for_nobody() -> None:
    venue = Venue(1)
    venue.say("b", 100, 6, True)
    venue.bring(0)
    assert venue.got == venue.sent
    assert venue.rig.counters["held_messages"] == 0
    venue.check()


@pytest.mark.parametrize("ends", [0, 1])
def test_what_waits_of_a_line_that_ends_is_not_lost(ends: int) -> None:
    venue = Venue()
    venue.say("b", 100, 6, True, lose=1 - ends)
    venue.say("b", 100, 7, True)
    venue.bring(ends)
    venue.die(ends)
    assert venue.got == venue.sent
    venue.say("a", 110, 7, True)
    venue.bring(1 - ends)
    assert venue.got == venue.sent
    venue.check()


def test_a_silent_line_costs_a_while_once() -> None:
    """It is not waited for again until it brings something."""
    venue = Venue()
    venue.say("b", 100, 6, True)
    venue.bring(0)
    venue.rig.t += SETTLED_MS * 1_000_000
    for size in (7, 8):
        venue.say("b", 100, size, True)
        venue.bring(0)
    assert venue.got == venue.sent
    venue.check()


def test_what_comes_too_late_is_declared() -> None:
    """A line lost something, and the other one brings it when what is behind it is published."""
    venue = Venue()
    venue.say("b", 100, 6, True, lose=0)
    venue.say("b", 100, 7, True)
    venue.bring(0)
    venue.pass_time(LATE_MS)
    assert venue.got == venue.sent[1:]
    venue.say("b", 100, 8, True)
    venue.wait()
    assert venue.gaps == 1
    venue.wait(SETTLED_MS)
    assert "resubscribe" in venue.requests
    assert venue.snapshots == 2
    assert venue.rig.state("X")[0] == BookState.LIVE
    assert venue.rig.levels("X") == ([(100, 8)], [(110, 5)])


@pytest.mark.parametrize("agree", [True, False])
def test_the_first_copy_wins_where_lines_need_not_agree(agree: bool) -> None:
    venue = Venue(0)
    if not agree:
        venue.rig.pipeline.set_agree(venue.rig.handle, 0)
    venue.lines = [Line(), Line()]
    for line in (0, 1):
        venue.join(line)
        venue.bring(line)
    venue.say("b", 100, 6, True)
    venue.bring(0)
    assert venue.got == ([] if agree else venue.sent)
    venue.check()


# ---- snapshots ----


def test_the_venue_sends_its_snapshot_again() -> None:
    """Over all lines: a message as any other, in its place."""
    venue = Venue()
    venue.say("b", 100, 6, True)
    for line in (0, 1):
        venue.join(line)
    venue.say("b", 100, 7, True)
    venue.bring(0)
    assert venue.snapshots == 1
    venue.bring(1)
    assert venue.snapshots == 2
    assert venue.got == venue.sent
    venue.snapshots -= 1
    venue.check()


def test_a_line_in_step_begins_anew_by_itself() -> None:
    """Its snapshot is of its own place, also where it lost something just before."""
    venue = Venue()
    venue.say("b", 100, 6, True, lose=0)
    venue.join(0)
    venue.say("b", 100, 7, True)
    venue.bring(0)
    venue.bring(1)
    venue.say("b", 100, 8, True)
    venue.check()
    assert venue.requests == []


def test_a_new_line_is_of_use_before_its_snapshot() -> None:
    venue = Venue(1)
    venue.say("b", 100, 6, True)
    venue.bring(0)
    venue.rig.pipeline.line_carries(venue.rig.handle, 1, "X")
    venue.lines.append(Line())
    venue.lines[1].up = True
    venue.say("b", 100, 7, True, lose=0)
    venue.say("a", 110, 7, True)
    venue.bring(1)
    venue.bring(0)
    assert venue.got == venue.sent
    venue.join(1)
    venue.say("b", 100, 8, True, lose=0)
    venue.say("b", 100, 9, True)
    venue.check()
    assert venue.requests == []


def test_a_snapshot_that_fits_nowhere_declares_the_book() -> None:
    """Something was lost while there was one line only: the next one's snapshot says so."""
    venue = Venue()
    venue.die(1)
    venue.levels["b", 99] = 5  # never said
    venue.join(1)
    for _ in range(8):
        venue.say("b", 100, venue.said + 10, True)
        venue.wait(SETTLED_MS)
    assert venue.gaps == 1
    assert venue.requests == ["realign", "resubscribe", "realign"]
    venue.gaps, venue.snapshots, venue.got = 0, 1, list(venue.sent)
    venue.check()


# ---- what nobody can know ----


@pytest.mark.parametrize("dated", [True, False])
def test_an_unknown_order_of_one_level_is_declared(dated: bool) -> None:
    """Each line lost one of two changes of a level: only their times tell which was the last."""
    venue = Venue()
    for size, line in ((6, 1), (7, 0)):
        venue.lost = (-1, -100)
        venue.say("b", 100, size, dated, lose=line)
    venue.say("a", 110, 9, True)
    venue.rig.t += 900_000
    venue.bring(0)
    venue.bring(1)
    venue.wait()
    assert venue.gaps == (0 if dated else 1)
    venue.wait(SETTLED_MS)
    assert venue.rig.state("X")[0] == BookState.LIVE
    assert venue.rig.levels("X") == ([(100, 7)], [(110, 9)])


def test_a_change_of_an_unknown_row_waits_for_the_line_that_has_it() -> None:
    venue = Venue()
    venue.say("b", 99, 5, True, lose=0)
    venue.say("b", 99, 6, True)
    venue.bring(0)
    venue.pass_time(2 * LATE_MS)
    assert (venue.got, venue.gaps) == ([], 0)
    venue.check()


# ---- any interleaving ----


@pytest.mark.parametrize("loss", [0.0, 0.02, 0.08])
@pytest.mark.parametrize("lines", [2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_published_is_what_the_venue_said(seed: int, lines: int, loss: float) -> None:
    rng = random.Random(f"{seed} {lines} {loss}")
    venue = Venue(lines)
    for _ in range(1_500):
        lose = rng.randrange(lines) if rng.random() < loss else -1
        side = rng.choice("ba")
        price = (110 if side == "a" else 100) + (1 if side == "a" else -1) * rng.randint(0, 4)
        size = 0 if rng.random() < 0.3 and price not in (100, 110) else rng.randint(1, 4)
        venue.say(side, price, size, rng.random() < 0.66, lose)
        if rng.random() < 0.3:
            for line in rng.sample(range(lines), lines):
                venue.bring(line, rng.randint(0, 8))
        venue.rig.t += rng.choice([0, 10_000, 300_000])
        if max(len(line.sent) for line in venue.lines) > 12:
            venue.drain()
    assert bool(venue.hits) == bool(loss)
    venue.check()
    assert venue.requests == []


SAY = st.tuples(
    st.just("say"),
    st.sampled_from([("b", 100), ("a", 110), ("b", 99)]),
    st.integers(0, 2),
    st.booleans(),
    st.sampled_from([-1, -1, -1, 0, 1]),
)
BRING = st.tuples(st.just("bring"), st.integers(0, 1), st.integers(1, 4))
WAIT = st.tuples(st.just("wait"))
ANY = settings(deadline=None, suppress_health_check=list(HealthCheck))


@settings(ANY, max_examples=300)
@given(steps=st.lists(st.one_of(SAY, SAY, BRING, WAIT), max_size=60))
def test_levels_that_come_and_go(steps: list[Any]) -> None:
    venue = Venue()
    venue.strict = True
    for name, *rest in steps:
        if name == "say":
            (side, price), size, dated, lose = rest
            venue.say(side, price, size if price == 99 else size + 1, dated, lose)
        else:
            getattr(venue, name)(*rest)
    venue.check()


@settings(ANY, max_examples=300)
@given(
    steps=st.lists(
        st.one_of(SAY, SAY, BRING, WAIT, st.tuples(st.just("turn"), st.integers(0, 1))),
        max_size=60,
    )
)
def test_lines_that_end_and_begin(steps: list[Any]) -> None:
    """A connection ends when the other one has had its time, and begins anew."""
    venue = Venue()
    venue.strict = True
    for name, *rest in steps:
        if name == "say":
            (side, price), size, dated, lose = rest
            venue.say(side, price, size if price == 99 else size + 1, dated, lose)
        elif name == "turn":
            venue.wait(SETTLED_MS)
            venue.die(rest[0])
            venue.join(rest[0])
            venue.bring(rest[0])
        else:
            getattr(venue, name)(*rest)
    venue.check()
