"""What a reader leaves for the recorder: every message, and every other thing done to its pipeline.

The messages of the hot path are copied by ``PipelineSink``. All that comes from elsewhere (REST
snapshots, instruments, connections that end, marks of staleness) passes ``TappedPipeline``: the
ring holds it in its place among the messages, so that a replay does the same in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import orjson

from feedd.clock import now_ns
from feedd.pipeline.core import Pipeline
from feedd.shm import rawring
from feedd.shm.board import BoardWriter
from feedd.shm.books import BooksWriter
from feedd.shm.counters import CountersWriter
from feedd.shm.rawring import RawWriter
from feedd.shm.ring import RingWriter

__all__ = ["OPERATIONS", "VIEWS", "Tap", "TappedPipeline", "make_pipeline"]

OPERATIONS = frozenset(
    {
        "add_instrument",
        "drop_instrument",
        "expect",
        "line_carries",
        "line_down",
        "line_forget",
        "line_moved",
        "line_row",
        "mark_stale",
        "on_rest_snapshot",
        "request_again",
        "resync",
        "set_agree",
        "set_depth",
        "set_quarantine",
        "set_stale",
        "stale",
        "status",
    }
)
"""Methods of the pipeline that change what it publishes; ``stale`` and ``tick`` when they did."""
VIEWS = frozenset(
    {
        "add_venue",
        "book_levels",
        "book_state",
        "carried",
        "channel_numbers",
        "commit",
        "counters",
        "feed_many",
        "flush",
        "join_state",
        "on_message",
        "on_unknown",
        "quick_reads",
        "seen_at",
        "symbols_with_books",
        "take_alarms",
        "take_bad_frames",
        "take_over",
        "take_requests",
        "take_states",
        "tick",
    }
)
"""The others: they tell, or only matter to the process that calls them."""
_QUIET = frozenset({"tick", "stale"})
"""Called all the time: written down only when records came of it."""
_NO_VENUE = frozenset({"line_forget", "line_row", "set_quarantine", "stale", "status", "tick"})


class Tap:
    """Writes to the raw ring of one reader."""

    def __init__(self, directory: str, reader: int) -> None:
        self.raw = RawWriter(directory, reader)
        self._venues: dict[int, int] = {}
        self.url = ""
        """Where the coming REST body was fetched."""
        self.raw.put(rawring.OP, 0, 0, now_ns(), b'["start",[],{}]')

    def carries(self, venue: int, line: int) -> RawWriter:
        """A connection begins; its sink writes to what is returned."""
        self._venues[line] = venue
        return self.raw

    def received(self, venue: int, line: int, data: bytes) -> None:
        """A message that the pipeline does not see."""
        self.raw.put(rawring.IN, venue, line, now_ns(), data)

    def sent(self, venue: int, line: int, data: bytes, *, secret: bool = False) -> None:
        """``secret``: the connection logs in, so what it sends may hold keys: only the fact."""
        shown = b"(not recorded: this connection logs in)" if secret else data
        self.raw.put(rawring.OUT, venue, line, now_ns(), shown)

    def did(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A method of the pipeline was, or is about to be, called."""
        line = kwargs.get("line", 0)
        if name in ("line_down", "line_forget"):
            line = args[0] if name == "line_forget" else args[1]
        venue = self._venues.get(line, 0) if name in _NO_VENUE else args[0]
        body = b""
        if name == "on_rest_snapshot":
            args, body = (*args[:2], None, *args[3:]), args[2]
        if body:
            head = orjson.dumps([name, args, kwargs, self.url])
            self.raw.put(rawring.REST, venue, line, args[3], head + b"\n", body)
        else:
            head = orjson.dumps([name, args, kwargs])
            self.raw.put(rawring.OP, venue, line, now_ns(), head)

    def close(self) -> None:
        self.raw.close()


class TappedPipeline(Pipeline):
    """A pipeline that writes down what is done to it before it is done."""

    tap: Tap
    ring: RingWriter


def _recorded(name: str) -> Callable[..., Any]:
    plain = getattr(Pipeline, name)

    @wraps(plain)
    def method(self: TappedPipeline, *args: Any, **kwargs: Any) -> Any:
        if name not in _QUIET:
            self.tap.did(name, args, kwargs)
            return plain(self, *args, **kwargs)
        before = self.ring.next_seq
        answer = plain(self, *args, **kwargs)
        if self.ring.next_seq != before:
            self.tap.did(name, args, kwargs)
        return answer

    return method


for _name in OPERATIONS | _QUIET:
    if hasattr(Pipeline, _name):
        setattr(TappedPipeline, _name, _recorded(_name))


def make_pipeline(
    tap: Tap | None,
    ring: RingWriter,
    board: BoardWriter,
    books: BooksWriter,
    counters: CountersWriter,
    reader: int,
) -> Pipeline:
    """The pipeline of a reader process; with ``tap`` it is recorded."""
    if tap is None:
        return Pipeline(ring, board, books, counters, reader)
    pipeline = TappedPipeline(ring, board, books, counters, reader)
    pipeline.tap, pipeline.ring = tap, ring
    return pipeline
