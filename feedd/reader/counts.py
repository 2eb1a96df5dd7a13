"""The words of the counters segment that the Python side of a reader writes."""

from __future__ import annotations

from struct import Struct
from typing import Any

import numpy as np
import numpy.typing as npt

from feedd.shm import layout
from feedd.shm.counters import COUNTERS, CountersWriter

__all__ = ["ReaderCounts"]

# native: each word is stored whole, readers look at any time
_WORDS = [Struct(f"{n}Q") for n in range(layout.CONNECTION_SLOTS + 1)]
_INDEX = {name: i for i, name in enumerate(COUNTERS)}


class ReaderCounts:
    """Counters of one reader process; numbers of a predecessor go on."""

    def __init__(self, writer: CountersWriter, reader: int) -> None:
        self._words: npt.NDArray[Any] = writer.words(reader)
        at = layout.COUNTER_SLOTS
        size = layout.CONNECTIONS * layout.CONNECTION_SLOTS
        block = self._words[at : at + size]
        self._connections = block.reshape(layout.CONNECTIONS, layout.CONNECTION_SLOTS)
        self._connections[:] = 0
        self._rows = block.data.cast("B")

    def add(self, name: str, amount: int = 1) -> None:
        self._words[_INDEX[name]] += np.uint64(amount)

    def set(self, name: str, value: int) -> None:
        self._words[_INDEX[name]] = value

    def connection(self, number: int, values: tuple[int, ...]) -> None:
        # NumPy takes ten times as long for so few, while messages wait
        _WORDS[len(values)].pack_into(self._rows, 8 * layout.CONNECTION_SLOTS * number, *values)

    def forget(self, number: int) -> None:
        """There is no such connection any more."""
        self._connections[number] = 0

    def close(self) -> None:
        """Let go of the mapping."""
        del self._words
        del self._connections
        self._rows.release()
