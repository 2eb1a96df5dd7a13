"""Binance spot, USD-M and COIN-M futures as simulated venues."""

from __future__ import annotations

from functools import partial
from typing import ClassVar
from urllib.parse import urlsplit

from feedd.sim import events
from feedd.sim.connection import Connection
from feedd.sim.exchange import Exchange, RestAnswer, RestRequest, World
from feedd.sim.hub import Stream
from feedd.sim.instruments import (
    COINM,
    SPOT,
    USDM,
    Spec,
    quarterly_expiry,
    spot_specs,
    usdm_specs,
)
from feedd.sim.market import Market, Timer
from feedd.sim.market_coinm import CoinmMarket, pair
from feedd.sim.market_spot import SpotMarket
from feedd.sim.market_usdm import UsdmMarket
from feedd.sim.rest_binance import TOO_MANY, BinanceRest
from feedd.sim.session_binance import BinanceConnection


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
    words: ClassVar = {"active": "TRADING", "halted": "SETTLING", "ended": "CLOSE"}

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._arrays = {
            1_000: self.hub.stream(self.name, "!markPrice@arr@1s", "*"),
            3_000: self.hub.stream(self.name, "!markPrice@arr", "*"),
        }
        self._assets: dict[str, Stream] = {}
        if self.name == USDM:
            for market in self.markets.values():
                asset = f"{market.spec.base}USD"
                name = f"{asset.lower()}@assetIndex"
                self._assets[asset] = self.hub.stream(self.name, name, asset)
            self._all_assets = self.hub.stream(self.name, "!assetIndex@arr", "*")
        self._contracts = self.hub.stream(self.name, "!contractInfo", "*")

    @classmethod
    def specs(cls, epoch_ms: int) -> list[Spec]:
        return usdm_specs()

    def market(self, spec: Spec) -> Market:
        config = self.config
        return UsdmMarket(spec, self.hub, self.time, config.seed, config.one_sided)

    def tell_state(self, market: Market) -> None:
        info = market.reference()
        body = (
            f'{{"e":"contractInfo","E":{self.time.now_ms},"s":"{market.spec.symbol}",'
            f'"ps":"{info["pair"]}","ct":"{info["contractType"]}","dt":{info["deliveryDate"]},'
            f'"ot":{info["onboardDate"]},"cs":"{market.word}"}}'
        )
        self.hub.post(self._contracts, lambda: (body, ""))

    def timers(self) -> list[Timer]:
        timers: list[Timer] = [
            (ms, partial(self._send_marks, stream)) for ms, stream in self._arrays.items()
        ]
        return [*timers, (1_000, self._send_assets)] if self._assets else timers

    def _send_assets(self) -> None:
        """Values of the assets of a margin account, in dollars."""
        rows, now = [], self.time.now_ms
        for market, (asset, stream) in zip(
            self.markets.values(), self._assets.items(), strict=True
        ):
            price = market.price_text(market.ladder.best_bid)
            body = (
                f'{{"e":"assetIndexUpdate","E":{now},"s":"{asset}","i":"{price}",'
                f'"b":"0.10000000","a":"0.10000000","B":"{price}","A":"{price}"}}'
            )
            event = events.values("deriv", f"{self.name}:{asset}", now, {"index": price})
            rows.append((body, event))
            self.hub.post(stream, partial(_as_it_is, body, event))
        if self._all_assets.subs:
            body = "[" + ",".join([row for row, _ in rows]) + "]"
            all_events = ",".join([event for _, event in rows])
            self.hub.post(self._all_assets, partial(_as_it_is, body, all_events))

    def _send_marks(self, stream: Stream) -> None:
        markets = [m for m in self.markets.values() if isinstance(m, UsdmMarket)]
        marks = [m.mark for m in markets if m.mark[0]]
        stream.count += 1
        if stream.subs and len(marks) == len(markets):
            body = "[" + ",".join([mark[0] for mark in marks]) + "]"
            self.hub.publish(stream, body, ",".join([mark[1] for mark in marks]))


class CoinmExchange(UsdmExchange):
    """Binance COIN-M futures."""

    name = COINM
    connects = (300, 300.0)
    symbol_key = "symbol"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._door = BinanceRest("/dapi/v1", self.markets, world)
        self._indices: dict[str, list[Stream]] = {}
        for market in self.markets.values():
            name = pair(market.spec)
            if name not in self._indices:
                names = [f"{name.lower()}@indexPrice", f"{name.lower()}@indexPrice@1s"]
                self._indices[name] = [self.hub.stream(COINM, each, name) for each in names]

    @classmethod
    def specs(cls, epoch_ms: int) -> list[Spec]:
        expiry = quarterly_expiry(epoch_ms)
        return [
            Spec(COINM, "BTCUSD_PERP", "perpetual", "BTC", "USD", "BTC", 1, 1, 0, 1,
                 923_000, 380, 0.5, 900, "100"),
            Spec(COINM, "ETHUSD_PERP", "perpetual", "ETH", "USD", "ETH", 2, 1, 0, 1,
                 310_500, 320, 0.3, 4_000, "10"),
            Spec(COINM, f"BTCUSD_{expiry:%y%m%d}", "future", "BTC", "USD", "BTC", 1, 1, 0, 1,
                 925_000, 260, 0.2, 300, "100", expiry_ms=int(expiry.timestamp()) * 1_000),
        ]  # fmt: skip

    def market(self, spec: Spec) -> Market:
        config = self.config
        return CoinmMarket(spec, self.hub, self.time, config.seed, config.one_sided)

    def connection(self, path: str) -> Connection | None:
        segments = [segment for segment in urlsplit(path).path.split("/") if segment]
        if segments[:1] not in (["ws"], ["stream"]):
            return None
        return BinanceConnection(self.hub, self.config, path, None, COINM)

    def timers(self) -> list[Timer]:
        return [*super().timers(), (1_000, self._send_indices)]

    def _send_indices(self) -> None:
        """Prices of the pairs: an index is an instrument of its own."""
        for name, streams in self._indices.items():
            market = next(m for m in self.markets.values() if pair(m.spec) == name)
            middle = (market.ladder.best_bid + market.ladder.best_ask) // 2
            for stream in streams:
                stream.count += 1
                if stream.subs:
                    body = (
                        f'{{"e":"indexPriceUpdate","E":{self.time.now_ms},"i":"{name}",'
                        f'"p":"{market.price_text(middle)}"}}'
                    )
                    values = {"index": market.price_text(middle)}
                    event = events.values("deriv", f"{COINM}:{name}", self.time.now_ms, values)
                    self.hub.publish(stream, body, event)

    def rest_refusal(self, status: int) -> str:
        return TOO_MANY

    def rest(self, request: RestRequest) -> RestAnswer | None:
        return self._door.answer(request, self._info)

    def _info(self) -> dict[str, object]:
        return {"symbols": [market.reference() for market in self.listed]}


def _as_it_is(body: str, event: str) -> tuple[str, str]:
    return body, event
