"""What the Binance venues send about an instrument, whatever the form of each message."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import ClassVar

from feedd.sim import events
from feedd.sim.hub import Hub, Stream
from feedd.sim.instruments import SPOT, Spec
from feedd.sim.ladder import ASK, BID, Window
from feedd.sim.market import Fill, Market, Timer, VenueTime
from feedd.sim.text import FixedText, fixed

PARTIAL_DEPTHS = (5, 10, 20)


class BinanceBook(Market):
    """Streams that all venues have: depth, partial depth, bookTicker."""

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

    @abstractmethod
    def depth_body(self, window: Window, first: int, bids: str, asks: str) -> str:
        """The ``depthUpdate`` of a window that ends now."""

    @abstractmethod
    def partial_body(self, window: Window, first: int, bids: str, asks: str) -> str:
        """The partial depth message of a window that ends now."""

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

    @abstractmethod
    def ticker_body(self, bid: str, bid_size: str, ask: str, ask_size: str) -> str:
        """The ``bookTicker``."""

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


class BinanceMarket(BinanceBook):
    """With the trade and aggTrade streams of spot and futures."""

    def __init__(self, spec: Spec, hub: Hub, time: VenueTime, seed: int, one_sided: bool) -> None:
        super().__init__(spec, hub, time, seed, one_sided)
        self._trades = self._stream("trade")
        self._agg_trades = self._stream("aggTrade")

    @abstractmethod
    def trade_body(self, price: str, size: str, buy: bool) -> str:
        """The ``trade`` with id ``self.trade_id``."""

    @abstractmethod
    def agg_body(self, price: str, size: str, buy: bool, first: int, last: int) -> str:
        """The ``aggTrade`` with id ``self.agg_id``."""

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
