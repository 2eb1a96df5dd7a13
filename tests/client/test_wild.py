"""A writer that is stopped, goes on and is killed at any moment: whatever is shown equals the
folded stream at the same position, and what is called live is live there."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import feedd
from feedd.client.feed import Feed
from feedd.client.fold import FoldedBook
from feedd.client.stream import Stream
from feedd.errors import ShmError
from feedd.records import RAW, BookState

ROOT = Path(__file__).parents[2]
NAMES = ("deribit:BTC-PERPETUAL", "deribit:ETH-PERPETUAL")
DEPTHS = (1, 32, 33, None)
RUN_S = 2.0


class Writer:
    """The process, and a thread that stops it for a moment now and then."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.client.wild_writer", str(directory), str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"
        self._rng = random.Random(seed)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._disturb)
        self._thread.start()

    def _disturb(self) -> None:
        while not self._ended.is_set():
            time.sleep(self._rng.random() * 0.004)
            self.process.send_signal(signal.SIGSTOP)
            time.sleep(0.15 if self._rng.random() < 0.02 else self._rng.random() * 0.004)
            self.process.send_signal(signal.SIGCONT)

    def tell(self, position: int) -> None:
        """Everything before was read."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            os.write(self.process.stdin.fileno(), b"%d\n" % position)

    def kill(self) -> None:
        self._ended.set()
        self._thread.join()
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def writers(directory: Path) -> Iterator[Iterator[Writer]]:
    """One writer after the other; the next one begins when the one before was killed."""
    living: list[Writer] = []

    def one_by_one() -> Iterator[Writer]:
        for seed in itertools.count(7):
            for writer in living:
                writer.kill()
            living[:] = [Writer(directory, seed)]
            yield living[0]

    yield one_by_one()
    for writer in living:
        writer.kill()


class Truth:
    """The stream, folded exactly up to a ring position."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.builder = feedd.BookBuilder()
        self.waiting = np.empty(0, dtype=RAW)
        self.restarted = False

    def reach(self, position: int) -> None:
        deadline = time.monotonic() + 5
        while not self.restarted and (
            not len(self.waiting) or self.waiting["ring_seq"][-1] < position
        ):
            assert time.monotonic() < deadline
            batch = next(self.stream)
            self.restarted = batch.restarted
            if batch.restarted:
                self.builder.apply(self.waiting)
                self.builder.apply(batch)
                self.waiting = self.waiting[:0]
                return
            assert batch.lost == 0
            self.waiting = np.concatenate([self.waiting, batch.records])
        split = int(np.searchsorted(self.waiting["ring_seq"], position, side="right"))
        self.builder.apply(self.waiting[:split])
        self.waiting = self.waiting[split:]


def equal(shown: feedd.BookSnapshot, folded: FoldedBook) -> None:
    assert folded.ring_pos == shown.ring_pos
    assert shown.bids.tolist() == folded.levels(1, len(shown.bids)).tolist()
    assert shown.asks.tolist() == folded.levels(-1, len(shown.asks)).tolist()
    assert not shown.live or folded.state is BookState.LIVE
    for levels, all_of_them, cut in (
        (shown.bids, folded.n_bids, shown.cut[0]),
        (shown.asks, folded.n_asks, shown.cut[1]),
    ):
        assert len(levels) == all_of_them or cut or not shown.live
        assert len(levels) or not all_of_them or not shown.live
    assert shown.truncated == any(shown.cut)


def best(book: FoldedBook) -> list[object]:
    return [book.levels(side, 1).tolist() for side in (1, -1)]


def board_equal(row: np.ndarray, folded: FoldedBook) -> None:
    best = [
        row[f"book_{part}"].item() for part in ("bid_price", "bid_size", "ask_price", "ask_size")
    ]
    np.testing.assert_equal(best, list(folded.best))
    assert row["state"] != BookState.LIVE or folded.state is BookState.LIVE


def look(feed: Feed, books: list[feedd.Book], truth: Truth, writer: Writer) -> int:
    """One round; returns how many of the things shown were compared."""
    shown = [book.refresh() for book in books]
    board = feed.board()
    joined = None
    with contextlib.suppress(ShmError):  # of a writer that was killed between book and ring
        joined = feed.join(NAMES[1], depth=None, timeout=0.02)
    mine = feedd.BookBuilder()
    if joined is not None:
        book = joined.book
        mine.seed(1, book.bids, book.asks, ring_pos=book.ring_pos, state=book.state, cut=book.cut)
        with joined.stream as stream:
            mine.apply(next(stream))
    checks: list[tuple[int, object]] = [(book.ring_pos, book) for book in shown if book.ring_pos]
    checks += [(row["ring_pos"].item(), row) for row in board if row["ring_pos"]]
    compared = 0
    for position, thing in sorted(checks, key=lambda check: check[0]):
        truth.reach(position)
        if truth.restarted:
            break
        if isinstance(thing, feedd.BookSnapshot):
            equal(thing, truth.builder[thing.instrument.id])
        else:
            board_equal(thing, truth.builder[thing["instrument"].item()])  # type: ignore[arg-type,index]
        compared += 1
    if not truth.restarted and joined is not None and mine[1].ring_pos > joined.book.ring_pos > 0:
        truth.reach(mine[1].ring_pos)
        if not truth.restarted and truth.builder[1].ring_pos == mine[1].ring_pos:
            assert mine[1].state is not BookState.LIVE or best(mine[1]) == best(truth.builder[1])
            compared += 1
    truth.restarted = False
    if len(truth.waiting):
        writer.tell(int(truth.waiting["ring_seq"][0]))
    elif checks:
        writer.tell(max(position for position, _ in checks))
    return compared


def test_everything_shown_is_in_the_stream(writers: Iterator[Writer], directory: Path) -> None:
    writer = next(writers)
    feed = feedd.attach(directory)
    truth = Truth(feed.stream(start="oldest", timeout=0.2))
    slow, late = feed.stream(start="oldest"), feedd.BookBuilder()
    books = [feed.book(name, depth=depth) for name in NAMES for depth in DEPTHS]
    compared = []
    lapped = 0
    for life in range(3):
        compared.append(0)
        until = time.monotonic() + RUN_S
        while time.monotonic() < until:
            compared[life] += look(feed, books, truth, writer)
        # a consumer that was away for all that time
        while (batch := slow.poll()) is not None:
            lapped += batch.lost
            late.apply(batch)
        for book in late:
            if book.state is BookState.LIVE:
                truth.reach(book.ring_pos)
                if truth.builder[book.instrument].ring_pos == book.ring_pos:
                    assert best(book) == best(truth.builder[book.instrument])
        truth.restarted = False
        if life < 2:
            writer = next(writers)
    assert min(compared) > 20
    assert lapped
    for stream in (truth.stream, slow):
        stream.close()
