"""The references of the later venues, against worked examples and small made-up sessions."""

from __future__ import annotations

import json
import zlib
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from tests.fixtures.sessions import SESSIONS
from tests.reference import Result, decode_rows
from tests.reference.bitfinex import js_checksum, js_number
from tests.reference.book import Book
from tests.reference.checksums import interleaved
from tests.reference.wire import touch

T = 1_700_000_000_000_000_000


def run(venue: str, *frames: Any, conn: str | None = None) -> Result:
    """Frames (objects, or text as it is) as one session."""
    rows = []
    for frame in frames:
        raw = frame if isinstance(frame, str) else json.dumps(frame)
        rows.append({"t": T, "dir": "in", "raw": raw, **({"conn": conn} if conn else {})})
    return decode_rows(venue, rows)


def said(result: Result) -> list[str]:
    """What each line is, in short."""
    return [str(line.get("event", line.get("action", line["kind"]))) for line in result.records]


LATER = (
    "kraken_futures",
    "bitget_spot",
    "bitget_futures",
    "gate",
    "gate_futures",
    "hyperliquid",
    "bitmex",
    "bitfinex",
)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("venue", LATER)
def test_the_truth_of_made_up_sessions(venue: str, seed: int) -> None:
    scenario = SESSIONS[venue](seed)
    rest = [{"dir": "rest", **row} for row in scenario.rest_rows]
    result = decode_rows(scenario.venue, scenario.rows + rest)
    assert not result.complaints()
    live = {name: book.levels() for name, book in result.books.items() if book.state == "live"}
    assert live == scenario.books
    trades = [f"{line['instrument']} {line['trade_id']}" for line in result.of("trade")]
    assert trades == scenario.trades


def test_a_side_without_price_or_size_is_missing() -> None:
    quote = touch("1.5", "2", "", Decimal(0))
    assert quote == {
        "bid_price": Decimal("1.5"),
        "bid_size": Decimal(2),
        "ask_price": None,
        "ask_size": None,
    }
    assert touch("1.5", "0", None, None)["bid_price"] is None


class TestChecksums:
    def test_the_venues_worked_example(self) -> None:
        bids = {Decimal("6000.0"): Decimal("1.00"), Decimal(5900): Decimal(2)}
        asks = {Decimal(6200): Decimal(4), Decimal(6100): Decimal(3)}
        assert js_checksum(Book(bids, asks)) == 1756193398

    def test_missing_levels_are_left_out_and_texts_kept(self) -> None:
        book = Book({Decimal("1.50"): Decimal("2.0"), Decimal(1): Decimal(7)}, {})
        unsigned = zlib.crc32(b"1.50:2.0:1:7")
        assert interleaved(book, 25) & 0xFFFFFFFF == unsigned

    @pytest.mark.parametrize(
        ("number", "text"),
        [
            ("0.50000000", "0.5"),
            ("100", "100"),
            ("1E+3", "1000"),
            ("0.000001", "0.000001"),
            ("5e-7", "5e-7"),
            ("1.5e-7", "1.5e-7"),
            ("-0.00000012", "-1.2e-7"),
            ("123456789.12", "123456789.12"),
            ("1e21", "1e+21"),
            ("123e18", "123000000000000000000"),
            ("0", "0"),
            ("23116.480694", "23116.480694"),
        ],
    )
    def test_numbers_as_javascript_writes_them(self, number: str, text: str) -> None:
        assert js_number(Decimal(number)) == text


class TestKrakenFutures:
    SNAPSHOT: ClassVar[dict[str, Any]] = {
        "feed": "book_snapshot",
        "product_id": "PI_A",
        "timestamp": 5,
        "seq": 7,
        "bids": [{"price": 10, "qty": 1}, {"price": 9, "qty": 0}],
        "asks": [{"price": 11.5, "qty": 2.5}],
    }

    def delta(self, seq: int, qty: float = 3) -> dict[str, Any]:
        return {
            "feed": "book",
            "product_id": "PI_A",
            "side": "buy",
            "seq": seq,
            "price": 10,
            "qty": qty,
            "timestamp": 6,
        }

    def test_snapshot_then_counted_deltas(self) -> None:
        got = run("kraken_futures", self.delta(7), self.SNAPSHOT, self.delta(8), self.delta(9, 0))
        assert said(got) == ["snapshot", "delta", "delta"]
        assert got.records[0]["bids"] == [(Decimal(10), Decimal(1))]
        (book,) = got.books.values()
        assert (book.state, book.sequence, len(book.bids)) == ("live", 9, 0)

    def test_a_hole_is_one_gap_and_a_repetition_is_silent(self) -> None:
        late = {**self.delta(7), "timestamp": 5}
        got = run("kraken_futures", self.SNAPSHOT, self.SNAPSHOT, late, self.delta(8))
        assert said(got) == ["snapshot", "delta"]
        frames = [self.SNAPSHOT, self.delta(9), self.delta(10), {**self.SNAPSHOT, "seq": 11}]
        got = run("kraken_futures", *frames)
        assert said(got) == ["snapshot", "gap", "snapshot"]
        assert (got.records[1]["expected"], got.records[1]["got"]) == (8, 9)

    def test_trades_flag_liquidations_and_replay(self) -> None:
        trade = {
            "feed": "trade",
            "product_id": "PI_A",
            "uid": "u1",
            "side": "sell",
            "type": "liquidation",
            "seq": 1,
            "time": 8,
            "qty": 3,
            "price": 10,
        }
        past = {"feed": "trade_snapshot", "product_id": "PI_A", "trades": [{**trade, "uid": "u0"}]}
        got = run("kraken_futures", past, trade, trade)
        assert [line["flags"] for line in got.records] == [
            {"replay", "liquidation"},
            {"liquidation"},
        ]

    def test_ticker_is_derivative_and_quote(self) -> None:
        ticker = {
            "feed": "ticker",
            "product_id": "PF_A",
            "time": 9,
            "bid": 1.5,
            "ask": 2,
            "bid_size": 3,
            "ask_size": 0,
            "markPrice": 1.7,
            "relative_funding_rate": 0.0,
            "funding_rate": 5,
            "next_funding_rate_time": 0,
        }
        deriv, quote = run("kraken_futures", ticker).records
        assert deriv["funding_rate"] == 0
        assert "next_funding" not in deriv
        assert (quote["bid_size"], quote["ask_price"]) == (3, None)
        ack = {"event": "subscribed", "feed": "ticker", "product_ids": ["PF_A"]}
        assert not run("kraken_futures", ack).records


class TestBitget:
    def frame(
        self, action: str, seq: int, pseq: int, bids: list[list[str]], **more: Any
    ) -> dict[str, Any]:
        data = {"asks": [["11", "2"]], "bids": bids, "ts": "5", "seq": seq, "pseq": pseq, **more}
        arg = {"instType": "USDT-FUTURES", "channel": "books", "instId": "A"}
        return {"action": action, "arg": arg, "data": [data], "ts": 6}

    def test_linked_updates(self) -> None:
        big = 2**60
        got = run(
            "bitget_futures",
            "pong",
            self.frame("snapshot", big + 1, 0, [["10", "1"]]),
            self.frame("update", big + 9, big + 1, [["10", "0"]]),
            self.frame("update", big + 9, big + 1, [["10", "0"]]),
            self.frame("update", big + 12, big + 10, [["10", "4"]]),
        )
        assert said(got) == ["snapshot", "delta", "gap"]

    def test_the_first_update_may_reach_back_before_the_snapshot(self) -> None:
        snapshot = self.frame("snapshot", 10, 0, [["10", "1"]])
        assert said(run("bitget_futures", snapshot, self.frame("update", 12, 8, []))) == [
            "snapshot",
            "delta",
        ]
        frames = [snapshot, self.frame("update", 12, 10, []), self.frame("update", 14, 11, [])]
        assert said(run("bitget_futures", *frames)) == ["snapshot", "delta", "gap"]

    def test_a_checksum_that_does_not_fit(self) -> None:
        good = interleaved(Book({Decimal("10.0"): Decimal(1)}, {Decimal(11): Decimal(2)}), 25)
        fits = run("bitget_futures", self.frame("snapshot", 1, 0, [["10.0", "1"]], checksum=good))
        assert said(fits) == ["snapshot"]
        broken = run(
            "bitget_futures",
            self.frame("snapshot", 1, 0, [["10", "1"]], checksum=good),
            self.frame("update", 2, 1, []),
            self.frame("snapshot", 3, 0, [["10", "1"]], checksum=0),
        )
        assert said(broken) == ["checksum", "snapshot"]

    def test_the_other_family_is_passed_over(self) -> None:
        frame = self.frame("snapshot", 1, 0, [])
        assert not run("bitget_spot", frame).books
        frame["arg"]["instType"] = "spot"
        assert run("bitget_spot", frame).books

    def test_forms_of_trades(self) -> None:
        old = {"ts": "1", "price": "2", "size": "3", "side": "buy", "tradeId": "9"}
        new = {"i": "8", "p": "2", "v": "3", "S": "sell", "T": "1"}
        v2 = {"instType": "SPOT", "channel": "trade", "instId": "A"}
        v3 = {"instType": "spot", "topic": "publicTrade", "symbol": "A"}
        got = run(
            "bitget_spot",
            {"action": "snapshot", "arg": v2, "data": [old], "ts": 2},
            {"action": "update", "arg": v3, "data": [new], "ts": 2},
        )
        assert [(t["trade_id"], t["side"], t["flags"]) for t in got.of("trade")] == [
            ("9", "buy", {"replay"}),
            ("8", "sell", set()),
        ]


class TestGate:
    def obu(self, last: int, first: int | None = None, **more: Any) -> dict[str, Any]:
        result: dict[str, Any] = {"t": 5, "s": "ob.A_B.50", "u": last, **more}
        if first is not None:
            result["U"] = first
        return {"channel": "futures.obu", "event": "update", "result": result, "time_ms": 6}

    def test_the_window_stream(self) -> None:
        full = self.obu(10, full=True, b=[["1", "2"]], a=[["3", "4"]])
        got = run(
            "gate_futures",
            {"channel": "futures.obu", "event": "subscribe", "result": {"status": "success"}},
            full,
            self.obu(12, 11),
            self.obu(13, 13, b=[["1", "0"]]),
            self.obu(16, 15, a=[["3", "0"]]),
        )
        assert said(got) == ["snapshot", "delta", "gap"]
        assert set(got.books) == {"gate_futures:A_B"}

    def test_ranges_join_a_rest_snapshot(self) -> None:
        def delta(first: int, last: int) -> dict[str, Any]:
            result = {
                "t": 5,
                "s": "A_B",
                "U": first,
                "u": last,
                "b": [{"p": "1", "s": last}],
                "a": [],
            }
            channel = "futures.order_book_update"
            raw = json.dumps({"channel": channel, "event": "update", "result": result})
            return {"t": T, "dir": "in", "raw": raw}

        body = {"id": 11, "bids": [{"p": "1", "s": 2}], "asks": [{"p": "3", "s": 4}]}
        rest = {"dir": "rest", "url": "https://x/order_book?contract=A_B", "raw": json.dumps(body)}
        rows = [delta(9, 10), delta(11, 12), delta(13, 13), delta(15, 16), rest]
        got = decode_rows("gate_futures", rows)
        assert said(got) == ["snapshot", "delta", "delta", "gap"]

    def test_sides_of_trades_and_liquidations(self) -> None:
        trade = {"size": "-0.25", "id": 1, "create_time": 7, "price": "2", "contract": "A_B"}
        liquidation = {"size": 5, "price": 2.5, "time_ms": 8, "contract": "A_B"}
        got = run(
            "gate_futures",
            {"channel": "futures.trades", "event": "update", "result": [trade]},
            {"channel": "futures.public_liquidates", "event": "update", "result": [liquidation]},
        )
        assert [(r["side"], r["size"]) for r in got.records] == [
            ("sell", Decimal("0.25")),
            ("buy", Decimal(5)),
        ]
        assert got.records[0]["ts_event"] == 7_000_000_000

    def test_an_empty_quote(self) -> None:
        result = {"t": 0, "u": 0, "s": "A_B", "b": "", "B": 0, "a": "", "A": 0}
        (quote,) = run(
            "gate", {"channel": "spot.book_ticker", "event": "update", "result": result}
        ).records
        assert (quote["bid_price"], quote["ask_size"], quote["ts_event"]) == (None, None, None)


class TestHyperliquid:
    def book(self, time: int, size: str = "1") -> dict[str, Any]:
        levels = [[{"px": "10.0", "sz": size, "n": 1}], []]
        return {"channel": "l2Book", "data": {"coin": "A", "time": time, "levels": levels}}

    def test_every_newer_book_replaces(self) -> None:
        got = run("hyperliquid", self.book(5), self.book(5), self.book(7, "2"), self.book(6))
        assert said(got) == ["snapshot", "snapshot"]
        (book,) = got.books.values()
        assert (book.bids, book.sequence) == ({Decimal(10): Decimal(2)}, None)

    def test_a_missing_side_of_the_best_bid_and_offer(self) -> None:
        data = {"coin": "A", "time": 5, "bbo": [None, {"px": "3", "sz": "4", "n": 1}]}
        (quote,) = run("hyperliquid", {"channel": "bbo", "data": data}).records
        assert (quote["bid_price"], quote["ask_price"]) == (None, 3)

    def test_sides(self) -> None:
        rows = [
            {"coin": "A", "side": side, "px": "1", "sz": "2", "time": 5, "tid": tid}
            for tid, side in enumerate("AB")
        ]
        got = run("hyperliquid", {"channel": "trades", "data": rows})
        assert [line["side"] for line in got.records] == ["sell", "buy"]


class TestBitMEX:
    def table(self, action: str, *rows: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"table": "orderBookL2", "action": action, "data": list(rows), **more}

    def row(self, identity: int, side: str, **more: Any) -> dict[str, Any]:
        return {"symbol": "XBTUSD", "id": identity, "side": side, **more}

    def test_prices_come_from_the_ids(self) -> None:
        got = run(
            "bitmex",
            "pong",
            self.table("update", self.row(1, "Buy", size=5)),
            self.table("partial", self.row(1, "Buy", size=5, price=10)),
            self.table("insert", self.row(1, "Sell", size=7, price=10.5)),
            self.table("update", self.row(1, "Buy", size=6)),
            self.table("delete", self.row(1, "Sell")),
        )
        assert said(got) == ["snapshot", "delta", "delta", "delta"]
        assert got.records[2]["bids"] == [(10, 6)]
        assert got.records[3]["asks"] == [(Decimal("10.5"), 0)]

    @pytest.mark.parametrize("action", ["update", "delete"])
    def test_an_unknown_id_is_a_gap(self, action: str) -> None:
        partial = self.table("partial", self.row(1, "Buy", size=5, price=10))
        wrong = self.table(action, self.row(1, "Sell", size=5))
        got = run("bitmex", partial, wrong, wrong, partial)
        assert said(got) == ["snapshot", "gap", "snapshot"]

    def test_a_crossed_book_is_a_gap(self) -> None:
        partial = self.table("partial", self.row(1, "Buy", size=5, price=10))
        cross = self.table("insert", self.row(2, "Sell", size=5, price=10))
        assert said(run("bitmex", partial, cross, cross)) == ["snapshot", "delta", "gap"]

    def test_a_book_that_starts_empty(self) -> None:
        got = run(
            "bitmex",
            self.table("partial", filter={"symbol": "XBTUSD"}),
            self.table("insert", self.row(1, "Buy", size=5, price=10)),
        )
        assert said(got) == ["snapshot", "delta"]

    def test_patches_of_instruments(self) -> None:
        row = {"symbol": "XBTUSD", "fundingTimestamp": "1970-01-01T00:00:01.5Z", "lastPrice": None}
        table = {"table": "instrument", "action": "update", "data": [row, {"symbol": "XBTUSD"}]}
        (deriv,) = run("bitmex", table).records
        assert deriv["next_funding"] == 1_500_000_000
        assert "last" not in deriv

    def test_only_inserted_liquidations_count(self) -> None:
        row = {"symbol": "A", "orderID": "o", "side": "Buy", "price": 1, "leavesQty": 2}
        tables = [
            {"table": "liquidation", "action": action, "data": [row]}
            for action in ("partial", "insert", "update", "delete")
        ]
        assert [line["size"] for line in run("bitmex", *tables).records] == [2]


class TestBitfinex:
    BOOK = '{"event":"subscribed","channel":"book","chanId":5,"symbol":"tA","prec":"P0"}'
    TRADES = '{"event":"subscribed","channel":"trades","chanId":6,"symbol":"tA"}'

    def test_books_by_shape_and_checksum(self) -> None:
        frames = [
            "[5,[[6000,1,1],[5900,1,2],[6100,1,-3],[6200,1,-3]],1]",
            "[5,[6200,2,-4],2]",
            '[5,"hb",3]',
            '[5,"cs",1756193398,4]',
            "[5,[5900,0,1],5]",
            '[5,"cs",1756193398,6]',
            "[5,[5900,1,1],7]",
        ]
        got = run("bitfinex", self.BOOK, *frames)
        assert said(got) == ["snapshot", "delta", "delta", "checksum"]
        assert got.records[2]["bids"] == [(5900, 0)]
        assert [line["sequence"] for line in got.of("book")] == [1, 2, 5]

    def test_a_hole_costs_every_book_of_the_connection(self) -> None:
        other = self.BOOK.replace("5", "7").replace("tA", "tB")
        frames = [self.BOOK, other, "[5,[[1,1,1]],1]", "[7,[[1,1,1]],2]", "[5,[1,2,2],4]"]
        got = run("bitfinex", *frames, "[7,[1,2,2],5]", "[5,[[1,1,1]],6]", "[5,[1,3,3],6]")
        assert said(got) == ["snapshot", "snapshot", "gap", "snapshot"]
        assert got.records[2]["instrument"] is None
        assert {name: book.state for name, book in got.books.items()} == {
            "bitfinex:tA": "live",
            "bitfinex:tB": "gap",
        }

    def test_a_trade_is_executed_and_confirmed_once(self) -> None:
        frames = [
            "[6,[[1,5,-2,10],[2,6,3,10]],1]",
            '[6,"te",[3,7,-0.5,10],2]',
            '[6,"tu",[3,7,-0.5,10],3]',
        ]
        trades = run("bitfinex", self.TRADES, *frames).of("trade")
        assert [(t["trade_id"], t["side"], "replay" in t["flags"]) for t in trades] == [
            ("1", "sell", True),
            ("2", "buy", True),
            ("3", "sell", False),
        ]

    def test_ids_belong_to_their_connection(self) -> None:
        rows = [
            {"t": T, "dir": "in", "conn": conn, "raw": raw}
            for conn, raw in [
                ("a", self.BOOK),
                ("b", self.BOOK.replace("tA", "tB")),
                ("a", "[5,[[1,1,1]],1]"),
                ("b", "[5,[[1,1,1]],1]"),
            ]
        ]
        assert set(decode_rows("bitfinex", rows).books) == {"bitfinex:tA", "bitfinex:tB"}

    def test_what_has_other_columns_is_passed_over(self) -> None:
        raw_book = self.BOOK.replace("P0", "R0")
        funding = '{"event":"subscribed","channel":"ticker","chanId":8,"symbol":"fUSD"}'
        got = run(
            "bitfinex", raw_book, funding, "[5,[[96124382782,31534,0.0285]],1]", "[8,[1,2],2]"
        )
        assert not got.records
        assert not got.books

    def test_status_rows(self) -> None:
        deriv = '{"event":"subscribed","channel":"status","chanId":1,"key":"deriv:tAF0:USTF0"}'
        liquidations = '{"event":"subscribed","channel":"status","chanId":2,"key":"liq:global"}'
        got = run(
            "bitfinex",
            deriv,
            liquidations,
            "[1,[5,null,10.5,10.6,null,9,null,8,1e-7,1,null,0.001,null,null,10.4],1]",
            '[2,[["pos",1,7,null,"tAF0:USTF0",2,9,null,0,1,null,8],'
            '["pos",2,7,null,"tAF0:USTF0",-2,9,null,0,1,null,null]],2]',
        )
        status, liquidation = got.records
        assert (status["mark"], status["index"], status["next_funding"]) == (
            Decimal("10.4"),
            Decimal("10.6"),
            8_000_000,
        )
        assert (liquidation["side"], liquidation["price"]) == ("sell", 8)
