"""Every policy against its model: snapshots, losses, repeats, rewinds, resets, empty messages."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from feedd.records import BookState
from tests.pipeline.lab import BOOKS, IN_STREAM, lab_venue, rest_body
from tests.pipeline.model import ASKS, BIDS, Levels, Model, Msg, Server, as_levels, set_levels
from tests.pipeline.rig import Rig, kinds

pytestmark = pytest.mark.timeout(600)  # a loaded machine
_SIZES = st.integers(0, 3)
_LEVELS: st.SearchStrategy[Levels] = st.tuples(
    st.lists(st.tuples(st.sampled_from(BIDS), _SIZES), max_size=3),
    st.lists(st.tuples(st.sampled_from(ASKS), _SIZES), max_size=3),
)
_FILLED = _LEVELS.filter(any)
_SETTINGS = settings(
    max_examples=12,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
KRAKEN = {"path": "cs", "levels": 10, "order": "asks_then_bids", "join": "", "digits_only": True}
FORMS: dict[str, dict[str, Any]] = {
    **{name: BOOKS[name] for name in ("range_plus_one", "plus_one", "prev_link")},
    "checksum_only": {**IN_STREAM, "checksum": KRAKEN},
}


def rig_of(policy: str) -> Rig:
    form = lab_venue({"policy": policy, **FORMS.get(policy, BOOKS.get(policy, {}))})
    return Rig(form, slots=2048)


class InStream(RuleBasedStateMachine):
    """One connection of a venue whose snapshots come in the stream."""

    policy = ""

    def __init__(self) -> None:
        super().__init__()
        self.rig = rig_of(self.policy)
        self.server = Server(self.policy)
        self.model = Model(self.policy)
        self.sent: list[Msg] = []
        self.replayed: tuple[dict[float, float], dict[float, float]] = ({}, {})

    def deliver(self, m: Msg) -> None:
        events = self.rig.send(m.wire())
        assert kinds(events) == self.model.on(m)
        for event in events:
            if event["kind"] == "book":
                self._replay(event)
        self.sent.append(m)

    def _replay(self, event: dict[str, Any]) -> None:
        for side, levels in zip(self.replayed, (event["bids"], event["asks"]), strict=True):
            if event["action"] == "snapshot":
                side.clear()
            for price, size in levels:
                if size:
                    side[price] = size
                else:
                    side.pop(price, None)

    @rule(levels=_FILLED, step=st.integers(1, 3))
    def change(self, levels: Levels, step: int) -> None:
        self.deliver(self.server.change(levels, step))

    @rule(levels=_FILLED)
    def lost_change(self, levels: Levels) -> None:
        self.server.change(levels)

    @rule()
    def snapshot(self) -> None:
        self.deliver(self.server.snapshot())

    @precondition(lambda self: self.policy != "checksum_only")
    @rule()
    def empty(self) -> None:
        # a keep-alive names its predecessor twice, an empty range moves the number
        self.deliver(self.server.change(([], []), 0 if self.policy == "prev_link" else 1))

    @precondition(lambda self: self.sent)
    @rule(back=st.integers(1, 6))
    def again(self, back: int) -> None:
        self.deliver(self.sent[-min(back, len(self.sent))])

    @precondition(lambda self: self.policy in ("plus_one", "prev_link"))
    @rule(levels=_FILLED)
    def numbering_starts_over(self, levels: Levels) -> None:
        self.deliver(self.server.reset(levels))

    @invariant()
    def state_is_the_models(self) -> None:
        if self.model.state == "init":
            return
        state, sequence = self.rig.state("X")
        assert BookState(state).name.lower() == self.model.state
        bids, asks = self.rig.levels("X")
        assert ([(p, s) for p, s in bids], [(p, s) for p, s in asks]) == as_levels(self.model.sides)
        assert self.replayed == (dict(bids), dict(asks))
        if self.model.state == "live" and self.model.last is not None:
            assert sequence == self.model.last
            if self.model.last in self.server.books and self.model.ms == self.server.ms:
                assert (bids, asks) == self.server.books[self.model.last]


@pytest.mark.parametrize("policy", sorted(FORMS))
def test_in_stream_policies(policy: str) -> None:
    machine = type("Machine", (InStream,), {"policy": policy})
    run_state_machine_as_test(machine, settings=_SETTINGS)


class WithRest(RuleBasedStateMachine):
    """One connection of a venue whose snapshots come from REST."""

    policy = ""

    def __init__(self) -> None:
        super().__init__()
        self.rig = rig_of(self.policy)
        self.server = Server(self.policy)
        self.server.books[self.server.u] = ([], [])
        self.sent: list[Msg] = []
        self.waiting: list[Msg] = []
        self.state = "init"
        self.last = 0
        self.joined = False
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def _contains(self, number: int, m: Msg) -> bool:
        assert m.u is not None
        return m.u <= number if self.policy == "range_plus_one_rest" else m.u < number

    def _joins(self, number: int, m: Msg) -> bool:
        assert m.first is not None
        if self.policy == "range_plus_one_rest":
            return m.first <= number + 1
        return m.first <= number or m.previous == number

    def _links(self, last: int, m: Msg) -> bool:
        if self.policy == "range_plus_one_rest":
            assert m.first is not None
            return m.first <= last + 1
        return m.previous == last

    def deliver(self, m: Msg) -> None:
        assert m.u is not None
        expected: list[str] = []
        self.sent.append(m)
        if self.state == "live":
            old = m.u <= self.last if self.joined else self._contains(self.last, m)
            links = self._links(self.last, m) if self.joined else self._joins(self.last, m)
            if not old and links:
                set_levels(self.sides, m.levels)
                self.last, self.joined = m.u, True
                expected = ["book:delta"] if any(m.levels) else []
            elif not old:
                expected = ["status:gap", "status:resync"]
                self.state, self.waiting = "gap", [m]
        else:
            expected = self._buffer(m)
        assert kinds(self.rig.send(m.wire())) == expected

    def _buffer(self, m: Msg) -> list[str]:
        assert m.u is not None
        if self.state == "init":
            self.state, self.waiting = "syncing", [m]
            return ["status:resync"]
        if self.waiting and m.u <= (self.waiting[-1].u or 0):
            return []
        broken = self.waiting and not self._links(self.waiting[-1].u or 0, m)
        if broken:
            self.waiting = []
        self.waiting.append(m)
        if broken and self.state == "syncing":
            self.state = "gap"
            return ["status:gap", "status:resync"]
        return []

    @rule(levels=_FILLED, step=st.integers(1, 3))
    def change(self, levels: Levels, step: int) -> None:
        self.deliver(self.server.change(levels, step))

    @rule(levels=_FILLED, step=st.integers(1, 3))
    def lost_change(self, levels: Levels, step: int) -> None:
        self.server.change(levels, step)

    @rule()
    def empty(self) -> None:
        self.deliver(self.server.change(([], [])))

    @precondition(lambda self: self.sent)
    @rule(back=st.integers(1, 6))
    def again(self, back: int) -> None:
        self.deliver(self.sent[-min(back, len(self.sent))])

    @precondition(lambda self: self.state in ("syncing", "gap"))
    @rule(back=st.integers(1, 5))
    def rest(self, back: int) -> None:
        """A snapshot of the present or of a little before."""
        numbers = sorted(self.server.books)
        number = numbers[-min(back, len(numbers))]
        answer, events = self.rig.rest("X", rest_body(number, *self.server.books[number]))
        fresh = [m for m in self.waiting if not self._contains(number, m)]
        if fresh and not self._joins(number, fresh[0]):
            assert (answer, events) == ("too_old", [])
            return
        assert answer == "joined"
        lines = ["book:delta" for m in fresh if any(m.levels)]
        assert kinds(events) == ["book:snapshot", "status:live", *lines]
        self.sides = ({}, {})
        set_levels(self.sides, self.server.books[number])
        self.state, self.last, self.joined = "live", number, bool(fresh)
        for m in fresh:
            set_levels(self.sides, m.levels)
            self.last = m.u or 0
        self.waiting = []

    @invariant()
    def book_is_the_venues(self) -> None:
        if self.state == "init":
            return
        state, sequence = self.rig.state("X")
        assert BookState(state).name.lower() == self.state
        if self.state == "live":
            assert sequence == self.last
            assert self.rig.levels("X") == as_levels(self.sides)
            assert self.rig.levels("X") == self.server.books[self.last]


@pytest.mark.parametrize("policy", ["prev_link_rest", "range_plus_one_rest"])
def test_rest_policies(policy: str) -> None:
    machine = type("Machine", (WithRest,), {"policy": policy})
    run_state_machine_as_test(machine, settings=_SETTINGS)
