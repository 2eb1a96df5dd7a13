"""What Gate sends about an instrument, spot or futures: the forms differ in small things."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from feedd.sim.bookfeed import BookFeed, Level
from feedd.sim.hub import Hub, Stream
from feedd.sim.instruments import Spec
from feedd.sim.ladder import ASK, BID
from feedd.sim.market import Timer, VenueTime
from feedd.sim.market_streams import Message, StreamMarket, TouchedFeed

TOP_MS = 10
FAST_MS = 20
SLOW_MS = 100
TICKER_MS = 1_000
FULL_DEPTHS = {FAST_MS: 50, SLOW_MS: 400}
"""Levels of the book-with-snapshot channel by its spacing in ms."""
SNAPSHOT_DEPTHS = (5, 10, 20, 50, 100)
MARK_DECIMALS = 4


@dataclass(slots=True)
class _Spaced:
    """The book streams that are sent at the same spacing."""

    feed: BookFeed
    stream: Stream
    updates: list[tuple[BookFeed, Stream]]
    previous: int
    """Update id of the last message."""


class GateMarket(StreamMarket):
    """Update ids are dense: a message starts where the one before ended."""

    prefix: ClassVar[str]
    """Of the channel names: ``spot`` or ``futures``."""
    snapshot_every: ClassVar[str] = "100ms"
    first_sequence = 25_847_000_000

    def __init__(self, spec: Spec, hub: Hub, time: VenueTime, seed: int) -> None:
        super().__init__(spec, hub, time, seed)
        self._spaced = {ms: self._open(ms) for ms in FULL_DEPTHS}
        self._top_feed = BookFeed(self, TOP_MS, 1)
        self._top = self.topic("book_ticker", spec.symbol)
        self._trades = self.topic("trades", spec.symbol)
        self._ticker = self.topic("tickers", spec.symbol)
        self._snapshots = [
            (depth, self.topic("order_book", f"{spec.symbol}:{depth}:{self.snapshot_every}"))
            for depth in SNAPSHOT_DEPTHS
        ]

    def _open(self, ms: int) -> _Spaced:
        depth, symbol = FULL_DEPTHS[ms], self.spec.symbol
        stream = self.topic("obu", f"ob.{symbol}.{depth}")
        stream.greet = partial(self._full_message, ms)
        updates: list[tuple[BookFeed, Stream]] = [
            (TouchedFeed(self, ms, levels), self.topic("order_book_update", payload))
            for payload, levels in self.update_payloads(ms)
        ]
        return _Spaced(BookFeed(self, ms, depth), stream, updates, self.sequence)

    def update_payloads(self, ms: int) -> list[tuple[str, int | None]]:
        """Subscriptions of the update channel with this spacing, and their depth (None: all)."""
        return [(f"{self.spec.symbol}:{ms}ms", None)]

    def topic(self, channel: str, payload: str) -> Stream:
        """The stream of a subscription: channel and payload joined by colons."""
        return self.stream(f"{self.prefix}.{channel}:{payload}")

    def timers(self) -> list[Timer]:
        return [
            *[(ms, partial(self._flush_window, ms)) for ms in self._spaced],
            (TOP_MS, self._flush_top),
            (SLOW_MS, self._send_snapshots),
            (TICKER_MS, self._send_ticker),
        ]

    def flush(self) -> None:
        for ms in self._spaced:
            self._flush_window(ms)
        self._flush_top()
        self._send_snapshots()

    def frame_of(self, channel: str, result: str, event: str = "update") -> str:
        """A data message of a channel."""
        now = self.time.now_ms + 3
        return (
            f'{{"time":{now // 1_000},"time_ms":{now},"channel":"{self.prefix}.{channel}",'
            f'"event":"{event}","result":{result}}}'
        )

    # -- book with snapshot, and updates ---------------------------------------------------

    def update_levels(self, levels: list[Level]) -> str:
        """Levels as the update and REST forms write them."""
        return self.level_texts(levels)

    def _flush_window(self, ms: int) -> None:
        spaced = self._spaced[ms]
        if self.sequence == spaced.previous:
            return
        self._send_full(spaced)
        for feed, stream in spaced.updates:
            bids, asks = feed.changes().levels
            stream.count += 1
            if stream.subs:
                self.note_final(feed)
                message = self._update_message(bids, asks, spaced.previous + 1)
                self.hub.publish(stream, *message)
        spaced.previous = self.sequence

    def _send_full(self, spaced: _Spaced) -> None:
        bids, asks = spaced.feed.changes().levels
        spaced.stream.count += 1
        if not spaced.stream.subs:
            return
        now = self.time.now_ms
        # A change outside the levels of the channel moves the id alone.
        sides = "".join(
            f',"{key}":{self.level_texts(side)}' for key, side in (("b", bids), ("a", asks)) if side
        )
        result = (
            f'{{"t":{now},"s":"{self._book_name(spaced)}","U":{spaced.previous + 1},'
            f'"u":{self.sequence}{sides}}}'
        )
        self.book_sent = self.sequence
        self.note_final(spaced.feed)
        event = self.book_event("delta", self.sequence, bids, asks, now) if bids or asks else ""
        self.hub.publish(spaced.stream, self._full_frame(result), event)

    def _book_name(self, spaced: _Spaced) -> str:
        return f"ob.{self.spec.symbol}.{spaced.feed.depth}"

    def _full_frame(self, result: str) -> str:
        return (
            f'{{"channel":"{self.prefix}.obu","result":{result},'
            f'"time_ms":{self.time.now_ms + 3},"event":"update"}}'
        )

    def _full_message(self, ms: int) -> Message:
        """The snapshot as of the channel's last message."""
        spaced = self._spaced[ms]
        now, sequence = self.time.now_ms, spaced.previous
        bids, asks = spaced.feed.levels(BID), spaced.feed.levels(ASK)
        self.book_sent = max(self.book_sent or 0, sequence)
        self.note_final(spaced.feed)
        result = (
            f'{{"t":{now},"full":true,"s":"{self._book_name(spaced)}","u":{sequence},'
            f'"b":{self.level_texts(bids)},"a":{self.level_texts(asks)}}}'
        )
        return self._full_frame(result), self.book_event("snapshot", sequence, bids, asks, now)

    def update_head(self) -> str:
        """Members that an update of this venue has beside the common ones."""
        return ""

    def _update_message(self, bids: list[Level], asks: list[Level], first: int) -> Message:
        now = self.time.now_ms
        self.book_sent = self.sequence
        result = (
            f'{{"t":{now},{self.update_head()}"s":"{self.spec.symbol}","U":{first},'
            f'"u":{self.sequence},"b":{self.update_levels(bids)},"a":{self.update_levels(asks)}}}'
        )
        event = self.book_event("delta", self.sequence, bids, asks, now) if bids or asks else ""
        return self.frame_of("order_book_update", result), event

    def order_book(self, limit: int, with_id: bool) -> Message:
        """Body and journal event of the REST order book."""
        bids, asks = self.best(limit)
        ident = f'"id":{self.sequence},' if with_id else ""
        current = self.rest_time(self.time.now_ms)
        body = (
            f'{{{ident}"current":{current},"update":{current},'
            f'"asks":{self.update_levels(asks)},"bids":{self.update_levels(bids)}}}'
        )
        return body, self.book_event("snapshot", self.sequence, bids, asks, self.time.now_ms)

    def rest_time(self, ms: int) -> str:
        """A time of the REST order book."""
        return str(ms)

    # -- snapshots and best bid and offer --------------------------------------------------

    def snapshot_message(self, depth: int) -> Message:
        """A message of the channel of whole snapshots."""
        bids, asks = self.best(depth)
        body = self.snapshot_frame(bids, asks)
        return body, self.book_event("snapshot", self.sequence, bids, asks, self.time.now_ms)

    def snapshot_frame(self, bids: list[Level], asks: list[Level]) -> str:
        """The text of a snapshot message."""
        result = (
            f'{{"t":{self.time.now_ms},"lastUpdateId":{self.sequence},"s":"{self.spec.symbol}",'
            f'"bids":{self.level_texts(bids)},"asks":{self.level_texts(asks)}}}'
        )
        return self.frame_of("order_book", result)

    def _send_snapshots(self) -> None:
        for depth, stream in self._snapshots:
            self.hub.post(stream, partial(self.snapshot_message, depth))

    def top_size(self, lots: int) -> str:
        """A size of the best bid and offer, as JSON."""
        return f'"{self.sizes[lots]}"'

    def _flush_top(self) -> None:
        if self._top_feed.changes():
            self.hub.post(self._top, self._top_message)

    def _top_message(self) -> Message:
        top = bid, bid_size, ask, ask_size = self.ladder.top()
        now = self.time.now_ms
        result = (
            f'{{"t":{now},"u":{self.sequence},"s":"{self.spec.symbol}",'
            f'"b":"{self.prices[bid]}","B":{self.top_size(bid_size)},'
            f'"a":"{self.prices[ask]}","A":{self.top_size(ask_size)}}}'
        )
        return self.frame_of("book_ticker", result), self.quote_event(top, self.sequence, now)

    # -- ticker ----------------------------------------------------------------------------

    def _send_ticker(self) -> None:
        self.before_ticker()
        self.hub.post(self._ticker, self.ticker_message)

    def before_ticker(self) -> None:
        """A second has passed."""

    def ticker_message(self) -> Message:
        """A message of the ticker channel."""
        last = self.prices[self.last_tick]
        bid, _, ask, _ = self.ladder.top()
        result = (
            f'{{"currency_pair":"{self.spec.symbol}","last":"{last}",'
            f'"lowest_ask":"{self.prices[ask]}","highest_bid":"{self.prices[bid]}",'
            f'"change_percentage":"-5.3731","base_volume":"10676.32785905",'
            f'"quote_volume":"324419781.600232","high_24h":"{last}","low_24h":"{last}"}}'
        )
        return self.frame_of("tickers", result), self.deriv_event(self.sent_ms(), {"last": last})

    def sent_ms(self) -> int:
        """The envelope's time, which is all the time that a ticker has."""
        return self.time.now_ms + 3
