"""What the Binance venues send about an instrument (USD-M futures and spot)."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from feedd.sim import events
from feedd.sim.hub import Hub, Stream
from feedd.sim.instruments import SPOT, USDM, Spec
from feedd.sim.ladder import ASK, BID, Window
from feedd.sim.market import Fill, Market, Timer, VenueTime
from feedd.sim.text import FixedText, fixed

FUNDING_MS = 8 * 3_600_000
PARTIAL_DEPTHS = (5, 10, 20)
MARK_DECIMALS = 8
FAST_DEPTH_MS = 30
"""Spacing of the undocumented ``@depth@0ms``."""


class BinanceMarket(Market):
    """Streams both venues have: depth, partial depth, bookTicker, trade, aggTrade."""

    depth_names: ClassVar[dict[int, tuple[str, ...]]] = {}
    first_sequence = 0

    def __init__(self, spec: Spec, hub: Hub, time: VenueTime, seed: int, one_sided: bool) -> None:
        super().__init__(spec, hub, time, seed, one_sided)
        self.prices = FixedText(spec.price_decimals, spec.tick)
        self.sizes = FixedText(spec.size_decimals, spec.lot)
        self.sequence = self.first_sequence + self.rng.randrange(1_000_000)
        self.trade_id = 1_000_000 + self.rng.randrange(1_000_000)
        self.agg_id = 400_000 + self.rng.randrange(100_000)
        self._low = spec.symbol.lower()
        self._windows: list[tuple[Window, list[Stream], list[tuple[int, Stream]]]] = []
        for interval, suffixes in self.depth_names.items():
            plain = [self._stream(f"depth{suffix}") for suffix in suffixes]
            tops = [
                (n, self._stream(f"depth{n}{suffix}"))
                for n in PARTIAL_DEPTHS
                for suffix in suffixes
                if suffix != "@0ms"
            ]
            self._windows.append((self.window(interval), plain, tops))
        self._tickers = [self._stream("bookTicker")]
        self._trades = self._stream("trade")
        self._agg_trades = self._stream("aggTrade")

    def _stream(self, suffix: str) -> Stream:
        return self.hub.stream(self.spec.venue, f"{self._low}@{suffix}", self.spec.symbol)

    def price_text(self, tick: int) -> str:
        return self.prices[tick]

    def size_text(self, lots: int) -> str:
        return self.sizes[lots]

    def timers(self) -> list[Timer]:
        return [(e[0].interval_ms, partial(self._flush_window, *e)) for e in self._windows]

    def flush(self) -> None:
        for entry in self._windows:
            self._flush_window(*entry)

    # -- depth -----------------------------------------------------------------------------

    def depth_body(self, window: Window, first: int, bids: str, asks: str) -> str:
        """The ``depthUpdate`` of a window that ends now."""
        raise LookupError(f"no depth message for {self.spec.venue}")

    def partial_body(self, window: Window, first: int, bids: str, asks: str) -> str:
        """The partial depth message of a window that ends now."""
        raise LookupError(f"no partial depth message for {self.spec.venue}")

    def first_id(self, window: Window) -> int:
        """``U`` of a window that ends now."""
        return window.first

    def depth_time(self) -> int:
        """``ts_event`` of a depth message, ms."""
        return self.time.now_ms

    def _flush_window(
        self, window: Window, plain: list[Stream], tops: list[tuple[int, Stream]]
    ) -> None:
        if not (window.dirty[BID] or window.dirty[ASK]):
            return
        first = self.first_id(window)
        for _, stream in tops:
            stream.count += 1
        for stream in plain:
            stream.count += 1
        if any(stream.subs for stream in plain):
            bids, asks = self._dirty_text(window, BID), self._dirty_text(window, ASK)
            body = self.depth_body(window, first, bids, asks)
            event = self._book_event("delta", bids, asks)
            self.book_sent = self.sequence
            for stream in plain:
                self.hub.publish(stream, body, event)
        for depth, stream in tops:
            if stream.subs:
                bids, asks = self._top_text(BID, depth), self._top_text(ASK, depth)
                body = self.partial_body(window, first, bids, asks)
                self.hub.publish(stream, body, self._book_event("snapshot", bids, asks))
        window.prev = self.sequence
        window.clear()

    def _book_event(self, action: str, bids: str, asks: str) -> str:
        if not self.hub.journal.enabled:
            return ""
        return events.book(self.spec.name, action, self.sequence, self.depth_time(), bids, asks)

    def _dirty_text(self, window: Window, side: int) -> str:
        levels = self.ladder.sides[side]
        prices, sizes = self.prices, self.sizes
        ticks = sorted(window.dirty[side], reverse=side == BID and self.spec.venue == SPOT)
        return events.levels_text([(prices[t], sizes[levels.get(t, 0)]) for t in ticks])

    def _top_text(self, side: int, depth: int) -> str:
        prices, sizes = self.prices, self.sizes
        levels = self.ladder.levels(side)[:depth]
        return events.levels_text([(prices[t], sizes[s]) for t, s in levels])

    def snapshot(self, limit: int) -> tuple[str, str]:
        """Body and journal event of the REST depth answer."""
        bids, asks = self._top_text(BID, limit), self._top_text(ASK, limit)
        body = self.snapshot_body(bids, asks)
        event = events.book(
            self.spec.name, "snapshot", self.sequence, self.snapshot_ms(), bids, asks
        )
        return body, event

    def snapshot_ms(self) -> int:
        """``ts_event`` of the REST depth answer, ms; 0 where it has none."""
        return 0

    def snapshot_body(self, bids: str, asks: str) -> str:
        """The REST depth answer."""
        return f'{{"lastUpdateId":{self.sequence},"bids":{bids},"asks":{asks}}}'

    # -- quotes and trades -----------------------------------------------------------------

    def ticker_body(self, bid: str, bid_size: str, ask: str, ask_size: str) -> str:
        """The ``bookTicker``."""
        raise LookupError(f"no bookTicker for {self.spec.venue}")

    def ticker_time(self) -> int:
        """``ts_event`` of a bookTicker, ms; 0 where it has none."""
        return self.time.now_ms

    def on_top(self, top: tuple[int, int, int, int]) -> None:
        wanted = False
        for stream in self._tickers:
            stream.count += 1
            wanted = wanted or bool(stream.subs)
        if not wanted or not top[1] or not top[3]:
            return
        bid, ask = self.prices[top[0]], self.prices[top[2]]
        bid_size, ask_size = self.sizes[top[1]], self.sizes[top[3]]
        body = self.ticker_body(bid, bid_size, ask, ask_size)
        event = ""
        if self.hub.journal.enabled:
            event = events.quote(
                self.spec.name, (bid, bid_size), (ask, ask_size), str(self.sequence),
                self.ticker_time(),
            )  # fmt: skip
        for stream in self._tickers:
            self.hub.publish(stream, body, event)

    def trade_body(self, price: str, size: str, buy: bool) -> str:
        """The ``trade`` with id ``self.trade_id``."""
        raise LookupError(f"no trade for {self.spec.venue}")

    def agg_body(self, price: str, size: str, buy: bool, first: int, last: int) -> str:
        """The ``aggTrade`` with id ``self.agg_id``."""
        raise LookupError(f"no aggTrade for {self.spec.venue}")

    def on_trades(self, buy: bool, fills: list[Fill]) -> None:
        by_price: dict[int, list[int]] = {}
        for tick, lots in fills:
            self.trade_id += 1
            entry = by_price.setdefault(tick, [0, self.trade_id, 0])
            entry[0] += lots
            entry[2] = self.trade_id
            self._trades.count += 1
            if self._trades.subs:
                price, size = self.prices[tick], self.sizes[lots]
                body = self.trade_body(price, size, buy)
                event = self._trade_event(price, size, buy, self.trade_id)
                self.hub.publish(self._trades, body, event)
        for tick, (lots, first, last) in by_price.items():
            self.agg_id += 1
            self._agg_trades.count += 1
            if self._agg_trades.subs:
                price, size = self.prices[tick], self.sizes[lots]
                body = self.agg_body(price, size, buy, first, last)
                event = self._trade_event(price, size, buy, self.agg_id)
                self.hub.publish(self._agg_trades, body, event)

    def _trade_event(self, price: str, size: str, buy: bool, trade_id: int) -> str:
        if not self.hub.journal.enabled:
            return ""
        return events.trade(
            self.spec.name, price, size, buy, str(trade_id), "null", self.time.now_ms
        )

    def filters(self) -> list[dict[str, object]]:
        """PRICE_FILTER and LOT_SIZE of the reference data."""
        spec = self.spec
        tick, step = self.prices[1], self.sizes[1]
        return [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": tick,
                "maxPrice": fixed(10**6 * 10**spec.price_decimals, spec.price_decimals),
                "tickSize": tick,
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": step,
                "maxQty": fixed(9000 * 10**spec.size_decimals, spec.size_decimals),
                "stepSize": step,
            },
        ]


class SpotMarket(BinanceMarket):
    """Binance spot: update ids are dense, ``U == previous u + 1``."""

    depth_names: ClassVar[dict[int, tuple[str, ...]]] = {100: ("@100ms",), 1000: ("", "@1000ms")}
    first_sequence = 72_000_000_000

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


class UsdmMarket(BinanceMarket):
    """Binance USD-M futures: update ids jump, ``pu`` links a message to the one before."""

    depth_names: ClassVar[dict[int, tuple[str, ...]]] = {
        FAST_DEPTH_MS: ("@0ms",),
        100: ("@100ms",),
        250: ("", "@250ms"),
        500: ("@500ms",),
    }
    first_sequence = 9_600_000_000_000

    def __init__(self, spec: Spec, hub: Hub, time: VenueTime, seed: int, one_sided: bool) -> None:
        super().__init__(spec, hub, time, seed, one_sided)
        self._tickers.append(hub.stream(USDM, "!bookTicker", "*"))
        self._mark_1s = [self._stream("markPrice@1s")]
        self._mark_3s = [self._stream("markPrice")]
        self._force = [self._stream("forceOrder"), hub.stream(USDM, "!forceOrder@arr", "*")]
        self._premium = self.rng.randrange(-3_000, 3_000)
        self._funding = self.rng.randrange(-5_000, 30_000)
        self._liquidated_ms = time.now_ms
        self.mark: tuple[str, str] = ("", "")

    def timers(self) -> list[Timer]:
        return [*super().timers(), (1_000, self._second), (3_000, self._three_seconds)]

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
            f'"u":{self.sequence},"pu":{window.prev},"b":{bids},"a":{asks},"ps":"{symbol}","st":1}}'
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
            f'{{"e":"bookTicker","u":{self.sequence},"s":"{symbol}","ps":"{symbol}","b":"{bid}",'
            f'"B":"{bid_size}","a":"{ask}","A":"{ask_size}","T":{now},"E":{now + 1},"st":1}}'
        )

    def trade_body(self, price: str, size: str, buy: bool) -> str:
        maker = "false" if buy else "true"
        now = self.time.now_ms
        return (
            f'{{"e":"trade","E":{now + 1},"T":{now},"s":"{self.spec.symbol}","t":{self.trade_id},'
            f'"p":"{price}","q":"{size}","X":"MARKET","m":{maker},"st":1}}'
        )

    def agg_body(self, price: str, size: str, buy: bool, first: int, last: int) -> str:
        maker = "false" if buy else "true"
        now = self.time.now_ms
        return (
            f'{{"e":"aggTrade","E":{now + 1},"a":{self.agg_id},"s":"{self.spec.symbol}",'
            f'"p":"{price}","q":"{size}","f":{first},"l":{last},"T":{now},"m":{maker},'
            f'"nq":"{size}","st":1}}'
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
            f'"l":"{size}","z":"{size}","T":{now}}},"st":1}}'
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
        body = (
            f'{{"e":"markPriceUpdate","E":{now},"s":"{spec.symbol}","p":"{values["mark"]}",'
            f'"ap":"{average}","P":"{values["settlement"]}","i":"{values["index"]}",'
            f'"r":"{values["funding_rate"]}","T":{funding_ms},"ps":"{spec.symbol}","st":1}}'
        )
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
            "status": "TRADING",
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
