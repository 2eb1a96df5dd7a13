"""Binance European options as a simulated venue: series, marks and indices of underlyings."""

from __future__ import annotations

from functools import partial
from typing import ClassVar
from urllib.parse import urlsplit

from feedd.sim import events
from feedd.sim.connection import Connection
from feedd.sim.exchange import Exchange, RestAnswer, RestRequest, World
from feedd.sim.hub import Stream
from feedd.sim.instruments import OPTIONS, Spec, quarterly_expiry
from feedd.sim.market import Market, Timer
from feedd.sim.market_eapi import OptionsMarket, underlying
from feedd.sim.rest_binance import OPTIONS_WEIGHTS, TOO_MANY, BinanceRest
from feedd.sim.session_binance import BinanceConnection

MARK_MS = 1_000
INTEREST_MS = 60_000
SERIES = (
    ("BTC", 100_000, "C", 300),
    ("BTC", 85_000, "P", 240),
    ("BTC", 90_000, "C", 420),
    ("ETH", 3_300, "C", 150),
    ("ETH", 2_900, "P", 130),
)
"""Base, strike, right, and the price to start with in ticks."""


class OptionsExchange(Exchange):
    """The routed interface of late 2025."""

    name = OPTIONS
    steady = 80.0
    connects = (300, 300.0)
    symbol_key = "symbol"
    words: ClassVar = {"active": "TRADING", "halted": "BREAK", "ended": "EXPIRED"}

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._door = BinanceRest("/eapi/v1", self.markets, world, OPTIONS_WEIGHTS)
        self._series: dict[str, list[OptionsMarket]] = {}
        for market in self.markets.values():
            if isinstance(market, OptionsMarket):
                self._series.setdefault(underlying(market.spec), []).append(market)
        self._marks: dict[str, Stream] = {}
        self._indices: dict[str, Stream] = {}
        self._interests: dict[str, Stream] = {}
        for name, markets in self._series.items():
            low = name.lower()
            self._marks[name] = self.hub.stream(OPTIONS, f"{low}@optionMarkPrice", "*")
            self._indices[name] = self.hub.stream(OPTIONS, f"{low}@optionIndexPrice", name)
            code = markets[0].spec.expiry_name
            self._interests[name] = self.hub.stream(
                OPTIONS, f"{low}@optionOpenInterest@{code}", "*"
            )
        self._index_array = self.hub.stream(OPTIONS, "!index@arr", "*")
        self._listings = self.hub.stream(OPTIONS, "!optionSymbol", "*")

    @classmethod
    def specs(cls, epoch_ms: int) -> list[Spec]:
        expiry = quarterly_expiry(epoch_ms)
        code, expiry_ms = f"{expiry:%y%m%d}", int(expiry.timestamp()) * 1_000
        return [
            Spec(
                OPTIONS, f"{base}-{code}-{strike}-{letter}", "option", base, "USDT", "USDT",
                3, 5_000 if base == "BTC" else 200, 2, 1, start, 60, 0.2, 300, "1",
                strike, "call" if letter == "C" else "put", expiry_ms, code,
            )
            for base, strike, letter, start in SERIES
        ]  # fmt: skip

    def market(self, spec: Spec) -> Market:
        config = self.config
        return OptionsMarket(spec, self.hub, self.time, config.seed, config.one_sided)

    def connection(self, path: str) -> Connection | None:
        segments = [segment for segment in urlsplit(path).path.split("/") if segment]
        if segments[:1] not in (["public"], ["market"]):
            return None
        if segments[1:2] not in (["ws"], ["stream"]):
            return None
        return BinanceConnection(self.hub, self.config, path, None, OPTIONS)

    def timers(self) -> list[Timer]:
        timers: list[Timer] = [(MARK_MS, self._send_indices)]
        for name in self._series:
            timers.append((MARK_MS, partial(self._send_marks, name)))
            timers.append((INTEREST_MS, partial(self._send_interest, name)))
        return timers

    def _send_marks(self, name: str) -> None:
        markets = self._series[name]
        self.hub.post(self._marks[name], lambda: _array([market.mark() for market in markets]))

    def _send_interest(self, name: str) -> None:
        markets = self._series[name]
        self.hub.post(
            self._interests[name], lambda: _array([market.interest() for market in markets])
        )

    def _send_indices(self) -> None:
        rows = []
        for name, stream in self._indices.items():
            price, now = self._series[name][0].figures.index, self.time.now_ms
            body = f'{{"e":"indexPrice","E":{now},"s":"{name}","p":"{price}"}}'
            event = events.values("deriv", f"{OPTIONS}:{name}", now, {"index": price})
            rows.append((body, event))
            stream.count += 1
            self.hub.publish(stream, body, event)
        self.hub.post(self._index_array, partial(_array, rows))

    def tell_state(self, market: Market) -> None:
        spec = market.spec
        body = (
            f'{{"e":"optionSymbol","E":{self.time.now_ms},"s":"{spec.symbol}",'
            f'"ps":"{underlying(spec)}","qa":"USDT","d":"{spec.option_type.upper()}",'
            f'"sp":"{spec.strike}","dt":{spec.expiry_ms},"u":1,"ot":1569398400000,'
            f'"cs":"{market.word}"}}'
        )
        self.hub.post(self._listings, lambda: (body, ""))

    # -- REST ------------------------------------------------------------------------------

    def rest_refusal(self, status: int) -> str:
        return TOO_MANY

    def rest(self, request: RestRequest) -> RestAnswer | None:
        return self._door.answer(request, self._info)

    def _info(self) -> dict[str, object]:
        contracts = [
            {
                "baseAsset": markets[0].spec.base,
                "quoteAsset": "USDT",
                "underlying": name,
                "settleAsset": "USDT",
            }
            for name, markets in self._series.items()
        ]
        rows = [market.reference() for market in self.listed]
        return {"optionContracts": contracts, "optionSymbols": rows}


def _array(rows: list[tuple[str, str]]) -> tuple[str, str]:
    """One message of several rows, each a body and its events."""
    return "[" + ",".join([row for row, _ in rows]) + "]", ",".join([event for _, event in rows])
