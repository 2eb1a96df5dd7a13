"""Run under ``count_allocations``: a million messages through a reader's path behind picows.

Prints JSON: calls of malloc and its kin, and growth of Python's blocks, over the last pass.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from pathlib import Path

from feedd import venues
from feedd.bench.scaleloop import Feeder
from feedd.decode.assembler import Assembler
from feedd.decode.plan import compile_plan
from feedd.pipeline.core import Pipeline
from feedd.reader.feed import PipelineSink
from feedd.shm.board import BoardWriter
from feedd.shm.books import BooksWriter
from feedd.shm.counters import CountersWriter
from feedd.shm.ring import RingWriter

MIXED = 200_000  # of all kinds, each once
QUOTES = 40_000  # and these 20 times: to make a million different ones would take longest here
PASSES = 20
SYMBOL = "BTCUSDT"
QUOTE = (
    '{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":%d,"s":"BTCUSDT","b":"67120.10",'
    '"B":"8.412","a":"67120.20","A":"1.903","T":1790000000123,"E":1790000000125}}'
)
TRADE = (
    '{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1790000000125,"a":%d,"s":"BTCUSDT",'
    '"p":"67120.10","q":"0.002","f":1,"l":1,"T":1790000000123,"m":true}}'
)
DEPTH = (
    '{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1790000000125,"T":1790000000123,'
    '"s":"BTCUSDT","U":%d,"u":%d,"pu":%d,"b":[["67120.10","%d.5"],["67119.90","%d.25"]],'
    '"a":[["67120.20","%d.125"]]}}'
)
BOOK = b'{"lastUpdateId":0,"bids":[["67120.10","1"],["67119.90","1"]],"asks":[["67120.20","1"]]}'


def frames(n: int, first: int) -> list[bytes]:
    out = []
    for i in range(first, first + n):
        if i % 4 == 0:
            out.append((TRADE % i).encode())
        elif i % 4 == 1:
            change = i // 4 + 1
            size = 1 + i % 97
            out.append((DEPTH % (change, change, change - 1, size, size, size)).encode())
        else:
            out.append((QUOTE % i).encode())
    return out


def main() -> None:
    path = Path(sys.argv[1])
    calls = ctypes.CDLL(None).allocation_calls
    calls.restype = ctypes.c_ulong
    pipeline = Pipeline(
        RingWriter.create(path, 0),
        BoardWriter.create(path, 0, 1),
        BooksWriter.create(path, 0, [128]),
        CountersWriter.create(path, 1, 1),
    )
    handle = pipeline.add_venue(compile_plan(venues.load("binance_usdm")))
    pipeline.add_instrument(handle, SYMBOL, 0, 0, 128)
    lines = [Assembler(1 << 20)], [PipelineSink(pipeline, handle, 0)]
    warm = 20_000
    feeder = Feeder(frames(4, 0), *lines)
    feeder.run(1)
    assert pipeline.on_rest_snapshot(handle, SYMBOL, BOOK, 1) in ("joined", "not_needed")
    Feeder(frames(warm - 4, 4), *lines).run(2)
    mixed = Feeder(frames(MIXED, warm), *lines)
    quotes = Feeder([(QUOTE % i).encode() for i in range(QUOTES)], *lines)
    before = pipeline.counters()
    gc.collect()
    gc.disable()
    blocks, count = sys.getallocatedblocks(), calls()
    _, refused = mixed.run(3)
    for _ in range(PASSES):
        refused += quotes.run(4)[1]
    after = calls()
    blocks = sys.getallocatedblocks() - blocks
    now = pipeline.counters()
    print(
        json.dumps(
            {
                "calls": after - count,
                "blocks": blocks,
                "refused": refused,
                "counting": after > 1000,
                "messages": MIXED + PASSES * QUOTES,
                "records": now["records"] - before["records"],
                "duplicates": now["duplicates"] - before["duplicates"],
                "gaps": now["gaps"],
            }
        )
    )


if __name__ == "__main__":
    main()
