"""Deribit, after its documentation: JSON-RPC subscriptions routed by ``params.channel``."""

from __future__ import annotations

from typing import Any

from .book import Book, Update, on_window, owns
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
    record,
    rows_of,
    text,
)
from .followed import LINK, on_followed
from .venue import Venue

SIDES = {"buy", "sell"}


class Deribit(Venue):
    """Books link by ``prev_change_id``; greeks and derivative fields come in tickers."""

    def message(self, value: Any, ts_recv: int | None) -> list[Record]:
        """Records of one frame; acks, heartbeats, errors and other channels yield none."""
        if not isinstance(value, dict) or value.get("method") != "subscription":
            return []
        params = value.get("params")
        channel = params.get("channel") if isinstance(params, dict) else None
        if not isinstance(channel, str):
            return []
        assert isinstance(params, dict)
        parts = channel.split(".")
        data = params.get("data")
        if parts[0] == "trades" and isinstance(data, list):
            return [self._trade(item, ts_recv) for item in data]
        if parts[:2] == ["markprice", "options"]:
            return [line for row in rows_of(data) for line in self._mark(row, ts_recv)]
        if not isinstance(data, dict):
            return []
        if parts[0] in INDICES and len(parts) == 2:
            return self._index(parts[0], parts[1], data, ts_recv)
        if parts[0] == "incremental_ticker":
            return self._ticker(data, ts_recv, whole=False)
        if parts[0] == "book":
            return self._book(channel, data, len(parts) > 3, ts_recv)
        if parts[0] == "quote":
            return [self._quote(data, ts_recv)]
        if parts[0] == "ticker":
            return self._ticker(data, ts_recv)
        if parts[:2] == ["instrument", "state"]:
            time = ns_of_ms(data.get("timestamp"))
            return self.states.say(self._instrument(data), data.get("state"), time, ts_recv)
        return []

    def _instrument(self, data: dict[str, Any]) -> str:
        symbol = data.get("instrument_name")
        if not isinstance(symbol, str):
            raise BadMessage("no instrument_name")
        return f"{self.name}:{symbol}"

    def _trade(self, data: dict[str, Any], ts_recv: int | None) -> Record:
        direction = data.get("direction")
        flags = []
        if data.get("liquidation"):
            flags.append("liquidation")
        if data.get("block_trade_id") is not None:
            flags.append("block")
        if data.get("combo_id") is not None or data.get("combo_trade_id") is not None:
            flags.append("combo")
        return record(
            "trade",
            self._instrument(data),
            ns_of_ms(data.get("timestamp")),
            ts_recv,
            integer(data.get("trade_seq")),
            tuple(flags),
            channel="trades",
            price=needed(data.get("price")),
            size=needed(data.get("amount")),
            side=direction if direction in SIDES else "unknown",
            trade_id=str(data.get("trade_id") or ""),
        )

    def _book(
        self, channel: str, data: dict[str, Any], is_window: bool, ts_recv: int | None
    ) -> list[Record]:
        name = self._instrument(data)
        book = self.books.setdefault(name, Book())
        at = 0 if is_window else 1
        ts_event = ns_of_ms(data.get("timestamp"))
        prev = integer(data.get("prev_change_id"))
        update = Update(
            last=needed_integer(data.get("change_id")),
            bids=levels(data.get("bids"), at, at + 1),
            asks=levels(data.get("asks"), at, at + 1),
            prev=prev,
            source=(ts_event, ts_recv),
            time=ts_event,
        )
        # the whole book takes over from its windows; which of two windows has it, the first does
        if not owns(book, 7 if is_window else 1, channel if is_window else ""):
            return []
        if is_window:
            out = on_window(book, update)
        else:
            # Recordings from before ``type`` existed mark the snapshot by the absent link; a
            # ``change`` with link 0 is the first content of a book that was empty until then.
            kind = data.get("type")
            is_snapshot = kind == "snapshot" or (kind is None and prev is None) or prev == 0
            out = on_followed(book, update, is_snapshot, LINK)
        return book_records(name, out, ts_event, ts_recv)

    def _quote(self, data: dict[str, Any], ts_recv: int | None) -> Record:
        values: dict[str, Any] = {}
        for side in ("bid", "ask"):
            price = number(data.get(f"best_{side}_price"))
            size = number(data.get(f"best_{side}_amount"))
            # An empty side is written as null, or as price 0 with amount 0.
            missing = price is None or (price == 0 and not size)
            values[f"{side}_price"] = None if missing else price
            values[f"{side}_size"] = None if missing else size
        return record(
            "quote", self._instrument(data), ns_of_ms(data.get("timestamp")), ts_recv, **values
        )

    def _mark(self, row: dict[str, Any], ts_recv: int | None) -> list[Record]:
        """The volatility is a fraction here, zero is none."""
        name, ts_event = self._instrument(row), ns_of_ms(row.get("timestamp"))
        values = present(mark_iv=nonzero(number(row.get("iv"))), mark=number(row.get("mark_price")))
        return [record("greeks", name, ts_event, ts_recv, **values)] if values else []

    def _index(
        self, channel: str, topic: str, data: dict[str, Any], ts_recv: int | None
    ) -> list[Record]:
        """An index is an instrument of its own. An expiration price that is not estimated is the
        index once more."""
        ts_event = ns_of_ms(data.get("timestamp"))
        if channel == "estimated_expiration_price":
            if data.get("is_estimated") is not True:
                return []
            name, values = topic, present(settlement=number(data.get("price")))
        else:
            name = text(data.get("index_name"))
            if channel == "deribit_volatility_index":
                values = present(mark_iv=_fraction(data.get("volatility")))
            else:
                values = present(index=number(data.get("price")))
        kind = "greeks" if "mark_iv" in values else "deriv"
        return [record(kind, f"{self.name}:{name}", ts_event, ts_recv, **values)] if values else []

    def _ticker(
        self, data: dict[str, Any], ts_recv: int | None, whole: bool = True
    ) -> list[Record]:
        name = self._instrument(data)
        ts_event = ns_of_ms(data.get("timestamp"))
        deriv = present(
            mark=number(data.get("mark_price")),
            index=number(data.get("index_price")),
            last=number(data.get("last_price")),
            open_interest=number(data.get("open_interest")),
            funding_rate=number(data.get("funding_8h")),
            settlement=number(data.get("settlement_price")),
        )
        out = [record("deriv", name, ts_event, ts_recv, **deriv)] if deriv else []
        greeks = data.get("greeks")
        ivs = {key: _fraction(data.get(key)) for key in ("mark_iv", "bid_iv", "ask_iv")}
        if isinstance(greeks, dict) or GREEK_KEYS & set(data):
            source = greeks if isinstance(greeks, dict) else {}
            values = present(
                **{key: number(source.get(key)) for key in GREEKS},
                **ivs,
                underlying=number(data.get("underlying_price")),
                mark=number(data.get("mark_price")),
            )
            if whole or set(values) - {"mark"}:
                out.append(record("greeks", name, ts_event, ts_recv, **values))
        return out


GREEKS = ("delta", "gamma", "vega", "theta", "rho")
GREEK_KEYS = {"mark_iv", "bid_iv", "ask_iv", "underlying_price"}
INDICES = {"deribit_price_index", "deribit_volatility_index", "estimated_expiration_price"}


def _fraction(percent: Any) -> Any:
    """Ticker IVs are percent; zero is how the venue writes "none"."""
    value = nonzero(number(percent))
    return None if value is None else value.scaleb(-2)
