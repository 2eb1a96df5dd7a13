"""What Kraken's derivatives venue sends about a contract: flat messages, one level each."""

from __future__ import annotations

import uuid

from feedd.sim.bookfeed import BookFeed, Level
from feedd.sim.figures import RATE_DECIMALS, Figures
from feedd.sim.hub import Hub
from feedd.sim.instruments import Spec, quarterly_expiry
from feedd.sim.ladder import ASK, BID
from feedd.sim.market import Timer, VenueTime
from feedd.sim.market_streams import LIQUIDATION_EVERY, Message, StreamMarket, Trade
from feedd.sim.text import PlainText, TrimmedText, iso_ms, plain, short

KRAKEN_FUTURES = "kraken_futures"
BLOCK_EVERY = 97
BARE_EVERY = 3
"""Every third book message writes whole numbers without a point, as the wire now and then does."""
MARK_DECIMALS = 4
TICKER_MS = 1_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def kraken_futures_specs(epoch_ms: int) -> list[Spec]:
    """Two linear perpetuals (sizes in coins), an inverse one and a dated future (US dollars)."""
    expiry = quarterly_expiry(epoch_ms)
    dated = f"FI_XBTUSD_{expiry:%y%m%d}"
    return [
        Spec(KRAKEN_FUTURES, "PF_XBTUSD", "perpetual", "BTC", "USD", "USD",
             0, 1, 4, 1, 92_300, 320, 0.4, 9_000),
        Spec(KRAKEN_FUTURES, "PF_ETHUSD", "perpetual", "ETH", "USD", "USD",
             1, 1, 3, 1, 31_050, 260, 0.3, 12_000),
        Spec(KRAKEN_FUTURES, "PI_XBTUSD", "perpetual", "BTC", "USD", "BTC",
             1, 5, 0, 1, 184_600, 240, 0.2, 6_000),
        Spec(KRAKEN_FUTURES, dated, "future", "BTC", "USD", "BTC",
             1, 5, 0, 1, 186_100, 120, 0.1, 9_000, expiry_ms=int(expiry.timestamp()) * 1000),
    ]  # fmt: skip


class KrakenFuturesMarket(StreamMarket):
    """Book and trades have counters of their own, each dense per product."""

    price_form = PlainText
    size_form = PlainText
    first_sequence = 326_000_000

    def __init__(self, spec: Spec, hub: Hub, time: VenueTime, seed: int) -> None:
        super().__init__(spec, hub, time, seed)
        self.bare_prices = TrimmedText(spec.price_decimals, spec.tick)
        self.bare_sizes = TrimmedText(spec.size_decimals, spec.lot)
        self.figures = Figures(self, decimals=MARK_DECIMALS, funding_ms=HOUR_MS)
        self._feed = BookFeed(self, 0)
        self._book = self.channel(f"book:{spec.symbol}", self._snapshot)
        self._trades = self.channel(f"trade:{spec.symbol}", self._past_trades)
        self._ticker = self.channel(f"ticker:{spec.symbol}", self._ticker_message)
        self._lite = self.channel(f"ticker_lite:{spec.symbol}", self._lite_message)

    def timers(self) -> list[Timer]:
        return [(TICKER_MS, self._tick)]

    # -- book ------------------------------------------------------------------------------

    def advance(self, changes: int) -> None:
        """Nothing here: each message of a level takes the next number."""

    def on_book(self) -> None:
        found = self._feed.changes()
        for side in (BID, ASK):
            for level in found.levels[side]:
                self.sequence += 1
                self._book.count += 1
                if self._book.subs:
                    self.book_sent = self.sequence
                    self.hub.publish(self._book, *self._level(side, level))

    def _level(self, side: int, level: Level) -> Message:
        tick, size = level
        name = "sell" if side == ASK else "buy"
        bare = self._book.count % BARE_EVERY == 0
        prices, sizes = (self.bare_prices, self.bare_sizes) if bare else (self.prices, self.sizes)
        now = self.time.now_ms
        body = (
            f'{{"feed":"book","product_id":"{self.spec.symbol}","side":"{name}",'
            f'"seq":{self.sequence},"price":{prices[tick]},"qty":{sizes[size]},'
            f'"timestamp":{now}}}'
        )
        bids, asks = ([level], []) if side == BID else ([], [level])
        return body, self.book_event("delta", self.sequence, bids, asks, now)

    def _snapshot(self) -> Message:
        """The whole book; now and then with a level of no size, which is no level."""
        bids, asks = self._feed.levels(BID), self._feed.levels(ASK)
        now = self.time.now_ms
        self.book_sent = self.sequence
        empty = [(bids[-1][0] - 1, 0)] if bids and self.sequence % 2 else []
        body = (
            f'{{"feed":"book_snapshot","product_id":"{self.spec.symbol}","timestamp":{now},'
            f'"seq":{self.sequence},"tickSize":null,"bids":{self._objects(bids + empty)},'
            f'"asks":{self._objects(asks)}}}'
        )
        return body, self.book_event("snapshot", self.sequence, bids, asks, now)

    def _objects(self, levels: list[Level]) -> str:
        parts = [f'{{"price":{self.prices[t]},"qty":{self.sizes[s]}}}' for t, s in levels]
        return "[" + ",".join(parts) + "]"

    def order_book(self) -> str:
        """Body of the REST order book: both sides ascending, as pairs."""
        bids, asks = self._feed.levels(BID), self._feed.levels(ASK)
        sides = []
        for levels in (reversed(bids), asks):
            pairs = [f"[{self.prices[t]},{self.sizes[s]}]" for t, s in levels]
            sides.append("[" + ",".join(pairs) + "]")
        return f'{{"bids":{sides[0]},"asks":{sides[1]}}}'

    # -- trades ----------------------------------------------------------------------------

    def trade_ident(self) -> str:
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def trade_flags(self) -> tuple[str, ...]:
        if self.takers % LIQUIDATION_EVERY == 0:
            return ("liquidation",)
        return ("block",) if self.takers % BLOCK_EVERY == 0 else ()

    def on_fills(self, trades: list[Trade]) -> None:
        for trade in trades:
            self._trades.count += 1
            if self._trades.subs:
                event = self.trade_event(trade, str(trade.number))
                self.hub.publish(self._trades, self._trade(trade), event)

    def _trade(self, trade: Trade) -> str:
        kind = trade.flags[0] if trade.flags else "fill"
        side = "buy" if trade.buy else "sell"
        return (
            f'{{"feed":"trade","product_id":"{self.spec.symbol}","uid":"{trade.ident}",'
            f'"side":"{side}","type":"{kind}","seq":{trade.number},"time":{trade.ms},'
            f'"qty":{self.sizes[trade.lots]},"price":{self.prices[trade.tick]}}}'
        )

    def _past_trades(self) -> Message:
        """The snapshot of past trades, newest first."""
        past = list(reversed(self.recent))
        rows = ",".join([self._trade(trade) for trade in past])
        body = f'{{"feed":"trade_snapshot","product_id":"{self.spec.symbol}","trades":[{rows}]}}'
        return body, ",".join([self.trade_event(t, str(t.number), replay=True) for t in past])

    # -- ticker ----------------------------------------------------------------------------

    def _tick(self) -> None:
        self.figures.update()
        self.hub.post(self._ticker, self._ticker_message)
        self.hub.post(self._lite, self._lite_message)

    def _common(self) -> str:
        spec = self.spec
        bid, _, ask, _ = self.ladder.top()
        tag = "perpetual" if spec.kind == "perpetual" else "quarter"
        days = (spec.expiry_ms - self.time.now_ms) // DAY_MS if spec.expiry_ms else 0
        pair = f"{'XBT' if spec.base == 'BTC' else spec.base}:USD"
        return (
            f'"product_id":"{spec.symbol}","bid":{self.prices[bid]},"ask":{self.prices[ask]},'
            f'"change":{plain(self.sequence % 700 - 350, 2)},"premium":-0.0,'
            f'"volume":{plain(self.trade_id, 1)},"tag":"{tag}","pair":"{pair}","dtm":{days},'
            f'"maturityTime":{spec.expiry_ms}'
        )

    def _ticker_message(self) -> Message:
        figures, now = self.figures, self.time.now_ms
        top = self.ladder.top()
        values = {
            "mark": figures.mark,
            "index": figures.index,
            "last": self.prices[self.last_tick],
            "open_interest": figures.open_interest,
        }
        funding, next_ms = "", 0
        if self.spec.kind == "perpetual":
            next_ms = figures.next_funding_ms
            values["funding_rate"] = short(figures.rate_units, RATE_DECIMALS)
            values["predicted_funding"] = figures.predicted_funding
            absolute = f"{figures.rate_units / 10**RATE_DECIMALS * float(figures.index):.6g}"
            funding = (
                f'"funding_rate":{absolute},"funding_rate_prediction":{absolute},'
                f'"relative_funding_rate":{values["funding_rate"]},'
                f'"relative_funding_rate_prediction":{values["predicted_funding"]},'
                f'"next_funding_rate_time":{next_ms},'
            )
        body = (
            f'{{"time":{now},{funding}"feed":"ticker",'
            f'"bid_size":{self.sizes[top[1]]},"ask_size":{self.sizes[top[3]]},'
            f'{self._common()},"leverage":"50x","index":{values["index"]},'
            f'"last":{values["last"]},"suspended":{self.word or "false"},'
            f'"openInterest":{figures.open_interest},'
            f'"markPrice":{values["mark"]},"post_only":false,'
            f'"volumeQuote":{plain(self.trade_id, 1)}}}'
        )
        found = [self.deriv_event(now, values, next_ms), self.quote_event(top, None, now)]
        return body, ",".join(filter(None, found))

    def _lite_message(self) -> Message:
        """The short ticker: no time and no sizes, so that nothing is due of it."""
        return f'{{"feed":"ticker_lite",{self._common()}}}', ""

    # -- reference data --------------------------------------------------------------------

    def reference(self) -> dict[str, object]:
        spec = self.spec
        linear = spec.symbol.startswith("PF_")
        info: dict[str, object] = {
            "symbol": spec.symbol,
            "type": "flexible_futures" if linear else "futures_inverse",
            "tickSize": float(self.prices[1]),
            "contractSize": 1,
            "tradeable": self.word != "true",
            "impactMidSize": 1,
            "maxPositionSize": 1_000_000,
            "openingDate": "2022-01-01T00:00:00.000Z",
            "contractValueTradePrecision": spec.size_decimals,
            "postOnly": False,
            "feeScheduleUid": "5b755fea-c5b0-4307-a66e-b392cd5bd931",
            "retailMarginLevels": [],
            "marginLevels": [],
            "category": "Layer 1",
            "tags": [],
            "base": spec.base,
            "quote": spec.quote,
            "pair": f"{spec.base}:{spec.quote}",
            "isin": "",
        }
        if spec.kind == "perpetual":
            info |= {"fundingRateCoefficient": 8, "maxRelativeFundingRate": 0.0025}
        else:
            info["lastTradingTime"] = iso_ms(spec.expiry_ms)
        if not linear:
            info["underlying"] = "rr_xbtusd"
        return info
