"""What no reader can leave out: a run's reads and writes of memory alone, done once more."""

import numpy as np
from numpy.typing import NDArray

from feedd.bench.loop import Frames
from feedd.pipeline.core import Pipeline
from feedd.shm.board import BoardWriter
from feedd.shm.books import BooksWriter
from feedd.shm.ring import RingWriter

class Stores:
    """What each of ``n_frames`` frames left behind, of instruments whose id is their row."""

    def __init__(self, n_frames: int, n_rows: int) -> None:
        """Raises ValueError for more than 4,096 rows."""
    def begin(self, pipeline: Pipeline) -> None:
        """What comes to the ring from now on is of the next frame."""
    def note(self, pipeline: Pipeline, frame: int) -> None:
        """Write down what this frame, which the pipeline has just had, left behind."""
    def full(
        self,
        frames: Frames,
        ring: RingWriter,
        board: BoardWriter,
        books: BooksWriter,
        total: NDArray[np.int64],
    ) -> int:
        """ns that reading each frame and its stores took, added to ``total`` by kind of frame.

        Returns a sum of all that was read.
        """
