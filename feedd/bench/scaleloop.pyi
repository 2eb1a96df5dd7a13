"""What a reader does with a frame after picows, over many connections, without a network."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from feedd.decode.assembler import Assembler
from feedd.reader.line import Sink

class Feeder:
    """Frames one after the other through the assemblers and sinks of several connections."""

    def __init__(
        self, frames: Sequence[bytes], assemblers: Sequence[Assembler], sinks: Sequence[Sink]
    ) -> None: ...
    @property
    def n(self) -> int:
        """How many frames there are."""
    def run(self, ts_recv: int, each: NDArray[np.int64] | None = None) -> tuple[int, int]:
        """Every frame once, each with a commit of its own; frame i comes over connection
        i modulo their number. Returns (ns, frames that were no data); the ns of each frame are
        written to ``each``, if there is one. Raises ValueError when that is too short."""
