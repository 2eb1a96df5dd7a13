"""What Bybit v5 sends about an instrument, in all four families."""

from __future__ import annotations

import itertools
from functools import partial
from typing import ClassVar

from feedd.sim import events
from feedd.sim.bookfeed import BookFeed, Level
from feedd.sim.figures import Figures
from feedd.sim.hub import Hub, Stream
from feedd.sim.instruments import Spec
from feedd.sim.ladder import ASK, BID
from feedd.sim.market import Fill, Timer, VenueTime
from feedd.sim.market_text import TextMarket
from feedd.sim.text import FixedText

DEPTHS = {"option": {25: 20, 100: 100}}
USUAL_DEPTHS = {50: 20, 200: 100, 1_000: 200}
"""Levels a side -> milliseconds between two messages."""
FULL_LEVELS, FULL_MS = 10_000, 200
"""``orderbook.full`` of spot: changes only, its snapshot comes by REST."""
TOP_MS = 10
TOP_REPEAT_MS = 3_000
TICKER_MS = {"spot": 50}
USUAL_TICKER_MS = 100
LIQUIDATION_MS = 500
LIQUIDATION_CHANCE = 0.03
BLOCK_EVERY = 307
PUSH_DELAY_MS = 2
"""``ts`` of a push is so much later than the engine's ``cts``."""
UUID_STEP = 0x9E3779B97F4A7C15F39CC0605CEDC835
"""Odd, so that every trade has an id of its own."""
INDEX_CENTS = {"BTC": 9_230_000, "ETH": 310_500}


class _Depth:
    """One ``orderbook.N`` stream with N > 1: its own count of updates."""

    __slots__ = ("depth", "feed", "stream", "update")

    def __init__(self, depth: int, stream: Stream, feed: BookFeed, update: int) -> None:
        self.depth = depth
        self.stream = stream
        self.feed = feed
        self.update = update


class BybitMarket(TextMarket):
    """``u`` counts the messages of a depth by one, ``seq`` is the engine's."""

    price_form: ClassVar[type[FixedText]] = FixedText
    size_form: ClassVar[type[FixedText]] = FixedText
    first_sequence: ClassVar[int] = 7_961_000_000

    def __init__(
        self, spec: Spec, hub: Hub, time: VenueTime, seed: int, one_sided: bool, family: str
    ) -> None:
        super().__init__(spec, hub, time, seed, one_sided)
        self.family = family
        option = family == "option"
        self.figures = Figures(
            self, linear=True, underlying_cents=INDEX_CENTS.get(spec.base, 0)
        )  # fmt: skip
        self.depths: list[_Depth] = []
        for depth, interval in DEPTHS.get(family, USUAL_DEPTHS).items():
            stream = self.stream(f"orderbook.{depth}.{spec.symbol}")
            update = 18_000_000 + self.rng.randrange(1_000_000)
            each = _Depth(depth, stream, BookFeed(self, interval, depth), update)
            stream.greet = partial(self._snapshot, each)
            self.depths.append(each)
        self.full: _Depth | None = None
        if family == "spot":
            stream = self.stream(f"orderbook.full.{spec.symbol}")
            update = 5_000_000 + self.rng.randrange(1_000_000)
            self.full = _Depth(FULL_LEVELS, stream, BookFeed(self, FULL_MS, FULL_LEVELS), update)
        self.top = None if option else self.stream(f"orderbook.1.{spec.symbol}")
        if self.top is not None:
            self.top.greet = self._top_message
        self._top_sent = self.ladder.top()
        self._top_update = 30_000_000 + self.rng.randrange(1_000_000)
        self._top_sequence = self.sequence
        self._top_ms = time.now_ms
        self.trades = [self.stream(f"publicTrade.{spec.symbol}")]
        if option:
            self.trades = [hub.stream(spec.venue, f"publicTrade.{spec.base}", "*")]
        self.ticker = self.stream(f"tickers.{spec.symbol}")
        self.ticker.greet = self._ticker_greeting
        self._told: dict[str, str] = {}
        liquidated = family in ("linear", "inverse")
        self.liquidations = self.stream(f"allLiquidation.{spec.symbol}") if liquidated else None
        self._liquidated: list[tuple[str, str]] = []
        self._last_tick = 0

    def advance(self, changes: int) -> None:
        self.sequence += changes + int(self._rnd() * 30)

    def timers(self) -> list[Timer]:
        timers: list[Timer] = [
            (each.feed.interval_ms, partial(self._flush_depth, each)) for each in self.depths
        ]
        timers.append((TICKER_MS.get(self.family, USUAL_TICKER_MS), self._send_ticker))
        if self.full is not None:
            timers.append((FULL_MS, partial(self._flush_depth, self.full)))
        if self.top is not None:
            timers.append((TOP_MS, self._flush_top))
        if self.liquidations is not None:
            timers.append((LIQUIDATION_MS, self._flush_liquidations))
        return timers

    def flush(self) -> None:
        for each in self.depths:
            self._flush_depth(each)
        if self.full is not None:
            self._flush_depth(self.full)
        if self.top is not None:
            self._flush_top()
        if self.liquidations is not None:
            self._flush_liquidations()

    # -- books -----------------------------------------------------------------------------

    def _wire(self, levels: list[Level]) -> str:
        prices, sizes = self.prices, self.sizes
        rows = [f'["{prices[tick]}","{sizes[lots] if lots else 0}"]' for tick, lots in levels]
        return "[" + ",".join(rows) + "]"

    def _frame(self, topic: str, kind: str, data: str) -> str:
        now = self.time.now_ms
        push = now + PUSH_DELAY_MS
        if self.family == "spot" or topic.startswith("orderbook.1."):
            head = f'"topic":"{topic}","ts":{push},"type":"{kind}"'
        else:
            head = f'"topic":"{topic}","type":"{kind}","ts":{push}'
        return f'{{{head},"data":{data},"cts":{now}}}'

    def _book(self, bids: list[Level], asks: list[Level], update: int, sequence: int) -> str:
        return (
            f'{{"s":"{self.spec.symbol}","b":{self._wire(bids)},"a":{self._wire(asks)},'
            f'"u":{update},"seq":{sequence}}}'
        )

    def _flush_depth(self, each: _Depth) -> None:
        changes = each.feed.changes()
        if not changes:
            return
        each.stream.count += 1
        each.update += 1
        if not each.stream.subs:
            return
        data = self._book(*changes.levels, each.update, self.sequence)
        event = ""
        if self._is_told(each):
            self.book_sent = each.update
            event = self.book_event("delta", each.update, *changes.levels, self.time.now_ms)
        self.hub.publish(each.stream, self._frame(each.stream.name, "delta", data), event)

    def _is_told(self, each: _Depth) -> bool:
        """The journal has one book of an instrument: the full one where no other is subscribed."""
        return each is not self.full or not any(other.stream.subs for other in self.depths)

    def _snapshot(self, each: _Depth) -> tuple[str, str]:
        levels = (each.feed.levels(BID), each.feed.levels(ASK))
        self.note_final(each.feed)
        self.book_sent = each.update
        data = self._book(*levels, each.update, self.sequence)
        event = self.book_event("snapshot", each.update, *levels, self.time.now_ms)
        return self._frame(each.stream.name, "snapshot", data), event

    def send_snapshots(self, restarted: bool) -> None:
        """A snapshot in mid-stream on every depth; numbered 1 after a restart of the service."""
        for each in self.depths:
            each.feed.changes()
            each.update = 1 if restarted else each.update + 1
            self.hub.post(each.stream, partial(self._snapshot, each))

    def _flush_top(self) -> None:
        """Best bid and offer; an unchanged one again after three seconds, with the same number."""
        stream, now, top = self.top, self.time.now_ms, self.ladder.top()
        changed = top != self._top_sent
        if stream is None or not (changed or now - self._top_ms >= TOP_REPEAT_MS):
            return
        self._top_ms = now
        stream.count += 1
        if changed:
            self._top_sent = top
            self._top_update += 1
            self._top_sequence = self.sequence
        if stream.subs:
            body, event = self._top_message()
            self.hub.publish(stream, body, event if changed else "")

    def _top_message(self) -> tuple[str, str]:
        bid, bid_lots, ask, ask_lots = self._top_sent
        bids = [(bid, bid_lots)] if bid_lots else []
        asks = [(ask, ask_lots)] if ask_lots else []
        data = self._book(bids, asks, self._top_update, self._top_sequence)
        event = events.quote(
            self.spec.name,
            self.texts(bids)[0] if bids else None,
            self.texts(asks)[0] if asks else None,
            str(self._top_update),
            self.time.now_ms,
        )
        return self._frame(f"orderbook.1.{self.spec.symbol}", "snapshot", data), event

    # -- trades ----------------------------------------------------------------------------

    def on_trades(self, buy: bool, fills: list[Fill]) -> None:
        rows, found = [], []
        now, sequence, side = self.time.now_ms, self.sequence, "Buy" if buy else "Sell"
        for tick, lots in fills:
            self.trade_id += 1
            self.figures.note_trade(tick, lots, buy)
            ident = self._ident()
            block = self.trade_id % BLOCK_EVERY == 0
            price, size = self.prices[tick], self.sizes[lots]
            more = ""
            if self.family == "option":
                figures = self.figures
                more = (
                    f',"mP":"{figures.mark}","iP":"{figures.index}","mIv":"{figures.mark_iv}",'
                    f'"iv":"{figures.mark_iv}"'
                )
            rows.append(
                f'{{"T":{now},"s":"{self.spec.symbol}","S":"{side}","v":"{size}","p":"{price}",'
                f'"L":"{self._direction(tick)}","i":"{ident}","BT":{"true" if block else "false"},'
                f'"RPI":false,"seq":{sequence}{more}}}'
            )
            flags = "block" if block else ""
            found.append(
                events.trade(
                    self.spec.name, price, size, buy, ident, str(sequence), now, flags
                )
            )  # fmt: skip
        for stream in self.trades:
            stream.count += 1
            if stream.subs:
                ident = f'"id":"{stream.name}-{self.trade_id}",' if self.family == "option" else ""
                body = (
                    f'{{{ident}"topic":"{stream.name}","type":"snapshot",'
                    f'"ts":{now + PUSH_DELAY_MS},"data":[{",".join(rows)}]}}'
                )
                self.hub.publish(stream, body, ",".join(found))
        self._maybe_liquidation(buy, fills[-1])

    def _ident(self) -> str:
        """Digits on spot, a UUID elsewhere; the same every time for the same trade."""
        if self.family == "spot":
            return str(2_290_000_000_000_000_000 + self.trade_id)
        digits = f"{self.trade_id * UUID_STEP % (1 << 128):032x}"
        cuts = (0, 8, 12, 16, 20, 32)
        return "-".join(digits[a:b] for a, b in itertools.pairwise(cuts))

    def _direction(self, tick: int) -> str:
        last, self._last_tick = self._last_tick, tick
        if tick == last:
            return "ZeroPlusTick"
        return "PlusTick" if tick > last else "MinusTick"

    def _maybe_liquidation(self, buy: bool, fill: Fill) -> None:
        if self.liquidations is None or self._rnd() >= LIQUIDATION_CHANCE:
            return
        price, size, now = self.prices[fill[0]], self.sizes[fill[1]], self.time.now_ms
        # S names the position: the taker that buys closes a short one.
        position = "Sell" if buy else "Buy"
        row = f'{{"T":{now},"s":"{self.spec.symbol}","S":"{position}","v":"{size}","p":"{price}"}}'
        self._liquidated.append(
            (row, events.liquidation(self.spec.name, price, size, buy, now))
        )  # fmt: skip

    def _flush_liquidations(self) -> None:
        stream, rows = self.liquidations, self._liquidated
        if stream is None or not rows:
            return
        self._liquidated = []
        stream.count += 1
        data = ",".join([row for row, _ in rows])
        body = (
            f'{{"topic":"{stream.name}","type":"snapshot","ts":{self.time.now_ms},"data":[{data}]}}'
        )
        self.hub.publish(stream, body, ",".join([event for _, event in rows]))

    # -- tickers ---------------------------------------------------------------------------

    def _fields(self) -> dict[str, str]:
        figures = self.figures
        last = figures.last or self.prices[self.spec.start]
        common = {"symbol": self.spec.symbol, "lastPrice": last, "highPrice24h": last,
                  "lowPrice24h": last, "turnover24h": "1.5", "volume24h": "150"}  # fmt: skip
        if self.family == "spot":
            return common | {"prevPrice24h": last, "price24hPcnt": "0.01", "usdIndexPrice": ""}
        bid, bid_lots, ask, ask_lots = self.ladder.top()
        prices, sizes = self.prices, self.sizes
        tops = (
            prices[bid] if bid_lots else "0",
            sizes[bid_lots] if bid_lots else "0",
            prices[ask] if ask_lots else "0",
            sizes[ask_lots] if ask_lots else "0",
        )
        if self.family == "option":
            greeks = figures.greeks
            return common | {
                "bidPrice": tops[0], "bidSize": tops[1], "bidIv": figures.bid_iv or "0",
                "askPrice": tops[2], "askSize": tops[3], "askIv": figures.ask_iv,
                "markPrice": figures.mark, "indexPrice": figures.index,
                "markPriceIv": figures.mark_iv, "underlyingPrice": figures.underlying,
                "openInterest": figures.open_interest, "delta": greeks.delta,
                "gamma": greeks.gamma, "vega": greeks.vega, "theta": greeks.theta,
                "totalVolume": "20", "totalTurnover": "421", "predictedDeliveryPrice": "0",
                "change24h": "-0.11111112",
            }  # fmt: skip
        fields = common | {
            "tickDirection": "PlusTick", "price24hPcnt": "0.017103", "prevPrice24h": last,
            "prevPrice1h": last, "markPrice": figures.mark, "indexPrice": figures.index,
            "openInterest": figures.open_interest, "openInterestValue": "1000000.5",
            "bid1Price": tops[0], "bid1Size": tops[1], "ask1Price": tops[2], "ask1Size": tops[3],
        }  # fmt: skip
        if self.spec.kind == "perpetual":
            fields["fundingRate"] = figures.funding_rate
            fields["nextFundingTime"] = str(figures.next_funding_ms)
            fields["fundingIntervalHour"] = "8"
        else:
            fields["deliveryTime"] = str(self.spec.expiry_ms)
        return fields

    def _send_ticker(self) -> None:
        """Everything on spot and options; what changed elsewhere."""
        self.figures.update()
        fields = self._fields()
        whole = self.family in ("spot", "option")
        shown = {
            key: value
            for key, value in fields.items()
            if whole or key == "symbol" or self._told.get(key) != value
        }
        changed = fields != self._told
        self._told = fields
        if not changed and not whole:
            return
        kind = "snapshot" if whole else "delta"
        self.hub.post(self.ticker, partial(self._ticker_message, shown, kind))

    def _ticker_greeting(self) -> tuple[str, str]:
        return self._ticker_message(self._told or self._fields(), "snapshot")

    def _ticker_message(self, fields: dict[str, str], kind: str) -> tuple[str, str]:
        now = self.time.now_ms + PUSH_DELAY_MS
        data = ",".join([f'"{key}":"{value}"' for key, value in fields.items()])
        tail = f'"cs":{self.sequence},"ts":{now}'
        body = f'{{"topic":"{self.ticker.name}","type":"{kind}","data":{{{data}}},{tail}}}'
        if not self.hub.journal.enabled:
            return body, ""
        wanted = {"lastPrice": "last"} if self.family == "spot" else _DERIV
        deriv = {name: fields[key] for key, name in wanted.items() if key in fields}
        funding = int(fields.get("nextFundingTime", 0))
        found = []
        if deriv or funding:
            found.append(events.values("deriv", self.spec.name, now, deriv, funding))
        if self.family == "option":
            greeks = {
                name: fields[key]
                for key, name in _GREEKS.items()
                if not (key.endswith("Iv") and fields[key] == "0")
            }
            found.append(events.values("greeks", self.spec.name, now, greeks))
            sides = [
                (fields[f"{side}Price"], fields[f"{side}Size"])
                if fields[f"{side}Size"] != "0"
                else None
                for side in ("bid", "ask")
            ]
            found.append(events.quote(self.spec.name, sides[0], sides[1], "null", now))
        return body, ",".join(found)

    # -- REST ------------------------------------------------------------------------------

    def order_book(self, limit: int) -> tuple[str, str]:
        """Result of ``GET /v5/market/orderbook`` and its journal event; ``u`` is the deepest's."""
        return self._answer(self.depths[-1], limit)

    def full_book(self) -> tuple[str, str] | None:
        """Result of ``GET /v5/market/full_orderbook`` and its journal event; None without one."""
        if self.full is None:
            return None
        if self._is_told(self.full):
            self.note_final(self.full.feed)
        return self._answer(self.full, FULL_LEVELS)

    def _answer(self, each: _Depth, limit: int) -> tuple[str, str]:
        levels = (each.feed.levels(BID)[:limit], each.feed.levels(ASK)[:limit])
        now = self.time.now_ms
        body = (
            f'{{"s":"{self.spec.symbol}","b":{self._wire(levels[BID])},'
            f'"a":{self._wire(levels[ASK])},"ts":{now + PUSH_DELAY_MS},"u":{each.update},'
            f'"seq":{self.sequence},"cts":{now}}}'
        )
        told = self._is_told(each)
        return body, self.book_event("snapshot", each.update, *levels, now) if told else ""

    def reference(self) -> dict[str, object]:
        spec, tick, lot = self.spec, self.prices[1], self.sizes[1]
        info: dict[str, object] = {
            "symbol": spec.symbol,
            "status": "Trading",
            "baseCoin": spec.base,
            "quoteCoin": spec.quote,
        }
        if self.family == "spot":
            return info | {
                "innovation": "0",
                "marginTrading": "utaOnly",
                "lotSizeFilter": {
                    "basePrecision": lot,
                    "quotePrecision": "0.0000001",
                    "minOrderQty": lot,
                    "maxOrderQty": "100",
                    "minOrderAmt": "5",
                    "maxOrderAmt": "1000000",
                },
                "priceFilter": {"tickSize": tick},
            }
        info |= {
            "settleCoin": spec.settle,
            "launchTime": "1584230400000",
            "deliveryTime": str(spec.expiry_ms),
            "deliveryFeeRate": "",
            "priceFilter": {"minPrice": tick, "maxPrice": "1999999.80", "tickSize": tick},
            "lotSizeFilter": {"maxOrderQty": "1190", "minOrderQty": lot, "qtyStep": lot},
        }
        if self.family == "option":
            return info | {"optionsType": spec.option_type.capitalize()}
        kind = "Perpetual" if spec.kind == "perpetual" else "Futures"
        return info | {
            "contractType": self.family.capitalize() + kind,
            "priceScale": str(spec.price_decimals),
            "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
            "unifiedMarginTrade": True,
            "fundingInterval": 480,
            "isPreListing": False,
            "symbolType": "",
        }


_DERIV = {
    "markPrice": "mark",
    "indexPrice": "index",
    "lastPrice": "last",
    "openInterest": "open_interest",
    "fundingRate": "funding_rate",
}
_GREEKS = {
    "delta": "delta",
    "gamma": "gamma",
    "vega": "vega",
    "theta": "theta",
    "markPriceIv": "mark_iv",
    "bidIv": "bid_iv",
    "askIv": "ask_iv",
    "underlyingPrice": "underlying",
    "markPrice": "mark",
}
