"""Sequence rules, message by message: what is applied, dropped, waited for, declared lost."""

from __future__ import annotations

from typing import Any

import pytest

from feedd import venues
from feedd.decode.plan import compile_plan
from feedd.pipeline.core import Pipeline
from feedd.records import BookState
from feedd.shm.counters import CountersReader, CountersWriter
from feedd.shm.ring import RingWriter
from tests.pipeline.rig import Rig, binance_depth, deribit_book, kinds, rest_depth

B = [(10, 1)]
A = [(11, 2)]


def usdm(first: int, last: int, previous: int, **more: Any) -> dict[str, Any]:
    return binance_depth("AB", first, last, B, A, previous=previous, **more)


def spot(first: int, last: int, **more: Any) -> dict[str, Any]:
    return binance_depth("AB", first, last, B, A, **more)


def live_deribit() -> Rig:
    rig = Rig("deribit")
    assert kinds(rig.send(deribit_book("X", 100, None, B, A))) == ["book:snapshot", "status:live"]
    return rig


def live_usdm() -> Rig:
    rig = Rig("binance_usdm")
    rig.send(usdm(90, 105, 80))
    assert rig.rest("AB", rest_depth(100, B, A))[0] == "joined"
    assert rig.state("AB") == (BookState.LIVE, 105)
    return rig


def live_spot() -> Rig:
    rig = Rig("binance_spot")
    rig.send(spot(90, 105))
    assert rig.rest("AB", rest_depth(100, B, A))[0] == "joined"
    return rig


# ---- Deribit: prev_link ----


def test_deribit_chain_applies_and_a_repeat_is_silent() -> None:
    rig = live_deribit()
    change = deribit_book("X", 107, 100, [(10, 0)], [])
    assert kinds(rig.send(change)) == ["book:delta"]
    assert rig.send(change) == []
    assert rig.send(deribit_book("X", 100, None, B, A)) == []
    assert rig.state("X") == (BookState.LIVE, 107)


def test_deribit_gap_is_one_gap_until_a_snapshot() -> None:
    rig = live_deribit()
    events = rig.send(deribit_book("X", 130, 120, [(9, 1)], []))
    assert kinds(events) == ["status:gap", "status:resync"]
    assert (events[0]["expected"], events[0]["got"]) == (100, 120)
    assert rig.send(deribit_book("X", 140, 130, [(9, 1)], [])) == []
    assert rig.send(deribit_book("X", 160, 150, [(9, 1)], [])) == []  # lost again: still one gap
    assert rig.state("X")[0] == BookState.GAP
    assert rig.levels("X") == ([(10.0, 1.0)], [(11.0, 2.0)])  # the levels of before, frozen
    assert kinds(rig.send(deribit_book("X", 170, None, [(8, 3)], []))) == [
        "book:snapshot",
        "status:live",
    ]
    assert rig.levels("X") == ([(8.0, 3.0)], [])
    assert rig.counters["gaps"] == 1
    (request,) = rig.pipeline.take_requests()
    assert (request.kind, request.symbol, request.channel) == ("resubscribe", "X", "book")


def test_deribit_old_snapshot_does_not_heal_a_gap() -> None:
    rig = live_deribit()
    rig.send(deribit_book("X", 130, 120, [], []))
    assert rig.send(deribit_book("X", 100, None, B, A)) == []
    assert rig.state("X")[0] == BookState.GAP


def test_deribit_change_before_any_snapshot_is_never_live() -> None:
    rig = Rig("deribit")
    assert kinds(rig.send(deribit_book("X", 5, 4, B, A))) == ["status:resync"]
    assert rig.state("X")[0] == BookState.SYNCING
    assert kinds(rig.send(deribit_book("X", 9, 8, B, A)))[0] == "status:gap"
    assert rig.levels("X") == ([], [])


@pytest.mark.parametrize(("kind", "previous"), [("change", 0), (None, None), ("snapshot", 20)])
def test_deribit_forms_of_a_snapshot(kind: str | None, previous: int | None) -> None:
    """prev_change_id 0, no type and no prev_change_id, a snapshot that has one (all seen live)."""
    rig = Rig("deribit")
    message = deribit_book("X", 50, previous, B, A, kind=kind)
    if kind is None:
        del message["params"]["data"]["type"]
    assert kinds(rig.send(message)) == ["book:snapshot", "status:live"]


def test_deribit_null_previous_on_a_snapshot_is_as_if_absent() -> None:
    rig = Rig("deribit")
    message = deribit_book("X", 50, None, B, A)
    message["params"]["data"]["prev_change_id"] = None
    assert kinds(rig.send(message)) == ["book:snapshot", "status:live"]


def test_deribit_numbering_that_starts_over_is_a_gap_not_silence() -> None:
    rig = live_deribit()
    rig.send(deribit_book("X", 101, 100, [], [], ts=1_700_000_001_000))
    events: list[dict[str, Any]] = []
    for n in range(3):
        events += rig.send(deribit_book("X", 5 + n, 4 + n, B, A, ts=1_700_000_002_000 + n))
    assert kinds(events) == ["status:gap", "status:resync"]
    assert events[0]["reason"] == "sequence went back"


def test_second_stream_of_an_instrument_does_not_disturb_its_book() -> None:
    rig = live_deribit()
    assert rig.send(deribit_book("X", 300, 250, [(1, 1)], [], interval="agg2")) == []
    assert rig.state("X") == (BookState.LIVE, 100)
    assert rig.counters["unowned_books"] == 1


# ---- Binance USD-M: prev_link_rest ----


@pytest.mark.parametrize(
    ("snapshot", "answer"),
    [
        (89, "too_old"),  # U > id, pu != id
        (80, "joined"),  # pu == id
        (90, "joined"),  # U == id
        (105, "joined"),  # u == id
        (106, "wait"),  # newer than all that is buffered
    ],
)
def test_usdm_join_rule(snapshot: int, answer: str) -> None:
    rig = Rig("binance_usdm")
    rig.send(usdm(90, 105, 80))
    assert rig.pipeline.join_state(rig.handle, "AB", snapshot, False) == answer
    assert rig.rest("AB", rest_depth(snapshot, B, A), at_hand=False)[0] == answer


def test_usdm_snapshot_from_the_rest_answer_is_live_at_once() -> None:
    rig = Rig("binance_usdm")
    rig.send(usdm(90, 105, 80))
    answer, events = rig.rest("AB", rest_depth(120, B, A))
    assert answer == "joined"
    assert kinds(events) == ["book:snapshot", "status:live"]
    assert rig.send(usdm(106, 110, 105)) == []  # part of the snapshot
    assert kinds(rig.send(usdm(111, 125, 110))) == ["book:delta"]
    assert kinds(rig.send(usdm(130, 135, 125))) == ["book:delta"]  # U need not be u + 1
    assert rig.counters["gaps"] == 0


def test_usdm_snapshot_that_nothing_follows_is_a_gap() -> None:
    rig = Rig("binance_usdm")
    rig.send(usdm(90, 105, 80))
    rig.rest("AB", rest_depth(120, B, A))
    assert kinds(rig.send(usdm(140, 150, 139))) == ["status:gap", "status:resync"]


def test_usdm_gap_heals_by_a_new_snapshot_and_the_buffer() -> None:
    rig = live_usdm()
    events = rig.send(usdm(120, 125, 115))
    assert kinds(events) == ["status:gap", "status:resync"]
    assert (events[0]["expected"], events[0]["got"]) == (105, 115)
    assert rig.send(usdm(126, 130, 125)) == []
    assert rig.rest("AB", rest_depth(110, B, A))[0] == "too_old"
    answer, events = rig.rest("AB", rest_depth(127, B, A))
    assert answer == "joined"
    assert kinds(events) == ["book:snapshot", "status:live", "book:delta"]
    assert rig.state("AB") == (BookState.LIVE, 130)


def test_usdm_late_delta_is_silent() -> None:
    rig = live_usdm()
    assert rig.send(usdm(90, 105, 80)) == []
    assert rig.send(usdm(70, 80, 60)) == []
    assert rig.counters["old_deltas"] == 2


def test_usdm_gap_while_waiting_is_declared_once() -> None:
    rig = Rig("binance_usdm")
    rig.send(usdm(90, 105, 80))
    assert kinds(rig.send(usdm(120, 125, 115))) == ["status:gap", "status:resync"]
    assert rig.send(usdm(140, 145, 135)) == []
    assert rig.rest("AB", rest_depth(142, B, A))[0] == "joined"
    assert rig.counters["gaps"] == 1


# ---- Binance spot: range_plus_one_rest ----


@pytest.mark.parametrize(
    ("snapshot", "answer"),
    [(88, "too_old"), (89, "joined"), (104, "joined"), (105, "joined"), (106, "wait")],
)
def test_spot_join_rule(snapshot: int, answer: str) -> None:
    rig = Rig("binance_spot")
    rig.send(spot(90, 105))
    assert rig.rest("AB", rest_depth(snapshot, B, A), at_hand=False)[0] == answer


def test_spot_chain_gap_and_overlap() -> None:
    rig = live_spot()
    assert kinds(rig.send(spot(106, 110))) == ["book:delta"]
    assert kinds(rig.send(spot(108, 112))) == ["book:delta"]  # overlaps: absolute sizes
    assert rig.send(spot(108, 112)) == []
    events = rig.send(spot(114, 120))
    assert kinds(events) == ["status:gap", "status:resync"]
    assert (events[0]["expected"], events[0]["got"]) == (113, 114)


def test_empty_delta_moves_the_chain_and_yields_no_line() -> None:
    rig = live_spot()
    assert rig.send(binance_depth("AB", 106, 107, [], [])) == []
    assert rig.state("AB") == (BookState.LIVE, 107)


def test_partial_depth_replaces_and_gives_way_to_the_full_stream() -> None:
    rig = Rig("binance_spot")
    partial = {
        "stream": "ab@depth5@100ms",
        "data": {"lastUpdateId": 7, "bids": [["1", "2"]], "asks": [["3", "4"]]},
    }
    assert kinds(rig.send(partial)) == ["book:snapshot", "status:live"]
    assert rig.send(partial) == []
    assert rig.symbols == ["AB"]
    assert kinds(rig.send(spot(90, 105))) == ["status:resync"]
    assert rig.state("AB")[0] == BookState.SYNCING
    partial["data"]["lastUpdateId"] = 8
    assert rig.send(partial) == []


# ---- connections, bounds, unknown symbols ----


def test_line_down_takes_its_books_out_of_live_only() -> None:
    rig = Rig("deribit")
    rig.send(deribit_book("X", 100, None, B, A), line=1)
    rig.send(deribit_book("Y", 200, None, B, A), line=2)
    assert rig.pipeline.line_down(rig.handle, 1, rig.t) == 1
    assert kinds(rig.drain()) == ["status:gap"]
    assert rig.state("X")[0] == BookState.GAP
    assert rig.state("Y")[0] == BookState.LIVE
    assert rig.pipeline.take_requests() == []  # the new connection subscribes by itself
    assert kinds(rig.send(deribit_book("X", 300, None, B, A), line=3))[-1] == "status:live"


def test_records_of_an_instrument_in_gap_carry_maybe_bad_book() -> None:
    rig = live_deribit()
    quote = {
        "jsonrpc": "2.0",
        "method": "subscription",
        "params": {
            "channel": "quote.X",
            "data": {
                "timestamp": 1_700_000_000_000,
                "instrument_name": "X",
                "best_bid_price": 10,
                "best_bid_amount": 1,
                "best_ask_price": 0,
                "best_ask_amount": 0,
            },
        },
    }
    (event,) = rig.send(quote)
    assert event["flags"] == ["last"]
    assert event["ask_price"] != event["ask_price"]  # NaN: an empty side has no price
    rig.send(deribit_book("X", 130, 120, [], []))
    (event,) = rig.send(quote)
    assert "maybe_bad_book" in event["flags"]


def test_unknown_symbol_is_reported_once_counted_and_published_once_named() -> None:
    rig = Rig("deribit", name_at_once=False)
    for _ in range(3):
        assert rig.send(deribit_book("X", 100, None, B, A)) == []
    requests = rig.pipeline.take_requests()
    assert [(r.kind, r.symbol) for r in requests] == [("unknown", "X")]
    assert rig.counters["unknown_symbol_events"] == 3
    assert rig.counters["unknown_symbols"] == 1
    rig.symbols.append("X")
    rig.pipeline.add_instrument(rig.handle, "X", 0, 0, 64)
    assert kinds(rig.send(deribit_book("X", 101, 100, B, A))) == ["status:resync"]
    assert [r.kind for r in rig.pipeline.take_requests()] == ["resubscribe"]


def test_book_beyond_its_bound_is_given_up_loudly() -> None:
    rig = Rig("deribit", slots=1 << 16)
    levels = [(k + 1, 1) for k in range(100_001)]
    events = rig.send(deribit_book("X", 100, None, levels, []))
    assert kinds(events) == ["status:book_overflow", "status:gap"]
    assert rig.state("X")[0] == BookState.GAP
    assert rig.counters["book_overflows"] == 1


def test_a_bad_row_publishes_nothing_of_its_message() -> None:
    rig = Rig("deribit")
    rows = [
        {
            "instrument_name": "X",
            "timestamp": 1,
            "price": 1,
            "amount": 1,
            "trade_id": str(k),
            "direction": "buy",
            "trade_seq": k,
        }
        for k in range(3)
    ]
    rows[2]["price"] = "much"
    message = {"params": {"channel": "trades.X.100ms", "data": rows}}
    assert kinds(rig.send(message)) == ["status:bad_frame"]
    rows[2]["price"] = 2
    assert kinds(rig.send(message)) == ["trade"] * 3
    assert rig.send(message) == []  # repeated ids


def test_only_messages_have_a_latency() -> None:
    counters = CountersWriter.private()
    pipeline = Pipeline(RingWriter.private(1024), None, None, counters)
    handle = pipeline.add_venue(compile_plan(venues.load("deribit")))

    def samples() -> int:
        return int(CountersReader(counters).histogram(0, "total").sum())

    pipeline.status(1, 1_700_000_000_000_000_000, scope=3)
    pipeline.commit()
    assert samples() == 0, "a status before the first message"
    pipeline.on_message(handle, b"{", 1_700_000_000_000_000_000)
    pipeline.commit()
    assert samples() == 1
    pipeline.status(1, 1_700_000_000_000_000_000, scope=3)
    pipeline.commit()
    assert samples() == 1, "a status long after the last message"
