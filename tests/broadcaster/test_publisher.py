"""The publisher with plain pyzmq subscribers: last values, numbers, bounds."""

from __future__ import annotations

import itertools
import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import zmq

from feedd.broadcaster.publisher import LAST_PER_TURN, Interest, Publisher, shortest
from feedd.errors import StartError


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    made = Publisher([f"ipc://{tmp_path}/pub"], 100, "test")
    yield made
    made.close()


class Sub:
    """A plain subscriber; ``opened`` keeps its socket until the context closes it."""

    opened: ClassVar[list[Any]] = []

    def __init__(self, context: zmq.Context[Any], path: Path, *topics: bytes, hwm: int = 0) -> None:
        self.socket = context.socket(zmq.SUB)
        self.opened.append(self.socket)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.SNDHWM, 0)
        self.socket.setsockopt(zmq.RCVHWM, hwm)
        for topic in topics:
            self.socket.subscribe(topic)
        self.socket.connect(f"ipc://{path}/pub")

    def read(self, wait_ms: int = 100) -> list[tuple[str, dict[str, Any]]]:
        out = []
        while self.socket.poll(wait_ms):
            topic, body = self.socket.recv_multipart()
            out.append((topic.decode(), json.loads(body)))
        return out


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    made: zmq.Context[Any] = zmq.Context()
    yield made
    made.destroy(linger=0)
    Sub.opened.clear()


def until_subscribed(publisher: Publisher, count: int, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while len(publisher.interest) < count:
        assert time.monotonic() < end, len(publisher.interest)
        publisher.turn()
        time.sleep(0.005)


def test_topics_numbers_and_mode(
    publisher: Publisher, context: zmq.Context[Any], tmp_path: Path
) -> None:
    assert stat.S_IMODE(os.stat(tmp_path / "pub").st_mode) == 0o660
    sub = Sub(context, tmp_path, b"quote.", b"health.reader.0")
    until_subscribed(publisher, 2)
    for n in range(3):
        publisher.send("quote.deribit.A", {"n": n})
        publisher.send("quote.okx.B", {"n": n})
        publisher.send("health.reader.1", {"n": n})
    got = sub.read()
    assert [topic for topic, _ in got] == ["quote.deribit.A", "quote.okx.B"] * 3
    assert [b["seq"] for t, b in got if t == "quote.okx.B"] == [0, 1, 2], "numbers are per topic"
    assert all(b["v"] == 1 and b["t"] > 1e18 for _, b in got)


def test_a_new_subscriber_gets_last_values(
    publisher: Publisher, context: zmq.Context[Any], tmp_path: Path
) -> None:
    for n in range(5):
        publisher.send("quote.a.X", {"n": n})
        publisher.send("quote.b.X", {"n": n})
        publisher.send("status.gap", {"n": n}, keep=False)
    first = Sub(context, tmp_path, b"quote.a", b"status.")
    until_subscribed(publisher, 2)
    publisher.turn()
    assert [(t, b["n"], b["seq"]) for t, b in first.read()] == [("quote.a.X", 4, 4)]
    second = Sub(context, tmp_path, b"quote.a")  # the same prefix: verbose
    got: list[Any] = []
    for _ in range(50):
        publisher.turn()
        got += second.read(20)
        if got:
            break
    assert [(t, b["n"], b["seq"]) for t, b in got] == [("quote.a.X", 4, 4)]
    assert {b["seq"] for _, b in first.read()} <= {4}, "at most a repetition"


def test_a_slow_subscriber_loses_its_own_and_can_tell(
    publisher: Publisher, context: zmq.Context[Any], tmp_path: Path
) -> None:
    slow = Sub(context, tmp_path, b"quote.", hwm=1)
    fast = Sub(context, tmp_path, b"quote")
    until_subscribed(publisher, 2)
    pad = "x" * 1_000
    seen: list[int] = []
    for n in range(5_000):
        publisher.send("quote.a.X", {"n": n, "pad": pad})
        while n % 50 == 49 and len(seen) <= n:  # it keeps up: its queue holds 100
            assert fast.socket.poll(5_000)
            seen.append(json.loads(fast.socket.recv_multipart()[1])["seq"])
        if n % 50 == 49:
            publisher.turn()  # as serve does: libzmq learns that there is room again
    assert seen == list(range(5_000)), "the others are not touched"
    got = [b["seq"] for _, b in slow.read()]
    assert len(got) < 5_000, "its queue was full"
    publisher.send("quote.a.X", {"n": -1})
    got += [b["seq"] for _, b in slow.read()]
    missing = sum(b - a - 1 for a, b in itertools.pairwise(got))
    assert missing == 5_001 - len(got) > 0, "and the numbers say how much is missing"


def test_five_thousand_subscriptions(
    publisher: Publisher, context: zmq.Context[Any], tmp_path: Path
) -> None:
    names = [f"quote.venue.S{n:05d}" for n in range(5_000)]
    sub = Sub(context, tmp_path, *(name.encode() for name in names))
    until_subscribed(publisher, 5_000)
    for start in range(0, 5_000, 50):
        for name in names[start : start + 50]:
            publisher.send(name, {})
        time.sleep(0.001)
    got: set[str] = set()
    end = time.monotonic() + 20
    while len(got) < 5_000 and time.monotonic() < end:
        got |= {topic for topic, _ in sub.read()}
        if len(got) < 5_000:  # the queue is 100 long: what was lost comes as a last value
            again = Sub(context, tmp_path, b"quote.")
            for _ in range(10):
                publisher.turn()
                again.read(0)
            again.socket.close(linger=0)
    assert len(got) == 5_000


def test_a_storm_of_subscriptions_costs_each_last_value_once_per_turn(
    tmp_path: Path, context: zmq.Context[Any]
) -> None:
    publisher = Publisher([f"ipc://{tmp_path}/pub"], 10, "test")
    topics = 3_000
    for n in range(topics):
        publisher.send(f"quote.v.S{n}", {})
    subs = [Sub(context, tmp_path, b"", b"quote", b"quote.v", hwm=10) for _ in range(40)]
    sent: list[int] = []
    put = publisher._put
    publisher._put = lambda topic, body: (sent.append(1), put(topic, body))[1]  # type: ignore
    until_subscribed(publisher, 3)
    for _ in range(20):
        sent.clear()
        publisher.turn()
        assert len(sent) <= LAST_PER_TURN
        time.sleep(0.01)
    assert len(publisher._owed) <= topics
    for sub in subs:
        sub.socket.close(linger=0)
    publisher.close()


def test_garbage_changes_nothing(
    publisher: Publisher, context: zmq.Context[Any], tmp_path: Path
) -> None:
    import socket

    sub = Sub(context, tmp_path, b"quote.")
    until_subscribed(publisher, 1)
    for garbage in (b"\x00" * 64, b"GET / HTTP/1.1\r\n\r\n", os.urandom(4_096), b"\xff" * 10):
        raw = socket.socket(socket.AF_UNIX)
        raw.connect(str(tmp_path / "pub"))
        raw.sendall(garbage)
        publisher.turn()
        raw.close()
    xsub = context.socket(zmq.XSUB)
    Sub.opened.append(xsub)
    xsub.setsockopt(zmq.LINGER, 0)
    xsub.connect(f"ipc://{tmp_path}/pub")
    for frame in (b"\x02what", b"", b"\x01" + b"y" * 300, b"hello"):
        xsub.send(frame)
    time.sleep(0.1)
    publisher.turn()
    xsub.send(b"\x01" + b"z" * 100_000)  # longer than a subscription may be: it is cut off
    time.sleep(0.1)
    publisher.turn()
    assert len(publisher.interest) == 1
    publisher.send("quote.a.X", {"n": 1})
    assert [b["n"] for _, b in sub.read()] == [1]


def test_interest() -> None:
    interest = Interest()
    assert not interest.wants(b"quote.a")
    interest.add(b"quote.a")
    interest.add(b"quote.a")
    interest.add(b"st")
    assert interest.wants(b"quote.a.b")
    assert not interest.wants(b"quote.")
    assert interest.wants(b"status.gap")
    changes = interest.changes
    interest.drop(b"nobody")
    assert interest.changes == changes
    interest.drop(b"quote.a")
    assert not interest.wants(b"quote.a.b")
    interest.add(b"")
    assert interest.wants(b"anything")


def test_shortest() -> None:
    assert shortest([b"ab", b"a", b"abc", b"b"]) == [b"a", b"b"]
    assert shortest([b"", b"x"]) == [b""]


def test_tcp_in_the_clear_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="without keys is refused"):
        Publisher(["tcp://127.0.0.1:0"], 100, "test")


def test_an_address_that_cannot_be_had(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot listen on ipc:///nowhere"):
        Publisher(["ipc:///nowhere/at/all"], 100, "test")
