"""Budgets that must not be exceeded: connection permits and REST weight. No clock of their own.

A venue says «at most ``limit`` in any window». A bucket of half the limit that refills half the
limit per window can never spend more than the limit in any window, and never starves.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from pathlib import Path

import orjson

from feedd.clock import SECOND_NS
from feedd.reader.backoff import RETRY_AFTER_MAX_S

__all__ = ["Bucket", "PermitDesk"]

WAITING_MAX = 10_000
HELD_MAX_NS = int(RETRY_AFTER_MAX_S * SECOND_NS)
"""More is none of a venue's bans, but a clock that was set back."""

log = logging.getLogger("feedd.supervisor")


class Bucket:
    """``take`` is allowed at most ``limit`` times in any ``window_ns``. One thread."""

    def __init__(self, limit: float, window_ns: int, now: int) -> None:
        self.capacity = max(limit / 2, 1.0)
        self._rate = limit / 2 / window_ns
        self.tokens = self.capacity
        self._at = now

    def _refill(self, now: int) -> None:
        if now > self._at:
            self.tokens = min(self.capacity, self.tokens + (now - self._at) * self._rate)
        self._at = now

    def take(self, now: int, amount: float = 1.0) -> bool:
        """Spend ``amount`` (at most the capacity) if it is there."""
        self._refill(now)
        amount = min(amount, self.capacity)
        if self.tokens + 1e-9 < amount:
            return False
        self.tokens -= amount
        return True

    def wait_ns(self, now: int, amount: float = 1.0) -> int:
        """How long until ``amount`` is there."""
        self._refill(now)
        missing = min(amount, self.capacity) - self.tokens
        return 0 if missing <= 0 else int(missing / self._rate) + 1


class PermitDesk:
    """Grants connection attempts to all readers, one bucket per venue, first come first served.

    Venue limits are per IP address, so they outlive this process: the state is kept in
    ``path`` in wall time, and a restarted daemon goes on where the last one stopped.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._buckets: dict[str, Bucket] = {}
        self._waiting: dict[str, deque[tuple[int, int]]] = {}
        self._held: dict[str, int] = {}
        self._old: dict[str, list[float]] = {}
        self._unsaved = False
        if path is not None:
            try:
                loaded = orjson.loads(path.read_bytes())
                self._old = {str(k): [float(x) for x in v] for k, v in loaded.items()}
            except (OSError, ValueError, AttributeError, TypeError):
                self._old = {}

    def add_venue(self, name: str, limit: int, window_s: float, now: int, wall_ns: int) -> None:
        """``now`` is monotonic; ``wall_ns`` only says how old the kept state is."""
        bucket = Bucket(limit, int(window_s * SECOND_NS), now)
        old = self._old.get(name)
        if old is not None and len(old) >= 2:
            age = max(0, wall_ns - int(old[0]))
            refilled = old[1] + age * limit / 2 / (window_s * SECOND_NS)
            bucket.tokens = min(bucket.capacity, max(0.0, refilled))
        self._buckets[name] = bucket
        self.held(name, now, wall_ns)
        self._waiting[name] = deque(maxlen=WAITING_MAX)

    def ask(self, venue: str, reader: int, line: int) -> None:
        queue = self._waiting[venue]
        if (reader, line) not in queue:
            queue.append((reader, line))

    def forget(self, reader: int) -> None:
        """The reader is gone: its requests are void."""
        for venue, queue in self._waiting.items():
            kept = [entry for entry in queue if entry[0] != reader]
            self._waiting[venue] = deque(kept, maxlen=WAITING_MAX)

    def hold(self, name: str, until: int, now: int, wall_ns: int) -> bool:
        """No permit for this venue before ``until``, also after a restart; False when that was
        known already. Other names than venues' are kept for whoever asks ``held``."""
        before = self._held.get(name, 0)
        self._held[name] = max(until, before)
        if until <= before + SECOND_NS:
            return False
        self._save(now, wall_ns)
        return True

    def held(self, name: str, now: int, wall_ns: int) -> int:
        """Until when (monotonic) ``name`` is held back, as a daemon before this one noted; else
        0."""
        old = self._old.get(name, [])
        left = int(old[2]) - wall_ns if len(old) > 2 else 0
        if 0 < left <= HELD_MAX_NS:
            self._held[name] = now + left
            log.warning(
                "%s: turned away before the restart, for %.0f s more: nothing goes there",
                name,
                left / SECOND_NS,
            )
        return self._held.get(name, 0)

    def grants(self, now: int, wall_ns: int) -> list[tuple[str, int, int]]:
        """(venue, reader, line) of every request that may go ahead now."""
        out = []
        for venue, queue in self._waiting.items():
            if now < self._held.get(venue, 0):
                continue
            while queue and self._buckets[venue].take(now):
                reader, line = queue.popleft()
                out.append((venue, reader, line))
        if out:
            self._save(now, wall_ns)
        return out

    def waiting(self, venue: str) -> int:
        return len(self._waiting[venue])

    def _save(self, now: int, wall_ns: int) -> None:
        if self._path is None:
            return
        state: dict[str, list[float]] = {}
        for name in self._buckets.keys() | self._held.keys():
            bucket, held = self._buckets.get(name), self._held.get(name, 0)
            until = wall_ns + held - now if held > now else 0
            state[name] = [wall_ns, 0.0 if bucket is None else bucket.tokens, until]
        temporary = self._path.with_name(self._path.name + f".{os.getpid()}.tmp")
        try:
            temporary.write_bytes(orjson.dumps(state))
            os.replace(temporary, self._path)
        except OSError as exc:  # a full disk must not keep anybody from connecting
            if not self._unsaved:
                log.error(
                    "%s: cannot be written (%s): a restart would not know how many connections "
                    "were opened lately; make room, or put the permissions right",
                    self._path,
                    exc.strerror or exc,
                )
            self._unsaved = True
        else:
            self._unsaved = False
