"""The reader process: one thread, one event loop, its connections, its pipeline, its segments.

Started by the supervisor with one end of a socket pair. The plan comes first; then the reader asks
for connect permits, REST snapshots and ids of unknown symbols, and gets them. It ends at SIGTERM,
when the pipe ends, or when the supervisor dies; or it hands over to a process that has got ready
beside it (``standby``).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import uvloop

from feedd import venues
from feedd.clock import SECOND_NS, monotonic_ns, now_ns
from feedd.decode.plan import compile_plan
from feedd.errors import FeeddError
from feedd.logs import RateLimit, flush_suppressed, setup_logging
from feedd.pipeline.core import Request
from feedd.reader.connection import Connection
from feedd.reader.counts import ReaderCounts
from feedd.reader.lines import Lines
from feedd.reader.parent import die_with_parent
from feedd.reader.pipe import Pipe
from feedd.reader.plan import Instrument, PlanChange, ReaderPlan
from feedd.reader.snapshots import STREAM_WAIT_S, SnapshotDesk, StreamDesk
from feedd.reader.standby import Segments, Standby
from feedd.reader.tap import Tap, make_pipeline
from feedd.records import BookState, Event, Scope

__all__ = ["BusyPoll", "ReaderProcess", "freeze_garbage", "main"]

TICK_S = 0.05
RESYNCS_MAX = 10
RESYNCS_WINDOW_S = 60.0
"""A book that needs more resyncs than this within the window is left alone for a while."""
COUNT_TURNS = 4  # ticks: counters of each connection five times a second
HANDOVER_NS = SECOND_NS
"""For so long a consumer trusts that the next process comes."""
WARM_EVERY_NS = SECOND_NS // 5
BEHIND_EVERY_S = 0.002
STOP_S = 0.5
LAST_RESORT_S = 3
GC_EVERY_NS = 60 * SECOND_NS

log = logging.getLogger("feedd.reader")


class ReaderProcess:
    """Everything of one reader. ``run`` returns when it should end."""

    def __init__(self, plan: ReaderPlan, pipe: Pipe) -> None:
        self.plan = plan
        self.pipe = pipe
        to = Segments.private(plan) if plan.standby else Segments.shared(plan, fresh=True)
        self._ring = to.ring
        self.counts = ReaderCounts(to.counters, plan.reader)
        self.tap = Tap(plan.directory, plan.reader) if plan.capture else None
        self.pipeline = make_pipeline(
            self.tap, to.ring, to.board, to.books, to.counters, plan.reader
        )
        self.pipeline.set_quarantine(RESYNCS_MAX, RESYNCS_WINDOW_S)
        self._snapshots = SnapshotDesk()
        self._resubscribed = StreamDesk()
        self._limit = RateLimit()
        self._stop = asyncio.Event()
        self._handles: dict[str, int] = {}
        self._names: list[str] = []
        self.lines = Lines(self, plan)
        self._ticks = 0
        self._warm_at = 0
        self._taking_over = False
        self._spin: BusyPoll | None = None
        self._handover: asyncio.Task[None] | None = None
        self._collected_at = monotonic_ns()
        self._symbols: dict[int, tuple[int, str]] = {}
        unnumbered = self._build()
        self._standby: Standby | None = None
        if plan.standby:
            self._standby = Standby(plan, to, self.pipeline, self.lines, self._symbols, unnumbered)

    def _build(self) -> frozenset[int]:
        """Returns ids of instruments whose sequence numbers are those of a connection."""
        unnumbered: set[int] = set()
        for part in self.plan.venues:
            venue = venues.load(part.name)
            handle = self.pipeline.add_venue(compile_plan(venue))
            self.pipeline.set_agree(handle, part.agree_ms * 1_000_000)
            if venue.decode.connection_sequence is not None:
                unnumbered |= {item.id for item in part.instruments}
            self._handles[part.name] = handle
            self._names.append(part.name)
            for item in part.instruments:
                self._add(handle, item)
            self.lines.add_venue(part, venue, handle)
        return frozenset(unnumbered)

    def _add(self, handle: int, item: Instrument) -> None:
        self.pipeline.add_instrument(handle, item.symbol, item.id, item.row, item.depth)
        self._symbols[item.id] = handle, item.symbol

    # -- life ----------------------------------------------------------------------------------

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        if self._standby is None:
            self._announce(Event.READER_START)
            self._ready()
        self.lines.start()
        receiver = loop.create_task(self._receive())
        ticker = loop.create_task(self._tick_forever())
        if self._standby is None:
            self._own_core()
        freeze_garbage()
        stopped = loop.create_task(self._wait_stop())
        done, _ = await asyncio.wait(
            {receiver, ticker, stopped}, return_when=asyncio.FIRST_COMPLETED
        )
        signal.alarm(LAST_RESORT_S)  # whatever hangs from here on, the process ends
        if self._spin is not None:
            self._spin.stop()
        self.lines.stop()
        deadline = monotonic_ns() + int(STOP_S * SECOND_NS)
        while monotonic_ns() < deadline and any(c.closing for c in self.lines.connections()):
            await asyncio.sleep(0.01)
        for task in (receiver, ticker, stopped):
            task.cancel()
        self._finish()
        for task in done:
            if task is ticker:
                task.result()  # it never ends on its own: this is its error

    def _own_core(self) -> None:
        """As long as another process of this reader runs, the core is that one's."""
        if self.plan.core is not None:
            os.sched_setaffinity(0, {self.plan.core})
        if self.plan.busy_poll:
            self._spin = BusyPoll(asyncio.get_running_loop())

    def _ready(self) -> None:
        self._ring.heartbeat(monotonic_ns())  # from "ready" on it is watched
        self.pipe.send({"op": "ready", "pid": os.getpid(), "epoch": self._ring.epoch})

    async def _wait_stop(self) -> None:
        await self._stop.wait()

    def _finish(self) -> None:
        self._count()
        if self._standby is not None:
            return
        self._announce(Event.READER_STOP)
        self.pipeline.flush()
        self._ring.mark_closed()

    # -- one process after another -----------------------------------------------------------------

    def _hand_over(self) -> None:
        """Another process is warm: end here and now, between two messages."""
        self.lines.cut()
        self.pipeline.commit()
        self._count()
        self._ring.heartbeat(monotonic_ns() + HANDOVER_NS)
        log.info("handed over")
        os._exit(0)  # whatever would be tidied up must not publish any more

    def _look_warm(self, now: int) -> None:
        standby = self._standby
        if standby is None or self._taking_over or now < self._warm_at:
            return
        self._warm_at = now + WARM_EVERY_NS
        self.pipe.send({"op": "warm", "warm": standby.warm(now), "missing": standby.missing})

    async def _take_over(self, *, orderly: bool) -> None:
        """The process before this one has ended: go on behind its last record."""
        standby = self._standby
        if standby is None:
            return
        self._taking_over = True
        try:
            await self._go_on(standby, orderly=orderly)
        except Exception:
            log.exception("cannot take over: a process that starts from nothing has to")
            self._stop.set()

    async def _go_on(self, standby: Standby, *, orderly: bool) -> None:
        standby.begin()
        while (found := standby.new_records()) is None:
            await asyncio.sleep(BEHIND_EVERY_S)
        records, broken = found
        to = Segments.shared(self.plan, carry_on=orderly)
        to.ring.put(records)
        to.ring.commit(now_ns())
        self.pipeline.take_over(to.ring, to.board, to.books, to.counters, self.plan.reader)
        self._ring = to.ring
        self.counts = ReaderCounts(to.counters, self.plan.reader)
        self._standby = None
        self._ready()
        self._own_core()
        self._count()
        standby.close()
        log.info("took over: %d records were on the way", len(records))
        for instrument in broken:
            self.pipeline.resync(*self._symbols[instrument], now_ns(), "handed over")
        self.pipeline.commit()

    def close(self) -> None:
        """Give locks and mappings back."""
        self.counts.close()
        if self.tap is not None:
            self.tap.close()
        self._ring.close()
        self.pipe.close()

    def _announce(self, event: Event) -> None:
        self.pipeline.status(int(event), now_ns(), scope=int(Scope.READER))
        self.pipeline.commit()

    # -- time ----------------------------------------------------------------------------------

    async def _tick_forever(self) -> None:
        while True:
            for _ in self._tick(monotonic_ns()):
                await asyncio.sleep(0)  # whatever has come meanwhile is read first
            await asyncio.sleep(TICK_S)

    def _tick(self, now: int) -> Iterator[None]:
        """In steps, because a message that comes during one waits for its end."""
        self._ring.heartbeat(now)
        yield from self.lines.tick(now)
        self._look_warm(now)
        self._ask_again(now)
        yield
        self._tell_states()
        self._report_bad_frames(now)
        self._report_alarms(now)
        self.pipeline.tick()
        self.pipeline.commit()
        yield
        self._ticks += 1
        yield from self.lines.count_in_turn(self._ticks % COUNT_TURNS, COUNT_TURNS)
        if self._ticks % COUNT_TURNS == 0:
            self._count_reader()
        if now - self._collected_at > GC_EVERY_NS:
            self._collected_at = now
            yield
            gc.collect(1)

    def _ask_again(self, now: int) -> None:
        """What waits for an answer for too long is asked for once more, then what is new."""
        for venue, symbol in self._snapshots.due(now):
            self.pipeline.request_again(venue, symbol)
        for venue, symbol, channel in self._resubscribed.due(now, self._waits):
            if self._limit.allow("resubscribe", now):
                log.warning(
                    "%s %s: no snapshot %.0f s after the resubscription of %s: once more",
                    self._names[venue],
                    symbol,
                    STREAM_WAIT_S,
                    channel,
                )
            self._resubscribe(venue, symbol, channel, now)
        for request in self.pipeline.take_requests():
            self._request(request, now)

    def _count(self) -> None:
        self.lines.count()
        self._count_reader()

    def _count_reader(self) -> None:
        """The counters that are not of one line."""
        flush_suppressed()
        self.counts.set("streams_subscribed", self.lines.active)
        self.counts.set("streams_stale", self.lines.stale)
        if self.tap is not None:
            self.counts.set("captured", self.tap.raw.entries)
            self.counts.set("capture_dropped", self.tap.raw.dropped)

    def _tell_states(self) -> None:
        """What venues said of instruments, subscribed or not, is for the supervisor's table."""
        said: dict[int, list[tuple[str, int, str, bool]]] = {}
        for venue, symbol, status, word, facts_changed in self.pipeline.take_states():
            said.setdefault(venue, []).append((symbol, status, word, facts_changed))
        for venue, states in said.items():
            self.pipe.send({"op": "states", "venue": self._names[venue], "states": states})

    def _report_bad_frames(self, now: int) -> None:
        for bad in self.pipeline.take_bad_frames():
            if self._limit.allow(f"bad {bad.venue}", now):
                shown = bad.sample.decode("utf-8", "backslashreplace")
                log.warning(
                    "%s line %d: bad frame (%s): %r",
                    self._names[bad.venue],
                    bad.line,
                    bad.reason,
                    shown,
                )

    def _report_alarms(self, now: int) -> None:
        """Fields and checksum rules of whole channels that are not what they were."""
        for alarm in self.pipeline.take_alarms():
            if self._limit.allow(f"alarm {alarm.venue} {alarm.channel} {alarm.field}", now):
                log.error(
                    "%s: channel %s, %s: %s: %r",
                    self._names[alarm.venue],
                    alarm.channel,
                    alarm.field,
                    alarm.what,
                    alarm.sample.decode("utf-8", "backslashreplace"),
                )

    # -- requests to the supervisor --------------------------------------------------------------

    def ask_permit(self, connection: Connection) -> None:
        wanted = {"op": "permit", "venue": connection.venue.name, "line": connection.number}
        if connection.wants_token:
            wanted["token"] = True
        self.pipe.send(wanted)

    def stay_away(self, connection: Connection, seconds: float) -> None:
        """The venue wants no connection from this address for a while, whoever's it is."""
        name = connection.venue.name
        self.pipe.send({"op": "stay_away", "venue": name, "seconds": seconds})

    def replace(self, connection: Connection, reason: str) -> None:
        self.lines.replace(connection, reason)

    def _request(self, request: Request, now: int) -> None:
        name = self._names[request.venue]
        if request.kind == "snapshot":
            if self._snapshots.want(request.venue, request.symbol, now):
                self.counts.add("rest_requests")
                self.pipe.send(
                    {
                        "op": "snapshot",
                        "venue": name,
                        "symbol": request.symbol,
                        "channel": request.channel,
                    }
                )
        elif request.kind == "resubscribe":
            self._resubscribe(request.venue, request.symbol, request.channel, now)
        elif request.kind == "realign":
            # the book goes on over another line meanwhile
            self.lines.resubscribe(request.venue, request.symbol, request.channel, request.line)
        elif request.kind == "reconnect":
            reason = "the pipeline lost track of it"
            self.lines.reconnect(
                request.venue, request.symbol, request.channel, request.line, reason
            )
        elif request.kind == "unknown":
            self.pipe.send({"op": "unknown", "venue": name, "symbol": request.symbol})

    def _resubscribe(self, venue: int, symbol: str, channel: str, now: int) -> None:
        if self.lines.resubscribe(venue, symbol, channel):
            self._resubscribed.asked(venue, symbol, channel, now)

    def _waits(self, venue: int, symbol: str) -> bool:
        return self.pipeline.book_state(venue, symbol)[0] != BookState.LIVE

    # -- answers -------------------------------------------------------------------------------

    async def _receive(self) -> None:
        while True:
            received = await self.pipe.receive()
            if received is None:
                log.warning("the supervisor is gone: stopping")
                return
            message, body = received
            try:
                self._on_message(message, body)
            except (KeyError, ValueError, TypeError) as exc:
                log.error("cannot use %r from the supervisor: %r", message.get("op"), exc)

    def _on_message(self, message: dict[str, Any], body: bytes) -> None:
        op = message["op"]
        if op == "permit":
            self.lines.permit(message["line"], message.get("token", ""), message.get("refused", ""))
        elif op == "snapshot":
            self._on_snapshot(message, body)
        elif op == "instrument":
            item = Instrument(message["symbol"], message["id"], message["row"], message["depth"])
            self._add(self._handles[message["venue"]], item)
        elif op == "resync":
            now = now_ns()
            self.pipeline.resync(self._handles[message["venue"]], message["symbol"], now)
            self.pipeline.commit()
        elif op == "hand_over":
            self._hand_over()
        elif op == "take_over":
            self._handover = asyncio.get_running_loop().create_task(
                self._take_over(orderly=message["orderly"])
            )
        elif op == "rotate":
            self.lines.rotate(message["line"], "an operator asked for it")
        elif op == "change":
            self._on_change(msgspec.convert(message["change"], PlanChange))
        elif op == "log":
            setup_logging(message["level"], message["format"], self.plan.reader)
        elif op == "stop":
            self._stop.set()

    def _on_change(self, change: PlanChange) -> None:
        """Instruments come and go; whoever stays notices nothing."""
        handle = self._handles[change.venue]
        self.lines.change(change)
        for symbol in change.gone:
            self.pipeline.drop_instrument(handle, symbol, now_ns())
        for item in change.instruments:
            self._add(handle, item)

    def _on_snapshot(self, message: dict[str, Any], body: bytes) -> None:
        handle, symbol, now = self._handles[message["venue"]], message["symbol"], monotonic_ns()
        if message["status"] != 200:
            self.counts.add("rest_failures")
            answer = f"HTTP {message['status']}" if message["status"] else message["error"]
        else:
            if self.tap is not None:
                self.tap.url = message.get("url", "")
            answer = self.pipeline.on_rest_snapshot(handle, symbol, body, message["received_ns"])
            self.pipeline.commit()
        useful = answer in ("joined", "not_needed")
        self._snapshots.answered(handle, symbol, useful, now)
        if not useful and self._limit.allow("snapshot", now):
            log.info("snapshot of %s %s: %s, asking again", message["venue"], symbol, answer)


class BusyPoll:
    """Keeps the loop from sleeping in epoll: something is always ready to run."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._on = True
        self._again()

    def _again(self) -> None:
        if self._on:
            self._loop.call_soon(self._again)

    def stop(self) -> None:
        self._on = False


def freeze_garbage() -> None:
    """What is built lives to the end; collections at our own pace look at the rest only."""
    gc.collect()
    gc.freeze()
    gc.disable()


async def _main(sock: socket.socket) -> None:
    pipe = await Pipe.over(sock)
    received = await pipe.receive()
    if received is None:
        return
    plan = msgspec.convert(received[0]["plan"], ReaderPlan)
    setup_logging(plan.log_level, plan.log_format, plan.reader)
    if plan.core is not None and not plan.standby:  # before memory is touched
        os.sched_setaffinity(0, {plan.core})
    try:
        process = ReaderProcess(plan, pipe)
        try:
            await process.run()
        finally:
            process.close()
    except FeeddError as exc:
        log.error("reader %d cannot start: %s", plan.reader, exc)
        with contextlib.suppress(Exception):
            pipe.send({"op": "failed", "error": str(exc)})
            await asyncio.sleep(0.05)
        raise


def main(arguments: list[str] | None = None) -> int:
    """``python -m feedd.reader FD PARENT``: only the supervisor starts it."""
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) != 2 or not all(word.isdigit() for word in given):
        sys.stderr.write("feedd.reader is started by `feedd run`, not by hand\n")
        return 64
    die_with_parent(int(given[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sock = socket.socket(fileno=int(given[0]))
    try:
        uvloop.run(_main(sock))
    except FeeddError as exc:
        return exc.exit_code
    return 0
