"""Streams over real rings: whole events, filters, exact loss, restarts, several readers."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest

from feedd.client.attach import attach
from feedd.client.batch import Batch
from feedd.client.feed import Feed
from feedd.client.stream import Stream
from feedd.errors import LappedError
from feedd.records import BookReason, Flag, Kind
from tests.client.segments import SLOTS, Daemon, book_records, control, record


@pytest.fixture
def feed(daemon: Daemon) -> Feed:
    daemon.list("deribit", "BTC-PERPETUAL", 0)
    daemon.list("deribit", "ETH-PERPETUAL", 1)
    daemon.list("binance_spot", "BTCUSDT", 0)
    return attach(daemon.directory)


def trades(n: int, instrument: int = 0, first: int = 0) -> np.ndarray:
    rows = np.concatenate([record(Kind.TRADE, instrument)] * n)
    rows["sequence"] = np.arange(first, first + n)
    return rows


def drain(stream: Stream) -> list[Batch]:
    out = []
    while (batch := stream.poll()) is not None:
        out.append(batch)
    return out


def sequences(batches: list[Batch], kind: str = "trades") -> list[int]:
    return [s for batch in batches for s in getattr(batch, kind)["sequence"].tolist()]


def test_all_kinds_with_their_dtypes(daemon: Daemon, feed: Feed) -> None:
    with feed.stream() as stream:
        daemon.put(*(record(kind, 0, price=1.5, size=2.5) for kind in Kind))
        batch = next(stream)
    assert len(batch) == 8
    assert batch.trades["price"].tolist() == [1.5]
    assert batch.liquidations["size"].tolist() == [2.5]
    assert batch.quotes["bid_size"].tolist() == [2.5]
    assert batch.books["levels"]["price"][0, 0] == 1.5
    assert batch.derivs["index"].tolist() == [2.5]
    assert batch.greeks["gamma"].tolist() == [2.5]
    assert len(batch.controls) == len(batch.status) == 1
    assert next(row.dtype.names[-1] for row in batch) == "trade_flags"
    assert "1 trade" in repr(batch)
    assert batch.of(99).trades.size == 0


def test_newest_oldest_and_positions(daemon: Daemon, feed: Feed) -> None:
    daemon.put(trades(5))
    newest, oldest = feed.stream(), feed.stream(start="oldest", batch_max=16)
    daemon.put(trades(20, first=5))
    assert sequences(drain(newest)) == list(range(5, 25))
    first = next(oldest)
    resumed = feed.stream(start=first.positions)
    rest = list(range(len(first), 25))
    assert sequences(drain(oldest)) == rest
    assert sequences(drain(resumed)) == rest
    for stream in (newest, oldest, resumed):
        stream.close()


def test_positions_of_another_ring_start_at_oldest_and_say_so(daemon: Daemon, feed: Feed) -> None:
    daemon.put(trades(3))
    with feed.stream(start={"0": ["another-1", SLOTS + 1], "1": ["another-2", 5]}) as stream:
        batches = drain(stream)
    assert batches[0].restarted
    assert sequences(batches) == [0, 1, 2]


def test_filters(daemon: Daemon, feed: Feed) -> None:
    def collect(**which: object) -> list[tuple[int, int]]:
        with feed.stream(start="oldest", **which) as stream:  # type: ignore[arg-type]
            return sorted(
                (row["kind"].item(), row["instrument"].item())
                for batch in drain(stream)
                for row in batch.records
            )

    daemon.put(record(Kind.TRADE, 0), record(Kind.QUOTE, 2), record(Kind.BOOK, 0))
    daemon.put(record(Kind.BOOK_CONTROL, 2), record(Kind.STATUS, 2**32 - 1))
    daemon.put(record(Kind.TRADE, 1), reader=1)
    none = 2**32 - 1
    assert len(collect()) == 6
    assert collect(kinds=["trade"]) == [(1, 0), (1, 1)]
    assert collect(kinds=["book"]) == [(4, 0), (5, 2)]
    assert collect(venues=["binance_spot"]) == [(3, 2), (5, 2), (8, none)]
    assert collect(instruments=["deribit:BTC-PERPETUAL"], kinds=["trade"]) == [(1, 0)]
    assert collect(instruments=[1], venues=["deribit"]) == [(1, 1), (8, none)]
    assert collect(instruments=feed.instrument("binance_spot:BTCUSDT"), kinds="quote") == [(3, 2)]


def test_an_instrument_listed_later_passes_its_venue_filter(daemon: Daemon, feed: Feed) -> None:
    with feed.stream(venues=["deribit"]) as stream:
        new = daemon.list("deribit", "SOL-PERPETUAL", 0)
        other = daemon.list("kraken", "SOL/USD", 0)
        daemon.put(trades(2, new), trades(3, other))
        assert sequences(drain(stream)) == [0, 1]


def test_wrong_arguments_say_what_is_right(feed: Feed) -> None:
    with pytest.raises(ValueError, match=r"use one of trade, liquidation"):
        feed.stream(kinds=["trades"])
    with pytest.raises(ValueError, match="newest"):
        feed.stream(start="latest")
    with pytest.raises(KeyError, match="there is deribit:BTC-PERPETUAL"):
        feed.stream(instruments=["deribit:BTC"])
    with pytest.raises(KeyError, match="venues of this daemon: binance_spot, deribit"):
        feed.instrument("ftx:BTC-USD")


class TestWholeEvents:
    """An event never comes in two batches."""

    def test_event_in_two_commits(self, daemon: Daemon, feed: Feed) -> None:
        rows = book_records(0, [(p, 1.0) for p in range(20, 1, -1)], [])
        with feed.stream() as stream:
            daemon.put(trades(1), rows[:2])
            assert [len(batch) for batch in drain(stream)] == [1]
            daemon.put(rows[2:])
            (batch,) = drain(stream)
            assert len(batch) == len(rows)
            assert batch.records["flags"][-1] & Flag.LAST

    def test_longer_than_a_batch(self, daemon: Daemon, feed: Feed) -> None:
        rows = book_records(
            0, [(p, 1.0) for p in range(9000, 1, -1)], [], snapshot=True, bracket=True
        )
        with feed.stream(batch_max=64) as stream:
            daemon.put(trades(10), rows[:1000])
            assert sum(map(len, drain(stream))) == 10
            daemon.put(rows[1000:], trades(5))
            batches = drain(stream)
        assert sum(map(len, batches)) == len(rows) + 5
        assert len(batches[0]) >= len(rows)

    def test_writer_dies_inside_an_event(self, daemon: Daemon, feed: Feed) -> None:
        rows = book_records(0, [(9, 1.0)] * 30, [], snapshot=True, bracket=True)
        with feed.stream() as stream:
            daemon.put(trades(2), rows[:4])
            daemon.takeover(0)
            daemon.put(trades(3, first=2))
            batches = drain(stream)
        assert sequences(batches) == [0, 1, 2, 3, 4]
        assert [batch.restarted for batch in batches] == [False, True]
        assert batches[1].lost == 4
        assert batches[1].broken_snapshots == (0,)


class TestLoss:
    """Lost records are counted exactly: delivered + lost = published."""

    def test_lapped(self, daemon: Daemon, feed: Feed) -> None:
        with feed.stream() as stream:
            for i in range(40):
                daemon.put(trades(1000, first=1000 * i))
            batches = drain(stream)
        got = sequences(batches)
        assert got[-1] == 39_999
        assert got == list(range(got[0], 40_000))
        assert sum(batch.lost for batch in batches) == 40_000 - len(got)
        assert batches[0].lost > 0

    def test_lapped_inside_a_snapshot_drops_it_whole(self, daemon: Daemon, feed: Feed) -> None:
        rows = book_records(
            0, [(p, 1.0) for p in range(30_000, 1, -1)], [], snapshot=True, bracket=True
        )
        with feed.stream() as stream:
            daemon.put(rows[:3000])
            assert drain(stream) == []
            daemon.put(rows[3000:])
            for i in range(16):
                daemon.put(trades(1000, first=1000 * i))
            batches = drain(stream)
        got = sequences(batches)
        assert got == list(range(got[0], 16_000))
        assert sum(batch.lost for batch in batches) == len(rows) + 16_000 - len(got)
        assert batches[0].broken_snapshots == (0,)
        assert all(not len(batch.books) for batch in batches)

    def test_raise(self, daemon: Daemon, feed: Feed) -> None:
        with feed.stream(on_overrun="raise") as stream:
            for i in range(20):
                daemon.put(trades(1000, first=1000 * i))
            with pytest.raises(LappedError) as info:
                next(stream)
            batch = next(stream)
        assert info.value.lost == batch.lost == int(batch.trades["sequence"][0])


class TestRestart:
    """Writer death, take-over and a new daemon in the same directory are all visible."""

    def test_death_is_told(self, daemon: Daemon, feed: Feed) -> None:
        with feed.stream(timeout=5) as stream:
            assert feed.alive
            daemon.kill(1)
            batch = next(stream)
        assert not batch.alive
        assert batch.reader == 1
        assert not feed.alive
        assert "NOT ALIVE" in repr(feed)

    def test_new_daemon_in_the_same_directory(self, daemon: Daemon, feed: Feed) -> None:
        with feed.stream(timeout=5) as stream:
            daemon.put(trades(3))
            assert sequences([next(stream)]) == [0, 1, 2]
            daemon.put(trades(2, first=3))
            daemon.close()
            for path in daemon.directory.iterdir():
                path.unlink()
            daemon.start()
            daemon.list("kraken", "BTC/USD")
            daemon.put(trades(4, first=100))
            batches: list[Batch] = []
            while len(sequences(batches)) < 6:
                batches.append(next(stream))
        assert sequences(batches) == [3, 4, 100, 101, 102, 103]
        assert [b.restarted for b in batches if len(b)] == [False, True]
        assert not any(b.silent for b in batches)
        assert feed.instrument("kraken:BTC/USD").id == 0
        assert feed.alive

    def test_a_reader_added_later_is_followed(self, daemon: Daemon, feed: Feed) -> None:
        from feedd.shm.ring import RingWriter

        with feed.stream(timeout=5) as stream:
            daemon.rings.append(RingWriter.create(daemon.directory, 2, SLOTS))
            daemon.put(trades(2), reader=2)
            assert next(stream).reader == 2


def test_two_rings_take_turns(daemon: Daemon, feed: Feed) -> None:
    with feed.stream(batch_max=100) as stream:
        for reader in (0, 1):
            daemon.put(trades(1000), reader=reader)
        batches = drain(stream)
    assert [batch.reader for batch in batches[:6]] == [0, 1, 0, 1, 0, 1]
    assert sum(map(len, batches)) == 2000


@pytest.mark.parametrize("wait", ["futex", "yield", "spin"])
@pytest.mark.parametrize("readers", [1, 2])
def test_waiting(directory: Path, wait: str, readers: int) -> None:
    daemon = Daemon(directory, readers)
    timer = threading.Timer(0.05, lambda: daemon.put(trades(1)))
    try:
        feed = attach(directory)
        with feed.stream(wait=wait, timeout=10) as stream:  # type: ignore[arg-type]
            timer.start()
            batch = next(stream)
            assert len(batch) == 1
            assert not batch.silent
        with feed.stream(wait=wait, timeout=0.02) as stream:  # type: ignore[arg-type]
            silence = next(stream)
            assert not silence
            assert silence.silent
            assert silence.alive
    finally:
        timer.join()
        daemon.close()


async def test_async_for(daemon: Daemon, feed: Feed) -> None:
    async def publish() -> None:
        for i in range(5):
            await asyncio.sleep(0.01)
            daemon.put(trades(2, first=2 * i), reader=i % 2)

    task = asyncio.create_task(publish())
    got: list[int] = []
    with feed.stream(timeout=5) as stream:
        async for batch in stream:
            got += sequences([batch])
            if len(got) == 10:
                break
    await task
    assert sorted(got) == list(range(10))


def test_closed_stream_ends(feed: Feed) -> None:
    stream = feed.stream()
    stream.close()
    assert list(stream) == []


def test_orphan_end_is_no_snapshot(daemon: Daemon, feed: Feed) -> None:
    with feed.stream() as stream:
        daemon.put(control(0, BookReason.SNAPSHOT_END), trades(1))
        assert sum(map(len, drain(stream))) == 2
