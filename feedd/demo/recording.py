"""What the demo's consumer writes down: records as they came, and when each batch was read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from feedd.client.batch import Batch
from feedd.client.book import BookSnapshot
from feedd.client.fold import BookBuilder
from feedd.demo.compare import Books
from feedd.demo.received import Received, read_events
from feedd.records import RAW, BookState

__all__ = ["Recorder", "Recording", "load"]

_BATCH = np.dtype([("reader", "<i4"), ("records", "<i4"), ("read_ns", "<i8"), ("lost", "<i8")])


class Recorder:
    """Appends batches to files in a directory; memory stays constant."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._records: IO[bytes] = (directory / "records.bin").open("wb")
        self._batches: IO[bytes] = (directory / "batches.bin").open("wb")

    def add(self, batch: Batch) -> None:
        row = (batch.reader, len(batch), batch.read_ns, batch.lost)
        self._batches.write(np.array([row], dtype=_BATCH).tobytes())
        self._records.write(batch.records.tobytes())

    def finish(self, names: dict[int, str], books: dict[str, BookSnapshot]) -> None:
        """Close the files and add what ids mean and the shared books at the end."""
        self._records.close()
        self._batches.close()
        shared = {
            name: [book.state.name, book.bids.tolist(), book.asks.tolist()]
            for name, book in books.items()
        }
        text = json.dumps({"names": names, "books": shared})
        (self._directory / "end.json").write_text(text)


@dataclass(slots=True)
class Recording:
    """Events of all rings, the books folded from them, and the shared books at the end."""

    events: list[Received] = field(default_factory=list)
    books: Books = field(default_factory=dict)
    shared: Books = field(default_factory=dict)
    ring_lost: int = 0
    """Ring records that the consumer was told it lost; any is a failure of the demo."""


def load(directory: Path) -> Recording:
    """Read a finished recording back."""
    end = json.loads((directory / "end.json").read_text())
    names = {int(number): name for number, name in end["names"].items()}
    batches = np.fromfile(directory / "batches.bin", dtype=_BATCH)
    records = np.fromfile(directory / "records.bin", dtype=RAW)
    readers = np.repeat(batches["reader"], batches["records"])
    read_ns = np.repeat(batches["read_ns"], batches["records"])
    recording = Recording(ring_lost=int(batches["lost"].sum()))
    for reader in np.unique(readers).tolist():
        mine = readers == reader
        rows = records[mine]
        recording.events += read_events(rows, read_ns[mine], names)
        recording.books.update(_fold(rows, names))
    for name, (state, bids, asks) in end["books"].items():
        if state == BookState.LIVE.name:
            recording.shared[name] = (_levels(bids), _levels(asks))
    return recording


def _fold(rows: npt.NDArray[Any], names: dict[int, str]) -> Books:
    builder = BookBuilder()
    builder.apply(rows)
    return {
        names.get(book.instrument, f"id {book.instrument}"): (
            _levels(book.bids.tolist()),
            _levels(book.asks.tolist()),
        )
        for book in builder
        if book.state is BookState.LIVE
    }


def _levels(rows: list[Any]) -> dict[float, float]:
    return {float(price): float(size) for price, size in rows}
