"""What Kraken spot (WebSocket v2) sends: numbers with all their zeros, books with a checksum."""

from __future__ import annotations

import zlib
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

KRAKEN = "kraken"
DEPTHS = (10, 25, 100, 500, 1_000)
BOOK_MS = 20
CHECKED_LEVELS = 10
PAST_TRADES = 50
TWICE_EVERY = 7
"""Every so many updates one price comes twice in a message: the last one counts."""


class _Book:
    """One depth of an instrument's book."""

    __slots__ = ("depth", "feed", "stream")

    def __init__(self, depth: int, stream: Stream, feed: BookFeed) -> None:
        self.depth = depth
        self.stream = stream
        self.feed = feed


class KrakenMarket(TextMarket):
    """Nothing is numbered: a checksum over the ten best levels says whether a book is right."""

    price_form: ClassVar[type[FixedText]] = FixedText
    size_form: ClassVar[type[FixedText]] = FixedText

    def __init__(self, spec: Spec, hub: Hub, time: VenueTime, seed: int, one_sided: bool) -> None:
        super().__init__(spec, hub, time, seed, one_sided)
        self.books: list[_Book] = []
        for depth in DEPTHS:
            stream = self.stream(f"book:{spec.symbol}:{depth}")
            book = _Book(depth, stream, BookFeed(self, BOOK_MS, depth))
            stream.greet = partial(self._snapshot, book)
            self.books.append(book)
        self.trades = self.stream(f"trade:{spec.symbol}")
        self.trades.greet = self._past_trades
        self._past: deque[tuple[str, str]] = deque(maxlen=PAST_TRADES)
        self.ticker = self.stream(f"ticker:{spec.symbol}:trades")
        self.ticker_bbo = self.stream(f"ticker:{spec.symbol}:bbo")
        for stream in (self.ticker, self.ticker_bbo):
            stream.greet = partial(self._ticker_message, "snapshot")
        self._last = self.prices[spec.start]
        self._bbo = self.ladder.top()[::2]

    def timers(self) -> list[Timer]:
        return [(BOOK_MS, self.flush)]

    def flush(self) -> None:
        for book in self.books:
            if book.feed.dirty:
                book.stream.count += 1
                if book.stream.subs:
                    self._update(book)

    def _time(self) -> tuple[str, int]:
        """The moment as text, and its nanoseconds below the millisecond."""
        micros = self.sequence * 37 % 1_000
        return rfc3339(self.time.now_ms, micros), micros * 1_000

    # -- books -----------------------------------------------------------------------------

    def _wire(self, levels: list[Level]) -> str:
        prices, sizes = self.prices, self.sizes
        rows = [f'{{"price":{prices[tick]},"qty":{sizes[lots]}}}' for tick, lots in levels]
        return "[" + ",".join(rows) + "]"

    def _checksum(self, feed: BookFeed) -> int:
        parts = []
        for side in (ASK, BID):
            for price, size in self.texts(feed.levels(side)[:CHECKED_LEVELS]):
                parts.append(price.replace(".", "").lstrip("0"))
                parts.append(size.replace(".", "").lstrip("0"))
        return zlib.crc32("".join(parts).encode())

    def _message(self, kind: str, bids: list[Level], asks: list[Level], feed: BookFeed) -> str:
        return (
            f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{self.spec.symbol}",'
            f'"bids":{self._wire(bids)},"asks":{self._wire(asks)},'
            f'"checksum":{self._checksum(feed)},"timestamp":"{self._time()[0]}"}}]}}'
        )

    def _update(self, book: _Book) -> None:
        changes = book.feed.changes()
        if not changes:
            return
        # The venue sends no deletes for what falls out of the depth; a reader must cut it off.
        bids, asks = [
            [level for level in changes.levels[side] if level[0] not in changes.fallen[side]]
            for side in (BID, ASK)
        ]
        if book.stream.count % TWICE_EVERY == 0:
            bids, asks = self._one_twice(bids), self._one_twice(asks)
        event = self.book_event(
            "delta",
            None,
            bids + [(tick, 0) for tick in changes.fallen[BID]],
            asks + [(tick, 0) for tick in changes.fallen[ASK]],
            self.time.now_ms,
            self._time()[1],
        )
        self.hub.publish(book.stream, self._message("update", bids, asks, book.feed), event)

    @staticmethod
    def _one_twice(levels: list[Level]) -> list[Level]:
        """The first change that sets a size, with another size of the same price before it."""
        for tick, lots in levels:
            if lots:
                return [(tick, lots + 1), *levels]
        return levels

    def _snapshot(self, book: _Book) -> tuple[str, str]:
        if len(book.stream.subs) < 2:
            book.feed.refresh()
        self.note_final(book.feed)
        levels = (book.feed.levels(BID), book.feed.levels(ASK))
        event = self.book_event("snapshot", None, *levels, self.time.now_ms, self._time()[1])
        return self._message("snapshot", *levels, book.feed), event

    # -- trades and tickers ----------------------------------------------------------------

    def on_trades(self, buy: bool, fills: list[Fill]) -> None:
        moment, extra = self._time()
        side, rows = "buy" if buy else "sell", []
        for tick, lots in fills:
            self.trade_id += 1
            price, size = self.prices[tick], self.sizes[lots]
            row = (
                f'{{"symbol":"{self.spec.symbol}","side":"{side}","qty":{size},"price":{price},'
                f'"ord_type":"market","trade_id":{self.trade_id},"timestamp":"{moment}"}}'
            )
            event = events.trade(
                self.spec.name, price, size, buy, str(self.trade_id), "null", self.time.now_ms,
                "", extra,
            )  # fmt: skip
            rows.append((row, event))
        self._last = self.prices[fills[-1][0]]
        self._past.extend(rows)
        self.hub.post(self.trades, partial(self._trade_message, "update", rows))
        self._send_ticker(self.ticker)

    @staticmethod
    def _trade_message(kind: str, rows: list[tuple[str, str]]) -> tuple[str, str]:
        data = ",".join([row for row, _ in rows])
        body = f'{{"channel":"trade","type":"{kind}","data":[{data}]}}'
        return body, ",".join([event for _, event in rows])

    def _past_trades(self) -> tuple[str, str] | None:
        return self._trade_message("snapshot", list(self._past)) if self._past else None

    def on_top(self, top: tuple[int, int, int, int]) -> None:
        prices = top[::2]
        if prices != self._bbo:
            self._bbo = prices
            self._send_ticker(self.ticker_bbo)

    def _send_ticker(self, stream: Stream) -> None:
        self.hub.post(stream, partial(self._ticker_message, "update"))

    def _ticker_message(self, kind: str) -> tuple[str, str]:
        bid, bid_lots, ask, ask_lots = self.ladder.top()
        prices, sizes, last = self.prices, self.sizes, self._last
        moment, extra = self._time()
        body = (
            f'{{"channel":"ticker","type":"{kind}","data":[{{"symbol":"{self.spec.symbol}",'
            f'"bid":{prices[bid]},"bid_qty":{sizes[bid_lots]},"ask":{prices[ask]},'
            f'"ask_qty":{sizes[ask_lots]},"last":{last},"volume":1.50000000,"vwap":{last},'
            f'"low":{last},"high":{last},"change":-0.1,"change_pct":-0.01,'
            f'"timestamp":"{moment}"}}]}}'
        )
        event = events.quote(
            self.spec.name,
            (prices[bid], sizes[bid_lots]),
            (prices[ask], sizes[ask_lots]),
            "null",
            self.time.now_ms,
            extra,
        )
        return body, event

    # -- REST ------------------------------------------------------------------------------

    @property
    def old_names(self) -> tuple[str, str]:
        """Base and quote as REST writes them: XBT, XDG."""
        old = {"BTC": "XBT", "DOGE": "XDG"}
        return old.get(self.spec.base, self.spec.base), self.spec.quote

    def order_book(self, count: int) -> str:
        """Levels of ``GET /0/public/Depth``: text, text, Unix seconds."""
        second = self.time.now_ms // 1_000
        sides = []
        for side in (ASK, BID):
            rows = self.texts(self.ladder.levels(side)[:count])
            text = ",".join([f'["{price}","{size}",{second}]' for price, size in rows])
            sides.append(f"[{text}]")
        return f'{{"asks":{sides[0]},"bids":{sides[1]}}}'

    def reference(self) -> dict[str, object]:
        base, quote = self.old_names
        return {
            "altname": base + quote,
            "wsname": f"{base}/{quote}",
            "aclass_base": "currency",
            "base": f"X{base}" if len(base) == 3 else base,
            "aclass_quote": "currency",
            "quote": f"Z{quote}" if quote in ("USD", "EUR") else quote,
            "lot": "unit",
            "cost_decimals": 5,
            "pair_decimals": self.spec.price_decimals,
            "lot_decimals": self.spec.size_decimals,
            "lot_multiplier": 1,
            "ordermin": "0.00005",
            "costmin": "0.5",
            "tick_size": self.prices[2 if self.coarse else 1],
            "status": self.word or "online",
        }

    def pair(self) -> dict[str, object]:
        """The row of the ``instrument`` channel."""
        spec = self.spec
        return {
            "symbol": spec.symbol,
            "base": spec.base,
            "quote": spec.quote,
            "status": self.word or "online",
            "qty_precision": spec.size_decimals,
            "qty_increment": float(self.sizes[1]),
            "price_precision": spec.price_decimals,
            "cost_precision": 5,
            "marginable": True,
            "has_index": True,
            "cost_min": 0.5,
            "tick_size": float(self.prices[1]),
            "price_increment": float(self.prices[2 if self.coarse else 1]),
            "qty_min": 0.00005,
        }
