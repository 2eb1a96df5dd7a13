"""Parquet files by kind, venue and day, in a layout that polars and DuckDB read directly.

``kind=trade/venue=deribit/date=2026-11-27/153000-4711-0.parquet``: time, process, number. A file is
written under a name that begins with a dot and renamed when it is complete, so that a reader never
sees half of one. A disk that is full costs the rows of the file at hand, which are counted, and
nothing else.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from feedd.clock import SECOND_NS
from feedd.export.columns import schema, table
from feedd.records import KIND_DTYPES, NO_INSTRUMENT, Kind

__all__ = ["ParquetSink"]

ROWS_MAX = 200_000
"""Rows kept in memory per file before they are written as a row group."""
NO_VENUE = "none"

log = logging.getLogger("feedd.export")

Name = Callable[[int], str | None]


@dataclass
class _File:
    """One file that is being written, and the rows that wait for it."""

    path: Path
    kind: Kind
    begun_ns: int
    waiting: list[Any] = field(default_factory=list)
    rows_waiting: int = 0
    rows_written: int = 0
    writer: Any = None

    @property
    def hidden(self) -> Path:
        return self.path.with_name(f".{self.path.name}.part")


class ParquetSink:
    """Takes records of all kinds. ``name_of`` gives "venue:SYMBOL" of an instrument id.

    ``rotate_s``: a file is completed after so long. One thread.
    """

    def __init__(self, root: Path, name_of: Name, rotate_s: float, compression: str) -> None:
        self._root = root
        self._name_of = name_of
        self._rotate_ns = int(rotate_s * SECOND_NS)
        self._compression = compression
        self._files: dict[tuple[Kind, str, str], _File] = {}
        self.rows = 0
        self.files = 0
        self.rows_dropped = 0
        for part in root.rglob(".*.parquet.part"):  # of a process that was killed: no footer
            log.warning("%s was never completed: removed", part)
            part.unlink()

    def take(self, records: npt.NDArray[Any], now: int) -> None:
        """Records of one batch, dtype RAW; ``now`` is the wall time in ns."""
        for code in np.unique(records["kind"]).tolist():
            if code in set(Kind):
                self._kind(Kind(code), records[records["kind"] == code], now)

    def _kind(self, kind: Kind, records: npt.NDArray[Any], now: int) -> None:
        records = records.view(KIND_DTYPES[kind])
        days = records["ts_recv"] // (86_400 * SECOND_NS)
        ids, places = np.unique(records["instrument"], return_inverse=True)
        names = [self._name_of(n) if n != NO_INSTRUMENT else None for n in ids.tolist()]
        split = [(name or f"{NO_VENUE}:").split(":", 1) for name in names]
        venues = np.array([venue for venue, _ in split], dtype=object)[places]
        symbols = np.array([symbol for _, symbol in split], dtype=object)[places]
        for venue in sorted(set(venues.tolist())):
            for day in np.unique(days[venues == venue]).tolist():
                mine = (venues == venue) & (days == day)
                self._add(kind, venue, day, records[mine], symbols[mine].tolist(), now)

    def _add(
        self,
        kind: Kind,
        venue: str,
        day: int,
        records: npt.NDArray[Any],
        symbols: list[str],
        now: int,
    ) -> None:
        date = (datetime.date(1970, 1, 1) + datetime.timedelta(days=day)).isoformat()
        key = (kind, venue, date)
        file = self._files.get(key)
        if file is None:
            folder = self._root / f"kind={kind.name.lower()}" / f"venue={venue}" / f"date={date}"
            clock = datetime.datetime.fromtimestamp(now // SECOND_NS, datetime.UTC)
            path = folder / f"{clock:%H%M%S}-{os.getpid()}-{self.files}.parquet"
            self.files += 1
            file = self._files[key] = _File(path, kind, now)
        file.waiting.append(table(kind, records, symbols))
        file.rows_waiting += len(records)
        if file.rows_waiting >= ROWS_MAX:
            self._flush(file)

    def _flush(self, file: _File) -> bool:
        """Write what waits; False when the disk does not take it."""
        if not file.rows_waiting:
            return True
        rows, waiting = file.rows_waiting, file.waiting
        file.waiting, file.rows_waiting = [], 0
        try:
            if file.writer is None:
                file.path.parent.mkdir(parents=True, exist_ok=True)
                file.writer = pq.ParquetWriter(
                    file.hidden, schema(file.kind), compression=self._compression
                )
            file.writer.write_table(pa.concat_tables(waiting))
        except (OSError, pa.ArrowException) as exc:
            self._failed(file, rows, exc)
            return False
        file.rows_written += rows
        return True

    def _failed(self, file: _File, rows: int, exc: Exception) -> None:
        """Everything of this file is lost: without its end it cannot be read."""
        self.rows_dropped += rows + file.rows_written
        log.error("%s: %s: %d rows dropped", file.path, exc, rows + file.rows_written)
        file.rows_written = 0
        self._abandon(file)

    def _abandon(self, file: _File) -> None:
        if file.writer is not None:
            with contextlib.suppress(OSError, pa.ArrowException):
                file.writer.close()
            file.writer = None
        with contextlib.suppress(OSError):
            file.hidden.unlink(missing_ok=True)

    def rotate(self, now: int, *, everything: bool = False) -> None:
        """Complete the files that are old enough."""
        for key, file in list(self._files.items()):
            if everything or now - file.begun_ns >= self._rotate_ns:
                del self._files[key]
                self._complete(file)

    def _complete(self, file: _File) -> None:
        if not self._flush(file) or file.writer is None:
            return
        try:
            file.writer.close()
            file.writer = None
            file.hidden.rename(file.path)
        except (OSError, pa.ArrowException) as exc:
            self._failed(file, 0, exc)
            return
        self.rows += file.rows_written

    def close(self) -> None:
        self.rotate(0, everything=True)
