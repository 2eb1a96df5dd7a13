"""Counting what a client asks for: so many events in so many seconds."""

from __future__ import annotations

from collections import deque

from feedd.clock import monotonic_ns


class Limit:
    """At most ``count`` events in any ``seconds``; ``allow`` counts one and says whether it fits.

    An event that does not fit is not counted. ``enforced`` false lets everything pass.
    """

    def __init__(self, count: int, seconds: float, enforced: bool = True) -> None:
        self.count = count
        self._span_ns = int(seconds * 1e9)
        self._enforced = enforced
        self._times: deque[int] = deque()

    def allow(self, events: int = 1) -> bool:
        """Count ``events`` now if they fit."""
        now = monotonic_ns()
        times = self._times
        while times and now - times[0] >= self._span_ns:
            times.popleft()
        if self._enforced and len(times) + events > self.count:
            return False
        times.extend([now] * events)
        return True
