"""Native loops of ``feedd bench ring``: a writer that keeps time, consumers in C, the floor."""

import numpy as np
from numpy.typing import NDArray

from feedd.shm.ring import RingReader, RingWriter

CONTROL_BYTES: int
READY: int
"""Word of the control page: the consumer is there."""
POSITION: int
"""Word of the control page: how many records the consumer has read."""
WAKE: int
"""Word of the control page: how many wakes there were."""

class FloorRing:
    """One side of a floor ring (``src/floor_ring.h``) in memory that both processes share."""

    def __init__(self, slots: NDArray[np.uint64]) -> None:
        """``slots``: 16 words each, a power of two of them, at a pair of cache lines."""

def pace(writer: RingWriter | None, floor: FloorRing | None, n: int, every_ns: int) -> None:
    """Publish ``n`` records, one each ``every_ns``, stamped in ``ts_recv`` just before."""

def pace_wakes(control: NDArray[np.uint64], n: int, every_ns: int) -> None:
    """Wake a process that sleeps on a word of the control page ``n`` times, each ``every_ns``."""

def pour(
    writer: RingWriter | None,
    floor: FloorRing | None,
    n: int,
    batch: int,
    control: NDArray[np.uint64],
) -> None:
    """Publish ``n`` records as fast as the consumer allows: never half a ring ahead of it.

    Commits after every ``batch`` records. The consumer says in the control page how far it is.
    """

def publish(writer: RingWriter, n: int) -> int:
    """Put and commit ``n`` single records, back to back; ns in all."""

def read_paced(
    reader: RingReader | None,
    floor: FloorRing | None,
    ages: NDArray[np.int64],
    sleep: bool = False,
) -> None:
    """Wait for each of ``len(ages)`` records and write down how old it was when it was copied.

    It spins, or sleeps in the kernel (not on a floor ring, which has no wake).
    """

def read_wakes(control: NDArray[np.uint64], ages: NDArray[np.int64]) -> None:
    """The other side of ``pace_wakes``: how long after its stamp each wake was here, in ns."""

def read_poured(
    reader: RingReader | None, floor: FloorRing | None, n: int, control: NDArray[np.uint64]
) -> int:
    """Read ``n`` records as they come; ns from the first to the last.

    Raises AssertionError when one is missing.
    """

def set_word(control: NDArray[np.uint64], at: int, value: int) -> None:
    """Store a word of the control page (release)."""

def wait_word(control: NDArray[np.uint64], at: int, value: int, seconds: float) -> bool:
    """Spin until the word is at least ``value``; False when ``seconds`` are over."""

def now_ns() -> int:
    """CLOCK_MONOTONIC."""
