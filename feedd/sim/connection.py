"""What all venues' WebSocket connections share: frames, streams, timers, delays, ways to die."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections import deque
from typing import ClassVar

import orjson
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from feedd.clock import monotonic_ns, now_ns
from feedd.sim.config import SimConfig
from feedd.sim.faults import ACK_STREAM, Rule, altered, corrupted
from feedd.sim.hub import Hub, Stream

MAX_BACKLOG = 64 << 20
MAX_REQUEST = 1 << 20
SECOND = 1_000_000_000
LINGER_NS = SECOND
"""How long a client may take to answer a CLOSE before its socket is closed."""
PROBE = b"feedd-sim-"
"""What a ping begins with that asks how far the client has read."""
PROBE_AGAIN_NS = SECOND
NOTHING_DUE = ',"events":[]}\n'


def json_object(text: bytes | str) -> dict[str, object] | None:
    """The JSON object that a client sent; None where it is none."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


class Connection(WSListener):
    """One client. Subclasses speak a venue's protocol in ``on_text`` and ``on_timer``."""

    notices: ClassVar[frozenset[str]] = frozenset()
    """Events that ``announce`` knows, by the name that the control API takes."""
    silence_s: ClassVar[float] = 0.0
    """The venue closes a client that said nothing (ping frames count) for this long; 0: never."""

    def __init__(self, hub: Hub, config: SimConfig, path: str, venue: str) -> None:
        super().__init__()
        self.hub = hub
        self.config = config
        self.path = path
        self.venue = venue
        self.number = 0
        self.subscriptions: dict[str, None] = {}
        self.closing = False
        self.delayed = False
        self.opened_ns = monotonic_ns()
        self.heard_ns = self.opened_ns
        self.sent_ns = self.opened_ns
        self._transport: WSTransport | None = None
        self._fragments: list[bytes] = []
        self._held: dict[str, tuple[bytes, str, str]] = {}
        self._queue: deque[tuple[int, bytes, str]] = deque()
        self._delay_ns = 0
        self._bytes_per_s = 0.0
        self._free_ns = 0
        self._linger_ns = 0
        silence_s = (config.idle_s or self.silence_s) if self.silence_s else 0.0
        self.silence_ns = int(silence_s * SECOND)
        self._ending: tuple[int, str, str] | None = None
        self._probed_ns = 0
        self.read_ns = 0
        """The client has read all that was sent until then, monotonic; see ``probe``."""

    # -- picows callbacks ------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self.number = self.hub.register(self)
        self.hub.journal.stamped(self.venue, self.number, {"open": self.path})
        self.on_open()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.heard_ns = monotonic_ns()
        kind = frame.msg_type
        if self.closing:
            if kind == WSMsgType.CLOSE:
                transport.disconnect()
        elif kind == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif kind == WSMsgType.PONG:
            payload = frame.get_payload_as_bytes()
            if payload.startswith(PROBE):
                self.read_ns = max(self.read_ns, int(payload[len(PROBE) :]))
            else:
                self.on_pong(payload)
        elif kind == WSMsgType.CLOSE:
            payload = frame.get_payload_as_bytes()[:2]
            transport.send(WSMsgType.CLOSE, payload)
            self._end("client closed")
            transport.disconnect()
        else:
            self._fragments.append(frame.get_payload_as_bytes())
            if sum(map(len, self._fragments)) > MAX_REQUEST:
                self.close("1009", "request too big")
            elif frame.fin:
                text = b"".join(self._fragments)
                self._fragments.clear()
                self.on_text(text)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._end("connection lost")
        self.hub.drop(self)

    # -- for venues ------------------------------------------------------------------------

    def on_open(self) -> None:
        """Called once the handshake is done."""

    def on_text(self, text: bytes) -> None:
        """Called with each message of the client."""

    def on_pong(self, payload: bytes) -> None:
        """Called with each pong of the client."""

    def on_timer(self, now: int) -> None:
        """Called some twenty times a second with the monotonic time in ns."""
        if self.silence_ns and now - self.heard_ns > self.silence_ns:
            self.close("fin", "client silent")

    def frame(self, name: str, body: str) -> str:
        """The frame text of a stream's message on this connection; empty: not for this one."""
        return body

    def stamped(self, events: str) -> str:
        """The journal events of the message just framed, where a connection numbers frames."""
        return events

    def announce(self, event: str) -> None:
        """Tell the client of one of ``notices`` (a shutdown, an upgrade)."""

    def answer(self, text: str) -> None:
        """Send a control message (ack, error, reply): no row of its own in the journal."""
        frame = text.encode()
        if self.hub.faults.active:
            rules = self.hub.faults.firing(self.venue, ACK_STREAM, "", self.number)
            if any(rule.action in ("drop", "mute") for rule in rules):
                return
            for rule in rules:
                if rule.action == "corrupt":
                    frame = corrupted(frame, rule.mode)
                elif rule.action == "slow":
                    self._slow_down(rule)
                elif rule.action == "close":
                    self.close(rule.how, "fault")
                    return
        self._send_or_queue(frame, "")

    def say(self, message: object) -> None:
        """Send a control message as compact JSON."""
        self.answer(json.dumps(message, separators=(",", ":")))

    def join(self, *names: str, greeted: bool = True) -> None:
        """Attach to streams and, where ``greeted``, send what each starts with."""
        if not names or self.closing:
            return
        self.subscriptions.update(dict.fromkeys(names))
        self.note_subscribed(list(names))
        for name in names:
            self.hub.subscribe(self, name)
            if greeted:
                self.hub.greet(self, name)

    def leave(self, *names: str) -> list[str]:
        """Detach from those of these streams that this client has; returns them."""
        had = [name for name in dict.fromkeys(names) if name in self.subscriptions]
        for name in had:
            self.hub.unsubscribe(self, name)
            del self.subscriptions[name]
        if had:
            self.note_unsubscribed(had)
        return had

    def note_subscribed(self, names: list[str]) -> None:
        """Write the journal row of an ack."""
        self.hub.journal.stamped(self.venue, self.number, {"ack": names})

    def note_unsubscribed(self, names: list[str]) -> None:
        """Write the journal row of an unsubscription."""
        self.hub.journal.stamped(self.venue, self.number, {"unsubscribed": names})

    def ping(self, payload: bytes) -> None:
        """Send a protocol ping."""
        if self._transport is not None and not self.closing:
            self._transport.send_ping(payload)

    def probe(self, since_ns: int) -> bool:
        """Whether the client has read all that was sent until ``since_ns``; asks it (a ping) if
        that is not known. What it has not read is lost with the connection when that is cut."""
        if self.read_ns > since_ns:
            return True
        now = monotonic_ns()
        if self._probed_ns <= since_ns or now - self._probed_ns > PROBE_AGAIN_NS:
            self._probed_ns = now
            self.ping(PROBE + b"%d" % now)
        return False

    # -- sending ---------------------------------------------------------------------------

    def transmit(self, frame: bytes) -> None:
        """Put one text frame on the wire."""
        if self._transport is not None and not self.closing:
            self.sent_ns = monotonic_ns()
            self._transport.send(WSMsgType.TEXT, frame)

    def deliver_faulty(
        self, stream: Stream, frame: bytes, head: str, tail: str, copies: int
    ) -> None:
        """Send a stream's message with the faults in force; ``head`` and ``tail`` make its row,
        ``copies`` connections get it."""
        rules = self.hub.faults.firing(
            self.venue, stream.name, stream.instrument, self.number, stream.count, copies
        )
        actions = {rule.action: rule for rule in rules}
        for lost in ("mute", "drop"):
            if lost in actions:
                self._note(f'{head}"{lost}"{tail}')
                return
        if "slow" in actions:
            self._slow_down(actions["slow"])
        if "reorder" in actions and stream.name not in self._held:
            self._held[stream.name] = (frame, f'{head}"reorder"{tail}', stream.name)
            return
        fault = "null"
        if "alter" in actions:
            frame, fault = altered(frame), '"alter"'
        if "corrupt" in actions:
            rule = actions["corrupt"]
            bad = corrupted(frame, rule.mode)
            if rule.beside:
                self._send_or_queue(bad, f'{head}"insert"{NOTHING_DUE}', rule.mode == "binary")
            else:
                frame, fault = bad, '"corrupt"'
                if rule.mode == "binary":
                    self._send_or_queue(frame, f"{head}{fault}{tail}", binary=True)
                    return
        if "fragment" in actions and not self.delayed:
            self._note(f'{head}"fragment"{tail}')
            self._send_fragments(frame)
        else:
            self._send_or_queue(frame, f"{head}{fault}{tail}")
        if "duplicate" in actions:
            self._send_or_queue(frame, f'{head}"duplicate"{NOTHING_DUE}')
        self._release(stream.name)
        if "close" in actions:
            self.close(actions["close"].how, "fault")

    def release_held(self) -> None:
        """Send what a reorder still holds back (the generator stopped, no next will come)."""
        for name in list(self._held):
            self._release(name)

    def _release(self, name: str) -> None:
        held = self._held.pop(name, None)
        if held is not None:
            self._send_or_queue(held[0], held[1])

    def _note(self, row: str) -> None:
        if row and self.hub.journal.enabled:
            self.hub.journal.add(f'{{"t":{now_ns()},{row}')

    def _send_or_queue(self, frame: bytes, row: str, binary: bool = False) -> None:
        if self.delayed and not binary:
            now = monotonic_ns()
            start = max(now + self._delay_ns, self._free_ns)
            cost = int(len(frame) / self._bytes_per_s * SECOND) if self._bytes_per_s else 0
            self._free_ns = start + cost
            self._queue.append((start, frame, row))
            return
        self._note(row)
        if binary and self._transport is not None and not self.closing:
            self._transport.send(WSMsgType.BINARY, frame)
        else:
            self.transmit(frame)

    def _slow_down(self, rule: Rule) -> None:
        self.delayed = True
        self._delay_ns = int(rule.delay_ms * 1_000_000)
        self._bytes_per_s = rule.bytes_per_s

    def speed_up(self) -> None:
        """Add no further delay; what is queued goes out with the next tick."""
        self._delay_ns = 0
        self._bytes_per_s = 0.0
        self._free_ns = 0
        self._queue = deque((0, frame, row) for _, frame, row in self._queue)

    def _send_fragments(self, frame: bytes) -> None:
        if self._transport is None or self.closing:
            return
        third = len(frame) // 3
        self._transport.send(WSMsgType.TEXT, frame[:third], fin=False)
        self._transport.send(WSMsgType.CONTINUATION, frame[third : 2 * third], fin=False)
        self._transport.send(WSMsgType.CONTINUATION, frame[2 * third :], fin=True)

    def tick(self, now: int) -> None:
        """Do what time asks for: delayed frames, a client that does not read, venue timers."""
        while self._queue and self._queue[0][0] <= now:
            _, frame, row = self._queue.popleft()
            self._note(row)
            self.transmit(frame)
        if self.delayed and not (self._queue or self._delay_ns or self._bytes_per_s):
            self.delayed = False
        transport = self._transport
        if transport is None:
            return
        if self.closing:
            if self._linger_ns and now > self._linger_ns:
                transport.disconnect()
            return
        if self.backlog > MAX_BACKLOG:
            self._end("connection_too_slow")
            transport.disconnect(graceful=False)
            return
        if self._ending is not None and now >= self._ending[0]:
            self.close(*self._ending[1:])
            return
        self.on_timer(now)

    @property
    def backlog(self) -> int:
        """Bytes sent that the client has not taken yet."""
        if self._transport is None or self.closing:
            return 0
        return self._transport.underlying_transport.get_write_buffer_size()

    @property
    def pending(self) -> int:
        """Frames a slow fault still holds."""
        return len(self._queue)

    # -- ending ----------------------------------------------------------------------------

    @property
    def doomed(self) -> bool:
        """Whether ``close_soon`` was called."""
        return self._ending is not None

    def close_soon(self, how: str, reason: str, wait_s: float) -> None:
        """``close`` after ``wait_s`` seconds."""
        self._ending = (monotonic_ns() + int(wait_s * SECOND), how, reason)

    def close(self, how: str, reason: str = "") -> None:
        """End the connection: ``fin``, ``rst``, ``half`` or a close code with ``reason``."""
        transport = self._transport
        if transport is None or self.closing:
            return
        self._end(f"{how} {reason}".strip())
        if how == "rst":
            with self._socket(transport) as raw:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.disconnect(graceful=False)
        elif how == "half":
            with self._socket(transport) as raw:
                raw.shutdown(socket.SHUT_WR)
        elif how == "fin":
            transport.disconnect()
        else:
            payload = struct.pack("!H", int(how)) + reason.encode()[:120]
            transport.send(WSMsgType.CLOSE, payload)
            self._linger_ns = monotonic_ns() + LINGER_NS

    @staticmethod
    def _socket(transport: WSTransport) -> socket.socket:
        """A second handle on the connection's socket; closing it leaves the first open."""
        number = transport.underlying_transport.get_extra_info("socket").fileno()
        return socket.socket(fileno=os.dup(number))

    def _end(self, reason: str) -> None:
        if not self.closing:
            self.closing = True
            self.hub.silence(self)
            self.hub.journal.stamped(self.venue, self.number, {"close": reason})
