"""What is going on, for whoever wants to listen: ZeroMQ XPUB on an ipc address of the instance.

Two frames: topic, JSON ``{"v": 1, "seq": n, "t": ns, ...}``. Topics: ``health.reader.<n>`` each
second and on change, ``status.<event>`` for STATUS records of the rings, ``instrument.<name>`` when
an instrument gets its id. ``seq`` counts per topic prefix (the part before the first dot), so a
subscriber sees what a full queue dropped. A new subscriber gets the last message of each topic
that its prefix matches (health and instrument; a past status would be misleading).
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import orjson
import zmq

from feedd.clock import now_ns
from feedd.errors import StartError

__all__ = ["Broadcast"]

LAST_MAX = 20_000
SUBSCRIPTION_BYTES_MAX = 1_024
POLL_S = 0.05
EVENTS_PER_POLL = 100


class Broadcast:
    """The publisher; one event loop. ``serve`` answers subscriptions, ``send`` publishes."""

    def __init__(self, address: str, send_hwm: int) -> None:
        self.address = address
        self.sent = 0
        self._sequence: dict[str, int] = {}
        self._last: dict[bytes, bytes] = {}
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, send_hwm)
        self._socket.setsockopt(zmq.RCVHWM, 0)  # subscriptions beyond it would be lost
        self._socket.setsockopt(zmq.MAXMSGSIZE, SUBSCRIPTION_BYTES_MAX)
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # each new subscriber wants the last values
        path = Path(address.removeprefix("ipc://"))
        before = os.umask(0o117)
        try:
            path.unlink(missing_ok=True)  # the directory's lock says that nobody uses it
            self._socket.bind(address)
        except (zmq.ZMQError, OSError) as exc:
            self._context.destroy(linger=0)
            raise StartError(f"zmq.bind: cannot listen on {address}: {exc}") from exc
        finally:
            os.umask(before)
        self._path = path

    def send(self, topic: str, message: dict[str, Any], keep: bool = True) -> None:
        """Publish; with ``keep`` later subscribers get it as the last value of its topic."""
        prefix = topic.partition(".")[0]
        sequence = self._sequence.get(prefix, 0)
        self._sequence[prefix] = sequence + 1
        body = orjson.dumps({"v": 1, "seq": sequence, "t": now_ns(), **message})
        self.sent += 1
        key = topic.encode()
        if keep and (key in self._last or len(self._last) < LAST_MAX):
            self._last[key] = body
        self._put(key, body)

    def _put(self, topic: bytes, body: bytes) -> None:
        # XPUB never blocks: a subscriber whose queue is full loses the message
        self._socket.send_multipart([topic, body], zmq.DONTWAIT)

    async def serve(self) -> None:
        """Send last values to new subscribers, until cancelled."""
        while True:
            self.answer()
            await asyncio.sleep(POLL_S)

    def answer(self) -> None:
        """Look for subscriptions that came in since the last call."""
        for _ in range(EVENTS_PER_POLL):
            try:
                event = self._socket.recv(zmq.DONTWAIT)
            except zmq.Again:
                return
            if event[:1] != b"\x01":
                continue
            wanted = event[1:]
            for topic, body in list(self._last.items()):
                if topic.startswith(wanted):
                    self._put(topic, body)

    def close(self) -> None:
        self._context.destroy(linger=0)
        self._path.unlink(missing_ok=True)
