"""Native loops over the frames of a capture: what is timed has no Python in it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from feedd.pipeline.core import Pipeline

class Frames:
    """Frames in one block of memory, each followed by the padding that the engine reads into."""

    def __init__(self, frames: Sequence[bytes], kinds: Sequence[int]) -> None:
        """``kinds``: a small number for each frame; times are summed by it."""
    def __len__(self) -> int: ...
    def full(
        self,
        pipeline: Pipeline,
        venue: int,
        start: int,
        total: NDArray[np.int64],
        each: NDArray[np.int64],
        ts_recv: int,
    ) -> int:
        """Decode, sequence, book, ring, board and commit from frame ``start`` on.

        Adds ns to ``total[kind]``, writes those of each frame to ``each[i]``. Returns the first
        frame not done: the pipeline has requests to answer, or ``len`` at the end.
        """
    def decode(self, pipeline: Pipeline, venue: int, total: NDArray[np.int64], only: int) -> None:
        """Decode and convert every frame of the kind ``only``, nothing behind it; adds the ns."""
    def floor(self, total: NDArray[np.int64], only: int) -> int:
        """The naive scan over every frame of the kind ``only``; returns the levels that it saw."""

def clock_ns(n: int) -> float:
    """Cost of one reading of the clock that the loops use, ns."""

def begin_empty(pipeline: Pipeline, venue: int, symbol: str, ts_recv: int) -> bool:
    """Start a book that waits for a REST snapshot as if it had been empty before the first delta
    that waits. False when it does not wait, or nothing does. Raises KeyError for the symbol."""
