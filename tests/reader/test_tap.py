"""What is written down for a replay: everything that changes what the pipeline publishes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from feedd import venues
from feedd.decode.plan import compile_plan
from feedd.pipeline.core import Pipeline
from feedd.reader.tap import OPERATIONS, VIEWS, Tap, TappedPipeline, make_pipeline
from feedd.shm import rawring
from feedd.shm.board import BoardWriter
from feedd.shm.books import BooksWriter
from feedd.shm.counters import CountersWriter
from feedd.shm.rawring import Entry, RawReader, create_raw
from feedd.shm.ring import RingWriter


@pytest.fixture
def shm() -> Iterator[Path]:
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix=f"feedd-test-{os.getpid()}-", dir=base))
    create_raw(path, 0, 1 << 20)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def tapped(shm: Path) -> tuple[Tap, Pipeline, RingWriter]:
    tap = Tap(str(shm), 0)
    ring = RingWriter.private(1 << 14)
    parts = BoardWriter.private(4), BooksWriter.private([32] * 4), CountersWriter.private()
    pipeline = make_pipeline(tap, ring, *parts, 0)
    pipeline.add_venue(compile_plan(venues.load("deribit")))
    return tap, pipeline, ring


def entries(shm: Path) -> list[Entry]:
    reader = RawReader(shm, 0)
    found = reader.read()
    reader.release()
    return [entry for entry in found if b'"start"' not in entry.payload]


def test_every_method_is_known_to_change_something_or_not() -> None:
    """A new method of the pipeline must be put on one of the two lists."""
    methods = {name for name in dir(Pipeline) if not name.startswith("_")}
    methods = {name for name in methods if callable(getattr(Pipeline, name))}
    assert methods - OPERATIONS - VIEWS == set()
    assert set() == OPERATIONS & VIEWS


def test_operations_are_written_down_before_they_are_done(shm: Path) -> None:
    _, pipeline, _ = tapped(shm)
    assert isinstance(pipeline, TappedPipeline)
    pipeline.add_instrument(0, "BTC-PERPETUAL", 7, row=1)
    pipeline.status(6, 99, scope=2, line=3, text="näh")
    pipeline.line_down(0, 3, 100, "gone")
    with pytest.raises(KeyError):
        pipeline.resync(0, "unknown", 1)
    found = entries(shm)
    assert [orjson.loads(entry.payload) for entry in found] == [
        ["add_instrument", [0, "BTC-PERPETUAL", 7], {"row": 1}],
        ["status", [6, 99], {"scope": 2, "line": 3, "text": "näh"}],
        ["line_down", [0, 3, 100, "gone"], {}],
        ["resync", [0, "unknown", 1], {}],
    ]
    assert {entry.kind for entry in found} == {rawring.OP}
    assert [entry.line for entry in found] == [0, 3, 3, 0]


def test_a_rest_body_is_kept_byte_by_byte(shm: Path) -> None:
    tap, pipeline, _ = tapped(shm)
    pipeline.add_instrument(0, "BTC-PERPETUAL", 7)
    entries(shm)
    tap.url = "https://example.com/depth?symbol=X"
    body = b'{"a": "\n\xff"}'
    pipeline.on_rest_snapshot(0, "BTC-PERPETUAL", body, 1234)
    (entry,) = entries(shm)
    head, _, rest = entry.payload.partition(b"\n")
    assert rest == body
    assert (entry.kind, entry.t) == (rawring.REST, 1234)
    assert orjson.loads(head) == [
        "on_rest_snapshot", [0, "BTC-PERPETUAL", None, 1234], {}, tap.url,
    ]  # fmt: skip


def test_ticks_without_records_are_not_worth_a_line(shm: Path) -> None:
    _, pipeline, _ = tapped(shm)
    for _ in range(100):
        pipeline.tick()
    assert entries(shm) == []


def test_lines_belong_to_venues(shm: Path) -> None:
    tap, pipeline, _ = tapped(shm)
    other = pipeline.add_venue(compile_plan(venues.load("binance_spot")))
    tap.carries(other, 5)
    tap.sent(other, 5, b"subscribe")
    tap.sent(other, 5, b"login secret", secret=True)
    tap.received(other, 5, b"pong")
    pipeline.status(6, 1, scope=2, line=5)
    pipeline.line_forget(5)
    found = entries(shm)
    assert [(e.kind, e.venue, e.line) for e in found] == [
        (rawring.OUT, other, 5),
        (rawring.OUT, other, 5),
        (rawring.IN, other, 5),
        (rawring.OP, other, 5),
        (rawring.OP, other, 5),
    ]
    assert [found[0].payload, found[2].payload] == [b"subscribe", b"pong"]
    assert not any(b"secret" in e.payload for e in found)


def test_without_a_recorder_the_pipeline_is_the_plain_one() -> None:
    ring = RingWriter.private(1 << 14)
    parts = BoardWriter.private(4), BooksWriter.private([32] * 4), CountersWriter.private()
    assert type(make_pipeline(None, ring, *parts, 0)) is Pipeline
