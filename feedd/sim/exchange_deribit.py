"""Deribit as a simulated venue."""

from __future__ import annotations

import itertools
from typing import ClassVar

from feedd.sim.exchange import Exchange, World
from feedd.sim.indices_deribit import DeribitIndex
from feedd.sim.instruments import DERIBIT, Spec, deribit_specs
from feedd.sim.market import Market, Timer
from feedd.sim.market_deribit import DeribitMarket, DeribitState
from feedd.sim.ticker_deribit import DeribitTicker

PLATFORM_MS = 400
CURRENCIES = ("BTC", "ETH")


class DeribitExchange(Exchange):
    """Perpetuals and options, with the platform's own channel."""

    name = DERIBIT
    steady = 120.0
    words: ClassVar = {"active": "started", "halted": "deactivated", "ended": "closed"}

    def __init__(self, world: World) -> None:
        self._state = DeribitState()
        self._tickers: list[DeribitTicker] = []
        super().__init__(world)
        self._indices = [
            DeribitIndex(
                base,
                self.hub,
                self.time,
                self._state,
                [
                    ticker
                    for ticker in self._tickers
                    if ticker.market.spec.base == base and ticker.market.spec.kind == "option"
                ],
            )
            for base in CURRENCIES
        ]
        self._platform = self.hub.stream(DERIBIT, "platform_state", "*")
        self.hub.stream(DERIBIT, "platform_state.public_methods_state", "*")
        for kind, currency in itertools.product(("any", "future", "option"), ("any", *CURRENCIES)):
            self.hub.stream(DERIBIT, f"instrument.state.{kind}.{currency}", "*")

    @classmethod
    def specs(cls, epoch_ms: int) -> list[Spec]:
        return deribit_specs(epoch_ms)

    def market(self, spec: Spec) -> Market:
        config = self.config
        market = DeribitMarket(
            spec, self.hub, self.time, config.seed, config.one_sided, self._state
        )
        self._tickers.append(DeribitTicker(market, self.hub))
        return market

    def tell_state(self, market: Market) -> None:
        spec = market.spec
        data = (
            f'{{"timestamp":{self.time.now_ms},"state":"{market.word}",'
            f'"instrument_name":"{spec.symbol}"}}'
        )
        kind = "option" if spec.kind == "option" else "future"
        for name in itertools.product(("any", kind), ("any", spec.base)):
            channel = ".".join(("instrument.state", *name))
            stream = self.hub.stream(DERIBIT, channel, "*")
            body = _notification(channel, data)
            stream.count += 1
            self.hub.publish(stream, body, "")

    def timers(self) -> list[Timer]:
        timers = [timer for ticker in self._tickers for timer in ticker.timers()]
        timers += [timer for index in self._indices for timer in index.timers()]
        return [*timers, (PLATFORM_MS, self._send_platform)]

    def _send_platform(self) -> None:
        self._platform.count += 1
        data = '{"price_index":"sol_usdc","locked":false}'
        self.hub.publish(self._platform, _notification("platform_state", data), "")


def _notification(channel: str, data: str) -> str:
    return (
        '{"jsonrpc":"2.0","method":"subscription","params":'
        f'{{"channel":"{channel}","data":{data}}}}}'
    )
