"""Whatever a writer was doing when it was interrupted, and wherever a book went meanwhile: what is
shown as live is whole, and what follows follows it."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import feedd
from feedd.client.book import Book
from feedd.client.cursor import ring_id
from feedd.client.feed import Feed
from feedd.client.stream import Stream
from feedd.clock import SECOND_NS
from feedd.errors import LappedError, ShmError
from feedd.records import BookReason, BookState, Kind
from feedd.shm.board import BoardWriter
from feedd.shm.books import BooksWriter
from feedd.shm.ring import RingReader, RingWriter, create_ring
from feedd.shm.segment import supersede
from feedd.shm.waiting import AsyncWaiter
from tests.client.segments import (
    DEPTH,
    ROWS,
    SLOTS,
    Daemon,
    Side,
    book_records,
    control,
    ladder,
    record,
)

NAME = "deribit:BTC-PERPETUAL"


def publish(daemon: Daemon, bids: Side, asks: Side, reader: int = 0, **fields: object) -> int:
    """A snapshot in the ring and in the shared book."""
    position = daemon.put(book_records(0, bids, asks, snapshot=True), reader=reader)
    daemon.share_book(reader, 0, 0, bids, asks, ring_pos=position, **fields)  # type: ignore[arg-type]
    return position


def pass_by(daemon: Daemon, records: int, reader: int = 0) -> None:
    """So many records of another instrument."""
    filler = np.concatenate([record(Kind.TRADE, 3)] * 512)
    for _ in range(records // 512):
        daemon.put(filler, reader=reader)


def shown(book: feedd.BookSnapshot) -> tuple[Side, Side]:
    return book.bids.tolist(), book.asks.tolist()


class TestDeepBook:
    """With more than 32 levels, a book is what the ring makes of the daemon's deep copy."""

    @pytest.mark.parametrize("snapshot", [True, False])
    def test_half_of_a_long_event_is_not_shown(
        self, listed: Daemon, feed: Feed, snapshot: bool
    ) -> None:
        old = ladder(40)
        position = publish(listed, *old)
        book = feed.book(NAME, depth=None)
        assert shown(book.refresh()) == old
        new = ladder(60, 1001.0)
        event = book_records(0, *new, snapshot=snapshot, bracket=True)
        for part in (event[:1], event[1:3], event[3:-1]):
            listed.put(part)
            half = book.refresh()
            assert (shown(half), half.state, half.ring_pos) == (old, BookState.LIVE, position)
        listed.share_book(0, 0, 0, *new, ring_pos=listed.put(event[-1:]))
        whole = book.refresh()
        assert whole.live
        assert shown(whole)[0][:2] == new[0][:2]

    def test_a_snapshot_that_is_to_come_makes_nothing_live(
        self, listed: Daemon, feed: Feed
    ) -> None:
        """Rows are written before the commit that their records belong to."""
        old, new = ladder(40), ladder(40, 1200.0)
        position = publish(listed, *old)
        book = feed.book(NAME, depth=None)
        assert book.refresh().live
        listed.put(control(0, BookReason.GAP))
        listed.share_book(0, 0, 0, *old, ring_pos=position, state=BookState.GAP)
        assert book.refresh().state is BookState.GAP
        ring = listed.rings[0]
        records = book_records(0, *new, snapshot=True)
        ring.put(records)
        listed.share_book(0, 0, 0, *new, ring_pos=ring.next_seq - 1)
        between = book.refresh()
        assert shown(between) == new or not between.live
        ring.commit()
        after = book.refresh()
        assert (shown(after), after.state) == (new, BookState.LIVE)

    def test_the_books_come_after_the_ring(
        self, listed: Daemon, feed: Feed, directory: Path
    ) -> None:
        """A daemon that makes its files anew: a look between two of them."""
        pass_by(listed, 3 * SLOTS)
        publish(listed, *ladder(40))
        book = feed.book(NAME, depth=None)
        assert book.refresh().live
        supersede(listed.rings[0].segment)
        listed.rings[0].close()
        create_ring(directory, 0, SLOTS)
        listed.rings[0] = RingWriter.takeover(directory, 0)
        assert not book.refresh().live
        supersede(listed.books[0].segment)
        listed.books[0].close()
        listed.books[0] = BooksWriter.create(directory, 0, [DEPTH] * ROWS)
        new = ladder(40, 1500.0)
        publish(listed, *new)
        listed.rings[0].heartbeat(time.monotonic_ns())
        after = book.refresh()
        assert (shown(after), after.state) == (new, BookState.LIVE)

    def test_a_book_that_moves_to_another_reader(self, listed: Daemon, feed: Feed) -> None:
        pass_by(listed, 2048)
        publish(listed, *ladder(40))
        book = feed.book(NAME, depth=None)
        assert book.refresh().live
        listed.share_book(0, 0, 2**32 - 1, [], [], ring_pos=0, state=BookState.INIT)
        listed.instruments.update(0, reader=1)
        new = ladder(40, 1500.0)
        publish(listed, *new, reader=1)
        assert shown(book.refresh()) == new
        position = listed.put(book_records(0, [(1499.0, 7.0)], []), reader=1)
        moved = book.refresh()
        assert (moved.ring_pos, moved.bids[0].item()) == (position, (1499.0, 7.0))

    def test_a_quiet_book_is_there_when_the_ring_has_gone_round(
        self, listed: Daemon, feed: Feed
    ) -> None:
        levels = ladder(40)
        position = publish(listed, *levels)
        pass_by(listed, 2 * SLOTS)
        book = feed.book(NAME, depth=None)
        quiet = book.refresh()
        assert (shown(quiet), quiet.state, quiet.ring_pos) == (levels, BookState.LIVE, position)
        position = listed.put(book_records(0, [(999.0, 7.0)], []))
        assert book.refresh().bids[0].item() == (999.0, 7.0)

    def test_a_window_that_deletes_have_eaten_whole(self, listed: Daemon, feed: Feed) -> None:
        """What lies below it is in the top tier, long before there is a newer deep copy."""
        bids, asks = ladder(200)
        position = publish(listed, bids, asks)
        book = feed.book(NAME, depth=None)
        first = book.refresh()
        assert (len(first.bids), first.cut) == (DEPTH, (True, True))
        gone = [(price, 0.0) for price, _ in bids[: DEPTH - 3]]
        later = listed.put(book_records(0, gone, [], sequence=2))
        rest = bids[DEPTH - 3 :]
        listed.share_book(
            0,
            0,
            0,
            rest,
            asks,
            ring_pos=later,
            deep_ring_pos=position,
            deep=(bids, asks),
            sequence=2,
        )
        eaten = book.refresh()
        assert (eaten.state, eaten.ring_pos, eaten.truncated) == (BookState.LIVE, later, True)
        assert shown(eaten) == (rest[:32], asks[:32])

    def test_a_writer_that_takes_over_while_the_deep_copy_is_read(
        self, listed: Daemon, feed: Feed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The dead writer's rows were ahead of its ring: its successor gives those sequences to
        other records."""
        old, new = ladder(40), ladder(40, 1500.0)
        publish(listed, *old)
        ring = listed.rings[0]
        ring.put(book_records(0, *ladder(60, 1100.0), snapshot=True))
        listed.share_book(0, 0, 0, *ladder(60, 1100.0), ring_pos=ring.next_seq - 1)
        real = feedd.client.book.BooksReader.deep  # type: ignore[attr-defined]
        book = feed.book(NAME, depth=None)
        books = feed._book_reader(0)

        class Between:
            """The deep tier is copied, then the writer dies and the next one publishes."""

            done = False

            def __getattr__(self, name: str) -> object:
                return getattr(books, name)

            def deep(self, *args: int) -> object:
                view = real(books, *args)
                if not self.done:
                    self.done = True
                    listed.takeover(0)
                    publish(listed, *new)
                return view

        book._books = lambda number: Between()  # type: ignore[assignment,return-value]
        got = book.refresh()
        assert shown(got) == new or not got.live


class TestJoin:
    def test_the_book_is_ahead_of_the_ring(self, listed: Daemon, feed: Feed) -> None:
        publish(listed, *ladder(40))
        ring = listed.rings[0]
        ring.put(book_records(0, [(999.0, 5.0)], [], sequence=2))
        new = [(999.0, 5.0), *ladder(40)[0][1:]], ladder(40)[1]
        listed.share_book(0, 0, 0, *new, ring_pos=ring.next_seq - 1, sequence=2)
        late = threading.Timer(0.02, ring.commit)
        late.start()
        book, stream = feed.join(NAME, depth=20)
        late.join()
        listed.put(book_records(0, [(998.0, 5.0)], [], sequence=3))
        assert book.sequence == 2
        batch = next(stream)
        assert batch.books["sequence"].tolist() == [3]
        stream.close()

    def test_a_writer_that_died_ahead_of_its_ring(
        self, listed: Daemon, feed: Feed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish(listed, *ladder(40))
        ring = listed.rings[0]
        ring.put(book_records(0, [(999.0, 5.0)], [], sequence=2))
        listed.share_book(0, 0, 0, *ladder(40), ring_pos=ring.next_seq - 1, sequence=2)
        listed.kill(0)
        with pytest.raises(ShmError, match="never"):
            feed.join(NAME, depth=20)

    def test_the_first_snapshot_comes_while_joining(
        self, listed: Daemon, feed: Feed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = Book.refresh

        def refresh(book: Book) -> feedd.BookSnapshot:
            snapshot = real(book)
            publish(listed, *ladder(40))
            return snapshot

        listed.share_book(0, 0, 0, [], [], ring_pos=0, state=BookState.INIT)
        monkeypatch.setattr(Book, "refresh", refresh)
        book, stream = feed.join(NAME, depth=20, timeout=0.1)
        builder = feedd.BookBuilder()
        builder.seed(0, book.bids, book.asks, ring_pos=book.ring_pos, state=book.state)
        builder.apply(next(stream))
        stream.close()
        assert builder[0].bids.tolist() == ladder(40)[0]
        assert builder[0].state is BookState.LIVE


class TestStream:
    def test_a_new_file_that_was_lapped_says_how_much_is_lost(
        self, listed: Daemon, feed: Feed, directory: Path
    ) -> None:
        with feed.stream(readers=[0]) as stream:
            supersede(listed.rings[0].segment)
            listed.rings[0].close()
            listed.rings[0] = RingWriter.create(directory, 0, SLOTS)
            pass_by(listed, 2 * SLOTS)
            stream._look()
            batches = drain(stream)
        assert batches[0].restarted
        assert sum(len(batch) + batch.lost for batch in batches) == 2 * SLOTS

    def test_a_new_reader_that_was_lapped_says_how_much_is_lost(
        self, listed: Daemon, feed: Feed, directory: Path
    ) -> None:
        with feed.stream() as stream:
            listed.rings.append(RingWriter.create(directory, 2, SLOTS))
            pass_by(listed, 2 * SLOTS, reader=2)
            stream._look()
            batches = drain(stream)
        assert sum(len(batch) + batch.lost for batch in batches) == 2 * SLOTS

    @pytest.mark.parametrize("read", [0, 3])
    def test_saved_positions_of_an_earlier_writer(
        self, listed: Daemon, feed: Feed, read: int
    ) -> None:
        with feed.stream(readers=[0]) as stream:
            for _ in range(read):
                listed.put(record(Kind.TRADE))
            drain(stream)
            saved = stream.positions
        listed.takeover(0)
        listed.put(record(Kind.TRADE))
        with feed.stream(readers=[0], start=saved) as resumed:
            batches = drain(resumed)
        assert [len(batch) for batch in batches] == [1]
        assert batches[0].restarted == (read > 0)

    def test_saved_positions_of_a_file_with_the_same_inode(
        self, listed: Daemon, feed: Feed, directory: Path
    ) -> None:
        """A new container has a new tmpfs, which numbers its files as the one before did."""
        listed.put(*[record(Kind.TRADE)] * 3)
        with feed.stream(readers=[0], start="oldest") as stream:
            drain(stream)
            saved = stream.positions
            old = stream._readers()[0]
            supersede(listed.rings[0].segment)
            listed.rings[0].close()
            listed.rings[0] = RingWriter.create(directory, 0, SLOTS)
            new = RingReader(directory, 0)
            new.segment.inode = old.segment.inode
            assert ring_id(new) != ring_id(old)
        listed.put(*[record(Kind.TRADE)] * 5)
        with feed.stream(readers=[0], start=saved) as resumed:
            batches = drain(resumed)
        assert batches[0].restarted
        assert sum(map(len, batches)) == 5

    def test_positions_are_of_all_rings_from_the_first_batch_on(
        self, listed: Daemon, feed: Feed
    ) -> None:
        listed.put(record(Kind.TRADE), reader=1)
        with feed.stream() as stream:
            saved = stream.positions
        with feed.stream(start={**saved, "0": ["another", 5]}) as resumed:
            first = resumed.poll()
            assert first is not None
            assert first.restarted
            assert first.positions == saved

    def test_positions_after_a_raised_loss(self, listed: Daemon, feed: Feed) -> None:
        """What the exception came in place of was not handed out."""
        with feed.stream(readers=[0], on_overrun="raise") as stream:
            pass_by(listed, 2 * SLOTS)
            with pytest.raises(LappedError) as info:
                stream.poll()
            saved = stream.positions
        with feed.stream(readers=[0], start=saved) as resumed:
            batches = drain(resumed)
        assert info.value.lost + sum(len(batch) for batch in batches) == 2 * SLOTS
        assert sum(batch.lost for batch in batches) == 0

    def test_saved_positions_inside_one_writer_are_no_restart(
        self, listed: Daemon, feed: Feed
    ) -> None:
        listed.takeover(0)
        listed.put(record(Kind.TRADE), record(Kind.TRADE))
        with feed.stream(readers=[0], start="oldest") as stream:
            drain(stream)
            saved = stream.positions
        listed.put(record(Kind.TRADE))
        with feed.stream(readers=[0], start=saved) as resumed:
            (batch,) = drain(resumed)
        assert (len(batch), batch.restarted, batch.lost) == (1, False, 0)

    def test_the_old_file_stays_mapped_while_somebody_waits_for_it(
        self, listed: Daemon, feed: Feed, directory: Path
    ) -> None:
        """The thread of an awaited batch that was cancelled looks at its ring for a moment more."""
        with feed.stream(readers=[0]) as stream:
            reader = stream._readers()[0]
            supersede(listed.rings[0].segment)
            listed.rings[0].close()
            listed.rings[0] = RingWriter.create(directory, 0, SLOTS)
            stream._look()
            assert stream._readers()[0] is not reader
            assert not reader.available()


async def test_a_cancelled_batch_is_not_lost(listed: Daemon, feed: Feed) -> None:
    stream = feed.stream(readers=[0])
    got = []
    for number in range(30):
        row = record(Kind.TRADE, sequence=number)
        listed.put(row)
        task = asyncio.ensure_future(anext(stream))
        for _ in range(number % 3):
            await asyncio.sleep(0)
        task.cancel()
        try:
            got += (await task).trades["sequence"].tolist()
        except asyncio.CancelledError:
            continue
    got += [s for batch in drain(stream) for s in batch.trades["sequence"].tolist()]
    stream.close()
    assert got == list(range(30))


async def test_a_wait_that_fails_is_no_silence() -> None:
    def fails(_seconds: float) -> bool:
        raise ShmError("no ring to wait for")

    waiter = AsyncWaiter(fails)
    for _ in range(2):
        with pytest.raises(ShmError, match="no ring"):
            await asyncio.wait_for(waiter.wait(lambda: False), 1)
    waiter.close()


def drain(stream: Stream) -> list[feedd.Batch]:
    batches = []
    while (batch := stream.poll()) is not None:
        batches.append(batch)
    return batches


def test_nothing_of_a_dead_writer_is_live_under_the_next(listed: Daemon, feed: Feed) -> None:
    """Until the new process has made its rows its own, they show what the old one knew."""
    publish(listed, *ladder(40))
    listed.share_board(0, 0, instrument=0, state=BookState.LIVE)
    assert feed.book(NAME).live
    listed.takeover(0)
    assert not feed.book(NAME).live
    assert not feed.book(NAME, depth=None).live
    assert feed.board()["state"].tolist() == [BookState.STALE]
    listed.rings[0].heartbeat(time.monotonic_ns())
    assert feed.book(NAME).live


def test_rows_of_a_former_plan_are_nobodys(listed: Daemon, feed: Feed, directory: Path) -> None:
    """The next process has the same rows, but not this instrument."""
    publish(listed, *ladder(40))
    listed.share_board(0, 0, instrument=0, state=BookState.LIVE)
    top, deep = feed.book(NAME), feed.book(NAME, depth=None)
    assert top.live
    assert deep.live
    listed.takeover(0)
    listed.boards[0].close()
    listed.books[0].close()
    listed.boards[0] = BoardWriter.open(directory, 0, fresh=True)
    listed.books[0] = BooksWriter.open(directory, 0, fresh=True)
    listed.rings[0].heartbeat(time.monotonic_ns())
    assert top.state is deep.state is BookState.INIT
    assert feed.board()["state"].tolist() == [BookState.INIT]
    listed.instruments.update(0, reader=-1, row=-1)
    with pytest.raises(ShmError, match="not subscribed"):
        top.refresh()
    with pytest.raises(ShmError, match="not subscribed"):
        deep.refresh()


@pytest.mark.parametrize("depth", [20, None])
def test_a_book_whose_reader_is_retired(listed: Daemon, feed: Feed, depth: int | None) -> None:
    publish(listed, *ladder(40))
    book = feed.book(NAME, depth=depth)
    assert book.live
    listed.rings[0].heartbeat(time.monotonic_ns() - SECOND_NS)
    listed.kill(0)
    assert book.state is BookState.STALE
    listed.instruments.update(0, reader=1, row=2)
    assert book.state is BookState.INIT
    position = listed.put(book_records(0, *ladder(40, 1500.0), snapshot=True), reader=1)
    listed.share_book(1, 2, 0, *ladder(40, 1500.0), ring_pos=position)
    assert shown(book.refresh())[0] == ladder(40, 1500.0)[0][:depth]


def test_positions_of_records_whose_head_is_still_to_come(listed: Daemon, feed: Feed) -> None:
    """A writer that lost its processor between a commit's stamps and its head."""
    head = int(listed.rings[0].head)
    with feed.stream(readers=[0]) as stream:
        listed.put(record(Kind.TRADE), record(Kind.TRADE))
        words = listed.rings[0].segment.buf.cast("B").cast("Q")
        words[0x100 // 8] = head
        assert sum(map(len, drain(stream))) == 2
        saved = stream.positions
    with feed.stream(readers=[0], start=saved) as resumed:
        assert drain(resumed) == []
        listed.put(record(Kind.TRADE))
        (batch,) = drain(resumed)
    assert (len(batch), batch.lost, batch.restarted) == (1, 0, False)
    with pytest.raises(ValueError, match="earlier ring"):
        feed.stream(readers=[0], start={"0": [saved["0"][0], int(saved["0"][1]) + 5]})
