"""Native parts of ``feedd bench wire``: the bare listener that is the floor, sending, watching."""

from collections.abc import Callable
from typing import Any

import numpy as np
import picows
from numpy.typing import NDArray

from feedd.shm.ring import RingReader

class FloorListener(picows.WSListener):
    """Notes when each frame came, and nothing else."""

    def __init__(self, seen: NDArray[np.int64], end: Callable[[], object]) -> None:
        """``end`` is called when the connection is gone."""
    @property
    def count(self) -> int: ...
    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None: ...
    def on_ws_disconnected(self, transport: picows.WSTransport) -> None: ...

def post(fd: int, frame: Any, sent: NDArray[np.int64], i: int) -> None:
    """Stamp and send one frame on a plain socket."""

def watch(reader: RingReader | None, until: int, seen: NDArray[np.int64], first: int) -> int:
    """Spin until ``until``, reading the ring; returns how many of its quotes were noted.

    ``seen[sequence - first]`` becomes the moment at which that quote was copied. Without a ring it
    only waits. It ends early when the last quote is there.
    """

def now_ns() -> int:
    """CLOCK_MONOTONIC."""
