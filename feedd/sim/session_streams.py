"""What the sessions of venues with in-stream snapshots share: joining streams, silence."""

from __future__ import annotations

import json
from typing import ClassVar

from feedd.clock import monotonic_ns
from feedd.sim.config import SimConfig
from feedd.sim.connection import SECOND, Connection
from feedd.sim.hub import Hub


class StreamConnection(Connection):
    """A client whose subscriptions start with what the stream greets it with."""

    silence_s: ClassVar[float] = 0.0
    """The venue closes a client that said nothing (ping frames count) for this long; 0: never."""

    def __init__(self, hub: Hub, config: SimConfig, path: str, venue: str) -> None:
        super().__init__(hub, config, path)
        self.venue = venue
        silence_s = (config.idle_s or self.silence_s) if self.silence_s else 0.0
        self.silence_ns = int(silence_s * SECOND)
        self._ending: tuple[int, str, str] | None = None

    def join(self, name: str) -> None:
        """Attach to a stream and send what it starts with; the ack was sent before."""
        self.subscriptions[name] = None
        self.note_subscribed([name])
        self.hub.subscribe(self, name)
        self.hub.greet(self, name)

    def leave(self, names: list[str]) -> None:
        """Detach from those of these streams that this client has."""
        had = [name for name in names if name in self.subscriptions]
        for name in had:
            self.hub.unsubscribe(self, name)
            del self.subscriptions[name]
        if had:
            self.note_unsubscribed(had)

    def say(self, message: object) -> None:
        """Send a control message as compact JSON."""
        self.answer(json.dumps(message, separators=(",", ":")))

    def close_soon(self, how: str, reason: str, notice_s: float) -> None:
        """End the connection a while after it was announced."""
        wait_ns = int((self.config.notice_s or notice_s) * SECOND)
        self._ending = (monotonic_ns() + wait_ns, how, reason)

    def on_timer(self, now: int) -> None:
        if self._ending is not None and now >= self._ending[0]:
            self.close(*self._ending[1:])
        elif self.silence_ns and now - self.heard_ns > self.silence_ns:
            self.close("fin", "client silent")
