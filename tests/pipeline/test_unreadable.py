"""A message that cannot be read may have held a change: a book without numbers must not go on."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from feedd import venues
from feedd.decode.salvage import holds_book, marks_of, named_in
from feedd.records import BookState
from tests.pipeline.lab import lab, message
from tests.pipeline.rig import Rig, deribit_book, kinds

X, Y = "BTC-USD", "ETH-USD"
GAP = ["status:bad_frame", "status:gap", "status:resync"]


def snapshot(product: str) -> dict[str, Any]:
    return {
        "type": "snapshot",
        "product_id": product,
        "bids": [["10", "1"]],
        "asks": [["11", "1"]],
    }


def change(product: str, price: str = "9", size: str = "1") -> bytes:
    return orjson.dumps(
        {
            "type": "l2update",
            "product_id": product,
            "changes": [["buy", price, size]],
            "time": "2026-01-01T00:00:00Z",
        }
    )


def exchange() -> Rig:
    rig = Rig("coinbase_exchange")
    rig.send(snapshot(X))
    rig.send(snapshot(Y))
    return rig


def states(rig: Rig) -> tuple[int, int]:
    return rig.state(X)[0], rig.state(Y)[0]


LIVE, LOST = BookState.LIVE, BookState.GAP


@pytest.mark.parametrize(
    "broken",
    [
        change(X)[:-3],
        change(X).replace(b'"9"', b'"9'),
        change(X, price="nine"),
        change(X).replace(b"T00", b"?00"),
        change(X).replace(b"l2update", b"l2upd\0te"),
    ],
)
def test_the_book_that_it_names_is_lost(broken: bytes) -> None:
    rig = exchange()
    events = rig.send(broken)
    assert kinds(events) == GAP
    assert (events[1]["instrument"], events[1]["reason"]) == (
        f"coinbase_exchange:{X}",
        "unreadable message",
    )
    assert states(rig) == (LOST, LIVE)
    assert kinds(rig.send(broken)) == ["status:bad_frame"]  # one gap, however many follow
    assert rig.send(change(X)) == []
    assert kinds(rig.send(snapshot(X))) == ["book:snapshot", "status:live"]


@pytest.mark.parametrize("broken", [change(X)[:22], change("BTC-USDT")[:-3]])
def test_every_book_is_lost_where_it_names_none(broken: bytes) -> None:
    rig = exchange()
    events = rig.send(broken)
    assert kinds(events) == [
        "status:bad_frame",
        "status:gap",
        "status:resync",
        "status:resync",
    ]
    assert events[1]["instrument"] is None
    assert states(rig) == (LOST, LOST)


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\xff",
        b"not a message",
        change(X)[:15],
        b'{"type":"match","product_id":"BTC-USD","price":"1"',
        b'{"type":"heartbeat","product_id":"BTC-USD","sequence":1x}',
        b'{"type":"match","product_id":"BTC-USD","price":"x","size":"1","side":"buy","trade_id":1}',
    ],
)
def test_what_shows_nothing_of_a_book_costs_none(broken: bytes) -> None:
    rig = exchange()
    assert kinds(rig.send(broken)) == ["status:bad_frame"]
    assert states(rig) == (LIVE, LIVE)


def test_books_of_another_connection_go_on() -> None:
    rig = exchange()
    assert kinds(rig.send(change(X)[:-3], line=1)) == ["status:bad_frame"]
    assert states(rig) == (LIVE, LIVE)


def test_numbers_tell_by_themselves() -> None:
    rig = Rig("deribit")
    rig.send(deribit_book("A", 10, None, [(5, 1)], [(6, 1)]))
    assert kinds(rig.send(b'{"method":')) == ["status:bad_frame"]
    assert rig.state("A")[0] == LIVE
    assert kinds(rig.send(deribit_book("A", 12, 11, [(5, 1)], []))) == [
        "status:gap",
        "status:resync",
    ]


def test_whole_books_need_nothing() -> None:
    rig = lab("none_full")
    rig.send(message([("10", "1")], [("11", "1")], ms=0))
    assert kinds(rig.send(b"{")) == ["status:bad_frame"]
    assert rig.state("X")[0] == LIVE


def test_numbered_books_whose_venue_sends_no_numbers_yet() -> None:
    """OKX before its numbers: only the best levels are in the checksum."""
    rig = Rig("okx")
    row = {"asks": [["11", "1", "0", "1"]], "bids": [["10", "1", "0", "1"]], "ts": "1650000000000"}
    form = {"arg": {"channel": "books", "instId": "A-B"}, "action": "snapshot", "data": [row]}
    rig.send(form)
    assert rig.state("A-B")[0] == LIVE
    assert kinds(rig.send(orjson.dumps(form)[:-1])) == GAP


def test_a_connection_that_counts_tells_of_what_it_could_count_only() -> None:
    rig = Rig("coinbase")

    def level2(number: int, kind: str, price: str) -> bytes:
        update = {"side": "bid", "price_level": price, "new_quantity": "1"}
        return orjson.dumps(
            {
                "channel": "l2_data",
                "timestamp": "2026-01-01T00:00:00Z",
                "sequence_num": number,
                "events": [{"type": kind, "product_id": X, "updates": [update]}],
            }
        )

    rig.send(level2(0, "snapshot", "10"))
    assert kinds(rig.send(level2(1, "update", "ten"))) == GAP  # number 1 was there
    rig.send(level2(2, "snapshot", "10"))
    assert kinds(rig.send(level2(3, "update", "9")[:-1])) == ["status:bad_frame"]
    assert rig.state(X)[0] == LIVE
    assert kinds(rig.send(level2(4, "update", "8"))) == ["status:gap", "status:resync"]


def test_rows_of_two_books_are_lost_together() -> None:
    rig = Rig("bitmex")
    for symbol in ("A", "B", "C"):
        row = {"symbol": symbol, "id": 1, "side": "Buy", "size": 1, "price": 2}
        rig.send({"table": "orderBookL2", "action": "partial", "data": [row]})
    rows = [{"symbol": s, "id": 1, "side": "Buy", "size": n} for s, n in (("A", 2), ("C", "x"))]
    events = rig.send({"table": "orderBookL2", "action": "update", "data": rows})
    assert [e["instrument"] for e in events if e.get("event") == "gap"] == ["bitmex:A", "bitmex:C"]
    assert rig.state("B")[0] == LIVE


# ---- what a text still says ----


@pytest.mark.parametrize(
    ("venue", "raw", "about"),
    [
        ("kraken", b'{"channel":"book","type":"upd', True),
        ("kraken", b'{ "channel" : "trade" ,"type":', False),
        ("kraken", b'{"channel":"heartbeat"}}', False),
        ("kraken", b'{"channel":"bo', None),
        ("kraken", b'{"channel":"bo"k","type":"update"', None),
        ("bitmex", b'{"table":"orderBookL2_25","action"', True),
        ("bitmex", b'{"table":"quote","action"', False),
        ("okx", b'{"arg":{"channel":"books","instId"', True),
        ("okx", b'{"arg":{"channel":"trades","instId"', False),
        ("bitfinex", b"[17,[1,2,", None),
    ],
)
def test_a_topic_that_can_still_be_read(venue: str, raw: bytes, about: bool | None) -> None:
    assert holds_book(marks_of(venues.load(venue)), raw) is about


def test_symbols_are_found_whole() -> None:
    marks = marks_of(venues.load("okx"))
    symbols = [b"BTC-USDT", b"BTC-USDT-SWAP", b"A.B"]
    assert list(named_in(marks, b'{"instId":"BTC-USDT-SWAP","x":"AxB"', symbols)) == [
        False,
        True,
        False,
    ]


# ---- over two lines ----


def test_another_line_carries_the_book_on() -> None:
    rig = lab("trust_tcp")
    start = message([("10", "1")], [("20", "1")], snapshot=True, ms=0)
    steps = [message([(str(10 - n / 10), str(n))], ms=n) for n in range(1, 12)]
    for line in (0, 1):
        rig.send(start, line=line)
    for n, step in enumerate(steps):
        for line in (0, 1):
            if (n, line) == (5, 0):
                events = rig.send(orjson.dumps(step)[:-1], line=0)
                assert kinds(events) == ["status:bad_frame"]
            else:
                rig.send(step, line=line)
    assert rig.state("X")[0] == LIVE
    assert rig.levels("X")[0] == [(10 - n / 10, float(n or 1)) for n in range(12)]
