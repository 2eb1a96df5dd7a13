"""Whoever is refused something: by whom it may be replaced, and who else must know."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from feedd.clock import SECOND_NS
from feedd.pipeline.core import Pipeline
from feedd.reader.counts import ReaderCounts
from feedd.reader.plan import ReaderPlan
from feedd.reader.session import Action, Do, State
from feedd.reader.standby import SETTLE_NS, Segments, Standby
from feedd.reader.topics import TopicState
from feedd.shm.board import BoardWriter
from feedd.shm.connections import CONNECTION_FIELDS
from feedd.shm.counters import CountersWriter
from feedd.shm.ring import create_ring
from feedd.supervisor.select import Listed
from tests.reader.test_promises import connection
from tests.reader.test_session import DERIBIT, Rig, sent, session

S = SECOND_NS


def test_a_connection_lacks_what_only_the_other_one_is_sent() -> None:
    channels = ["trades", "ticker"]
    _, old = connection("deribit", channels, Listed("BTC-PERPETUAL"))
    _, new = connection("deribit", channels, Listed("BTC-PERPETUAL"))
    mine, theirs = new.session.subscriptions.topics, old.session.subscriptions.topics
    one, other = mine
    mine[one].state = TopicState.ACTIVE
    mine[other].state = TopicState.FAILED
    for state, lacks in ((TopicState.ACTIVE, True), (TopicState.FAILED, False)):
        theirs[one].state, theirs[other].state = TopicState.ACTIVE, state
        assert new.lacks(old) is lacks
    del theirs[other]
    assert not new.lacks(old)


class Lines:
    def __init__(self) -> None:
        self.failed = 0

    def missing(self) -> str:
        return ""

    def refused(self) -> Iterator[tuple[int, str, int]]:
        yield 3, "deribit line 3 (main)", self.failed


def test_a_standby_that_is_refused_streams_is_not_warm(tmp_path: Path) -> None:
    create_ring(tmp_path, 0, 1 << 14, "reader-0")
    BoardWriter.create(tmp_path, 0, 4).close()
    counters = CountersWriter.create(tmp_path, 1, 4)
    theirs = ReaderCounts(counters, 0)
    plan = ReaderPlan(0, str(tmp_path), None, False, 4, (32,) * 4, 1 << 14, ())
    private = Segments.private(plan)
    pipeline = Pipeline(private.ring, private.board, private.books, private.counters, plan.reader)
    lines: Any = Lines()
    standby = Standby(plan, private, pipeline, lines, {}, frozenset())
    assert not standby.warm(S)
    assert standby.warm(S + SETTLE_NS)
    lines.failed = 1
    assert not standby.warm(2 * S + SETTLE_NS)
    assert standby.missing == (
        "deribit line 3 (main): the venue refuses 1 streams, more than before"
    )
    row = dict.fromkeys(CONNECTION_FIELDS, 0) | {"used": 1, "topics_failed": 1}
    theirs.connection(3, tuple(row.values()))
    assert not standby.warm(3 * S)
    assert standby.warm(3 * S + SETTLE_NS), "the other process is refused it as well"
    standby.close()
    theirs.close()
    counters.close()


@pytest.mark.parametrize(
    ("head", "seconds"),
    [
        (b"418 I'm a teapot\r\nRetry-After: 7", 7.0),
        (b"418 I'm a teapot", 120.0),
        (b"429 Too Many Requests\r\nRetry-After: Thu, 01 Jan 1970 00:01:40 GMT", 10.0),
        (b"503 Service Unavailable\r\nRetry-After: 7", None),
        (b"403 Forbidden", None),
    ],
)
async def test_a_ban_concerns_every_connection(head: bytes, seconds: float | None) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 " + head + b"\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    told: list[float] = []
    host: Any
    host, made = connection("deribit", ["trades"], Listed("BTC-PERPETUAL"))
    host.stay_away = lambda connection, seconds: told.append(seconds)
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    made.plan = msgspec.structs.replace(made.plan, url=f"ws://127.0.0.1:{port}/")
    made.start()
    made.permit()
    async with asyncio.timeout(5):
        while made.session.state is not State.BACKOFF:
            await asyncio.sleep(0.001)
    server.close()
    assert told == ([] if seconds is None else [seconds])
    assert made.session.counts.connect_failures == 1


def test_a_topic_that_was_given_up_is_asked_for_again_ever_more_seldom() -> None:
    rig = Rig(session(DERIBIT), ["good", "bad"])
    rig.connect()
    rig.say({"id": 1, "result": "ok"})
    start, asked, allowed = rig.now, [0], ["good"]
    rig.say({"id": 2, "result": ["good"]})
    while rig.line.active_topics < 2 and rig.now < start + 9_000 * S:
        rig.now += 9 * S // 10
        rig.seen = rig.seen._replace(frames=rig.seen.frames + 1, data=rig.seen.data + 1)
        for message in sent(rig._do(rig.line.tick(rig.now, rig.seen))):
            asked.append((rig.now - start) // S)
            assert message["params"]["channels"] == ["bad"], "the good one is left alone"
            if len(asked) > 9:
                allowed = ["good", "bad"]  # the venue has changed its mind
            rig.say({"id": message["id"], "result": allowed})
    pauses = [b - a for a, b in itertools.pairwise(asked[2:])]
    assert [round(p / 60) for p in pauses] == [1, 2, 4, 8, 16, 32, 60]
    assert rig.line.active_topics == 2
    assert rig.line.counts.subscribe_errors == len(pauses), "each time it is said"
    assert rig.line.counts.disconnects == 0


def test_every_stream_that_is_refused_is_named(caplog: pytest.LogCaptureFixture) -> None:
    _, made = connection("deribit", ["trades"], Listed("BTC-PERPETUAL"))
    names = [f"trades.BTC-{n}.100ms" for n in range(12)]
    made._do([Action(Do.SUBSCRIBE_FAILED, topic=name, text="no such thing") for name in names])
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"{made.name}: not subscribed: {name}: no such thing" for name in names]
