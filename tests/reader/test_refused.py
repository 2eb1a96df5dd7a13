"""Who has streams is not replaced by somebody whom the venue refuses them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from feedd.clock import SECOND_NS
from feedd.pipeline.core import Pipeline
from feedd.reader.counts import ReaderCounts
from feedd.reader.plan import ReaderPlan
from feedd.reader.standby import SETTLE_NS, Segments, Standby
from feedd.reader.topics import TopicState
from feedd.shm.board import BoardWriter
from feedd.shm.connections import CONNECTION_FIELDS
from feedd.shm.counters import CountersWriter
from feedd.shm.ring import create_ring
from feedd.supervisor.select import Listed
from tests.reader.test_promises import connection

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
