"""Housekeeping of a reader goes line by line: in between messages are read, lines come and go."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from feedd.clock import SECOND_NS
from feedd.reader.lines import WATCH_NS, Lines
from feedd.reader.plan import ReaderPlan

S = SECOND_NS


class Slot:
    """What ``Lines`` needs of a line; it writes down what is done to it."""

    def __init__(self, row: int, did: list[str]) -> None:
        self.row = row
        self.active, self.stale = 2, 1
        self.finished = False
        self.connections: list[Any] = []
        self.ladder = SimpleNamespace(shift=lambda _ns: did.append(f"shift {row}"))
        self._did = did

    def tick(self, _now: int) -> None:
        self._did.append(f"tick {self.row}")

    def watch(self, _now: int) -> None:
        self._did.append(f"watch {self.row}")

    def count(self) -> None:
        self._did.append(f"count {self.row}")

    def release(self) -> None:
        self._did.append(f"release {self.row}")


def three_lines(tmp_path: Path) -> tuple[Lines, list[str]]:
    did: list[str] = []
    plan = ReaderPlan(0, str(tmp_path), None, False, 4, (32,) * 4, 1 << 14, ())
    host: Any = SimpleNamespace(
        counts=SimpleNamespace(forget=lambda row: did.append(f"forget {row}"))
    )
    lines = Lines(host, plan)
    lines._slots = {row: Slot(row, did) for row in (0, 1, 2)}  # type: ignore[misc]
    return lines, did


def test_one_line_at_a_time(tmp_path: Path) -> None:
    lines, did = three_lines(tmp_path)
    seen = []
    for _ in lines.tick(S):
        seen.append(list(did))
        did.clear()
    assert seen == [[f"{what} {row}"] for what in ("tick", "watch") for row in (0, 1, 2)]
    for _ in lines.tick(S + WATCH_NS - 1):
        pass
    assert did == ["tick 0", "tick 1", "tick 2"], "streams are looked at every half second"


def test_lines_take_turns_in_counting(tmp_path: Path) -> None:
    lines, did = three_lines(tmp_path)
    for turn in range(2):
        for _ in lines.count_in_turn(turn, 2):
            did.append("messages")
    assert did == ["count 0", "messages", "count 2", "messages", "count 1", "messages"]
    did.clear()
    lines.count()
    assert did == ["count 0", "count 1", "count 2"]
    assert (lines.active, lines.stale) == (6, 3)


def test_a_line_that_is_taken_away_between_two_steps_is_left_out(tmp_path: Path) -> None:
    lines, did = three_lines(tmp_path)
    steps = lines.tick(S)
    for _ in range(4):  # until behind the first watch
        next(steps)
    gone: Any = lines._slots.pop(1)
    lines._ending.append(gone)
    for _ in steps:
        pass
    assert did == ["tick 0", "tick 1", "tick 2", "watch 0", "watch 2"]
    gone.finished = True
    did.clear()
    for _ in lines.tick(S + 1):
        pass
    assert did == ["tick 0", "tick 2", "tick 1", "release 1", "forget 1"]
    counting = lines.count_in_turn()
    next(counting)
    del lines._slots[2]
    did.clear()
    for _ in counting:
        pass
    assert did == []


def test_a_stall_is_the_fault_of_no_line(tmp_path: Path) -> None:
    lines, did = three_lines(tmp_path)
    for _ in lines.tick(S):
        pass
    did.clear()
    for _ in lines.tick(10 * S):
        pass
    assert did[:4] == ["shift 0", "tick 0", "shift 1", "tick 1"]
