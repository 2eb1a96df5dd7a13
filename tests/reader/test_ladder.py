"""The ladder of stale streams: what counts, in which order, and who is spared."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from feedd.clock import SECOND_NS
from feedd.reader.ladder import ROTATE_PAUSE_NS, Ladder, Look, Rung, Step

S = SECOND_NS
LIMIT = 20 * S


class Rig:
    def __init__(self, *topics: str, limit: int = LIMIT) -> None:
        self.ladder = Ladder()
        self.now = 1_000 * S
        self.seen = dict.fromkeys(topics, 0)
        self.active = dict.fromkeys(topics, True)
        self.limit = limit
        self.ladder.look(self.now, self.looks())

    def looks(self) -> list[Look]:
        return [Look(t, self.limit, self.seen[t], self.active[t]) for t in self.seen]

    def run(self, seconds: float, *talking: str) -> list[tuple[float, Step]]:
        out: list[tuple[float, Step]] = []
        start = self.now
        while self.now < start + seconds * S:
            self.now += S // 2
            for topic in talking:
                self.seen[topic] += 1
            steps = self.ladder.look(self.now, self.looks())
            out += [((self.now - start) / S, step) for step in steps]
        return out


def rungs(steps: list[tuple[float, Step]]) -> list[Rung]:
    return [step.rung for _, step in steps]


def test_a_stream_that_never_says_a_word_climbs_all_the_way() -> None:
    rig = Rig("a", "b")
    steps = rig.run(200, "b")
    assert [(t, s.topic, s.rung) for t, s in steps] == [
        (20.0, "a", Rung.PROBED),
        (25.0, "a", Rung.RESUBSCRIBED),
        (45.0, "a", Rung.ROTATED),
        (65.0, "a", Rung.ALARMED),
    ]
    assert [s.age_s for _, s in steps] == [20.0, 25.0, 45.0, 65.0]
    assert rig.ladder.stale == 1
    back = rig.run(0.5, "a", "b")
    assert [(s.topic, s.rung) for _, s in back] == [("a", Rung.FRESH)]
    assert rig.ladder.stale == 0


def test_data_at_any_rung_starts_anew() -> None:
    for climbed in (21, 26, 46):
        rig = Rig("a")
        assert rig.run(climbed)
        assert rungs(rig.run(0.5, "a")) == [Rung.FRESH]
        assert rig.run(19) == []
        assert rungs(rig.run(2)) == [Rung.PROBED]


def test_ages_count_from_the_acceptance_and_not_while_nothing_can_come() -> None:
    rig = Rig("a")
    rig.active["a"] = False
    assert rig.run(500) == []
    rig.active["a"] = True
    assert rig.run(19) == []
    assert rungs(rig.run(2)) == [Rung.PROBED]
    rig.run(5)
    rig.active["a"] = False  # resubscribed: left, and asked for again
    assert rig.run(100) == []
    rig.active["a"] = True
    assert rig.run(18) == []
    assert rungs(rig.run(3)) == [Rung.ROTATED]


def test_a_dead_stream_costs_the_others_one_rotation_only() -> None:
    rig = Rig("a", "b")
    steps = rungs(rig.run(70))
    assert steps.count(Rung.ROTATED) == 1, "one for both"
    assert steps[-2:] == [Rung.ALARMED] * 2
    assert rig.ladder.stale == 2
    rig.run(0.5, "a")
    assert Rung.ROTATED not in rungs(rig.run(100))
    rig.run(ROTATE_PAUSE_NS / S)
    rig.run(0.5, "a")
    assert Rung.ROTATED in rungs(rig.run(100))


def test_standing_still_is_nobodys_fault_and_dropped_streams_are_forgotten() -> None:
    rig = Rig("a")
    rig.run(10)
    rig.now += 600 * S
    rig.ladder.shift(600 * S)
    assert rig.run(9) == []
    assert rungs(rig.run(2)) == [Rung.PROBED]
    del rig.seen["a"]
    assert rig.run(1) == []
    assert rig.ladder.stale == 0


@given(st.lists(st.tuples(st.integers(1, 60), st.booleans(), st.booleans()), max_size=30))
@settings(max_examples=100, deadline=None)
def test_rungs_come_in_order_and_end_with_data(script: list[tuple[int, bool, bool]]) -> None:
    rig = Rig("a")
    at = Rung.FRESH
    for seconds, talks, active in script:
        rig.active["a"] = active
        for _, step in rig.run(seconds, *(["a"] if talks else [])):
            if step.rung is Rung.FRESH:
                assert at is not Rung.FRESH
            else:
                assert step.rung > at
                assert step.age_s >= LIMIT / S
                assert active
            at = step.rung
        assert rig.ladder.stale == (at is not Rung.FRESH)
