"""The references of OKX, Bybit, Coinbase, Kraken and the further Binance venues, by hand.

Each frame is small enough to know its answer by reading the venue's documents; the checksums are
the documents' own worked examples.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.reference import Result, decode_rows
from tests.reference.book import Book
from tests.reference.checksums import crc32, interleaved, kraken

T = 1_790_000_000_000_000_000
MS = T // 1_000_000


def run(venue: str, *frames: Any, conn: str = "a") -> Result:
    """Frames (values, or text as it is) as one session; ``("out", value)`` is sent."""
    rows = []
    for frame in frames:
        direction, value = frame if isinstance(frame, tuple) else ("in", frame)
        raw = value if isinstance(value, str) else json.dumps(value)
        rows.append({"t": T, "dir": direction, "raw": raw, "conn": conn})
    return decode_rows(venue, rows)


def said(result: Result) -> list[str]:
    """What each line is, in short."""
    return [str(line.get("event", line.get("action", line["kind"]))) for line in result.records]


def only(result: Result) -> dict[str, Any]:
    """The one line, its absent fields left out."""
    (line,) = result.records
    return {key: value for key, value in line.items() if value not in (None, set(), "")}


def gaps(result: Result) -> list[tuple[Any, ...]]:
    """Instrument and numbers of what was declared."""
    return [
        (line["event"], line["instrument"], line["expected"], line["got"])
        for line in result.of("status")
    ]


class TestChecksums:
    """The worked examples of the documents."""

    KRAKEN_ASKS = (
        "45285.2 0.00100000 45286.4 1.54571953 45286.6 1.54571109 45289.6 1.54560911 "
        "45290.2 0.15890660 45291.8 1.54553491 45294.7 0.04454749 45296.1 0.35380000 "
        "45297.5 0.09945542 45299.5 0.18772827"
    )
    KRAKEN_BIDS = (
        "45283.5 0.10000000 45283.4 1.54582015 45282.1 0.10000000 45281.0 0.10000000 "
        "45280.3 1.54592586 45279.0 0.07990000 45277.6 0.03310103 45277.5 0.30000000 "
        "45277.3 1.54602737 45276.6 0.15445238"
    )

    def side(self, text: str) -> dict[Decimal, Decimal]:
        values = [Decimal(part) for part in text.split()]
        return dict(zip(values[::2], values[1::2], strict=True))

    def test_kraken(self) -> None:
        book = Book(self.side(self.KRAKEN_BIDS), self.side(self.KRAKEN_ASKS))
        assert kraken(book) == 3310070434

    def test_kraken_counts_ten_levels_of_a_deeper_book(self) -> None:
        book = Book(self.side(self.KRAKEN_BIDS), self.side(self.KRAKEN_ASKS))
        book.bids[Decimal("45000.0")] = Decimal("1.00000000")
        assert kraken(book) == 3310070434

    def test_okx(self) -> None:
        bids = {Decimal("3366.1"): Decimal(7), Decimal(3366): Decimal(6)}
        asks = {Decimal("3366.8"): Decimal(9), Decimal(3368): Decimal(8)}
        assert interleaved(Book(bids, asks), 25) == -1881014294

    def test_okx_with_a_missing_level(self) -> None:
        bids = {Decimal("3366.1"): Decimal(7)}
        asks = {Decimal("3366.8"): Decimal(9), Decimal(3368): Decimal(8), Decimal(3372): Decimal(8)}
        assert interleaved(Book(bids, asks), 25) == 831078360

    def test_texts_are_those_of_the_wire(self) -> None:
        book = Book({Decimal("0.00000010"): Decimal("1E-8")}, {Decimal("0.20"): Decimal("100.0")})
        assert interleaved(book, 25) == crc32("0.00000010:0.00000001:0.20:100.0", signed=True)


class TestOkx:
    def book(self, action: str, seq: int | None, prev: int | None, **more: Any) -> dict[str, Any]:
        row = {"bids": [["10", "1", "0", "1"]], "asks": [], "ts": str(MS), "checksum": 0}
        row |= {"seqId": seq, "prevSeqId": prev}
        row |= more
        row = {key: value for key, value in row.items() if value is not None}
        return {"arg": {"channel": "books", "instId": "A-B"}, "action": action, "data": [row]}

    def test_a_chain_with_keep_alive_and_reset(self) -> None:
        result = run(
            "okx",
            self.book("snapshot", 100, -1),
            self.book("update", 105, 100),
            self.book("update", 105, 105, bids=[]),
            self.book("update", 3, 105, ts=str(MS + 1)),
            self.book("update", 9, 3, ts=str(MS + 2)),
        )
        assert said(result) == ["snapshot", "delta", "delta", "delta"]
        assert [line["sequence"] for line in result.records] == [100, 105, 3, 9]
        assert result.books["okx:A-B"].state == "live"

    def test_a_loss_is_one_gap_until_the_next_snapshot(self) -> None:
        result = run(
            "okx",
            self.book("snapshot", 100, -1),
            self.book("update", 110, 105, ts=str(MS + 1)),
            self.book("update", 120, 110, ts=str(MS + 2)),
            self.book("update", 130, 120, ts=str(MS + 3)),
        )
        assert gaps(result) == [("gap", "okx:A-B", 100, 105)]
        assert result.books["okx:A-B"].state == "gap"
        healed = run(
            "okx",
            self.book("snapshot", 100, -1),
            self.book("update", 110, 105, ts=str(MS + 1)),
            self.book("snapshot", 140, -1, ts=str(MS + 2)),
        )
        assert said(healed) == ["snapshot", "gap", "snapshot"]
        assert healed.books["okx:A-B"].state == "live"

    def test_repetitions_are_silent(self) -> None:
        frames = [
            self.book("snapshot", 100, -1),
            self.book("update", 105, 100),
            self.book("update", 3, 105),
        ]
        result = run("okx", *(frame for frame in frames for _ in range(2)))
        assert said(result) == ["snapshot", "delta", "delta"]

    def test_a_loss_just_before_a_reset_is_a_gap(self) -> None:
        """The number is small, but the venue's clock says that the message is new."""
        result = run(
            "okx",
            self.book("snapshot", 100, -1),
            self.book("update", 9, 3, ts=str(MS + 50)),
        )
        assert gaps(result) == [("gap", "okx:A-B", 100, 3)]

    def test_a_loss_before_the_snapshot_is_declared_too(self) -> None:
        result = run("okx", self.book("update", 9, 3), self.book("update", 30, 20))
        assert gaps(result) == [("gap", "okx:A-B", 9, 20)]

    def test_a_snapshot_that_a_delta_overtook_is_not_used(self) -> None:
        late = self.book("snapshot", 8, -1, ts=str(MS - 5))
        assert said(run("okx", self.book("update", 9, 8), late)) == []
        fresh = self.book("snapshot", 9, -1)
        assert said(run("okx", self.book("update", 9, 8), fresh)) == ["snapshot"]

    def test_the_checksum_alone_guards_old_recordings(self) -> None:
        def frame(action: str, price: str, crc: int) -> dict[str, Any]:
            levels = [[price, "7", "0", "1"]]
            return self.book(action, None, None, bids=levels, checksum=crc)

        first = crc32("10.5:7", signed=True)
        both = crc32("10.5:7:9.25:7", signed=True)
        good = run("okx", frame("snapshot", "10.5", first), frame("update", "9.25", both))
        assert said(good) == ["snapshot", "delta"]
        assert {line["sequence"] for line in good.records} == {None}
        bad = run(
            "okx",
            frame("snapshot", "10.5", first),
            frame("update", "9.25", both + 1),
            frame("update", "9", 5),
        )
        assert said(bad) == ["snapshot", "checksum"]
        assert gaps(bad) == [("checksum", "okx:A-B", both + 1, both)]
        assert bad.books["okx:A-B"].state == "checksum"
        empty = self.book("update", None, None, bids=[], checksum=first + 1)
        assert said(run("okx", frame("snapshot", "10.5", first), empty)) == ["snapshot", "checksum"]

    def test_a_better_stream_takes_the_book_over(self) -> None:
        window = {"bids": [["5", "1", "0", "1"]], "asks": [], "ts": str(MS), "seqId": 4}
        partial = {"arg": {"channel": "books5", "instId": "A-B"}, "data": [window]}
        result = run("okx", partial, self.book("update", 9, 8), partial)
        assert said(result) == ["snapshot"]
        assert result.books["okx:A-B"].state == "syncing"

    def test_the_answer_to_a_ping_is_no_bad_frame(self) -> None:
        assert said(run("okx", "pong", "ping")) == ["bad_frame"]

    def test_one_bad_row_spoils_the_whole_frame(self) -> None:
        frame = self.book("snapshot", 100, -1)
        frame["data"].append({"bids": [["x", "1"]], "seqId": 101})
        result = run("okx", frame)
        assert said(result) == ["bad_frame"]
        assert not result.books

    @pytest.mark.parametrize(
        ("channel", "row", "fields"),
        [
            ("tickers", {"last": "5", "bidPx": "4", "askPx": "6"}, {"last": Decimal(5)}),
            ("mark-price", {"markPx": "0"}, {"mark": Decimal(0)}),
            ("index-tickers", {"idxPx": "7.5", "high24h": "8"}, {"index": Decimal("7.5")}),
            ("open-interest", {"oi": "22", "oiCcy": "2.2"}, {"open_interest": Decimal(22)}),
            ("estimated-price", {"settlePx": "200"}, {"settlement": Decimal(200)}),
            (
                "funding-rate",
                {"fundingRate": "0.0001", "nextFundingRate": "", "fundingTime": "5"},
                {"funding_rate": Decimal("0.0001"), "next_funding": 5_000_000},
            ),
        ],
    )
    def test_derivative_fields(
        self, channel: str, row: dict[str, Any], fields: dict[str, Any]
    ) -> None:
        frame = {"arg": {"channel": channel, "instId": "X"}, "data": [{**row, "ts": str(MS)}]}
        line = only(run("okx", frame))
        assert line == {
            "kind": "deriv",
            "instrument": "okx:X",
            "ts_event": MS * 1_000_000,
            "ts_recv": T,
            **fields,
        }

    def test_greeks_are_those_of_black_and_scholes(self) -> None:
        row = {"instId": "X-C", "delta": "9", "deltaBS": "-0.99", "thetaBS": "28.26"}
        row |= {"markVol": "0.3675", "bidVol": "0", "askVol": "", "fwdPx": "62604.69"}
        line = only(
            run("okx", {"arg": {"channel": "opt-summary", "instFamily": "X"}, "data": [row]})
        )
        assert {key: line[key] for key in line.keys() - {"kind", "instrument", "ts_recv"}} == {
            "delta": Decimal("-0.99"),
            "theta": Decimal("28.26"),
            "mark_iv": Decimal("0.3675"),
            "underlying": Decimal("62604.69"),
        }

    def test_liquidations_are_one_record_per_detail(self) -> None:
        details = [{"side": "buy", "bkPx": "0.5", "sz": "13", "ts": str(MS)}] * 2
        row = {"instId": "X-SWAP", "details": details}
        frame = {"arg": {"channel": "liquidation-orders", "instType": "SWAP"}, "data": [row]}
        lines = run("okx", frame).of("liquidation", "okx:X-SWAP")
        assert [(line["price"], line["side"]) for line in lines] == [(Decimal("0.5"), "buy")] * 2

    def test_a_quote_with_an_old_number_is_silent(self) -> None:
        def best(seq: int) -> dict[str, Any]:
            row = {"asks": [["9", "1", "0", "1"]], "bids": [], "ts": str(MS), "seqId": seq}
            return {"arg": {"channel": "bbo-tbt", "instId": "X"}, "data": [row]}

        result = run("okx", best(5), best(5), best(4), best(6))
        assert [line["sequence"] for line in result.of("quote")] == [5, 6]
        assert result.records[0]["bid_price"] is None


class TestBybit:
    def book(self, kind: str, number: int, depth: int = 50, cts: int = MS) -> dict[str, Any]:
        data = {"s": "AB", "b": [["10", "1"]], "a": [["11", "2"]], "u": number, "seq": 1}
        return {
            "topic": f"orderbook.{depth}.AB",
            "type": kind,
            "ts": MS + 9,
            "data": data,
            "cts": cts,
        }

    def test_numbers_count_one_up(self) -> None:
        result = run(
            "bybit_spot", *(self.book("delta" if u > 7 else "snapshot", u) for u in (7, 8, 9))
        )
        assert said(result) == ["snapshot", "delta", "delta"]
        assert result.records[0]["ts_event"] == MS * 1_000_000

    def test_a_jump_is_one_gap(self) -> None:
        late = MS + 100
        result = run(
            "bybit_linear",
            self.book("snapshot", 7),
            self.book("delta", 9, cts=late),
            self.book("delta", 11, cts=late),
        )
        assert gaps(result) == [("gap", "bybit_linear:AB", 8, 9)]

    def test_snapshots_replace_also_after_a_restart(self) -> None:
        result = run(
            "bybit_inverse",
            self.book("snapshot", 700),
            self.book("snapshot", 1, cts=MS + 1),
            self.book("delta", 2, cts=MS + 2),
            self.book("snapshot", 3, cts=MS + 3),
        )
        assert said(result) == ["snapshot", "snapshot", "delta", "snapshot"]
        assert result.books["bybit_inverse:AB"].sequence == 3

    def test_repetitions_are_silent(self) -> None:
        frames = [self.book("snapshot", 7), self.book("delta", 8)]
        assert said(run("bybit_spot", *frames, *frames)) == ["snapshot", "delta"]

    def test_depth_1_is_a_quote_said_once(self) -> None:
        again = self.book("snapshot", 5, 1, cts=MS + 3000)
        result = run(
            "bybit_spot",
            self.book("snapshot", 5, 1),
            again,
            self.book("delta", 6, 1),
            self.book("snapshot", 1, 1, cts=MS + 4000),
        )
        assert [line["sequence"] for line in result.of("quote")] == [5, 1]
        assert not result.books

    def test_other_books_of_a_symbol_are_passed_over(self) -> None:
        frames = [self.book("snapshot", 5), {**self.book("delta", 90), "topic": "orderbook.200.AB"}]
        frames += [{**self.book("delta", 6), "topic": f"orderbook.{x}.AB"} for x in ("rpi", "full")]
        assert said(run("bybit_spot", *frames)) == ["snapshot"]

    def test_the_side_of_a_liquidation_is_that_of_its_order(self) -> None:
        rows = [{"T": MS, "s": "AB", "S": side, "v": "3", "p": "2"} for side in ("Buy", "Sell")]
        frame = {"topic": "allLiquidation.AB", "type": "snapshot", "ts": MS, "data": rows}
        sides = [line["side"] for line in run("bybit_linear", frame).of("liquidation")]
        assert sides == ["sell", "buy"]

    def test_a_block_trade_carries_the_flag(self) -> None:
        row = {"T": MS, "s": "AB", "S": "Sell", "v": "3", "p": "2", "i": "x-1", "BT": True}
        frame = {"topic": "publicTrade.A", "type": "snapshot", "ts": MS, "data": [row, row]}
        line = only(run("bybit_option", frame))
        assert (line["side"], line["trade_id"], line["flags"]) == ("sell", "x-1", {"block"})

    def test_tickers_by_family(self) -> None:
        data = {"symbol": "AB", "lastPrice": "5", "markPrice": "6", "nextFundingTime": "0"}
        data |= {"bidPrice": "0", "bidSize": "0", "askPrice": "7", "askSize": "2", "bidIv": "0"}
        frame = {"topic": "tickers.AB", "type": "snapshot", "ts": MS, "data": data}
        assert only(run("bybit_spot", frame)).keys() & {"last", "mark"} == {"last"}
        assert only(run("bybit_linear", frame)).keys() & {"last", "mark", "next_funding"} == {
            "last",
            "mark",
        }
        result = run("bybit_option", frame)
        assert said(result) == ["deriv", "greeks", "quote"]
        assert "bid_iv" not in result.records[1]
        assert result.records[2]["bid_price"] is None

    def test_a_delta_of_a_ticker_holds_only_what_changed(self) -> None:
        data = {"symbol": "AB", "bid1Price": "5"}
        frame = {"topic": "tickers.AB", "type": "delta", "ts": MS, "data": data}
        assert said(run("bybit_linear", frame)) == []


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
        assert flags == [("7", {"replay"}, "buy"), ("8", set(), "buy")]

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
