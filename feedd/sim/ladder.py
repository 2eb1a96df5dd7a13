"""An integer order book and the windows in which a venue conflates its changes."""

from __future__ import annotations

BID = 0
ASK = 1
EMPTY_BID = 0
EMPTY_ASK = 1 << 60
SCAN = 64
"""Ticks searched one by one for the next best level before the whole side is looked at."""


class Window:
    """Changes of one book since the last message of one update interval.

    ``dirty[side]`` maps a tick to the size it had when the window opened, which gives both the
    net change at the end and the book as the interval's subscribers know it in between.
    """

    __slots__ = ("dirty", "first", "interval_ms", "last", "prev")

    def __init__(self, interval_ms: int, sequence: int) -> None:
        self.interval_ms = interval_ms
        self.dirty: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.first = 0
        self.last = sequence
        self.prev = sequence

    def clear(self) -> None:
        self.dirty = ({}, {})
        self.first = 0


class Ladder:
    """Price levels of one instrument: tick -> size, both in whole units, with the best of each."""

    __slots__ = ("best_ask", "best_bid", "changes", "sides", "windows")

    def __init__(self) -> None:
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.best_bid = EMPTY_BID
        self.best_ask = EMPTY_ASK
        self.windows: list[Window] = []
        self.changes: list[tuple[int, int, int]] = []
        """(side, tick, size before) of the step in progress, each tick once or more."""

    def set(self, side: int, tick: int, size: int) -> None:
        """Set a level to ``size``; 0 removes it."""
        levels = self.sides[side]
        before = levels.get(tick, 0)
        if before == size:
            return
        for window in self.windows:
            dirty = window.dirty[side]
            if tick not in dirty:
                dirty[tick] = before
        self.changes.append((side, tick, before))
        if size:
            levels[tick] = size
            if side == BID:
                if tick > self.best_bid:
                    self.best_bid = tick
            elif tick < self.best_ask:
                self.best_ask = tick
            return
        del levels[tick]
        if side == BID:
            if tick == self.best_bid:
                self.best_bid = self._next_best(levels, tick, -1)
        elif tick == self.best_ask:
            self.best_ask = self._next_best(levels, tick, 1)

    def _next_best(self, levels: dict[int, int], tick: int, direction: int) -> int:
        if not levels:
            return EMPTY_BID if direction < 0 else EMPTY_ASK
        for candidate in range(tick + direction, tick + direction * SCAN, direction):
            if candidate in levels:
                return candidate
        return max(levels) if direction < 0 else min(levels)

    def top(self) -> tuple[int, int, int, int]:
        """Best bid tick and size, best ask tick and size; an empty side has size 0."""
        return (
            self.best_bid,
            self.sides[BID].get(self.best_bid, 0),
            self.best_ask,
            self.sides[ASK].get(self.best_ask, 0),
        )

    def levels(self, side: int) -> list[tuple[int, int]]:
        """All levels of a side, best first."""
        return sorted(self.sides[side].items(), reverse=side == BID)

    def levels_at(self, side: int, window: Window) -> list[tuple[int, int]]:
        """All levels of a side as they were when ``window`` opened, best first."""
        levels = dict(self.sides[side])
        for tick, before in window.dirty[side].items():
            if before:
                levels[tick] = before
            else:
                levels.pop(tick, None)
        return sorted(levels.items(), reverse=side == BID)
