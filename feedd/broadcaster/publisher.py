"""An XPUB socket with last values: everything that feedd says over ZeroMQ goes through here.

Two frames: topic, JSON ``{"v": 1, "seq": n, "t": ns, ...}``; docs/zeromq.md is the wire form.
``seq`` counts per topic, so a subscriber sees what its full queue lost. A new subscriber gets the
last message of each topic that its prefix matches. ZeroMQ cannot send to one subscriber alone:
others with the same topic get it again, with the ``seq`` that they know.

Everything is bounded: messages kept per subscriber (``send_hwm``), topics with a last value, the
length of a subscription, last values sent per turn. A subscriber can lose its own messages and
nothing else.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson
import zmq

from feedd.clock import now_ns
from feedd.errors import StartError

__all__ = ["HEARTBEAT_S", "Interest", "Publisher"]

TOPICS_MAX = 50_000
"""Topics whose last value and number are kept; further ones are published without."""
PREFIXES_MAX = 200_000
SUBSCRIPTION_BYTES_MAX = 256
FRAME_BYTES_MAX = 1_024
"""Longer frames end the connection; the handshake of CURVE needs more than a subscription."""
POLL_S = 0.05
EVENTS_PER_TURN = 2_000
LAST_PER_TURN = 2_000
HEARTBEAT_S = 1.0
TCP_HEARTBEAT_MS = (1_000, 3_000, 6_000)


class Interest:
    """What subscribers want, as prefixes. Pure."""

    def __init__(self) -> None:
        self._prefixes: set[bytes] = set()
        self._lengths: dict[int, int] = {}
        self.changes = 0
        """Grows whenever the answers of ``wants`` may have changed."""

    def add(self, prefix: bytes) -> None:
        if prefix in self._prefixes or len(self._prefixes) >= PREFIXES_MAX:
            return
        self._prefixes.add(prefix)
        self._lengths[len(prefix)] = self._lengths.get(len(prefix), 0) + 1
        self.changes += 1

    def drop(self, prefix: bytes) -> None:
        if prefix not in self._prefixes:
            return
        self._prefixes.discard(prefix)
        self._lengths[len(prefix)] -= 1
        if not self._lengths[len(prefix)]:
            del self._lengths[len(prefix)]
        self.changes += 1

    def wants(self, topic: bytes) -> bool:
        return any(topic[:length] in self._prefixes for length in self._lengths)

    def __len__(self) -> int:
        return len(self._prefixes)


def shortest(prefixes: Iterable[bytes]) -> list[bytes]:
    """Without those that another one of them covers."""
    out: list[bytes] = []
    for prefix in sorted(prefixes):
        if not out or not prefix.startswith(out[-1]):
            out.append(prefix)
    return out


class Publisher:
    """The publisher; one event loop. ``serve`` answers subscriptions, ``send`` publishes.

    ``on_subscribe`` is told the prefixes that were newly subscribed, for values that are not kept
    here.
    """

    def __init__(
        self,
        addresses: Iterable[str],
        send_hwm: int,
        name: str,
        *,
        curve_secret: bytes | None = None,
        context: zmq.Context[Any] | None = None,
        on_subscribe: Callable[[list[bytes]], None] | None = None,
    ) -> None:
        self.sent = 0
        self.interest = Interest()
        self.name = name
        self._on_subscribe = on_subscribe
        self._sequence: dict[bytes, int] = {}
        self._last: dict[bytes, bytes] = {}
        self._owed: deque[bytes] = deque()
        self._owed_set: set[bytes] = set()
        self._own: zmq.Context[Any] | None = None
        if context is None:
            self._own = context = zmq.Context()
        self._socket = context.socket(zmq.XPUB)
        self._paths: list[Path] = []
        options = {
            zmq.LINGER: 0,
            zmq.SNDHWM: send_hwm,
            zmq.RCVHWM: 0,  # subscriptions beyond it would be lost
            zmq.MAXMSGSIZE: FRAME_BYTES_MAX,
            zmq.XPUB_VERBOSE: 1,  # each new subscriber wants the last values
        }
        for option, value in options.items():
            self._socket.setsockopt(option, value)
        for address in addresses:
            self._bind(address, curve_secret)

    def _bind(self, address: str, curve_secret: bytes | None) -> None:
        before = os.umask(0o117)  # ipc: 0660
        try:
            if address.startswith("ipc://"):
                path = Path(address.removeprefix("ipc://"))
                path.unlink(missing_ok=True)  # the directory's lock says that nobody uses it
                self._paths.append(path)
                self._socket.setsockopt(zmq.CURVE_SERVER, 0)
            else:
                self._secure(curve_secret)
            self._socket.bind(address)
        except (zmq.ZMQError, OSError) as exc:
            self.close()
            raise StartError(f"zmq: cannot listen on {address}: {exc}") from exc
        finally:
            os.umask(before)

    def _secure(self, curve_secret: bytes | None) -> None:
        """Options of a socket hold for the addresses that it binds afterwards."""
        if curve_secret is None:
            raise StartError("zmq: tcp without keys is refused: see zmq.curve_credentials")
        self._socket.setsockopt(zmq.CURVE_SECRETKEY, curve_secret)
        self._socket.setsockopt(zmq.CURVE_SERVER, 1)
        interval, timeout, ttl = TCP_HEARTBEAT_MS
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, interval)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, timeout)
        self._socket.setsockopt(zmq.HEARTBEAT_TTL, ttl)

    # -- publishing ----------------------------------------------------------------------------

    def send(self, topic: str, message: dict[str, Any], keep: bool = True) -> None:
        """Publish; with ``keep`` later subscribers get it as the last value of its topic."""
        key = topic.encode()
        sequence = self._sequence.get(key, 0)
        if sequence or len(self._sequence) < TOPICS_MAX:
            self._sequence[key] = sequence + 1
        self.send_body(
            key, orjson.dumps({"v": 1, "seq": sequence, "t": now_ns(), **message}), keep=keep
        )

    def send_body(self, topic: bytes, body: bytes, *, keep: bool) -> None:
        """Publish a finished message, for example one of another publisher."""
        self.sent += 1
        if keep and (topic in self._last or len(self._last) < TOPICS_MAX):
            self._last[topic] = body
        self._put(topic, body)

    def forget(self, topic: str) -> None:
        """No last value any more; the numbers go on."""
        self._last.pop(topic.encode(), None)

    def repeat(self, topic: str) -> None:
        """The last value of a topic once more, with the number that it had."""
        body = self._last.get(topic.encode())
        if body is not None:
            self._put(topic.encode(), body)

    def sequence(self, topic: bytes) -> int:
        """The number of the topic's next message."""
        return self._sequence.get(topic, 0)

    def _put(self, topic: bytes, body: bytes) -> None:
        # XPUB never blocks: a subscriber whose queue is full loses the message
        self._socket.send_multipart([topic, body], zmq.DONTWAIT)

    # -- subscriptions -------------------------------------------------------------------------

    async def serve(self) -> None:
        """Answer subscriptions and beat, until cancelled."""
        turns = 0
        while True:
            if turns % round(HEARTBEAT_S / POLL_S) == 0:
                self.send(f"heartbeat.{self.name}", {"subscriptions": len(self.interest)})
            turns += 1
            self.turn()
            await asyncio.sleep(POLL_S)

    def turn(self) -> None:
        """Look for subscriptions that came in, and send some of the last values owed."""
        wanted: set[bytes] = set()
        for _ in range(EVENTS_PER_TURN):
            try:
                event = self._socket.recv(zmq.DONTWAIT)
            except zmq.Again:
                break
            prefix = event[1:]
            if len(prefix) > SUBSCRIPTION_BYTES_MAX or event[:1] not in (b"\x00", b"\x01"):
                continue  # a message of an XSUB peer: not for us
            if event[:1] == b"\x01":
                self.interest.add(prefix)
                wanted.add(prefix)
            else:
                self.interest.drop(prefix)
        if wanted:
            self._owe(wanted)
        for _ in range(min(LAST_PER_TURN, len(self._owed))):
            topic = self._owed.popleft()
            self._owed_set.discard(topic)
            body = self._last.get(topic)
            if body is not None:
                self._put(topic, body)

    def _owe(self, wanted: set[bytes]) -> None:
        """Each topic once, however many subscriptions want it."""
        fresh = Interest()
        prefixes = shortest(wanted)
        for prefix in prefixes:
            fresh.add(prefix)
        for topic in self._last:
            if topic not in self._owed_set and fresh.wants(topic):
                self._owed_set.add(topic)
                self._owed.append(topic)
        if self._on_subscribe is not None:
            self._on_subscribe(prefixes)

    def close(self) -> None:
        self._socket.close(linger=0)
        if self._own is not None:
            self._own.destroy(linger=0)
        for path in self._paths:
            path.unlink(missing_ok=True)
