"""Binance spot's own message forms."""

from __future__ import annotations

from typing import ClassVar

from feedd.sim import events
from feedd.sim.hub import Hub
from feedd.sim.instruments import Spec
from feedd.sim.ladder import Window
from feedd.sim.market import Fill, VenueTime
from feedd.sim.market_binance import BinanceMarket

BLOCK_EVERY = 97
"""One trade in so many is followed by a block trade, which has ids of its own."""
BLOCK_FIRST = 7_000


class SpotMarket(BinanceMarket):
    """Binance spot: update ids are dense, ``U == previous u + 1``."""

    depth_names: ClassVar[dict[int, tuple[str, ...]]] = {100: ("@100ms",), 1000: ("", "@1000ms")}
    first_sequence = 72_000_000_000

    def __init__(self, spec: Spec, hub: Hub, time: VenueTime, seed: int, one_sided: bool) -> None:
        super().__init__(spec, hub, time, seed, one_sided)
        self._blocks = self._stream("blockTrade")
        self._block_id = BLOCK_FIRST

    def on_trades(self, buy: bool, fills: list[Fill]) -> None:
        super().on_trades(buy, fills)
        if self.trade_id % BLOCK_EVERY == 0:
            self._block_id += 1
            self.hub.post(self._blocks, lambda: self._block(*fills[-1], buy))

    def _block(self, tick: int, lots: int, buy: bool) -> tuple[str, str]:
        price, size, now = self.prices[tick], self.sizes[lots], self.time.now_ms
        body = (
            f'{{"e":"blockTrade","E":{now + 1},"s":"{self.spec.symbol}","t":{self._block_id},'
            f'"p":"{price}","q":"{size}","T":{now},"m":{"false" if buy else "true"}}}'
        )
        event = events.trade(
            self.spec.name, price, size, buy, str(self._block_id), "null", now, "block"
        )
        return body, event

    def advance(self, changes: int) -> None:
        self.sequence += changes

    def first_id(self, window: Window) -> int:
        return window.prev + 1

    def depth_body(self, window: Window, first: int, bids: str, asks: str) -> str:
        return (
            f'{{"e":"depthUpdate","E":{self.time.now_ms},"s":"{self.spec.symbol}","U":{first},'
            f'"u":{self.sequence},"b":{bids},"a":{asks}}}'
        )

    def partial_body(self, window: Window, first: int, bids: str, asks: str) -> str:
        return self.snapshot_body(bids, asks)

    def ticker_body(self, bid: str, bid_size: str, ask: str, ask_size: str) -> str:
        return (
            f'{{"u":{self.sequence},"s":"{self.spec.symbol}","b":"{bid}","B":"{bid_size}",'
            f'"a":"{ask}","A":"{ask_size}"}}'
        )

    def ticker_time(self) -> int:
        return 0

    def trade_body(self, price: str, size: str, buy: bool) -> str:
        maker = "false" if buy else "true"
        now = self.time.now_ms
        return (
            f'{{"e":"trade","E":{now + 1},"s":"{self.spec.symbol}","t":{self.trade_id},'
            f'"p":"{price}","q":"{size}","T":{now},"m":{maker},"M":true}}'
        )

    def agg_body(self, price: str, size: str, buy: bool, first: int, last: int) -> str:
        maker = "false" if buy else "true"
        now = self.time.now_ms
        return (
            f'{{"e":"aggTrade","E":{now + 1},"s":"{self.spec.symbol}","a":{self.agg_id},'
            f'"p":"{price}","q":"{size}","f":{first},"l":{last},"T":{now},"m":{maker},"M":true}}'
        )

    def reference(self) -> dict[str, object]:
        spec = self.spec
        return {
            "symbol": spec.symbol,
            "status": "TRADING",
            "baseAsset": spec.base,
            "baseAssetPrecision": 8,
            "quoteAsset": spec.quote,
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": True,
            "filters": self.filters(),
        }
