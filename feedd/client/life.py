"""Whether the writer of a book still lives: what nobody keeps up to date is not shown as live."""

from __future__ import annotations

from feedd import clock
from feedd.shm.ring import RingReader

__all__ = ["SILENT_NS", "promised", "writes"]

SILENT_NS = 2 * clock.SECOND_NS
"""A writer without a sign of life for so long counts as dead (its supervisor thinks the same)."""
_FRESH_NS = clock.SECOND_NS // 10


def promised(ring: RingReader) -> bool:
    """True for the moment between a writer that handed over and the next one: it left a sign of
    life that lies ahead."""
    return bool(ring.heartbeat_ns > clock.monotonic_ns())


def writes(ring: RingReader) -> bool:
    """True while the process behind this ring is at work.

    A fresh heartbeat is the answer at no cost; an old one has the lock looked at, which the kernel
    takes from a process however it ends; a very old one means a process that hangs or was stopped.
    """
    beat = ring.heartbeat_ns
    age = clock.monotonic_ns() - beat
    if age < _FRESH_NS:
        return True
    if not beat or age > SILENT_NS:
        return False  # 0: the next process has the lock, but the rows still are its predecessor's
    return bool(ring.alive())
