"""Hyperliquid, after its documentation.

Where the documents are silent:

* Every ``l2Book`` is the whole book. The venue numbers nothing, so a line's ``sequence`` is null;
  the block time never goes back: a book that is older than the last one, or the same once more
  (levels and time), is silent.
* The first ``trades`` frame repeats recent trades without a mark: those older than a second carry
  ``replay``.
* ``activeAssetCtx`` has no time. ``midPx`` is no field of ours.
"""

from __future__ import annotations

from typing import Any

from .book import Book, Update, on_window
from .fields import (
    BadMessage,
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
from .venue import Venue
from .wire import symbol_of, touch

SIDES = {"B": "buy", "A": "sell"}


class Hyperliquid(Venue):
    """Whole books, quotes and trades by ``channel``; the coin stands in the data."""

    def message(self, value: Any, ts_recv: int | None) -> list[Record]:
        """Records of one frame; acks, pongs, errors and other channels yield none."""
        if not isinstance(value, dict):
            return []
        channel, data = value.get("channel"), value.get("data")
        if channel == "trades":
            return self.with_past(channel, [self._trade(row, ts_recv) for row in rows_of(data)])
        if channel not in ("l2Book", "bbo", "activeAssetCtx", "activeSpotAssetCtx"):
            return []
        name = f"{self.name}:{symbol_of(data, 'coin')}"
        assert isinstance(data, dict)
        if channel == "l2Book":
            return self._book(name, data, ts_recv)
        if channel == "bbo":
            return self._quote(name, data, ts_recv)
        return self._context(name, data, channel == "activeSpotAssetCtx", ts_recv)

    def _book(self, name: str, data: dict[str, Any], ts_recv: int | None) -> list[Record]:
        sides = data.get("levels")
        if not isinstance(sides, list) or len(sides) != 2:
            raise BadMessage("levels are not two lists")
        ts_event = ns_of_ms(data.get("time"))
        update = Update(
            last=None,
            bids=levels(sides[0], "px", "sz"),
            asks=levels(sides[1], "px", "sz"),
            source=(ts_event, ts_recv),
            time=ts_event,
        )
        out = on_window(self.books.setdefault(name, Book()), update)
        return book_records(name, out, ts_event, ts_recv)

    def _quote(self, name: str, data: dict[str, Any], ts_recv: int | None) -> list[Record]:
        pair = data.get("bbo")
        if not isinstance(pair, list):
            raise BadMessage("bbo is not a list")
        ends = [side or {} for side in (*pair, None, None)[:2]]
        sides = touch(ends[0].get("px"), ends[0].get("sz"), ends[1].get("px"), ends[1].get("sz"))
        return [record("quote", name, ns_of_ms(data.get("time")), ts_recv, **sides)]

    def _context(
        self, name: str, data: dict[str, Any], is_spot: bool, ts_recv: int | None
    ) -> list[Record]:
        context = data.get("ctx")
        if not isinstance(context, dict):
            raise BadMessage("no ctx")
        if is_spot:
            context = {"markPx": context.get("markPx")}
        deriv = present(
            mark=number(context.get("markPx")),
            index=number(context.get("oraclePx")),
            open_interest=number(context.get("openInterest")),
            funding_rate=number(context.get("funding")),
        )
        return [record("deriv", name, None, ts_recv, **deriv)] if deriv else []

    def _trade(self, row: dict[str, Any], ts_recv: int | None) -> Record:
        identity = integer(row.get("tid"))
        return record(
            "trade",
            f"{self.name}:{symbol_of(row, 'coin')}",
            ns_of_ms(row.get("time")),
            ts_recv,
            price=needed(row.get("px")),
            size=needed(row.get("sz")),
            side=SIDES.get(str(row.get("side")), "unknown"),
            trade_id="" if identity is None else str(identity),
        )
