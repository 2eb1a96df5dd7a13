"""OKX v5, after its documentation.

Decisions where the documents leave room:

* Books of one instrument can come on ``books-l2-tbt``, ``books``, ``books50-l2-tbt`` and
  ``books5``: the first stream seen feeds the book, until one that stands earlier in this list
  comes; then the book waits for that stream's snapshot. ``books-elp`` and ``books-rpi`` hold
  orders that only some may take: another book, passed over, like spreads (``sprd-``).
* ``prevSeqId`` equal to the book's number: apply, whether ``seqId`` went up, stayed (keep-alive,
  no line) or went down (reset). Otherwise a message whose number *and* time are not newer is a
  repeat, and anything else is a gap. The same decides about a repeated snapshot. Only a message
  with ``prevSeqId`` -1, or ``action`` "snapshot", is a snapshot.
* While the first snapshot is awaited the links are watched too: one missing delta is one gap.
* Recordings from before ``seqId`` existed have the checksum only. It is checked on each message of
  a live book when present and not 0, also on empty ones. A message that fails yields one
  ``checksum`` and no line; nothing more comes until a snapshot.
* ``tickers`` give ``last`` only: best bid and offer have a channel, ``bbo-tbt``.
* Greeks are the Black-Scholes set (``deltaBS`` and so on); volatilities 0 and "" are absent.
* ``liquidation-orders``: price is the bankruptcy price, ``side`` that of the liquidation order.
* ``trades`` begins with the last trade, which nothing marks: older than a second it carries
  ``replay``.
* ``trades``, ``trades-all`` and ``option-trades`` have ids of their own: a subscriber to two gets
  both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import checksums
from .book import Book, Output, Update, check, on_unnumbered, on_window, owns
from .fields import (
    Record,
    book_records,
    integer,
    levels,
    needed,
    nonzero,
    ns_of_ms,
    number,
    present,
    quote_side,
    record,
    rows_of,
    text,
)
from .followed import LINK, on_followed
from .venue import Venue

Row = dict[str, Any]
RANKS = {"books-l2-tbt": 1, "books": 2, "books50-l2-tbt": 3, "books5": 4}
TRADES = ("trades", "trades-all", "option-trades")


class Okx(Venue):
    """Books link by ``prevSeqId``; every value but the sequence numbers is a text."""

    texts = frozenset({b"pong"})

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.quotes: dict[str, int] = {}

    def message(self, value: Any, ts_recv: int | None) -> list[Record]:
        """Records of one frame; acks, errors, notices and other channels yield none."""
        arg = value.get("arg") if isinstance(value, dict) else None
        if not isinstance(arg, dict) or "event" in value or "data" not in value:
            return []
        channel = arg.get("channel")
        if channel in RANKS:
            updates = [
                self._update(channel, arg, value.get("action"), row, ts_recv)
                for row in rows_of(value["data"])
            ]
            return [line for apply in updates for line in apply()]
        if channel in TRADES:
            trades = [self._trade(channel, row, arg, ts_recv) for row in rows_of(value["data"])]
            return self.with_past(channel, trades) if channel == "trades" else trades
        if channel == "bbo-tbt":
            quotes = [self._quote(row, arg, ts_recv) for row in rows_of(value["data"])]
            return [quote for quote in quotes if self._is_new(quote)]
        if channel == "liquidation-orders":
            return [
                line for row in rows_of(value["data"]) for line in self._liquidations(row, ts_recv)
            ]
        if channel == "instruments":
            return [
                line
                for row in rows_of(value["data"])
                for line in self.states.say(
                    self._instrument(row, arg), row.get("state"), None, ts_recv
                )
            ]
        if channel in READERS:
            kind, read = READERS[channel]
            lines = []
            for row in rows_of(value["data"]):
                fields = present(**read(row))
                if fields:
                    name = self._instrument(row, arg)
                    lines.append(record(kind, name, ns_of_ms(row.get("ts")), ts_recv, **fields))
            return lines
        return []

    def _instrument(self, row: Row, arg: Row) -> str:
        return f"{self.name}:{text(row.get('instId', arg.get('instId')))}"

    def _update(
        self, channel: str, arg: Row, action: Any, row: Row, ts_recv: int | None
    ) -> Callable[[], list[Record]]:
        """Read one book message; calling the result applies it."""
        name = self._instrument(row, arg)
        ts_event = ns_of_ms(row.get("ts"))
        update = Update(
            last=integer(row.get("seqId")),
            prev=integer(row.get("prevSeqId")),
            bids=levels(row.get("bids"), 0, 1),
            asks=levels(row.get("asks"), 0, 1),
            source=(ts_event, ts_recv),
            time=ts_event,
        )
        checksum = integer(row.get("checksum")) or None

        def apply() -> list[Record]:
            book = self.books.setdefault(name, Book())
            if not owns(book, RANKS[channel], channel):
                return []
            if channel == "books5":
                out = on_window(book, update)
            else:
                is_snapshot = action == "snapshot" or update.prev == -1
                out = _on_chain(book, update, is_snapshot)
                if book.applied is update:
                    out = check(book, out, checksum, checksums.interleaved(book, 25))
            return book_records(name, out, ts_event, ts_recv)

        return apply

    def _trade(self, channel: str, row: Row, arg: Row, ts_recv: int | None) -> Record:
        side = row.get("side")
        return record(
            "trade",
            self._instrument(row, arg),
            ns_of_ms(row.get("ts")),
            ts_recv,
            integer(row.get("seqId")),
            channel=channel,
            price=needed(row.get("px")),
            size=needed(row.get("sz")),
            side=side if side in ("buy", "sell") else "unknown",
            trade_id=str(row.get("tradeId") or ""),
        )

    def _quote(self, row: Row, arg: Row, ts_recv: int | None) -> Record:
        sides: dict[str, Any] = {}
        for prefix, key in (("bid", "bids"), ("ask", "asks")):
            found = levels(row.get(key), 0, 1)
            sides |= quote_side(prefix, *(found[0] if found else (None, None)))
        return record(
            "quote",
            self._instrument(row, arg),
            ns_of_ms(row.get("ts")),
            ts_recv,
            integer(row.get("seqId")),
            **sides,
        )

    def _is_new(self, quote: Record) -> bool:
        sequence, name = quote["sequence"], quote["instrument"]
        if sequence is not None:
            if sequence <= self.quotes.get(name, -1):
                return False
            self.quotes[name] = sequence
        return True

    def _liquidations(self, row: Row, ts_recv: int | None) -> list[Record]:
        name = self._instrument(row, {})
        lines = []
        for detail in rows_of(row.get("details")):
            side = detail.get("side")
            lines.append(
                record(
                    "liquidation",
                    name,
                    ns_of_ms(detail.get("ts")),
                    ts_recv,
                    price=needed(detail.get("bkPx")),
                    size=needed(detail.get("sz")),
                    side=side if side in ("buy", "sell") else "unknown",
                    trade_id="",
                )
            )
        return lines


def _on_chain(book: Book, update: Update, is_snapshot: bool) -> Output:
    if update.last is None:
        return on_unnumbered(book, update, is_snapshot)
    return on_followed(book, update, is_snapshot, LINK)


def _funding(row: Row) -> dict[str, Any]:
    return {
        "funding_rate": number(row.get("fundingRate")),
        "predicted_funding": number(row.get("nextFundingRate")),
        "next_funding": ns_of_ms(row.get("fundingTime")),
    }


def _option(row: Row) -> dict[str, Any]:
    return {
        "delta": number(row.get("deltaBS")),
        "gamma": number(row.get("gammaBS")),
        "vega": number(row.get("vegaBS")),
        "theta": number(row.get("thetaBS")),
        "mark_iv": nonzero(number(row.get("markVol"))),
        "bid_iv": nonzero(number(row.get("bidVol"))),
        "ask_iv": nonzero(number(row.get("askVol"))),
        "underlying": number(row.get("fwdPx")),
    }


def _one(field: str, key: str) -> Callable[[Row], dict[str, Any]]:
    return lambda row: {field: number(row.get(key))}


READERS: dict[str, tuple[str, Callable[[Row], dict[str, Any]]]] = {
    "tickers": ("deriv", _one("last", "last")),
    "mark-price": ("deriv", _one("mark", "markPx")),
    "index-tickers": ("deriv", _one("index", "idxPx")),
    "open-interest": ("deriv", _one("open_interest", "oi")),
    "estimated-price": ("deriv", _one("settlement", "settlePx")),
    "funding-rate": ("deriv", _funding),
    "opt-summary": ("greeks", _option),
}
