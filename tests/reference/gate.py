"""Gate (gate.io) spot and futures, API v4, after its documentation.

Where the documents are silent:

* Acks carry the channel of the data: only the events ``update`` and ``all`` without an error are
  data. ``futures.order_book`` with single levels (a list, before 2021) is a retired form.
* A whole-window book (``order_book``) may come without number: then every message replaces.
* ``order_book_update`` follows when ``U <= last + 1 <= u``, like its first delta.
* A trade without ``create_time_ms`` has its time in seconds. Tickers have no time of their own:
  the envelope's ``time_ms``, else ``time`` (s), is theirs.
* Spot tickers yield the last price only; best bid and offer have a channel of their own.
* A liquidation's side is the side of the order: a negative size sells. It has no id.
* A book ticker whose number is not beyond the last one is a repetition.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from .book import SPOT, Book, Update, on_ranged, on_window, owns
from .fields import (
    BadMessage,
    Record,
    book_records,
    integer,
    levels,
    needed,
    needed_integer,
    ns_of_ms,
    number,
    present,
    record,
    rows_of,
)
from .followed import Follow, on_followed
from .rows import Row, frame_bytes
from .strict_json import BadJson, loads
from .venue import Venue
from .wire import ns_of_s, symbol_of, touch

KINDS = {
    "trades",
    "tickers",
    "book_ticker",
    "public_liquidates",
    "contract_stats",
    "obu",
    "order_book_update",
    "order_book",
}


RANGE = Follow(expected=lambda last: last + 1, got=lambda update: update.first)
RANKS = {"obu": 1, "order_book_update": 2, "order_book": 3}


class Gate(Venue):
    """Two book streams: ``obu`` brings its snapshot, ``order_book_update`` needs REST."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.prefix = "spot." if name == "gate" else "futures."
        self.symbol_key = "currency_pair" if name == "gate" else "contract"
        self.quote_ids: dict[str, int] = {}

    def load_rest(self, rows: list[Row]) -> None:
        """Keep every depth body of the session, by instrument, in order."""
        only = self._only_symbol(rows)
        for row in rows:
            if row["dir"] != "rest":
                continue
            try:
                body = loads(frame_bytes(row))
                if not isinstance(body, dict) or "asks" not in body:
                    continue
                update = Update(
                    last=needed_integer(body.get("id")),
                    bids=_levels(body.get("bids")),
                    asks=_levels(body.get("asks")),
                    source=(None, row.get("t")),
                )
            except (BadJson, BadMessage):
                continue
            query = parse_qs(urlsplit(row.get("url") or "").query)
            symbol = query.get(self.symbol_key, [only])[0]
            if symbol:
                self.snapshots.setdefault(f"{self.name}:{symbol}", []).append(update)

    def _only_symbol(self, rows: list[Row]) -> str | None:
        symbols = set()
        for row in rows:
            if row["dir"] == "in":
                try:
                    value = loads(frame_bytes(row))
                except BadJson:
                    continue
                result = value.get("result") if isinstance(value, dict) else None
                for item in result if isinstance(result, list) else [result]:
                    for key in ("s", self.symbol_key):
                        if isinstance(item, dict) and isinstance(item.get(key), str):
                            symbols.add(_plain_symbol(item[key]))
        return symbols.pop() if len(symbols) == 1 else None

    def message(self, value: Any, ts_recv: int | None) -> list[Record]:
        """Records of one frame; acks, pongs, errors and other channels yield none."""
        if not isinstance(value, dict) or value.get("event") not in ("update", "all"):
            return []
        channel = value.get("channel")
        if value.get("error") or not isinstance(channel, str) or "result" not in value:
            return []
        if not channel.startswith(self.prefix):
            return []
        kind = channel.removeprefix(self.prefix)
        result = value["result"]
        if kind == "order_book" and isinstance(result, list):
            return []
        if kind not in KINDS:
            return []
        out: list[Record] = []
        for row in rows_of(result if isinstance(result, list) else [result]):
            if kind == "trades":
                out.append(self._trade(row, ts_recv))
            elif kind == "tickers":
                time = ns_of_ms(value.get("time_ms")) or ns_of_s(value.get("time"))
                out += self._ticker(row, time, ts_recv)
            elif kind == "book_ticker":
                out += self._quote(row, ts_recv)
            elif kind == "contract_stats":
                values = present(
                    mark=number(row.get("mark_price")),
                    open_interest=number(row.get("open_interest")),
                )
                name = f"{self.name}:{symbol_of(row, self.symbol_key)}"
                time = ns_of_s(row.get("time"))
                out += [record("deriv", name, time, ts_recv, **values)] if values else []
            elif kind == "public_liquidates":
                out.append(self._liquidation(row, ts_recv))
            else:
                out += self._book(kind, row, ts_recv)
        return out

    def _book(self, kind: str, row: dict[str, Any], ts_recv: int | None) -> list[Record]:
        ts_event = ns_of_ms(row.get("t"))
        source = (ts_event, ts_recv)
        if kind == "order_book":
            key = "s" if "s" in row else self.symbol_key
            update = Update(
                last=integer(row.get("lastUpdateId", row.get("id"))),
                bids=_levels(row.get("bids")),
                asks=_levels(row.get("asks")),
                source=source,
                time=ts_event,
            )
        else:
            key = "s"
            is_full = row.get("full") is True
            update = Update(
                last=needed_integer(row.get("u")),
                first=None if is_full else needed_integer(row.get("U")),
                time=ts_event,
                bids=_levels(row.get("b")),
                asks=_levels(row.get("a")),
                source=source,
            )
        name = f"{self.name}:{_plain_symbol(symbol_of(row, key))}"
        book = self.books.setdefault(name, Book())
        if not owns(book, RANKS[kind], kind):
            return []
        if kind == "order_book":
            out = on_window(book, update)
        elif kind == "obu":
            out = on_followed(book, update, is_full, RANGE)
        else:
            out = on_ranged(book, update, SPOT, self.snapshots.get(name, []))
        return book_records(name, out, ts_event, ts_recv)

    def _trade(self, row: dict[str, Any], ts_recv: int | None) -> Record:
        if self.name == "gate":
            size, side = needed(row.get("amount")), row.get("side")
        else:
            signed = needed(row.get("size"))
            size, side = abs(signed), "sell" if signed < 0 else "buy"
        identity = integer(row.get("id"))
        return record(
            "trade",
            f"{self.name}:{symbol_of(row, self.symbol_key)}",
            ns_of_ms(row.get("create_time_ms")) or ns_of_s(row.get("create_time")),
            ts_recv,
            price=needed(row.get("price")),
            size=size,
            side=side if side in ("buy", "sell") else "unknown",
            trade_id="" if identity is None else str(identity),
        )

    def _liquidation(self, row: dict[str, Any], ts_recv: int | None) -> Record:
        signed = needed(row.get("size"))
        return record(
            "liquidation",
            f"{self.name}:{symbol_of(row, self.symbol_key)}",
            ns_of_ms(row.get("time_ms")) or ns_of_s(row.get("time")),
            ts_recv,
            price=needed(row.get("price")),
            size=abs(signed),
            side="sell" if signed < 0 else "buy",
            trade_id="",
        )

    def _quote(self, row: dict[str, Any], ts_recv: int | None) -> list[Record]:
        name = f"{self.name}:{symbol_of(row, 's')}"
        sequence = integer(row.get("u"))
        if sequence is not None:
            if sequence <= self.quote_ids.get(name, -1):
                return []
            self.quote_ids[name] = sequence
        sides = touch(row.get("b"), row.get("B"), row.get("a"), row.get("A"))
        return [record("quote", name, ns_of_ms(row.get("t")), ts_recv, sequence, **sides)]

    def _ticker(
        self, row: dict[str, Any], ts_event: int | None, ts_recv: int | None
    ) -> list[Record]:
        name = f"{self.name}:{symbol_of(row, self.symbol_key)}"
        deriv = present(
            mark=number(row.get("mark_price")),
            index=number(row.get("index_price")),
            last=number(row.get("last")),
            open_interest=number(row.get("total_size")),
            funding_rate=number(row.get("funding_rate")),
            predicted_funding=number(row.get("funding_rate_indicative")),
            next_funding=ns_of_s(row.get("funding_next_apply")),
        )
        return [record("deriv", name, ts_event, ts_recv, **deriv)] if deriv else []


def _plain_symbol(name: str) -> str:
    """``BTC_USDT`` of ``ob.BTC_USDT.50``."""
    if not name.startswith("ob."):
        return name
    parts = name.split(".")
    if len(parts) != 3 or not parts[1]:
        raise BadMessage(f"{name!r} names no book")
    return parts[1]


def _levels(rows: Any) -> Any:
    """Spot and ``obu`` write ``[price, size]``, the other futures books ``{"p", "s"}``."""
    if isinstance(rows, list) and rows and isinstance(rows[0], dict):
        return levels(rows, "p", "s")
    return levels(rows, 0, 1)
