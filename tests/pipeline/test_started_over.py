"""Venues that start over: snapshots of a lower number, equal snapshots, quotes from one again."""

from __future__ import annotations

from typing import Any

import pytest

from feedd.records import BookState
from tests.pipeline.lab import lab, message
from tests.pipeline.rig import Rig, deribit_book, kinds

T0 = 1_700_000_000_000
B, A = [("10", "1")], [("11", "1")]


def _okx(channel: str, number: int, previous: int, ms: int) -> dict[str, Any]:
    row = {"asks": [], "bids": [["10", "1", "0", "1"]], "ts": str(T0 + ms)}
    row |= {"seqId": number, "prevSeqId": previous, "checksum": 0}
    action = "snapshot" if previous == -1 else "update"
    return {"arg": {"channel": channel, "instId": "X"}, "action": action, "data": [row]}


def _bitget(v3: bool, number: int, previous: int, ms: int) -> dict[str, Any]:
    row = {"b" if v3 else "bids": [["10", "1"]], "a" if v3 else "asks": []}
    row |= {"seq": number, "pseq": max(previous, 0), "ts": str(T0 + ms)}
    arg = {"topic": "books", "symbol": "X"} if v3 else {"channel": "books", "instId": "X"}
    action = "snapshot" if previous == -1 else "update"
    kind = {"instType": "usdt-futures" if v3 else "USDT-FUTURES"}
    return {"action": action, "arg": arg | kind, "data": [row], "ts": T0 + ms}


def _kraken_futures(number: int, previous: int, ms: int) -> dict[str, Any]:
    common = {"product_id": "X", "seq": number, "timestamp": T0 + ms}
    if previous == -1:
        return {"feed": "book_snapshot", **common, "bids": [{"price": 10, "qty": 1}], "asks": []}
    return {"feed": "book", **common, "side": "buy", "price": 10, "qty": 1}


def _gate(venue: str, number: int, previous: int, ms: int) -> dict[str, Any]:
    result = {"t": T0 + ms, "s": "ob.X.50", "u": number, "b": [["10", "1"]], "a": []}
    result |= {"full": True} if previous == -1 else {"U": previous + 1}
    channel = "spot.obu" if venue == "gate" else "futures.obu"
    return {"channel": channel, "event": "update", "time_ms": T0 + ms, "result": result}


FORMS = {
    ("okx", "books"): lambda n, p, ms: _okx("books", n, p, ms),
    ("okx", "books-l2-tbt"): lambda n, p, ms: _okx("books-l2-tbt", n, p, ms),
    ("okx", "books50-l2-tbt"): lambda n, p, ms: _okx("books50-l2-tbt", n, p, ms),
    ("bitget_futures", "v2"): lambda n, p, ms: _bitget(False, n, p, ms),
    ("bitget_futures", "v3"): lambda n, p, ms: _bitget(True, n, p, ms),
    ("kraken_futures", "book"): _kraken_futures,
    ("gate", "obu"): lambda n, p, ms: _gate("gate", n, p, ms),
    ("gate_futures", "obu"): lambda n, p, ms: _gate("gate_futures", n, p, ms),
    ("deribit", "book"): lambda n, p, ms: deribit_book(
        "X", n, None if p == -1 else p, [(10, 1)], [], ts=T0 + ms
    ),
}


@pytest.mark.parametrize("form", FORMS, ids="-".join)
def test_a_newer_snapshot_counts_whatever_its_number(form: tuple[str, str]) -> None:
    rig = Rig(form[0])
    make = FORMS[form]
    rig.send(make(100, -1, 0))
    assert kinds(rig.send(make(101, 100, 1))) == ["book:delta"]
    assert kinds(rig.send(make(5, -1, 2))) == ["book:snapshot"]
    assert kinds(rig.send(make(6, 5, 3))) == ["book:delta"]
    assert rig.send(make(4, -1, 1)) == []  # late
    assert rig.state("X") == (BookState.LIVE, 6)
    assert rig.counters["gaps"] == 0


def test_an_equal_snapshot_takes_back_what_came_between() -> None:
    rig = lab("trust_tcp")
    first = message(B, A, snapshot=True)
    rig.send(first)
    assert rig.send(first) == []  # again, and nothing happened
    rig.send(message([("9", "5")]))
    assert kinds(rig.send(first)) == ["book:snapshot"]
    assert rig.levels("X") == ([(10.0, 1.0)], [(11.0, 1.0)])


def test_an_equal_snapshot_of_an_equal_time_is_the_same_message_again() -> None:
    rig = lab("trust_tcp")
    first = message(B, A, snapshot=True, ms=5)
    rig.send(first)
    rig.send(message([("9", "5")], ms=5))
    assert rig.send(first) == []
    assert rig.levels("X")[0] == [(10.0, 1.0), (9.0, 5.0)]


def test_an_equal_snapshot_of_a_second_line_takes_back_nothing() -> None:
    rig = lab("trust_tcp")
    first = message(B, A, snapshot=True)
    rig.send(first)
    rig.send(message([("9", "5")]))
    rig.send(first, line=1)
    assert rig.levels("X")[0] == [(10.0, 1.0), (9.0, 5.0)]


def quote(number: int, ms: int, price: str = "10") -> dict[str, Any]:
    data = {"s": "X", "b": [[price, "1"]], "a": [["11", "1"]], "u": number, "seq": 1}
    form = {"topic": "orderbook.1.X", "type": "snapshot", "ts": T0 + ms, "cts": T0 + ms}
    return form | {"data": data}


def test_quotes_that_are_numbered_from_one_again() -> None:
    rig = Rig("bybit_linear")
    assert kinds(rig.send(quote(1_000, 0))) == ["quote"]
    assert rig.send(quote(1_000, 3_000)) == []  # the venue repeats it
    assert rig.send(quote(999, 0)) == []  # late
    assert [kinds(rig.send(quote(n, 3_000 + n))) for n in (1, 2, 3)] == [["quote"]] * 3
    assert rig.send(quote(2, 3_002)) == []


def test_another_line_does_not_show_that_quotes_started_over() -> None:
    rig = Rig("bybit_linear")
    rig.send(quote(1_000, 0))
    assert rig.send(quote(999, 10), line=1) == []  # only its push was later
    assert kinds(rig.send(quote(1_001, 11))) == ["quote"]


def test_a_mark_price_without_a_volatility_is_told() -> None:
    rig = Rig("deribit")
    rows = [{"instrument_name": "O", "mark_price": 0.5, "iv": 0, "timestamp": T0}]
    params = {"channel": "markprice.options.btc_usd", "data": rows}
    events = rig.send({"method": "subscription", "params": params})
    assert [(e["kind"], e["mark"]) for e in events] == [("greeks", 0.5)]
    assert "mark_iv" not in events[0]


def full(number: int, bids: list[Any], ms: int) -> dict[str, Any]:
    data = {"s": "X", "b": bids, "a": [], "u": number, "seq": number}
    form = {"topic": "orderbook.full.X", "type": "delta", "ts": T0 + ms, "cts": T0 + ms}
    return form | {"data": data}


def full_answer(number: int, bids: list[Any]) -> dict[str, Any]:
    result = {"s": "X", "b": bids, "a": [["20", "1"]], "u": number, "seq": 1, "ts": T0, "cts": T0}
    return {"retCode": 0, "result": result}


def test_the_full_book_of_bybit_joins_rest_and_starts_over_at_one() -> None:
    rig = Rig("bybit_spot")
    assert kinds(rig.send(full(100, [["9", "1"]], 0))) == ["status:resync"]
    rig.send(full(101, [["10", "2"]], 1))
    answer, events = rig.rest("X", full_answer(100, [["9", "1"]]))
    assert (answer, kinds(events)) == ("joined", ["book:snapshot", "status:live", "book:delta"])
    assert rig.send(full(101, [["10", "2"]], 1)) == []
    assert kinds(rig.send(full(1, [["5", "1"]], 2))) == ["status:gap"]
    rig.send(full(2, [["6", "1"]], 3))
    rig.rest("X", full_answer(1, [["5", "1"]]))
    assert rig.state("X") == (BookState.LIVE, 2)
    assert rig.levels("X") == ([(6.0, 1.0), (5.0, 1.0)], [(20.0, 1.0)])
    assert kinds(rig.send(full(4, [["6", "1"]], 4))) == ["status:gap", "status:resync"]


def test_a_first_number_that_only_comes_late_is_no_start() -> None:
    rig = lab("plus_one")
    rig.send(message(B, A, snapshot=True, u=1, ms=0))
    rig.send(message([("9", "1")], u=2, ms=1))
    assert rig.send(message(B, u=1, ms=1)) == []
    assert kinds(rig.send(message(B, u=1, ms=2))) == ["status:gap", "status:resync"]
