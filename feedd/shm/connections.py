"""Slots of one connection in the counters segment, by name."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from feedd.shm.layout import fnv1a64

__all__ = [
    "CONNECTION_FIELDS",
    "LINE_STATES",
    "SHARES_AT",
    "SHARE_FIELDS",
    "connection_row",
    "venue_code",
]

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
    "venue",  # ``venue_code`` of its name
)
"""Slots of one connection, in order; append only."""
SHARES_AT = 32
SHARE_FIELDS = ("firsts", "copies", "lag_sum_ns", "lag_count", "lag_max_ns", "missed")
"""Slots that the pipeline writes, of streams that several connections carry: messages that came
over this one first, and as copies; how much later copies came; what it lacked and others had."""
LINE_STATES = ("idle", "permit", "connecting", "up", "closing", "backoff", "stopped")


def venue_code(name: str) -> int:
    """A venue in one slot: FNV-1a 64 of its name, cut to 63 bits."""
    return fnv1a64(name.encode()) & (1 << 63) - 1


def connection_row(words: npt.NDArray[Any]) -> dict[str, int | str]:
    """One connection's slots by name, the state as a word."""
    row: dict[str, int | str] = {name: int(words[i]) for i, name in enumerate(CONNECTION_FIELDS)}
    row |= {name: int(words[SHARES_AT + i]) for i, name in enumerate(SHARE_FIELDS)}
    row["state"] = LINE_STATES[min(int(words[1]), len(LINE_STATES) - 1)]
    return row
