"""What Bitfinex sends about a symbol: arrays, to which the connection adds channel and number."""

from __future__ import annotations

import zlib
from functools import partial
from itertools import zip_longest

from feedd.sim import events
from feedd.sim.bookfeed import BookFeed, Level
from feedd.sim.figures import Figures
from feedd.sim.hub import Hub, Stream
from feedd.sim.instruments import Spec
from feedd.sim.ladder import ASK, BID
from feedd.sim.market import Timer, VenueTime
from feedd.sim.market_streams import LIQUIDATION_EVERY, Message, StreamMarket, Trade
from feedd.sim.text import FixedText, trimmed

BITFINEX = "bitfinex"
LENGTHS = ("1", "25", "100", "250")
SPACING_MS = {"F0": 0, "F1": 2_000}
CHECKSUM_MS = 2_500
CHECKED_DEPTH = 25
CONFIRM_MS = 50
"""From the execution of a trade to its confirmation."""
TICKER_MS = 1_000
ZEROS_EVERY = 4
"""One book change in this many writes its amount with trailing zeros."""
SMALLEST_PLAIN = -6
"""Numbers whose first digit stands behind this decimal place are written with an exponent."""
MARK_DECIMALS = 5


def bitfinex_specs() -> list[Spec]:
    """Pairs, one of them with a long name, and perpetuals; prices of five significant digits."""
    return [
        Spec(BITFINEX, "tBTCUSD", "spot", "BTC", "USD", "", 0, 1, 8, 1,
             92_300, 200, 0.35, 30_000_000),
        Spec(BITFINEX, "tETHUSD", "spot", "ETH", "USD", "", 1, 1, 8, 1,
             31_050, 180, 0.25, 200_000_000),
        Spec(BITFINEX, "tDOGE:USD", "spot", "DOGE", "USD", "", 5, 1, 8, 1_000_000,
             14_120, 140, 0.1, 900_000),
        Spec(BITFINEX, "tBTCF0:USTF0", "perpetual", "BTC", "UST", "UST", 0, 1, 8, 1,
             92_310, 160, 0.2, 30_000_000),
        Spec(BITFINEX, "tETHF0:USTF0", "perpetual", "ETH", "UST", "UST", 1, 1, 8, 1,
             31_060, 140, 0.1, 200_000_000),
    ]  # fmt: skip


def js_number(units: int, decimals: int) -> str:
    """The number as JavaScript writes it: ``"86719"``, ``"-0.03"``, ``"5e-7"``."""
    digits = str(abs(units))
    exponent = len(digits) - 1 - decimals
    if not units or exponent >= SMALLEST_PLAIN:
        return trimmed(units, decimals)
    mantissa = digits.rstrip("0")
    point = "." if len(mantissa) > 1 else ""
    return f"{'-' if units < 0 else ''}{mantissa[0]}{point}{mantissa[1:]}e{exponent}"


class JsText(FixedText):
    """Cache ``n -> js_number(n * multiple, decimals)``."""

    def write(self, units: int) -> str:
        return js_number(units, self.decimals)


class BitfinexMarket(StreamMarket):
    """Books as levels with a count and a signed amount. What nobody hears is not made up at all."""

    price_form = JsText
    size_form = JsText
    numbered = False
    recent_max = 30

    def __init__(self, spec: Spec, hub: Hub, time: VenueTime, seed: int) -> None:
        super().__init__(spec, hub, time, seed)
        symbol = spec.symbol
        self.zeros = FixedText(spec.size_decimals, spec.lot)
        self._books: dict[str, list[tuple[BookFeed, Stream]]] = {}
        self._changed: dict[str, bool] = {}
        for freq, ms in SPACING_MS.items():
            self._books[freq] = []
            for length in LENGTHS:
                feed = BookFeed(self, ms, int(length))
                stream = self.channel(f"book:{symbol}:P0:{freq}:{length}")
                stream.greet = partial(self._snapshot, freq, feed)
                self._books[freq].append((feed, stream))
        self._unconfirmed: list[Trade] = []
        self._trades = self.channel(f"trades:{symbol}", self._past_trades)
        self._ticker = self.channel(f"ticker:{symbol}", self._ticker_message)
        self.figures = None
        if spec.kind == "perpetual":
            self.figures = Figures(self, decimals=MARK_DECIMALS)
            self._status = self.channel(f"status:deriv:{symbol}", self._status_message)
            self._liquidations = hub.stream(BITFINEX, "status:liq:global", "*")

    def timers(self) -> list[Timer]:
        return [
            (SPACING_MS["F1"], partial(self._send_changes, "F1")),
            (CHECKSUM_MS, self._send_checksums),
            (CONFIRM_MS, self._confirm),
            (TICKER_MS, self._tick),
        ]

    def flush(self) -> None:
        self._send_changes("F1")
        self._confirm()

    # -- book ------------------------------------------------------------------------------

    def on_book(self) -> None:
        self._send_changes("F0")

    def _send_changes(self, freq: str) -> None:
        for feed, stream in self._books[freq]:
            # The undelayed book needs no memory while nobody listens: greeting catches up.
            if not (stream.subs or SPACING_MS[freq]):
                continue
            changes = feed.changes()
            self._changed[stream.name] = self._changed.get(stream.name, False) or bool(changes)
            for side in (BID, ASK):
                for level in changes.levels[side]:
                    self.hub.post(stream, partial(self._level_message, side, level))
            if stream.subs:
                self.note_final(feed)

    def _level(self, side: int, level: Level, zeros: bool = False) -> str:
        tick, lots = level
        sign = "-" if side == ASK else ""
        if not lots:
            return f"[{self.prices[tick]},0,{sign}1]"
        amount = (self.zeros if zeros else self.sizes)[lots]
        return f"[{self.prices[tick]},{1 + (tick + lots) % 5},{sign}{amount}]"

    def _level_message(self, side: int, level: Level) -> Message:
        bids, asks = ([level], []) if side == BID else ([], [level])
        zeros = (level[0] + level[1]) % ZEROS_EVERY == 0
        return self._level(side, level, zeros), self.book_event("delta", None, bids, asks, 0)

    def _snapshot(self, freq: str, feed: BookFeed) -> Message:
        """The book as of the channel's last message."""
        if not SPACING_MS[freq]:
            feed.changes()
        self.note_final(feed)
        bids, asks = feed.levels(BID), feed.levels(ASK)
        event = self.book_event("snapshot", None, bids, asks, 0)
        return self.levels_body(bids, asks), event

    def levels_body(self, bids: list[Level], asks: list[Level]) -> str:
        """A whole book, bids first, as the snapshot and REST write it."""
        rows = [self._level(BID, level) for level in bids]
        rows += [self._level(ASK, level) for level in asks]
        return "[" + ",".join(rows) + "]"

    def _send_checksums(self) -> None:
        for books in self._books.values():
            for feed, stream in books:
                if stream.subs and self._changed.pop(stream.name, False):
                    self.hub.post(stream, partial(self._checksum_message, feed))

    def _checksum_message(self, feed: BookFeed) -> Message:
        bids, asks = (feed.levels(side)[:CHECKED_DEPTH] for side in (BID, ASK))
        parts = []
        for bid, ask in zip_longest(bids, asks):
            if bid is not None:
                parts += [self.prices[bid[0]], self.sizes[bid[1]]]
            if ask is not None:
                parts += [self.prices[ask[0]], f"-{self.sizes[ask[1]]}"]
        return f'"cs",{signed_crc32(":".join(parts))}', ""

    # -- trades ----------------------------------------------------------------------------

    def on_fills(self, trades: list[Trade]) -> None:
        for trade in trades:
            self.hub.post(
                self._trades,
                partial(self._trade_message, "te", trade),
            )
        self._unconfirmed += trades
        if self.figures is not None and self.takers % LIQUIDATION_EVERY == 0:
            self._liquidate(trades[-1])

    def _trade(self, trade: Trade) -> str:
        sign = "" if trade.buy else "-"
        return (
            f"[{trade.ident},{trade.ms},{sign}{self.sizes[trade.lots]},{self.prices[trade.tick]}]"
        )

    def _trade_message(self, tag: str, trade: Trade) -> Message:
        """The execution (te) is the event; the confirmation (tu) says the same once more."""
        event = self.trade_event(trade) if tag == "te" else ""
        return f'"{tag}",{self._trade(trade)}', event

    def _confirm(self) -> None:
        trades, self._unconfirmed = self._unconfirmed, []
        for trade in trades:
            self.hub.post(self._trades, partial(self._trade_message, "tu", trade))

    def _past_trades(self) -> Message:
        """Past trades, newest first."""
        past = list(reversed(self.recent))
        rows = ",".join(map(self._trade, past))
        return f"[{rows}]", ",".join([self.trade_event(trade, replay=True) for trade in past])

    def _liquidate(self, trade: Trade) -> None:
        """A position is announced, then closed at a price: a long one by selling."""
        for price in ("null", self.prices[trade.tick]):
            self._liquidations.count += 1
            sign = "-" if trade.buy else ""
            row = (
                f'["pos",{143_000_000 + trade.number},{trade.ms},null,"{self.spec.symbol}",'
                f"{sign}{self.sizes[trade.lots]},{self.prices[trade.tick]},null,1,1,null,{price}]"
            )
            event = ""
            if price != "null" and self.hub.journal.enabled:
                event = events.liquidation(
                    self.spec.name, price, self.sizes[trade.lots], trade.buy, trade.ms
                )
            self.hub.publish(self._liquidations, f"[{row}]", event)

    # -- ticker and status -----------------------------------------------------------------

    def _tick(self) -> None:
        self.hub.post(self._ticker, self._ticker_message)
        if self.figures is not None:
            self.figures.update()
            self.hub.post(self._status, self._status_message)

    def _ticker_message(self) -> Message:
        top = bid, bid_size, ask, ask_size = self.ladder.top()
        last = self.prices[self.last_tick]
        body = (
            f"[{self.prices[bid]},{self.sizes[bid_size]},{self.prices[ask]},"
            f"{self.sizes[ask_size]},-174,-0.0529,{last},488.04182112,{last},{last}]"
        )
        return body, self.quote_event(top, None, 0)

    def status_row(self) -> str:
        """Columns of the derivative's status, without brackets."""
        figures = self.figures
        if figures is None:
            return ""
        ladder, spec = self.ladder, self.spec
        middle = trimmed(
            (ladder.best_bid + ladder.best_ask) * spec.tick * 5, spec.price_decimals + 1
        )
        return (
            f"{self.time.now_ms},null,{middle},{figures.index},null,101052.04082882,null,"
            f"{figures.next_funding_ms},{figures.predicted_funding},16,null,"
            f"{figures.funding_rate},null,null,{figures.mark},null,null,"
            f"{figures.open_interest},null,null,null,-0.0025,0.0025"
        )

    def _status_message(self) -> Message:
        figures = self.figures
        if figures is None:
            return "[]", ""
        values = {
            "mark": figures.mark,
            "index": figures.index,
            "open_interest": figures.open_interest,
            "funding_rate": figures.funding_rate,
            "predicted_funding": figures.predicted_funding,
        }
        event = self.deriv_event(self.time.now_ms, values, figures.next_funding_ms)
        return f"[{self.status_row()}]", event

    def reference(self) -> dict[str, object]:
        return {"pair": self.spec.symbol.removeprefix("t"), "least": self.sizes[1]}


def signed_crc32(text: str) -> int:
    """CRC-32 as a signed 32-bit number."""
    value = zlib.crc32(text.encode())
    return value - (1 << 32) if value >= 1 << 31 else value
