"""Kraken Derivatives (futures.kraken.com, ws/v1), after its documentation.

Where the documents are silent:

* A level of size zero in a snapshot is no level: the line does not show it.
* ``termination`` and ``fill`` set no flag; ``liquidation`` and ``block`` set theirs.
* ``relative_funding_rate`` is the fraction for the venue's hour; the absolute ``funding_rate`` of
  the same ticker is left alone, also where an old ticker has only that one.
* A ticker that names a next funding of 0 names none. A ticker with sizes is a quote too (the venue
  has no best-bid/offer channel); one without (``ticker_lite``) is not.
* What is not newer than a live book by ``seq`` and by time is a repetition, snapshots too. Deltas
  before the first snapshot are not applied, but a hole among them is a gap.
"""

from __future__ import annotations

from typing import Any

from .book import Book, Update
from .fields import (
    BadMessage,
    Record,
    book_records,
    integer,
    needed,
    needed_integer,
    nonzero,
    ns_of_ms,
    number,
    present,
    record,
    rows_of,
)
from .followed import COUNT, on_followed
from .venue import Venue
from .wire import lower_side, symbol_of, touch

FLAGS = {"liquidation": ("liquidation",), "block": ("block",)}


GREEKS = ("delta", "gamma", "vega", "theta", "rho")


class KrakenFutures(Venue):
    """Books count ``seq`` by one per product; snapshots come in feeds of their own name."""

    def message(self, value: Any, ts_recv: int | None) -> list[Record]:
        """Records of one frame; acks carry the feed's name too, but also an ``event``."""
        if not isinstance(value, dict) or "event" in value:
            return []
        feed = value.get("feed")
        if feed == "book_snapshot":
            return self._snapshot(value, ts_recv)
        if feed == "book":
            return self._delta(value, ts_recv)
        if feed == "trade":
            return [self._trade(value, (), ts_recv)]
        if feed == "trade_snapshot":
            return [self._trade(row, ("replay",), ts_recv) for row in rows_of(value.get("trades"))]
        if feed in ("ticker", "ticker_lite"):
            return self._ticker(value, feed == "ticker", ts_recv)
        return []

    def _instrument(self, row: dict[str, Any]) -> str:
        return f"{self.name}:{symbol_of(row, 'product_id')}"

    def _snapshot(self, value: dict[str, Any], ts_recv: int | None) -> list[Record]:
        sides = []
        for side in ("bids", "asks"):
            pairs = [(needed(r.get("price")), needed(r.get("qty"))) for r in rows_of(value[side])]
            sides.append([pair for pair in pairs if pair[1]])
        return self._apply(value, sides[0], sides[1], True, ts_recv)

    def _delta(self, value: dict[str, Any], ts_recv: int | None) -> list[Record]:
        level = [(needed(value.get("price")), needed(value.get("qty")))]
        side = value.get("side")
        if side not in ("buy", "sell"):
            raise BadMessage(f"{side!r} is no side")
        bids, asks = (level, []) if side == "buy" else ([], level)
        return self._apply(value, bids, asks, False, ts_recv)

    def _apply(
        self, value: dict[str, Any], bids: Any, asks: Any, is_snapshot: bool, ts_recv: int | None
    ) -> list[Record]:
        name = self._instrument(value)
        ts_event = ns_of_ms(value.get("timestamp"))
        update = Update(
            last=needed_integer(value.get("seq")),
            bids=bids,
            asks=asks,
            source=(ts_event, ts_recv),
            time=ts_event,
        )
        out = on_followed(self.books.setdefault(name, Book()), update, is_snapshot, COUNT)
        return book_records(name, out, ts_event, ts_recv)

    def _trade(self, row: dict[str, Any], flags: tuple[str, ...], ts_recv: int | None) -> Record:
        return record(
            "trade",
            self._instrument(row),
            ns_of_ms(row.get("time")),
            ts_recv,
            integer(row.get("seq")),
            flags + FLAGS.get(str(row.get("type")), ()),
            price=needed(row.get("price")),
            size=needed(row.get("qty")),
            side=lower_side(row.get("side")),
            trade_id=str(row.get("uid") or ""),
        )

    def _ticker(self, value: dict[str, Any], has_sizes: bool, ts_recv: int | None) -> list[Record]:
        name = self._instrument(value)
        ts_event = ns_of_ms(value.get("time"))
        deriv = present(
            mark=number(value.get("markPrice")),
            index=number(value.get("index")),
            last=number(value.get("last")),
            open_interest=number(value.get("openInterest")),
            funding_rate=number(value.get("relative_funding_rate")),
            predicted_funding=number(value.get("relative_funding_rate_prediction")),
            next_funding=ns_of_ms(value.get("next_funding_rate_time")),
        )
        out = [record("deriv", name, ts_event, ts_recv, **deriv)] if deriv else []
        source = value.get("greeks")
        if isinstance(source, dict):
            greeks = {key: number(source.get(key)) for key in GREEKS}
            values = present(**greeks, mark_iv=nonzero(number(source.get("iv"))))
            out += [record("greeks", name, ts_event, ts_recv, **values)] if values else []
        if has_sizes:
            sides = touch(
                value.get("bid"), value.get("bid_size"), value.get("ask"), value.get("ask_size")
            )
            out.append(record("quote", name, ts_event, ts_recv, **sides))
        return [*out, *self.states.say(name, value.get("suspended"), ts_event, ts_recv)]
