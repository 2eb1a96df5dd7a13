"""One instrument's synthetic market: an order book that evolves by itself.

All choices come from a generator seeded with the run's seed and the instrument's name, so the
content is a function of the seed and the number of steps, never of who listens or of the clock.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable

from feedd.sim.hub import Hub
from feedd.sim.instruments import Spec
from feedd.sim.ladder import ASK, BID, EMPTY_ASK, Ladder, Window

TRADE_CHANCE = 0.30
TOUCH_CHANCE = 0.50
"""The rest of the steps changes levels away from the touch."""
ONE_SIDED_CHANCE = 0.002
MAX_FILLS = 3
MIN_LEVELS = 5

ACTIVE = "active"
UNLISTED = "unlisted"
STAGES = {
    "list": ACTIVE,
    "resume": ACTIVE,
    "halt": "halted",
    "delist": "ended",
    "unlist": UNLISTED,
}
"""Events of an instrument itself -> what it is from then on. An unlisted one is in no list."""

Fill = tuple[int, int]
"""Price tick and lots of one maker order filled."""
Timer = tuple[int, Callable[[], None]]


class VenueTime:
    """The venue's clock: milliseconds since the Unix epoch, moved by the engine."""

    __slots__ = ("now_ms",)

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms


class Market(ABC):
    """Book, sequence and random source of one instrument; venues say what is sent."""

    def __init__(self, spec: Spec, hub: Hub, time: VenueTime, seed: int, one_sided: bool) -> None:
        self.spec = spec
        self.hub = hub
        self.time = time
        self.rng = random.Random(f"{seed}:{spec.name}")
        self.ladder = Ladder()
        self.steps = 0
        self.sequence = 0
        self.stage = ACTIVE
        """What the venue says of the instrument (see ``STAGES``)."""
        self.word = ""
        """The venue's word for it; empty: the usual one of an instrument that is traded."""
        self.coarse = False
        """The reference data tell a coarser tick than at first (prices stay as they are)."""
        self.book_sent: int | None = None
        """Sequence of the last book message sent to anybody."""
        self._rnd = self.rng.random
        self._anchor = float(spec.start)
        self._reach = max(int(spec.depth * 1.4), 2 * MIN_LEVELS)
        self._one_sided = one_sided and spec.kind == "option"
        self._populate()

    # -- for venues ------------------------------------------------------------------------

    @abstractmethod
    def advance(self, changes: int) -> None:
        """Give the step's changes their sequence numbers."""

    @abstractmethod
    def on_trades(self, buy: bool, fills: list[Fill]) -> None:
        """A taker order was filled; the book's numbers are already the new ones."""

    def on_book(self) -> None:  # noqa: B027 - only a venue with per-step books has work here
        """The step changed the book."""

    @abstractmethod
    def on_top(self, top: tuple[int, int, int, int]) -> None:
        """The step changed the best bid or offer."""

    @abstractmethod
    def timers(self) -> list[Timer]:
        """What the venue does at fixed intervals: (milliseconds, action)."""

    @abstractmethod
    def flush(self) -> None:
        """Send what the windows still hold (the generator stops)."""

    @abstractmethod
    def reference(self) -> dict[str, object]:
        """The instrument as the venue's reference data list it."""

    def window(self, interval_ms: int) -> Window:
        """Open a conflation window; to be called before the first step."""
        window = Window(interval_ms, self.sequence)
        self.ladder.windows.append(window)
        return window

    @abstractmethod
    def price_text(self, tick: int) -> str:
        """Decimal text of a price for the journal."""

    @abstractmethod
    def size_text(self, lots: int) -> str:
        """Decimal text of a size for the journal."""

    def side_text(self, side: int) -> list[list[str]]:
        """The whole side as journal text, best first."""
        return [[self.price_text(t), self.size_text(s)] for t, s in self.ladder.levels(side)]

    def final_book(self) -> dict[str, object]:
        """The journal row of the book as its subscribers know it once nothing more is sent."""
        return {
            "final_book": self.spec.name,
            "sequence": self.sequence if self.book_sent is None else self.book_sent,
            "bids": self.side_text(BID),
            "asks": self.side_text(ASK),
        }

    # -- evolution -------------------------------------------------------------------------

    def _size(self) -> int:
        rnd = self._rnd
        return 1 + int(self.spec.typical * rnd() * rnd() * 4)

    def _populate(self) -> None:
        for side, direction in ((BID, -1), (ASK, 1)):
            offset = 1
            for _ in range(self.spec.depth):
                tick = self.spec.start + direction * offset
                if tick <= 0:
                    break
                self.ladder.set(side, tick, self._size())
                offset += 1 if self._rnd() < 0.7 else 2
        self.ladder.changes.clear()

    def step(self) -> None:
        """One event of the matching engine."""
        self.steps += 1
        ladder = self.ladder
        changes = ladder.changes
        changes.clear()
        before = ladder.top()
        chance = self._rnd()
        fills: list[Fill] = []
        buy = False
        if chance < TRADE_CHANCE:
            buy = self._wants_up()
            fills = self._take(ASK if buy else BID)
        elif chance < TRADE_CHANCE + TOUCH_CHANCE:
            self._touch(BID if self._rnd() < 0.5 else ASK)
        else:
            for _ in range(1 + int(self._rnd() * 4)):
                self._deep(BID if self._rnd() < 0.5 else ASK)
        if self._one_sided and self._rnd() < ONE_SIDED_CHANCE:
            self._clear(BID if self._rnd() < 0.5 else ASK)
        if changes:
            self.advance(len(changes))
        if fills:
            self.on_trades(buy, fills)
        if changes:
            self.on_book()
            top = ladder.top()
            if top != before:
                self.on_top(top)

    def _wants_up(self) -> bool:
        """Takers lean to where the slowly drifting anchor is, so prices wander but stay."""
        self._anchor += (self._rnd() - 0.5) * 0.5
        ladder = self.ladder
        if ladder.best_ask == EMPTY_ASK:
            return False
        lean = (self._anchor - (ladder.best_bid + ladder.best_ask) / 2) / (self.spec.depth * 2)
        return self._rnd() < 0.5 + min(max(lean, -0.4), 0.4)

    def _take(self, side: int) -> list[Fill]:
        ladder = self.ladder
        levels = ladder.sides[side]
        want = self._size()
        fills: list[Fill] = []
        while want > 0 and len(fills) < MAX_FILLS and len(levels) > MIN_LEVELS:
            tick = ladder.best_ask if side == ASK else ladder.best_bid
            there = levels[tick]
            lots = min(want, there, 1 + int(self._rnd() * there * 2))
            ladder.set(side, tick, there - lots)
            fills.append((tick, lots))
            want -= lots
        return fills

    def _touch(self, side: int) -> None:
        """Add to, take from, improve or cancel the best level."""
        ladder = self.ladder
        levels = ladder.sides[side]
        if not levels:
            self._refill(side)
            return
        best, away = (ladder.best_bid, -1) if side == BID else (ladder.best_ask, 1)
        spread = ladder.best_ask - ladder.best_bid
        chance = self._rnd()
        if spread > 1 and chance < (0.75 if spread > 2 else 0.25):
            ladder.set(side, best - away, self._size())
        elif chance > 0.85 and len(levels) > MIN_LEVELS:
            ladder.set(side, best, 0)
        else:
            ladder.set(side, best, self._size())

    def _deep(self, side: int) -> None:
        """Change, add or remove a level behind the touch, or drop the side's oldest one."""
        ladder = self.ladder
        levels = ladder.sides[side]
        if not levels:
            self._refill(side)
            return
        depth = self.spec.depth
        if len(levels) > depth * 1.3:
            ladder.set(side, next(iter(levels)), 0)
            return
        offset = 1 + int(self._rnd() ** 2 * self._reach)
        tick = ladder.best_bid - offset if side == BID else ladder.best_ask + offset
        if tick <= 0:
            return
        if tick not in levels or self._rnd() < 0.5:
            ladder.set(side, tick, self._size())
        elif len(levels) > max(depth * 0.8, MIN_LEVELS):
            ladder.set(side, tick, 0)

    def _clear(self, side: int) -> None:
        for tick in list(self.ladder.sides[side]):
            self.ladder.set(side, tick, 0)

    def _refill(self, side: int) -> None:
        ladder = self.ladder
        other = ladder.sides[ASK if side == BID else BID]
        anchor = int(self._anchor)
        if side == BID:
            best, away = (ladder.best_ask if other else anchor) - 2, -1
        else:
            best, away = (ladder.best_bid if other else anchor) + 2, 1
        for offset in range(2 * MIN_LEVELS):
            tick = best + away * offset
            if tick > 0:
                ladder.set(side, tick, self._size())
