"""What Hyperliquid sends about a coin: whole books at intervals, quotes and trades per block."""

from __future__ import annotations

from functools import partial

from feedd.sim.bookfeed import BookFeed, Level
from feedd.sim.figures import Figures
from feedd.sim.hub import Hub, Stream
from feedd.sim.instruments import Spec
from feedd.sim.ladder import ASK, BID
from feedd.sim.market import Timer, VenueTime
from feedd.sim.market_streams import Message, StreamMarket, Trade
from feedd.sim.text import PlainText, trimmed

HYPERLIQUID = "hyperliquid"
BLOCK_MS = 70
CONTEXT_MS = 1_000
HOUR_MS = 3_600_000
BOOKS = {"": (5_400, 20), ":fast": (540, 5)}
"""Spacing in ms and levels a side of the book channel, by the end of its stream's name."""


def hyperliquid_specs() -> list[Spec]:
    """Perpetuals and a spot pair, with ticks of the fifth significant figure."""
    return [
        Spec(HYPERLIQUID, "BTC", "perpetual", "BTC", "USD", "USDC", 0, 1, 5, 1,
             84_143, 200, 0.35, 90_000),
        Spec(HYPERLIQUID, "ETH", "perpetual", "ETH", "USD", "USDC", 1, 1, 4, 1,
             31_050, 180, 0.25, 60_000),
        Spec(HYPERLIQUID, "SOL", "perpetual", "SOL", "USD", "USDC", 2, 1, 2, 1,
             14_120, 160, 0.2, 9_000),
        Spec(HYPERLIQUID, "kPEPE", "perpetual", "kPEPE", "USD", "USDC", 6, 1, 0, 1,
             12_345, 120, 0.1, 40_000),
        Spec(HYPERLIQUID, "PURR/USDC", "spot", "PURR", "USDC", "", 6, 1, 0, 1,
             67_131, 80, 0.1, 3_000),
    ]  # fmt: skip


class HyperliquidMarket(StreamMarket):
    """No message has a number; each book is the whole of what its channel shows."""

    price_form = PlainText
    size_form = PlainText
    numbered = False

    def __init__(self, spec: Spec, hub: Hub, time: VenueTime, seed: int) -> None:
        super().__init__(spec, hub, time, seed)
        coin = spec.symbol
        self.figures = Figures(self, decimals=spec.price_decimals + 1, funding_ms=HOUR_MS)
        self._batch: list[Trade] = []
        self._books: dict[str, tuple[BookFeed, Stream]] = {
            end: (
                BookFeed(self, ms, depth),
                self.channel(f"l2Book:{coin}{end}", partial(self._book_message, end)),
            )
            for end, (ms, depth) in BOOKS.items()
        }
        self._stamps = dict.fromkeys(BOOKS, time.now_ms)
        """Time of each channel's last book; it grows with every book."""
        self._top_feed = BookFeed(self, BLOCK_MS, 1)
        self._top = self.channel(f"bbo:{coin}", self._top_message)
        self._trades = self.channel(f"trades:{coin}", self._past_trades)
        self._context = self.channel(f"activeAssetCtx:{coin}", self._context_message)

    def timers(self) -> list[Timer]:
        return [
            *[(ms, partial(self._send_book, end)) for end, (ms, _) in BOOKS.items()],
            (BLOCK_MS, self._block),
            (CONTEXT_MS, self._send_context),
        ]

    def flush(self) -> None:
        self._block()
        for end in BOOKS:
            self._send_book(end)

    # -- book and quote --------------------------------------------------------------------

    def _send_book(self, end: str) -> None:
        feed, stream = self._books[end]
        feed.changes()
        self._stamps[end] = max(self.time.now_ms, self._stamps[end] + 1)
        self.hub.post(stream, partial(self._book_message, end))

    def _book_message(self, end: str) -> Message:
        """The book of the channel's interval: what was sent last is what a new client gets."""
        feed, _ = self._books[end]
        self.note_final(feed)
        return self.book_message(feed.levels(BID), feed.levels(ASK), self._stamps[end])

    def book_message(self, bids: list[Level], asks: list[Level], now: int) -> Message:
        """An ``l2Book`` of these levels at venue time ``now`` (ms)."""
        body = (
            f'{{"channel":"l2Book","data":{{"coin":"{self.spec.symbol}","time":{now},'
            f'"levels":[[{self._objects(bids)}],[{self._objects(asks)}]]}}}}'
        )
        return body, self.book_event("snapshot", None, bids, asks, now)

    def _objects(self, levels: list[Level]) -> str:
        return ",".join([self._object(tick, lots) for tick, lots in levels])

    def _object(self, tick: int, lots: int) -> str:
        orders = 1 + (tick + lots) % 40
        return f'{{"px":"{self.prices[tick]}","sz":"{self.sizes[lots]}","n":{orders}}}'

    def _block(self) -> None:
        if self._top_feed.changes():
            self.hub.post(self._top, self._top_message)
        batch, self._batch = self._batch, []
        if batch:
            self.hub.post(self._trades, partial(self._trades_message, batch))

    def _top_message(self) -> Message:
        top = bid, bid_size, ask, ask_size = self.ladder.top()
        now = self.time.now_ms
        sides = [
            self._object(tick, lots) if lots else "null"
            for tick, lots in ((bid, bid_size), (ask, ask_size))
        ]
        body = (
            f'{{"channel":"bbo","data":{{"coin":"{self.spec.symbol}","time":{now},'
            f'"bbo":[{sides[0]},{sides[1]}]}}}}'
        )
        return body, self.quote_event(top, None, now)

    # -- trades ----------------------------------------------------------------------------

    def trade_ident(self) -> str:
        return str(self.rng.getrandbits(50))

    def on_fills(self, trades: list[Trade]) -> None:
        self._batch += trades

    def _trades_message(self, trades: list[Trade]) -> Message:
        body = f'{{"channel":"trades","data":[{",".join(map(self.trade_row, trades))}]}}'
        return body, ",".join(map(self.trade_event, trades))

    def trade_row(self, trade: Trade) -> str:
        """A trade as both the channel and REST write it."""
        mark = int(trade.ident) * 0x9E3779B97F4A7C15 % (1 << 160)
        return (
            f'{{"coin":"{self.spec.symbol}","side":"{"B" if trade.buy else "A"}",'
            f'"px":"{self.prices[trade.tick]}","sz":"{self.sizes[trade.lots]}",'
            f'"time":{trade.ms},"hash":"0x{mark:064x}","tid":{trade.ident},'
            f'"users":["0x{mark:040x}","0x{mark ^ 1:040x}"]}}'
        )

    def _past_trades(self) -> Message | None:
        """What the last blocks traded, without a word that it is the past."""
        past = [trade for trade in self.recent if trade not in self._batch]
        return self._trades_message(past) if past else None

    # -- context ---------------------------------------------------------------------------

    def _send_context(self) -> None:
        self.figures.update()
        self.hub.post(self._context, self._context_message)

    def middle(self) -> str:
        """The middle of the book."""
        ladder, spec = self.ladder, self.spec
        twice = (ladder.best_bid + ladder.best_ask) * spec.tick * 5
        return trimmed(twice, spec.price_decimals + 1)

    def context(self) -> str:
        """The coin's numbers as both the channel and REST write them."""
        figures = self.figures
        bid, _, ask, _ = self.ladder.top()
        last = self.prices[self.last_tick]
        common = (
            f'"prevDayPx":"{last}","dayNtlVlm":"4161029539.69","markPx":"{figures.mark}",'
            f'"midPx":"{self.middle()}","dayBaseVlm":"49116.08"'
        )
        if self.spec.kind == "spot":
            return f'{{{common},"circulatingSupply":"596632521.0","coin":"{self.spec.symbol}"}}'
        return (
            f'{{"funding":"{figures.funding_rate}","openInterest":"{figures.open_interest}",'
            f'{common},"premium":"-0.00064","oraclePx":"{figures.index}",'
            f'"impactPxs":["{self.prices[bid]}","{self.prices[ask]}"]}}'
        )

    def _context_message(self) -> Message:
        spot = self.spec.kind == "spot"
        channel = "activeSpotAssetCtx" if spot else "activeAssetCtx"
        body = (
            f'{{"channel":"{channel}","data":{{"coin":"{self.spec.symbol}",'
            f'"ctx":{self.context()}}}}}'
        )
        figures = self.figures
        if spot:
            return body, self.deriv_event(0, {"mark": figures.mark})
        values = {
            "mark": figures.mark,
            "index": figures.index,
            "open_interest": figures.open_interest,
            "funding_rate": figures.funding_rate,
        }
        return body, self.deriv_event(0, values)

    def reference(self) -> dict[str, object]:
        return {
            "name": self.spec.symbol,
            "szDecimals": self.spec.size_decimals,
            "maxLeverage": 40,
            "marginTableId": 56,
        }
