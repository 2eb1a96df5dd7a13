"""Two lines of a stream whose messages have neither number nor time, against the venue's truth.

Nothing but the order in which a connection brings its messages tells copies apart here, and the
venue of these tests says the same few things over and over.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from feedd.records import BookState
from tests.fixtures.effort import tries
from tests.pipeline.lab import BOOKS, lab_venue, message
from tests.pipeline.rig import Rig, kinds

Change = tuple[str, int, int]
State = frozenset[Change]
BIDS = (1, 2)
ASKS = (11, 12)
CHANGES = [(side, price, size) for side, prices in (("b", BIDS), ("a", ASKS))
           for price in prices for size in (0, 1, 2)]  # fmt: skip
LATE_MS = 300
"""Longer than lines wait for each other."""
NOWHERE_MS = 5_500
"""Longer than a line may look for its place while others go on."""


def lab_form(numbered: bool) -> Any:
    decode = {"connection_sequence": {"path": "@.n", "first": 0}} if numbered else None
    return lab_venue({"policy": "trust_tcp", **BOOKS["trust_tcp"]}, decode)


class Line:
    """One connection: what the venue sent over it and it has not brought yet."""

    def __init__(self) -> None:
        self.up = False
        self.sent: deque[Any] = deque()
        self.n = 0


class Market:
    """The venue, its lines, and what the consumer must make of the records."""

    def __init__(self, *, numbered: bool = True) -> None:
        self.rig = Rig(lab_form(numbered))
        self.stream: list[Change] = []
        self.states: list[State] = [frozenset({("b", 1, 1), ("a", 11, 1)})]
        self.lines = (Line(), Line())
        self.book: dict[tuple[str, int], int] = {}
        self.places: set[int] = set()
        """Where in the venue's stream the records may stand; empty: nowhere."""
        self.comes_back = False
        """Where the book is the same again, a line may have been taken for further on or behind."""
        self.deltas = self.snapshots = self.gaps = 0
        self.blind = False
        for line in (0, 1):
            self.join(line)

    # -- what happens ----------------------------------------------------------------------

    def say(self, change: Change) -> None:
        if self.stream and self.stream[-1] == change:
            return  # nothing that changes nothing is said
        side, price, size = change
        levels = {(s, p): n for s, p, n in self.states[-1]}
        levels[side, price] = size
        self.states.append(frozenset((s, p, n) for (s, p), n in levels.items() if n))
        self.stream.append(change)
        sides: dict[str, list[tuple[int, int]]] = {"b": [], "a": []}
        sides[side].append((price, size))
        for line in self.lines:
            if line.up:
                line.sent.append(message(sides["b"], sides["a"]))

    def join(self, number: int) -> None:
        """A new connection, or the stream anew on the one that is there."""
        line = self.lines[number]
        line.up = True
        levels = sorted(self.states[-1])
        sides = [[(p, n) for s, p, n in levels if s == side] for side in "ba"]
        line.sent.append(message(*sides, snapshot=True))

    def bring(self, number: int, count: int = 1) -> None:
        line = self.lines[number]
        while line.sent and count > 0:
            count -= 1
            self.note(self.rig.send({"n": line.n, **line.sent.popleft()}, number))
            line.n += 1
            self.serve()

    def lose(self, number: int) -> bool:
        """The next message of a connection is lost on the way; never its snapshot."""
        line = self.lines[number]
        if not line.sent or line.sent[0]["d"]["k"] == "s":
            return False
        line.sent.popleft()
        line.n += 1
        return True

    def die(self, number: int) -> None:
        line = self.lines[number]
        line.up, line.n = False, 0
        line.sent.clear()
        self.rig.pipeline.line_down(self.rig.handle, number, self.rig.t)
        self.rig.pipeline.line_forget(number)
        self.note(self.rig.drain())
        self.serve()

    def wait(self, ms: int = LATE_MS) -> None:
        """Time passes, and the pipeline looks at what waits."""
        self.rig.t += ms * 1_000_000
        self.note(self.rig.send({"pong": 1}))
        self.serve()

    def pause(self) -> None:
        """No line lags behind the other one for longer than they are waited for."""
        self.drain()
        self.wait()

    def serve(self) -> None:
        """What the reader does for the pipeline."""
        for request in self.rig.pipeline.take_requests():
            if request.kind == "reconnect":
                self.die(request.line)
                self.join(request.line)
            else:
                number = request.line if request.kind == "realign" else 0
                number = number if self.lines[number].up else 1 - number
                if self.lines[number].up:
                    self.join(number)

    # -- what comes of it ------------------------------------------------------------------

    def note(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            if event["kind"] == "status":
                if event["event"] == "gap":
                    self.gaps += 1
                    self.places = set()  # what comes next may be of any time
            else:
                self._book(event)

    def _book(self, event: dict[str, Any]) -> None:
        levels = [
            (side, int(price), int(size))
            for side, key in (("b", "bids"), ("a", "asks"))
            for price, size in event[key]
        ]
        if event["action"] == "snapshot":
            self.snapshots += 1
            self.book = {(s, p): n for s, p, n in levels}
            least = min(self.places, default=0)
            self.places = {
                i for i, state in enumerate(self.states) if i >= least and state == self.shown()
            }
            assert self.places or self.blind
            return
        self.deltas += 1
        if self.comes_back and self.places:
            self.places = {i for i, state in enumerate(self.states) if state == self.shown()}
        for s, p, n in levels:
            self.book[s, p] = n
        self.places = {i + 1 for i in self.places if [*self.stream[i : i + 1]] == levels}
        assert self.places or self.blind, "not what the venue said next"

    def shown(self) -> State:
        return frozenset((s, p, n) for (s, p), n in self.book.items() if n)

    def live(self) -> bool:
        return self.rig.state("X")[0] == BookState.LIVE

    def drain(self) -> None:
        while any(line.sent for line in self.lines):
            for number in (0, 1):
                self.bring(number, len(self.lines[number].sent))

    def settle(self) -> None:
        """Everything arrives, and what is slow has its time."""
        for ms in (LATE_MS, NOWHERE_MS, LATE_MS, NOWHERE_MS, LATE_MS):
            self.drain()
            self.wait(ms)

    def ends_true(self) -> bool:
        return self.live() and self.shown() == self.states[-1]


def lost_nothing(market: Market) -> bool:
    """Every message once, nothing declared."""
    return (
        market.gaps == 0
        and market.deltas == len(market.stream)
        and len(market.stream) in market.places
        and market.ends_true()
    )


# ---- by hand ----


def test_copies_that_look_alike_are_counted() -> None:
    """A level that comes and goes: every message is there twice, none is a copy of another."""
    market = Market()
    market.drain()
    for size in (2, 1) * 8:
        market.say(("b", 1, size))
    market.bring(0, 9)
    market.bring(1, 16)
    market.bring(0, 7)
    assert lost_nothing(market)


@pytest.mark.parametrize("ahead", [0, 1])
def test_a_line_that_joins_goes_on_where_the_other_ends(ahead: int) -> None:
    market = Market()
    market.drain()
    market.die(1)
    for change in (("b", 2, 1), ("b", 2, 0), ("b", 2, 1)):
        market.say(change)
    market.join(1)
    for change in (("b", 2, 2), ("a", 12, 1), ("b", 2, 0), ("a", 12, 0), ("b", 2, 1)):
        market.say(change)
    for number in (ahead, 1 - ahead):
        market.bring(number, 100)
    market.die(0)
    for change in (("b", 2, 0), ("a", 12, 2)):
        market.say(change)
    market.bring(1, 2)
    assert lost_nothing(market)
    assert market.snapshots == 1


def test_a_quiet_book_that_is_the_same_is_enough_after_a_while() -> None:
    market = Market()
    market.pause()
    market.die(0)
    market.say(("b", 1, 2))
    market.bring(1)
    assert lost_nothing(market)
    assert market.snapshots == 1


def test_where_several_places_fit_the_line_waits_for_something_else() -> None:
    market = Market()
    market.drain()
    market.die(1)
    for size in (2, 1, 2, 1):
        market.say(("b", 1, size))
    market.join(1)
    for size in (2, 1, 2, 1):
        market.say(("b", 1, size))
    market.bring(0, 100)
    market.bring(1, 100)
    market.say(("a", 11, 2))
    market.bring(1)
    assert market.deltas == 8  # is it this one, or is one missing?
    market.bring(0)
    market.die(0)
    market.say(("a", 11, 1))
    market.bring(1)
    assert lost_nothing(market)
    assert market.snapshots == 1


def test_a_loss_that_a_connection_counts_costs_nothing() -> None:
    market = Market()
    market.drain()
    for change in (("b", 2, 1), ("b", 2, 2), ("b", 2, 1), ("b", 2, 0), ("a", 12, 1)):
        market.say(change)
    market.bring(0, 2)
    assert market.lose(0)
    market.bring(0, 2)  # the number jumps: this connection starts anew
    market.drain()
    assert lost_nothing(market)


def test_a_line_that_says_something_else_starts_anew() -> None:
    """Without a number nobody knows which of the two lost it: the snapshot says that it was this
    line."""
    market = Market(numbered=False)
    market.drain()
    market.settle()
    for change in (("b", 2, 1), ("b", 1, 2), ("b", 2, 2)):
        market.say(change)
    market.bring(0, 3)
    assert market.lose(1)
    market.bring(1)
    for size in (1, 2, 0, 1, 2):
        market.say(("a", 12, size))
    market.settle()
    assert lost_nothing(market)
    market.die(0)
    market.say(("b", 1, 1))
    market.settle()
    assert lost_nothing(market)
    assert market.snapshots == 1


def test_a_book_that_is_wrong_is_declared_when_the_other_line_says_so() -> None:
    market = Market(numbered=False)
    market.drain()
    market.settle()
    market.blind = True
    for change in (("b", 2, 1), ("b", 1, 2), ("b", 2, 2)):
        market.say(change)
    market.bring(0, 1)
    assert market.lose(0)
    market.bring(0, 1)  # nothing shows that one is missing
    market.bring(1, 2)
    for size in (1, 2, 0, 1, 2):
        market.say(("a", 12, size))
        market.drain()
    market.settle()
    market.say(("b", 2, 1))
    market.settle()
    assert market.gaps == 1
    assert market.ends_true()


def test_a_checksum_is_of_where_its_line_stands() -> None:
    """The line behind brings the checksum of a book that the line ahead has changed since."""
    rig = Rig("bitfinex")
    names = {0: 100, 1: 200}
    head = {"event": "subscribed", "channel": "book", "symbol": "tX", "prec": "P0"}
    sums = (1_996_459_178 - 2**32, 0)
    for line, ident in names.items():
        rig.send({**head, "chanId": ident}, line)
        rig.send([ident, [[10, 1, 1], [11, 1, -1]], 1], line)
    for n, row in enumerate(([10, 1, 2], [10, 1, 3])):
        assert kinds(rig.send([100, row, n + 2], 0)) == ["book:delta"]
    assert rig.send([200, [10, 1, 2], 2], 1) == []
    assert rig.send([200, "cs", sums[0], 3], 1) == []  # of size 2, or of anything
    assert rig.state("tX")[0] == BookState.LIVE
    assert kinds(rig.send([100, "cs", 1, 4], 0)) == ["status:checksum", "status:resync"]


# ---- any interleaving ----

SAY = st.sampled_from([CHANGES[k] for k in (1, 2, 3, 4, 9, 10)])
"""Few, so that books and messages repeat."""
LINE = st.integers(0, 1)
STEP = st.one_of(
    st.tuples(st.just("say"), SAY),
    st.tuples(st.just("bring"), LINE, st.integers(1, 5)),
    st.tuples(st.just("pause")),
    st.tuples(st.just("die"), LINE),
    st.tuples(st.just("join"), LINE),
    st.tuples(st.just("lose"), LINE),
)
LAST = (("a", 12, 2), ("b", 2, 2), ("a", 12, 1), ("b", 2, 1), ("a", 12, 0))
ANY = settings(deadline=None, suppress_health_check=list(HealthCheck))


def play(market: Market, steps: list[Any]) -> None:
    """One line is always up."""
    for name, *rest in steps:
        up = [line.up for line in market.lines]
        if (name == "die" and not all(up)) or (name == "join" and up[rest[0]]):
            continue
        getattr(market, name)(*rest)


def both_up(market: Market) -> None:
    for number in (0, 1):
        if not market.lines[number].up:
            market.join(number)


@settings(ANY, max_examples=tries(100))
@given(steps=st.lists(STEP, max_size=60))
def test_never_anything_but_the_truth_or_a_gap(steps: list[Any]) -> None:
    """Deaths and losses whenever they like: every change is one that the venue made to this book,
    except behind a snapshot."""
    market = Market()
    market.comes_back = True
    play(market, steps)
    both_up(market)
    market.settle()
    for change in LAST:  # a connection's number jumps only with its next message
        market.say(change)
        market.settle()
    assert market.ends_true()


@settings(ANY, max_examples=tries(100))
@given(steps=st.lists(STEP, max_size=60), lossy=LINE)
def test_a_loss_that_nothing_counts_is_found_in_the_end(steps: list[Any], lossy: int) -> None:
    market = Market(numbered=False)
    market.blind = True
    play(market, [step for step in steps if step != ("lose", 1 - lossy)])
    both_up(market)
    market.settle()
    for change in LAST:
        market.say(change)
        market.settle()
    assert market.ends_true()


CALM = st.lists(
    st.one_of(
        st.tuples(st.just("say"), SAY),
        st.tuples(st.just("bring"), LINE, st.integers(1, 5)),
        st.tuples(st.just("pause")),
    ),
    max_size=25,
)


@settings(ANY, max_examples=tries(100))
@given(rounds=st.lists(st.tuples(LINE, CALM, CALM), max_size=5))
@example(rounds=[(0, [("say", ("b", 1, 2)), ("bring", 1, 5)], [("say", ("b", 1, 1))])])
def test_lines_that_die_in_turn_lose_nothing(rounds: list[Any]) -> None:
    """Each death waits until the other line has brought what there is: nothing is missing, nothing
    doubled, nothing declared."""
    market = Market()
    market.pause()
    for dying, before, after in rounds:
        play(market, before)
        market.bring(1 - dying, 100)
        market.bring(dying, 100)
        market.wait()
        market.die(dying)
        play(market, after)
        market.join(dying)
    market.settle()
    assert lost_nothing(market)
