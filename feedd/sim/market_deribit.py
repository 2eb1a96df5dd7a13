"""What Deribit sends about an instrument: book, trades, quote (tickers: ticker_deribit.py)."""

from __future__ import annotations

from functools import partial

from feedd.sim import events
from feedd.sim.hub import Hub, Stream
from feedd.sim.instruments import DERIBIT, Spec
from feedd.sim.ladder import ASK, BID, Window
from feedd.sim.market import Fill, Market, Timer, VenueTime
from feedd.sim.text import PlainText, ShortText

INTERVALS = {0: "raw", 100: "100ms", 1_000: "agg2"}
GROUPED_DEPTHS = (1, 10, 20)
PERPETUAL_EXPIRY_MS = 32_503_708_800_000
REST_STATES = {"": "open", "started": "open", "deactivated": "inactive", "closed": "closed"}
"""What lists say of an instrument for a word of ``instrument.state``."""
SHORT_EVERY = 3
"""Every third message is written with the venue's shortest number form (1.0e3)."""


class DeribitState:
    """What Deribit's instruments share: the change id, trade ids per currency, index prices."""

    def __init__(self) -> None:
        self.change_id = 118_850_965_713
        self.trade_ids = {"BTC": 403_000_000, "ETH": 267_000_000}
        self.index_cents = {"BTC": 9_230_000, "ETH": 310_500}


class DeribitMarket(Market):
    """Book, trades and quotes of one Deribit instrument."""

    def __init__(
        self, spec: Spec, hub: Hub, time: VenueTime, seed: int, one_sided: bool, state: DeribitState
    ) -> None:
        super().__init__(spec, hub, time, seed, one_sided)
        self.state = state
        self.prices = PlainText(spec.price_decimals, spec.tick)
        self.sizes = PlainText(spec.size_decimals, spec.lot)
        self._short_prices = ShortText(spec.price_decimals, spec.tick)
        self._short_sizes = ShortText(spec.size_decimals, spec.lot)
        self.trade_seq = 140_000_000 + self.rng.randrange(1_000_000)
        self.last_tick = 0
        self.traded_lots = 0
        self.advance(1)
        kind = "option" if spec.kind == "option" else "future"
        self._books: dict[int, tuple[Window, Stream]] = {}
        self._groups: dict[int, list[tuple[int, Stream]]] = {}
        self._trades: dict[int, list[Stream]] = {}
        self._batches: dict[int, list[tuple[str, str]]] = {}
        for interval, suffix in INTERVALS.items():
            window = self.window(interval)
            stream = self._stream(f"book.{spec.symbol}.{suffix}", spec.symbol)
            stream.greet = partial(self._greet_book, window, stream)
            self._books[interval] = (window, stream)
            for depth in GROUPED_DEPTHS if interval else ():
                name = f"book.{spec.symbol}.none.{depth}.{suffix}"
                grouped = self._stream(name, spec.symbol)
                grouped.greet = partial(self._grouped, grouped, depth)
                self._groups.setdefault(interval, []).append((depth, grouped))
            self._trades[interval] = [
                self._stream(f"trades.{spec.symbol}.{suffix}", spec.symbol),
                self._stream(f"trades.{kind}.{spec.base}.{suffix}", "*"),
                self._stream(f"trades.{kind}.any.{suffix}", "*"),
            ]
            self._batches[interval] = []
        self._quotes = self._stream(f"quote.{spec.symbol}", spec.symbol)
        self._quotes.greet = self._greet_quote

    def _stream(self, name: str, instrument: str) -> Stream:
        return self.hub.stream(DERIBIT, name, instrument)

    def price_text(self, tick: int) -> str:
        return self.prices[tick]

    def size_text(self, lots: int) -> str:
        return self.sizes[lots]

    def advance(self, changes: int) -> None:
        self.state.change_id += changes + int(self._rnd() * 40)
        self.sequence = self.state.change_id

    def timers(self) -> list[Timer]:
        return [(ms, partial(self._interval, ms)) for ms in INTERVALS if ms]

    def _interval(self, interval: int) -> None:
        self._flush_trades(interval)
        self._flush_book(interval)

    def flush(self) -> None:
        for interval in INTERVALS:
            self._interval(interval)

    # -- book ------------------------------------------------------------------------------

    def on_book(self) -> None:
        self._flush_book(0)

    def _flush_book(self, interval: int) -> None:
        window, stream = self._books[interval]
        if not (window.dirty[BID] or window.dirty[ASK]):
            return
        changed = [self._net(window, side) for side in (BID, ASK)]
        window.clear()
        if not (changed[BID] or changed[ASK]):
            return
        for depth, grouped in self._groups.get(interval, ()):
            self.hub.post(grouped, partial(self._grouped, grouped, depth))
        stream.count += 1
        prev, window.prev = window.prev, self.sequence
        if not stream.subs:
            return
        wire = [self._wire_changes(side, stream.count) for side in changed]
        head = [
            f'"timestamp":{self.time.now_ms}',
            '"type":"change"',
            f'"change_id":{self.sequence}',
            f'"instrument_name":"{self.spec.symbol}"',
        ]
        tail = [f'"bids":{wire[BID]}', f'"asks":{wire[ASK]}', f'"prev_change_id":{prev}']
        self.book_sent = self.sequence
        self.hub.publish(
            stream,
            frame(stream, shuffled(head + tail, stream.count)),
            self._book_event("delta", self.sequence, *changed),
        )

    def _grouped(self, stream: Stream, depth: int) -> tuple[str, str]:
        """The best levels as they are now."""
        data, event = self.order_book(depth)
        return frame(stream, data), event

    def _net(self, window: Window, side: int) -> list[tuple[int, int, int]]:
        """(tick, size before, size now) of every level that differs, best first."""
        levels = self.ladder.sides[side]
        dirty = window.dirty[side]
        net = [(tick, before, levels.get(tick, 0)) for tick, before in dirty.items()]
        return sorted((n for n in net if n[1] != n[2]), reverse=side == BID)

    def _wire_changes(self, changed: list[tuple[int, int, int]], count: int) -> str:
        prices, sizes = self._texts(count)
        parts = [
            f'["{_action(before, now)}",{prices[tick]},{sizes[now]}]'
            for tick, before, now in changed
        ]
        return "[" + ",".join(parts) + "]"

    def _texts(self, count: int) -> tuple[dict[int, str], dict[int, str]]:
        if count % SHORT_EVERY == 0:
            return self._short_prices, self._short_sizes
        return self.prices, self.sizes

    def _book_event(
        self,
        action: str,
        sequence: int,
        bids: list[tuple[int, int, int]],
        asks: list[tuple[int, int, int]],
    ) -> str:
        if not self.hub.journal.enabled:
            return ""
        texts = [
            events.levels_text([(self.prices[t], self.sizes[now]) for t, _, now in side])
            for side in (bids, asks)
        ]
        return events.book(
            self.spec.name, action, sequence, self.time.now_ms, texts[BID], texts[ASK]
        )

    def _greet_book(self, window: Window, stream: Stream) -> tuple[str, str]:
        """The snapshot: the book as this channel's subscribers know it right now."""
        sides = [
            [(tick, 0, size) for tick, size in self.ladder.levels_at(side, window)]
            for side in (BID, ASK)
        ]
        wire = [self._wire_changes(side, 1) for side in sides]
        members = [
            f'"timestamp":{self.time.now_ms}',
            '"type":"snapshot"',
            f'"change_id":{window.prev}',
            f'"instrument_name":"{self.spec.symbol}"',
            f'"bids":{wire[BID]}',
            f'"asks":{wire[ASK]}',
        ]
        if self.book_sent is None or self.book_sent < window.prev:
            self.book_sent = window.prev
        return (
            frame(stream, shuffled(members, stream.count)),
            self._book_event("snapshot", window.prev, *sides),
        )

    def order_book(self, depth: int) -> tuple[str, str]:
        """Result object and journal event of ``public/get_order_book``."""
        sides = [self.ladder.levels(side)[:depth] for side in (BID, ASK)]
        wire = [
            "[" + ",".join([f"[{self.prices[t]},{self.sizes[s]}]" for t, s in side]) + "]"
            for side in sides
        ]
        body = (
            f'{{"timestamp":{self.time.now_ms},"state":"open",'
            f'"instrument_name":"{self.spec.symbol}","change_id":{self.sequence},'
            f'"bids":{wire[BID]},"asks":{wire[ASK]}}}'
        )
        rows = [[(tick, 0, size) for tick, size in side] for side in sides]
        return body, self._book_event("snapshot", self.sequence, *rows)

    def reference(self) -> dict[str, object]:
        spec = self.spec
        option = spec.kind == "option"
        tick = float(self.prices[1])
        size = float(self.sizes[1])
        base = spec.base.lower()
        info: dict[str, object] = {
            "instrument_name": spec.symbol,
            "instrument_id": 200_000 + sum(map(ord, spec.symbol)),
            "kind": "option" if option else "future",
            "base_currency": spec.base,
            "quote_currency": spec.quote,
            "counter_currency": "USD",
            "settlement_currency": spec.settle,
            "instrument_type": "reversed",
            "tick_size": tick,
            "tick_size_steps": [],
            "min_trade_amount": size,
            "contract_size": float(spec.contract_size),
            "expiration_timestamp": spec.expiry_ms or PERPETUAL_EXPIRY_MS,
            "creation_timestamp": 1_534_167_754_000,
            "settlement_period": "month" if option else "perpetual",
            "price_index": f"{base}_usd",
            "is_active": True,
            "state": REST_STATES[self.word],
            "taker_commission": 0.0003,
            "maker_commission": 0.0003,
            "block_trade_commission": 0.00015,
        }
        if option:
            info |= {"strike": float(spec.strike), "option_type": spec.option_type}
        else:
            info |= {"future_type": "reversed", "max_leverage": 50}
        return info

    # -- trades ----------------------------------------------------------------------------

    def on_trades(self, buy: bool, fills: list[Fill]) -> None:
        for tick, lots in fills:
            direction = self._tick_direction(tick)
            self.last_tick = tick
            self.traded_lots += lots if buy else -lots
            self.trade_seq += 1
            trade_id = self.state.trade_ids[self.spec.base] = (
                self.state.trade_ids[self.spec.base] + 1
            )
            trade = self._trade(tick, lots, buy, direction, trade_id)
            for batch in self._batches.values():
                batch.append(trade)
        self._flush_trades(0)

    def _tick_direction(self, tick: int) -> int:
        if tick == self.last_tick:
            return 1
        return 0 if tick > self.last_tick else 2

    def _trade(
        self, tick: int, lots: int, buy: bool, direction: int, trade_id: int
    ) -> tuple[str, str]:
        spec, now = self.spec, self.time.now_ms
        prices, sizes = self._texts(self.trade_seq)
        side = "buy" if buy else "sell"
        index = self.state.index_cents[spec.base] / 100
        members = [
            f'"timestamp":{now}',
            f'"price":{prices[tick]}',
            f'"amount":{sizes[lots]}',
            f'"direction":"{side}"',
            f'"index_price":{index:.2f}',
            f'"instrument_name":"{spec.symbol}"',
            f'"trade_seq":{self.trade_seq}',
            f'"mark_price":{self.prices[tick]}',
            f'"tick_direction":{direction}',
            f'"contracts":{lots}.0',
            f'"trade_id":"{trade_id}"',
        ]
        flags = ""
        if spec.kind == "option":
            members.append(f'"iv":{55 + self.trade_seq % 9}.{self.trade_seq % 90 + 10}')
        elif self.trade_seq % 211 == 0:
            members.append('"liquidation":"T"')
            flags = "liquidation"
        if self.trade_seq % 307 == 0:
            members.append('"block_trade_id":"BLOCK-' + str(trade_id) + '"')
            flags = f'{flags}","block' if flags else "block"
        event = ""
        if self.hub.journal.enabled:
            event = events.trade(
                spec.name, self.prices[tick], self.sizes[lots], buy, str(trade_id),
                str(self.trade_seq), now, flags,
            )  # fmt: skip
        return shuffled(members, self.trade_seq), event

    def _flush_trades(self, interval: int) -> None:
        batch = self._batches[interval]
        if not batch:
            return
        self._batches[interval] = []
        for stream in self._trades[interval]:
            stream.count += 1
            if stream.subs:
                data = "[" + ",".join([body for body, _ in batch]) + "]"
                self.hub.publish(
                    stream, frame(stream, data), ",".join([event for _, event in batch])
                )

    # -- quotes ----------------------------------------------------------------------------

    def on_top(self, top: tuple[int, int, int, int]) -> None:
        self._quotes.count += 1
        if self._quotes.subs:
            self.hub.publish(self._quotes, *self._quote(top))

    def _greet_quote(self) -> tuple[str, str]:
        return self._quote(self.ladder.top())

    def _quote(self, top: tuple[int, int, int, int]) -> tuple[str, str]:
        prices, sizes = self._texts(self._quotes.count)
        bid, bid_size, ask, ask_size = top
        members = [
            f'"timestamp":{self.time.now_ms}',
            f'"instrument_name":"{self.spec.symbol}"',
            f'"best_ask_price":{prices[ask] if ask_size else "null"}',
            f'"best_bid_price":{prices[bid] if bid_size else "null"}',
            f'"best_ask_amount":{sizes[ask_size] if ask_size else "0.0"}',
            f'"best_bid_amount":{sizes[bid_size] if bid_size else "0.0"}',
        ]
        event = ""
        if self.hub.journal.enabled:
            event = events.quote(
                self.spec.name,
                (self.prices[bid], self.sizes[bid_size]) if bid_size else None,
                (self.prices[ask], self.sizes[ask_size]) if ask_size else None,
                "null",
                self.time.now_ms,
            )
        return frame(self._quotes, shuffled(members, self._quotes.count)), event


def frame(stream: Stream, data: str) -> str:
    """A subscription message; now and then with the envelope's keys in another order."""
    if stream.count % 5 == 0:
        return (
            f'{{"params":{{"data":{data},"channel":"{stream.name}"}},"method":"subscription",'
            f'"jsonrpc":"2.0"}}'
        )
    return (
        f'{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"{stream.name}",'
        f'"data":{data}}}}}'
    )


def shuffled(members: list[str], count: int) -> str:
    """An object of these members; every fourth has its keys in another order."""
    if count % 4 == 0:
        at = count // 4 % len(members)
        members = members[at:] + members[:at]
    return "{" + ",".join(members) + "}"


def _action(before: int, now: int) -> str:
    if not now:
        return "delete"
    return "change" if before else "new"
