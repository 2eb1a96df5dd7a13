"""Streams, who is subscribed to them, and the way of a message to each subscriber."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from feedd.clock import monotonic_ns, now_ns
from feedd.sim.faults import Faults
from feedd.sim.journal import Journal

if TYPE_CHECKING:
    from feedd.sim.connection import Connection


SETTLED_NS = 250_000_000
UNKNOWN = "?"
"""Stands for the events of a message whose meaning the simulator does not know."""


class Stream:
    """One channel of one venue. ``count`` numbers its messages, whoever listens."""

    __slots__ = ("attempted", "count", "greet", "instrument", "joined_ns", "name", "subs", "venue")

    def __init__(self, venue: str, name: str, instrument: str) -> None:
        self.venue = venue
        self.name = name
        self.instrument = instrument
        self.count = 0
        self.attempted = 0
        self.joined_ns = 0
        """When the last connection subscribed, monotonic."""
        self.greet: Callable[[], tuple[str, str] | None] | None = None
        """What a new subscriber gets first (body and events), where the venue sends something."""
        self.subs: list[Connection] = []
        """Replaced, never changed in place: a message may be under way over the old list."""


class Hub:
    """All streams and connections of the process."""

    def __init__(self, journal: Journal, faults: Faults) -> None:
        self.journal = journal
        self.faults = faults
        self.streams: dict[tuple[str, str], Stream] = {}
        self.connections: dict[int, Connection] = {}
        self.opened = 0

    def stream(self, venue: str, name: str, instrument: str) -> Stream:
        """The stream of that name, made on first use. ``instrument`` is the venue's symbol."""
        key = (venue, name)
        found = self.streams.get(key)
        if found is None:
            found = self.streams[key] = Stream(venue, name, instrument)
        return found

    def find(self, venue: str, name: str) -> Stream | None:
        """The stream of that name if the venue has it."""
        return self.streams.get((venue, name))

    def publish(self, stream: Stream, body: str, events: str) -> None:
        """Send one message to all subscribers of its stream.

        ``body`` is the venue's message (Binance: the part under ``data``); ``events`` the comma
        separated JSON objects of the journal row, or UNKNOWN for a recorded message.
        """
        for connection in stream.subs:
            self.deliver(connection, stream, body, events)

    def post(self, stream: Stream, make: Callable[[], tuple[str, str]]) -> None:
        """Publish a stream's next message; it is made only if somebody listens."""
        stream.count += 1
        if stream.subs:
            self.publish(stream, *make())

    def greet(self, connection: Connection, name: str) -> None:
        """Send what a new subscriber of a stream gets first, where there is something."""
        stream = self.find(connection.venue, name)
        message = stream.greet() if stream is not None and stream.greet else None
        if stream is not None and message is not None:
            self.deliver(connection, stream, *message, greeting=True)

    def deliver(
        self, connection: Connection, stream: Stream, body: str, events: str, greeting: bool = False
    ) -> None:
        """Send one message of a stream to one connection; a greeting is for it alone."""
        if connection.closing:
            return
        text = connection.frame(stream.name, body)
        if not text:
            return
        stream.attempted += 1
        frame = text.encode()
        events = connection.stamped(events)
        events = "" if events == UNKNOWN else f',"events":[{events}]'
        if greeting:
            events = f',"greeting":true{events}'
        head = f'"venue":"{stream.venue}","conn":{connection.number},"stream":"{stream.name}"'
        head = f'{head},"id":{stream.count},"fault":'
        if self.faults.active or connection.delayed:
            copies = 1 if greeting else len(stream.subs)
            connection.deliver_faulty(stream, frame, head, f"{events}}}\n", copies)
            return
        if self.journal.enabled:
            self.journal.add(f'{{"t":{now_ns()},{head}null{events}}}\n')
        connection.transmit(frame)

    def subscribe(self, connection: Connection, name: str) -> None:
        """Attach a connection to a stream, if there is one of that name."""
        stream = self.find(connection.venue, name)
        if stream is not None and connection not in stream.subs:
            stream.subs = [*stream.subs, connection]
            stream.joined_ns = monotonic_ns()

    def unsubscribe(self, connection: Connection, name: str) -> None:
        """Detach a connection from a stream."""
        stream = self.find(connection.venue, name)
        if stream is not None and connection in stream.subs:
            stream.subs = [other for other in stream.subs if other is not connection]

    def kill_due(self, now_ns: int) -> None:
        """Carry out the ``kill`` faults whose turn it is, as soon as there is a line to cut."""
        for rule in self.faults.kills_due(now_ns):
            candidates = [
                connection.number
                for connection in self.connections.values()
                if not connection.closing
                and rule.selects(connection.venue, "*", "*", connection.number)
                and (not rule.redundant or self._redundant(connection, now_ns))
            ]
            if candidates:
                rule.hits += 1
                self.connections[self.faults.pick(candidates)].close(rule.how, "fault")
            else:
                rule.next_ns = now_ns

    def _redundant(self, connection: Connection, now_ns: int) -> bool:
        """Whether every stream of a connection is also sent to another one.

        For a while already, and read by the client on all of them: what went only to this one must
        have arrived before it is cut, and what the others began with too.
        """
        streams = [self.find(connection.venue, name) for name in connection.subscriptions]
        found = [stream for stream in streams if stream is not None]
        if not found or any(
            len(stream.subs) < 2 or now_ns - stream.joined_ns <= SETTLED_NS for stream in found
        ):
            return False
        joined_ns: dict[Connection, int] = {}
        for stream in found:
            for other in stream.subs:
                joined_ns[other] = max(joined_ns.get(other, 0), stream.joined_ns)
        unread = [other for other, since_ns in joined_ns.items() if not other.probe(since_ns)]
        return not unread

    def register(self, connection: Connection) -> int:
        """Enter a new connection; returns its number."""
        self.opened += 1
        self.connections[self.opened] = connection
        return self.opened

    def drop(self, connection: Connection) -> None:
        """Forget a connection that ended."""
        self.connections.pop(connection.number, None)
        self.silence(connection)

    def silence(self, connection: Connection) -> None:
        """Detach a connection from all its streams."""
        for name in connection.subscriptions:
            self.unsubscribe(connection, name)
