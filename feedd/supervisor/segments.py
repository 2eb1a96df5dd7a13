"""The segments of an instance: made at start, kept when a predecessor left fitting ones.

A consumer keeps its maps over a restart of the daemon as long as the geometry stays the same;
what does not fit is marked superseded and made anew under the same name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from feedd.errors import ShmError
from feedd.reader.plan import ReaderPlan
from feedd.shm.board import BoardReader, BoardWriter
from feedd.shm.books import BooksReader, BooksWriter
from feedd.shm.counters import CountersReader, CountersWriter
from feedd.shm.directory import segment_path
from feedd.shm.layout import SegmentKind
from feedd.shm.ring import RingReader, create_ring
from feedd.shm.segment import open_segment, supersede
from feedd.shm.wakefile import ensure as ensure_wake

__all__ = ["prepare_segments", "retire"]


def retire(path: Path, kind: SegmentKind) -> None:
    """Make room for a new file: consumers of the old one are told."""
    try:
        segment = open_segment(path, kind, writable=True)
    except ShmError:
        path.unlink(missing_ok=True)  # nothing that a consumer could be using
        return
    supersede(segment)
    segment.close()


def _ring_fits(directory: Path, plan: ReaderPlan) -> bool:
    try:
        with RingReader(directory, plan.reader) as ring:
            return bool(ring.capacity == plan.ring_slots)
    except ShmError:
        return False


def _board_fits(directory: Path, plan: ReaderPlan) -> bool:
    try:
        board = BoardReader(directory, plan.reader)
    except ShmError:
        return False
    fits = board.n_rows == plan.rows
    board.close()
    return bool(fits)


def _books_fit(directory: Path, plan: ReaderPlan) -> bool:
    try:
        books = BooksReader(directory, plan.reader)
    except ShmError:
        return False
    fits = books.n_rows == plan.rows and all(
        books.depth(row) == depth for row, depth in enumerate(plan.depths)
    )
    books.close()
    return fits


def _counters_fit(directory: Path, readers: int, rows: int) -> bool:
    try:
        counters = CountersReader(directory)
    except ShmError:
        return False
    fits = counters.readers == readers and counters.rows_per_reader == rows
    counters.close()
    return bool(fits)


_KINDS = {"ring": SegmentKind.RING, "board": SegmentKind.BOARD, "books": SegmentKind.BOOKS}


def _retire_readers(directory: Path, kept: set[int]) -> None:
    """Readers of a predecessor that nobody plans now: consumers must not wait for them."""
    for name, kind in _KINDS.items():
        for path in directory.glob(f"reader-*.{name}"):
            digits = path.stem.removeprefix("reader-")
            if digits.isdecimal() and int(digits) not in kept:
                retire(path, kind)


def prepare_segments(directory: Path, plans: Sequence[ReaderPlan], group: int | None) -> None:
    """Every segment that the readers will take over. Raises ``ShmError``."""
    _retire_readers(directory, {plan.reader for plan in plans})
    ensure_wake(directory, group)
    for plan in plans:
        n = plan.reader
        if not _ring_fits(directory, plan):
            retire(segment_path(directory, "ring", n), SegmentKind.RING)
            create_ring(directory, n, plan.ring_slots, f"reader-{n}", group)
        if not _board_fits(directory, plan):
            retire(segment_path(directory, "board", n), SegmentKind.BOARD)
            BoardWriter.create(directory, n, plan.rows, group=group).close()
        if not _books_fit(directory, plan):
            retire(segment_path(directory, "books", n), SegmentKind.BOOKS)
            BooksWriter.create(directory, n, plan.depths, group=group).close()
    rows = max(plan.rows for plan in plans)
    if not _counters_fit(directory, len(plans), rows):
        retire(directory / "counters", SegmentKind.COUNTERS)
        CountersWriter.create(directory, len(plans), rows, group=group).close()
