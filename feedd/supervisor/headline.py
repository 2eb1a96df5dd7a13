"""The state of the whole daemon in one line, from the counters segment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from feedd.clock import SECOND_NS
from feedd.shm.counters import CountersReader
from feedd.supervisor.process import ReaderState

__all__ = ["Headline"]

_SUMMED = ("frames", "streams_subscribed", "books_live", "books_total", "resyncs")


class Headline:
    """``text`` looks at the counters and compares with the last look."""

    def __init__(self, directory: Path) -> None:
        self._counters = CountersReader(directory)
        self._last: tuple[int, dict[str, int]] | None = None

    def text(self, now: int, states: Sequence[ReaderState]) -> str:
        """For example ``3/3 readers, 412 streams, 2 books not live, 1 resync, 118 k msg/s``."""
        sums = dict.fromkeys(_SUMMED, 0)
        for number in range(self._counters.readers):
            values = self._counters.reader(number)
            for name in _SUMMED:
                sums[name] += values[name]
        running = sum(state is ReaderState.RUNNING for state in states)
        parts = [f"{running}/{len(states)} readers", f"{sums['streams_subscribed']} streams"]
        waiting = sums["books_total"] - sums["books_live"]
        if waiting > 0:
            parts.append(f"{waiting} {_plural(waiting, 'book')} not live")
        if self._last is not None:
            then, before = self._last
            resyncs = sums["resyncs"] - before["resyncs"]
            if resyncs > 0:
                parts.append(f"{resyncs} {_plural(resyncs, 'resync')}")
            seconds = max(now - then, 1) / SECOND_NS
            parts.append(f"{_short((sums['frames'] - before['frames']) / seconds)} msg/s")
        self._last = (now, sums)
        return ", ".join(parts)

    def close(self) -> None:
        self._counters.close()


def _plural(count: int, word: str) -> str:
    return word if count == 1 else word + "s"


def _short(rate: float) -> str:
    for unit, factor in (("M", 1e6), ("k", 1e3)):
        if rate >= 10 * factor:
            return f"{rate / factor:.0f} {unit}"
    return f"{max(rate, 0):.0f}"
