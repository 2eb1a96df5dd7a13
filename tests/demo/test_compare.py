"""compare.py against synthetic journals: one fault, one count."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedd.demo.compare import Result, compare
from feedd.demo.journal import read_journal
from feedd.demo.received import Received
from tests.fixtures.effort import tries

NAME = "deribit:BTC-PERPETUAL"


def trade_row(i: int, conn: str = "c1", stream: str = "trades") -> dict[str, Any]:
    event = {
        "kind": "trade",
        "instrument": NAME,
        "ts_event": 1_000 + i,
        "sequence": None,
        "price": f"{100 + i}.1",
        "size": "0.07",
        "side": "buy" if i % 2 else "sell",
        "trade_id": str(i),
    }
    return row(i, stream, [event], conn)


def row(i: int, stream: str, events: list[dict[str, Any]], conn: str = "c1") -> dict[str, Any]:
    return {
        "t": 10_000 + i,
        "venue": "deribit",
        "conn": conn,
        "stream": stream,
        "id": i,
        "fault": None,
        "events": events,
    }


def ack(*streams: str, conn: str = "c1") -> dict[str, Any]:
    return {"t": 1, "ack": list(streams), "conn": conn, "venue": "deribit"}


def book_event(sequence: int, action: str = "delta", size: str = "2.5") -> dict[str, Any]:
    return {
        "kind": "book",
        "instrument": NAME,
        "action": action,
        "sequence": sequence,
        "ts_event": 5,
        "bids": [["100.5", size]],
        "asks": [["101", "0"]],
    }


def deliver(rows: list[dict[str, Any]]) -> list[Received]:
    """What a faultless feedd hands out for the journal's messages."""
    events = read_journal(rows).events
    return [
        Received(
            e.kind, e.instrument, e.content, e.sequence, e.sent_ns + 500, i, snapshot=e.snapshot
        )
        for i, e in enumerate(events)
    ]


def counts(result: Result) -> tuple[int, int, int]:
    return result.lost, result.wrong, result.duplicates


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return [{"journal": 1, "seed": 7}, ack("trades"), *(trade_row(i) for i in range(10))]


def check(rows: list[dict[str, Any]], got: list[Received]) -> tuple[int, int, int]:
    return counts(compare(read_journal(rows), got))


def test_faultless_is_clean_and_measures_latency(rows: list[dict[str, Any]]) -> None:
    result = compare(read_journal(rows), deliver(rows))
    assert counts(result) == (0, 0, 0)
    assert result.failed(faults=False) == []
    result.gaps, result.lost = 2, 3
    assert result.failed(faults=True) == ["lost 3"]
    assert result.failed(faults=False) == ["lost 3", "gaps 2"]
    assert result.records == {"trade": 10}
    assert result.latency_ns == [500] * 10


@pytest.mark.parametrize("index", [0, 4, 9])
def test_one_lost(rows: list[dict[str, Any]], index: int) -> None:
    got = deliver(rows)
    del got[index]
    assert check(rows, got) == (1, 0, 0)


@pytest.mark.parametrize("index", [0, 4, 9])
@pytest.mark.parametrize("position", [1, 2, 3, 4, 5])
def test_one_altered_field(rows: list[dict[str, Any]], index: int, position: int) -> None:
    got = deliver(rows)
    content = list(got[index].content)
    content[position] = "other" if position == 4 else 999.25
    got[index].content = tuple(content)
    assert check(rows, got) == (0, 1, 0)


@pytest.mark.parametrize("index", [0, 4, 9])
def test_one_doubled(rows: list[dict[str, Any]], index: int) -> None:
    got = deliver(rows)
    got.insert(index, got[index])
    assert check(rows, got) == (0, 0, 1)


def test_absent_float_is_not_zero(rows: list[dict[str, Any]]) -> None:
    got = deliver(rows)
    content = list(got[3].content)
    content[2] = None
    got[3].content = tuple(content)
    assert check(rows, got) == (0, 1, 0)


def test_one_bit_of_a_price_is_wrong(rows: list[dict[str, Any]]) -> None:
    rows[2]["events"][0]["price"] = "0.1"
    got = deliver(rows)
    content = list(got[0].content)
    content[1] = 0.1 + 2**-56
    assert content[1] != 0.1
    got[0].content = tuple(content)
    assert check(rows, got) == (0, 1, 0)


def test_swapped_order_is_wrong(rows: list[dict[str, Any]]) -> None:
    got = deliver(rows)
    got[3], got[4] = got[4], got[3]
    assert check(rows, got) == (0, 1, 0)


def test_streams_are_ordered_apart() -> None:
    rows = [ack("a", "b")]
    rows += [trade_row(i, stream="a" if i % 2 else "b") for i in range(10)]
    got = deliver(rows)
    assert check(rows, got[::2] + got[1::2]) == (0, 0, 0)


def test_before_the_ack_is_not_due(rows: list[dict[str, Any]]) -> None:
    early = [trade_row(100), *rows]
    assert check(early, deliver(rows)) == (0, 0, 0)
    assert check(early, deliver(early)) == (0, 0, 0)


def test_ack_of_another_connection_does_not_count() -> None:
    rows = [ack("trades", conn="c2"), trade_row(1)]
    assert check(rows, []) == (0, 0, 0)


def test_invented_event_is_wrong(rows: list[dict[str, Any]]) -> None:
    extra = deliver([trade_row(77)])
    assert check(rows, deliver(rows) + extra) == (0, 1, 0)


def test_equal_events_are_counted_one_by_one() -> None:
    ticker = {"kind": "deriv", "instrument": NAME, "ts_event": 5, "mark": "7.5"}
    rows = [ack("ticker"), *(row(i, "ticker", [ticker]) for i in range(3))]
    got = deliver(rows)
    assert check(rows, got) == (0, 0, 0)
    assert check(rows, got[:2]) == (1, 0, 0)
    assert check(rows, [*got, got[0]]) == (0, 0, 1)


@pytest.mark.parametrize("lost", [None, 1])
def test_a_greeting_that_says_it_again_is_not_what_was_due(lost: int | None) -> None:
    rows = [ack("ticker"), ack("ticker", conn="c2")]
    for i in range(4):
        ticker = {"kind": "deriv", "instrument": NAME, "ts_event": 5 + i, "mark": f"7.{i}"}
        rows.append(row(i, "ticker", [ticker]))
        rows.append(row(i, "ticker", [ticker], conn="c2") | {"greeting": True})
    got = [event for i, event in enumerate(deliver(rows)[::2]) if i != lost]
    assert check(rows, got) == ((0, 0, 0) if lost is None else (1, 0, 0))


@pytest.mark.parametrize(
    ("greeted_at", "apart_ns", "due"), [(9, 3, False), (4, 3, True), (9, 2_000_000_000, True)]
)
def test_a_state_that_a_newer_greeting_overtook_is_not_lost(
    greeted_at: int, apart_ns: int, due: bool
) -> None:
    def ticker(time: int, mark: str) -> dict[str, Any]:
        return {"kind": "deriv", "instrument": NAME, "ts_event": time, "mark": mark}

    late = row(1, "ticker", [ticker(5, "7.1")])
    greeting = row(2, "ticker", [ticker(greeted_at, "7.2")], conn="c2") | {"greeting": True}
    greeting["t"] = late["t"] + apart_ns
    rows = [ack("ticker"), ack("ticker", conn="c2"), late, greeting]
    result = compare(read_journal(rows), deliver([*rows[:2], greeting]))
    assert (result.lost, result.overtaken) == ((1, 0) if due else (0, 1))


def test_greeks_absent_zero_and_next_funding() -> None:
    events = [
        {"kind": "greeks", "instrument": NAME, "ts_event": 5, "delta": "0", "mark_iv": None},
        {"kind": "deriv", "instrument": NAME, "ts_event": 5, "next_funding": "0", "mark": "1"},
    ]
    journal = read_journal([ack("ticker"), row(1, "ticker", events)])
    greeks, deriv = journal.events
    assert greeks.content[1] == 0.0
    assert greeks.content[6] is None
    assert deriv.content[8] is None


class TestBooks:
    """Deltas are due after the joined snapshot only."""

    @pytest.fixture
    def book_rows(self) -> list[dict[str, Any]]:
        rest = {
            "t": 1,
            "venue": "deribit",
            "rest": "/depth",
            "events": [book_event(14, "snapshot")],
        }
        deltas = [row(i, "book", [book_event(i)]) for i in range(10, 20)]
        return [ack("book"), *deltas[:5], rest, *deltas[5:]]

    def joined(self, rows: list[dict[str, Any]]) -> list[Received]:
        events = deliver(rows)
        snapshot = next(e for e in events if e.snapshot)
        after = [e for e in events if not e.snapshot and (e.sequence or 0) > 14]
        for position, event in enumerate([snapshot, *after]):
            event.position = position
        return [snapshot, *after]

    def test_joined(self, book_rows: list[dict[str, Any]]) -> None:
        assert check(book_rows, self.joined(book_rows)) == (0, 0, 0)

    def test_unused_rest_snapshot_is_not_lost(self, book_rows: list[dict[str, Any]]) -> None:
        assert check(book_rows, []) == (0, 0, 0)

    def test_lost_delta(self, book_rows: list[dict[str, Any]]) -> None:
        got = self.joined(book_rows)
        del got[2]
        assert check(book_rows, got) == (1, 0, 0)

    def test_altered_snapshot_level(self, book_rows: list[dict[str, Any]]) -> None:
        got = self.joined(book_rows)
        kind, action, _, asks, *rest = got[0].content
        got[0].content = (kind, action, ((100.5, 3.0),), asks, *rest)
        assert check(book_rows, got) == (0, 1, 0)

    def test_declared_gap_excuses_until_the_next_snapshot(
        self, book_rows: list[dict[str, Any]]
    ) -> None:
        got = self.joined(book_rows)
        gap = Received("broken", NAME, ("broken", 4), None, 0, 3)
        kept = [got[0], got[1]]  # 15, then the gap
        assert check(book_rows, [*kept, gap]) == (0, 0, 0)

    @pytest.mark.parametrize("missing", [None, 3])
    def test_what_follows_a_gap_is_not_taken_for_what_was_lost(self, missing: int | None) -> None:
        """Nothing numbers these, and a level comes and goes: all but two are equal to others."""
        deltas: list[dict[str, Any]] = [
            {**book_event(0, size=size), "sequence": None, "ts_event": 0}
            for size in ["1", "2", "1", "2", "3", "1", "2", "1", "2", "4", "1", "2"]
        ]
        start = {**book_event(0, "snapshot"), "sequence": None, "ts_event": 0}
        anew = {**start, "bids": [["100.5", "3"]]}
        rows = [
            ack("book"),
            row(0, "book", [start]),
            *(row(1 + i, "book", [delta]) for i, delta in enumerate(deltas[:5])),
            row(6, "book", [anew]),
            *(row(7 + i, "book", [delta]) for i, delta in enumerate(deltas[5:])),
        ]
        events = deliver(rows)
        gap = Received("broken", NAME, ("broken", 4), None, 0, 2)
        got = [*events[:2], gap, *events[6:]]  # a delta, a gap, the snapshot and what follows
        for position, event in enumerate(got):
            event.position = position
        if missing is not None:
            del got[3 + missing]
        assert check(rows, got) == (0 if missing is None else 1, 0, 0)

    def test_final_book(self, book_rows: list[dict[str, Any]]) -> None:
        final = {"final_book": NAME, "sequence": 19, "bids": [["100.5", "2.5"]], "asks": []}
        journal = read_journal([*book_rows, final])
        got = self.joined(book_rows)
        good = {NAME: ({100.5: 2.5}, {})}
        assert counts(compare(journal, got, good)) == (0, 0, 0)
        bad = {NAME: ({100.5: 2.0}, {})}
        assert counts(compare(journal, got, bad)) == (0, 1, 0)
        assert counts(compare(journal, got, {})) == (1, 0, 0)

    def test_lost_delta_is_not_counted_again_at_the_end(
        self, book_rows: list[dict[str, Any]]
    ) -> None:
        final = {"final_book": NAME, "sequence": 19, "bids": [["100.5", "2.5"]], "asks": []}
        journal = read_journal([*book_rows, final])
        got = self.joined(book_rows)
        del got[2]
        assert counts(compare(journal, got, {NAME: ({}, {})})) == (1, 0, 0)


@settings(max_examples=tries(80), deadline=None)
@given(st.data())
def test_random_faults_on_distinct_events(data: st.DataObject) -> None:
    """Any mix of faults on distinct events is counted exactly."""
    n = data.draw(st.integers(3, 25))
    rows = [ack("trades"), *(trade_row(i) for i in range(n))]
    fates = data.draw(
        st.lists(st.sampled_from("klad"), min_size=n, max_size=n), label="keep/lose/alter/double"
    )
    got: list[Received] = []
    for event, fate in zip(deliver(rows), fates, strict=True):
        if fate == "l":
            continue
        if fate == "a":
            event.content = (event.content[0], -1.0, *event.content[2:])
        got.append(event)
        if fate == "d":
            got.append(event)
    assert check(rows, got) == (fates.count("l"), fates.count("a"), fates.count("d"))
