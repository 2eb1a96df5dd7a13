"""A daemon's memory without a daemon: real segments, written by the test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from feedd.records import BOOK_LEVELS_PER_SLOT, RAW, BookReason, BookState, Flag, Kind
from feedd.shm.board import BoardWriter
from feedd.shm.books import BooksWriter
from feedd.shm.counters import CountersWriter
from feedd.shm.instruments import InstrumentsWriter
from feedd.shm.ring import RingWriter
from feedd.shm.rows import BOARD, LEVEL, Contract, InstrumentKind, InstrumentStatus, SizeUnit

SLOTS = 16_384
ROWS = 8
DEPTH = 64
HEADER = 4096

Side = list[tuple[float, float]]
"""Price and size of levels."""

BOOK_HEAD = np.dtype(
    {
        "names": [
            "lock", "ring_pos", "instrument", "state", "depth", "total_bid", "total_ask", "n_bid",
            "n_ask", "sequence", "ts_event", "ts_recv", "top_bid", "top_ask", "deep_lock",
            "deep_ring_pos", "deep_n_bid", "deep_n_ask", "deep_sequence",
        ],
        "formats": [
            "<u8", "<u8", "<u4", "u1", "<u4", "<u4", "<u4", "<u4",
            "<u4", "<u8", "<i8", "<i8", (LEVEL, (32,)), (LEVEL, (32,)), "<u8",
            "<u8", "<u4", "<u4", "<u8",
        ],
        "offsets": [
            0, 8, 0x10, 0x14, 0x18, 0x20, 0x24, 0x28,
            0x2C, 0x30, 0x38, 0x40, 0x80, 0x280, 0x480,
            0x488, 0x490, 0x494, 0x498,
        ],
        "itemsize": 0x4C0,
    }
)  # fmt: skip


def ladder(levels: int, middle: float = 1000.0) -> tuple[Side, Side]:
    """Bids and asks, best first, a price unit apart; sizes 1, 2, 3 …"""
    return (
        [(middle - 1 - i, 1.0 + i) for i in range(levels)],
        [(middle + 1 + i, 1.0 + i) for i in range(levels)],
    )


def record(kind: Kind, instrument: int = 0, *, last: bool = True, **fields: Any) -> np.ndarray:
    """One RAW record; ``price=`` and ``size=`` go to the first two payload floats."""
    row = np.zeros(1, dtype=RAW)
    row["kind"], row["instrument"] = kind, instrument
    row["sequence"] = 2**64 - 1
    row["flags"] = Flag.LAST if last else 0
    floats = row["payload"].view("<f8")[0]
    floats[0] = fields.pop("price", 0.0)
    floats[1] = fields.pop("size", 0.0)
    for name, value in fields.items():
        row[name] = value
    return row


def control(instrument: int, reason: BookReason, sequence: int = 0) -> np.ndarray:
    row = record(
        Kind.BOOK_CONTROL,
        instrument,
        sequence=sequence,
        last=reason is not BookReason.SNAPSHOT_BEGIN,
    )
    row["payload"].view("<u4")[0, 0] = reason
    return row


def book_records(
    instrument: int,
    bids: list[tuple[float, float]],
    asks: list[tuple[float, float]],
    *,
    sequence: int = 1,
    snapshot: bool = False,
    bracket: bool = False,
) -> np.ndarray:
    """The slots of one book event, as the daemon cuts them."""
    levels = [(p, s, 0) for p, s in bids] + [(p, s, 1) for p, s in asks]
    slots = []
    for at in range(0, max(len(levels), 1), BOOK_LEVELS_PER_SLOT):
        part = levels[at : at + BOOK_LEVELS_PER_SLOT]
        row = record(Kind.BOOK, instrument, last=False, sequence=sequence, n=len(part))
        floats = row["payload"].view("<f8").reshape(5, 2)
        for i, (price, size, side) in enumerate(part):
            floats[i] = price, size
            row["side_mask"] += side << i
        if snapshot:
            row["flags"] = Flag.SNAPSHOT
        slots.append(row)
    if bracket:
        slots.insert(0, control(instrument, BookReason.SNAPSHOT_BEGIN, sequence))
        slots.append(control(instrument, BookReason.SNAPSHOT_END, sequence))
    else:
        slots[-1]["flags"] += int(Flag.LAST)
    return np.concatenate(slots)


class Daemon:
    """The writing side of an instance: two readers, a few instruments."""

    def __init__(self, directory: Path, readers: int = 2) -> None:
        self.directory = directory
        self.rings: list[RingWriter] = []
        self.boards: list[BoardWriter] = []
        self.books: list[BooksWriter] = []
        self.start(readers)

    def start(self, readers: int = 2) -> None:
        self.instruments = InstrumentsWriter.create(self.directory, 64)
        self.counters = CountersWriter.create(self.directory, readers, ROWS)
        for n in range(readers):
            self.rings.append(RingWriter.create(self.directory, n, SLOTS))
            self.boards.append(BoardWriter.create(self.directory, n, ROWS))
            self.books.append(BooksWriter.create(self.directory, n, [DEPTH] * ROWS))

    def list(self, venue: str, symbol: str, reader: int = 0, **fields: Any) -> int:
        defaults: dict[str, Any] = {
            "kind": InstrumentKind.PERPETUAL,
            "status": InstrumentStatus.ACTIVE,
            "base": symbol[:3],
            "quote": "USD",
            "underlying": symbol[:3],
            "size_unit": SizeUnit.BASE,
            "contract": Contract.LINEAR,
            "price_decimals": 1,
            "row": self.instruments.count,
        }
        return int(
            self.instruments.append(
                venue=venue, symbol=symbol, reader=reader, **{**defaults, **fields}
            )
        )

    def put(self, *records: np.ndarray, reader: int = 0) -> int:
        """Publish records in one commit; returns the ring_seq of the last."""
        ring = self.rings[reader]
        for rows in records:
            ring.put(rows)
        ring.commit()
        return int(ring.head) - 1

    def share_board(self, reader: int, row: int, **fields: Any) -> None:
        rows = np.frombuffer(self.boards[reader].segment.buf, dtype=BOARD, offset=HEADER)
        for name, value in fields.items():
            rows[row][name] = value

    def share_book(
        self,
        reader: int,
        row: int,
        instrument: int,
        bids: list[tuple[float, float]],
        asks: list[tuple[float, float]],
        *,
        ring_pos: int,
        deep_ring_pos: int | None = None,
        deep: tuple[list[tuple[float, float]], list[tuple[float, float]]] | None = None,
        sequence: int = 1,
        state: BookState = BookState.LIVE,
    ) -> None:
        """Write both tiers of a block; best first."""
        buf = self.books[reader].segment.buf
        index = np.frombuffer(buf, dtype="<u8", count=2 * ROWS, offset=HEADER)
        offset = int(index[2 * row])
        head = np.frombuffer(buf, dtype=BOOK_HEAD, count=1, offset=offset)[0]
        levels = np.frombuffer(buf, dtype=LEVEL, count=2 * DEPTH, offset=offset + 0x4C0)
        deep_bids, deep_asks = deep or (bids, asks)
        head["ring_pos"], head["instrument"], head["state"] = ring_pos, instrument, state
        head["total_bid"], head["total_ask"] = len(bids), len(asks)
        head["n_bid"], head["n_ask"] = min(32, len(bids)), min(32, len(asks))
        head["sequence"] = head["deep_sequence"] = sequence
        for i, level in enumerate(bids[:32]):
            head["top_bid"][i] = level
        for i, level in enumerate(asks[:32]):
            head["top_ask"][i] = level
        head["deep_ring_pos"] = ring_pos if deep_ring_pos is None else deep_ring_pos
        head["deep_n_bid"], head["deep_n_ask"] = len(deep_bids[:DEPTH]), len(deep_asks[:DEPTH])
        for i, level in enumerate(deep_bids[:DEPTH]):
            levels[i] = level
        for i, level in enumerate(deep_asks[:DEPTH]):
            levels[DEPTH + i] = level

    @contextmanager
    def inside_book(self, reader: int, row: int, lock: str) -> Iterator[None]:
        """As a writer that loses its processor inside a tier (``lock`` or ``deep_lock``)."""
        buf = self.books[reader].segment.buf
        offset = int(np.frombuffer(buf, dtype="<u8", count=2 * ROWS, offset=HEADER)[2 * row])
        head = np.frombuffer(buf, dtype=BOOK_HEAD, count=1, offset=offset)[0]
        head[lock] += 1
        yield
        head[lock] += 1

    @contextmanager
    def inside_row(self, reader: int, row: int) -> Iterator[None]:
        """The same of a board row."""
        buf = self.boards[reader].segment.buf
        rows = np.frombuffer(buf, dtype=BOARD, offset=HEADER)
        rows[row]["lock"] += 1
        yield
        rows[row]["lock"] += 1

    def kill(self, reader: int | None = None) -> None:
        """Let go of the locks, as the death of the writers does."""
        for n, ring in enumerate(self.rings):
            if reader is None or n == reader:
                ring.close()

    def takeover(self, reader: int) -> None:
        self.rings[reader].close()
        self.rings[reader] = RingWriter.takeover(self.directory, reader)

    def close(self) -> None:
        for writer in (*self.rings, *self.boards, *self.books, self.instruments, self.counters):
            writer.close()
        self.rings, self.boards, self.books = [], [], []
