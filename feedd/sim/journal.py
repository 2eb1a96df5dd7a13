"""The venue's own record of what it sent and what each message must yield.

JSON lines. The first row is ``{"journal": 1, "seed": n, "epoch_ms": n}``; then one row each:

* ``{"t", "venue", "conn", "stream", "id", "fault", "events": [...]}`` a message attempted to a
  connection, in wire order. ``id`` counts the messages of that stream, sent to anybody or not.
  ``fault`` is null or the fault applied. A row whose fault is ``duplicate`` or ``insert`` is an
  extra copy or an extra bad frame: its events are empty. A row without ``events`` is a message
  of a capture, whose meaning this program does not know. ``"greeting": true`` marks what a new
  subscriber alone gets first (a snapshot): its ``id`` is that of the message before.
* ``{"t", "venue", "rest": url, "status", "fault", "events": [...]}`` an order book served by REST.
* ``{"t", "venue", "conn", "ack": [streams]}`` and ``{..., "unsubscribed": [streams]}``.
* ``{"t", "venue", "conn", "open": path}`` and ``{..., "close": reason}``.
* ``{"final_book": "venue:SYMBOL", "sequence": n, "bids": [[price, size], ...], "asks": [...]}``
  after the generator stopped; best first; the last row of an instrument counts.
* ``{"t", "stopped": true}`` last of a stop: everything above is complete.

An event whose ``sequence`` is the number of its frame on one connection says
``"numbering": "connection"``. Prices and sizes are decimal text; times are Unix nanoseconds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO

from feedd.clock import now_ns

BUFFERED_ROWS = 2_000


class Journal:
    """Buffered writer of rows; without a path it keeps nothing. Not thread-safe."""

    def __init__(self, path: Path | None, seed: int, epoch_ms: int) -> None:
        self.path = path
        self.enabled = path is not None
        self.rows = 0
        self._buffer: list[str] = []
        self._file: IO[str] | None = None
        if path is not None:
            self._file = path.open("w", encoding="utf-8", buffering=1 << 20)
            self.row({"journal": 1, "seed": seed, "epoch_ms": epoch_ms})
            self.flush()

    def add(self, line: str) -> None:
        """Add one finished row, newline included."""
        self._buffer.append(line)
        if len(self._buffer) >= BUFFERED_ROWS:
            self.drain()

    def row(self, row: dict[str, object]) -> None:
        """Add one row given as a mapping."""
        if self.enabled:
            self.add(json.dumps(row, separators=(",", ":"), ensure_ascii=False) + "\n")

    def stamped(self, venue: str, conn: int, row: dict[str, object]) -> None:
        """Add a row about a connection, with the time."""
        self.row({"t": now_ns(), "venue": venue, "conn": conn, **row})

    def drain(self) -> None:
        """Hand the rows gathered to the file object."""
        if self._file is not None and self._buffer:
            self._file.write("".join(self._buffer))
            self.rows += len(self._buffer)
        self._buffer.clear()

    def flush(self) -> None:
        """Make every row so far visible to other processes."""
        self.drain()
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Flush and close; later rows are lost silently by design (the sim is going down)."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None
        self.enabled = False
