"""The words of the counters segment that the Python side of a reader writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from feedd.shm import layout
from feedd.shm.counters import COUNTERS, CountersWriter

__all__ = ["CONNECTION_FIELDS", "LINE_STATES", "SHARE_FIELDS", "ReaderCounts", "connection_row"]

CONNECTION_FIELDS = (
    "used",  # 1: this connection is planned
    "state",  # index into LINE_STATES
    "connects",
    "disconnects",
    "connect_failures",
    "frames",
    "bytes",
    "data",
    "control",
    "bad",
    "pings_sent",
    "pings_answered",
    "violations",
    "late",
    "topics",
    "topics_active",
    "topics_failed",
    "last_recv_ns",
    "last_data_ns",
    "rotations",  # connections replaced by choice: before the venue's limit, on its notice
    "copy",  # which of the redundant lines
    "number",  # what its records carry in ``line``: another one after each replacement
)
"""Slots of one connection, in order; append only."""
SHARES_AT = 32
SHARE_FIELDS = ("firsts", "copies", "lag_sum_ns", "lag_count", "lag_max_ns", "missed")
"""Slots that the pipeline writes, of streams that several connections carry: messages that came
over this one first, and as copies; how much later copies came; what it lacked and others had."""
LINE_STATES = ("idle", "permit", "connecting", "up", "closing", "backoff", "stopped")

_INDEX = {name: i for i, name in enumerate(COUNTERS)}


class ReaderCounts:
    """Counters of one reader process; numbers of a predecessor go on."""

    def __init__(self, writer: CountersWriter, reader: int) -> None:
        self._words: npt.NDArray[Any] = writer.words(reader)
        at = layout.COUNTER_SLOTS
        size = layout.CONNECTIONS * layout.CONNECTION_SLOTS
        block = self._words[at : at + size]
        self._connections = block.reshape(layout.CONNECTIONS, layout.CONNECTION_SLOTS)
        self._connections[:] = 0

    def add(self, name: str, amount: int = 1) -> None:
        self._words[_INDEX[name]] += np.uint64(amount)

    def set(self, name: str, value: int) -> None:
        self._words[_INDEX[name]] = value

    def connection(self, number: int, values: tuple[int, ...]) -> None:
        self._connections[number, : len(values)] = values

    def forget(self, number: int) -> None:
        """There is no such connection any more."""
        self._connections[number] = 0

    def close(self) -> None:
        """Let go of the mapping."""
        del self._words
        del self._connections


def connection_row(words: npt.NDArray[Any]) -> dict[str, int | str]:
    """One connection's slots by name, the state as a word."""
    row: dict[str, int | str] = {name: int(words[i]) for i, name in enumerate(CONNECTION_FIELDS)}
    row |= {name: int(words[SHARES_AT + i]) for i, name in enumerate(SHARE_FIELDS)}
    row["state"] = LINE_STATES[min(int(words[1]), len(LINE_STATES) - 1)]
    return row
