"""The broadcaster process: a ring consumer like any other, and a publisher over ZeroMQ.

Started by the supervisor with one end of a socket pair. It cannot disturb a reader: it maps the
rings read-only, and when it is too slow it loses records, which for conflated quotes means nothing
and for trades is counted in its heartbeat. It ends at SIGTERM, when the pipe ends, or when the
supervisor dies.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import msgspec
import zmq
import zmq.asyncio

from feedd.broadcaster.access import Gate
from feedd.broadcaster.keys import server_key
from feedd.broadcaster.plan import BroadcasterPlan
from feedd.broadcaster.publisher import Publisher
from feedd.broadcaster.quotes import Dirty, quote_body, topic_of, trade_body, trades_of
from feedd.client.feed import Feed
from feedd.client.stream import Stream
from feedd.clock import SECOND_NS, monotonic_ns
from feedd.errors import FeeddError
from feedd.logs import flush_suppressed, setup_logging
from feedd.reader.parent import die_with_parent
from feedd.reader.pipe import Pipe

__all__ = ["BroadcasterProcess", "main"]

POLL_S = 0.005
DRAIN_NS = 20_000_000
"""Time for reading rings before somebody else's turn."""
BEAT_S = 1.0
REFRESH_S = 10.0
"""How often an unchanged quote is repeated, so that a lost last one is noticed."""
REFRESH_PARTS = 20
MEMORY_MAX = 4 << 30
"""Address space beside the maps; a subscriber that makes this process grow ends it alone."""

log = logging.getLogger("feedd.broadcaster")


class BroadcasterProcess:
    """Everything of the process; ``run`` returns when it should end."""

    def __init__(self, plan: BroadcasterPlan, pipe: Pipe) -> None:
        self.plan = plan
        self.pipe = pipe
        self.feed = Feed(Path(plan.directory))
        self.dirty = Dirty()
        self.lost = 0
        self._context: zmq.asyncio.Context = zmq.asyncio.Context()
        self._gate: Gate | None = None
        secret: bytes | None = None
        addresses = [plan.bind]
        if plan.tcp is not None and plan.curve_credentials is not None:
            secret = server_key(plan.curve_credentials)
            self._gate = Gate(self._context, plan.curve_allowed)
            self._gate.start()
            addresses.append(plan.tcp)
        self.publisher = Publisher(
            addresses,
            plan.send_hwm,
            "broadcaster",
            curve_secret=secret,
            context=zmq.Context(self._context),
            on_subscribe=self._subscribed,
        )
        self._upstream = self._context.socket(zmq.SUB)
        self._upstream.setsockopt(zmq.LINGER, 0)
        self._upstream.setsockopt(zmq.RCVHWM, plan.send_hwm)
        self._upstream.subscribe(b"")
        self._upstream.connect(plan.upstream)
        self._names: dict[int, str] = {}
        self._ids: dict[bytes, int] = {}
        self._wanted: set[int] = set()
        self._seen_changes = -1
        self._seen_names = -1
        self._refresh_at = 0
        self._stop = asyncio.Event()

    # -- life ----------------------------------------------------------------------------------

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        kinds = ["quote", "book", "trade", "liquidation"] if self.plan.trades else ["quote", "book"]
        with self.feed.stream(kinds=kinds) as stream:
            tasks = [
                loop.create_task(work)
                for work in (
                    self._follow(stream),
                    self._quotes_forever(),
                    self._forward_forever(),
                    self.publisher.serve(),
                    self._beat_forever(),
                    self._receive(),
                    self._stop.wait(),
                )
            ]
            self.pipe.send({"op": "ready"})
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            for task in done:
                task.result()

    def close(self) -> None:
        self.feed.close()
        if self._gate is not None:
            self._gate.stop()
        self._upstream.close(linger=0)
        self.publisher.close()
        self._context.destroy(linger=0)
        self.pipe.close()

    async def _receive(self) -> None:
        while (received := await self.pipe.receive()) is not None:
            message = received[0]
            if message.get("op") == "log":
                setup_logging(message["level"], message["format"])
        log.warning("the supervisor is gone: stopping")

    async def _beat_forever(self) -> None:
        while True:
            self.pipe.send(
                {
                    "op": "beat",
                    "sent": self.publisher.sent,
                    "subscriptions": len(self.publisher.interest),
                    "lost": self.lost,
                    "refused": self._gate.refused if self._gate is not None else 0,
                }
            )
            flush_suppressed()
            await asyncio.sleep(BEAT_S)

    # -- market data ---------------------------------------------------------------------------

    async def _follow(self, stream: Stream) -> None:
        while True:
            deadline = monotonic_ns() + DRAIN_NS
            while monotonic_ns() < deadline:
                batch = stream.poll()
                if batch is None:
                    break
                self.lost += batch.lost
                self.dirty.note(batch)
                if self.plan.trades and len(self.publisher.interest):
                    self._trades(batch)
            await asyncio.sleep(POLL_S)

    def _trades(self, batch: Any) -> None:
        self._look_at_names()
        for name, record in trades_of(batch, self._names, self.publisher.interest):
            self.publisher.send(topic_of("trade", name), trade_body(name, record), keep=False)

    async def _quotes_forever(self) -> None:
        while True:
            await asyncio.sleep(self.plan.interval_s)
            self._look_at_names()
            self._look_at_interest()
            everything, ids = self.dirty.take()
            self._send_quotes(self._wanted if everything else ids & self._wanted)
            self._refresh()

    def _send_quotes(self, ids: set[int]) -> None:
        if not ids:
            return
        for row in self.feed.board(instruments=sorted(ids)):
            name = str(row["name"])
            body = quote_body(name, row)
            if body is None:
                continue
            self.publisher.send(topic_of("quote", name), body)

    def _refresh(self) -> None:
        """Repeat a part of the last values, all of them within ``REFRESH_S``."""
        now = monotonic_ns()
        if now < self._refresh_at:
            return
        part = int(now / SECOND_NS / REFRESH_S * REFRESH_PARTS) % REFRESH_PARTS
        self._refresh_at = now + int(REFRESH_S / REFRESH_PARTS * SECOND_NS)
        for number in self._wanted:
            if number % REFRESH_PARTS == part:
                self.publisher.repeat(topic_of("quote", self._names[number]))

    def _look_at_names(self) -> None:
        instruments = self.feed.instruments
        instruments.refresh()
        table = instruments.cached
        if len(table) != self._seen_names:
            self._seen_names = len(table)
            for number in range(len(self._names), len(table)):
                name = bytes(table["name"][number]).decode()
                self._names[number] = name
                self._ids[topic_of("quote", name).encode()] = number
            self._seen_changes = -1

    def _look_at_interest(self) -> None:
        interest = self.publisher.interest
        if interest.changes != self._seen_changes:
            self._seen_changes = interest.changes
            wanted = {n for topic, n in self._ids.items() if interest.wants(topic)}
            for number in self._wanted - wanted:  # nobody listens: the last value grows old
                self.publisher.forget(topic_of("quote", self._names[number]))
            self._wanted = wanted

    def _subscribed(self, prefixes: list[bytes]) -> None:
        """Quotes that nobody wanted before have no last value: now they are due."""
        starts = tuple(p for p in prefixes if p.startswith(b"quote.") or b"quote.".startswith(p))
        if starts:
            due = {n for topic, n in self._ids.items() if topic.startswith(starts)}
            self.dirty.mark(due - self._wanted)

    # -- what the supervisor says ----------------------------------------------------------------

    async def _forward_forever(self) -> None:
        while True:
            frames = await self._upstream.recv_multipart()
            if len(frames) == 2:
                topic, body = frames
                self.publisher.send_body(topic, body, keep=not topic.startswith(b"status."))


async def _main(sock: socket.socket) -> None:
    pipe = await Pipe.over(sock)
    received = await pipe.receive()
    if received is None:
        return
    plan = msgspec.convert(received[0]["plan"], BroadcasterPlan)
    setup_logging(plan.log_level, plan.log_format)
    maps = sum(path.stat().st_size for path in Path(plan.directory).iterdir() if path.is_file())
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX + 2 * maps, MEMORY_MAX + 2 * maps))
    try:
        process = BroadcasterProcess(plan, pipe)
    except FeeddError as exc:
        log.error("the broadcaster cannot start: %s", exc)
        raise
    try:
        await process.run()
    finally:
        process.close()


def main(arguments: list[str] | None = None) -> int:
    """``python -m feedd.broadcaster FD PARENT``: only the supervisor starts it."""
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) != 2 or not all(word.isdigit() for word in given):
        sys.stderr.write("feedd.broadcaster is started by `feedd run`, not by hand\n")
        return 64
    die_with_parent(int(given[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sock = socket.socket(fileno=int(given[0]))
    try:
        asyncio.run(_main(sock))
    except FeeddError as exc:
        return exc.exit_code
    return 0
