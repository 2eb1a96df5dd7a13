"""What Bitget (v2 form) sends about an instrument: spot and the three futures families."""

from __future__ import annotations

from functools import partial

from feedd.sim import events
from feedd.sim.bookfeed import BookFeed, Level
from feedd.sim.figures import Figures
from feedd.sim.hub import Hub
from feedd.sim.instruments import Spec
from feedd.sim.ladder import ASK, BID
from feedd.sim.market import Timer, VenueTime
from feedd.sim.market_streams import LIQUIDATION_EVERY, Message, StreamMarket, Trade
from feedd.sim.text import FixedText

BITGET_SPOT = "bitget_spot"
BITGET_FUTURES = "bitget_futures"
BOOK_MS = 100
PARTIAL_MS = 150
TOP_MS = 10
TICKER_MS = 200
PARTIAL_DEPTHS = (5, 15, 50)
MARK_DECIMALS = 6
FIRST_TRADE = 1_235_671_058_000_000_000
HUGE_SEQUENCE = (1 << 53) + 5
"""Coin-margined books count beyond what a float64 can tell apart."""


def bitget_spot_specs() -> list[Spec]:
    """Three pairs; books never reach the 500 levels at which a snapshot is cut."""
    return [
        Spec(BITGET_SPOT, "BTCUSDT", "spot", "BTC", "USDT", "", 2, 1, 6, 1,
             9_230_000, 300, 0.4, 300_000),
        Spec(BITGET_SPOT, "ETHUSDT", "spot", "ETH", "USDT", "", 2, 1, 4, 1,
             310_500, 260, 0.35, 50_000),
        Spec(BITGET_SPOT, "SOLUSDT", "spot", "SOL", "USDT", "", 2, 1, 3, 1,
             14_120, 200, 0.25, 90_000),
    ]  # fmt: skip


def bitget_futures_specs() -> list[Spec]:
    """Two USDT contracts, one of USDC and one coin-margined."""
    return [
        Spec(BITGET_FUTURES, "BTCUSDT", "perpetual", "BTC", "USDT", "USDT", 1, 1, 4, 1,
             923_000, 320, 0.4, 9_000),
        Spec(BITGET_FUTURES, "ETHUSDT", "perpetual", "ETH", "USDT", "USDT", 2, 1, 2, 1,
             310_500, 260, 0.3, 6_000),
        Spec(BITGET_FUTURES, "BTCPERP", "perpetual", "BTC", "USDC", "USDC", 1, 1, 4, 1,
             923_400, 150, 0.1, 7_000),
        Spec(BITGET_FUTURES, "BTCUSD", "perpetual", "BTC", "USD", "BTC", 1, 1, 3, 1,
             922_800, 180, 0.2, 3_000),
    ]  # fmt: skip


def family(spec: Spec) -> str:
    """The ``instType`` that an instrument belongs to."""
    if spec.venue == BITGET_SPOT:
        return "SPOT"
    return {"USDT": "USDT-FUTURES", "USDC": "USDC-FUTURES"}.get(spec.quote, "COIN-FUTURES")


class BitgetMarket(StreamMarket):
    """``pseq`` links a book message to the one before; the first one links to the snapshot."""

    price_form = FixedText
    size_form = FixedText
    first_sequence = 427_583_000_000

    def __init__(self, spec: Spec, hub: Hub, time: VenueTime, seed: int) -> None:
        super().__init__(spec, hub, time, seed)
        self.family = family(spec)
        if self.family == "COIN-FUTURES":
            self.sequence += HUGE_SEQUENCE
        self.trade_id += FIRST_TRADE
        self.figures = None
        if spec.venue == BITGET_FUTURES:
            self.figures = Figures(self, decimals=MARK_DECIMALS)
        self._feed = BookFeed(self, BOOK_MS)
        self._previous = self.sequence
        self._top_feed = BookFeed(self, TOP_MS, 1)
        self._top_sequence = self.sequence
        symbol = spec.symbol
        self._books = self.channel(f"books:{symbol}", self._snapshot)
        self._top = self.channel(f"books1:{symbol}", self._top_message)
        self._partials = {
            depth: self.channel(f"books{depth}:{symbol}", partial(self._partial_message, depth))
            for depth in PARTIAL_DEPTHS
        }
        self._trades = self.channel(f"trade:{symbol}", self._past_trades)
        self._liquidations = None
        if spec.venue == BITGET_FUTURES:
            self._liquidations = self.channel(f"liquidation:{symbol}")
        self._ticker = self.channel(f"ticker:{symbol}", self._ticker_message)

    def timers(self) -> list[Timer]:
        return [
            (BOOK_MS, self._flush_book),
            (TOP_MS, self._flush_top),
            (PARTIAL_MS, self._send_partials),
            (TICKER_MS, self._send_ticker),
        ]

    def flush(self) -> None:
        self._flush_book()
        self._flush_top()
        self._send_partials()

    def advance(self, changes: int) -> None:
        self.sequence += changes + int(self._rnd() * 4_000)

    def _frame(self, action: str, channel: str, data: str) -> str:
        return (
            f'{{"action":"{action}","arg":{{"instType":"{self.family}","channel":"{channel}",'
            f'"instId":"{self.spec.symbol}"}},"data":[{data}],"ts":{self.time.now_ms + 2}}}'
        )

    # -- book ------------------------------------------------------------------------------

    def _flush_book(self) -> None:
        found = self._feed.changes()
        if not found:
            return
        previous, self._previous = self._previous, self.sequence
        self._books.count += 1
        if self._books.subs:
            self.book_sent = self.sequence
            bids, asks = found.levels
            body = self._levels("update", "books", bids, asks, previous)
            event = self.book_event("delta", self.sequence, bids, asks, self.time.now_ms)
            self.hub.publish(self._books, body, event)

    def _levels(
        self,
        action: str,
        channel: str,
        bids: list[Level],
        asks: list[Level],
        previous: int,
        sequence: int = 0,
    ) -> str:
        data = (
            f'{{"asks":{self.level_texts(asks)},"bids":{self.level_texts(bids)},'
            f'"ts":"{self.time.now_ms}","seq":{sequence or self.sequence},"pseq":{previous}}}'
        )
        return self._frame(action, channel, data)

    def _snapshot(self) -> Message:
        """The book as of the last message: the next one links to it."""
        bids, asks = self._feed.levels(BID), self._feed.levels(ASK)
        self.book_sent = max(self.book_sent or 0, self._previous)
        return (
            self._levels("snapshot", "books", bids, asks, 0, self._previous),
            self.book_event("snapshot", self._previous, bids, asks, self.time.now_ms),
        )

    def _send_partials(self) -> None:
        for depth, stream in self._partials.items():
            self.hub.post(stream, partial(self._partial_message, depth))

    def _partial_message(self, depth: int) -> Message:
        bids, asks = self.best(depth)
        return (
            self._levels("snapshot", f"books{depth}", bids, asks, 0),
            self.book_event("snapshot", self.sequence, bids, asks, self.time.now_ms),
        )

    def _flush_top(self) -> None:
        if self._top_feed.changes():
            self._top_sequence = self.sequence
            self.hub.post(self._top, self._top_message)

    def _top_message(self) -> Message:
        """Best bid and offer as of the last change that was told."""
        sequence = self._top_sequence
        bids, asks = self._top_feed.levels(BID), self._top_feed.levels(ASK)
        top = (*(bids[0] if bids else (0, 0)), *(asks[0] if asks else (0, 0)))
        return (
            self._levels("snapshot", "books1", bids, asks, 0, sequence),
            self.quote_event(top, sequence, self.time.now_ms),
        )

    def order_book(self, limit: int) -> str:
        """Data of the REST order book."""
        bids, asks = self.best(limit)
        return (
            f'{{"asks":{self.level_texts(asks)},"bids":{self.level_texts(bids)},'
            f'"ts":"{self.time.now_ms}"}}'
        )

    # -- trades ----------------------------------------------------------------------------

    def on_fills(self, trades: list[Trade]) -> None:
        self.hub.post(
            self._trades,
            lambda: (
                self._frame("update", "trade", ",".join(map(self._trade, trades))),
                ",".join(map(self.trade_event, trades)),
            ),
        )

        if self._liquidations is not None and self.takers % LIQUIDATION_EVERY == 0:
            self.hub.post(self._liquidations, lambda: self._liquidation(trades[-1]))

    def _liquidation(self, trade: Trade) -> Message:
        """v3 only."""
        price, size = self.prices[trade.tick], self.sizes[trade.lots]
        data = (
            f'{{"symbol":"{self.spec.symbol}","side":"{"buy" if trade.buy else "sell"}",'
            f'"price":"{price}","amount":"{size}","ts":"{trade.ms}"}}'
        )
        event = ""
        if self.hub.journal.enabled:
            event = events.liquidation(self.spec.name, price, size, trade.buy, trade.ms)
        return self._frame("update", "liquidation", data), event

    def _trade(self, trade: Trade) -> str:
        side = "buy" if trade.buy else "sell"
        return (
            f'{{"ts":"{trade.ms}","price":"{self.prices[trade.tick]}",'
            f'"size":"{self.sizes[trade.lots]}","side":"{side}","tradeId":"{trade.ident}"}}'
        )

    def _past_trades(self) -> Message | None:
        """Past trades, newest first; nothing where there was none yet."""
        past = list(reversed(self.recent))
        if not past:
            return None
        return (
            self._frame("snapshot", "trade", ",".join(map(self._trade, past))),
            ",".join([self.trade_event(trade, replay=True) for trade in past]),
        )

    # -- ticker ----------------------------------------------------------------------------

    def _send_ticker(self) -> None:
        if self.figures is not None:
            self.figures.update()
        self.hub.post(self._ticker, self._ticker_message)

    def _ticker_message(self) -> Message:
        spec, figures, now = self.spec, self.figures, self.time.now_ms
        bid, bid_size, ask, ask_size = self.ladder.top()
        last = self.prices[self.last_tick]
        values = {"last": last}
        more = ""
        next_ms = 0
        if figures is not None:
            next_ms = figures.next_funding_ms
            values |= {
                "mark": figures.mark,
                "index": figures.index,
                "funding_rate": figures.funding_rate,
                "open_interest": figures.open_interest,
            }
            more = (
                f'"fundingRate":"{figures.funding_rate}","nextFundingTime":"{next_ms}",'
                f'"markPrice":"{figures.mark}","indexPrice":"{figures.index}",'
                f'"holdingAmount":"{figures.open_interest}","symbolType":"1",'
                f'"symbol":"{spec.symbol}","deliveryPrice":"0",'
            )
        data = (
            f'{{"instId":"{spec.symbol}","lastPr":"{last}","bidPr":"{self.prices[bid]}",'
            f'"askPr":"{self.prices[ask]}","bidSz":"{self.sizes[bid_size]}",'
            f'"askSz":"{self.sizes[ask_size]}","open24h":"{last}","high24h":"{last}",'
            f'"low24h":"{last}","change24h":"-0.01569",{more}"baseVolume":"2878355.9",'
            f'"quoteVolume":"1355483.45089","openUtc":"{last}","ts":"{now}"}}'
        )
        event = self.deriv_event(now, values, next_ms)
        return self._frame("snapshot", "ticker", data), event

    # -- reference data --------------------------------------------------------------------

    def reference(self) -> dict[str, object]:
        spec = self.spec
        info: dict[str, object] = {
            "symbol": spec.symbol,
            "baseCoin": spec.base,
            "quoteCoin": spec.quote,
            "takerFeeRate": "0.0006",
            "makerFeeRate": "0.0002",
        }
        if spec.venue == BITGET_SPOT:
            return info | {
                "minTradeAmount": "0",
                "maxTradeAmount": "900000000000000000000",
                "pricePrecision": str(spec.price_decimals),
                "quantityPrecision": str(spec.size_decimals),
                "quotePrecision": "8",
                "status": "online",
                "minTradeUSDT": "1",
                "buyLimitPriceRatio": "0.05",
                "sellLimitPriceRatio": "0.05",
                "areaSymbol": "no",
                "orderQuantity": "200",
                "openTime": "1532454360000",
                "offTime": "",
            }
        return info | {
            "buyLimitPriceRatio": "0.05",
            "sellLimitPriceRatio": "0.05",
            "feeRateUpRatio": "0.005",
            "openCostUpRatio": "0.01",
            "supportMarginCoins": [spec.settle],
            "minTradeNum": self.sizes[1],
            "priceEndStep": str(spec.tick),
            "volumePlace": str(spec.size_decimals),
            "pricePlace": str(spec.price_decimals),
            "sizeMultiplier": self.sizes[1],
            "symbolType": "perpetual",
            "minTradeUSDT": "5",
            "maxSymbolOrderNum": "200",
            "symbolStatus": "normal",
            "offTime": "-1",
            "limitOpenTime": "-1",
            "deliveryTime": "",
            "deliveryStartTime": "",
            "launchTime": "",
            "fundInterval": "8",
            "minLever": "1",
            "maxLever": "125",
            "posLimit": "0.05",
            "maintainTime": "",
            "openTime": "",
        }
