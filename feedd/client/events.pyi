"""From ring slots to batches of whole events.

An event ends at LAST; a snapshot between SNAPSHOT_BEGIN and SNAPSHOT_END is one event, whatever
its length. What was overtaken inside an event is dropped whole and counted as lost, and so is what
a dead writer left unfinished. Records of two epochs never share a batch. One thread.

Typical run loop::

    if buffer.fill(reader):
        records, lost, restarted, broken = buffer.take()
"""

from collections.abc import Iterable
from typing import Any, final

import numpy.typing as npt

from feedd.shm.ring import RingReader

@final
class EventBuffer:
    def __init__(
        self, room: int = 8192, *, kinds: Iterable[int] | None = None, wanted: Any = None
    ) -> None:
        """``room``: records of a batch (more when one event is longer).

        ``kinds``: the record kinds to hand out; ``wanted``: one byte per instrument id, non-zero
        for those to hand out. Records without an instrument pass.
        """

    def begin(self, reader: RingReader) -> None:
        """Start where ``reader`` stands, behind the record before: what is held is dropped, what
        was lost until now is not counted. Another writer than that record's is a restart."""

    def want(self, wanted: Any) -> None:
        """Replace the instrument filter."""

    def fill(self, reader: RingReader) -> bool:
        """Read the ring once; True when there is a whole event, or loss or a restart to tell."""

    def take(self) -> tuple[npt.NDArray[Any], int, bool, tuple[int, ...]] | int:
        """(records, lost, restarted, instruments of broken snapshots) of the whole events held.

        An int instead: this instrument id is beyond ``wanted``; call ``want`` and again.
        """

    @property
    def held(self) -> int: ...
    def position(self, reader: RingReader) -> int:
        """Where another reader has to start to get what was not handed out yet."""
