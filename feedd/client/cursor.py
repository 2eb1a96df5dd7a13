"""One ring as a stream of batches: reading, filtering, and following the ring to a new file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feedd.client.events import EventBuffer
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
    """Names a ring file for ever: a tmpfs gives an inode number once per boot."""
    return f"{boot_id().hex()[:12]}-{reader.segment.inode}"


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


class Cursor:
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
        self.alive = True
        self._select = select
        self._batch_max = batch_max
        self._lost_with_file = 0
        self._new_file = False
        self.reader = RingReader(directory, number, start=start)
        self.place = (number, ring_id(self.reader))
        """(reader number, ring id)"""
        self._buffer = self._new_buffer()

    def _new_buffer(self) -> EventBuffer:
        return EventBuffer(self._batch_max, kinds=self._select.kinds, wanted=self._select.by_id)

    def poll(self) -> tuple[Any, int, bool, tuple[int, ...]] | None:
        """(records, lost, restarted, broken snapshots), or None: nothing yet."""
        while self._buffer.fill(self.reader):
            taken = self._buffer.take()
            while isinstance(taken, int):
                self._buffer.want(self._select.renew(taken))
                taken = self._buffer.take()
            records, lost, restarted, broken = taken
            lost += self._lost_with_file
            restarted = restarted or self._new_file
            if len(records) or lost or restarted:
                self._lost_with_file, self._new_file = 0, False
                return records, lost, restarted, broken
        if self._new_file:
            self._new_file = False
            lost, self._lost_with_file = self._lost_with_file, 0
            return self._buffer.take()[0], lost, True, ()  # type: ignore[index]
        return None

    @property
    def ring_id(self) -> str:
        return self.place[1]

    @property
    def position(self) -> int:
        """Sequence of the first record that was not handed out."""
        return self._buffer.position(self.reader)

    def look(self) -> bool:
        """Check the ring's file and writer (call it when idle); True when ``alive`` changed.

        A ring that was created anew is read to its end first, then the new one from its start.
        """
        if self.reader.superseded and not self.reader.available():
            self._follow()
        alive = self._retired() or lock_held(lock_path(self.directory, self.number))
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
            fresh = RingReader(self.directory, self.number, start="oldest")
        except ShmError:
            return  # not finished yet, or not trusted: look again later
        self._lost_with_file += self._buffer.held
        self.reader.close()
        self.reader = fresh
        self.place = (self.number, ring_id(fresh))
        self._buffer = self._new_buffer()
        self._new_file = True

    def close(self) -> None:
        self.reader.close()
