"""One book channel of one instrument: changes gathered over an interval, cut to a depth."""

from __future__ import annotations

from dataclasses import dataclass

from feedd.sim.ladder import ASK, BID
from feedd.sim.market import Market

Level = tuple[int, int]
"""Price tick and lots; 0 lots remove the level."""


@dataclass(slots=True)
class Changes:
    """What a message must say, best level first on each side (index: BID, ASK)."""

    levels: tuple[list[Level], list[Level]]
    """Every visible level that differs, those fallen out of the depth as removed."""
    fallen: tuple[set[int], set[int]]
    """Ticks removed from view that are still in the venue's book, beyond the depth."""

    def __bool__(self) -> bool:
        return bool(self.levels[BID] or self.levels[ASK])


class BookFeed:
    """What the subscribers of a channel know; to be made before the first step.

    ``depth`` is the number of levels a side that the channel shows, None for all.
    """

    def __init__(self, market: Market, interval_ms: int, depth: int | None = None) -> None:
        self.depth = depth
        self.interval_ms = interval_ms
        self._ladder = market.ladder
        self._window = market.window(interval_ms)
        self.known: tuple[dict[int, int], dict[int, int]] = (self._top(BID), self._top(ASK))

    def _top(self, side: int) -> dict[int, int]:
        return dict(self._ladder.levels(side)[: self.depth])

    def levels(self, side: int) -> list[Level]:
        """The side as the subscribers know it, best first: what a snapshot says."""
        return sorted(self.known[side].items(), reverse=side == BID)

    def refresh(self) -> None:
        """Know the book as it is now; what changed is not asked for."""
        self._window.clear()
        self.known = (self._top(BID), self._top(ASK))

    @property
    def dirty(self) -> bool:
        """Whether anything changed since the last call of ``changes``, in view or not."""
        dirty = self._window.dirty
        return bool(dirty[BID] or dirty[ASK])

    def changes(self) -> Changes:
        """Net changes since the last call; false when the subscribers would see none."""
        found = Changes(([], []), (set(), set()))
        dirty = self._window.dirty
        if not (dirty[BID] or dirty[ASK]):
            return found
        self._window.clear()
        self.known = (self._side(BID, dirty[BID], found), self._side(ASK, dirty[ASK], found))
        return found

    def _side(self, side: int, dirty: dict[int, int], found: Changes) -> dict[int, int]:
        """Enter one side's changes into ``found``; returns the side as it is known now."""
        known = self.known[side]
        if not dirty:
            return known
        levels = self._ladder.sides[side]
        changed = found.levels[side]
        if self.depth is None:
            for tick in dirty:
                size = levels.get(tick, 0)
                if known.get(tick, 0) != size:
                    changed.append((tick, size))
                    if size:
                        known[tick] = size
                    else:
                        del known[tick]
            changed.sort(reverse=side == BID)
            return known
        if len(known) >= self.depth and not self._in_view(side, dirty):
            return known
        top = self._top(side)
        for tick in known:
            if tick not in top:
                changed.append((tick, 0))
                if tick in levels:
                    found.fallen[side].add(tick)
        changed += [(tick, size) for tick, size in top.items() if known.get(tick) != size]
        changed.sort(reverse=side == BID)
        return top

    def _in_view(self, side: int, dirty: dict[int, int]) -> bool:
        """Whether any of these ticks is as good as the worst one in view or better."""
        worst = next(reversed(self.known[side]))
        return max(dirty) >= worst if side == BID else min(dirty) <= worst
