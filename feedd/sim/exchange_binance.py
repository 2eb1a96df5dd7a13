"""Binance spot and USD-M futures as simulated venues."""

from __future__ import annotations

from functools import partial

from feedd.sim.exchange import Exchange, World
from feedd.sim.hub import Stream
from feedd.sim.instruments import SPOT, USDM, Spec, spot_specs, usdm_specs
from feedd.sim.market import Market, Timer
from feedd.sim.market_spot import SpotMarket
from feedd.sim.market_usdm import UsdmMarket


class SpotExchange(Exchange):
    """Binance spot."""

    name = SPOT
    steady = 30.0

    @classmethod
    def specs(cls, epoch_ms: int) -> list[Spec]:
        return spot_specs()

    def market(self, spec: Spec) -> Market:
        config = self.config
        return SpotMarket(spec, self.hub, self.time, config.seed, config.one_sided)


class UsdmExchange(Exchange):
    """Binance USD-M futures, with the streams of all its markets."""

    name = USDM
    steady = 40.0

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._arrays = {
            1_000: self.hub.stream(USDM, "!markPrice@arr@1s", "*"),
            3_000: self.hub.stream(USDM, "!markPrice@arr", "*"),
        }

    @classmethod
    def specs(cls, epoch_ms: int) -> list[Spec]:
        return usdm_specs()

    def market(self, spec: Spec) -> Market:
        config = self.config
        return UsdmMarket(spec, self.hub, self.time, config.seed, config.one_sided)

    def timers(self) -> list[Timer]:
        return [(ms, partial(self._send_marks, stream)) for ms, stream in self._arrays.items()]

    def _send_marks(self, stream: Stream) -> None:
        markets = [m for m in self.markets.values() if isinstance(m, UsdmMarket)]
        marks = [m.mark for m in markets if m.mark[0]]
        stream.count += 1
        if stream.subs and len(marks) == len(markets):
            body = "[" + ",".join([mark[0] for mark in marks]) + "]"
            self.hub.publish(stream, body, ",".join([mark[1] for mark in marks]))
