"""``feedd.subscribe``: the ZeroMQ broadcast as Python objects, with losses told.

Health, status, instruments and conflated quotes for programs that do not want every record, or that
run on another machine. pyzmq is imported when ``subscribe`` is called, not before.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from feedd import clock
from feedd.client.attach import candidates
from feedd.errors import AttachError, FeeddError

__all__ = ["Message", "Subscriber", "TooLateError", "subscribe"]

_POLL_MS = 100
_RECV_HWM = 100_000
_MARKET_DATA = ("quote.", "trade.")


class TooLateError(FeeddError):
    """The subscriber is so far behind that going on would be dishonest (``max_lag``)."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message; ``lost`` counts those of its topic that are missing before it."""

    topic: str
    body: dict[str, Any]
    lost: int = 0

    @property
    def kind(self) -> str:
        """``health``, ``status``, ``instrument``, ``quote``, ``trade`` or ``heartbeat``."""
        return self.topic.partition(".")[0]


class Subscriber:
    """An iterator of ``Message``; made by ``feedd.subscribe``. One thread."""

    def __init__(
        self,
        topics: Iterable[str],
        address: str,
        *,
        timeout: float | None,
        max_lag: float | None,
        keys: tuple[str, str, str] | None,
    ) -> None:
        import zmq

        self.address = address
        self.lost = 0
        """Messages that are missing, over all topics."""
        self._timeout_ns = None if timeout is None else int(timeout * clock.SECOND_NS)
        self._max_lag_ns = None if max_lag is None else int(max_lag * clock.SECOND_NS)
        self._sequence: dict[str, tuple[int, int]] = {}  # topic: next number, time of the last
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        # subscriptions wait in the send queue: a bound would drop those beyond it in silence
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.RCVHWM, _RECV_HWM)
        if keys is not None:
            server, public, secret = keys
            self._socket.setsockopt(zmq.CURVE_SERVERKEY, server.encode())
            self._socket.setsockopt(zmq.CURVE_PUBLICKEY, public.encode())
            self._socket.setsockopt(zmq.CURVE_SECRETKEY, secret.encode())
            self._socket.setsockopt(zmq.HEARTBEAT_IVL, 1_000)
            self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3_000)
        for topic in topics:
            self._socket.subscribe(topic)
        self._socket.connect(address)

    def add(self, topic: str) -> None:
        """Subscribe to one more prefix."""
        self._socket.subscribe(topic)

    def remove(self, topic: str) -> None:
        self._socket.unsubscribe(topic)

    def poll(self, timeout: float = 0.0) -> Message | None:
        """The next message, or None when none came within ``timeout`` seconds.

        Raises ``TooLateError`` when ``max_lag`` is exceeded.
        """
        deadline = clock.monotonic_ns() + int(timeout * clock.SECOND_NS)
        while True:
            left_ms = max(0, deadline - clock.monotonic_ns()) // 1_000_000
            if not self._socket.poll(left_ms):
                return None
            frames = self._socket.recv_multipart()
            message = self._message(frames) if len(frames) == 2 else None
            if message is not None:
                return message

    def _message(self, frames: list[bytes]) -> Message | None:
        """None for a repetition of what was handed out before."""
        topic = frames[0].decode("utf-8", "replace")
        body: dict[str, Any] = json.loads(frames[1])
        sequence, sent = int(body["seq"]), int(body["t"])
        due, last_sent = self._sequence.get(topic, (sequence, -1))
        if sent < last_sent or (sent == last_sent and sequence < due):
            return None
        # a smaller number at a later time: the publisher began anew
        lost = max(0, sequence - due)
        self._sequence[topic] = (sequence + 1, sent)
        self.lost += lost
        lag_ns = clock.now_ns() - sent
        if self._max_lag_ns is not None and last_sent >= 0 and lag_ns > self._max_lag_ns:
            raise TooLateError(
                f"{topic}: {lag_ns / clock.SECOND_NS:.1f} s behind; read faster, subscribe to "
                "less, or begin anew"
            )
        return Message(topic, body, lost)

    def __iter__(self) -> Iterator[Message]:
        """Messages without end; ends after ``timeout`` seconds of silence."""
        silent_since = clock.monotonic_ns()
        while True:
            message = self.poll(_POLL_MS / 1_000)
            if message is not None:
                yield message
                silent_since = clock.monotonic_ns()
            elif (
                self._timeout_ns is not None
                and clock.monotonic_ns() - silent_since > self._timeout_ns
            ):
                return

    def close(self) -> None:
        self._context.destroy(linger=0)

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def subscribe(
    topics: str | Iterable[str] = "",
    *,
    directory: str | os.PathLike[str] | None = None,
    address: str | None = None,
    timeout: float | None = None,
    max_lag: float | None = None,
    keys: tuple[str, str, str] | None = None,
) -> Subscriber:
    """Subscribe to what a daemon publishes over ZeroMQ; iterate over the result.

    ``topics``: prefixes such as ``"quote.deribit."``, ``"status.gap"``; "" is everything. The last
    value of each matching topic comes first. Without ``address`` the daemon of this machine is
    found as ``attach`` does, by ``directory`` or in the usual places. ``address`` names another
    one, ``tcp://HOST:PORT``, with ``keys``: the server's public key, one's own public and secret
    key (Z85). ``timeout`` ends the iteration after so many seconds of silence. ``max_lag`` raises
    ``TooLateError`` when messages are older than so many seconds.

    Raises ``AttachError`` when no daemon of this machine publishes.
    """
    wanted = [topics] if isinstance(topics, str) else list(topics)
    return Subscriber(
        wanted,
        _local(directory, wanted) if address is None else address,
        timeout=timeout,
        max_lag=max_lag,
        keys=keys,
    )


def _local(directory: str | os.PathLike[str] | None, topics: list[str]) -> str:
    """The broadcaster's socket, which carries everything, else the supervisor's."""
    places, _ = candidates(directory)
    data = [topic for topic in topics if topic.startswith(_MARKET_DATA)]
    for place in places:
        for name in ("data", "pub"):
            path = Path(place) / name
            if not path.is_socket():
                continue
            if name == "pub" and data:
                raise AttachError(
                    f"{place} publishes no {data[0]!r}: the broadcaster does not run; is data = "
                    "true in [zmq]?"
                )
            return f"ipc://{path}"
    shown = ", ".join(str(place) for place in places)
    raise AttachError(
        f"no daemon publishes over ZeroMQ in {shown}: is it running, and is [zmq] enabled?"
    )
