"""Binance European options (the routed API of late 2025), after their documentation.

Decisions where the documents leave room:

* ``S`` of a trade is the taker's side; ``X`` BLOCK is the block flag.
* ``depth5/10/20`` are windows, told apart by the stream's name; ``depth`` joins REST and links by
  ``pu`` as on the USD-M futures.
* ``optionMarkPrice`` yields ``greeks`` and ``deriv`` (mark, index, estimated settlement). Price 0
  is absent there, and so are volatilities 0 and "-1.0". Its best bid and ask are not taken:
  ``bookTicker`` is the channel for these.
* The index streams yield ``deriv`` of the underlying's own name; open interest is in contracts.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from .binance import Binance
from .fields import Record, nonzero, ns_of_ms, number, present, record

SIDES = {"BUY": "buy", "SELL": "sell"}
NO_VOLATILITY = Decimal(-1)


class BinanceOptions(Binance):
    """Books and quotes as on USD-M futures, the rest its own."""

    def _event(self, stream: str, event: dict[str, Any], ts_recv: int | None) -> list[Record]:
        kind = event.get("e")
        if kind == "markPrice":
            return self._marks(event, ts_recv)
        if kind in ("indexPrice", "openInterest"):
            field, key = ("index", "p") if kind == "indexPrice" else ("open_interest", "o")
            values = present(**{field: number(event.get(key))})
            return self._deriv(event, values, ts_recv)
        if kind == "optionSymbol":
            time = ns_of_ms(event.get("E"))
            return self.states.say(self._instrument(event), event.get("cs"), time, ts_recv)
        if kind in ("trade", "bookTicker", "depthUpdate"):
            return super()._event(stream, event, ts_recv)
        return []

    def _trade(
        self, event: dict[str, Any], id_key: str, channel: str, ts_recv: int | None
    ) -> Record:
        line = super()._trade({"m": True, **event}, id_key, channel, ts_recv)
        line["side"] = SIDES.get(str(event.get("S")), "unknown")
        if event.get("X") == "BLOCK":
            line["flags"].add("block")
        return line

    def _deriv(
        self, event: dict[str, Any], values: dict[str, Any], ts_recv: int | None
    ) -> list[Record]:
        if not values:
            return []
        name = self._instrument(event)
        return [record("deriv", name, ns_of_ms(event.get("E")), ts_recv, **values)]

    def _marks(self, event: dict[str, Any], ts_recv: int | None) -> list[Record]:
        mark = nonzero(number(event.get("mp")))
        values = present(
            mark=mark,
            index=nonzero(number(event.get("i"))),
            settlement=nonzero(number(event.get("P"))),
        )
        greeks = present(
            delta=number(event.get("d")),
            gamma=number(event.get("g")),
            vega=number(event.get("v")),
            theta=number(event.get("t")),
            mark_iv=_volatility(event.get("vo")),
            bid_iv=_volatility(event.get("b")),
            ask_iv=_volatility(event.get("a")),
            mark=mark,
        )
        name = self._instrument(event)
        out = self._deriv(event, values, ts_recv)
        if greeks:
            out.append(record("greeks", name, ns_of_ms(event.get("E")), ts_recv, **greeks))
        return out


def _volatility(value: Any) -> Decimal | None:
    parsed = number(value)
    return None if parsed == NO_VOLATILITY else nonzero(parsed)
