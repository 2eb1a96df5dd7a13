"""Binance futures' message forms: 2026 fields, linked numbers, mark prices, liquidations."""

from __future__ import annotations

from typing import ClassVar

from feedd.sim import events
from feedd.sim.hub import Hub
from feedd.sim.instruments import Spec
from feedd.sim.ladder import Window
from feedd.sim.market import Fill, Timer, VenueTime
from feedd.sim.market_binance import BinanceBook, BinanceMarket
from feedd.sim.text import fixed

FUNDING_MS = 8 * 3_600_000
MARK_DECIMALS = 8
FAST_DEPTH_MS = 30
"""Spacing of the undocumented ``@depth@0ms``."""


class LinkedMarket(BinanceBook):
    """Update ids jump, ``pu`` links a message to the one before."""

    first_sequence = 9_600_000_000_000
    tail: str = ""
    """Members that end every event of the product."""

    def advance(self, changes: int) -> None:
        rnd = self._rnd
        first = self.sequence + 2 + int(rnd() * 900)
        self.sequence = first + changes + int(rnd() * 600)
        for window, _, _ in self._windows:
            if not window.first:
                window.first = first

    def depth_body(self, window: Window, first: int, bids: str, asks: str) -> str:
        now, symbol = self.time.now_ms, self.spec.symbol
        return (
            f'{{"e":"depthUpdate","E":{now + 1},"T":{now},"s":"{symbol}","U":{first},'
            f'"u":{self.sequence},"pu":{window.prev},"b":{bids},"a":{asks}{self.tail}}}'
        )

    def partial_body(self, window: Window, first: int, bids: str, asks: str) -> str:
        return self.depth_body(window, first, bids, asks)

    def snapshot_ms(self) -> int:
        return self.time.now_ms

    def snapshot_body(self, bids: str, asks: str) -> str:
        now = self.time.now_ms
        return (
            f'{{"lastUpdateId":{self.sequence},"E":{now + 1},"T":{now},"bids":{bids},'
            f'"asks":{asks}}}'
        )

    def ticker_body(self, bid: str, bid_size: str, ask: str, ask_size: str) -> str:
        now, symbol = self.time.now_ms, self.spec.symbol
        return (
            f'{{"e":"bookTicker","u":{self.sequence},"s":"{symbol}","b":"{bid}",'
            f'"B":"{bid_size}","a":"{ask}","A":"{ask_size}","T":{now},"E":{now + 1}{self.tail}}}'
        )


class UsdmMarket(LinkedMarket, BinanceMarket):
    """A USD-M future; COIN-M futures differ in little."""

    depth_names: ClassVar[dict[int, tuple[str, ...]]] = {
        FAST_DEPTH_MS: ("@0ms",),
        100: ("@100ms",),
        250: ("", "@250ms"),
        500: ("@500ms",),
    }
    product: ClassVar[int] = 1
    """``st``: 1 for USD-M, 2 for COIN-M."""

    def __init__(self, spec: Spec, hub: Hub, time: VenueTime, seed: int, one_sided: bool) -> None:
        super().__init__(spec, hub, time, seed, one_sided)
        self.tail = f',"ps":"{self.pair}","st":{self.product}'
        self._tickers.append(hub.stream(spec.venue, "!bookTicker", "*"))
        self._mark_1s = [self._stream("markPrice@1s")]
        self._mark_3s = [self._stream("markPrice")]
        self._composite = self._stream("compositeIndex") if self.product == 1 else None
        self._force = [self._stream("forceOrder"), hub.stream(spec.venue, "!forceOrder@arr", "*")]
        self._premium = self.rng.randrange(-3_000, 3_000)
        self._funding = self.rng.randrange(-5_000, 30_000)
        self._liquidated_ms = time.now_ms
        self.mark: tuple[str, str] = ("", "")

    @property
    def pair(self) -> str:
        """The pair that the contract is one of: the symbol itself for a USD-M perpetual."""
        return self.spec.symbol

    def timers(self) -> list[Timer]:
        return [*super().timers(), (1_000, self._second), (3_000, self._three_seconds)]

    def trade_body(self, price: str, size: str, buy: bool) -> str:
        maker = "false" if buy else "true"
        now = self.time.now_ms
        return (
            f'{{"e":"trade","E":{now + 1},"T":{now},"s":"{self.spec.symbol}","t":{self.trade_id},'
            f'"p":"{price}","q":"{size}","X":"MARKET","m":{maker}{self.tail}}}'
        )

    def agg_body(self, price: str, size: str, buy: bool, first: int, last: int) -> str:
        maker = "false" if buy else "true"
        now = self.time.now_ms
        return (
            f'{{"e":"aggTrade","E":{now + 1},"a":{self.agg_id},"s":"{self.spec.symbol}",'
            f'"p":"{price}","q":"{size}","f":{first},"l":{last},"T":{now},"m":{maker},'
            f'"nq":"{size}"{self.tail}}}'
        )

    def on_trades(self, buy: bool, fills: list[Fill]) -> None:
        super().on_trades(buy, fills)
        if self._rnd() < 0.02 and self.time.now_ms - self._liquidated_ms >= 1_000:
            self._liquidated_ms = self.time.now_ms
            self._liquidation(buy, *fills[-1])

    def _liquidation(self, buy: bool, tick: int, lots: int) -> None:
        price, limit = self.prices[tick], self.prices[tick + (25 if buy else -25)]
        size, now = self.sizes[lots], self.time.now_ms
        side = "BUY" if buy else "SELL"
        body = (
            f'{{"e":"forceOrder","E":{now + 2},"o":{{"s":"{self.spec.symbol}","S":"{side}",'
            f'"o":"LIMIT","f":"IOC","q":"{size}","p":"{limit}","ap":"{price}","X":"FILLED",'
            f'"l":"{size}","z":"{size}","T":{now}}}{self.tail}}}'
        )
        event = events.liquidation(self.spec.name, price, size, buy, now)
        for stream in self._force:
            stream.count += 1
            self.hub.publish(stream, body, event)

    # -- mark price ------------------------------------------------------------------------

    def _second(self) -> None:
        rnd = self._rnd
        self._premium += int((rnd() - 0.5) * 200) - self._premium // 50
        self._funding += int((rnd() - 0.5) * 40)
        spec, now = self.spec, self.time.now_ms
        scale = spec.tick * 10 ** (MARK_DECIMALS - spec.price_decimals)
        index = (self.ladder.best_bid + self.ladder.best_ask) * scale // 2 + int(rnd() * scale)
        mark = index + index * self._premium // 10_000_000
        values = {
            "mark": fixed(mark, MARK_DECIMALS),
            "index": fixed(index, MARK_DECIMALS),
            "settlement": fixed(index - index // 50_000, MARK_DECIMALS),
            "funding_rate": fixed(self._funding, MARK_DECIMALS),
        }
        average = fixed(mark - index // 90_000, MARK_DECIMALS)
        funding_ms = (now // FUNDING_MS + 1) * FUNDING_MS
        if spec.kind != "perpetual":
            # A dated contract has no funding: r is empty, T is 0.
            del values["funding_rate"]
            funding_ms = 0
        body = (
            f'{{"e":"markPriceUpdate","E":{now},"s":"{spec.symbol}","p":"{values["mark"]}",'
            f'"ap":"{average}","P":"{values["settlement"]}","i":"{values["index"]}",'
            f'"r":"{values.get("funding_rate", "")}","T":{funding_ms}{self.tail}}}'
        )
        if self._composite is not None:
            price = values["index"]
            index = (
                f'{{"e":"compositeIndex","E":{now},"s":"{spec.symbol}","p":"{price}",'
                f'"C":"baseAsset","c":[{{"b":"BAL","q":"{spec.quote}","w":"1.0","i":"{price}"}}]}}'
            )
            event = events.values("deriv", spec.name, now, {"index": price})
            self._composite.count += 1
            self.hub.publish(self._composite, index, event)
        self.mark = (body, events.values("deriv", spec.name, now, values, funding_ms))
        for stream in self._mark_1s:
            stream.count += 1
            self.hub.publish(stream, *self.mark)

    def _three_seconds(self) -> None:
        for stream in self._mark_3s:
            stream.count += 1
            if self.mark[0]:
                self.hub.publish(stream, *self.mark)

    def reference(self) -> dict[str, object]:
        spec = self.spec
        return {
            "symbol": spec.symbol,
            "pair": spec.symbol,
            "contractType": "PERPETUAL",
            "deliveryDate": 4_133_404_800_000,
            "onboardDate": 1_569_398_400_000,
            "status": self.word or "TRADING",
            "baseAsset": spec.base,
            "quoteAsset": spec.quote,
            "marginAsset": spec.settle,
            "pricePrecision": spec.price_decimals,
            "quantityPrecision": spec.size_decimals,
            "baseAssetPrecision": 8,
            "quotePrecision": 8,
            "underlyingType": "COIN",
            "filters": self.filters(),
        }
