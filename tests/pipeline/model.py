"""A venue's stream and the book that must come of it, in plain Python, from the documented rules.

``Server`` makes the messages of one policy and knows the true book behind each of them. ``Model``
says what the records of a message must be and in which state the book then is.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

from tests.pipeline.lab import message

BIDS = range(1, 7)
ASKS = range(11, 17)
Sides = tuple[dict[int, int], dict[int, int]]
Levels = tuple[list[tuple[int, int]], list[tuple[int, int]]]
GAP = ["status:gap", "status:resync"]
HEALED = ["book:snapshot", "status:live"]


@dataclass(frozen=True)
class Msg:
    """One book message; ``u`` None: the policy has no numbers."""

    ms: int
    levels: Levels
    snapshot: bool = False
    u: int | None = None
    first: int | None = None
    previous: int | None = None
    checksum: int | None = None

    def wire(self) -> dict[str, Any]:
        return message(
            *self.levels,
            snapshot=self.snapshot,
            ms=self.ms,
            u=self.u,
            U=self.first,
            pu=self.previous,
            cs=self.checksum,
        )


def set_levels(sides: Sides, levels: Levels) -> None:
    for side, changes in zip(sides, levels, strict=True):
        for price, size in changes:
            if size:
                side[price] = size
            else:
                side.pop(price, None)


def as_levels(sides: Sides) -> Levels:
    return sorted(sides[0].items(), reverse=True), sorted(sides[1].items())


def checksum(sides: Sides) -> int:
    """Kraken's form: asks, then bids, price and size as digits."""
    bids, asks = as_levels(sides)
    return zlib.crc32("".join(f"{p}{s}" for p, s in asks[:10] + bids[:10]).encode())


@dataclass
class Server:
    """The venue: makes messages, remembers the book behind each number."""

    policy: str
    ms: int = 0
    u: int = 10_000
    base: int = 10_000  # where the numbering began
    sides: Sides = field(default_factory=lambda: ({}, {}))
    books: dict[int, Levels] = field(default_factory=dict)

    def _message(self, levels: Levels, **more: Any) -> Msg:
        self.ms += 1
        if self.policy == "checksum_only":
            return Msg(self.ms, levels, checksum=checksum(self.sides), **more)
        if self.policy == "trust_tcp":
            return Msg(self.ms, levels, **more)
        self.books[self.u] = as_levels(self.sides)
        return Msg(self.ms, levels, u=self.u, **more)

    def change(self, levels: Levels, step: int = 1) -> Msg:
        """``step``: how far the numbers jump, where the policy lets them."""
        set_levels(self.sides, levels)
        before = self.u
        self.u += step if self.policy != "plus_one" else 1
        return self._message(levels, **self._links(before))

    def _links(self, before: int) -> dict[str, int]:
        if self.policy in ("range_plus_one", "range_plus_one_rest"):
            return {"first": before + 1}
        if self.policy == "prev_link":
            return {"previous": before}
        if self.policy == "prev_link_rest":
            return {"first": before + 1, "previous": before}
        return {}

    def snapshot(self) -> Msg:
        previous = {"previous": -1} if self.policy == "prev_link" else {}
        return self._message(as_levels(self.sides), snapshot=True, **previous)

    def reset(self, levels: Levels) -> Msg:
        """The numbering goes back, as the venue is allowed to; to numbers that were not there."""
        set_levels(self.sides, levels)
        self.base -= 200
        before, self.u = self.u, self.base
        if self.policy == "prev_link":
            return self._message(levels, previous=before)
        return self._message(as_levels(self.sides), snapshot=True)


@dataclass
class Model:
    """A book by the rules. ``on`` returns the kinds of the records that a message must yield."""

    policy: str
    state: str = "init"
    sides: Sides = field(default_factory=lambda: ({}, {}))
    last: int | None = None
    ms: int = -1
    chain: int | None = None
    fresh: bool = False
    rewinds: int = 0
    snapshot: Msg | None = None

    def on(self, m: Msg) -> list[str]:
        if m.snapshot:
            return self._snapshot(m)
        if self.state != "live":
            return self._waiting(m)
        if m.u is None:
            return self._unnumbered(m)
        assert self.last is not None
        if self._links(m, self.last):
            return self._apply(m)
        if m.u <= self.last:
            return self._old(m)
        return self._gap(m)

    def _links(self, m: Msg, last: int) -> bool:
        assert m.u is not None
        if self.policy == "plus_one":
            return m.u == last + 1
        if self.policy == "range_plus_one":
            return m.first == last + 1
        assert m.previous is not None
        return m.previous == last or (self.fresh and m.previous < last < m.u)

    def _apply(self, m: Msg) -> list[str]:
        set_levels(self.sides, m.levels)
        self.last, self.ms, self.fresh, self.rewinds = m.u, m.ms, False, 0
        return ["book:delta"] if any(m.levels) else []

    def _old(self, m: Msg) -> list[str]:
        if m.ms <= self.ms:
            return []
        self.rewinds += 1
        if self.rewinds < (1 if self.policy == "prev_link" and not self.fresh else 3):
            return []
        self.state, self.rewinds, self.chain = "gap", 0, None
        return GAP

    def _gap(self, m: Msg) -> list[str]:
        self.state, self.chain, self.rewinds = "gap", m.u, 0
        self.ms = max(self.ms, m.ms)
        return GAP

    def _unnumbered(self, m: Msg) -> list[str]:
        after: Sides = (dict(self.sides[0]), dict(self.sides[1]))
        set_levels(after, m.levels)
        if m.checksum is not None and checksum(after) != m.checksum:
            self.state = "checksum"
            return ["status:checksum", "status:resync"]
        return self._apply(m)

    def _waiting(self, m: Msg) -> list[str]:
        out = []
        if self.state == "init":
            self.state = "syncing"
            out.append("status:resync")
        if m.u is None:
            self.ms = m.ms
            return out
        if self.chain is not None and m.u <= self.chain:
            return out
        links = self.chain is None or self._follows(m, self.chain)
        if self.state == "syncing" and not links:
            self.state = "gap"
            out += GAP
        self.chain, self.ms = m.u, m.ms
        return out

    def _follows(self, m: Msg, chain: int) -> bool:
        if self.policy == "prev_link":
            return m.previous == chain
        return (m.u if self.policy == "plus_one" else m.first) == chain + 1

    def _snapshot(self, m: Msg) -> list[str]:
        live = self.state == "live"
        if m.u is None:
            if m.ms < self.ms or (live and m == self.snapshot):
                return []
            self.snapshot = m
        elif live:
            assert self.last is not None
            if m.u <= self.last and not (self.policy == "plus_one" and m.ms > self.ms):
                return []
        elif self.chain is not None and m.u < self.chain and m.ms <= self.ms:
            return []
        self.sides = ({}, {})
        set_levels(self.sides, m.levels)
        self.last, self.ms, self.fresh, self.rewinds = m.u, m.ms, True, 0
        self.state, self.chain = "live", None
        return ["book:snapshot"] if live else HEALED
