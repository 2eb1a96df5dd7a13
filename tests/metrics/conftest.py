"""Segments of two readers without a daemon, with numbers that a test knows."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feedd.metrics.sample import Sampler
from feedd.reader.counts import ReaderCounts
from feedd.records import BookState
from feedd.shm import layout
from feedd.shm.board import BOARD, BoardWriter
from feedd.shm.connections import CONNECTION_FIELDS, LINE_STATES
from feedd.shm.counters import STAGES, CountersWriter, bucket_of
from feedd.shm.instruments import InstrumentsWriter
from feedd.shm.ring import create_ring
from feedd.shm.segment import open_segment

VENUE_OF = {0: {0: "deribit", 1: "deribit", 2: "okx"}, 1: {0: "okx"}}


class Instance:
    """An instance directory of the test's own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for reader in range(2):
            create_ring(directory, reader, 16_384)
            BoardWriter.create(directory, reader, 8).close()
        self.counters = CountersWriter.create(directory, 2, 8)
        self.counts = [ReaderCounts(self.counters, n) for n in range(2)]
        instruments = InstrumentsWriter.create(directory, 64)
        for venue, symbol in (("deribit", "A"), ("okx", "B"), ("okx", "C")):
            instruments.append(venue=venue, symbol=symbol)
        instruments.close()
        self.sampler = Sampler(directory, VENUE_OF)

    def line(self, reader: int, line: int, **fields: Any) -> None:
        row = dict.fromkeys(CONNECTION_FIELDS, 0) | {"used": 1} | fields
        row["state"] = LINE_STATES.index(fields.get("state", "up"))
        self.counts[reader].connection(line, tuple(row.values()))

    def observe(self, reader: int, stage: str, ns: int, count: int = 1) -> None:
        words = self.counters.words(reader)
        at = layout.COUNTER_SLOTS + layout.CONNECTIONS * layout.CONNECTION_SLOTS
        at += STAGES.index(stage) * layout.HISTOGRAM_BUCKETS + bucket_of(ns)
        words[at] += np.uint64(count)

    def book(self, reader: int, row: int, instrument: int, state: BookState, gaps: int) -> None:
        path = self.directory / f"reader-{reader}.board"
        segment = open_segment(path, layout.SegmentKind.BOARD, writable=True)
        rows = np.frombuffer(segment.buf, dtype=BOARD, offset=layout.HEADER_BYTES)
        rows[row]["instrument"], rows[row]["state"] = instrument, state
        rows[row]["gaps"], rows[row]["resyncs"] = gaps, gaps + 1
        del rows
        segment.close()

    def close(self) -> None:
        self.sampler.close()
        for counts in self.counts:
            counts.close()
        self.counters.close()


@pytest.fixture
def instance() -> Iterator[Instance]:
    path = Path(tempfile.mkdtemp(prefix=f"feedd-test-{os.getpid()}-", dir="/dev/shm"))
    made = Instance(path)
    yield made
    made.close()
    shutil.rmtree(path, ignore_errors=True)
