"""What Coinbase Advanced Trade and Coinbase Exchange send about a product."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import ClassVar

from feedd.sim import events
from feedd.sim.bookfeed import BookFeed, Level
from feedd.sim.hub import Hub, Stream
from feedd.sim.instruments import Spec
from feedd.sim.ladder import ASK, BID
from feedd.sim.market import Fill, Timer, VenueTime
from feedd.sim.market_text import TextMarket
from feedd.sim.text import FixedText, rfc3339

ADVANCED = "coinbase"
EXCHANGE = "coinbase_exchange"
BOOK_MS = 50
TRADES_MS = 250
BATCH_MS = 5_000
HEARTBEAT_MS = 1_000
PAST_TRADES = 50
NUMBER = "\x00"
"""Stands in a body where a connection writes its own number."""
NUMBERED = '"@"'
"""Stands in an event for the number of its frame."""
LONG_EVERY = 3
"""Every third time has nine digits of a second, the others six."""


class CoinbaseMarket(TextMarket):
    """What both venues share: numbers with all places, a whole book, times in microseconds."""

    price_form: ClassVar[type[FixedText]] = FixedText
    size_form: ClassVar[type[FixedText]] = FixedText
    first_sequence: ClassVar[int] = 177_100_000

    def __init__(self, spec: Spec, hub: Hub, time: VenueTime, seed: int, one_sided: bool) -> None:
        super().__init__(spec, hub, time, seed, one_sided)
        self.feed = BookFeed(self, BOOK_MS)
        self.last = self.prices[spec.start]
        self.last_size = self.sizes[1]

    def advance(self, changes: int) -> None:
        self.sequence += changes + int(self._rnd() * 3)

    def moment(self) -> tuple[str, int]:
        """The time as text, and its nanoseconds below the millisecond."""
        micros = self.sequence * 37 % 1_000
        digits = 9 if self.sequence % LONG_EVERY == 0 else 6
        return rfc3339(self.time.now_ms, micros, digits), micros * 1_000

    def tops(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """Best bid and best ask as (price, size)."""
        bid, bid_lots, ask, ask_lots = self.ladder.top()
        prices, sizes = self.prices, self.sizes
        return (prices[bid], sizes[bid_lots]), (prices[ask], sizes[ask_lots])

    def note_fill(self, tick: int, lots: int) -> tuple[str, str]:
        """Count a fill; its price and size as text."""
        self.trade_id += 1
        self.last, self.last_size = self.prices[tick], self.sizes[lots]
        return self.last, self.last_size


class AdvancedMarket(CoinbaseMarket):
    """Advanced Trade: every frame of a connection is numbered, whatever its channel."""

    def __init__(self, spec: Spec, hub: Hub, time: VenueTime, seed: int, one_sided: bool) -> None:
        super().__init__(spec, hub, time, seed, one_sided)
        symbol = spec.symbol
        self.book = self.stream(f"level2:{symbol}")
        self.book.greet = self._snapshot
        self.trades = self.stream(f"market_trades:{symbol}")
        self.trades.greet = self._past_trades
        self._batch: list[tuple[str, str]] = []
        self._past: deque[tuple[str, str]] = deque(maxlen=PAST_TRADES)
        self.ticker = self.stream(f"ticker:{symbol}")
        self.ticker.greet = partial(self._ticker_message, "snapshot", True)
        self.ticker_batch = self.stream(f"ticker_batch:{symbol}")
        self.ticker_batch.greet = partial(self._ticker_message, "snapshot", False)

    def timers(self) -> list[Timer]:
        return [
            (BOOK_MS, self._flush_book),
            (TRADES_MS, self._flush_trades),
            (BATCH_MS, partial(self._send_ticker, self.ticker_batch, whole=False)),
        ]

    def flush(self) -> None:
        self._flush_book()
        self._flush_trades()

    def _frame(self, channel: str, event: str) -> str:
        return (
            f'{{"channel":"{channel}","client_id":"","timestamp":"{self.moment()[0]}",'
            f'"sequence_num":{NUMBER},"events":[{event}]}}'
        )

    # -- books -----------------------------------------------------------------------------

    def _book_message(
        self, kind: str, bids: list[Level], asks: list[Level], engine_time: str
    ) -> tuple[str, str]:
        found = []
        for name, side in (("bid", bids), ("offer", asks)):
            found.append(
                [
                    f'{{"side":"{name}","event_time":"{engine_time}","price_level":"{price}",'
                    f'"new_quantity":"{size}"}}'
                    for price, size in self.texts(side)
                ]
            )
        # The sides come mixed.
        shorter = min(map(len, found))
        rows = [row for pair in zip(*found, strict=False) for row in pair]
        rows += found[BID][shorter:] + found[ASK][shorter:]
        event = (
            f'{{"type":"{kind}","product_id":"{self.spec.symbol}","updates":[{",".join(rows)}]}}'
        )
        action = "snapshot" if kind == "snapshot" else "delta"
        extra = self.moment()[1]
        meaning = self.book_event(action, NUMBERED, bids, asks, self.time.now_ms, extra)
        return self._frame("l2_data", event), meaning

    def _flush_book(self) -> None:
        changes = self.feed.changes()
        if not changes:
            return
        self.hub.post(
            self.book, lambda: self._book_message("update", *changes.levels, self.moment()[0])
        )

    def _snapshot(self) -> tuple[str, str]:
        self.note_final(self.feed)
        levels = (self.feed.levels(BID), self.feed.levels(ASK))
        return self._book_message("snapshot", *levels, "1970-01-01T00:00:00Z")

    # -- trades and tickers ----------------------------------------------------------------

    def on_trades(self, buy: bool, fills: list[Fill]) -> None:
        moment, extra = self.moment()
        maker = "SELL" if buy else "BUY"
        for tick, lots in fills:
            price, size = self.note_fill(tick, lots)
            row = (
                f'{{"trade_id":"{self.trade_id}","product_id":"{self.spec.symbol}",'
                f'"price":"{price}","size":"{size}","side":"{maker}","time":"{moment}"}}'
            )
            event = events.trade(
                self.spec.name, price, size, buy, str(self.trade_id), NUMBERED, self.time.now_ms,
                "", extra,
            )  # fmt: skip
            self._batch.append((row, event))
        self._send_ticker(self.ticker, whole=True)

    def _flush_trades(self) -> None:
        batch, self._batch = self._batch, []
        if not batch:
            return
        self._past.extend(batch)
        self.hub.post(self.trades, partial(self._trade_message, "update", batch))

    def _past_trades(self) -> tuple[str, str] | None:
        """The last trades, the newest first."""
        return self._trade_message("snapshot", list(self._past)[::-1]) if self._past else None

    def _trade_message(self, kind: str, rows: list[tuple[str, str]]) -> tuple[str, str]:
        data = ",".join([row for row, _ in rows])
        body = self._frame("market_trades", f'{{"type":"{kind}","trades":[{data}]}}')
        return body, ",".join([event for _, event in rows])

    def _send_ticker(self, stream: Stream, whole: bool) -> None:
        self.hub.post(stream, partial(self._ticker_message, "update", whole))

    def _ticker_message(self, kind: str, whole: bool) -> tuple[str, str]:
        """``whole`` is false for ``ticker_batch``, which leaves best bid and ask out."""
        bid, ask = self.tops()
        best = ""
        if whole:
            best = (
                f',"best_bid":"{bid[0]}","best_bid_quantity":"{bid[1]}",'
                f'"best_ask":"{ask[0]}","best_ask_quantity":"{ask[1]}"'
            )
        last = self.last
        row = (
            f'{{"type":"ticker","product_id":"{self.spec.symbol}","price":"{last}",'
            f'"volume_24_h":"15328.12345678","low_24_h":"{last}","high_24_h":"{last}",'
            f'"low_52_w":"{last}","high_52_w":"{last}","price_percent_chg_24_h":"1.85"{best}}}'
        )
        channel = "ticker" if whole else "ticker_batch"
        body = self._frame(channel, f'{{"type":"{kind}","tickers":[{row}]}}')
        if not whole:
            return body, ""
        extra = self.moment()[1]
        return body, events.quote(self.spec.name, bid, ask, NUMBERED, self.time.now_ms, extra)

    def order_book(self, limit: int) -> str:
        """Body of ``market/product_book``."""
        sides = []
        for side in (BID, ASK):
            rows = self.texts(self.ladder.levels(side)[:limit])
            text = ",".join([f'{{"price":"{price}","size":"{size}"}}' for price, size in rows])
            sides.append(f"[{text}]")
        return (
            f'{{"pricebook":{{"product_id":"{self.spec.symbol}","bids":{sides[BID]},'
            f'"asks":{sides[ASK]},"time":"{rfc3339(self.time.now_ms)}"}},"last":"{self.last}"}}'
        )

    def reference(self) -> dict[str, object]:
        spec = self.spec
        future = spec.kind != "spot"
        info: dict[str, object] = {
            "product_id": spec.symbol,
            "price": self.last,
            "base_increment": self.sizes[1],
            "quote_increment": "0.01",
            "quote_min_size": "1",
            "base_min_size": self.sizes[1],
            "base_max_size": "3400",
            "base_name": "" if future else spec.base,
            "quote_name": "US Dollar",
            "is_disabled": False,
            "new": False,
            "status": self.word or ("" if future else "online"),
            "cancel_only": False,
            "limit_only": False,
            "post_only": False,
            "trading_disabled": False,
            "auction_mode": False,
            "product_type": "FUTURE" if future else "SPOT",
            "quote_currency_id": spec.quote,
            "base_currency_id": "" if future else spec.base,
            "alias": "",
            "alias_to": [],
            "view_only": False,
            "price_increment": self.prices[1],
            "product_venue": "FCM" if future else "CBE",
            "new_at": None if future else "2023-01-01T00:00:00Z",
        }
        if future:
            info["future_product_details"] = {
                "venue": "cde",
                "contract_code": spec.symbol.partition("-")[0],
                "contract_expiry": rfc3339(spec.expiry_ms)[:19] + "Z",
                "contract_size": spec.contract_size,
                "contract_root_unit": spec.base,
                "contract_expiry_type": "EXPIRING",
                "perpetual_details": {"open_interest": "", "funding_rate": ""},
                "non_crypto": False,
            }
        return info


class ExchangeMarket(CoinbaseMarket):
    """Exchange: books without any number, trades named by the maker's side."""

    def __init__(self, spec: Spec, hub: Hub, time: VenueTime, seed: int, one_sided: bool) -> None:
        super().__init__(spec, hub, time, seed, one_sided)
        symbol = spec.symbol
        self.book = self.stream(f"level2_batch:{symbol}")
        self.book.greet = self._snapshot
        self.matches = self.stream(f"matches:{symbol}")
        self.matches.greet = self._last_match
        self._last: tuple[str, str] | None = None
        self.ticker = self.stream(f"ticker:{symbol}")
        self.ticker.greet = self._ticker_message
        self.ticker_batch = self.stream(f"ticker_batch:{symbol}")
        self.ticker_batch.greet = self._ticker_message
        self.heartbeat = self.stream(f"heartbeat:{symbol}")
        self._taker = "buy"

    def timers(self) -> list[Timer]:
        return [
            (BOOK_MS, self.flush),
            (HEARTBEAT_MS, self._send_heartbeat),
            (BATCH_MS, partial(self._send_ticker, self.ticker_batch)),
        ]

    def flush(self) -> None:
        changes = self.feed.changes()
        if not changes:
            return
        self.book.count += 1
        if not self.book.subs:
            return
        rows = [
            f'["{name}","{price}","{size}"]'
            for name, side in (("buy", changes.levels[BID]), ("sell", changes.levels[ASK]))
            for price, size in self.texts(side)
        ]
        moment, extra = self.moment()
        body = (
            f'{{"type":"l2update","product_id":"{self.spec.symbol}","changes":[{",".join(rows)}],'
            f'"time":"{moment}"}}'
        )
        event = self.book_event("delta", None, *changes.levels, self.time.now_ms, extra)
        self.hub.publish(self.book, body, event)

    def _snapshot(self) -> tuple[str, str]:
        self.note_final(self.feed)
        levels = (self.feed.levels(BID), self.feed.levels(ASK))
        bids, asks = (events.levels_text(self.texts(side)) for side in levels)
        moment, extra = self.moment()
        body = (
            f'{{"type":"snapshot","product_id":"{self.spec.symbol}","asks":{asks},"bids":{bids},'
            f'"time":"{moment}"}}'
        )
        return body, self.book_event("snapshot", None, *levels, self.time.now_ms, extra)

    # -- trades and tickers ----------------------------------------------------------------

    def on_trades(self, buy: bool, fills: list[Fill]) -> None:
        moment, extra = self.moment()
        maker = "sell" if buy else "buy"
        self._taker = "buy" if buy else "sell"
        for tick, lots in fills:
            price, size = self.note_fill(tick, lots)
            ident = f"{self.trade_id:012x}"
            body = (
                f'{{"type":"match","trade_id":{self.trade_id},'
                f'"maker_order_id":"aaaaaaaa-0000-4000-8000-{ident}",'
                f'"taker_order_id":"bbbbbbbb-0000-4000-8000-{ident}","side":"{maker}",'
                f'"size":"{size}","price":"{price}","product_id":"{self.spec.symbol}",'
                f'"sequence":{self.sequence},"time":"{moment}"}}'
            )
            event = events.trade(
                self.spec.name, price, size, buy, str(self.trade_id), str(self.sequence),
                self.time.now_ms, "", extra,
            )  # fmt: skip
            self._last = (body, event)
            self.matches.count += 1
            if self.matches.subs:
                self.hub.publish(self.matches, body, event)
        self._send_ticker(self.ticker)

    def _last_match(self) -> tuple[str, str] | None:
        if self._last is None:
            return None
        body, event = self._last
        return body.replace('"type":"match"', '"type":"last_match"', 1), event

    def _send_ticker(self, stream: Stream) -> None:
        self.hub.post(stream, self._ticker_message)

    def _ticker_message(self) -> tuple[str, str]:
        bid, ask = self.tops()
        last = self.last
        moment, extra = self.moment()
        body = (
            f'{{"type":"ticker","sequence":{self.sequence},"product_id":"{self.spec.symbol}",'
            f'"price":"{last}","open_24h":"{last}","volume_24h":"15328.1","low_24h":"{last}",'
            f'"high_24h":"{last}","volume_30d":"500000.5","best_bid":"{bid[0]}",'
            f'"best_bid_size":"{bid[1]}","best_ask":"{ask[0]}","best_ask_size":"{ask[1]}",'
            f'"side":"{self._taker}","time":"{moment}","trade_id":{self.trade_id},'
            f'"last_size":"{self.last_size}"}}'
        )
        event = events.quote(
            self.spec.name, bid, ask, str(self.sequence), self.time.now_ms, extra
        )  # fmt: skip
        return body, event

    def _send_heartbeat(self) -> None:
        self.heartbeat.count += 1
        if self.heartbeat.subs:
            body = (
                f'{{"type":"heartbeat","sequence":{self.sequence},"last_trade_id":{self.trade_id},'
                f'"product_id":"{self.spec.symbol}","time":"{self.moment()[0]}"}}'
            )
            self.hub.publish(self.heartbeat, body, "")

    # -- REST ------------------------------------------------------------------------------

    def order_book(self, level: int) -> tuple[str, str]:
        """Body of ``products/<id>/book`` (1: the best, 2: all) and its journal event."""
        count = 1 if level == 1 else None
        levels = (self.ladder.levels(BID)[:count], self.ladder.levels(ASK)[:count])
        sides = []
        for side in levels:
            rows = [f'["{price}","{size}",1]' for price, size in self.texts(side)]
            sides.append("[" + ",".join(rows) + "]")
        moment, extra = self.moment()
        body = (
            f'{{"bids":{sides[BID]},"asks":{sides[ASK]},"sequence":{self.sequence},'
            f'"auction_mode":false,"time":"{moment}"}}'
        )
        return body, self.book_event("snapshot", self.sequence, *levels, self.time.now_ms, extra)

    def reference(self) -> dict[str, object]:
        spec = self.spec
        return {
            "id": spec.symbol,
            "base_currency": spec.base,
            "quote_currency": spec.quote,
            "quote_increment": self.prices[1],
            "base_increment": self.sizes[1],
            "display_name": spec.symbol,
            "min_market_funds": "1",
            "margin_enabled": False,
            "post_only": False,
            "limit_only": False,
            "cancel_only": False,
            "status": self.word or "online",
            "status_message": "",
            "trading_disabled": False,
            "fx_stablecoin": False,
            "auction_mode": False,
        }
