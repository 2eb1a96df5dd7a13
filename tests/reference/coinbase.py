"""Coinbase Advanced Trade and Coinbase Exchange, after their documentation.

Advanced Trade, where the documents leave room:

* ``sequence_num`` is one counter per connection over every channel. A number that is not the last
  plus one is one gap without an instrument, and every live book of that connection leaves ``live``
  until its next snapshot; the frame itself is used. A number that is not newer than the last one is
  a repeat: the whole frame is silent. A 0 after anything but 0 begins the life of a connection:
  the live books of an earlier life are in gap (one gap, when there are any).
* ``sequence`` of book and quote lines is the frame's ``sequence_num``; their time is the frame's
  ``timestamp``, that of a trade its ``time``.
* ``market_trades`` names the maker's side ("BUY" trades are at the best bid), so it is inverted;
  trades of a "snapshot" event are past ones and carry ``replay``.
* ``ticker`` yields quotes (there is no best-bid/offer channel); one that lacks a field of the four,
  as those of ``ticker_batch`` do, yields none.

Exchange:

* ``match`` names the maker's side, so it is inverted; ``last_match`` is the past trade of a new
  subscription and carries ``replay``.
* ``ticker`` yields a quote only with all four fields (older ones have prices alone).
* Nothing numbers ``l2update``: a snapshot starts the book, what comes before it is passed over. A
  time before 1970 ("0001-01-01…") is none.

Both: a book that is crossed after a message has lost something: its line, then a gap.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .book import Book, Update, on_trusted
from .fields import (
    BadMessage,
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
from .fields import levels as read_levels
from .venue import Venue

Row = dict[str, Any]
INVERTED = {"buy": "sell", "sell": "buy"}
Action = Callable[[], list[Record]]


class Coinbase(Venue):
    """Advanced Trade: one numbering per connection, objects with a side as levels."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.counters: dict[str, int] = {}
        self.conn_of: dict[str, str] = {}

    def message(self, value: Any, ts_recv: int | None) -> list[Record]:
        """Records of one frame; every frame with a number counts, whatever its channel."""
        if not isinstance(value, dict) or not isinstance(value.get("channel"), str):
            return []
        sequence = integer(value.get("sequence_num"))
        actions: list[Action] = []
        if value["channel"] in ("l2_data", "market_trades", "ticker"):
            ts_event = ns_of_rfc3339(value.get("timestamp"))
            for event in rows_of(value.get("events")):
                actions += self._event(value["channel"], event, sequence, ts_event, ts_recv)
        if value["channel"] == "status":
            actions += self._products(value, ts_recv)
        lines = self._count(sequence, ts_recv)
        if lines is None:
            return []
        for action in actions:
            lines += action()
        return lines

    def count_unread(self, value: Any, ts_recv: int | None) -> list[Record] | None:
        if not isinstance(value, dict) or not isinstance(value.get("channel"), str):
            return []
        return self._count(integer(value.get("sequence_num")), ts_recv)

    def _products(self, value: Row, ts_recv: int | None) -> list[Action]:
        """What there is to say of products, once the frame is known to be new."""
        time = ns_of_rfc3339(value.get("timestamp"))
        rows = [
            row for event in rows_of(value.get("events")) for row in rows_of(event.get("products"))
        ]
        return [
            partial(
                self.states.say,
                f"{self.name}:{text(row.get('id'))}",
                row.get("status"),
                time,
                ts_recv,
            )
            for row in rows
        ]

    def _count(self, sequence: int | None, ts_recv: int | None) -> list[Record] | None:
        """The gap that this number shows, if any; None for a frame that came before."""
        if sequence is None:
            return []
        last = self.counters.get(self.conn)
        if last is not None and (0 < sequence <= last or sequence == last):
            return None
        self.counters[self.conn] = sequence
        if last is None or sequence == last + 1:
            return []
        lost = [
            book
            for name, book in self.books.items()
            if self.conn_of[name] == self.conn and book.state == "live"
        ]
        for book in lost:
            book.state = "gap"
        if sequence == 0 and not lost:
            return []
        gap = {"event": "gap", "expected": last + 1, "got": sequence}
        return [record("status", None, None, ts_recv, **gap)]

    def _event(
        self,
        channel: str,
        event: Row,
        sequence: int | None,
        ts_event: int | None,
        ts_recv: int | None,
    ) -> list[Action]:
        if channel == "l2_data":
            return [self._book(event, sequence, ts_event, ts_recv)]
        if channel == "market_trades":
            flags = ("replay",) if event.get("type") == "snapshot" else ()
            trades = [
                self._trade(row, sequence, flags, ts_recv) for row in rows_of(event.get("trades"))
            ]
            return [lambda: trades]
        quotes = []
        for row in rows_of(event.get("tickers")):
            sides = _sides(row, "quantity")
            if sides is None:
                continue
            name = f"{self.name}:{text(row.get('product_id'))}"
            quotes.append(record("quote", name, ts_event, ts_recv, sequence, **sides))
        return [lambda: quotes]

    def _book(
        self, event: Row, sequence: int | None, ts_event: int | None, ts_recv: int | None
    ) -> Action:
        name = f"{self.name}:{text(event.get('product_id'))}"
        source = (ts_event, ts_recv)
        update = Update(last=sequence, bids=[], asks=[], source=source, time=ts_event)
        sides = {"bid": update.bids, "offer": update.asks}
        for row in rows_of(event.get("updates")):
            if row.get("side") not in sides:
                raise BadMessage("a level without a side")
            level = (needed(row.get("price_level")), needed(row.get("new_quantity")))
            sides[row["side"]].append(level)
        is_snapshot = event.get("type") == "snapshot"

        def apply() -> list[Record]:
            book = self.books.setdefault(name, Book())
            self.conn_of[name] = self.conn
            out = on_trusted(book, update, is_snapshot)
            return book_records(name, out, ts_event, ts_recv)

        return apply

    def _trade(
        self, row: Row, sequence: int | None, flags: tuple[str, ...], ts_recv: int | None
    ) -> Record:
        return record(
            "trade",
            f"{self.name}:{text(row.get('product_id'))}",
            ns_of_rfc3339(row.get("time")),
            ts_recv,
            sequence,
            flags,
            channel="market_trades",
            price=needed(row.get("price")),
            size=needed(row.get("size")),
            side=INVERTED.get(str(row.get("side")).lower(), "unknown"),
            trade_id=str(row.get("trade_id") or ""),
        )


class CoinbaseExchange(Venue):
    """Exchange: ``type`` says what a message is; books have neither number nor checksum."""

    def message(self, value: Any, ts_recv: int | None) -> list[Record]:
        """Records of one frame; acks, heartbeats, orders and errors yield none."""
        kind = value.get("type") if isinstance(value, dict) else None
        if kind in ("snapshot", "l2update"):
            return self._book(value, kind == "snapshot", ts_recv)
        if kind in ("match", "last_match"):
            return [self._trade(value, kind == "last_match", ts_recv)]
        if kind == "ticker":
            return self._ticker(value, ts_recv)
        if kind == "status":
            return [
                line for row in rows_of(value.get("products")) for line in self._state(row, ts_recv)
            ]
        return []

    def _state(self, row: Row, ts_recv: int | None) -> list[Record]:
        flags = ("trading_disabled", "cancel_only", "auction_mode")
        stopped = row.get("status") == "online" and any(row.get(flag) is True for flag in flags)
        name = f"{self.name}:{text(row.get('id'))}"
        return self.states.say(
            name, row.get("status"), None, ts_recv, "halted" if stopped else None
        )

    def _instrument(self, value: Row) -> str:
        return f"{self.name}:{text(value.get('product_id'))}"

    def _book(self, value: Row, is_snapshot: bool, ts_recv: int | None) -> list[Record]:
        name = self._instrument(value)
        ts_event = ns_of_rfc3339(value.get("time"))
        source = (ts_event, ts_recv)
        update = Update(last=None, bids=[], asks=[], source=source, time=ts_event)
        if is_snapshot:
            update.bids = read_levels(value.get("bids"), 0, 1)
            update.asks = read_levels(value.get("asks"), 0, 1)
        else:
            sides = {"buy": update.bids, "sell": update.asks}
            changes = value.get("changes")
            found = read_levels(changes, 1, 2)
            for change, level in zip(changes or [], found, strict=True):
                if change[0] not in sides:
                    raise BadMessage("a change without a side")
                sides[change[0]].append(level)
        out = on_trusted(self.books.setdefault(name, Book()), update, is_snapshot)
        return book_records(name, out, ts_event, ts_recv)

    def _trade(self, value: Row, is_past: bool, ts_recv: int | None) -> Record:
        identity = value.get("trade_id")
        return record(
            "trade",
            self._instrument(value),
            ns_of_rfc3339(value.get("time")),
            ts_recv,
            integer(value.get("sequence")),
            ("replay",) if is_past else (),
            channel="matches",
            price=needed(value.get("price")),
            size=needed(value.get("size")),
            side=INVERTED.get(str(value.get("side")), "unknown"),
            trade_id="" if identity is None else str(identity),
        )

    def _ticker(self, value: Row, ts_recv: int | None) -> list[Record]:
        sides = _sides(value, "size")
        if sides is None:
            return []
        ts_event = ns_of_rfc3339(value.get("time"))
        sequence = integer(value.get("sequence"))
        return [record("quote", self._instrument(value), ts_event, ts_recv, sequence, **sides)]


def _sides(row: Row, size: str) -> dict[str, Any] | None:
    """Best bid and ask of a ticker, None when one of the four fields is not there."""
    if not {"best_bid", f"best_bid_{size}", "best_ask", f"best_ask_{size}"} <= row.keys():
        return None
    sides: dict[str, Any] = {}
    for side in ("bid", "ask"):
        price, amount = number(row[f"best_{side}"]), number(row[f"best_{side}_{size}"])
        sides |= quote_side(side, price, amount)
    return sides
