"""The only module that reads a clock; everything else takes ``now`` from here.

Wall time (``now_ns``) stamps records, monotonic time (``monotonic_ns``) measures ages and drives
timers, so that a step of the wall clock never looks like a stale feed.
"""

from __future__ import annotations

import time

__all__ = ["SECOND_NS", "monotonic_ns", "now_ns", "sleep"]

SECOND_NS = 1_000_000_000


def now_ns() -> int:
    """CLOCK_REALTIME in ns since the Unix epoch."""
    return time.time_ns()


def monotonic_ns() -> int:
    """CLOCK_MONOTONIC in ns; comparable between processes of one boot."""
    return time.monotonic_ns()


def sleep(seconds: float) -> None:
    """Block the calling thread for ``seconds``."""
    time.sleep(seconds)
