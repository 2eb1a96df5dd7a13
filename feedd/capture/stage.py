"""A directory like the daemon's, made for a replay: what consumers attach to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from feedd.clock import monotonic_ns
from feedd.errors import ShmError
from feedd.pipeline.core import Pipeline
from feedd.shm.board import BoardWriter
from feedd.shm.books import BooksWriter
from feedd.shm.counters import CountersWriter
from feedd.shm.directory import Lock, create_directory, lock_path
from feedd.shm.instruments import InstrumentsWriter
from feedd.shm.ring import RingWriter, create_ring
from feedd.shm.rows import INSTRUMENT
from feedd.shm.wakefile import ensure as ensure_wake

__all__ = ["DEPTH", "Platform", "Stage"]

DEPTH = 1_024
SPARE_ROWS = 256
CAPACITY = 16_384
_GIVEN = frozenset(INSTRUMENT.names or ()) - {"lock", "id", "name"}
_MINE = ("wake", "counters", "instruments")


class Platform(Protocol):
    """Where a replay puts its records."""

    def pipeline(self, reader: int) -> Pipeline:
        """A new pipeline on the ring of a reader, as its next process."""

    def ring(self, reader: int) -> RingWriter:
        """The ring of a reader's pipeline."""

    def row(self, row: int) -> int:
        """The same board row, or -1."""

    def add(self, **columns: Any) -> int:
        """A new instrument by its columns; returns its id."""

    def place(self, number: int, reader: int, row: int) -> None:
        """An instrument comes to a reader's board row, or leaves it (-1)."""


class Stage:
    """All segments of a replay and their locks; ``close(remove=True)`` takes them away again.

    ``instruments``: id -> columns of the instruments table, and ``depth``. Raises ShmError, in
    particular when the directory is in use or holds segments of somebody else.
    """

    def __init__(
        self,
        directory: Path,
        readers: list[int],
        ring_slots: int,
        instruments: Mapping[int, Mapping[str, Any]],
    ) -> None:
        self.directory = create_directory(directory)
        self._lock = Lock(lock_path(directory))
        self._files: list[Path] = []
        self._rings: dict[int, RingWriter] = {}
        rows = max((int(row.get("row", -1)) for row in instruments.values()), default=-1) + 1
        self.rows = rows + SPARE_ROWS
        there = [p for p in directory.iterdir() if p.name in _MINE or p.name.startswith("reader-")]
        if there:
            self._lock.close()
            raise ShmError(
                f"{directory} holds segments already ({there[0].name}): name another directory, or "
                "remove it when nobody uses it"
            )
        try:
            self._make(readers, ring_slots, instruments)
        except BaseException:
            self.close(remove=True)
            raise

    def _make(
        self, readers: list[int], slots: int, instruments: Mapping[int, Mapping[str, Any]]
    ) -> None:
        ensure_wake(self.directory)
        self.table = InstrumentsWriter.create(
            self.directory, max(CAPACITY, 2 * max(instruments, default=0) + 2)
        )
        for number, columns in sorted(instruments.items()):
            while self.table.count < number:  # ids are row numbers: those that are not replayed
                self.table.append(venue="-", symbol=f"id{self.table.count}", reader=-1, row=-1)
            self.table.append(**{k: v for k, v in columns.items() if k in _GIVEN})
        count = max(readers) + 1
        self._counters = CountersWriter.create(self.directory, count, self.rows)
        for reader in readers:
            depths = [DEPTH] * self.rows
            for row in instruments.values():
                if row.get("reader") == reader and int(row.get("row", -1)) >= 0:
                    depths[int(row["row"])] = int(row.get("depth") or DEPTH)
            create_ring(self.directory, reader, slots, f"reader-{reader}")
            BoardWriter.create(self.directory, reader, self.rows).close()
            BooksWriter.create(self.directory, reader, depths).close()

    def add(self, **columns: Any) -> int:
        """A new instrument by its columns; returns its id."""
        return int(self.table.append(**columns))

    def place(self, number: int, reader: int, row: int) -> None:
        """An instrument comes to a reader's board row, or leaves it (-1)."""
        self.table.update(number, reader=reader, row=self.row(row))

    def row(self, row: int) -> int:
        """The same board row, as far as there is one."""
        return row if row < self.rows else -1

    def pipeline(self, reader: int) -> Pipeline:
        """A new pipeline on the segments of a reader, as its next process."""
        old = self._rings.pop(reader, None)
        if old is not None:
            old.close()
        ring = self._rings[reader] = RingWriter.takeover(self.directory, reader)
        return Pipeline(
            ring,
            BoardWriter.open(self.directory, reader, fresh=True),
            BooksWriter.open(self.directory, reader, fresh=True),
            self._counters,
            reader,
        )

    def ring(self, reader: int) -> RingWriter:
        """The ring of a reader's pipeline."""
        return self._rings[reader]

    def beat(self) -> None:
        """A sign of life; call it more often than every two seconds."""
        now = monotonic_ns()
        for ring in self._rings.values():
            ring.heartbeat(now)
        self.table.heartbeat(now)

    def close(self, *, remove: bool) -> None:
        for ring in self._rings.values():
            ring.mark_closed()
            ring.close()
        if remove:
            for path in list(self.directory.iterdir()):
                if path.name in _MINE or path.name.startswith(("reader-", "LOCK.")):
                    path.unlink(missing_ok=True)
        self._lock.close()
        if remove:
            lock_path(self.directory).unlink(missing_ok=True)
            try:
                os.rmdir(self.directory)
            except OSError:
                return
