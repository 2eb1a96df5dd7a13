"""Markets with a memory of trades: numbered fills, events, messages made only for listeners."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from feedd.sim import events
from feedd.sim.bookfeed import BookFeed, Changes, Level
from feedd.sim.hub import Hub, Stream
from feedd.sim.instruments import Spec
from feedd.sim.ladder import ASK, BID
from feedd.sim.market import Fill, VenueTime
from feedd.sim.market_text import TextMarket

Message = tuple[str, str]
"""A message's body and the events of its journal row."""
LIQUIDATION_EVERY = 61
"""One taker order in this many is a liquidation, on the venues that show them."""


@dataclass(frozen=True, slots=True)
class Trade:
    """One fill as the venue numbers it; ``ms`` is venue time."""

    tick: int
    lots: int
    buy: bool
    ident: str
    number: int
    ms: int
    flags: tuple[str, ...] = ()


class StreamMarket(TextMarket):
    """Subclasses make streams and feeds in ``__init__`` and write messages in ``on_fills``."""

    recent_max: ClassVar[int] = 20
    """Past trades that a new subscriber may be shown."""

    numbered: ClassVar[bool] = True
    """Whether the venue's books have numbers."""

    def __init__(self, spec: Spec, hub: Hub, time: VenueTime, seed: int) -> None:
        super().__init__(spec, hub, time, seed, False)
        self.last_tick = spec.start
        self.takers = 0
        self.recent: deque[Trade] = deque(maxlen=self.recent_max)

    def channel(self, name: str, greet: Callable[[], Message | None] | None = None) -> Stream:
        """A stream of this instrument; ``greet`` makes what a new subscriber gets first."""
        stream = self.stream(name)
        stream.greet = greet
        return stream

    def final_book(self) -> dict[str, object]:
        row = super().final_book()
        return row if self.numbered else row | {"sequence": None}

    def best(self, depth: int | None = None) -> tuple[list[Level], list[Level]]:
        """Bids and asks of this moment, best first, cut to ``depth`` levels a side."""
        return self.ladder.levels(BID)[:depth], self.ladder.levels(ASK)[:depth]

    def level_texts(self, levels: list[Level]) -> str:
        """``[["61800.3","0.5"],...]``."""
        return events.levels_text(self.texts(levels))

    # -- events ----------------------------------------------------------------------------

    def quote_event(self, top: tuple[int, int, int, int], sequence: int | None, ms: int) -> str:
        """Journal event of a best bid and offer; a side of size 0 is missing."""
        if not self.hub.journal.enabled:
            return ""
        bid, bid_size, ask, ask_size = top
        return events.quote(
            self.spec.name,
            (self.prices[bid], self.sizes[bid_size]) if bid_size else None,
            (self.prices[ask], self.sizes[ask_size]) if ask_size else None,
            "null" if sequence is None else str(sequence),
            ms,
        )

    def trade_event(self, trade: Trade, sequence: str = "null", replay: bool = False) -> str:
        """Journal event of a trade, as news or as part of the past."""
        if not self.hub.journal.enabled:
            return ""
        flags = (*trade.flags, "replay") if replay else trade.flags
        return events.trade(
            self.spec.name, self.prices[trade.tick], self.sizes[trade.lots], trade.buy,
            trade.ident, sequence, trade.ms, '","'.join(flags),
        )  # fmt: skip

    def deriv_event(self, ms: int, values: dict[str, str], next_funding_ms: int = 0) -> str:
        """Journal event of derivative values, decimal text by field."""
        if not self.hub.journal.enabled:
            return ""
        return events.values("deriv", self.spec.name, ms, values, next_funding_ms)

    # -- trades ----------------------------------------------------------------------------

    def trade_ident(self) -> str:
        """The id of the trade with the number ``trade_id``."""
        return str(self.trade_id)

    def trade_flags(self) -> tuple[str, ...]:
        """Flags of all fills of the taker order number ``takers``."""
        return ()

    def on_trades(self, buy: bool, fills: list[Fill]) -> None:
        self.takers += 1
        flags, now = self.trade_flags(), self.time.now_ms
        trades = []
        for tick, lots in fills:
            self.trade_id += 1
            self.last_tick = tick
            trades.append(Trade(tick, lots, buy, self.trade_ident(), self.trade_id, now, flags))
        self.recent.extend(trades)
        self.on_fills(trades)

    def on_fills(self, trades: list[Trade]) -> None:
        """A taker order made these trades."""


class TouchedFeed(BookFeed):
    """A book channel that also says of levels that moved and moved back within an interval.

    A client that joins a snapshot from inside the interval needs these: the snapshot may hold a
    level that the end of the interval does not.
    """

    def changes(self) -> Changes:
        dirty = self._window.dirty
        found = super().changes()
        for side in (BID, ASK):
            levels, known = found.levels[side], self.known[side]
            said = {tick for tick, _ in levels}
            more = [tick for tick in dirty[side] if tick not in said and self._near(side, tick)]
            levels += [(tick, known.get(tick, 0)) for tick in more]
            levels.sort(reverse=side == BID)
        return found

    def _near(self, side: int, tick: int) -> bool:
        """Whether a tick is as good as the worst level in view or better."""
        known = self.known[side]
        if self.depth is None or not known:
            return True
        return tick >= min(known) if side == BID else tick <= max(known)
