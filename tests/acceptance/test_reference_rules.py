"""The references of OKX and Bybit, by hand.

Each frame is small enough to know its answer by reading the venue's documents; the checksums are
the documents' own worked examples.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.reference.book import Book
from tests.reference.checksums import crc32, interleaved, kraken

from .hand import MS, T, gaps, only, run, said


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
