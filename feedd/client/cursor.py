"""One ring as a stream of batches: reading, filtering, and following the ring to a new file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feedd.client.events import EventBuffer
from feedd.client.flow import RingFlow
from feedd.client.life import promised
from feedd.errors import ShmError
from feedd.shm.directory import lock_held, lock_path, segment_path
from feedd.shm.identity import boot_id
from feedd.shm.layout import SegmentState
from feedd.shm.ring import RingReader

__all__ = ["Cursor", "Filter", "reader_numbers", "ring_id"]


def reader_numbers(directory: Path) -> list[int]:
    """The numbers of the rings in the directory, ascending."""
    found = []
    for path in directory.glob("reader-*.ring"):
        digits = path.stem.removeprefix("reader-")
        if digits.isdecimal():
            found.append(int(digits))
    return sorted(found)


def ring_id(reader: RingReader) -> str:
    """Names a ring file for ever: inode numbers come again, as in every new container."""
    return f"{boot_id().hex()[:12]}-{reader.segment.file_id:016x}"


class Filter:
    """Which records a stream hands out; ``wanted`` is renewed when instruments are added."""

    def __init__(self, kinds: frozenset[int] | None, wanted: Any) -> None:
        self.kinds = kinds
        self._wanted = wanted
        """A function of the smallest table length needed -> bytes by instrument id; or None."""
        self.by_id: bytes | None = None if wanted is None else wanted(0)

    def renew(self, instrument: int) -> bytes | None:
        """The filter again, now long enough for this instrument id."""
        if self._wanted is not None:
            self.by_id = self._wanted(instrument + 1)
        return self.by_id


class Cursor(RingFlow):
    """Reads one ring. A new file in the ring's place is followed; one thread."""

    def __init__(
        self,
        directory: Path,
        number: int,
        start: str | int,
        select: Filter,
        batch_max: int,
    ) -> None:
        self.directory = directory
        self.number = number
        self.select = select
        self._batch_max = batch_max
        self.reader = RingReader(directory, number, start=start)
        self.place = (number, ring_id(self.reader))
        self.buffer = self._new_buffer()
        self.buffer.begin(self.reader)

    def seek(self, position: int) -> None:
        """Go on at a position that an earlier cursor of this ring reported."""
        self.reader.seek(position)
        self.buffer.begin(self.reader)

    def _new_buffer(self) -> EventBuffer:
        return EventBuffer(self._batch_max, kinds=self.select.kinds, wanted=self.select.by_id)

    @property
    def ring_id(self) -> str:
        return self.place[1]

    def look(self) -> bool:
        """Check the ring's file and writer (call it when idle); True when ``alive`` changed.

        A ring that was created anew is read to its end first, then the new one from its start.
        """
        if self.reader.superseded and not self.reader.available():
            self._follow()
        alive = (
            self._retired()
            or lock_held(lock_path(self.directory, self.number))
            or promised(self.reader)
        )
        changed = alive != self.alive
        self.alive = alive
        return changed

    def _retired(self) -> bool:
        """True when the daemon took this reader out of its plan: no writer is missing."""
        there = segment_path(self.directory, "ring", self.number).exists()
        return self.reader.state is SegmentState.SUPERSEDED and not there

    def _follow(self) -> None:
        if not segment_path(self.directory, "ring", self.number).exists():
            return
        try:
            fresh = RingReader(self.directory, self.number, start=0)  # what is gone is counted
        except ShmError:
            return  # not finished yet, or not trusted: look again later
        self.lost_with_file += self.buffer.held
        # not closed: the thread of a wait that was cancelled may look at it for a moment more
        self.reader = fresh
        self.place = (self.number, ring_id(fresh))
        self.buffer = self._new_buffer()
        self.new_file = True

    def close(self) -> None:
        self.reader.close()
