"""The cryptofeed side of ``decode_vs_cryptofeed.py``. Runs in cryptofeed's own venv, never in ours.

Reads one JSON line ``{"symbols": [...], "first": [...], "frames": [...], "snapshots": {symbol:
body}}`` on stdin and answers ``{"ready": version}``. For every line ``round`` it rebuilds the books
from the snapshots and the first frames (not timed), feeds all frames through ``message_handler``
(decode, id check, book, a callback that only counts) and answers ``{"ns": total, "updates":
callbacks}``.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import sys
import time

from cryptofeed.defines import L2_BOOK, TICKER
from cryptofeed.exchanges.binance_futures import BinanceFutures
from cryptofeed.symbols import Symbols


class Peer:
    """One feed object with the symbols of the frames and a callback that counts."""

    def __init__(
        self, symbols: list[str], first: list[str], frames: list[str], snapshots: dict[str, str]
    ) -> None:
        self.first = first
        self.frames = frames
        self.snapshots = snapshots
        self.updates = 0
        names = {self.standard(symbol): symbol for symbol in symbols}
        info = {
            "symbols": list(names),
            "instrument_type": dict.fromkeys(names, "perpetual"),
            "tick_size": dict.fromkeys(names, "0.0001"),
        }
        Symbols.set(BinanceFutures.id, names, info)
        self.feed = BinanceFutures(
            symbols=list(names),
            channels=[L2_BOOK, TICKER],
            callbacks={L2_BOOK: self.callback, TICKER: self.callback},
        )

    @staticmethod
    def standard(symbol: str) -> str:
        """Any unique name does; only the look-up costs time."""
        return f"{symbol.removesuffix('USDT')}-USDT-PERP"

    async def callback(self, _data: object, _receipt: float) -> None:
        self.updates += 1

    async def reset(self) -> None:
        """Fresh books from the REST snapshots, as after its own start."""
        for symbol, body in self.snapshots.items():
            name = self.standard(symbol)
            book = self.feed._parse_snapshot(name, body)
            self.feed._l2_book[name] = book
            self.feed.last_update_id[name] = book.sequence_number
        for frame in self.first:
            await self.feed.message_handler(frame, None, 1.0)
        self.updates = 0

    async def round(self) -> dict[str, int]:
        await self.reset()
        handle = self.feed.message_handler
        start = time.perf_counter_ns()
        for frame in self.frames:
            await handle(frame, None, 1.0)
        return {"ns": time.perf_counter_ns() - start, "updates": self.updates}


async def main() -> None:
    work = json.loads(sys.stdin.readline())
    peer = Peer(work["symbols"], work["first"], work["frames"], work["snapshots"])
    print(json.dumps({"ready": importlib.metadata.version("cryptofeed")}), flush=True)
    for line in sys.stdin:
        if line.strip() == "round":
            print(json.dumps(await peer.round()), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
