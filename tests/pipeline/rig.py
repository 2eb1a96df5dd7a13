"""A pipeline in this process, with messages made by hand and records read back from its ring."""

from __future__ import annotations

from typing import Any

import orjson

from feedd import venues
from feedd.capture.render import Renderer
from feedd.decode.plan import compile_plan
from feedd.pipeline.core import Pipeline
from feedd.shm.board import BoardReader, BoardWriter
from feedd.shm.books import BooksReader, BooksWriter
from feedd.shm.ring import RingReader, RingWriter
from feedd.venues.schema import Venue

ROWS = 8
DEPTH = 64


class Rig:
    """One venue, private segments; instruments are named as they come."""

    def __init__(
        self, venue: str | Venue, *, slots: int = 1 << 14, name_at_once: bool = True
    ) -> None:
        form = venues.load(venue) if isinstance(venue, str) else venue
        self.venue = form.name
        self.ring = RingWriter.private(slots)
        self.board = BoardWriter.private(ROWS)
        self.books = BooksWriter.private([DEPTH] * ROWS)
        self.pipeline = Pipeline(self.ring, self.board, self.books)
        self.handle = self.pipeline.add_venue(compile_plan(form))
        self.symbols: list[str] = []
        if name_at_once:
            self.pipeline.on_unknown(self._name)
        self._reader = RingReader(self.ring, start="oldest")
        self._renderer = Renderer(lambda i: f"{self.venue}:{self.symbols[i]}")
        self.t = 1_700_000_000_000_000_000

    def _name(self, _venue: int, symbol: str) -> tuple[int, int, int]:
        self.symbols.append(symbol)
        row = len(self.symbols) - 1
        return row, row if row < ROWS else -1, DEPTH

    def send(self, message: Any, line: int = 0) -> list[dict[str, Any]]:
        """One message (bytes, or a value to be written as JSON); the events that it yields."""
        data = message if isinstance(message, bytes) else orjson.dumps(message)
        self.t += 1_000_000
        self.result = self.pipeline.on_message(self.handle, data, self.t, line)
        return self.drain()

    def rest(
        self, symbol: str, body: Any, at_hand: bool = True
    ) -> tuple[str, list[dict[str, Any]]]:
        answer = self.pipeline.on_rest_snapshot(
            self.handle, symbol, orjson.dumps(body), self.t, at_hand
        )
        return answer, self.drain()

    def drain(self) -> list[dict[str, Any]]:
        self.pipeline.commit()
        events: list[dict[str, Any]] = []
        while len(records := self._reader.read(4096)):
            events += self._renderer.render(records.tobytes())
        return events

    def state(self, symbol: str) -> tuple[int, int]:
        return self.pipeline.book_state(self.handle, symbol)

    def levels(self, symbol: str) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        return self.pipeline.book_levels(self.handle, symbol)

    def shared_board(self) -> Any:
        return BoardReader(self.board).snapshot()

    def shared_books(self) -> BooksReader:
        return BooksReader(self.books)

    @property
    def counters(self) -> dict[str, int]:
        return self.pipeline.counters()


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """``"book:delta"``, ``"status:gap"``, ``"trade"``, … in order."""
    return [
        e["kind"]
        + (f":{e['action']}" if e["kind"] == "book" else "")
        + (f":{e['event']}" if e["kind"] == "status" else "")
        for e in events
    ]


def deribit_book(
    symbol: str,
    change_id: int,
    previous: int | None,
    bids: list[Any],
    asks: list[Any],
    *,
    kind: str | None = None,
    ts: int = 1_700_000_000_000,
    interval: str = "100ms",
) -> dict[str, Any]:
    data: dict[str, Any] = {
        "timestamp": ts,
        "instrument_name": symbol,
        "change_id": change_id,
        "bids": [["new", p, s] for p, s in bids],
        "asks": [["new", p, s] for p, s in asks],
        "type": kind or ("snapshot" if previous is None else "change"),
    }
    if previous is not None:
        data["prev_change_id"] = previous
    return {
        "jsonrpc": "2.0",
        "method": "subscription",
        "params": {"channel": f"book.{symbol}.{interval}", "data": data},
    }


def binance_depth(
    symbol: str,
    first: int,
    last: int,
    bids: list[Any],
    asks: list[Any],
    *,
    previous: int | None = None,
    ts: int = 1_700_000_000_000,
) -> dict[str, Any]:
    data: dict[str, Any] = {
        "e": "depthUpdate",
        "E": ts,
        "s": symbol,
        "U": first,
        "u": last,
        "b": [[str(p), str(s)] for p, s in bids],
        "a": [[str(p), str(s)] for p, s in asks],
    }
    if previous is not None:
        data |= {"T": ts, "pu": previous}
    return {"stream": f"{symbol.lower()}@depth@100ms", "data": data}


def rest_depth(last: int, bids: list[Any], asks: list[Any]) -> dict[str, Any]:
    return {
        "lastUpdateId": last,
        "bids": [[str(p), str(s)] for p, s in bids],
        "asks": [[str(p), str(s)] for p, s in asks],
    }
