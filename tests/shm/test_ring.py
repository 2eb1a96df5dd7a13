"""One writer, several readers in one process: joins, loss, epochs, states, waiting."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feedd.errors import AttachError, LockedError, ShmError
from feedd.records import RAW, TRADE, Flag
from feedd.shm.layout import SegmentState
from feedd.shm.ring import RingReader, RingWriter, create_ring, wait_any

SLOTS = 16_384


def trades(n: int, first: int = 0) -> np.ndarray[Any, Any]:
    records = np.zeros(n, dtype=TRADE)
    records["kind"] = 1
    records["flags"] = int(Flag.LAST)
    records["price"] = np.arange(first, first + n)
    return records


def test_records_arrive_as_they_were_written(shm_dir: Path) -> None:
    with RingWriter.create(shm_dir, 3, SLOTS, name="venue") as writer:
        reader = RingReader(shm_dir, 3)
        assert len(reader.read()) == 0
        writer.put(trades(10))
        assert len(reader.read()) == 0  # staged only
        writer.commit(now_ns=500)
        got = reader.read().view(TRADE)
        assert got["price"].tolist() == list(range(10))
        assert got["ring_seq"].tolist() == list(range(SLOTS, SLOTS + 10))
        assert set(got["epoch"]) == {1}
        assert set(got["publish_delta_ns"]) == {500}
        assert reader.segment.header.name == "venue"
        assert reader.lost == 0


def test_publish_delta_saturates() -> None:
    writer = RingWriter.private(64)
    reader = RingReader(writer)
    records = trades(3)
    records["ts_recv"] = [10, 0, 2**40]
    writer.put(records)
    writer.commit(now_ns=2**35)
    assert reader.read()["publish_delta_ns"].tolist() == [2**32 - 1, 2**32 - 1, 0]


def test_bytes_and_single_records_can_be_put() -> None:
    writer = RingWriter.private(64)
    reader = RingReader(writer)
    writer.put(trades(2).tobytes())
    writer.put(trades(1)[0])
    with pytest.raises(ValueError, match="128-byte"):
        writer.put(b"short")
    writer.commit()
    assert len(reader.read()) == 3


def test_more_than_a_batch_commits_on_the_way() -> None:
    writer = RingWriter.private(64)
    assert writer.batch_max == 8
    reader = RingReader(writer)
    writer.put(trades(20))
    assert len(reader.read()) == 16
    writer.commit()
    assert len(reader.read()) == 4


def test_a_slow_reader_learns_its_exact_loss_and_starts_at_an_event() -> None:
    writer = RingWriter.private(64)
    reader = RingReader(writer)
    for event in range(100):
        records = trades(3, event * 3)
        records["flags"] = [0, 0, int(Flag.LAST)]
        writer.put(records)
        writer.commit()
    got = reader.read().view(TRADE)
    first = int(got["price"][0])
    assert first % 3 == 0
    assert reader.lost == first
    assert got["price"].tolist() == list(range(first, 300))
    assert 300 - first <= 33


def test_oldest_newest_and_a_saved_position(shm_dir: Path) -> None:
    with RingWriter.create(shm_dir, 0, SLOTS) as writer:
        for _ in range(3):
            writer.put(trades(SLOTS))
            writer.commit()
        newest = RingReader(shm_dir, 0)
        oldest = RingReader(shm_dir, 0, start="oldest")
        assert newest.position == writer.head == SLOTS * 4
        kept = len(oldest.read(SLOTS))
        assert SLOTS * 3 // 4 < kept < SLOTS
        assert oldest.lost == 1  # the record it could not prove to start an event
        saved = newest.position
        writer.put(trades(7))
        writer.commit()
        assert len(RingReader(shm_dir, 0, start=saved).read()) == 7
        with pytest.raises(ValueError, match="earlier ring"):
            RingReader(shm_dir, 0, start=saved + 1000)
        with pytest.raises(ValueError, match="newest"):
            RingReader(shm_dir, 0, start="middle")


def test_a_fresh_ring_read_from_oldest_loses_nothing() -> None:
    writer = RingWriter.private(64)
    writer.put(trades(5))
    writer.commit()
    reader = RingReader(writer, start="oldest")
    assert len(reader.read()) == 5
    assert reader.lost == 0
    at_zero = RingReader(writer, start=0)  # before the first record: the same
    assert len(at_zero.read()) == 5


def test_a_second_writer_is_refused_and_a_successor_continues(shm_dir: Path) -> None:
    writer = RingWriter.create(shm_dir, 0, SLOTS)
    reader = RingReader(shm_dir, 0)
    assert reader.alive()
    with pytest.raises(LockedError, match=r"LOCK\.0"):
        RingWriter.takeover(shm_dir, 0)
    writer.put(trades(5))
    writer.commit()
    writer.put(trades(2))  # never committed
    writer.mark_closed()
    assert reader.state is SegmentState.CLOSED
    writer.close()
    assert not reader.alive()
    with pytest.raises(ShmError, match="closed"):
        writer.put(trades(1))
    with RingWriter.takeover(shm_dir, 0) as successor:
        assert reader.alive()
        assert reader.epoch == successor.epoch == 2
        assert reader.state is SegmentState.RUN
        successor.put(trades(3, 100))
        successor.commit()
        got = reader.read().view(TRADE)
        assert got["price"].tolist() == [0, 1, 2, 3, 4, 100, 101, 102]
        assert got["epoch"].tolist() == [1] * 5 + [2] * 3
        assert reader.lost == 0


def test_a_superseded_ring_says_so(shm_dir: Path) -> None:
    from feedd.shm.segment import supersede

    writer = RingWriter.create(shm_dir, 0, SLOTS)
    reader = RingReader(shm_dir, 0)
    assert not reader.superseded
    supersede(writer.segment)
    create_ring(shm_dir, 0, SLOTS * 2)
    assert reader.superseded
    assert reader.state is SegmentState.SUPERSEDED
    writer.close()
    with RingReader(shm_dir, 0) as renewed:
        assert renewed.capacity == SLOTS * 2


def test_heartbeat_is_visible(shm_dir: Path) -> None:
    with RingWriter.create(shm_dir, 0, SLOTS) as writer:
        reader = RingReader(shm_dir, 0)
        writer.heartbeat(123_456)
        assert reader.heartbeat_ns == 123_456


@pytest.mark.parametrize("slots", [0, 1000, 8192, 16_385])
def test_a_bad_number_of_slots_is_refused(shm_dir: Path, slots: int) -> None:
    with pytest.raises(ShmError, match="power of two"):
        create_ring(shm_dir, 0, slots)


def test_a_ring_is_created_once(shm_dir: Path) -> None:
    create_ring(shm_dir, 0, SLOTS)
    with pytest.raises(ShmError, match="exists already"):
        create_ring(shm_dir, 0, SLOTS)


def test_a_closed_reader_says_so(shm_dir: Path) -> None:
    with RingWriter.create(shm_dir, 0, SLOTS):
        reader = RingReader(shm_dir, 0)
        reader.close()
        reader.close()
        with pytest.raises(ShmError, match="closed"):
            reader.read()
    with pytest.raises(AttachError, match="does not exist"):
        RingReader(shm_dir, 9)


@pytest.mark.parametrize("strategy", ["futex", "yield", "spin"])
@pytest.mark.parametrize("private", [True, False])
def test_waiting_returns_when_a_record_comes(shm_dir: Path, strategy: Any, private: bool) -> None:
    writer = RingWriter.private(64) if private else RingWriter.create(shm_dir, 0, SLOTS)
    reader = RingReader(writer)
    assert reader.wait(0.01, strategy) is False

    def later() -> None:
        time.sleep(0.05)
        writer.put(trades(1))
        writer.commit()

    thread = threading.Thread(target=later)
    thread.start()
    assert reader.wait(10, strategy) is True
    assert len(reader.read()) == 1
    thread.join()
    writer.close()


def test_an_unknown_strategy_is_refused() -> None:
    reader = RingReader(RingWriter.private(64))
    with pytest.raises(ValueError, match="futex, yield, spin"):
        reader.wait(0, strategy="hope")  # type: ignore[arg-type]


def test_the_wake_comes_from_the_writer_not_from_the_timeout(shm_dir: Path) -> None:
    """Twenty round trips take far less than twenty 50 ms slices."""
    with RingWriter.create(shm_dir, 0, SLOTS) as writer:
        reader = RingReader(shm_dir, 0)
        go = threading.Semaphore(0)

        def run() -> None:
            for _ in range(20):
                go.acquire()
                time.sleep(0.002)
                writer.put(trades(1))
                writer.commit()

        thread = threading.Thread(target=run)
        thread.start()
        started = time.monotonic()
        for _ in range(20):
            go.release()
            assert reader.wait(5)
            assert len(reader.read()) == 1
        assert time.monotonic() - started < 0.8
        thread.join()


def test_waiting_without_the_right_to_be_woken_polls(shm_dir: Path) -> None:
    with RingWriter.create(shm_dir, 0, SLOTS) as writer:
        (shm_dir / "wake").rename(shm_dir / "wake.gone")
        reader = RingReader(shm_dir, 0)
        timer = threading.Timer(0.05, lambda: (writer.put(trades(1)), writer.commit()))
        timer.start()
        assert reader.wait(10)
        timer.join()


@pytest.mark.parametrize("several", [False, True])
def test_a_signal_ends_a_wait_without_a_timeout(several: bool) -> None:
    writer = RingWriter.private(64)
    reader = RingReader(writer)
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        wait_any([reader]) if several else reader.wait()
    timer.join()


def test_wait_any_finds_the_ring_that_has_something(shm_dir: Path) -> None:
    writers = [RingWriter.create(shm_dir, n, SLOTS) for n in range(3)]
    readers = [RingReader(shm_dir, n) for n in range(3)]
    try:
        assert wait_any(readers, 0.02) is None
        timer = threading.Timer(0.05, lambda: (writers[1].put(trades(1)), writers[1].commit()))
        timer.start()
        assert wait_any(readers, 10) is readers[1]
        timer.join()
        writers[2].put(trades(1))
        writers[2].commit()
        assert len(readers[1].read()) == 1
        assert wait_any(readers) is readers[2]
        with pytest.raises(ValueError, match="at most 64"):
            wait_any(readers * 30)
    finally:
        for writer in writers:
            writer.close()


async def test_await_leaves_the_event_loop_free(shm_dir: Path) -> None:
    with RingWriter.create(shm_dir, 0, SLOTS) as writer:
        reader = RingReader(shm_dir, 0)
        assert await reader.wait_async(0.01) is False
        turns = 0

        async def other() -> None:
            nonlocal turns
            for _ in range(5):
                await asyncio.sleep(0.01)
                turns += 1
            writer.put(trades(4))
            writer.commit()

        task = asyncio.create_task(other())
        assert await reader.wait_async(10) is True
        assert turns == 5
        assert len(reader.read()) == 4
        await task
        waiting = asyncio.create_task(reader.wait_async())
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        writer.put(trades(1))
        writer.commit()
        assert await reader.wait_async(10) is True  # the thread of the cancelled wait is free again
        reader.close()


def test_read_into_reuses_the_array() -> None:
    writer = RingWriter.private(64)
    reader = RingReader(writer)
    room = np.zeros(4, dtype=RAW)
    writer.put(trades(6))
    writer.commit()
    assert reader.read_into(room) == 4
    assert reader.read_into(room) == 2
    assert reader.read_into(room) == 0
    assert reader.read_into(room[:0]) == 0
    with pytest.raises(ValueError, match="128-byte"):
        reader.read_into(np.zeros(4, dtype=np.int64))
