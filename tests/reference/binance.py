"""Binance spot, USD-M and COIN-M futures, after their documentation."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .book import SPOT, USDM, Book, Update, on_ranged, on_window, owns
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
)
from .rows import Row, frame_bytes
from .strict_json import BadJson, loads
from .venue import Venue

WINDOW_STREAM = re.compile(r"(?P<symbol>[^@]+)@depth(5|10|20)(@.*)?$")
DEPTH_RANK, WINDOW_RANK = 1, 7  # an instrument's whole book takes over from its windows
INDICES = {
    ("binance_coinm", "indexPriceUpdate"): ("i", "p"),
    ("binance_usdm", "compositeIndex"): ("s", "p"),
    ("binance_usdm", "assetIndexUpdate"): ("s", "i"),
}
FAMILY = {"binance_usdm": 1, "binance_coinm": 2}  # "st": both come on all-market streams


class Binance(Venue):
    """Books join a REST snapshot by number and then follow the deltas' numbers."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.is_spot = name == "binance_spot"
        self.rule = SPOT if self.is_spot else USDM
        self.quote_ids: dict[str, int] = {}

    def load_rest(self, rows: list[Row]) -> None:
        """Keep every depth body of the session, by instrument, in order."""
        only = self._only_symbol(rows)
        for row in rows:
            if row["dir"] != "rest":
                continue
            try:
                body = loads(frame_bytes(row))
                if not isinstance(body, dict) or "lastUpdateId" not in body:
                    continue
                update = Update(
                    last=needed_integer(body.get("lastUpdateId")),
                    bids=levels(body.get("bids"), 0, 1),
                    asks=levels(body.get("asks"), 0, 1),
                    source=(ns_of_ms(body.get("T", body.get("E"))), row.get("t")),
                )
            except (BadJson, BadMessage):
                continue
            symbol = _symbol_of_url(row.get("url")) or body.get("symbol") or only
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
                symbols |= {event["s"] for _, event in _events(value) if "s" in event}
                if len(symbols) > 1:
                    return None
        return symbols.pop() if symbols else None

    def message(self, value: Any, ts_recv: int | None) -> list[Record]:
        """Records of one frame; acks, errors and other streams yield none."""
        out: list[Record] = []
        for stream, event in _events(value):
            family = integer(event.get("st"))
            if family is not None and family != FAMILY.get(self.name, family):
                continue
            out += self._event(stream, event, ts_recv)
        return out

    def _event(self, stream: str, event: dict[str, Any], ts_recv: int | None) -> list[Record]:
        kind = event.get("e")
        window = WINDOW_STREAM.match(stream)
        if window and (kind == "depthUpdate" or "lastUpdateId" in event):
            return self._window(stream, window["symbol"].upper(), event, ts_recv)
        if kind == "depthUpdate":
            return self._depth(event, ts_recv)
        if kind in ("trade", "aggTrade", "blockTrade"):
            trade = self._trade(event, "a" if kind == "aggTrade" else "t", kind, ts_recv)
            if kind == "blockTrade":
                trade["flags"].add("block")
            return [trade]
        if kind == "bookTicker" or (kind is None and {"u", "s", "b", "B", "a", "A"} <= set(event)):
            return self._quote(event, ts_recv)
        if kind == "markPriceUpdate" and not self.is_spot:
            return self._mark(event, ts_recv)
        if (self.name, kind) in INDICES:
            return self._index(event, *INDICES[self.name, str(kind)], ts_recv)
        if kind == "forceOrder" and not self.is_spot:
            return [self._liquidation(event.get("o"), ts_recv)]
        if kind == "contractInfo" and not self.is_spot:
            time = ns_of_ms(event.get("E"))
            return self.states.say(self._instrument(event), event.get("cs"), time, ts_recv)
        return []

    def _instrument(self, event: dict[str, Any]) -> str:
        if not isinstance(event.get("s"), str):
            raise BadMessage("no symbol")
        return f"{self.name}:{event['s']}"

    def _window(
        self, stream: str, symbol: str, event: dict[str, Any], ts_recv: int | None
    ) -> list[Record]:
        name = f"{self.name}:{event.get('s', symbol)}"
        spot_form = "lastUpdateId" in event
        ts_event = ns_of_ms(event.get("T", event.get("E")))
        update = Update(
            last=needed_integer(event["lastUpdateId"] if spot_form else event.get("u")),
            bids=levels(event.get("bids" if spot_form else "b"), 0, 1),
            asks=levels(event.get("asks" if spot_form else "a"), 0, 1),
            source=(ts_event, ts_recv),
        )
        book = self.books.setdefault(name, Book())
        out = on_window(book, update) if owns(book, WINDOW_RANK, stream) else []
        return book_records(name, out, ts_event, ts_recv)

    def _depth(self, event: dict[str, Any], ts_recv: int | None) -> list[Record]:
        name = self._instrument(event)
        ts_event = ns_of_ms(event.get("T", event.get("E")))
        update = Update(
            last=needed_integer(event.get("u")),
            first=needed_integer(event.get("U")),
            prev=None if self.is_spot else needed_integer(event.get("pu")),
            bids=levels(event.get("b"), 0, 1),
            asks=levels(event.get("a"), 0, 1),
            source=(ts_event, ts_recv),
        )
        book = self.books.setdefault(name, Book())
        if not owns(book, DEPTH_RANK, ""):
            return []
        out = on_ranged(book, update, self.rule, self.snapshots.get(name, []))
        return book_records(name, out, ts_event, ts_recv)

    def _trade(
        self, event: dict[str, Any], id_key: str, channel: str, ts_recv: int | None
    ) -> Record:
        buyer_is_maker = event.get("m")
        if not isinstance(buyer_is_maker, bool):
            raise BadMessage("m is not a boolean")
        identity = event.get(id_key)
        return record(
            "trade",
            self._instrument(event),
            ns_of_ms(event.get("T", event.get("E"))),
            ts_recv,
            integer(identity) if not isinstance(identity, str) else None,
            channel=channel,
            price=needed(event.get("p")),
            size=needed(event.get("q")),
            side="sell" if buyer_is_maker else "buy",
            trade_id="" if identity is None else str(identity),
        )

    def _quote(self, event: dict[str, Any], ts_recv: int | None) -> list[Record]:
        name = self._instrument(event)
        sequence = needed_integer(event.get("u"))
        if sequence <= self.quote_ids.get(name, -1):
            return []  # the same update again, from another stream or line
        self.quote_ids[name] = sequence
        values: dict[str, Any] = {}
        for side, price_key, size_key in (("bid", "b", "B"), ("ask", "a", "A")):
            price, size = number(event.get(price_key)), number(event.get(size_key))
            missing = price is None or (price == 0 and not size)
            values[f"{side}_price"] = None if missing else price
            values[f"{side}_size"] = None if missing else size
        ts_event = ns_of_ms(event.get("T", event.get("E")))
        return [record("quote", name, ts_event, ts_recv, sequence, **values)]

    def _mark(self, event: dict[str, Any], ts_recv: int | None) -> list[Record]:
        values = present(
            mark=number(event.get("p")),
            index=number(event.get("i")),
            settlement=number(event.get("P")),
            funding_rate=number(event.get("r")),
            next_funding=ns_of_ms(event.get("T")),
        )
        # T of a mark price is the next funding, so the event's own time is E.
        name = self._instrument(event)
        return [record("deriv", name, ns_of_ms(event.get("E")), ts_recv, **values)]

    def _index(
        self, event: dict[str, Any], name_key: str, price_key: str, ts_recv: int | None
    ) -> list[Record]:
        """The index of a pair, of a composite contract or of an asset, under its own name."""
        values = present(index=number(event.get(price_key)))
        if not isinstance(event.get(name_key), str):
            raise BadMessage("no symbol")
        name = f"{self.name}:{event[name_key]}"
        time = ns_of_ms(event.get("E"))
        return [record("deriv", name, time, ts_recv, **values)] if values else []

    def _liquidation(self, order: Any, ts_recv: int | None) -> Record:
        if not isinstance(order, dict):
            raise BadMessage("forceOrder without o")
        side = str(order.get("S")).lower()
        return record(
            "liquidation",
            self._instrument(order),
            ns_of_ms(order.get("T")),
            ts_recv,
            price=needed(order.get("ap")),
            size=needed(order.get("z")),
            side=side if side in ("buy", "sell") else "unknown",
            trade_id="",
        )


def _symbol_of_url(url: Any) -> str | None:
    if not isinstance(url, str):
        return None
    values = parse_qs(urlsplit(url).query).get("symbol")
    return values[0].upper() if values else None


def _events(value: Any) -> list[tuple[str, dict[str, Any]]]:
    """(stream name or "", event) of a frame: wrapped or raw, one event or an array of them."""
    stream = ""
    if isinstance(value, dict) and isinstance(value.get("stream"), str) and "data" in value:
        stream, value = value["stream"], value["data"]
        if "@" not in stream and not stream.startswith("!"):
            return []  # not the name of a market stream
    items = value if isinstance(value, list) else [value]
    return [(stream, item) for item in items if isinstance(item, dict)]
