"""Make before break: a connection is left when another one carries everything that it did."""

from __future__ import annotations

from typing import Any

import msgspec

from feedd.clock import SECOND_NS
from feedd.reader.lines import Lines
from feedd.reader.plan import Line, Stream
from feedd.reader.slots import JOIN_WAIT_NS, OVERLAP_NS, Numbers, Slot

S = SECOND_NS
STEP = S // 20
PLAN = Line(3, "main", "ws://x", False, (Stream("depth", "A", "a@depth"),), 0, 1.5)


class Connection:
    """What a slot needs of a connection, moved by hand."""

    def __init__(self, plan: Line) -> None:
        self.plan = plan
        self.number = plan.number
        self.streams = {stream.topic: stream for stream in plan.streams}
        self.up = self.complete = self.finished = self.heard = self.refused = False
        self.calls: list[tuple[str, Any]] = []

    def start(self, delay_s: float) -> None:
        self.calls.append(("start", delay_s))

    def tick(self, now: int) -> None:
        self.calls.append(("tick", now))

    def change(self, add: list[Stream], drop: list[str]) -> None:
        self.streams = {k: v for k, v in self.streams.items() if k not in drop}
        self.streams |= {stream.topic: stream for stream in add}

    def lacks(self, old: Connection) -> bool:
        return self.refused

    def joined(self, old: Connection) -> bool:
        return self.heard

    def inherit(self, old: Connection) -> None:
        self.calls.append(("inherit", old.number))

    def hand_over(self, new: Connection) -> None:
        self.calls.append(("hand over", new.number))
        self.up = False

    def stop(self) -> None:
        self.calls.append(("stop", None))

    def resubscribe_stream(self, channel: str, symbol: str) -> None:
        self.calls.append(("resubscribe", f"{channel} {symbol}"))


class Rig:
    def __init__(self, limit: int = 8) -> None:
        self.made: list[Connection] = []
        self.numbers = Numbers(range(4), limit)
        self.slot = Slot(PLAN, self._make, self.numbers)  # type: ignore[arg-type]
        self.now = 100 * S
        self.slot.start()
        self.made[0].up = self.made[0].complete = True

    def _make(self, plan: Line) -> Connection:
        self.made.append(Connection(plan))
        return self.made[-1]

    def run(self, ns: int) -> None:
        end = self.now + ns
        while self.now < end:
            self.now += STEP
            self.slot.tick(self.now)

    @property
    def current(self) -> Any:
        return self.slot.current

    def ask(self) -> None:
        self.slot.replace(self.current, "notice")


def test_the_new_connection_takes_over_when_its_books_have_joined() -> None:
    rig = Rig()
    (old,) = rig.made
    assert old.calls[0] == ("start", 1.5)
    rig.run(S)
    assert len(rig.made) == 1
    rig.ask()
    rig.ask()
    rig.run(S)
    old, new = rig.made
    assert new.calls[0] == ("start", 0.0)
    assert new.plan == msgspec.structs.replace(PLAN, number=4, row=3)
    new.up = True
    rig.run(60 * S)
    assert rig.current is old, "not every stream is there"
    new.complete = True
    rig.run(5 * S)
    assert rig.current is old, "a book has not joined"
    new.heard = True
    rig.run(2 * STEP)
    assert rig.current is new
    assert ("hand over", 4) in old.calls
    assert ("inherit", 3) in new.calls
    assert list(rig.slot.connections) == [new, old], "the old one is watched to its end"
    old.finished = True
    rig.run(STEP)
    assert list(rig.slot.connections) == [new]
    rig.ask()
    rig.run(STEP)
    assert rig.made[-1].number == 5, "numbers are used in turn"


def test_both_run_side_by_side_for_a_while_at_least() -> None:
    rig = Rig()
    rig.ask()
    rig.run(STEP)
    new = rig.made[1]
    new.up = new.complete = new.heard = True
    rig.run(OVERLAP_NS)
    assert rig.current is rig.made[0]
    rig.run(2 * STEP)
    assert rig.current is new


def test_a_silent_book_is_waited_for_but_not_for_ever() -> None:
    rig = Rig()
    rig.ask()
    rig.run(STEP)
    rig.made[1].up = rig.made[1].complete = True
    rig.run(JOIN_WAIT_NS)
    assert rig.current is rig.made[0]
    rig.run(2 * STEP)
    assert rig.current is rig.made[1]


def test_when_the_old_one_ends_first_the_new_one_takes_over_as_it_is() -> None:
    rig = Rig()
    rig.ask()
    rig.run(S)
    rig.made[0].up = False
    rig.run(STEP)
    assert rig.current is rig.made[1]
    assert rig.slot.successor is None


def test_a_connection_that_is_refused_what_the_old_one_has_does_not_take_over() -> None:
    rig = Rig()
    rig.ask()
    rig.run(STEP)
    old, new = rig.made
    new.up = new.complete = new.heard = new.refused = True
    rig.run(60 * S)
    assert rig.current is old, "as long as it may stay"
    new.refused = False  # it was asked for once more
    rig.run(OVERLAP_NS + 2 * STEP)
    assert rig.current is new


def test_without_a_free_number_it_waits() -> None:
    rig = Rig(limit=4)
    rig.ask()
    rig.run(5 * S)
    assert len(rig.made) == 1
    rig.numbers.give(2)
    rig.run(STEP)
    assert rig.made[1].number == 2


def test_streams_change_on_both() -> None:
    rig = Rig()
    rig.ask()
    rig.run(STEP)
    more = Stream("depth", "B", "b@depth")
    rig.slot.change([more], ["a@depth"])
    assert [list(c.streams) for c in rig.made] == [["b@depth"], ["b@depth"]]
    rig.slot.stop()
    assert all(("stop", None) in c.calls for c in rig.made)


def test_a_stranger_cannot_ask() -> None:
    rig = Rig()
    rig.slot.replace(Connection(PLAN), "notice")  # type: ignore[arg-type]
    rig.run(S)
    assert len(rig.made) == 1


def test_a_stream_starts_anew_on_the_line_that_is_out_of_step() -> None:
    rigs = [Rig(), Rig()]
    rigs[1].current.number = 7
    lines: Any = Lines.__new__(Lines)
    lines._carriers = {(0, "A", "depth"): [rig.slot for rig in rigs]}
    for number in (7, 7, 3):
        assert lines.resubscribe(0, "A", "depth", number)
    assert not lines.resubscribe(0, "A", "depth", 5)
    asked = [sum(name == "resubscribe" for name, _ in rig.current.calls) for rig in rigs]
    assert asked == [1, 2]
    for _ in range(2):  # on any: they take turns
        assert lines.resubscribe(0, "A", "depth")
    asked = [sum(name == "resubscribe" for name, _ in rig.current.calls) for rig in rigs]
    assert asked == [2, 3]
