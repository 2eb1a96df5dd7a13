"""``feedd bench scale``: what a message costs one reader as instruments, levels and lines grow.

Everything that a reader does after picows (assembler, decoder, sequence rule, book, ring, board,
one commit per message) with made-up Deribit books, from memory. Every measurement has a process of
its own, so that none finds the caches, or the heap, of another.

*few* are ten busy instruments among N: what grows there is a cost of N. *all* are N busy ones:
their books do not fit the caches any more.
"""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from feedd import venues
from feedd.bench.instance import (
    BenchError,
    beside,
    cores,
    directory,
    median,
    percentiles,
    pin,
    spread,
)
from feedd.bench.machine import describe
from feedd.bench.scaleloop import Feeder
from feedd.decode.assembler import Assembler
from feedd.decode.plan import compile_plan
from feedd.limits import BOOK_DEPTH_DEFAULT
from feedd.pipeline.core import Pipeline
from feedd.reader.feed import PipelineSink
from feedd.reader.plan import Instrument, Line, ReaderPlan, Stream, VenueSlice
from feedd.shm.board import BoardWriter
from feedd.shm.books import BooksWriter
from feedd.shm.counters import CountersWriter
from feedd.shm.instruments import InstrumentsWriter
from feedd.shm.ring import RingWriter, create_ring

__all__ = ["run"]

VENUE = "deribit"
INSTRUMENTS = (1, 10, 100, 1_000, 4_000)
LEVELS = (1, 5, 20, 100, 400)
LINES = (1, 4, 16, 64)
FEW = 10
TAIL = (10, 100, 1_000, 4_000)
TAIL_EACH = 25
DEPTH_SMALL = 128
BOOK_LEVELS = 200
MESSAGE_BYTES = 1 << 20
STREAMS_PER_LINE = 400
START_NS = 1_790_000_000_000_000_000
PAGE = os.sysconf("SC_PAGE_SIZE")


def _symbols(n: int) -> list[str]:
    return [f"BTC-{i + 1}SEP26-{40_000 + 500 * (i % 200)}-C" for i in range(n)]


def _message(symbol: str, change: int, bids: str, asks: str) -> bytes:
    kind = "change" if change else "snapshot"
    previous = f'"prev_change_id":{change - 1},' if change else ""
    return (
        f'{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"book.{symbol}.100ms",'
        f'"data":{{"type":"{kind}","timestamp":1790000000000,"instrument_name":"{symbol}",'
        f'{previous}"change_id":{change},"bids":[{bids}],"asks":[{asks}]}}}}}}'
    ).encode()


def _snapshot(symbol: str, levels: int) -> bytes:
    bids = ",".join(f'["new",{5000 - i / 2},{i + 1}.0]' for i in range(levels))
    asks = ",".join(f'["new",{5000.5 + i / 2},{i + 1}.0]' for i in range(levels))
    return _message(symbol, 0, bids, asks)


def _changes(
    symbols: Sequence[str], n: int, levels: int, book: int, rng: random.Random
) -> Iterator[bytes]:
    """``n`` changes of ``levels`` levels, the instruments in turn."""
    change = dict.fromkeys(symbols, 0)
    for i in range(n):
        symbol = symbols[i % len(symbols)]
        change[symbol] += 1
        sides: list[list[str]] = [[], []]
        for _ in range(levels):
            at, side = rng.randrange(book), rng.randrange(2)
            price = 5000.5 + at / 2 if side else 5000 - at / 2
            sides[side].append(f'["change",{price},{rng.randrange(1, 900)}.0]')
        yield _message(symbol, change[symbol], ",".join(sides[0]), ",".join(sides[1]))


class _Reader:
    """A pipeline with real segments and ``lines`` connections to it."""

    def __init__(self, path: Path, instruments: int, depth: int, lines: int) -> None:
        self.symbols = _symbols(instruments)
        InstrumentsWriter.create(path, 16).close()
        self._counters = CountersWriter.create(path, 1, instruments)
        self._ring = RingWriter.create(path, 0)
        self._board = BoardWriter.create(path, 0, instruments)
        self._books = BooksWriter.create(path, 0, [depth] * instruments)
        self.pipeline = Pipeline(self._ring, self._board, self._books, self._counters)
        handle = self.pipeline.add_venue(compile_plan(venues.load(VENUE)))
        for row, symbol in enumerate(self.symbols):
            self.pipeline.add_instrument(handle, symbol, row, row, depth)
        self.assemblers = [Assembler(MESSAGE_BYTES) for _ in range(lines)]
        self.sinks = [PipelineSink(self.pipeline, handle, n) for n in range(lines)]

    def feed(self, frames: Sequence[bytes], each: NDArray[np.int64] | None = None) -> float:
        """ns per frame; every one must be data, and no book may have lost anything."""
        feeder = Feeder(frames, self.assemblers, self.sinks)
        taken, refused = feeder.run(START_NS, each)
        gaps = self.pipeline.counters()["gaps"]
        if refused or gaps:
            raise BenchError(f"{refused} of {feeder.n} messages were refused, {gaps} gaps")
        return taken / feeder.n


def _in_a_process(work: Callable[[Path], list[float]], core: int) -> list[float]:
    """What ``work`` returns, from a process of its own."""
    receive, send = os.pipe()

    def child() -> None:
        with directory() as path:
            os.write(send, msgspec.json.encode(work(path)))

    try:
        with beside(child, core):
            os.close(send)
            answer = os.read(receive, 1 << 16)
    finally:
        os.close(receive)
    return msgspec.json.decode(answer, type=list[float])


def _cost(instruments: int, active: int, levels: int, lines: int, n: int) -> list[float]:
    """[ns per message]: a warm-up of half as many goes before. A book of one connection is fed by
    that one, so instruments and lines go round together."""

    def work(path: Path) -> list[float]:
        rng = random.Random(instruments + levels)
        book = max(BOOK_LEVELS, levels)
        reader = _Reader(path, instruments, DEPTH_SMALL, lines)
        symbols = reader.symbols[:: max(1, instruments // active)][:active]
        symbols = symbols[: len(symbols) // lines * lines] if lines > 1 else symbols
        reader.feed([_snapshot(symbol, book) for symbol in symbols])
        frames = list(_changes(symbols, n + n // 2, levels, book, rng))
        at = n // 2 // len(symbols) * len(symbols)
        reader.feed(frames[:at])
        return [reader.feed(frames[at : at + n // lines * lines])]

    return _in_a_process(work, cores()[1])


def _tail(instruments: int, n: int) -> list[float]:
    """ns of one message among so many that the ring goes round and deep tiers are written anew:
    median, 99th and 99.9th percentile, the longest."""

    def work(path: Path) -> list[float]:
        reader = _Reader(path, instruments, DEPTH_SMALL, 1)
        reader.feed([_snapshot(symbol, BOOK_LEVELS) for symbol in reader.symbols])
        frames = list(_changes(reader.symbols, n, 5, BOOK_LEVELS, random.Random(instruments)))
        each = np.zeros(len(frames), np.int64)
        gc.collect()
        gc.disable()
        reader.feed(frames, each)
        return percentiles(each, 50, 99, 99.9, 100)

    return _in_a_process(work, cores()[1])


def _two(n: int) -> tuple[float, float]:
    """Messages per second of one reader, and of two at once on two cores."""

    def work(path: Path) -> list[float]:
        return [1e9 / _rate_cost(path, n)]

    one = _in_a_process(work, cores()[1])[0]
    receive, send = os.pipe()

    def child() -> None:
        with directory() as path:
            os.write(send, msgspec.json.encode([1e9 / _rate_cost(path, n)]))

    try:
        with beside(child, cores()[0]):
            both = _in_a_process(work, cores()[1])[0]
            both += msgspec.json.decode(os.read(receive, 1 << 16), type=list[float])[0]
    finally:
        os.close(receive)
        os.close(send)
    return one, both


def _rate_cost(path: Path, n: int) -> float:
    """ns per message of 100 instruments, over several passes: both readers are busy at once."""
    rng = random.Random(1)
    reader = _Reader(path, 100, DEPTH_SMALL, 1)
    reader.feed([_snapshot(symbol, BOOK_LEVELS) for symbol in reader.symbols])
    frames = list(_changes(reader.symbols, n, 5, BOOK_LEVELS, rng))
    return reader.feed(frames)


def _plan(path: Path, instruments: int, depth: int) -> ReaderPlan:
    symbols = _symbols(instruments)
    streams = [Stream("book", symbol, f"book.{symbol}.100ms") for symbol in symbols]
    lines = tuple(
        Line(
            number=at // STREAMS_PER_LINE,
            endpoint="public",
            url="wss://127.0.0.1:1/",
            quiet=False,
            streams=tuple(streams[at : at + STREAMS_PER_LINE]),
        )
        for at in range(0, instruments, STREAMS_PER_LINE)
    )
    known = tuple(Instrument(symbol, i, i, depth) for i, symbol in enumerate(symbols))
    return ReaderPlan(
        reader=0,
        directory=str(path),
        core=None,
        busy_poll=False,
        rows=instruments,
        depths=(depth,) * instruments,
        ring_slots=1 << 16,
        venues=(VenueSlice(VENUE, None, known, lines),),
    )


def _resident() -> tuple[int, int]:
    """(bytes of this process alone, bytes of shared memory that it maps)."""
    words = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    own = sum(int(words[name].split()[0]) for name in ("RssAnon", "RssFile"))
    return own * 1024, int(words["RssShmem"].split()[0]) * 1024


def _memory(instruments: int, levels: int) -> list[float]:
    """[own bytes before the plan, with it, with live books, bytes of segments].

    The reader's own process object: sessions, lines and pipeline, all that a reader has but the
    sockets.
    """

    def work(path: Path) -> list[float]:
        from feedd.reader.pipe import Pipe
        from feedd.reader.process import ReaderProcess

        start = _resident()[0]
        InstrumentsWriter.create(path, 16).close()
        CountersWriter.create(path, 1, instruments).close()
        BoardWriter.create(path, 0, instruments).close()
        BooksWriter.create(path, 0, [BOOK_DEPTH_DEFAULT] * instruments).close()
        create_ring(path, 0)
        pipe: Any = Pipe.__new__(Pipe)  # nothing is sent: there is no supervisor
        process = ReaderProcess(_plan(path, instruments, BOOK_DEPTH_DEFAULT), pipe)
        planned = _resident()[0]
        sink = PipelineSink(process.pipeline, 0, 0)
        assembler = Assembler(MESSAGE_BYTES)
        symbols = _symbols(instruments)
        for symbol in symbols:
            Feeder([_snapshot(symbol, levels)], [assembler], [sink]).run(START_NS)
        for change in _changes(symbols, instruments, 5, levels, random.Random(2)):
            Feeder([change], [assembler], [sink]).run(START_NS)
        for _ in range(64):
            process.pipeline.tick()
        own, shared = _resident()
        return [float(start), float(planned), float(own), float(shared)]

    return _in_a_process(work, cores()[1])


def run(rounds: int, messages: int, instruments: Sequence[int] = INSTRUMENTS) -> dict[str, Any]:
    """Medians over ``rounds`` rounds; every round goes through all sizes."""
    usable = os.sched_getaffinity(0)
    costs: dict[tuple[str, int], list[float]] = {}
    pairs: list[tuple[float, float]] = []
    tails: dict[int, list[list[float]]] = {}
    cores()
    try:
        pin(cores()[0])
        for _ in range(rounds):
            for n in instruments:
                taken = _cost(n, n, 5, 1, max(messages, 2 * n))
                costs.setdefault(("all", n), []).extend(taken)
                taken = _cost(n, min(n, FEW), 5, 1, messages)
                costs.setdefault(("few", n), []).extend(taken)
            for n in TAIL:
                if n <= max(instruments):
                    tails.setdefault(n, []).append(_tail(n, max(messages, TAIL_EACH * n)))
            for n in LEVELS:
                taken = _cost(FEW, FEW, n, 1, max(200, messages // max(1, n // 5)))
                costs.setdefault(("levels", n), []).extend(taken)
            for n in LINES:
                costs.setdefault(("lines", n), []).extend(_cost(64, 64, 5, n, messages))
            pairs.append(_two(messages))
        most = max(instruments)
        memory = {
            str(levels): _memory(most, levels) for levels in (BOOK_LEVELS, BOOK_DEPTH_DEFAULT)
        }
    finally:
        os.sched_setaffinity(0, usable)
    result: dict[str, Any] = {
        "instruments": {
            str(n): {
                "ns_per_message": median(costs["all", n]),
                "few_ns_per_message": median(costs["few", n]),
                "spread": spread(costs["all", n]),
            }
            for n in instruments
        },
        "one_message": {
            str(n): {
                name: median([row[i] for row in rows], 0)
                for i, name in enumerate(("p50_ns", "p99_ns", "p999_ns", "longest_ns"))
            }
            for n, rows in tails.items()
        },
        "levels": {str(n): {"ns_per_message": median(costs["levels", n])} for n in LEVELS},
        "connections": {str(n): {"ns_per_message": median(costs["lines", n])} for n in LINES},
        "readers": {
            "1": round(median([one for one, _ in pairs], 0)),
            "2": round(median([both for _, both in pairs], 0)),
            "ratio": median([both / one for one, both in pairs], 2),
        },
        "memory": {
            "instruments": most,
            "by_levels": {
                levels: {
                    "process_mb": round(own / 1e6, 1),
                    "plan_mb": round((planned - start) / 1e6, 1),
                    "books_mb": round((own - planned) / 1e6, 1),
                    "segments_mb": round(shared / 1e6, 1),
                }
                for levels, (start, planned, own, shared) in memory.items()
            },
        },
    }
    return result | {"rounds": rounds, "messages": messages, "machine": describe()}
