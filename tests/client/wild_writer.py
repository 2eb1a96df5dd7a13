"""A reader process without a network that does all that makes a consumer's life hard.

``python -m tests.client.wild_writer DIRECTORY SEED``: changes in small and large commits, snapshots
longer than a commit, gaps, sides that empty. It makes the segments or takes them over from a
predecessor that was killed, prints "ready", and paces itself as ``live_writer`` does.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import orjson

from feedd import venues
from feedd.decode.plan import compile_plan
from feedd.pipeline.core import Pipeline
from feedd.records import BookState, Event, Scope
from feedd.shm.board import BoardWriter
from feedd.shm.books import BooksWriter
from feedd.shm.counters import CountersWriter
from feedd.shm.instruments import InstrumentsWriter
from feedd.shm.ring import RingWriter
from tests.client.live_writer import AHEAD, DEPTH, SLOTS, SYMBOLS, Pace
from tests.pipeline.rig import deribit_book

LONG = 3000
"""Levels a side of a snapshot that no commit holds."""
Side = list[tuple[float, float]]


class Market:
    """One instrument's messages."""

    def __init__(self, rng: random.Random, symbol: str) -> None:
        self.rng = rng
        self.symbol = symbol
        self.change = time.monotonic_ns() // 1000

    def snapshot(self, levels: int) -> bytes:
        self.change += 1
        bids = [(1000 - i / 2, 1.0 + self.rng.randrange(5)) for i in range(levels)]
        asks = [(1001 + i / 2, 1.0 + self.rng.randrange(5)) for i in range(levels)]
        return orjson.dumps(deribit_book(self.symbol, self.change, None, bids, asks))

    def delta(self) -> bytes:
        self.change += 1
        bids, asks = self._side(1000, -0.5), self._side(1001, 0.5)
        what = self.rng.random()
        if what < 0.01:  # a side that nearly empties: the shared window is eaten
            bids = [(1000 - i / 2, 0.0) for i in range(LONG)]
        elif what < 0.02:
            asks = [(1001 + i / 2, 0.0) for i in range(LONG - 1)]
        message = deribit_book(self.symbol, self.change, self.change - 1, bids, asks)
        return orjson.dumps(message)

    def _side(self, start: float, step: float) -> Side:
        near = self.rng.random() < 0.5
        return [
            (start + step * self.rng.randrange(40 if near else 400), float(self.rng.randrange(5)))
            for _ in range(self.rng.randrange(1, 12))
        ]

    def next(self) -> bytes:
        what = self.rng.random()
        if what < 0.002:
            return self.snapshot(LONG)
        if what < 0.006:
            return self.snapshot(self.rng.randrange(300))
        if what < 0.01:
            self.change += 1  # one is missing
        return self.delta()


def segments(directory: Path) -> tuple[InstrumentsWriter, CountersWriter, RingWriter]:
    if (directory / "instruments").exists():
        return (
            InstrumentsWriter.open(directory),
            CountersWriter.open(directory),
            RingWriter.takeover(directory, 0),
        )
    table = InstrumentsWriter.create(directory, 16)
    for row, symbol in enumerate(SYMBOLS):
        table.append(venue="deribit", symbol=symbol, reader=0, row=row)
    counters = CountersWriter.create(directory, 1, 4)
    ring = RingWriter.create(directory, 0, SLOTS)
    BoardWriter.create(directory, 0, 4).close()
    BooksWriter.create(directory, 0, [DEPTH] * 4).close()
    return table, counters, ring


def main(directory: Path, seed: int) -> None:
    rng = random.Random(seed)
    _table, counters, ring = segments(directory)
    board = BoardWriter.open(directory, 0, fresh=True)
    books = BooksWriter.open(directory, 0, fresh=True)
    pipeline = Pipeline(ring, board, books, counters)
    handle = pipeline.add_venue(compile_plan(venues.load("deribit")))
    for row, symbol in enumerate(SYMBOLS):
        pipeline.add_instrument(handle, symbol, row, row, DEPTH)
    pipeline.status(int(Event.READER_START), time.time_ns(), scope=int(Scope.READER))
    pipeline.commit()
    ring.heartbeat(time.monotonic_ns())
    markets = [Market(rng, symbol) for symbol in SYMBOLS]
    print("ready", flush=True)
    pace = Pace()
    pace.position = int(ring.head)
    waits = [0] * len(markets)
    while not pace.ended:
        ring.heartbeat(time.monotonic_ns())
        pace.listen(0)
        if ring.head - pace.position > AHEAD:
            pipeline.tick()
            pace.listen(0.05)
            continue
        for _ in range(rng.randrange(1, 30)):
            for row, market in enumerate(markets):
                pipeline.on_message(handle, market.next(), time.time_ns())
                if pipeline.book_state(handle, market.symbol)[0] != BookState.LIVE:
                    waits[row] += 1
                    if waits[row] > 20:
                        waits[row] = 0
                        pipeline.on_message(handle, market.snapshot(LONG), time.time_ns())
            if rng.random() < 0.7:
                pipeline.commit()
        pipeline.commit()
        pipeline.tick()
    ring.mark_closed()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
