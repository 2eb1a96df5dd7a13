"""Sequence rules that Deribit and Binance do not have, message by message."""

from __future__ import annotations

from typing import Any

import pytest

from feedd.records import BookState
from tests.pipeline.lab import lab, lab_venue, message, rest_body
from tests.pipeline.rig import Rig, kinds

B = [("10", "1")]
A = [("11", "2")]


def live(policy: str, u: int = 100, **more: Any) -> Rig:
    rig = lab(policy, **more)
    assert kinds(rig.send(message(B, A, snapshot=True, u=u, ms=0))) == [
        "book:snapshot",
        "status:live",
    ]
    return rig


# ---- range_plus_one: first == last + 1, the snapshot in the stream ----


def test_range_follows_and_an_empty_change_moves_the_number_without_a_line() -> None:
    rig = live("range_plus_one")
    assert kinds(rig.send(message([("9", "1")], U=101, u=104, ms=1))) == ["book:delta"]
    assert rig.send(message(U=105, u=110, ms=2)) == []
    assert rig.state("X") == (BookState.LIVE, 110)
    assert kinds(rig.send(message([("9", "0")], U=111, u=111, ms=3))) == ["book:delta"]


@pytest.mark.parametrize(("first", "last"), [(103, 104), (99, 101)])
def test_range_that_does_not_begin_behind_the_last_is_one_gap(first: int, last: int) -> None:
    rig = live("range_plus_one")
    events = rig.send(message(B, U=first, u=last, ms=1))
    assert kinds(events) == ["status:gap", "status:resync"]
    assert (events[0]["expected"], events[0]["got"]) == (101, first)
    assert rig.send(message(B, U=last + 5, u=last + 6, ms=2)) == []
    assert kinds(rig.send(message(B, A, snapshot=True, u=200, ms=3)))[-1] == "status:live"


# ---- plus_one: Kraken Futures, Bybit ----


def test_plus_one_counts_per_instrument() -> None:
    rig = live("plus_one")
    rig.send(message(B, A, snapshot=True, symbol="Y", u=7, ms=0))
    assert kinds(rig.send(message(B, symbol="Y", u=8, ms=1))) == ["book:delta"]
    assert kinds(rig.send(message(B, u=101, ms=1))) == ["book:delta"]
    events = rig.send(message(B, u=103, ms=2))
    assert (events[0]["expected"], events[0]["got"]) == (102, 103)
    assert rig.state("Y")[0] == BookState.LIVE


def test_plus_one_snapshot_that_the_venue_sends_again() -> None:
    rig = live("plus_one")
    assert rig.send(message(B, A, snapshot=True, u=100, ms=0)) == []  # the same one
    assert kinds(rig.send(message(B, A, snapshot=True, u=100, ms=1))) == ["book:snapshot"]
    assert kinds(rig.send(message([("8", "3")], A, snapshot=True, u=140, ms=2))) == [
        "book:snapshot"
    ]
    assert kinds(rig.send(message([("7", "3")], A, snapshot=True, u=1, ms=3))) == ["book:snapshot"]
    assert rig.state("X") == (BookState.LIVE, 1)  # the service restarted
    assert kinds(rig.send(message(B, u=2, ms=4))) == ["book:delta"]


def test_plus_one_old_snapshot_is_no_restart() -> None:
    rig = live("plus_one")
    rig.send(message([("9", "5")], u=101, ms=10))
    assert rig.send(message(B, A, snapshot=True, u=99, ms=5)) == []
    assert rig.levels("X")[0] == [(10.0, 1.0), (9.0, 5.0)]


def test_without_snapshot_reset_a_lower_snapshot_is_dropped() -> None:
    rig = live("range_plus_one")
    assert rig.send(message(B, A, snapshot=True, u=1, ms=9)) == []
    assert rig.state("X") == (BookState.LIVE, 100)


# ---- prev_link: OKX, Bitget ----


def test_keep_alive_publishes_nothing() -> None:
    rig = live("prev_link")
    assert rig.send(message(pu=100, u=100, ms=60_000)) == []
    assert kinds(rig.send(message(B, pu=100, u=101, ms=60_001))) == ["book:delta"]


def test_a_lower_number_behind_the_right_one_is_a_reset() -> None:
    rig = live("prev_link")
    assert kinds(rig.send(message([("9", "1")], pu=100, u=3, ms=1))) == ["book:delta"]
    assert rig.state("X") == (BookState.LIVE, 3)
    assert kinds(rig.send(message([("9", "2")], pu=3, u=8, ms=2))) == ["book:delta"]
    assert rig.counters["gaps"] == 0


def test_a_lower_number_that_does_not_link_is_a_gap_when_it_is_news() -> None:
    rig = live("prev_link")
    rig.send(message(B, pu=100, u=101, ms=1))
    assert rig.send(message(B, pu=90, u=95, ms=0)) == []  # late
    events = rig.send(message(B, pu=90, u=95, ms=2))
    assert kinds(events) == ["status:gap", "status:resync"]


@pytest.mark.parametrize(("previous", "current"), [(100, 104), (97, 104), (0, 101)])
def test_the_first_change_may_begin_before_the_snapshot(previous: int, current: int) -> None:
    rig = live("prev_link")
    assert kinds(rig.send(message([("9", "4")], pu=previous, u=current, ms=1))) == ["book:delta"]
    # the second may not
    assert kinds(rig.send(message(B, pu=current - 2, u=current + 3, ms=2)))[0] == "status:gap"


def test_a_first_change_that_ends_before_the_snapshot_is_old() -> None:
    rig = live("prev_link")
    assert rig.send(message([("9", "4")], pu=90, u=95, ms=1)) == []
    assert kinds(rig.send(message([("9", "4")], pu=95, u=102, ms=2))) == ["book:delta"]


def test_changes_before_the_snapshot_are_watched_too() -> None:
    rig = lab("prev_link")
    assert kinds(rig.send(message(B, pu=4, u=5, ms=1))) == ["status:resync"]
    assert rig.send(message(B, pu=5, u=6, ms=2)) == []
    assert kinds(rig.send(message(B, pu=7, u=8, ms=3))) == ["status:gap", "status:resync"]
    assert rig.send(message(B, pu=17, u=18, ms=4)) == []
    assert rig.counters["gaps"] == 1


def test_frames_of_before_the_numbers_existed() -> None:
    """No numbers at all: applied as they come."""
    rig = Rig(
        lab_venue(
            {
                "policy": "prev_link",
                "type": "k",
                "snapshot_type": "s",
                "delta_type": "d",
                "current": "u",
                "previous": "pu",
                "checksum": {"path": "cs", "signed": True, "zero_is_none": True},
            }
        )
    )
    events = rig.send(message(B, A, snapshot=True, ms=0))
    assert kinds(events) == ["book:snapshot", "status:live"]
    assert events[0]["sequence"] is None
    assert kinds(rig.send(message([("9", "1")], ms=1))) == ["book:delta"]


# ---- trust_tcp ----


def test_crossed_book_is_a_gap_without_numbers() -> None:
    rig = live("trust_tcp", u=1)
    events = rig.send(message([("11", "1")], ms=1))
    assert kinds(events) == ["book:delta", "status:gap", "status:resync"]
    assert (events[1]["reason"], events[1]["expected"], events[1]["got"]) == (
        "crossed book",
        None,
        None,
    )
    assert rig.send(message([("9", "1")], ms=2)) == []
    assert kinds(rig.send(message(B, A, snapshot=True, ms=3)))[-1] == "status:live"


def test_an_older_snapshot_never_replaces_what_came_after_it() -> None:
    rig = live("trust_tcp", u=1)
    rig.send(message([("9", "1")], ms=10))
    assert rig.send(message(B, A, snapshot=True, ms=4)) == []
    rig = lab("trust_tcp")
    rig.send(message([("9", "1")], ms=10))
    assert rig.send(message(B, A, snapshot=True, ms=4)) == []  # swapped with a change
    assert rig.state("X")[0] == BookState.SYNCING


def test_the_same_snapshot_twice_is_silent() -> None:
    rig = live("trust_tcp", u=1)
    assert rig.send(message(B, A, snapshot=True, u=1, ms=0)) == []


# ---- none_full without numbers ----


def test_whole_books_go_by_their_time() -> None:
    rig = lab("none_full")
    assert kinds(rig.send(message(B, A, ms=10))) == ["book:snapshot", "status:live"]
    assert rig.send(message([("9", "1")], A, ms=8)) == []
    assert rig.send(message(B, A, ms=10)) == []
    assert kinds(rig.send(message([("9", "1")], A, ms=11))) == ["book:snapshot"]
    assert rig.levels("X")[0] == [(9.0, 1.0)]


def test_whole_books_with_and_without_a_number() -> None:
    rig = lab("none_full", current="u")
    out = [
        kinds(rig.send(message([("10", n + 1)], u=number, ms=n)))[0]
        for n, number in enumerate([5, None, 7, None, 8])
    ]
    assert out == ["book:snapshot"] * 5
    assert rig.send(message([("9", "1")], u=8, ms=9)) == []


# ---- keyed rows ----

KEYED = {
    "policy": "keyed_rows",
    "rows": True,
    "level": {
        "price": "price",
        "size": "size",
        "id": "id",
        "side": {"at": "side", "bid": ["Buy"], "ask": ["Sell"]},
    },
    "type": "@.k",
    "snapshot_type": "partial",
    "delta_type": "update",
    "insert_type": "insert",
    "delete_type": "delete",
}


def keyed() -> Rig:
    return Rig(lab_venue(KEYED))


def rows(action: str, *levels: tuple[int, str, Any, Any]) -> dict[str, Any]:
    """Levels as (id, side, size, price); None leaves a member out."""
    data = []
    for key, side, size, price in levels:
        row: dict[str, Any] = {"id": key, "side": side}
        if size is not None:
            row["size"] = size
        if price is not None:
            row["price"] = price
        data.append(row)
    return {"t": "book.X", "k": action, "d": data}


def live_keyed() -> Rig:
    rig = keyed()
    partial = rows("partial", (1, "Buy", 5, "10"), (2, "Sell", 6, "11"), (3, "Buy", 7, "9.5"))
    assert kinds(rig.send(partial)) == ["book:snapshot", "status:live"]
    return rig


def test_keyed_rows_find_their_price_by_id_and_side() -> None:
    rig = live_keyed()
    (event,) = rig.send(rows("update", (3, "Buy", 8, None)))
    assert (event["bids"], event["asks"]) == ([[9.5, 8.0]], [])
    (event,) = rig.send(rows("insert", (1, "Sell", 9, "12")))  # the same id on the other side
    (event,) = rig.send(rows("delete", (1, "Buy", None, None), (2, "Sell", 1, "11")))
    assert (event["bids"], event["asks"]) == ([[10.0, 0.0]], [[11.0, 0.0]])
    assert rig.levels("X") == ([(9.5, 8.0)], [(12.0, 9.0)])


def test_a_row_with_another_price_moves_its_level() -> None:
    rig = live_keyed()
    (event,) = rig.send(rows("update", (1, "Buy", 5, "10.5")))
    assert event["bids"] == [[10.0, 0.0], [10.5, 5.0]]
    assert rig.levels("X")[0] == [(10.5, 5.0), (9.5, 7.0)]


@pytest.mark.parametrize(
    ("action", "row"),
    [
        ("update", (4, "Buy", 1, None)),
        ("update", (4, "Buy", 1, "8")),
        ("update", (1, "Sell", 1, None)),
        ("delete", (4, "Sell", None, None)),
    ],
)
def test_a_change_of_an_unknown_id_is_a_gap(action: str, row: tuple[int, str, Any, Any]) -> None:
    rig = live_keyed()
    before = rig.levels("X")
    events = rig.send(rows(action, (3, "Buy", 1, None), row))
    assert kinds(events) == ["status:gap", "status:resync"]
    assert events[0]["reason"] == "change of an unknown id"
    assert rig.levels("X") == before  # nothing of the message
    assert rig.send(rows("insert", (9, "Buy", 1, "1"))) == []
    assert kinds(rig.send(rows("partial", (1, "Buy", 5, "10"))))[-1] == "status:live"
    assert kinds(rig.send(rows("update", (2, "Sell", 6, None))))[0] == "status:gap"


def test_rows_before_the_partial_are_dropped_without_a_request() -> None:
    rig = keyed()
    assert rig.send(rows("update", (4, "Buy", 1, None))) == []
    assert rig.state("X")[0] == BookState.SYNCING
    rig.t += 6_000_000_000
    assert kinds(rig.send(rows("update", (4, "Buy", 1, None)))) == ["status:resync"]


# ---- a counter of all messages of a connection ----


def counted() -> Rig:
    return Rig(
        lab_venue(
            {"policy": "trust_tcp", "type": "k", "snapshot_type": "s", "delta_type": "d"},
            {"connection_sequence": {"path": "@.n", "first": 0}},
        )
    )


def numbered(n: int, *args: Any, **more: Any) -> dict[str, Any]:
    return {"n": n, **message(*args, **more)}


def test_a_jump_of_the_connection_is_one_gap_for_all_of_its_books() -> None:
    rig = counted()
    for n, symbol in enumerate("XYZ"):
        rig.send(numbered(n, B, A, snapshot=True, symbol=symbol, ms=n), line=1 if n < 2 else 2)
    events = rig.send(numbered(5, [("9", "1")], symbol="X", ms=9), line=1)
    gaps = [event for event in events if event["kind"] == "status" and event["event"] == "gap"]
    assert [(g["instrument"], g["expected"], g["got"]) for g in gaps] == [(None, 2, 5)]
    assert [rig.state(symbol)[0] for symbol in "XYZ"] == [
        BookState.GAP,
        BookState.GAP,
        BookState.LIVE,
    ]
    assert [(r.kind, r.symbol, r.line) for r in rig.pipeline.take_requests()] == [
        ("resubscribe", "X", 1),
        ("resubscribe", "Y", 1),
    ]


def test_a_repeated_number_of_the_connection_is_silent() -> None:
    rig = counted()
    rig.send(numbered(0, B, A, snapshot=True, ms=0))
    change = numbered(1, [("9", "1")], ms=1)
    assert kinds(rig.send(change)) == ["book:delta"]
    assert rig.send(change) == []


# ---- REST books ----


@pytest.mark.parametrize("policy", ["prev_link_rest", "range_plus_one_rest"])
def test_rest_books_of_other_venues_join_the_same_way(policy: str) -> None:
    rig = lab(policy)
    assert kinds(rig.send(message(B, U=11, u=15, pu=10, ms=1))) == ["status:resync"]
    assert kinds(rig.send(message([("9", "1")], U=16, u=20, pu=15, ms=2))) == []
    answer, events = rig.rest("X", rest_body(12, B, A))
    assert (answer, kinds(events)) == (
        "joined",
        ["book:snapshot", "status:live", "book:delta", "book:delta"],
    )
    assert rig.state("X") == (BookState.LIVE, 20)


# ---- what a connection was asked for, or not ----


def test_bitfinex_without_the_numbers_of_the_connection() -> None:
    rig = Rig("bitfinex")
    rig.send({"event": "info", "version": 2})
    rig.send({"event": "conf", "status": "OK", "flags": 131072})
    rig.send({"event": "subscribed", "channel": "book", "chanId": 7, "symbol": "tAB", "prec": "P0"})
    assert kinds(rig.send([7, [[10, 1, 2], [11, 1, -3]]])) == ["book:snapshot", "status:live"]
    assert kinds(rig.send([7, [9, 1, 0.5]])) == ["book:delta"]
    assert rig.send([7, "hb"]) == []
    assert kinds(rig.send([7, "cs", 1])) == ["status:checksum", "status:resync"]


def test_microseconds_where_milliseconds_are_due() -> None:
    rig = Rig("binance_spot")
    trade = {"e": "trade", "E": 1, "s": "AB", "p": "1", "q": "1", "m": True}
    times = {1_700_000_000_123: 1_700_000_000_123_000_000, 1_700_000_000_123_456: None}
    for number, (sent, expected) in enumerate(times.items()):
        data = {**trade, "t": number, "T": sent}
        (event,) = rig.send({"stream": "ab@trade", "data": data})
        assert event["ts_event"] == (expected or sent * 1000)
        assert "bad_ts" not in event["flags"]


def test_of_one_price_in_a_snapshot_the_last_counts_beside_an_empty_level() -> None:
    rig = lab("trust_tcp")
    levels = [("8", "1"), ("7", "1"), ("7", "2"), ("8", "0")]
    rig.send(message(levels, [], snapshot=True, ms=0))
    assert rig.levels("X")[0] == [(7.0, 2.0)]
