"""The part of a stream that runs for every batch: look at the rings in turn, wait, hand out."""

from collections.abc import Iterator
from typing import Any, Self

from feedd.client.batch import Batch
from feedd.client.events import EventBuffer
from feedd.shm.ring import RingReader

WAITS: dict[str, int]
LOOK_NS: int
"""How often an idle stream looks for new files, new readers and dead writers."""

class RingFlow:
    """One ring: its reader and the buffer that makes whole events of its records."""

    reader: RingReader
    buffer: EventBuffer
    select: Any
    """A ``Filter``."""
    place: tuple[int, str]
    """(reader number, ring id)"""
    number: int
    alive: bool
    new_file: bool
    lost_with_file: int
    def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...
    @property
    def position(self) -> int:
        """Sequence of the first record that was not handed out."""

class StreamFlow:
    """Several rings in turn; the class that is made of it has a method ``_look``."""

    _cursors: list[Any]
    _news: list[Batch]
    """Batches that are handed out before the rings are looked at."""
    _closed: bool
    _raising: bool
    _looked_ns: int
    def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...
    def _pace(self, wait: str, timeout: float | None) -> None:
        """How to wait ("futex", "yield" or "spin"), and for how many seconds (None: for ever)."""
    def _notice(self, cursor: RingFlow) -> Batch:
        """An empty batch that tells something of one ring."""
    def _silence(self) -> Batch:
        """The empty batch that says that ``timeout`` is over."""
    def poll(self) -> Batch | None:
        """The next batch, or None at once when there is nothing.

        Raises ``LappedError`` before a batch with loss when ``on_overrun="raise"``; the batch is
        the next one.
        """
    def __iter__(self) -> Iterator[Batch]: ...
    def __next__(self) -> Batch: ...
