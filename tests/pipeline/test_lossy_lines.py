"""Two lines that lose messages of several books, against the venue's truth.

A connection counts all its messages: a jump says how many are missing and not of which book. No
message is lost on both lines.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import pytest

from tests.pipeline.lab import BOOKS, lab_venue, message
from tests.pipeline.rig import Rig

Levels = dict[int, int]
SYMBOLS = "VWXYZ"
DEPTH = 20
OTHER = 0.4
"""Messages that are of no book."""
EDGE = 0.3
"""Changes at the edge of the depth: the same two again and again."""
START = 60
"""Messages before the first loss: the lines find their places."""


class Venue:
    """Five books over two lines, and what became of them."""

    def __init__(self, seed: int, loss: float) -> None:
        decode = {"connection_sequence": {"path": "@.n", "first": 0}}
        self.rig = Rig(lab_venue({"policy": "trust_tcp", **BOOKS["trust_tcp"]}, decode))
        self.rng = random.Random(seed)
        self.loss = loss
        self.books: dict[str, tuple[Levels, Levels]] = {
            symbol: (
                {100 - i: self.rng.randint(1, 999) for i in range(DEPTH)},
                {101 + i: self.rng.randint(1, 999) for i in range(DEPTH)},
            )
            for symbol in SYMBOLS
        }
        self.sent: dict[str, list[Any]] = {symbol: [] for symbol in SYMBOLS}
        self.got: dict[str, list[Any]] = {symbol: [] for symbol in SYMBOLS}
        self.lines: tuple[deque[Any], deque[Any]] = (deque(), deque())
        self.numbers = [0, 0]
        self.gaps = self.lost = 0
        self.requests: list[str] = []
        for line in (0, 1):
            for symbol in SYMBOLS:
                self.snapshot(line, symbol)

    def put(self, line: int, content: dict[str, Any], lost: bool = False) -> None:
        if not lost:
            self.lines[line].append({"n": self.numbers[line], **content})
        self.lost += lost
        self.numbers[line] += 1

    def snapshot(self, line: int, symbol: str) -> None:
        bids, asks = self.books[symbol]
        sides = [sorted(side.items()) for side in (bids, asks)]
        self.put(line, message(*sides, snapshot=True, symbol=symbol))

    def say(self, lossy: bool) -> None:
        """The venue's next message, to both lines."""
        hits = [lossy and self.rng.random() < self.loss for _ in self.lines]
        if all(hits):
            hits[self.rng.randint(0, 1)] = False
        content: dict[str, Any] = {"t": "nothing"}
        if self.rng.random() >= OTHER:
            symbol, side = self.rng.choice(SYMBOLS), self.rng.randint(0, 1)
            content = self.change(symbol, side)
        for line in (0, 1):
            self.put(line, content, hits[line])

    def change(self, symbol: str, side: int) -> dict[str, Any]:
        levels = self.books[symbol][side]
        if self.rng.random() < EDGE:
            price = 121 if side else 80
            size = 0 if price in levels else 7
        else:
            price = self.rng.randint(101, 120) if side else self.rng.randint(81, 100)
            size = self.rng.choice([0, self.rng.randint(1, 999)])
            if size == levels.get(price, 0):
                size += 1
        levels[price] = size
        if not size:
            del levels[price]
        sides: list[list[tuple[int, int]]] = [[], []]
        sides[side].append((price, size))
        self.sent[symbol].append(sides)
        return message(*sides, symbol=symbol)

    def bring(self, line: int, count: int) -> None:
        while self.lines[line] and count:
            count -= 1
            self.rig.t += self.rng.randint(1_000, 200_000)
            for event in self.rig.send(self.lines[line].popleft(), line):
                if event["kind"] == "status":
                    self.gaps += event["event"] == "gap"
                elif event["action"] != "snapshot":
                    sides = [[(int(p), int(n)) for p, n in event[k]] for k in ("bids", "asks")]
                    self.got[event["instrument"].split(":")[-1]].append(sides)
            for request in self.rig.pipeline.take_requests():
                self.requests.append(request.kind)
                if request.kind != "reconnect":
                    at = request.line if request.kind == "realign" else self.rng.randint(0, 1)
                    self.snapshot(at, request.symbol)

    def run(self, messages: int) -> None:
        for n in range(messages):
            self.say(n >= START)
            if n < START:
                for line in (0, 1):
                    self.bring(line, -1)
            elif self.rng.random() < 0.25:
                line = self.rng.randint(0, 1)
                for number in (line, 1 - line):
                    self.bring(number, self.rng.randint(0, 8))
        for _ in range(60):
            for line in (0, 1):
                self.put(line, {"t": "nothing"})
                self.bring(line, -1)
            self.rig.t += 20_000_000


@pytest.mark.parametrize("loss", [0.0, 0.01, 0.05])
@pytest.mark.parametrize("seed", range(4))
def test_what_one_line_loses_the_other_has(seed: int, loss: float) -> None:
    venue = Venue(seed, loss)
    venue.run(1_200)
    assert bool(venue.lost) == bool(loss)
    assert venue.gaps == 0
    assert venue.got == venue.sent
    assert venue.requests == []  # no line had to start anew
    assert (venue.rig.pipeline.counters()["held_messages"] > 500) == (loss == 0.05)


def test_many_lost_at_once_cost_the_line_its_place() -> None:
    """More than can be worked out: the line starts anew, the other one carries the books on."""
    venue = Venue(1, 0.0)
    venue.run(200)
    venue.numbers[0] += 100
    venue.run(50)
    assert venue.gaps == 0
    assert venue.got == venue.sent
    assert "reconnect" in venue.requests
