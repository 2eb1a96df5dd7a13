"""The references of Coinbase, Kraken and the further Binance venues, by hand.

Each frame is small enough to know its answer by reading the venue's documents.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.reference import decode_rows
from tests.reference.checksums import crc32

from .hand import T, gaps, only, run, said


class TestCoinbase:
    def frame(self, number: int, channel: str = "heartbeats", **event: Any) -> dict[str, Any]:
        frame = {"channel": channel, "timestamp": "2026-09-07T01:57:58.894355123Z"}
        return {**frame, "sequence_num": number, "events": [event]}

    def book(self, number: int, kind: str, symbol: str = "A-USD") -> dict[str, Any]:
        updates = [
            {"side": "offer", "price_level": "11", "new_quantity": "2"},
            {"side": "bid", "price_level": "10", "new_quantity": "1"},
        ]
        return self.frame(number, "l2_data", type=kind, product_id=symbol, updates=updates)

    def test_every_frame_counts(self) -> None:
        result = run(
            "coinbase",
            self.frame(0, "subscriptions", subscriptions={}),
            self.book(1, "snapshot"),
            self.frame(2),
            self.book(3, "update"),
        )
        assert said(result) == ["snapshot", "delta"]
        assert result.records[0]["ts_event"] % 10**9 == 894355123
        assert result.records[1]["sequence"] == 3

    def test_a_lost_heartbeat_costs_every_live_book_of_the_connection(self) -> None:
        result = run(
            "coinbase",
            self.book(1, "snapshot"),
            self.book(2, "snapshot", "B-USD"),
            self.book(4, "update"),
            self.book(5, "update", "B-USD"),
            self.book(6, "snapshot"),
        )
        assert gaps(result) == [("gap", None, 3, 4)]
        assert said(result) == ["snapshot", "snapshot", "gap", "snapshot"]
        states = {name: book.state for name, book in result.books.items()}
        assert states == {"coinbase:A-USD": "live", "coinbase:B-USD": "gap"}

    def test_connections_count_apart(self) -> None:
        rows = [
            {"t": T, "dir": "in", "conn": conn, "raw": json.dumps(frame)}
            for conn, frame in (
                ("a", self.book(1, "snapshot")),
                ("b", self.book(70, "snapshot", "B-USD")),
                ("a", self.book(2, "update")),
                ("b", self.frame(72)),
                ("a", self.book(3, "update")),
            )
        ]
        result = decode_rows("coinbase", rows)
        assert said(result) == ["snapshot", "snapshot", "delta", "gap", "delta"]
        assert result.books["coinbase:B-USD"].state == "gap"

    def test_a_repeated_frame_is_silent(self) -> None:
        frames = [self.book(1, "snapshot"), self.book(2, "update")]
        assert said(run("coinbase", *frames, *frames)) == ["snapshot", "delta"]

    def test_number_0_is_a_new_connection(self) -> None:
        fresh = run("coinbase", self.frame(5), self.book(0, "snapshot"), self.book(1, "update"))
        assert said(fresh) == ["snapshot", "delta"]
        lost = run("coinbase", self.book(5, "snapshot"), self.frame(0), self.book(1, "update"))
        assert said(lost) == ["snapshot", "gap"]

    def test_past_trades_are_replay_and_come_once(self) -> None:
        trade = {"trade_id": "7", "product_id": "A-USD", "price": "5", "size": "1", "side": "BUY"}
        trade["time"] = "2026-09-07T01:57:58Z"
        other = {**trade, "trade_id": "8"}
        result = run(
            "coinbase",
            self.frame(1, "market_trades", type="snapshot", trades=[trade]),
            self.frame(2, "market_trades", type="update", trades=[trade, other]),
        )
        flags = [(line["trade_id"], line["flags"], line["side"]) for line in result.of("trade")]
        assert flags == [("7", {"replay"}, "sell"), ("8", set(), "sell")]

    def test_a_ticker_without_best_prices_says_nothing(self) -> None:
        bare = {"product_id": "A-USD", "price": "5"}
        full = {**bare, "best_bid": "4", "best_bid_quantity": "1"}
        full |= {"best_ask": "", "best_ask_quantity": ""}
        result = run("coinbase", self.frame(1, "ticker", type="update", tickers=[bare, full]))
        assert only(result)["bid_size"] == Decimal(1)

    def test_the_exchange_names_the_maker(self) -> None:
        match = {"type": "last_match", "trade_id": 5, "side": "sell", "size": "1", "price": "2"}
        match |= {"product_id": "A-USD", "time": "2021-04-17T16:43:37.075687Z"}
        line = only(run("coinbase_exchange", match, {**match, "type": "match"}))
        assert (line["side"], line["flags"], line["trade_id"]) == ("buy", {"replay"}, "5")

    def test_the_exchange_has_no_time_before_1970(self) -> None:
        frames = [
            {"type": "l2update", "product_id": "A", "changes": [["buy", "1", "1"]], "time": ""},
            {"type": "snapshot", "product_id": "A", "bids": [], "asks": []},
            {
                "type": "l2update",
                "product_id": "A",
                "changes": [["buy", "2", "1"], ["sell", "3", "0.00000000"]],
                "time": "0001-01-01T00:00:00.000000Z",
            },
        ]
        result = run("coinbase_exchange", *frames)
        assert said(result) == ["snapshot", "delta"]
        assert result.records[1]["ts_event"] is None
        assert result.records[1]["asks"] == [(Decimal(3), Decimal(0))]

    def test_a_crossed_book_is_a_gap_after_its_line(self) -> None:
        book = {"type": "snapshot", "product_id": "A", "bids": [["1", "5"]], "asks": [["2", "5"]]}
        change = {"type": "l2update", "product_id": "A", "changes": [["buy", "2", "1"]]}
        result = run("coinbase_exchange", book, change, change, book)
        assert said(result) == ["snapshot", "delta", "gap", "snapshot"]
        assert gaps(result) == [("gap", "coinbase_exchange:A", None, None)]

    def test_the_exchange_quotes_only_with_sizes(self) -> None:
        ticker = {"type": "ticker", "product_id": "A", "best_bid": "1", "best_ask": "2"}
        assert said(run("coinbase_exchange", ticker)) == []
        assert said(run("coinbase_exchange", {**ticker, "best_bid_size": "5"})) == []
        full = {**ticker, "best_bid_size": "5", "best_ask_size": "6"}
        assert said(run("coinbase_exchange", full)) == ["quote"]


class TestKraken:
    def levels(self, text: str) -> str:
        pairs = (part.split("x") for part in text.split())
        return ",".join(f'{{"price":{price},"qty":{qty}}}' for price, qty in pairs)

    def book(self, kind: str, bids: str, asks: str, crc: int | None = None) -> str:
        checksum = "" if crc is None else f',"checksum":{crc}'
        return (
            f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"A/B","bids":'
            f'[{self.levels(bids)}],"asks":[{self.levels(asks)}]{checksum},'
            f'"timestamp":"2026-08-16T23:37:03.745044Z"}}]}}'
        )

    def test_the_checksum_is_over_the_text_of_the_wire(self) -> None:
        frame = self.book("snapshot", "9.0x1.00", "11.0x20.00", crc32("110200090100", False))
        assert said(run("kraken", frame)) == ["snapshot"]
        shortened = frame.replace("20.00", "20.0")
        assert said(run("kraken", shortened)) == ["checksum"]

    def test_a_level_that_falls_out_is_a_delete_of_the_line(self) -> None:
        ask = {"method": "subscribe", "params": {"channel": "book", "symbol": ["A/B"], "depth": 10}}
        asks = " ".join(f"{price}x1" for price in range(11, 21))
        result = run(
            "kraken",
            ("out", ask),
            self.book("snapshot", "9x1", asks),
            self.book("update", "", "10.5x1 11x0 10.75x3"),
        )
        line = result.records[1]
        assert line["asks"][-1] == (Decimal(20), Decimal(0))
        assert len(result.books["kraken:A/B"].asks) == 10

    def test_the_ack_outweighs_the_guess(self) -> None:
        result = {"channel": "book", "depth": 25, "symbol": "A/B"}
        ack = {"method": "subscribe", "result": result, "success": True}
        asks = " ".join(f"{price}x1" for price in range(11, 21))
        frames = [self.book("snapshot", "9x1", asks), self.book("update", "", "21x1")]
        assert len(run("kraken", ack, *frames).books["kraken:A/B"].asks) == 11
        assert len(run("kraken", *frames).books["kraken:A/B"].asks) == 10

    def test_a_wrong_checksum_is_said_once(self) -> None:
        result = run(
            "kraken",
            self.book("snapshot", "9x1", "11x1"),
            self.book("update", "8x1", "", 5),
            self.book("update", "7x1", "", 6),
        )
        assert said(result) == ["snapshot", "checksum"]
        assert result.books["kraken:A/B"].state == "checksum"

    def test_updates_of_one_price_apply_in_order(self) -> None:
        frames = [self.book("snapshot", "9x1", "11x1"), self.book("update", "8x1 8x0 8x3", "")]
        assert run("kraken", *frames).books["kraken:A/B"].bids[Decimal(8)] == Decimal(3)

    def test_an_unused_symbol_quotes_nothing(self) -> None:
        row = {"symbol": "A/B", "bid": 0, "bid_qty": 0, "ask": 0.0, "ask_qty": 0}
        row["timestamp"] = "1970-01-01T00:00:00.000000Z"
        result = run("kraken", {"channel": "ticker", "type": "update", "data": [row]})
        assert result.records[0]["bid_price"] is None
        assert result.records[0]["ts_event"] is None


class TestBinance:
    @pytest.mark.parametrize(("venue", "kept"), [("binance_usdm", "X"), ("binance_coinm", "Y")])
    def test_each_family_keeps_its_own_rows(self, venue: str, kept: str) -> None:
        rows = [
            {"e": "markPriceUpdate", "E": 5, "s": symbol, "p": "1", "st": family}
            for symbol, family in (("X", 1), ("Y", 2), ("Z", None))
        ]
        result = run(venue, {"stream": "!markPrice@arr", "data": rows})
        assert [line["instrument"] for line in result.records] == [f"{venue}:{kept}", f"{venue}:Z"]

    def test_options_say_the_takers_side(self) -> None:
        event = {"e": "trade", "E": 5, "T": 4, "s": "O-C", "t": 4, "p": "1", "q": "2"}
        event |= {"X": "BLOCK", "S": "SELL", "m": True}
        line = only(run("binance_options", event))
        assert (line["side"], line["flags"], line["trade_id"]) == ("sell", {"block"}, "4")

    def test_options_write_none_as_minus_one_or_zero(self) -> None:
        event = {"e": "markPrice", "E": 5, "s": "O-C", "mp": "7", "i": "9", "P": "0.000"}
        event |= {"b": "-1.0", "a": "0.5", "vo": "0.0", "d": "0", "bo": "1", "bq": "1"}
        result = run("binance_options", {"stream": "x@optionMarkPrice", "data": [event]})
        deriv, greeks = result.records
        assert deriv.keys() & {"mark", "index", "settlement"} == {"mark", "index"}
        assert greeks.keys() & {"delta", "mark_iv", "bid_iv", "ask_iv"} == {"delta", "ask_iv"}
