"""``feedd bench forms``: a change of a busy book, as each of several venues writes it.

Recordings of most venues are short, and a simulated one writes its keys in any order. Here every
venue has ten instruments whose books change near the touch, in the form of its documentation, so
that the venues can be compared: mean ns of decoding and of the full path, per message and per byte.
The first third of the messages only brings books and forms into memory.
"""

from __future__ import annotations

import random
import statistics
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from feedd import venues
from feedd.bench.decode import CLOCK_READS, INSTRUMENTS_MAX, RING_SLOTS
from feedd.bench.loop import Frames, begin_empty, clock_ns
from feedd.bench.machine import describe
from feedd.decode.plan import Plan, compile_plan
from feedd.errors import FeeddError
from feedd.pipeline.core import Pipeline
from feedd.shm.board import BoardWriter
from feedd.shm.books import BooksWriter
from feedd.shm.ring import RingWriter

__all__ = ["FORMS", "run"]

INSTRUMENTS = 10
DEPTH = 200  # levels of a snapshot
KRAKEN_DEPTH = 100
KRAKEN_SUMMED = 10  # levels a side in its checksum
TOUCH = 923_100  # in tenths
NOW_MS = 1_795_854_358_000
NOW_NS = NOW_MS * 1_000_000
KIND = 3

Ticks = list[tuple[int, int]]  # (price in tenths, size in thousandths; 0: the level goes)
Form = Callable[[random.Random, int, int], Iterator[str]]


def _price(tick: int) -> str:
    return f"{tick // 10}.{tick % 10}"


def _size(thousandths: int) -> str:
    return f"{thousandths // 1000}.{thousandths % 1000:03d}"


def _changes(rng: random.Random, levels: int) -> tuple[Ticks, Ticks]:
    """Bids and asks; most of them near the touch, three in ten go."""
    sides: list[Ticks] = []
    for sign in (-1, 1):
        ticks = {int(rng.expovariate(1 / 30)) for _ in range(levels)}
        sides.append(
            [
                (TOUCH + sign * (1 + t), 0 if rng.random() < 0.3 else rng.randrange(1, 99_999))
                for t in sorted(ticks)
            ]
        )
    return sides[0], sides[1]


def _book() -> tuple[Ticks, Ticks]:
    asks = [(TOUCH + 1 + i, 1_000) for i in range(DEPTH)]
    return [(TOUCH - 1 - i, 1_000) for i in range(DEPTH)], asks


def _list(ticks: Ticks, level: Callable[[int, int], str]) -> str:
    return "[" + ",".join(level(*tick) for tick in ticks) + "]"


def _pair(tick: int, size: int) -> str:
    return f'["{_price(tick)}","{_size(size)}"]'


def binance_usdm(rng: random.Random, n: int, levels: int) -> Iterator[str]:
    last = [1_000] * INSTRUMENTS
    for i in range(n):
        x, ms = i % INSTRUMENTS, NOW_MS + i
        bids, asks = _changes(rng, levels)
        first, last[x] = last[x], last[x] + 9
        yield (
            f'{{"stream":"btc{x}usdt@depth@100ms","data":{{"e":"depthUpdate","E":{ms},"T":{ms - 3},'
            f'"s":"BTC{x}USDT","U":{first + 1},"u":{last[x]},"pu":{first},"b":{_list(bids, _pair)},'
            f'"a":{_list(asks, _pair)},"st":1,"ps":"BTC{x}USDT"}}}}'
        )


def deribit(rng: random.Random, n: int, levels: int) -> Iterator[str]:
    last = [1_000] * INSTRUMENTS

    def message(x: int, ms: int, kind: str, link: str, sides: tuple[Ticks, Ticks]) -> str:
        def level(tick: int, size: int) -> str:
            word = "new" if kind == "snapshot" else "change" if size else "delete"
            return f'["{word}",{_price(tick)},{size}.0]'

        return (
            '{"jsonrpc":"2.0","method":"subscription","params":{"channel":'
            f'"book.BTC-{x}.100ms","data":{{"type":"{kind}","timestamp":{ms},{link}'
            f'"instrument_name":"BTC-{x}","change_id":{last[x]},"bids":{_list(sides[0], level)},'
            f'"asks":{_list(sides[1], level)}}}}}}}'
        )

    for x in range(INSTRUMENTS):
        yield message(x, NOW_MS, "snapshot", "", _book())
    for i in range(n):
        x = i % INSTRUMENTS
        link, last[x] = f'"prev_change_id":{last[x]},', last[x] + 5
        yield message(x, NOW_MS + i, "change", link, _changes(rng, levels))


def okx(rng: random.Random, n: int, levels: int) -> Iterator[str]:
    last = [1_000] * INSTRUMENTS

    def level(tick: int, size: int) -> str:
        return f'["{_price(tick)}","{size}","0","{min(size, 7)}"]'

    def message(x: int, ms: int, kind: str, link: int, sides: tuple[Ticks, Ticks]) -> str:
        return (
            f'{{"arg":{{"channel":"books","instId":"BTC-USDT-{x}"}},"action":"{kind}","data":'
            f'[{{"asks":{_list(sides[1], level)},"bids":{_list(sides[0], level)},"ts":"{ms}",'
            f'"checksum":0,"prevSeqId":{link},"seqId":{last[x]}}}]}}'
        )

    for x in range(INSTRUMENTS):
        yield message(x, NOW_MS, "snapshot", -1, _book())
    for i in range(n):
        x = i % INSTRUMENTS
        link, last[x] = last[x], last[x] + 7
        yield message(x, NOW_MS + i, "update", link, _changes(rng, levels))


def bybit_linear(rng: random.Random, n: int, levels: int) -> Iterator[str]:
    last = [1_000] * INSTRUMENTS

    def message(x: int, ms: int, kind: str, sides: tuple[Ticks, Ticks]) -> str:
        return (
            f'{{"topic":"orderbook.200.BTC{x}USDT","type":"{kind}","ts":{ms},"data":{{"s":'
            f'"BTC{x}USDT","b":{_list(sides[0], _pair)},"a":{_list(sides[1], _pair)},"u":{last[x]},'
            f'"seq":{7_961_517_962 + ms - NOW_MS}}},"cts":{ms - 2}}}'
        )

    for x in range(INSTRUMENTS):
        yield message(x, NOW_MS, "snapshot", _book())
    for i in range(n):
        x = i % INSTRUMENTS
        last[x] += 1
        yield message(x, NOW_MS + i, "delta", _changes(rng, levels))


def coinbase_exchange(rng: random.Random, n: int, levels: int) -> Iterator[str]:
    for x in range(INSTRUMENTS):
        bids, asks = _book()
        yield (
            f'{{"type":"snapshot","product_id":"BT{x}-USD","bids":{_list(bids, _pair)},'
            f'"asks":{_list(asks, _pair)},"time":"2026-11-28T08:25:57.000000Z"}}'
        )
    for i in range(n):
        bids, asks = _changes(rng, levels)
        rows = [f'["buy","{_price(t)}","{_size(s)}"]' for t, s in bids]
        rows += [f'["sell","{_price(t)}","{_size(s)}"]' for t, s in asks]
        yield (
            f'{{"type":"l2update","product_id":"BT{i % INSTRUMENTS}-USD","changes":'
            f'[{",".join(rows)}],"time":"2026-11-28T08:25:57.{i % 1_000_000:06d}Z"}}'
        )


def kraken(rng: random.Random, n: int, levels: int) -> Iterator[str]:
    """Every message carries a checksum of the best ten levels a side."""
    books = [[dict(side) for side in _book()] for _ in range(INSTRUMENTS)]

    def level(tick: int, size: int) -> str:
        return f'{{"price":{_price(tick)},"qty":{_size(size)}00000}}'

    def summed(x: int) -> int:
        best = [sorted(books[x][1]), sorted(books[x][0], reverse=True)]
        digits = [
            _price(tick).replace(".", "").lstrip("0")
            + f"{_size(books[x][1 - side][tick])}00000".replace(".", "").lstrip("0")
            for side in (0, 1)
            for tick in best[side][:KRAKEN_SUMMED]
        ]
        return zlib.crc32("".join(digits).encode())

    def message(x: int, i: int, kind: str, sides: tuple[Ticks, Ticks]) -> str:
        for side, changes in enumerate(sides):
            book = books[x][side]
            book.update(changes)
            for tick in [tick for tick, size in book.items() if not size]:
                del book[tick]
            for tick in sorted(book, reverse=not side)[KRAKEN_DEPTH:]:
                del book[tick]
        return (
            f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"BT{x}/USD",'
            f'"bids":{_list(sides[0], level)},"asks":{_list(sides[1], level)},'
            f'"checksum":{summed(x)},"timestamp":"2026-11-28T08:25:57.{i % 1_000_000:06d}Z"}}]}}'
        )

    for x in range(INSTRUMENTS):
        bids, asks = _book()
        yield message(x, 0, "snapshot", (bids[:KRAKEN_DEPTH], asks[:KRAKEN_DEPTH]))
    for i in range(n):
        yield message(i % INSTRUMENTS, i, "update", _changes(rng, levels))


FORMS: dict[str, Form] = {
    "binance_usdm": binance_usdm,
    "deribit": deribit,
    "okx": okx,
    "bybit_linear": bybit_linear,
    "coinbase_exchange": coinbase_exchange,
    "kraken": kraken,
}


class _Run:
    """Fresh books of one venue."""

    def __init__(self, plan: Plan, messages: int) -> None:
        self.ring = RingWriter.private(RING_SLOTS, populate=True)
        board = BoardWriter.private(64, populate=True)
        books = BooksWriter.private([1024] * 64, populate=True)
        self.pipeline = Pipeline(self.ring, board, books)
        self.handle = self.pipeline.add_venue(plan)
        self.symbols: list[str] = []
        self.pipeline.on_unknown(self._name)
        self.each = np.zeros(messages, np.int64)

    def _name(self, _venue: int, symbol: str) -> tuple[int, int, int]:
        self.symbols.append(symbol)
        row = min(len(self.symbols) - 1, INSTRUMENTS_MAX)
        return row, row if row < 64 else -1, 1024

    def feed(self, frames: Frames) -> None:
        total, at = np.zeros(256, np.int64), 0
        while at < len(frames):
            at = frames.full(self.pipeline, self.handle, at, total, self.each, NOW_NS)
            for request in self.pipeline.take_requests():
                if request.kind == "snapshot" and request.symbol is not None:
                    begin_empty(self.pipeline, self.handle, request.symbol, NOW_NS)


def _measure(name: str, messages: int, levels: int, rounds: int) -> dict[str, Any]:
    raw = [text.encode() for text in FORMS[name](random.Random(1), messages, levels)]
    plan = compile_plan(venues.load(name))
    frames, cut = Frames(raw, [KIND] * len(raw)), len(raw) // 3
    timed = Frames(raw[cut:], [KIND] * (len(raw) - cut))
    overhead = clock_ns(CLOCK_READS)
    full, decoded = [], []
    for _ in range(rounds):
        run = _Run(plan, len(raw))
        run.feed(frames)
        full.append(float(run.each[cut:].mean()) - overhead)
        spent = np.zeros(256, np.int64)
        timed.decode(run.pipeline, run.handle, spent, KIND)
        decoded.append(float(spent[KIND]) / len(timed))
    counters = run.pipeline.counters()
    if counters["gaps"] or counters["bad_frames"] or counters["books_live"] != INSTRUMENTS:
        raise FeeddError(f"{name}: the made-up books did not stay live")
    mean = sum(map(len, raw[cut:])) / len(timed)
    return {
        "bytes": round(mean, 1),
        "decode_ns": round(statistics.median(decoded), 1),
        "full_ns": round(statistics.median(full), 1),
        "decode_ns_per_byte": round(statistics.median(decoded) / mean, 3),
        "full_ns_per_byte": round(statistics.median(full) / mean, 3),
    }


def run(rounds: int, messages: int) -> dict[str, Any]:
    """Medians over ``rounds``, by venue and by levels a side of a message."""
    found = {
        name: {str(levels): _measure(name, messages, levels, rounds) for levels in (1, 5)}
        for name in FORMS
    }
    return {"rounds": rounds, "messages": messages, "venues": found, "machine": describe()}
