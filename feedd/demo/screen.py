"""The demo's live screen: plain ANSI, one redraw per half second."""

from __future__ import annotations

from collections import deque
from typing import TextIO

import numpy as np

import feedd
from feedd import clock
from feedd.records import KIND_NAMES, Event, Flag, Kind

__all__ = ["Screen"]

_CLEAR = "\x1b[H\x1b[J"
_SAMPLES = 20_000
_BOOKS = 8


class Screen:
    """Counts what arrives and draws rates, books, latency and gaps."""

    def __init__(self, feed: feedd.Feed, out: TextIO) -> None:
        self._feed = feed
        self._out = out
        self._events = np.zeros(16, dtype=np.int64)
        self._shown = self._events.copy()
        self._shown_ns = clock.monotonic_ns()
        self._latency: deque[int] = deque(maxlen=_SAMPLES)
        self.gaps = 0
        self.lost = 0

    def add(self, batch: feedd.Batch) -> None:
        """Take a batch into account."""
        self.lost += batch.lost
        if not len(batch):
            return
        records = batch.records
        ends = records["flags"] & Flag.LAST != 0
        self._events += np.bincount(records["kind"][ends], minlength=16)[:16]
        received = records["ts_recv"][ends]
        self._latency.extend((batch.read_ns - received[received > 0][-64:]).tolist())
        if len(batch.status):
            self.gaps += int((batch.status["code"] == Event.GAP).sum())

    def draw(self) -> None:
        """Redraw the whole screen."""
        self._out.write(_CLEAR + "\n".join(self.lines()) + "\n")
        self._out.flush()

    def lines(self) -> list[str]:
        now = clock.monotonic_ns()
        seconds = max((now - self._shown_ns) / clock.SECOND_NS, 1e-3)
        rates = (self._events - self._shown) / seconds
        self._shown, self._shown_ns = self._events.copy(), now
        total = int(self._events.sum() - self._events[Kind.BOOK_CONTROL])
        lines = [
            "feedd demo: simulated venues over TLS, two reader processes, shared memory, "
            "this consumer   (Ctrl-C ends it)",
            "",
            f"{'kind':<12}{'events/s':>12}{'events':>14}",
        ]
        for kind in Kind:
            if kind is not Kind.BOOK_CONTROL and self._events[kind]:
                count = int(self._events[kind])
                lines.append(f"{KIND_NAMES[kind]:<12}{rates[kind]:>12,.0f}{count:>14,}")
        lines.append(f"{'all':<12}{rates.sum():>12,.0f}{total:>14,}")
        lines += ["", self._latency_line(), f"gaps {self.gaps}   ring records lost {self.lost}"]
        return [*lines, "", *self._books()]

    def _latency_line(self) -> str:
        if not self._latency:
            return "latency: nothing received yet"
        p50, p99, p999 = np.percentile(np.array(self._latency), [50, 99, 99.9]) / 1000
        return (
            f"latency, socket to this process: p50 {p50:,.0f} us   p99 {p99:,.0f} us   "
            f"p99.9 {p999:,.0f} us"
        )

    def _books(self) -> list[str]:
        lines = [f"{'book':<34}{'state':<9}{'bid':>22}   {'ask':<22}{'levels':>12}"]
        board = self._feed.board()
        board = board[board["book_ts_recv"] > 0]
        order = np.argsort(board["updates"])[::-1][:_BOOKS]
        for row in board[np.sort(order)]:
            digits = max(0, int(row["price_decimals"])) if row["price_decimals"] < 20 else 2
            bid = f"{row['book_bid_size']:g} @ {row['book_bid_price']:.{digits}f}"
            ask = f"{row['book_ask_price']:.{digits}f} @ {row['book_ask_size']:g}"
            state = feedd.BookState(int(row["state"])).name.lower()
            levels = f"{row['bid_levels']}+{row['ask_levels']}"
            lines.append(f"{row['name']:<34}{state:<9}{bid:>22}   {ask:<22}{levels:>12}")
        return lines
