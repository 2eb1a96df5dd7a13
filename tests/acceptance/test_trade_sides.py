"""Whose side a venue's word is, shown by prices: a buyer who takes pays the offer.

The reference reads the same documents as the decoder, and documents may leave open whether a side
is the taker's or the maker's. Books and quotes of the same stream do not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.reference.book import Book

from .captures import RECORDINGS
from .cli import decode_once
from .compare import apply_line
from .hand import T
from .here import decode_rows_here

SIDED = {  # recordings whose trades come with what they took still known, and how many are right
    "binance_spot/cf_20210405": (1113, 125),
    "bitfinex/cf_20210405": (7, 0),
    "bitmex/cf_20210722": (17, 0),
    "coinbase_exchange/cf_20210417_exchange": (90, 3),
    "hyperliquid/hft_20250126_btc": (34, 0),
    "kraken_futures/cf_20210417": (3, 0),
    "okx/cf_20220513_books": (71, 0),
}


def sides(lines: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """News above the middle that are buys or below it sells; and the others."""
    books: dict[str, Book] = {}
    middle: dict[str, Decimal] = {}
    right = wrong = 0
    for line in lines:
        name = line["instrument"]
        if line["kind"] == "book":
            book = books.setdefault(name, Book())
            apply_line(book, line)
            bid, ask = book.best()
            if bid is not None and ask is not None:
                middle[name] = (bid[0] + ask[0]) / 2
        elif line["kind"] == "quote" and line["bid_price"] and line["ask_price"]:
            middle[name] = (Decimal(line["bid_price"]) + Decimal(line["ask_price"])) / 2
        elif line["kind"] == "trade" and "replay" not in line["flags"] and name in middle:
            price = Decimal(line["price"])
            if price != middle[name]:
                is_right = line["side"] == ("buy" if price > middle[name] else "sell")
                right, wrong = right + is_right, wrong + (not is_right)
    return right, wrong


@pytest.mark.parametrize(
    "recording", [pytest.param(r, id=r.name) for r in RECORDINGS if r.name in SIDED]
)
def test_buyers_pay_the_offer(recording: Any) -> None:
    got = decode_once(recording.venue, recording.paths())
    assert sides(got.records) == SIDED[recording.name]


def _advanced(number: int, channel: str, **event: Any) -> dict[str, Any]:
    value = {
        "channel": channel,
        "timestamp": f"2026-09-07T02:00:{number:02}Z",
        "sequence_num": number,
        "events": [event],
    }
    return {"t": T + number, "dir": "in", "raw": json.dumps(value)}


def test_coinbase_advanced_names_the_maker(tmp_path: Path) -> None:
    moment = "2026-09-07T02:00:00Z"
    levels = [
        {"side": side, "event_time": moment, "price_level": price, "new_quantity": "3"}
        for side, price in (("bid", "70.1"), ("offer", "70.3"))
    ]
    trades = [
        {"product_id": "QQQ-USD", "trade_id": ident, "price": price, "size": "1", "side": side}
        | {"time": moment}
        for ident, price, side in (("1", "70.1", "BUY"), ("2", "70.3", "SELL"))
    ]
    rows = [
        _advanced(0, "l2_data", type="snapshot", product_id="QQQ-USD", updates=levels),
        _advanced(1, "market_trades", type="update", trades=trades),
    ]
    got = decode_rows_here("coinbase", rows, tmp_path)
    assert [trade["side"] for trade in got.of("trade")] == ["sell", "buy"]
    assert sides(got.records) == (2, 0)


@pytest.mark.parametrize(
    "tags", [("combo_id",), ("combo_trade_id",), ("combo_id", "combo_trade_id")]
)
def test_either_tag_makes_a_deribit_trade_a_combos(tmp_path: Path, tags: tuple[str, ...]) -> None:
    trade = {
        "timestamp": T // 1_000_000,
        "price": 61.5,
        "amount": 2,
        "direction": "sell",
        "instrument_name": "QQQ-PERPETUAL",
        "trade_seq": 9,
        "trade_id": "QQQ-1",
    }
    tagged = {**trade, **dict.fromkeys(tags, "QQQ-FS-5"), "trade_id": "QQQ-2"}
    params = {"channel": "trades.QQQ-PERPETUAL.100ms", "data": [trade, tagged]}
    value = {"jsonrpc": "2.0", "method": "subscription", "params": params}
    rows = [{"t": T, "dir": "in", "raw": json.dumps(value)}]
    got = decode_rows_here("deribit", rows, tmp_path)
    assert ["combo" in trade["flags"] for trade in got.of("trade")] == [False, True]
