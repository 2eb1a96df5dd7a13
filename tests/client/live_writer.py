"""A reader process without a network: books under constant change, through the real pipeline.

``python -m tests.client.live_writer DIRECTORY``: prints "ready" when consumers can attach. Whoever
reads says on standard input, line by line, up to which ring position: the writer never goes
``AHEAD`` records beyond it, so the ring cannot overrun a reader that gets no processor time. It
ends with the end of its input.
"""

from __future__ import annotations

import os
import random
import select
import sys
import time
from pathlib import Path

import orjson

from feedd import venues
from feedd.decode.plan import compile_plan
from feedd.pipeline.core import Pipeline
from feedd.shm.board import BoardWriter
from feedd.shm.books import BooksWriter
from feedd.shm.counters import CountersWriter
from feedd.shm.instruments import InstrumentsWriter
from feedd.shm.ring import RingWriter
from tests.pipeline.rig import deribit_book

SYMBOLS = ("BTC-PERPETUAL", "ETH-PERPETUAL")
DEPTH = 128
LEVELS = 300
SLOTS = 16_384
AHEAD = SLOTS // 2


class Pace:
    """How far the reader is, as it says on standard input."""

    def __init__(self) -> None:
        self.position = 0
        self.ended = False
        self._rest = b""

    def listen(self, seconds: float) -> None:
        if not select.select([0], [], [], seconds)[0]:
            return
        data = os.read(0, 1 << 16)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.position = int(lines[-1]) if lines else self.position
        self.ended = not data


def main(directory: Path) -> None:
    rng = random.Random(5)
    instruments = InstrumentsWriter.create(directory, 16)
    counters = CountersWriter.create(directory, 1, 4)
    ring = RingWriter.create(directory, 0, SLOTS)
    board = BoardWriter.create(directory, 0, 4)
    books = BooksWriter.create(directory, 0, [DEPTH] * 4)
    pipeline = Pipeline(ring, board, books, counters)
    handle = pipeline.add_venue(compile_plan(venues.load("deribit")))
    change = 100
    for row, symbol in enumerate(SYMBOLS):
        number = instruments.append(venue="deribit", symbol=symbol, reader=0, row=row)
        pipeline.add_instrument(handle, symbol, number, row, DEPTH)
        bids = [(1000 - i / 2, 1.0) for i in range(LEVELS)]
        asks = [(1001 + i / 2, 1.0) for i in range(LEVELS)]
        snapshot = deribit_book(symbol, change, None, bids, asks)
        pipeline.on_message(handle, orjson.dumps(snapshot), time.time_ns())
    pipeline.commit()
    print("ready", flush=True)
    pace = Pace()
    while not pace.ended:
        pace.listen(0)
        if ring.head - pace.position > AHEAD:
            pipeline.tick()
            pace.listen(0.05)
            continue
        for _ in range(20):
            change += 1
            for symbol in SYMBOLS:
                pipeline.on_message(handle, delta(rng, symbol, change), time.time_ns())
                if rng.random() < 0.7:
                    pipeline.commit()
        pipeline.commit()
        pipeline.tick()
        time.sleep(0.0005)
    ring.mark_closed()


def delta(rng: random.Random, symbol: str, change: int) -> bytes:
    def side(start: float, step: float) -> list[tuple[float, float]]:
        return [
            (start + step * rng.randrange(LEVELS), float(rng.randrange(5)))
            for _ in range(rng.randrange(1, 8))
        ]

    message = deribit_book(symbol, change, change - 1, side(1000, -0.5), side(1001, 0.5))
    return orjson.dumps(message)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
