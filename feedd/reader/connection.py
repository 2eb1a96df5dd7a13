"""One planned connection: carries out what its session decides, tells it what happened."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

import picows

from feedd.clock import SECOND_NS, monotonic_ns, now_ns
from feedd.decode.assembler import Assembler
from feedd.logs import RateLimit
from feedd.pipeline.core import Pipeline
from feedd.reader.connect import ConnectError, open_line
from feedd.reader.counts import ReaderCounts
from feedd.reader.feed import PipelineSink
from feedd.reader.ladder import Look, Rung, Step
from feedd.reader.line import Line
from feedd.reader.plan import Line as LinePlan
from feedd.reader.plan import Stream
from feedd.reader.session import Action, Activity, Do, LineSession, State
from feedd.reader.signing import Signer
from feedd.reader.tap import Tap
from feedd.reader.topics import TopicState
from feedd.records import Event, Scope
from feedd.shm.connections import CONNECTION_FIELDS, LINE_STATES, venue_code
from feedd.venues.schema import Book, Venue
from feedd.venues.templates import holes

__all__ = ["Connection", "Host"]

NEVER_NS = 1 << 62
NORMAL_CLOSE = 1000
NO_TOKEN_PAUSE_S = 30.0
"""The same keys again at once would be refused again."""
HEARD_PER_TICK = 10
"""A channel that nobody named must not cost time."""
CALM_NS = SECOND_NS // 5
"""How often a connection is looked at that has all it asked for: whatever can become due there is
measured in seconds, and a look costs messages their time."""
CALM_STEPS = 4

log = logging.getLogger("feedd.reader")


class Host(Protocol):
    """What a connection needs from its process."""

    pipeline: Pipeline
    counts: ReaderCounts
    tap: Tap | None

    def ask_permit(self, connection: Connection) -> None: ...

    def stay_away(self, connection: Connection, seconds: float) -> None: ...

    def replace(self, connection: Connection, reason: str) -> None: ...


class Connection:
    """One line of one venue; runs in the reader's event loop."""

    def __init__(
        self,
        host: Host,
        venue: Venue,
        handle: int,
        plan: LinePlan,
        context: ssl.SSLContext | None,
        signer: Signer | None = None,
    ) -> None:
        self.host = host
        self.venue = venue
        self.handle = handle
        self.plan = plan
        self.streams = {stream.topic: stream for stream in plan.streams}
        self._promised: list[tuple[Stream, int, tuple[int, ...]]] | None = None
        self.token = ""
        """What the venue wants in the subscriptions of this connection; comes with the permit."""
        self.wants_token = False
        self._refused = ""
        auth = venue.session.auth
        if auth is not None and auth.token is not None:
            self.wants_token = signer is not None and plan.endpoint in auth.token.endpoints
            signer = self._with_token if self.wants_token else None
        self.session = LineSession(
            venue.session,
            [stream.wanted for stream in plan.streams],
            rng=random.Random(),
            quiet=plan.quiet,
            signer=signer,
        )
        endpoints = {endpoint.name: endpoint for endpoint in venue.session.endpoints}
        self._endpoint = endpoints.get(plan.endpoint)
        self._venue_hash = venue_code(venue.name)
        self._texts = frozenset(t.encode() for t in venue.session.heartbeat.control_texts)
        self._context = context
        self._limit = RateLimit()
        self._heard = 0
        self._calm_until = 0
        self._seen_before: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None
        self._line: Line | None = None
        self._assembler = Assembler(venue.session.limits.message_bytes_max)
        raw = None if host.tap is None else host.tap.carries(handle, plan.number)
        self._logs_in = signer is not None
        self._sink = PipelineSink(host.pipeline, handle, plan.number, raw)
        self._base = dict.fromkeys(
            (
                "frames",
                "received_bytes",
                "data",
                "control",
                "bad",
                "pongs_sent",
                "violations",
                "late",
            ),
            0,
        )
        self._inherited: dict[str, int] = {}
        self._sums: dict[str, int] = {}
        self._told = dict.fromkeys(
            (
                "connects",
                "disconnects",
                "connect_failures",
                "subscribe_errors",
                "pings_sent",
                "pings_received",
                "assembler_errors",
            ),
            0,
        )

    @property
    def number(self) -> int:
        return self.plan.number

    @property
    def row(self) -> int:
        """Its row of the counters."""
        return self.number if self.plan.row is None else self.plan.row

    @property
    def name(self) -> str:
        return f"{self.venue.name} line {self.plan.number} ({self.plan.endpoint})"

    # -- what the owner calls ------------------------------------------------------------------

    def start(self, delay_s: float = 0.0) -> None:
        self._do(self.session.start(monotonic_ns(), delay_s))

    def permit(self, token: str = "", refused: str = "") -> None:
        """One attempt is allowed. Without the token that it needs there is none: ``refused`` says
        why."""
        self.token, self._refused = token, refused
        self._do(self.session.permit(monotonic_ns()))

    def _with_token(self, _: int) -> Mapping[str, str]:
        return {"token": self.token}

    def resubscribe_stream(self, channel: str, symbol: str) -> None:
        """Start the stream of one channel of one instrument anew."""
        for stream in self.streams.values():
            if self.venue.decoded(stream.channel) == channel and stream.symbol == symbol:
                self._do(self.session.resubscribe(monotonic_ns(), [stream.topic]))

    def change(self, add: Iterable[Stream], drop: Iterable[str]) -> None:
        """Streams come and go; the others are left alone."""
        drop = [topic for topic in drop if self.streams.pop(topic, None) is not None]
        new = [stream for stream in add if stream.topic not in self.streams]
        self.streams |= {stream.topic: stream for stream in new}
        self._promised = None
        self._calm_until = 0
        wanted = [stream.wanted for stream in new]
        quiet = self.venue.session.health.quiet_channels
        self.session.quiet = all(stream.channel in quiet for stream in self.streams.values())
        self._do(self.session.change(monotonic_ns(), add=wanted, drop=drop))
        self._note_seen({stream.topic for stream in new})

    def leave(self, reason: str) -> None:
        """Give this connection up and come back with a new one."""
        self._do(self.session.leave(monotonic_ns(), reason))

    def rotate(self, reason: str) -> None:
        """Close in order and open again, when the connection is up."""
        self._do(self.session.rotate(monotonic_ns(), reason))

    def tick(self, now: int) -> None:
        line = self._line
        self._heard = 0
        if line is not None:
            line.tick()
            if now < self._calm_until:
                return
            self._do(self.session.tick(now, Activity(*line.activity)))
            if self.complete:
                # the first time is shorter for some, so that connections take turns
                early = 0 if self._calm_until else self.number % CALM_STEPS
                self._calm_until = now + CALM_NS - early * CALM_NS // CALM_STEPS
            else:
                self._calm_until = 0
        else:
            self._do(self.session.tick(now, Activity()))

    def stop(self) -> None:
        self._do(self.session.stop(monotonic_ns()))
        if self._task is not None and self._line is None:
            self._task.cancel()

    def cut(self) -> None:
        """End before this call returns: the process does not live to see an answer."""
        if self._line is not None:
            self._line.close(NORMAL_CLOSE)

    # -- what the line calls -------------------------------------------------------------------

    def on_control(self, line: Line, data: bytes) -> None:
        if self.host.tap is not None and data in self._texts:  # the sink never saw it
            self.host.tap.received(self.handle, self.number, data)
        if line is self._line:
            self._do(self.session.control(monotonic_ns(), data))

    def on_ignored(self, line: Line, data: bytes) -> None:
        """No message of a channel that the venue file names; it may still be an answer."""
        if line is self._line and self._heard < HEARD_PER_TICK:
            self._heard += 1
            self._do(self.session.overheard(monotonic_ns(), data))

    def on_end(self, line: Line) -> None:
        """The task that waits for the end reports it, with the reason that picows knows."""

    def on_pause(self, line: Line) -> None:
        self._say(logging.WARNING, "the venue does not read what we send: leaving")
        line.abort()

    # -- carrying out --------------------------------------------------------------------------

    def _do(self, actions: list[Action]) -> None:
        if actions:
            self._calm_until = 0
        for action in actions:
            self._carry_out(action)

    def _carry_out(self, action: Action) -> None:
        line, do = self._line, action.do
        if do is Do.PERMIT:
            self.host.ask_permit(self)
        elif do is Do.CONNECT:
            self._task = asyncio.get_running_loop().create_task(self._run())
        elif do is Do.SEND and line is not None:
            line.send(action.data)
            if self.host.tap is not None:
                secret = self._logs_in
                self.host.tap.sent(self.handle, self.number, action.data, secret=secret)
        elif do is Do.PING and line is not None:
            line.ping(action.data)
        elif do is Do.CLOSE and line is not None:
            self._say(logging.INFO, f"closing: {action.text}")
            line.close(action.code)
        elif do is Do.ABORT and line is not None:
            self._say(logging.WARNING, f"cutting the connection: {action.text}")
            line.abort()
        elif do is Do.REPLACE:
            self._say(logging.INFO, f"to be replaced: {action.text}")
            self.host.replace(self, action.text)
        elif do is Do.LINE_UP:
            self._note_seen(self.streams)
            self._say(logging.INFO, "connected")
            self._status(Event.LINE_UP, self.plan.endpoint)
        elif do is Do.LINE_DOWN:
            asked = self.session.state is State.STOPPED
            self._say(logging.INFO if asked else logging.WARNING, f"down: {action.text}")
            at = now_ns()
            self.host.pipeline.line_down(self.handle, self.plan.number, at)
            self._status(Event.LINE_DOWN, action.text)
        elif do is Do.STALE:
            self._status(Event.STALE, action.text)
        elif do is Do.DISTRUST:
            self.host.pipeline.line_down(self.handle, self.plan.number, now_ns(), action.text[:40])
            self._status(Event.STALE, action.text)
        elif do is Do.SUBSCRIBED:
            self._subscribed(action.topic)
        elif do is Do.SUBSCRIBE_FAILED:
            # each has its own line: only the log itself may leave some out, and say how many
            log.error("%s: not subscribed: %s: %s", self.name, action.topic, action.text)
            self._status(Event.SUBSCRIBE_ERROR, action.topic)
        elif do is Do.NOTICE:
            self._say(logging.WARNING, action.text)

    def _subscribed(self, topic: str) -> None:
        """Another line of a live book: its next delta shows whether something is missing, so that
        the book need not wait for one to outlive the line that feeds it. Or what comes is
        remembered from here on, so that its snapshot finds its place."""
        stream = self.streams.get(topic)
        book = None if stream is None else self._book_of(stream)
        if (
            stream is not None
            and book is not None
            and (book.rest is not None or book.policy == "keyed_rows")
        ):
            self.host.pipeline.line_carries(self.handle, self.number, stream.symbol)

    def _status(self, event: Event, text: str) -> None:
        clipped = text.encode()[:40].decode("utf-8", "ignore")
        self.host.pipeline.status(
            int(event), now_ns(), scope=int(Scope.CONNECTION), line=self.plan.number, text=clipped
        )
        self.host.pipeline.commit()

    def _say(self, level: int, text: str) -> None:
        if self._limit.allow(text[:24], monotonic_ns()):
            log.log(level, "%s: %s", self.name, text)

    # -- one connection ------------------------------------------------------------------------

    async def _run(self) -> None:
        limits = self.venue.session.limits
        pongs_max = max(1, limits.messages_reserved - 1)

        def make() -> Line:
            return Line(self._sink, self, self._assembler, pongs_max, self._texts)

        # before the first frame: counters and channel numbers belong to one connection
        self.host.pipeline.line_forget(self.number)
        self.host.pipeline.line_row(self.number, self.row)
        if self.wants_token and not self.token:
            reason = self._refused or "no token came with the permit"
            self._do(self.session.connect_failed(monotonic_ns(), reason, NO_TOKEN_PAUSE_S))
            return
        url = self.plan.url
        headers: Mapping[str, str] = {}
        named: tuple[str, ...] = ()
        if self._endpoint is not None:
            headers = self._endpoint.headers
            tail, named = self.session.subscriptions.addressed(monotonic_ns(), self._endpoint)
            url += tail
        try:
            transport, line = await open_line(
                url, make, self._context, limits.message_bytes_max, headers
            )
        except ConnectError as exc:
            if exc.banned_s:
                self.host.stay_away(self, exc.banned_s)
            self._do(self.session.connect_failed(monotonic_ns(), str(exc), exc.retry_after_s))
            return
        self._line = line
        self._do(self.session.connected(monotonic_ns(), named))
        reason = ""
        try:
            await transport.wait_disconnected()
        except picows.WSProtocolError as exc:
            reason = f"protocol error: {exc}"
        except Exception as exc:  # whatever ended it, the session must hear of it
            reason = f"{type(exc).__name__}: {exc}"
        if line.violations:
            reason = f"protocol error: {line.violation or 'a frame after a violation'}"
        elif not reason and line.close_code:
            reason = f"closed by the venue: code {line.close_code}"
        self._line = None
        self._keep(line)
        self._do(self.session.disconnected(monotonic_ns(), reason or "connection lost"))

    def _keep(self, line: Line) -> None:
        for name in self._base:
            self._base[name] += getattr(line, name)

    # -- counters ------------------------------------------------------------------------------

    def count(self, *, row: bool) -> None:
        """Add what is new to the reader's counters; with ``row`` write this connection's slots."""
        line, session = self._line, self.session
        totals = {
            name: value + (getattr(line, name) if line is not None else 0)
            for name, value in self._base.items()
        }
        counts, subscriptions = session.counts, session.subscriptions
        now = {
            "connects": counts.connects,
            "disconnects": counts.disconnects,
            "connect_failures": counts.connect_failures,
            "subscribe_errors": counts.subscribe_errors,
            "pings_sent": counts.pings_sent,
            "pings_received": counts.heartbeats_answered + totals["pongs_sent"],
            "assembler_errors": totals["violations"],
        }
        for name, value in now.items():
            if value != self._told[name]:
                self.host.counts.add(name, value - self._told[name])
        self._told = now
        sums = {
            "connects": counts.connects,
            "disconnects": counts.disconnects,
            "connect_failures": counts.connect_failures,
            "frames": totals["frames"],
            "bytes": totals["received_bytes"],
            "data": totals["data"],
            "control": totals["control"],
            "bad": totals["bad"],
            "pings_sent": counts.pings_sent,
            "pings_answered": now["pings_received"],
            "violations": totals["violations"],
            "late": totals["late"],
            "rotations": counts.rotations,
        }
        self._sums = {name: value + self._inherited.get(name, 0) for name, value in sums.items()}
        if not row:
            return
        values = self._sums | {
            "used": 1,
            "state": LINE_STATES.index(session.state),
            "topics": len(subscriptions.topics),
            "topics_active": subscriptions.count(TopicState.ACTIVE),
            "topics_failed": subscriptions.count(TopicState.FAILED),
            "last_recv_ns": line.last_recv_ns if line is not None else 0,
            "last_data_ns": line.last_data_ns if line is not None else 0,
            "copy": self.plan.copy,
            "number": self.number,
            "venue": self._venue_hash,
        }
        self.host.counts.connection(self.row, tuple(values[field] for field in CONNECTION_FIELDS))

    # -- streams that say too little -----------------------------------------------------------

    def looks(self) -> list[Look]:
        """Every stream that the venue promises to hear from, as it is now."""
        if self._promised is None:
            self._promised = self._promises()
        topics, pipeline = self.session.subscriptions.topics, self.host.pipeline
        first_ns = int(self.venue.session.health.first_message_s * SECOND_NS)
        found = []
        for stream, limit_ns, numbers in self._promised:
            topic = topics.get(stream.topic)
            if topic is None:
                continue
            seen = pipeline.seen_at(self.handle, stream.symbol, numbers)
            heard = seen not in (0, self._seen_before.get(stream.topic, 0))
            limit_ns = limit_ns or (NEVER_NS if heard else first_ns)
            active = self.up and topic.state is TopicState.ACTIVE
            found.append(Look(stream.topic, limit_ns, seen, active))
        return found

    def _note_seen(self, topics: Collection[str]) -> None:
        """What was heard of streams before they begin here proves nothing. A later message is told
        by its difference, not by its time: the clock may be set back."""
        if topics:
            before = {look.topic: look.seen for look in self.looks() if look.topic in topics}
            self._seen_before |= before

    def _promises(self) -> list[tuple[Stream, int, tuple[int, ...]]]:
        """Streams of one instrument alone: of a shared one it is not known who should speak.
        Limit 0: only the first message is promised."""
        channels, limits = self.venue.channels, self.venue.session.health.stream_age_max_s
        found = []
        for stream in self.streams.values():
            own = {"symbol", "symbol_lower"} & set(holes(channels[stream.channel].subscribe))
            book = self._book_of(stream)
            snapshot = book is not None and book.rest is None
            if not own or (stream.channel not in limits and not snapshot):
                continue
            names = [
                name
                for name, channel in channels.items()
                if self.venue.decoded(stream.channel) in (name, channel.same_stream_as)
            ]
            numbers = self.host.pipeline.channel_numbers(self.handle, names)
            if numbers:
                limit_ns = int(limits.get(stream.channel, 0.0) * SECOND_NS)
                found.append((stream, limit_ns, numbers))
        return found

    def _book_of(self, stream: Stream) -> Book | None:
        return self.venue.channels[self.venue.decoded(stream.channel)].book

    def climb(self, step: Step) -> None:
        """A stream took a step on the ladder."""
        if step.rung is Rung.FRESH:
            self._say(logging.INFO, f"data again after {step.age_s:.0f} s: {step.topic}")
            return
        silent = f"nothing for {step.age_s:.0f} s from {step.topic}"
        if step.rung is Rung.PROBED:
            self._say(logging.WARNING, f"{silent}: is the other side alive?")
            self._status(Event.STALE, step.topic)
            self._mark_stale(step)
            self.session.probe()
        elif step.rung is Rung.RESUBSCRIBED:
            self._say(logging.WARNING, f"{silent}: subscribing again")
            self._do(self.session.resubscribe(monotonic_ns(), [step.topic]))
        elif step.rung is Rung.ROTATED:
            self.rotate(silent)
        else:
            self._say(logging.ERROR, f"{silent}, whatever was done")
            self.host.counts.add("stale_alarms")
            self._status(Event.STALE, step.topic)

    def _mark_stale(self, step: Step) -> None:
        """A book that nothing is heard of is not shown as live."""
        stream = self.streams.get(step.topic)
        if stream is None or self._book_of(stream) is None:
            return
        pipeline, age_ns = self.host.pipeline, int(step.age_s * SECOND_NS)
        with contextlib.suppress(KeyError):  # it never said a word
            pipeline.mark_stale(self.handle, stream.symbol, now_ns(), age_ns)
            pipeline.commit()

    # -- one after the other -------------------------------------------------------------------

    def inherit(self, old: Connection) -> None:
        """Go on where the connection before this one stopped counting."""
        old.count(row=False)
        self._inherited = {**old._sums, "rotations": old._sums["rotations"] + 1}

    def hand_over(self, new: Connection) -> None:
        """``new`` carries everything: its books stay, this connection ends."""
        if self.up and new.complete:
            self.host.pipeline.line_moved(self.handle, self.number, new.number, now_ns())
        self._do(self.session.retire(monotonic_ns(), f"replaced by line {new.number}"))
        if self._task is not None and self._line is None:
            self._task.cancel()

    def lacks(self, old: Connection) -> bool:
        """The venue refuses a stream here that it sends to ``old``."""
        mine, theirs = self.session.subscriptions.topics, old.session.subscriptions.topics
        refused = (name for name, topic in mine.items() if topic.state is TopicState.FAILED)
        return any(name in theirs and theirs[name].state is TopicState.ACTIVE for name in refused)

    def joined(self, old: Connection) -> bool:
        """Every book that ``old`` feeds was heard of here too."""
        pipeline = self.host.pipeline
        return all(
            pipeline.carried(self.handle, stream.symbol, self.number)
            or not pipeline.carried(self.handle, stream.symbol, old.number)
            for stream in self.streams.values()
            if self._book_of(stream) is not None
        )

    @property
    def up(self) -> bool:
        return self.session.state is State.UP

    @property
    def complete(self) -> bool:
        """Up, and every stream is there or given up."""
        return self.up and self.session.subscriptions.settled

    @property
    def closing(self) -> bool:
        """Still connected, or on the way there."""
        return self._line is not None or (self._task is not None and not self._task.done())

    @property
    def finished(self) -> bool:
        """Ended for good."""
        return self.session.state is State.STOPPED and not self.closing
