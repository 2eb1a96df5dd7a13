"""Bybit v5: spot, linear, inverse and option, one venue name each, after its documentation.

Decisions where the documents leave room:

* ``orderbook.1`` is the best bid and offer and yields quotes; the depths that the family has are
  books (500 was one until 2025). The first depth seen of an instrument feeds its book.
  ``orderbook.rpi`` is another book and passed over. A "delta" of depth 1 is a form of the past (the
  channel sends snapshots only): passed over, because half a quote would be a wrong one.
* ``orderbook.full`` (spot) has changes only, numbered by one each; its snapshot comes by REST. A
  new ``u`` of 1 means that it starts over: a gap.
* A snapshot always replaces, whatever its ``u`` (1: the service restarted); only one whose number
  *and* time are not newer than the live book's is a repeat. A delta follows at ``u`` + 1; one whose
  number and time are not newer is a repeat; anything else is a gap. While the first snapshot is
  awaited the numbers are watched too: one missing delta is one gap.
* A quote with the ``u`` of the last one is the venue's three-second repetition: silent.
* Times: ``cts`` where present, else ``ts``, for books and quotes; ``T`` for trades and
  liquidations; ``ts`` for tickers.
* ``allLiquidation``: ``S`` names the position ("Buy": a long was liquidated), so the side of the
  record, the liquidation order's, is the opposite.
* Options have no ``orderbook.1``: their tickers yield quotes; price 0 with size 0 is a missing
  side. Tickers of the other families yield ``deriv`` only, spot ones just ``last``. The predicted
  delivery price is not taken for a settlement price.
"""

from __future__ import annotations

from typing import Any

from .book import SPOT, Book, Output, Update, on_ranged, owns
from .fields import (
    BadMessage,
    Record,
    book_records,
    integer,
    levels,
    needed,
    needed_integer,
    nonzero,
    ns_of_ms,
    number,
    present,
    quote_side,
    record,
    rows_of,
    text,
)
from .followed import COUNT, on_followed
from .rows import frame_bytes
from .strict_json import BadJson, loads
from .venue import Venue

Row = dict[str, Any]
BOOKS = ("50", "200", "500", "1000")
DEPTHS = {"option": ("25", "100")}
SIDES = {"Buy": "buy", "Sell": "sell"}
OPPOSITE = {"Buy": "sell", "Sell": "buy"}
DERIVATIVE = {
    "mark": "markPrice",
    "index": "indexPrice",
    "last": "lastPrice",
    "open_interest": "openInterest",
    "funding_rate": "fundingRate",
}


class Bybit(Venue):
    """Books count ``u`` by one; snapshots come in the stream and again when the venue wants."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.family = name.removeprefix("bybit_")
        self.quotes: dict[str, tuple[int, int | None]] = {}
        self.answers: dict[str, list[Update]] = {}

    def load_rest(self, rows: list[dict[str, Any]]) -> None:
        """Keep every answer of ``full_orderbook``, by instrument, in order."""
        for row in rows:
            if row["dir"] != "rest":
                continue
            try:
                result = loads(frame_bytes(row))["result"]
                name, update = self._read({}, result, row.get("t"))
            except (AttributeError, BadJson, BadMessage, KeyError, TypeError):
                continue
            self.answers.setdefault(name, []).append(update)

    def message(self, value: Any, ts_recv: int | None) -> list[Record]:
        """Records of one frame, routed by ``topic``; acks, pongs and other topics yield none."""
        topic = value.get("topic") if isinstance(value, dict) else None
        if not isinstance(topic, str) or "data" not in value:
            return []
        channel, _, rest = topic.partition(".")
        data = value["data"]
        if channel == "orderbook":
            depth = rest.partition(".")[0]
            if depth == "1" and self.family != "option":
                return self._best(value, _object(data), ts_recv)
            if depth == "full" and self.family == "spot":
                return self._full(value, _object(data), ts_recv)
            if depth in DEPTHS.get(self.family, BOOKS):
                return self._book(topic, value, _object(data), ts_recv)
            return []
        if channel == "publicTrade":
            return [self._trade(row, ts_recv) for row in rows_of(data)]
        if channel == "tickers":
            return self._ticker(_object(data), ns_of_ms(value.get("ts")), ts_recv)
        if channel == "allLiquidation" and self.family in ("linear", "inverse"):
            return [self._liquidation(row, ts_recv) for row in rows_of(data)]
        return []

    def _instrument(self, row: Row, key: str) -> str:
        return f"{self.name}:{text(row.get(key))}"

    def _read(self, value: Row, data: Row, ts_recv: int | None) -> tuple[str, Update]:
        ts_event = ns_of_ms(value.get("cts", value.get("ts")))
        update = Update(
            last=needed_integer(data.get("u")),
            bids=levels(data.get("b"), 0, 1),
            asks=levels(data.get("a"), 0, 1),
            source=(ts_event, ts_recv),
            time=ts_event,
        )
        return self._instrument(data, "s"), update

    def _book(self, topic: str, value: Row, data: Row, ts_recv: int | None) -> list[Record]:
        name, update = self._read(value, data, ts_recv)
        book = self.books.setdefault(name, Book())
        if not owns(book, 1, topic):
            return []
        out = on_followed(book, update, value.get("type") == "snapshot", COUNT)
        return book_records(name, out, update.time, ts_recv)

    def _full(self, value: Row, data: Row, ts_recv: int | None) -> list[Record]:
        name, update = self._read(value, data, ts_recv)
        book = self.books.setdefault(name, Book())
        if not owns(book, 2, "full"):
            return []
        update.first = update.last
        out: Output = []
        starts = update.last in (0, 1) and book.time is not None and update.time is not None
        if starts and book.state == "live" and update.time > book.time:
            out, book.state = [("gap", (book.sequence or 0) + 1, update.last)], "gap"
            book.sequence = None
        else:
            out = on_ranged(book, update, SPOT, self.answers.get(name, []))
        return book_records(name, out, update.time, ts_recv)

    def _best(self, value: Row, data: Row, ts_recv: int | None) -> list[Record]:
        name, update = self._read(value, data, ts_recv)
        if value.get("type") != "snapshot":
            return []
        assert update.last is not None
        last, last_time = self.quotes.get(name, (-1, None))
        later = update.time is None or last_time is None or update.time > last_time
        if update.last == last or (update.last < last and not later):
            return []
        self.quotes[name] = (update.last, update.time)
        sides: dict[str, Any] = {}
        for prefix, found in (("bid", update.bids), ("ask", update.asks)):
            sides |= quote_side(prefix, *(found[0] if found else (None, None)))
        return [record("quote", name, update.time, ts_recv, update.last, **sides)]

    def _trade(self, row: Row, ts_recv: int | None) -> Record:
        return record(
            "trade",
            self._instrument(row, "s"),
            ns_of_ms(row.get("T")),
            ts_recv,
            integer(row.get("seq")),
            ("block",) if row.get("BT") is True else (),
            channel="publicTrade",
            price=needed(row.get("p")),
            size=needed(row.get("v")),
            side=SIDES.get(str(row.get("S")), "unknown"),
            trade_id=str(row.get("i") or ""),
        )

    def _liquidation(self, row: Row, ts_recv: int | None) -> Record:
        return record(
            "liquidation",
            self._instrument(row, "s"),
            ns_of_ms(row.get("T")),
            ts_recv,
            price=needed(row.get("p")),
            size=needed(row.get("v")),
            side=OPPOSITE.get(str(row.get("S")), "unknown"),
            trade_id="",
        )

    def _ticker(self, row: Row, ts_event: int | None, ts_recv: int | None) -> list[Record]:
        name = self._instrument(row, "symbol")
        wanted = {"last": "lastPrice"} if self.family == "spot" else DERIVATIVE
        deriv = present(**{field: number(row.get(key)) for field, key in wanted.items()})
        if self.family in ("linear", "inverse"):
            deriv |= present(next_funding=ns_of_ms(row.get("nextFundingTime")))
        out = [record("deriv", name, ts_event, ts_recv, **deriv)] if deriv else []
        if self.family == "option":
            greeks = present(
                **{key: number(row.get(key)) for key in ("delta", "gamma", "vega", "theta")},
                mark_iv=nonzero(number(row.get("markPriceIv"))),
                bid_iv=nonzero(number(row.get("bidIv"))),
                ask_iv=nonzero(number(row.get("askIv"))),
                underlying=number(row.get("underlyingPrice")),
                mark=number(row.get("markPrice")),
            )
            sides = quote_side("bid", number(row.get("bidPrice")), number(row.get("bidSize")))
            sides |= quote_side("ask", number(row.get("askPrice")), number(row.get("askSize")))
            out.append(record("greeks", name, ts_event, ts_recv, **greeks))
            out.append(record("quote", name, ts_event, ts_recv, **sides))
        return out


def _object(data: Any) -> Row:
    if not isinstance(data, dict):
        raise BadMessage("data is not an object")
    return data
