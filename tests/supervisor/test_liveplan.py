"""The plan at run time: what readers are told leads exactly to the plan that a new reader gets."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from feedd import venues
from feedd.reader.plan import PlanChange, ReaderPlan
from feedd.supervisor.config import Config
from feedd.supervisor.liveplan import ROW_REST_NS, LivePlan
from feedd.supervisor.plan import make_plan
from feedd.supervisor.select import Listed
from feedd.venues.schema import Venue

VENUE = "binance_usdm"
CHANNELS = ["depth", "bookTicker", "aggTrade", "markPrice"]


def usdm(**limits: Any) -> Venue:
    """Small connections, and a channel whose topic several instruments share."""
    venue = venues.load(VENUE)
    first, second = venue.session.endpoints
    ends = (
        msgspec.structs.replace(first, streams_max=5, channel_max={"depth": 2}),
        msgspec.structs.replace(second, streams_max=4),
    )
    session = msgspec.structs.replace(
        venue.session,
        endpoints=ends,
        limits=msgspec.structs.replace(venue.session.limits, **limits),
    )
    shared = msgspec.structs.replace(
        venue.channels["markPrice"], subscribe="{base_lower}@markPrice", options={}
    )
    return msgspec.structs.replace(
        venue, session=session, channels={**venue.channels, "markPrice": shared}
    )


def config(**more: Any) -> Config:
    table = {"instruments": ["*"], "channels": CHANNELS, "spare_rows": 6, **more}
    return msgspec.convert({"readers": {"count": 2}, "venues": {VENUE: table}}, Config)


def listed(number: int) -> Listed:
    return Listed(f"S{number}", number, "perpetual", base=f"B{number % 3}")


class Model:
    """A reader that believes what it is told."""

    def __init__(self, plan: ReaderPlan) -> None:
        (part,) = plan.venues
        self.instruments = {item.symbol: item for item in part.instruments}
        self.lines = {line.number: [s.topic for s in line.streams] for line in part.lines}

    def apply(self, change: PlanChange) -> None:
        for number in change.ended:
            del self.lines[number]
        for edit in change.changes:
            topics = self.lines[edit.number]
            for topic in edit.drop:
                topics.remove(topic)
            for stream in edit.add:
                assert stream.topic not in topics
                topics.append(stream.topic)
        for line in change.lines:
            assert line.number not in self.lines
            assert line.streams
            self.lines[line.number] = [s.topic for s in line.streams]
        for symbol in change.gone:
            del self.instruments[symbol]
        for item in change.instruments:
            self.instruments[item.symbol] = item


class Changes(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.venue = usdm()
        self.config = config(lines={"depth": 2})
        chosen = {VENUE: [listed(n) for n in range(4)]}
        plans = make_plan(self.config, {VENUE: self.venue}, chosen, [None, None])
        self.live = LivePlan(self.config, {VENUE: self.venue}, plans, chosen)
        self.models = {plan.reader: Model(plan) for plan in plans}
        self.wanted = {f"S{n}" for n in range(4)}
        self.left_at: dict[tuple[int, int], int] = {}
        self.now = 0

    @rule(
        add=st.lists(st.integers(0, 25), max_size=6),
        remove=st.lists(st.integers(0, 25), max_size=6),
        seconds=st.integers(0, 400),
    )
    def change(self, add: list[int], remove: list[int], seconds: int) -> None:
        self.now += seconds * 1_000_000_000
        gone = [f"S{n}" for n in remove]
        for symbol in gone:
            if symbol in self.wanted:
                place = self.live.placed[f"{VENUE}:{symbol}"]
                self.left_at[place.reader, place.row] = self.now
        before = {place[:3] for place in self.live.placed.values()}
        changes, problems = self.live.change(VENUE, map(listed, add), gone, self.now)
        assert problems == []
        self.wanted = (self.wanted - set(gone)) | {f"S{n}" for n in add}
        for number, change in changes.items():
            assert msgspec.convert(msgspec.to_builtins(change), PlanChange) == change
            self.models[number].apply(change)
        for place in self.live.placed.values():
            if place[:3] not in before and place.row >= 0:
                rested = self.now - self.left_at.get((place.reader, place.row), -ROW_REST_NS)
                assert rested >= ROW_REST_NS

    @rule(number=st.integers(30, 40))
    def heard_of(self, number: int) -> None:
        name = f"{VENUE}:S{number}"
        if name not in self.live.placed:
            self.live.heard_of(name, number, number % 2, self.now)

    @invariant()
    def readers_have_what_the_plan_says(self) -> None:
        for number, model in self.models.items():
            fresh = Model(self.live.plan(number))
            assert model.instruments == fresh.instruments
            assert {n: sorted(t) for n, t in model.lines.items()} == {
                n: sorted(t) for n, t in fresh.lines.items()
            }

    @invariant()
    def every_stream_is_carried_and_limits_are_kept(self) -> None:
        assert set(self.live.symbols(VENUE)) == self.wanted
        wanted: set[tuple[int, str]] = set()
        for symbol in self.wanted:
            reader = self.live.placed[f"{VENUE}:{symbol}"].reader
            lower = symbol.lower()
            base = f"b{int(symbol[1:]) % 3}"
            topics = [f"{lower}@depth@100ms"] * 2 + [f"{lower}@bookTicker", f"{lower}@aggTrade"]
            wanted |= {(reader, topic) for topic in [*topics, f"{base}@markPrice"]}
        for number, model in self.models.items():
            carried = [topic for topics in model.lines.values() for topic in topics]
            for reader, topic in wanted:
                if reader == number:
                    assert carried.count(topic) == (2 if "@depth" in topic else 1)
            assert {(number, topic) for topic in carried} <= wanted
            for topics in model.lines.values():
                assert 0 < len(topics) <= 5
                assert sum("@depth" in topic for topic in topics) <= 2
                assert len(set(topics)) == len(topics)

    @invariant()
    def rows_belong_to_one_instrument(self) -> None:
        rows = [(p.reader, p.row) for p in self.live.placed.values() if p.row >= 0]
        assert len(rows) == len(set(rows))
        for reader, row in rows:
            assert row < self.live.plan(reader).rows


TestChanges = Changes.TestCase
TestChanges.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def started(venue: Venue, mine: Config, count: int = 2) -> LivePlan:
    chosen = {VENUE: [listed(n) for n in range(count)]}
    plans = make_plan(mine, {VENUE: venue}, chosen, [None, None])
    return LivePlan(mine, {VENUE: venue}, plans, chosen)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"connections_max": 4}, "the venue allows 4 connections"),
        ({"streams_total_max": 9}, "the venue allows 9 streams"),
    ],
)
def test_what_does_not_fit_is_refused_whole(limits: dict[str, int], words: str) -> None:
    live = started(usdm(**limits), config())
    told = live.trial(VENUE, [listed(n) for n in range(2, 12)], [], 0)
    before = [live.plan(n) for n in (0, 1)]
    changes, problems = live.change(VENUE, [listed(n) for n in range(2, 12)], [], 0)
    assert problems == told, "a trial says the same and changes nothing"
    assert problems
    assert all(words in problem for problem in problems)
    refused = len(problems)
    assert len(live.symbols(VENUE)) == 12 - refused
    assert 0 < refused <= 10
    for number in (0, 1):
        plan = live.plan(number)
        topics = [s.topic for _, line in plan.lines for s in line.streams]
        symbols = {item.symbol.lower() for part in plan.venues for item in part.instruments}
        assert {t.split("@")[0] for t in topics if "@mark" not in t} <= symbols
    assert [p.reader for p in before] == [0, 1]
    assert set(changes) <= {0, 1}


def test_a_new_instrument_goes_to_the_reader_with_less_to_do() -> None:
    live = started(usdm(), config(), count=3)
    heavy = max((0, 1), key=lambda n: len(live.plan(n).venues[0].instruments))
    changes, _ = live.change(VENUE, [listed(9)], [], 0)
    assert list(changes) == [1 - heavy]


def test_without_a_free_row_an_instrument_is_published_in_the_ring_alone() -> None:
    live = started(usdm(), config(spare_rows=0))
    live.change(VENUE, [listed(9)], [], 0)
    assert live.placed[f"{VENUE}:S9"].row == -1


def test_a_symbol_that_was_heard_of_keeps_its_place() -> None:
    live = started(usdm(), config())
    place = live.heard_of(f"{VENUE}:S9", 9, 1, 0)
    changes, _ = live.change(VENUE, [listed(9)], [], 0)
    assert list(changes) == [1]
    assert live.placed[f"{VENUE}:S9"] == place
