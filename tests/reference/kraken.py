"""Kraken spot, WebSocket v2, after its documentation.

Decisions where the documents leave room:

* The depth of a book, to which each side is cut after every message, is what the last
  subscription of the symbol said: the ack's ``result.depth`` or, before it, ``params.depth`` of
  what the client sent; where a recording has neither, the smallest of 10, 25, 100, 500 and 1000
  that the snapshot's larger side does not exceed.
* A level that is cut off appears as a delete at the end of its side of the same book line.
* The checksum, where present, is checked after the cut, on snapshots too. A message that fails
  yields one ``checksum`` and no line; nothing more comes until a snapshot.
* Nothing numbers the messages: a repeated update is applied again, and yields its line again. A
  snapshot that is older than the book by the venue's clock, or the last one once more, is silent.
* Trades of a "snapshot" are past ones and carry ``replay``.
* ``ticker`` yields quotes (there is no best-bid/offer channel), and no ``deriv``: this is spot.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from . import checksums
from .book import Book, Levels, Update, check, on_unnumbered
from .fields import (
    Record,
    book_records,
    integer,
    needed,
    ns_of_rfc3339,
    number,
    quote_side,
    record,
    rows_of,
    text,
)
from .venue import Venue

Row = dict[str, Any]
DEPTHS = (10, 25, 100, 500, 1000)
SIDES = ("buy", "sell")


class Kraken(Venue):
    """Books are held to a depth and to a checksum over the text of their numbers."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.depths: dict[str, int] = {}

    def request(self, value: Any) -> None:
        """Remember the depth that the client asked for."""
        params = value.get("params") if isinstance(value, dict) else None
        if value.get("method") != "subscribe" or not isinstance(params, dict):
            return
        symbols = params.get("symbol")
        for symbol in symbols if isinstance(symbols, list) else []:
            self._remember(params, symbol)

    def _remember(self, subscription: Row, symbol: Any) -> None:
        depth = integer(subscription.get("depth"))
        if subscription.get("channel") == "book" and depth:
            self.depths[f"{self.name}:{symbol}"] = depth

    def message(self, value: Any, ts_recv: int | None) -> list[Record]:
        """Records of one frame; acks, heartbeats, status and other channels yield none."""
        if not isinstance(value, dict):
            return []
        result = value.get("result")
        if value.get("method") == "subscribe" and isinstance(result, dict):
            self._remember(result, result.get("symbol"))
            return []
        channel, is_snapshot = value.get("channel"), value.get("type") == "snapshot"
        if channel == "book":
            actions = [self._book(row, is_snapshot, ts_recv) for row in rows_of(value.get("data"))]
            return [line for action in actions for line in action()]
        if channel == "trade":
            return [self._trade(row, is_snapshot, ts_recv) for row in rows_of(value.get("data"))]
        if channel == "ticker":
            return [self._quote(row, ts_recv) for row in rows_of(value.get("data"))]
        if channel == "instrument" and isinstance(value.get("data"), dict):
            return [
                line
                for row in rows_of(value["data"].get("pairs"))
                for line in self.states.say(self._instrument(row), row.get("status"), None, ts_recv)
            ]
        return []

    def _instrument(self, row: Row) -> str:
        return f"{self.name}:{text(row.get('symbol'))}"

    def _book(self, row: Row, is_snapshot: bool, ts_recv: int | None) -> Callable[[], list[Record]]:
        name = self._instrument(row)
        ts_event = ns_of_rfc3339(row.get("timestamp"))
        update = Update(
            last=None,
            bids=_levels(row.get("bids")),
            asks=_levels(row.get("asks")),
            source=(ts_event, ts_recv),
            time=ts_event,
        )
        checksum = integer(row.get("checksum"))

        def apply() -> list[Record]:
            book = self.books.setdefault(name, Book())
            if is_snapshot and name not in self.depths:
                larger = max(len(update.bids), len(update.asks))
                self.depths[name] = next((d for d in DEPTHS if d >= larger), DEPTHS[-1])
            out = on_unnumbered(book, update, is_snapshot)
            if book.applied is update:
                self._cut(book, update, self.depths[name])
                out = check(book, out, checksum, checksums.kraken(book))
            return book_records(name, out, ts_event, ts_recv)

        return apply

    def _cut(self, book: Book, update: Update, depth: int) -> None:
        """The venue sends no deletes for levels that fall out: add them to the line."""
        bids, asks = book.levels()
        for side, ordered, sent in ((book.bids, bids, update.bids), (book.asks, asks, update.asks)):
            for price, _ in ordered[depth:]:
                del side[price]
                sent.append((price, Decimal(0)))

    def _trade(self, row: Row, is_past: bool, ts_recv: int | None) -> Record:
        identity, side = row.get("trade_id"), row.get("side")
        return record(
            "trade",
            self._instrument(row),
            ns_of_rfc3339(row.get("timestamp")),
            ts_recv,
            flags=("replay",) if is_past else (),
            channel="trade",
            price=needed(row.get("price")),
            size=needed(row.get("qty")),
            side=side if side in SIDES else "unknown",
            trade_id="" if identity is None else str(identity),
        )

    def _quote(self, row: Row, ts_recv: int | None) -> Record:
        sides = quote_side("bid", number(row.get("bid")), number(row.get("bid_qty")))
        sides |= quote_side("ask", number(row.get("ask")), number(row.get("ask_qty")))
        ts_event = ns_of_rfc3339(row.get("timestamp"))
        return record("quote", self._instrument(row), ts_event, ts_recv, **sides)


def _levels(rows: Any) -> Levels:
    """Objects with price and quantity, in the venue's order; an absent side is an empty one."""
    if rows is None:
        return []
    return [(needed(row.get("price")), needed(row.get("qty"))) for row in rows_of(rows)]
