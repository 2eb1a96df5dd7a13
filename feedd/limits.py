"""Bounds of everything that can grow; each is enforced where it is imported."""

from __future__ import annotations

__all__ = [
    "BOOK_BUFFER_LEVELS_MAX",
    "BOOK_DEPTH_DEFAULT",
    "BOOK_DEPTH_OPTION",
    "BOOK_LEVELS_MAX",
    "COMMIT_SLOTS_MAX",
    "JSON_DEPTH_MAX",
    "MESSAGE_BYTES_MAX",
    "RING_SLOTS_DEFAULT",
    "RING_SLOTS_MIN",
    "TRADE_IDS_KEPT",
]

RING_SLOTS_MIN = 16_384
RING_SLOTS_DEFAULT = 65_536
COMMIT_SLOTS_MAX = 1_024

BOOK_DEPTH_DEFAULT = 1_024
BOOK_DEPTH_OPTION = 128
BOOK_LEVELS_MAX = 100_000
"""Levels a side that the reader keeps before it gives the book up as broken."""
BOOK_BUFFER_LEVELS_MAX = 200_000
"""Levels buffered per instrument while a REST snapshot is awaited."""

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
JSON_DEPTH_MAX = 1_024
TRADE_IDS_KEPT = 4_096
