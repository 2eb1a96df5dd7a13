"""The ring against a Python list: any sequence of puts, commits, joins and reads."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from feedd.records import RAW, Flag
from feedd.shm.ring import RingReader, RingWriter
from tests.fixtures.effort import tries


class ListReader:
    """What a reader must do, written down without slots and stamps."""

    def __init__(self, ring: RingMachine, position: int, skipping: bool = False) -> None:
        self.ring = ring
        self.position = position
        self.skipping = skipping
        self.lost = 0

    def overtaken(self) -> bool:
        """The slot holds a newer record, or was cleared for the one to come."""
        again = self.position + self.ring.slots
        return again < self.ring.staged or again <= self.ring.head

    def read(self, most: int) -> list[int]:
        out: list[int] = []
        while len(out) < most:
            if self.overtaken():
                if out:
                    break
                to = max(self.position + 1, self.ring.head - self.ring.slots // 2)
                self.lost += to - self.position
                self.position, self.skipping = to, True
            elif self.position >= self.ring.head:
                break
            elif self.skipping:
                self.lost += 1
                self.skipping = not self.ring.last[self.position]
                self.position += 1
            else:
                out.append(self.position)
                self.position += 1
        return out


class RingMachine(RuleBasedStateMachine):
    @initialize(bits=st.integers(4, 7))
    def start(self, bits: int) -> None:
        self.slots = 1 << bits
        self.writer = RingWriter.private(self.slots)
        self.head = self.staged = self.slots  # first sequence = number of slots
        self.last: dict[int, bool] = {}
        self.pairs: list[tuple[RingReader, ListReader, int]] = []
        self.join_newest()

    def teardown(self) -> None:
        if hasattr(self, "writer"):
            self.writer.close()

    @rule(flags=st.lists(st.booleans(), min_size=1, max_size=40))
    def put(self, flags: list[bool]) -> None:
        batch_max = self.writer.batch_max
        records = np.zeros(len(flags), dtype=RAW)
        for i, last in enumerate(flags):
            if self.staged - self.head >= batch_max:
                self.head = self.staged
            records[i]["sequence"] = self.staged * 7
            records[i]["flags"] = int(Flag.LAST) if last else 0
            self.last[self.staged] = last
            self.staged += 1
        self.writer.put(records)
        assert self.writer.next_seq == self.staged

    @rule()
    def commit(self) -> None:
        self.head = self.staged
        assert self.writer.commit() == self.head

    @rule()
    def join_newest(self) -> None:
        self._add(RingReader(self.writer, start="newest"), self.head, False)

    @rule()
    def join_oldest(self) -> None:
        oldest = max(self.slots, self.head - (self.slots - self.slots // 8 - 1))
        self._add(RingReader(self.writer, start="oldest"), oldest, oldest != self.slots)

    @rule(back=st.integers(0, 300))
    def join_at(self, back: int) -> None:
        position = max(self.slots, self.head - back)
        self._add(RingReader(self.writer, start=position), position, False)

    def _add(self, reader: RingReader, position: int, skipping: bool) -> None:
        self.pairs.append((reader, ListReader(self, position, skipping), position))
        self.pairs = self.pairs[-4:]

    @rule(which=st.integers(0, 3), most=st.integers(1, 100), into=st.booleans())
    def read(self, which: int, most: int, into: bool) -> None:
        reader, model, _ = self.pairs[which % len(self.pairs)]
        if into:
            room = np.zeros(most, dtype=RAW)
            got = room[: reader.read_into(room)]
        else:
            # read() sizes its array by what was published: the model gets the same bound
            if not reader.available():
                assert model.read(most) == []
                return
            ready = self.head - reader.position
            most = min(most, ready) if ready > 0 else most
            got = reader.read(most)
        self._compare(got, model.read(most), reader, model)

    def _compare(
        self, got: np.ndarray[Any, Any], want: list[int], reader: RingReader, model: ListReader
    ) -> None:
        assert got["ring_seq"].tolist() == want
        assert got["sequence"].tolist() == [seq * 7 for seq in want]
        assert (reader.position, reader.lost) == (model.position, model.lost)

    @invariant()
    def nothing_disappears(self) -> None:
        for reader, model, start in getattr(self, "pairs", []):
            handed_out = reader.position - start - reader.lost
            assert handed_out >= 0
            assert reader.position == model.position


RingMachine.TestCase.settings = settings(
    max_examples=tries(100), stateful_step_count=50, deadline=None
)
TestRingAgainstList = RingMachine.TestCase
