"""Bitget, both families and both forms: v2 (``arg.channel``/``arg.instId``) and v3
(``arg.topic``/``arg.symbol``), after its documentation.

Where the documents are silent:

* Frames of the other family (``instType``) on a shared socket are passed over.
* ``action`` alone marks a snapshot. An update with ``pseq`` 0 that does not link is a gap like any
  other: replacing the book by the few levels of a delta would be silently wrong.
* The first update after a snapshot may reach back before it (v3: ``pseq <= seq of the snapshot``);
  one that ends at or before the snapshot is old.
* Books without numbers (2024) are applied as they come and rely on their checksum. A message whose
  checksum does not fit yields no line: the book is not what the venue says.
* A public liquidation's side is the order's side as sent; it has no id.
"""

from __future__ import annotations

from typing import Any

from . import checksums
from .book import Book, Output, Update, check, on_unnumbered, on_window, owns
from .fields import (
    Record,
    book_records,
    integer,
    levels,
    needed,
    ns_of_ms,
    number,
    present,
    record,
    rows_of,
)
from .followed import LINK, on_followed
from .venue import Venue
from .wire import lower_side, symbol_of, touch

RANKS = {"books": 1, "books50": 2, "books15": 3, "books5": 4}
TRADES = ("trade", "publicTrade")
CHECKED_DEPTH = 25
V2_TRADE = ("price", "size", "side", "tradeId")
V3_TRADE = ("p", "v", "S", "i")


class Bitget(Venue):
    """Books link by ``pseq``; ``books1`` is the best-bid/offer channel."""

    texts = frozenset({b"pong"})

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.is_spot = name == "bitget_spot"
        self.fresh: set[str] = set()  # books with nothing but the snapshot so far
        self.quote_ids: dict[str, int] = {}

    def message(self, value: Any, ts_recv: int | None) -> list[Record]:
        """Records of one frame; acks and errors are marked by ``event``."""
        if not isinstance(value, dict) or "event" in value:
            return []
        arg = value.get("arg")
        if not isinstance(arg, dict) or not self._is_ours(arg.get("instType")):
            return []
        channel = arg.get("channel", arg.get("topic"))
        if channel == "liquidation":
            return [self._liquidation(row, ts_recv) for row in rows_of(value.get("data"))]
        if channel not in ("books1", "ticker", *TRADES, *RANKS):
            return []
        name = f"{self.name}:{symbol_of(arg, 'instId' if 'instId' in arg else 'symbol')}"
        is_snapshot = value.get("action") == "snapshot"
        out: list[Record] = []
        rows = rows_of(value.get("data"))
        if channel in RANKS:
            for row in rows:  # a message is all or nothing: refuse it before anything changes
                _update(row, (integer(row.get("checksum")), None))
        for row in rows:
            ts_event = ns_of_ms(row.get("ts") or row.get("T") or value.get("ts"))
            if channel in TRADES:
                out.append(_trade(name, row, is_snapshot, ts_event, ts_recv))
            elif channel == "ticker":
                out += _ticker(name, row, ts_event, ts_recv)
            elif channel == "books1":
                out += self._quote(name, row, ts_event, ts_recv)
            else:
                book = self.books.setdefault(name, Book())
                if owns(book, RANKS[channel], channel):
                    update = _update(row, (ts_event, ts_recv))
                    if channel == "books":
                        did = self._on_books(name, update, is_snapshot, row)
                    else:
                        did = on_window(book, update)
                    out += book_records(name, did, ts_event, ts_recv)
        return out

    def _is_ours(self, family: Any) -> bool:
        return family is None or (str(family).lower() in ("spot", "sp")) == self.is_spot

    def _on_books(
        self, name: str, update: Update, is_snapshot: bool, row: dict[str, Any]
    ) -> Output:
        """``pseq`` names the ``seq`` before; then the checksum, where there is one."""
        book = self.books[name]
        if update.last is None:
            out = on_unnumbered(book, update, is_snapshot)
        elif not is_snapshot and name in self.fresh and _overlaps(book, update):
            out = book.apply(update)
        else:
            out = on_followed(book, update, is_snapshot, LINK)
        if book.applied is not update:
            return out
        if is_snapshot:
            self.fresh.add(name)
        else:
            self.fresh.discard(name)
        said = integer(row.get("checksum")) or None
        return check(book, out, said, checksums.interleaved(book, CHECKED_DEPTH))

    def _quote(
        self, name: str, row: dict[str, Any], ts_event: int | None, ts_recv: int | None
    ) -> list[Record]:
        sequence = integer(row.get("seq"))
        if sequence is not None:
            if sequence <= self.quote_ids.get(name, -1):
                return []  # the same update again, from another line
            self.quote_ids[name] = sequence
        update = _update(row, (None, None))
        best = [side[0] if side else (None, None) for side in (update.bids, update.asks)]
        return [record("quote", name, ts_event, ts_recv, sequence, **touch(*best[0], *best[1]))]

    def _liquidation(self, row: dict[str, Any], ts_recv: int | None) -> Record:
        return record(
            "liquidation",
            f"{self.name}:{symbol_of(row, 'symbol')}",
            ns_of_ms(row.get("ts")),
            ts_recv,
            price=needed(row.get("price")),
            size=needed(row.get("amount")),
            side=lower_side(row.get("side")),
            trade_id="",
        )


def _update(row: dict[str, Any], source: Any) -> Update:
    return Update(
        last=integer(row.get("seq")),
        prev=integer(row.get("pseq")),
        bids=levels(row.get("bids", row.get("b")), 0, 1),
        asks=levels(row.get("asks", row.get("a")), 0, 1),
        source=source,
        time=source[0],
    )


def _overlaps(book: Book, update: Update) -> bool:
    """An update that starts before the book's number and ends behind it."""
    if book.state != "live" or None in (book.sequence, update.last, update.prev):
        return False
    assert update.prev is not None
    assert update.last is not None
    assert book.sequence is not None
    return update.prev <= book.sequence < update.last


def _trade(
    name: str, row: dict[str, Any], is_replay: bool, ts_event: int | None, ts_recv: int | None
) -> Record:
    price, size, side, identity = V3_TRADE if "p" in row else V2_TRADE
    return record(
        "trade",
        name,
        ts_event,
        ts_recv,
        None,
        ("replay",) if is_replay else (),
        price=needed(row.get(price)),
        size=needed(row.get(size)),
        side=lower_side(row.get(side)),
        trade_id=str(row.get(identity) or ""),
    )


def _ticker(
    name: str, row: dict[str, Any], ts_event: int | None, ts_recv: int | None
) -> list[Record]:
    deriv = present(
        mark=number(row.get("markPrice")),
        index=number(row.get("indexPrice")),
        last=number(row.get("lastPr", row.get("lastPrice"))),
        open_interest=number(row.get("holdingAmount", row.get("openInterest"))),
        funding_rate=number(row.get("fundingRate")),
        next_funding=ns_of_ms(row.get("nextFundingTime")),
    )
    return [record("deriv", name, ts_event, ts_recv, **deriv)] if deriv else []
