"""Books read while they change: every tier equals the stream folded to the same position."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import feedd
from feedd.client.stream import Stream
from feedd.records import RAW

ROOT = Path(__file__).parents[2]
Tell = Callable[[int], None]


@pytest.fixture
def writer(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.client.live_writer", str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
        process.kill()


@pytest.fixture
def feed(writer: subprocess.Popen[bytes], directory: Path) -> feedd.Feed:
    return feedd.attach(directory)


@pytest.fixture
def tell(writer: subprocess.Popen[bytes]) -> Tell:
    """Tells the writer up to where everything was read: it keeps near."""

    def tell(position: int) -> None:
        assert writer.stdin is not None
        writer.stdin.write(b"%d\n" % position)
        writer.stdin.flush()

    return tell


class Follower:
    """Folds a stream exactly up to a ring position."""

    def __init__(self, stream: Stream, tell: Tell) -> None:
        self.stream = stream
        self.tell = tell
        self.builder = feedd.BookBuilder()
        self.waiting = np.empty(0, dtype=RAW)

    def reach(self, position: int) -> feedd.BookBuilder:
        while not len(self.waiting) or self.waiting["ring_seq"][-1] < position:
            batch = next(self.stream)
            assert batch.lost == 0
            self.waiting = np.concatenate([self.waiting, batch.records])
        split = int(np.searchsorted(self.waiting["ring_seq"], position, side="right"))
        self.builder.apply(self.waiting[:split])
        self.waiting = self.waiting[split:]
        self.tell(position)
        return self.builder


@pytest.mark.parametrize("depth", [20, 100, None])
def test_equal_to_the_folded_stream(feed: feedd.Feed, tell: Tell, depth: int | None) -> None:
    name = "deribit:BTC-PERPETUAL"
    checked = 0
    fewest = 1000
    with feed.stream(start="oldest", timeout=1.0) as stream:
        follower = Follower(stream, tell)
        book = feed.book(name, depth=depth)
        instrument = feed.instrument(name).id
        last = -1
        while checked < 300:
            snapshot = book.refresh()
            if snapshot.ring_pos in (0, last):  # 0: nothing was shown yet
                continue
            folded = follower.reach(snapshot.ring_pos)[instrument]
            assert folded.ring_pos == snapshot.ring_pos
            for shown, side in ((snapshot.bids, 1), (snapshot.asks, -1)):
                assert shown.tolist() == folded.levels(side, len(shown)).tolist()
                fewest = min(fewest, len(shown))
            assert snapshot.sequence == folded.sequence
            last = snapshot.ring_pos
            checked += 1
        book.close()
    assert fewest >= (depth or 90)


def test_join_loses_and_repeats_nothing(feed: feedd.Feed, tell: Tell) -> None:
    name = "deribit:ETH-PERPETUAL"
    with feed.stream(start="oldest", timeout=1.0) as everything:
        follower = Follower(everything, tell)
        for _ in range(20):
            joined = feed.join(name, kinds=["book"], timeout=1.0)
            book, stream = joined
            builder = feedd.BookBuilder()
            mine = builder.seed(
                book.instrument.id, book.bids, book.asks,
                sequence=book.sequence, ring_pos=book.ring_pos,
            )  # fmt: skip
            # change ids follow each other by one, so a hole or a repetition would show
            sequence = book.sequence
            assert sequence is not None
            for _ in range(3):
                batch = next(stream)
                got = batch.books["sequence"][batch.books["flags"] & 128 != 0].tolist()
                assert got == list(range(sequence + 1, sequence + 1 + len(got)))
                sequence += len(got)
                builder.apply(batch)
            stream.close()
            full = follower.reach(mine.ring_pos)[book.instrument.id]
            shown = 60  # the join knew the best 128 levels of 300
            assert mine.levels(1, shown).tolist() == full.levels(1, shown).tolist()
