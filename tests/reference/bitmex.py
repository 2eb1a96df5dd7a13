"""BitMEX, after its documentation.

Where the documents are silent:

* One book line per instrument and message; its time is the ``timestamp`` of the first of its rows
  (older rows have none). Rows are applied in their order.
* A partial without rows names its instrument in ``filter``: that book is empty, and live.
* The id of a level stands for a price. A row that brings another price for a known id moves the
  level. An update or delete of an unknown id means that something was lost: a gap for that
  instrument until the next partial, and no line for this message. So does a best bid that reaches
  the best ask after a message, which has its line.
* A ``quote`` or ``funding`` partial is the present state and yields records like an insert; a
  ``trade`` partial is past trades. Only an *inserted* liquidation order is a liquidation: later
  messages change or remove it. Its id is the order's.
* ``orderBook10`` is the whole window, whatever the action; an absent side is an empty one.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from .book import Book, Levels, Update, on_trusted, on_window, owns
from .fields import (
    BadMessage,
    Record,
    book_records,
    levels,
    needed,
    needed_integer,
    ns_of_rfc3339,
    number,
    present,
    record,
    rows_of,
)
from .venue import Venue
from .wire import lower_side, symbol_of, touch

Key = tuple[int, str]  # id and side; the id alone may stand on both sides over time
SIDES = {"Buy": "bids", "Sell": "asks"}


RANKS = {"orderBookL2": 1, "orderBookL2_25": 2, "orderBook10": 3}


class BitMEX(Venue):
    """Tables of keyed rows: a level is known by (symbol, id, side), its price by the id."""

    texts = frozenset({b"pong"})

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.prices: dict[str, dict[Key, Decimal]] = {}

    def message(self, value: Any, ts_recv: int | None) -> list[Record]:
        """Records of one frame; the welcome, acks, errors and other tables yield none."""
        if not isinstance(value, dict) or "table" not in value:
            return []
        table, action = value["table"], value.get("action")
        if table in ("orderBookL2", "orderBookL2_25"):
            return self._keyed(value, action, ts_recv)
        makers = {
            "trade": self._trade,
            "quote": self._quote,
            "instrument": self._instrument_patch,
            "funding": self._funding,
            "settlement": self._settlement,
            "liquidation": self._liquidation,
            "orderBook10": self._window,
        }
        make = makers.get(table)
        if make is None or action not in ("partial", "insert", "update", "delete"):
            return []
        return [
            line for row in rows_of(value.get("data")) for line in make(row, str(action), ts_recv)
        ]

    def _instrument(self, row: dict[str, Any]) -> str:
        return f"{self.name}:{symbol_of(row, 'symbol')}"

    def _keyed(self, value: dict[str, Any], action: Any, ts_recv: int | None) -> list[Record]:
        if action not in ("partial", "insert", "update", "delete"):
            return []
        table = str(value["table"])
        groups: dict[str, list[dict[str, Any]]] = {}
        for row in rows_of(value.get("data")):
            _check(row, action)
            groups.setdefault(self._instrument(row), []).append(row)
        only = value.get("filter")
        if action == "partial" and not groups and isinstance(only, dict) and "symbol" in only:
            groups[self._instrument(only)] = []
        out: list[Record] = []
        for name, rows in groups.items():
            ts_event = ns_of_rfc3339(rows[0].get("timestamp")) if rows else None
            if not owns(self.books.setdefault(name, Book()), RANKS[table], table):
                continue
            did = self._on_rows(name, rows, action, (ts_event, ts_recv))
            out += book_records(name, did, ts_event, ts_recv)
        return out

    def _on_rows(self, name: str, rows: list[dict[str, Any]], action: str, source: Any) -> Any:
        book = self.books[name]
        is_partial = action == "partial"
        if not is_partial and book.state != "live":
            return []
        before = {} if is_partial else self.prices[name]
        changed: dict[Any, Decimal | None] = {}  # None: deleted
        sides: dict[str, Levels] = {"bids": [], "asks": []}
        for row in rows:
            key = (needed_integer(row["id"]), SIDES[row["side"]])
            known, price = changed.get(key, before.get(key)), number(row.get("price"))
            if action in ("update", "delete") and known is None:
                book.state = "gap"
                return [("gap", None, None)]
            if action == "delete":
                assert known is not None
                changed[key] = None
                sides[key[1]].append((known, Decimal(0)))
                if price is not None and price != known:
                    sides[key[1]].append((price, Decimal(0)))
                continue
            if price is None:
                price = known
            assert price is not None
            if known is not None and known != price:
                sides[key[1]].append((known, Decimal(0)))
            changed[key] = price
            sides[key[1]].append((price, needed(row.get("size"))))
        # The rows of a partial have the times of their levels, not that of the partial.
        update = Update(
            last=None,
            bids=sides["bids"],
            asks=sides["asks"],
            source=source,
            time=None if is_partial else source[0],
            stamp=source[0] if is_partial else None,
        )
        out = on_trusted(book, update, is_partial)
        if book.applied is update:
            self.prices[name] = before  # in place: a copy for each message takes longer than it
            for key, price in changed.items():
                if price is None:
                    before.pop(key, None)
                else:
                    before[key] = price
        return out

    def _window(self, row: dict[str, Any], action: str, ts_recv: int | None) -> list[Record]:
        if action == "delete":
            return []
        name = self._instrument(row)
        ts_event = ns_of_rfc3339(row.get("timestamp"))
        update = Update(
            last=None,
            bids=levels(row.get("bids"), 0, 1),
            asks=levels(row.get("asks"), 0, 1),
            source=(ts_event, ts_recv),
            time=ts_event,
        )
        book = self.books.setdefault(name, Book())
        out = on_window(book, update) if owns(book, RANKS["orderBook10"], "orderBook10") else []
        return book_records(name, out, ts_event, ts_recv)

    def _trade(self, row: dict[str, Any], action: str, ts_recv: int | None) -> list[Record]:
        if action not in ("partial", "insert"):
            return []
        return [
            record(
                "trade",
                self._instrument(row),
                ns_of_rfc3339(row.get("timestamp")),
                ts_recv,
                None,
                ("replay",) if action == "partial" else (),
                price=needed(row.get("price")),
                size=needed(row.get("size")),
                side=lower_side(row.get("side")),
                trade_id=str(row.get("trdMatchID") or ""),
            )
        ]

    def _quote(self, row: dict[str, Any], action: str, ts_recv: int | None) -> list[Record]:
        sides = touch(
            row.get("bidPrice"), row.get("bidSize"), row.get("askPrice"), row.get("askSize")
        )
        ts_event = ns_of_rfc3339(row.get("timestamp"))
        return [record("quote", self._instrument(row), ts_event, ts_recv, **sides)]

    def _instrument_patch(
        self, row: dict[str, Any], action: str, ts_recv: int | None
    ) -> list[Record]:
        deriv = present(
            mark=number(row.get("markPrice")),
            index=number(row.get("indicativeSettlePrice")),
            last=number(row.get("lastPrice")),
            open_interest=number(row.get("openInterest")),
            funding_rate=number(row.get("fundingRate")),
            predicted_funding=number(row.get("indicativeFundingRate")),
            next_funding=ns_of_rfc3339(row.get("fundingTimestamp")),
        )
        name, ts_event = self._instrument(row), ns_of_rfc3339(row.get("timestamp"))
        said = self.states.say(name, row.get("state"), ts_event, ts_recv)
        return [record("deriv", name, ts_event, ts_recv, **deriv), *said] if deriv else said

    def _funding(self, row: dict[str, Any], action: str, ts_recv: int | None) -> list[Record]:
        deriv = present(funding_rate=number(row.get("fundingRate")))
        name, ts_event = self._instrument(row), ns_of_rfc3339(row.get("timestamp"))
        return [record("deriv", name, ts_event, ts_recv, **deriv)] if deriv else []

    def _settlement(self, row: dict[str, Any], action: str, ts_recv: int | None) -> list[Record]:
        deriv = present(settlement=number(row.get("settledPrice")))
        name, ts_event = self._instrument(row), ns_of_rfc3339(row.get("timestamp"))
        return [record("deriv", name, ts_event, ts_recv, **deriv)] if deriv else []

    def _liquidation(self, row: dict[str, Any], action: str, ts_recv: int | None) -> list[Record]:
        if action != "insert":
            return []
        return [
            record(
                "liquidation",
                self._instrument(row),
                ns_of_rfc3339(row.get("timestamp")),
                ts_recv,
                price=needed(row.get("price")),
                size=needed(row.get("leavesQty")),
                side=lower_side(row.get("side")),
                trade_id=str(row.get("orderID") or ""),
            )
        ]


def _check(row: dict[str, Any], action: str) -> None:
    """Refuse a row that its action cannot be carried out with, before any row is applied."""
    needed_integer(row.get("id"))
    if row.get("side") not in SIDES:
        raise BadMessage(f"{row.get('side')!r} is no side")
    if action != "delete":
        needed(row.get("size"))
    if action in ("partial", "insert"):
        needed(row.get("price"))
