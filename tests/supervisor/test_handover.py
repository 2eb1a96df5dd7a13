"""A reader replaced while its data flows: the next process goes on behind the last record."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

import feedd
from feedd.records import Event, Kind
from feedd.sim.testing import SimHandle
from feedd.supervisor.handover import Handovers
from feedd.supervisor.process import ReaderState
from tests.supervisor.conftest import Daemon, until
from tests.supervisor.test_ctl import ctl, ctl_process

pytestmark = pytest.mark.timeout(120)
Make = Callable[..., Any]


class Consumer:
    """Reads everything in a thread of its own, and looks at every book as often as it can."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._end = threading.Event()
        self.batches: list[Any] = []
        self.not_live: set[str] = set()
        self._threads = [threading.Thread(target=run) for run in (self._read, self._look)]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        with (
            feedd.attach(self._daemon.directory) as feed,
            feed.stream(start="newest", timeout=0.05) as stream,
        ):
            for batch in stream:
                self.batches.append(batch)
                if self._end.is_set():
                    break

    def _look(self) -> None:
        with feedd.attach(self._daemon.directory) as feed:
            books = [feed.book(instrument.name, depth=None) for instrument in feed.instruments]
            while not self._end.wait(0.002):
                shown = [book.refresh() for book in books]
                self.not_live |= {
                    f"{b.instrument.name} {b.state.name}" for b in shown if not b.live
                }

    def finish(self) -> np.ndarray[Any, Any]:
        self._end.set()
        for thread in self._threads:
            thread.join(20)
        return np.concatenate([batch.records for batch in self.batches if len(batch)])


@pytest.fixture
def consumer_of() -> Iterator[Callable[[Daemon], Consumer]]:
    made: list[Consumer] = []

    def make(daemon: Daemon) -> Consumer:
        made.append(Consumer(daemon))
        return made[-1]

    yield make
    for consumer in made:
        consumer._end.set()


def board(daemon: Daemon) -> Any:
    with feedd.attach(daemon.directory) as feed:
        return feed.board()


def test_no_consumer_notices(
    sim: SimHandle, make_daemon: Make, consumer_of: Callable[[Daemon], Consumer]
) -> None:
    daemon = make_daemon(sim).wait_live()
    (before,) = daemon.pids()
    consumer, shown = consumer_of(daemon), board(daemon)
    assert "no interruption" in ctl(daemon, "restart", "0")
    (after,) = daemon.pids()
    assert after != before
    frames = daemon.counter("frames")
    until(lambda: daemon.counter("frames") > frames + 300)
    records = consumer.finish()
    assert not consumer.not_live
    assert sum(batch.lost for batch in consumer.batches) == 0
    assert not any(batch.restarted for batch in consumer.batches)
    assert all(batch.alive for batch in consumer.batches)
    codes = records["payload"].view("<i4")[:, 1][records["kind"] == Kind.STATUS]
    assert not {Event.GAP, Event.READER_START, Event.READER_STOP} & set(codes.tolist())
    assert len(np.unique(records["epoch"])) == 1
    sequences = np.sort(records["ring_seq"])
    assert (np.diff(sequences) == 1).all()
    trades = records[records["kind"] == Kind.TRADE]
    ids = [bytes(row["payload"][24:64]) + bytes(row["instrument"]) for row in trades]
    assert len(ids) == len(set(ids)) > 50
    # rows go on: what was known is known, counts only grow
    now = board(daemon)
    assert now["instrument"].tolist() == shown["instrument"].tolist()
    assert (now["updates"] >= shown["updates"]).all()
    for name in ("trade_price", "bid_price", "mark", "mark_iv", "index"):
        assert not (np.isnan(now[name]) & ~np.isnan(shown[name])).any(), name
    assert daemon.live(), "the gauges count the books of one process"
    # the next process is watched like any other
    psutil.Process(after).kill()
    until(lambda: daemon.pids() not in ([], [after]))
    daemon.wait_live()
    assert daemon.stop() == 0


def test_the_old_process_stays_when_the_new_one_fails(sim: SimHandle, make_daemon: Make) -> None:
    daemon = make_daemon(sim, venues={"deribit": ["book", "trades"]}).wait_live()
    (before,) = daemon.pids()
    answer: list[str] = []
    asked = threading.Thread(
        target=lambda: answer.append(ctl_process(daemon, "restart", "0", ok=False))
    )
    asked.start()
    until(lambda: len(daemon.pids()) == 2)
    assert "is being replaced already" in ctl_process(daemon, "restart", "0", ok=False)
    (new,) = set(daemon.pids()) - {before}
    psutil.Process(new).kill()
    asked.join(30)
    assert "the old one goes on" in answer[0]
    until(lambda: daemon.pids() == [before])
    assert daemon.counter("disconnects") == 0
    # a reload of what a process is started with does the same
    path = daemon.files / "feedd.toml"
    path.write_text(path.read_text().replace("count = 1\n", "count = 1\nbusy_poll = true\n"))
    assert "readers.busy_poll" in ctl(daemon, "reload")
    until(lambda: "no record came" in daemon.log(), 30)
    assert daemon.counter("gaps") == 0
    assert daemon.live()
    assert "interrupted: it was asked for" in ctl(daemon, "restart", "0", "--at-once")
    assert daemon.pids() != [before]
    assert "name readers, or say --all" in ctl(daemon, "restart", ok=False)
    daemon.wait_live()


def refusal(*, connections: int = 4, limit: int = 100, **plan: Any) -> str:
    lines = [(SimpleNamespace(name="deribit"), None)] * connections
    reader = SimpleNamespace(
        state=plan.pop("state", ReaderState.RUNNING),
        plan=SimpleNamespace(lines=lines, **{"capture": False, **plan}),
    )
    limits = SimpleNamespace(limits=SimpleNamespace(connections_max=limit))
    supervisor = SimpleNamespace(
        readers={0: reader}, venues={"deribit": SimpleNamespace(session=limits)}
    )
    return Handovers(supervisor).refusal(reader)  # type: ignore[arg-type]


def test_why_a_reader_has_to_be_interrupted() -> None:
    assert refusal() == ""
    assert refusal(connections=4, limit=8) == ""
    assert "deribit allows 7 connections" in refusal(connections=4, limit=7)
    assert "would have 8 in all" in refusal(connections=4, limit=7)
    assert "are recorded" in refusal(capture=True)
    assert refusal(state=ReaderState.FAILED) == "it is failed"


def test_a_process_that_takes_over_is_told_everything_once() -> None:
    old, new = object(), object()
    readers: dict[int, Any] = {0: old}
    handovers = Handovers(SimpleNamespace(readers=readers))  # type: ignore[arg-type]
    assert list(handovers.both(0)) == [old]
    handovers.standbys[0] = new  # type: ignore[assignment]
    assert list(handovers.both(0)) == [old, new]
    readers[0] = new  # from here on until it has taken over
    assert list(handovers.both(0)) == [new]
