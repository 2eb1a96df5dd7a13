"""How long to wait before the next connection attempt: pure arithmetic, no clock.

The first retry after a connection that was good is immediate; after that the delay is drawn
uniformly from zero to an exponentially growing, capped bound (full jitter), so that many
connections that fall together do not come back together, also not at the cap. Only data sets the
count back, second by second, and wholly when it was sustained: a venue that accepts connections and
closes them at once is backed off from.
"""

from __future__ import annotations

import random

from feedd.clock import SECOND_NS

__all__ = ["RETRY_AFTER_MAX_S", "Backoff"]

RETRY_AFTER_MAX_S = 3 * 86_400.0
"""The longest ban that a venue of this list announces (Binance: 3 days); more is nonsense."""
_EXPONENT_MAX = 32


class Backoff:
    """Delays of one connection. ``rng`` makes a run repeatable."""

    def __init__(self, rng: random.Random, base_s: float = 0.1, cap_s: float = 30.0) -> None:
        if not 0 < base_s <= cap_s:
            raise ValueError(f"0 < base_s <= cap_s is needed, not {base_s} and {cap_s}")
        self._rng = rng
        self._base_s = base_s
        self._cap_s = cap_s
        self.failures = 0

    def bound_s(self) -> float:
        """The largest delay that the next failure can give (without Retry-After)."""
        if self.failures == 0:
            return 0.0
        return min(self._cap_s, self._base_s * 2.0 ** min(self.failures - 1, _EXPONENT_MAX))

    def next_delay_ns(self, retry_after_s: float | None = None) -> int:
        """Count one more failure and return the delay before the next attempt, in ns."""
        delay_s = self._rng.uniform(0.0, self.bound_s())
        self.failures += 1
        if retry_after_s is not None and retry_after_s > 0:
            asked_s = min(retry_after_s, RETRY_AFTER_MAX_S)
            # never earlier than asked, and not all connections in the same instant
            delay_s = asked_s + max(delay_s, self._rng.uniform(0.0, self._base_s))
        return int(delay_s * SECOND_NS)

    def credit(self, seconds: int) -> None:
        """Data flowed for so long, which is not long enough for a reset: it counts for something,
        so that a line that is cut again and again comes back soon."""
        self.failures = max(0, self.failures - seconds)

    def reset(self) -> None:
        """Data flowed for long enough: the next failure is a first one."""
        self.failures = 0
