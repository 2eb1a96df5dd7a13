"""Board, books, instruments and counters: what is written is what is read."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from feedd.errors import LayoutError, ShmError, ShmFullError
from feedd.records import NO_INSTRUMENT, NO_SEQUENCE, BookState
from feedd.shm.board import BoardReader, BoardWriter
from feedd.shm.books import BooksReader, BooksWriter
from feedd.shm.counters import (
    COUNTERS,
    STAGES,
    CountersReader,
    CountersWriter,
    bucket_floor,
    bucket_of,
    percentile,
)
from feedd.shm.instruments import InstrumentsReader, InstrumentsWriter
from feedd.shm.layout import BOOK_HEAD_BYTES, HEADER_BYTES
from feedd.shm.rows import BOARD


def test_fresh_board_rows_know_nothing(shm_dir: Path) -> None:
    BoardWriter.create(shm_dir, 0, 5)
    reader = BoardReader(shm_dir, 0)
    rows = reader.snapshot()
    assert rows.dtype == BOARD
    assert set(rows["instrument"]) == {NO_INSTRUMENT}
    assert set(rows["state"]) == {BookState.INIT}
    assert set(rows["quote_sequence"]) == {NO_SEQUENCE}
    assert BOARD.names is not None
    for name in BOARD.names:
        if BOARD[name].kind == "f":
            assert np.isnan(rows[name]).all(), name
    assert len(reader.snapshot([3, 1])) == 2
    assert len(reader.snapshot([])) == 0
    with pytest.raises(IndexError, match="row 5"):
        reader.snapshot([5])
    reader.close()
    with pytest.raises(ShmError, match="closed"):
        reader.snapshot()


def test_a_board_of_another_shape_is_refused(shm_dir: Path) -> None:
    BooksWriter.create(shm_dir, 0, [32])
    (shm_dir / "reader-0.books").rename(shm_dir / "reader-0.board")
    with pytest.raises(LayoutError, match="kind books, expected board"):
        BoardReader(shm_dir, 0)
    with pytest.raises(ShmError, match="at least one"):
        BoardWriter.create(shm_dir, 1, 0)


def test_fresh_books_are_empty_and_their_geometry_is_checked(shm_dir: Path) -> None:
    BooksWriter.create(shm_dir, 0, [32, 100, 1024])
    reader = BooksReader(shm_dir, 0)
    assert [reader.depth(row) for row in range(3)] == [32, 100, 1024]
    for view in (reader.top(1), reader.deep(1), reader.deep(1, 5)):
        assert view.state is BookState.INIT
        assert len(view.bids) == len(view.asks) == 0
        assert not view.truncated
    with pytest.raises(IndexError):
        reader.top(3)
    path = shm_dir / "reader-0.books"
    damaged = bytearray(path.read_bytes())
    for offset in (0, 2**63, len(damaged) - BOOK_HEAD_BYTES + 64, HEADER_BYTES + 3):
        damaged[HEADER_BYTES : HEADER_BYTES + 8] = offset.to_bytes(8, "little")
        path.write_bytes(damaged)
        with pytest.raises(LayoutError, match="outside the file"):
            BooksReader(shm_dir, 0)
    with pytest.raises(ShmError, match="depth of 32"):
        BooksWriter.private([16])


def test_books_taken_over_after_a_crash_are_empty(shm_dir: Path) -> None:
    BooksWriter.create(shm_dir, 0, [32, 32]).close()
    path = shm_dir / "reader-0.books"
    content = bytearray(path.read_bytes())
    block = int.from_bytes(content[HEADER_BYTES : HEADER_BYTES + 8], "little")
    content[block] |= 1  # the top tier's lock is odd
    content[block + 0x14] = BookState.LIVE
    content[block + 0x28] = 200  # more levels than the tier holds
    with path.open("r+b") as file:
        file.write(content)
    reader = BooksReader(shm_dir, 0)
    assert reader.top(0).state is BookState.INIT
    BooksWriter.open(shm_dir, 0)
    assert reader.top(0).state is BookState.INIT
    assert path.read_bytes()[block] % 2 == 0


def test_instruments_are_appended_and_found(shm_dir: Path) -> None:
    writer = InstrumentsWriter.create(shm_dir, capacity=3)
    reader = InstrumentsReader(shm_dir)
    assert len(reader) == 0
    one = writer.append(venue="deribit", symbol="BTC-PERPETUAL", kind=2, tick=0.5, base="BTC")
    assert one == 0
    assert reader.version == 1
    assert reader.by_name("deribit:BTC-PERPETUAL")["tick"] == 0.5
    row = reader.array[0]
    assert (row["id"], row["reader"], row["row"], row["price_decimals"]) == (0, -1, -1, -1)
    assert np.isnan(row["strike"])
    assert not reader.refresh()
    two = writer.append(venue="binance_spot", symbol="币安人生USDT")
    writer.update(two, status=1, reader=1, row=4)
    assert reader.refresh()
    assert reader.by_name("binance_spot:币安人生USDT")["row"] == 4
    assert writer.find("binance_spot:币安人生USDT") == two
    with pytest.raises(KeyError):
        reader.by_name("deribit:NOTHING")
    with pytest.raises(ValueError, match="already, id 0"):
        writer.append(venue="deribit", symbol="BTC-PERPETUAL")
    with pytest.raises(ValueError, match="never changes"):
        writer.update(0, symbol="X")
    with pytest.raises(ValueError, match="holds 64"):
        writer.append(venue="deribit", symbol="X" * 65)
    with pytest.raises(IndexError):
        writer.update(2, row=1)
    writer.append(venue="x", symbol="y")
    with pytest.raises(ShmFullError, match="room for 3"):
        writer.append(venue="x", symbol="z")
    writer.close()
    again = InstrumentsWriter.open(shm_dir)
    assert again.count == 3
    assert again.find("deribit:BTC-PERPETUAL") == 0
    with pytest.raises(ValueError, match="read-only"):
        reader.array["row"] = 1


def test_instrument_rows_are_consistent_while_they_change(shm_dir: Path) -> None:
    writer = InstrumentsWriter.create(shm_dir, capacity=4)
    writer.append(venue="a", symbol="b")
    stop = threading.Event()

    def change() -> None:
        value = 0
        while not stop.is_set():
            value += 1
            writer.update(0, tick=value, lot=value, strike=value)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        reader = InstrumentsReader(shm_dir)
        for _ in range(300):
            reader.refresh()
            row = reader.array[0]
            values = {float(row[name]) for name in ("tick", "lot", "strike")}
            assert len(values) == 1 or all(np.isnan(value) for value in values)
    finally:
        stop.set()
        thread.join()


def test_counters_are_per_reader_and_named(shm_dir: Path) -> None:
    writer = CountersWriter.create(shm_dir, readers=2, rows=3)
    reader = CountersReader(shm_dir)
    words = writer.words(1)
    words[list(COUNTERS).index("gaps")] = 7
    assert reader.reader(1)["gaps"] == 7
    assert reader.reader(0)["gaps"] == 0
    assert reader.connections(1).shape == (64, 64)
    assert reader.rows(1).shape == (3, 16)
    words[-1] = 9
    assert reader.rows(1)[2, 15] == 9
    assert reader.rows(0).sum() == 0
    with pytest.raises(IndexError, match="reader 2"):
        reader.reader(2)
    with pytest.raises(ValueError, match="stage is one of decode"):
        reader.histogram(0, "nothing")
    for stage in STAGES:
        assert reader.histogram(0, stage).shape == (256,)
    writer.close()
    again = CountersWriter.open(shm_dir)
    assert again.words(1)[list(COUNTERS).index("gaps")] == 7


def test_histogram_buckets_partition_all_durations() -> None:
    floors = [bucket_floor(bucket) for bucket in range(252)]
    assert floors == sorted(set(floors))
    for bucket, floor in enumerate(floors):
        assert bucket_of(floor) == bucket
        if bucket:
            assert bucket_of(floor - 1) == bucket - 1
    assert bucket_of(2**64 - 1) == 251


def test_percentiles_of_a_histogram() -> None:
    histogram = np.zeros(256, dtype=np.uint64)
    assert percentile(histogram, 0.5) == 0
    for ns in [100] * 98 + [1000, 100_000]:
        histogram[bucket_of(ns)] += 1
    assert 100 <= percentile(histogram, 0.5) <= 125
    assert 1000 <= percentile(histogram, 0.99) <= 1250
    assert 100_000 <= percentile(histogram, 1.0) <= 125_000
