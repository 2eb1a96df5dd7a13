"""Deribit as a simulated venue."""

from __future__ import annotations

from feedd.sim.exchange import Exchange, World
from feedd.sim.instruments import DERIBIT, Spec, deribit_specs
from feedd.sim.market import Market, Timer
from feedd.sim.market_deribit import DeribitMarket, DeribitState
from feedd.sim.ticker_deribit import DeribitTicker

PLATFORM_MS = 400


class DeribitExchange(Exchange):
    """Perpetuals and options, with the platform's own channel."""

    name = DERIBIT
    steady = 120.0

    def __init__(self, world: World) -> None:
        self._state = DeribitState()
        self._tickers: list[DeribitTicker] = []
        super().__init__(world)
        self._platform = self.hub.stream(DERIBIT, "platform_state", "*")
        self.hub.stream(DERIBIT, "platform_state.public_methods_state", "*")

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

    def timers(self) -> list[Timer]:
        timers = [timer for ticker in self._tickers for timer in ticker.timers()]
        return [*timers, (PLATFORM_MS, self._send_platform)]

    def _send_platform(self) -> None:
        self._platform.count += 1
        data = '{"price_index":"sol_usdc","locked":false}'
        body = (
            '{"jsonrpc":"2.0","method":"subscription","params":'
            f'{{"channel":"platform_state","data":{data}}}}}'
        )
        self.hub.publish(self._platform, body, "")
