"""Two connections with one stream: the first copy wins, a gap only when both lack a message."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
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

from feedd.decode.plan import compile_plan
from feedd.pipeline.core import Pipeline
from feedd.records import BookState
from feedd.shm.counters import CountersReader, CountersWriter
from feedd.shm.ring import RingWriter
from tests.pipeline.lab import BOOKS, T0, lab_venue, message, rest_body
from tests.pipeline.model import Levels, Msg, Server, as_levels
from tests.pipeline.rig import Rig, kinds
from tests.pipeline.test_policy_models import _FILLED, rig_of

NUMBERED = ["plus_one", "prev_link", "prev_link_rest", "range_plus_one", "range_plus_one_rest"]
UNNUMBERED = ["checksum_only", "trust_tcp"]


class Pair:
    """A server and two lines of one book; message by message."""

    def __init__(self, policy: str) -> None:
        self.policy = policy
        self.server = Server(policy)
        self.rig = rig_of(policy)
        self.start = self.server.change(([(1, 1)], [(11, 1)]))
        first = self.server.snapshot()
        if policy.endswith("_rest"):
            self.rig.send(self.start.wire(), 0)
            number = self.server.u
            answer, _ = self.rig.rest("X", rest_body(number, *as_levels(self.server.sides)))
            assert answer == "joined"
            self.rig.send(self.start.wire(), 1)
        else:
            self.rig.send(first.wire(), 0)
            self.rig.send(first.wire(), 1)
        assert self.rig.state("X")[0] == BookState.LIVE
        self.rig.pipeline.take_requests()

    def change(self, price: int, size: int) -> Msg:
        return self.server.change(([(price, size)], []))

    def send(self, m: Msg, line: int) -> list[str]:
        return kinds(self.rig.send(m.wire(), line))

    def is_true(self) -> bool:
        live = self.rig.state("X")[0] == BookState.LIVE
        return live and self.rig.levels("X") == as_levels(self.server.sides)


@pytest.mark.parametrize("policy", NUMBERED + UNNUMBERED)
def test_copies_are_silent_whichever_line_is_ahead(policy: str) -> None:
    pair = Pair(policy)
    messages = [pair.change(1, n) for n in range(2, 8)]
    out = [pair.send(m, 0) for m in messages[:3]] + [pair.send(m, 1) for m in messages]
    out += [pair.send(m, 0) for m in messages[3:]]
    assert out == [["book:delta"]] * 3 + [[]] * 3 + [["book:delta"]] * 3 + [[]] * 3
    assert pair.is_true()


@pytest.mark.parametrize("policy", ["plus_one", "prev_link", "range_plus_one"])
def test_a_snapshot_over_a_line_that_is_behind_heals_too(policy: str) -> None:
    """What the other line brought since comes over this one behind the snapshot."""
    pair = Pair(policy)
    pair.change(1, 2)  # lost by both
    broken = pair.change(2, 2)
    assert pair.send(broken, 1) == []
    assert pair.send(broken, 0) == ["status:gap", "status:resync"]
    snapshot = replace(pair.server.snapshot(), ms=broken.ms)
    later = [pair.change(3, n) for n in (5, 6, 7)]
    for m in later[:2]:
        assert pair.send(m, 1) == []
    assert pair.send(snapshot, 0) == ["book:snapshot", "status:live"]
    assert pair.send(later[2], 1) == []
    assert pair.send(later[0], 0) == ["book:delta"]
    assert pair.send(later[1], 0) == ["book:delta"] * 2
    assert pair.is_true()


@pytest.mark.parametrize("policy", ["plus_one", "prev_link", "range_plus_one"])
def test_a_snapshot_that_its_own_line_has_passed_heals_nothing(policy: str) -> None:
    pair = Pair(policy)
    pair.change(1, 2)
    broken = pair.change(2, 2)
    snapshot = replace(pair.server.snapshot(), ms=broken.ms)
    later = [pair.change(3, n) for n in (5, 6)]
    assert pair.send(broken, 1) == []
    assert pair.send(broken, 0) == ["status:gap", "status:resync"]
    for m in later:
        assert pair.send(m, 0) == []
    assert pair.send(snapshot, 0) == []


def _timed(rig: Rig, line: int, ms: int, snapshot: bool = False, **levels: Any) -> list[str]:
    return kinds(rig.send(message(**levels, ms=ms, snapshot=snapshot), line))


def test_news_of_the_time_that_the_second_line_came_at_is_news() -> None:
    rig = rig_of("trust_tcp")
    first: dict[str, Any] = {"bids": [(1, 1)], "asks": [(11, 1)], "snapshot": True}
    assert _timed(rig, 0, 5, **first) == ["book:snapshot", "status:live"]
    assert _timed(rig, 1, 5, **first) == []
    assert _timed(rig, 1, 5, bids=[(1, 2)]) == ["book:delta"]
    assert _timed(rig, 1, 6, bids=[(1, 3)]) == ["book:delta"]
    assert _timed(rig, 0, 5, bids=[(1, 2)]) == []
    assert rig.levels("X") == ([(1, 3)], [(11, 1)])


def test_a_line_that_goes_on_alone_has_all_that_came_behind_its_snapshot() -> None:
    """Also what has the time of the last message that the first line brought alone."""
    rig = rig_of("trust_tcp")
    _timed(rig, 0, 5, bids=[(1, 1)], asks=[(11, 1)], snapshot=True)
    _timed(rig, 0, 6, bids=[(1, 2)])
    assert _timed(rig, 1, 6, bids=[(1, 2)], asks=[(11, 1)], snapshot=True) == []
    assert _timed(rig, 1, 6, bids=[(2, 4)]) == []
    assert _timed(rig, 1, 7, asks=[(12, 1)]) == []
    rig.pipeline.line_down(rig.handle, 0, rig.t)
    assert rig.state("X")[0] == BookState.LIVE
    assert rig.levels("X") == ([(2, 4), (1, 2)], [(11, 1), (12, 1)])


def test_partial_books_of_one_time_come_once_each() -> None:
    rig = rig_of("none_full")
    for line in (0, 1):
        _timed(rig, line, 4, bids=[(1, 1)], asks=[(11, 1)])
    books: list[dict[str, Any]] = [{"bids": [(1, n)], "asks": [(11, 1)]} for n in (2, 3, 4)]
    for levels in books[:2]:
        assert _timed(rig, 0, 5, **levels) == ["book:snapshot"]
    for levels in books[:2]:
        assert _timed(rig, 1, 5, **levels) == []
    assert _timed(rig, 1, 5, **books[2]) == ["book:snapshot"]
    assert _timed(rig, 0, 5, **books[2]) == []
    assert _timed(rig, 0, 5, **books[0]) == ["book:snapshot"], "it went back"
    assert rig.levels("X") == ([(1, 2)], [(11, 1)])


def test_a_checksum_tells_the_order_of_messages_of_one_time() -> None:
    """Each line lacks what the other one has; both changed the same level."""
    pair = Pair("checksum_only")
    changes = [pair.change(1, n) for n in (2, 3)]
    ms = changes[0].ms
    assert pair.send(changes[0], 1) == ["book:delta"]
    assert pair.send(replace(changes[1], ms=ms), 0) == ["book:delta"]
    assert pair.is_true()
    after = pair.change(2, 2)
    assert [pair.send(after, line) for line in (1, 0)] == [["book:delta"], []]
    assert pair.is_true()


@pytest.mark.parametrize("policy", NUMBERED + UNNUMBERED)
def test_what_one_line_lost_the_other_brings(policy: str) -> None:
    pair = Pair(policy)
    messages = [pair.change(n % 4 + 1, n) for n in range(2, 9)]
    events: list[str] = []
    for m in messages[:2]:
        events += pair.send(m, 0) + pair.send(m, 1)
    for m in messages[3:5]:  # line 0 lacks messages[2]
        events += pair.send(m, 0)
    for m in messages[2:5]:
        events += pair.send(m, 1)
    for m in messages[5:]:
        events += pair.send(m, 1) + pair.send(m, 0)
    assert events == ["book:delta"] * len(messages)
    assert pair.is_true()
    assert (
        pair.rig.counters["gaps"]
        == pair.rig.counters["checksum_failures"] - (policy == "checksum_only")
        == 0
    )


@pytest.mark.parametrize("policy", NUMBERED)
def test_what_both_lines_lost_is_one_gap(policy: str) -> None:
    pair = Pair(policy)
    pair.change(1, 5)
    later = [pair.change(1, n) for n in (6, 7)]
    assert pair.send(later[0], 0) == []  # line 1 may have it
    assert pair.send(later[0], 1) == ["status:gap", "status:resync"]
    assert pair.send(later[1], 0) + pair.send(later[1], 1) == []
    assert pair.rig.counters["gaps"] == 1


@pytest.mark.parametrize("policy", NUMBERED)
def test_a_silent_line_is_not_waited_for_long(policy: str) -> None:
    pair = Pair(policy)
    pair.change(1, 5)
    assert pair.send(pair.change(1, 6), 0) == []
    assert pair.rig.state("X")[0] == BookState.LIVE
    pair.rig.t += 260_000_000
    events = pair.send(pair.change(1, 7), 0)
    assert events == ["status:gap", "status:resync"]


@pytest.mark.parametrize("policy", NUMBERED)
def test_the_end_of_the_other_line_ends_the_wait(policy: str) -> None:
    pair = Pair(policy)
    pair.change(1, 5)
    assert pair.send(pair.change(1, 6), 0) == []
    pair.rig.pipeline.line_down(pair.rig.handle, 1, pair.rig.t)
    assert kinds(pair.rig.drain()) == ["status:gap", "status:resync"]


@pytest.mark.parametrize("policy", ["plus_one", "prev_link", "range_plus_one"])
def test_a_second_line_that_begins_ahead(policy: str) -> None:
    """Its snapshot is of a later time; the first line still brings what is between."""
    pair = Pair(policy)
    between = [pair.change(2, n) for n in (3, 4)]
    snapshot = pair.server.snapshot()
    after = pair.change(3, 9)
    assert pair.send(snapshot, 2) == pair.send(after, 2) == []
    assert pair.send(between[0], 0) == ["book:delta"]
    assert pair.send(between[1], 0) == ["book:delta", "book:delta"]
    assert pair.is_true()
    assert pair.send(after, 0) == []


@pytest.mark.parametrize("policy", ["plus_one", "prev_link", "range_plus_one"])
def test_its_snapshot_carries_the_book_on(policy: str) -> None:
    pair = Pair(policy)
    pair.change(2, 3)  # nobody brings it any more
    snapshot = pair.server.snapshot()
    after = pair.change(3, 9)
    pair.send(snapshot, 2)
    pair.send(after, 2)
    for line in (0, 1):
        pair.rig.pipeline.line_down(pair.rig.handle, line, pair.rig.t)
    assert kinds(pair.rig.drain()) == ["book:snapshot", "book:delta"]
    assert pair.is_true()
    assert pair.rig.counters["gaps"] == 0
    assert pair.rig.counters["line_takeovers"] == 1


@pytest.mark.parametrize("policy", UNNUMBERED)
def test_an_unnumbered_line_finds_its_place_by_content(policy: str) -> None:
    pair = Pair(policy)
    pair.rig.pipeline.line_down(pair.rig.handle, 1, pair.rig.t)
    for n in (3, 4):
        assert pair.send(pair.change(1, n), 0) == ["book:delta"]
    snapshot = pair.server.snapshot()
    ahead = [pair.change(2, n) for n in (3, 4, 5)]
    assert pair.send(snapshot, 1) + pair.send(ahead[0], 1) + pair.send(ahead[1], 1) == []
    # recognised: what line 1 brought beyond that is the first copy
    assert pair.send(ahead[0], 0) == ["book:delta", "book:delta"]
    assert pair.send(ahead[1], 0) == []
    assert pair.send(ahead[2], 1) == ["book:delta"]
    assert pair.is_true()


@pytest.mark.parametrize("policy", UNNUMBERED)
def test_an_unnumbered_line_takes_over_when_the_other_ends(policy: str) -> None:
    pair = Pair(policy)
    pair.rig.pipeline.line_down(pair.rig.handle, 1, pair.rig.t)
    pair.send(pair.server.snapshot(), 1)
    pair.send(pair.change(4, 4), 1)
    pair.rig.pipeline.line_down(pair.rig.handle, 0, pair.rig.t)
    assert kinds(pair.rig.drain()) == ["book:snapshot", "book:delta"]
    assert pair.is_true()
    assert pair.rig.counters["gaps"] == 0
    assert pair.send(pair.change(4, 0), 1) == ["book:delta"]


def test_old_content_never_overwrites_newer() -> None:
    pair = Pair("trust_tcp")
    messages = [pair.change(1, 2), pair.change(2, 2), pair.change(1, 3)]
    for m in messages[1:]:
        pair.send(m, 0)
    # line 1 brings what line 0 lost: level 1 is newer already
    assert pair.send(messages[0], 1) == []
    assert pair.is_true()
    assert pair.send(messages[1], 1) == pair.send(messages[2], 1) == []


def test_a_checksum_that_fails_on_one_line_only_costs_that_line_its_place() -> None:
    pair = Pair("checksum_only")
    pair.change(1, 2)
    second, third = pair.change(2, 2), pair.change(3, 2)
    assert pair.send(second, 0) == []  # line 0 lacks the one before
    assert pair.rig.state("X")[0] == BookState.LIVE
    assert pair.rig.counters["resyncs"] == 0
    # both lack it: the last line that was in step has nobody beside it
    assert pair.send(second, 1) == ["status:checksum", "status:resync"]
    assert pair.send(third, 0) == []


def test_what_a_checksum_refuses_follows_when_the_healthy_line_brings_the_one_before() -> None:
    pair = Pair("checksum_only")
    messages = [pair.change(n % 4 + 1, n) for n in range(2, 8)]
    assert [pair.send(m, 0) for m in messages[1:4]] == [[], [], []]  # line 0 lacks the first
    assert pair.send(messages[0], 1) == ["book:delta"] * 4
    assert [pair.send(m, 1) for m in messages[1:5]] == [[], [], [], ["book:delta"]]
    assert pair.send(messages[4], 0) == []  # in step again
    assert pair.send(messages[5], 0) == ["book:delta"]
    assert pair.is_true()
    assert pair.rig.counters["gaps"] == pair.rig.counters["resyncs"] == 0


def test_what_stays_refused_is_forgotten_and_the_healthy_line_goes_on() -> None:
    pair = Pair("checksum_only")
    damaged = pair.change(1, 2)
    assert pair.send(replace(damaged, checksum=1), 0) == []
    pair.rig.t += 260_000_000
    assert pair.send(damaged, 1) == ["book:delta"]
    after = [pair.change(2, n) for n in (2, 3, 4)]
    for m in after:
        assert pair.send(m, 1) + pair.send(m, 0) == ["book:delta"]
    pair.rig.pipeline.line_down(pair.rig.handle, 1, pair.rig.t)
    assert pair.send(pair.change(3, 3), 0) == ["book:delta"]
    assert pair.is_true()
    assert pair.rig.counters["gaps"] == pair.rig.counters["resyncs"] == 0


def test_both_lines_follow_a_reset() -> None:
    pair = Pair("prev_link")
    before = pair.change(1, 2)
    reset = pair.server.reset(([(1, 3)], []))
    after = pair.change(1, 4)
    for m in (before, reset):
        assert pair.send(m, 0) == ["book:delta"]
    assert pair.send(before, 1) == []  # its high number is of before the reset
    assert pair.send(reset, 1) == []
    assert pair.send(after, 1) == ["book:delta"]
    assert pair.send(after, 0) == []
    assert pair.is_true()
    assert pair.rig.counters["gaps"] == 0


def test_a_jump_of_one_connection_leaves_the_books_to_the_other() -> None:
    form = lab_venue(
        {"policy": "trust_tcp", **BOOKS["trust_tcp"]},
        {"connection_sequence": {"path": "@.n", "first": 0}},
    )
    rig = Rig(form)

    def send(n: int, line: int, size: int | None, ms: int) -> list[str]:
        levels = [("10", "1")] if size is None else [("10", str(size))]
        m = message(levels, snapshot=size is None, ms=ms)
        return kinds(rig.send({"n": n, **m}, line))

    send(0, 0, None, 0)
    send(0, 1, None, 0)
    for ms in (1, 2):
        send(ms, 0, ms + 1, ms)
    assert send(4, 0, 5, 4) == []  # number 3 is missing on line 0
    assert rig.state("X")[0] == BookState.LIVE
    assert [(r.kind, r.line) for r in rig.pipeline.take_requests()] == [("reconnect", 0)]
    assert send(1, 1, 2, 1) + send(2, 1, 3, 2) == []
    assert send(3, 1, 4, 3) == ["book:delta"]
    assert send(4, 1, 5, 4) == ["book:delta"]
    assert rig.levels("X")[0] == [(10.0, 5.0)]
    assert rig.counters["gaps"] == 0
    # line 0 was found to be in step again, so it may now carry the book alone
    rig.pipeline.line_down(rig.handle, 1, rig.t)
    assert send(5, 0, 6, 5) == ["book:delta"]


def test_the_share_and_the_lag_of_each_line_are_counted() -> None:
    writer = CountersWriter.private()
    pipeline = Pipeline(RingWriter.private(1024), None, None, writer)
    handle = pipeline.add_venue(
        compile_plan(lab_venue({"policy": "plus_one", **BOOKS["plus_one"]}))
    )
    pipeline.on_unknown(lambda _venue, _symbol: (0, -1, 0))
    t = 1_700_000_000_000_000_000

    def send(u: int, line: int, at: int, snapshot: bool = False) -> None:
        data = orjson.dumps(message([("10", str(u))], snapshot=snapshot, u=u, ms=u))
        pipeline.on_message(handle, data, t + at, line)

    send(1, 3, 0, True)
    send(1, 5, 1000, True)
    for u in range(2, 12):
        late = 3 if u % 5 else 5
        send(u, 8 - late, u * 1_000_000)
        send(u, late, u * 1_000_000 + 40_000)
    rows = CountersReader(writer).connections(0)
    assert rows[5][32:34].tolist() == [8, 3]  # firsts, copies (with its snapshot)
    assert rows[3][32:34].tolist() == [2, 8]
    assert rows[3][34:37].tolist() == [320_000, 8, 40_000]  # lag: sum, measured, most
    assert rows[3][40:56].tolist() == [0, 0, 8, *[0] * 13]  # 32 us to 64 us


# ---- any interleaving ----


class Lines(RuleBasedStateMachine):
    """Two lines, each behind the venue as it likes; what one loses the other one has."""

    policy = ""

    def __init__(self) -> None:
        super().__init__()
        self.server = Server(self.policy)
        self.rig = rig_of(self.policy)
        self.stream: list[Msg] = [self.server.change(([(1, 1)], [(11, 1)]))]
        self.truths: list[Levels] = [as_levels(self.server.sides)]
        self.at = [1, 1]
        self.lost: list[set[int]] = [set(), set()]
        self.events: list[dict[str, Any]] = []
        self.takeovers = False
        if self.policy.endswith("_rest"):
            self.rig.send(self.stream[0].wire(), 0)
            self.rig.rest("X", rest_body(self.server.u, *self.truths[0]))
            self.rig.send(self.stream[0].wire(), 1)
        else:
            for line in (0, 1):
                self.rig.send(self.server.snapshot().wire(), line)
        self.rig.drain()
        self.began = self.server.ms
        assert self.rig.state("X")[0] == BookState.LIVE
        self.replayed = tuple(dict(side) for side in self.rig.levels("X"))

    @rule(levels=_FILLED)
    def venue_says(self, levels: Levels) -> None:
        self.stream.append(self.server.change(levels))
        self.truths.append(as_levels(self.server.sides))

    def _deliver(self, line: int) -> None:
        events = self.rig.send(self.stream[self.at[line]].wire(), line)
        self.at[line] += 1
        self._note(events)

    def _note(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            assert event["kind"] == "book", event
            self.events.append(event)
            for side, levels in zip(self.replayed, (event["bids"], event["asks"]), strict=True):
                if event["action"] == "snapshot":
                    side.clear()
                for price, size in levels:
                    if size:
                        side[price] = size
                    else:
                        side.pop(price, None)

    @rule(line=st.integers(0, 1), count=st.integers(1, 4))
    def line_brings(self, line: int, count: int) -> None:
        for _ in range(count):
            if self.at[line] < len(self.stream):
                self._deliver(line)

    def _is_published(self, index: int) -> bool:
        return index < len(self.stream) and any(
            event["ts_event"] == (T0 + self.stream[index].ms) * 1_000_000 for event in self.events
        )

    @rule(line=st.integers(0, 1))
    def line_loses(self, line: int) -> None:
        index = self.at[line]
        if self.policy == "trust_tcp" and not self._is_published(index):
            return  # nothing shows that it was lost; see the tests above for what can be done
        if self.policy == "checksum_only" and self.lost[1 - line]:
            return  # a checksum says that something is missing, not what: one line has it all
        if index < len(self.stream) and index not in self.lost[1 - line]:
            self.lost[line].add(index)
            self.at[line] += 1

    @precondition(lambda self: self.policy in NUMBERED and not self.policy.endswith("_rest"))
    @rule(line=st.integers(0, 1), ahead=st.booleans())
    def line_is_replaced(self, line: int, ahead: bool) -> None:
        """It ends, and begins again with a snapshot; only while the other one has no hole of its
        own that this one alone could fill."""
        other = 1 - line
        if any(index >= min(self.at) for index in self.lost[other]):
            return
        self.rig.pipeline.line_down(self.rig.handle, line, self.rig.t)
        self._note(self.rig.drain())
        index = len(self.stream) if ahead else max(self.at[line], self.at[other] - 1)
        self.at[line] = index
        self.lost[line] -= {k for k in self.lost[line] if k >= index}
        truth = self.truths[index - 1]
        last = self.stream[index - 1]
        first = Msg(max(last.ms, self.began), truth, snapshot=True, u=last.u)
        if self.policy == "prev_link":
            first = Msg(first.ms, truth, snapshot=True, u=last.u, previous=-1)
        self._note(self.rig.send(first.wire(), line))
        self.takeovers = True

    @invariant()
    def never_wrong(self) -> None:
        state, sequence = self.rig.state("X")
        assert state == BookState.LIVE
        levels = self.rig.levels("X")
        assert tuple(dict(side) for side in levels) == self.replayed
        if self.policy in NUMBERED:
            (index,) = [i for i, m in enumerate(self.stream) if m.u == sequence]
            assert levels == self.truths[index]

    def teardown(self) -> None:
        for line in (0, 1):
            while self.at[line] < len(self.stream):
                self._deliver(line)
        self.rig.pipeline.flush()  # what still waits for a copy waits no longer
        self._note(self.rig.drain())
        assert self.rig.state("X")[0] == BookState.LIVE
        assert self.rig.levels("X") == self.truths[-1]
        assert self.rig.counters["gaps"] == self.rig.counters["buffer_overflows"] == 0
        if not self.takeovers and self.policy in NUMBERED:
            assert len(self.events) == len(self.stream) - 1


@pytest.mark.timeout(600)  # a loaded machine
@pytest.mark.parametrize("policy", NUMBERED + UNNUMBERED)
def test_two_lines_lose_nothing(policy: str) -> None:
    machine = type("Machine", (Lines,), {"policy": policy})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
