"""The other end of a reader's line and pipe: a venue and a supervisor that do the least.

The venue speaks RFC 6455 over a blocking socket and sends quotes of one made-up instrument, which
are numbered, so that who sees a record knows when its message was sent.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import orjson

from feedd.bench.instance import BenchError
from feedd.reader.plan import Instrument, Line, ReaderPlan, Stream, VenueSlice
from feedd.shm.board import BoardWriter
from feedd.shm.books import BooksWriter
from feedd.shm.counters import CountersWriter
from feedd.shm.instruments import InstrumentsWriter
from feedd.shm.ring import create_ring

__all__ = ["FIRST", "Reader", "Venue", "frame", "number_at"]

FIRST = 10**11
"""The number of the first quote: all of them have twelve digits."""
VENUE = "binance_usdm"
SYMBOL = "BTCUSDT"
TOPIC = "btcusdt@bookTicker"
DEPTH = 128
ANSWER_S = 20.0
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(number: int) -> bytearray:
    """One quote as it is on the wire: 189 bytes of text in an unmasked frame."""
    payload = (
        b'{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":%012d,"s":"BTCUSDT",'
        b'"b":"67120.10","B":"8.412","a":"67120.20","A":"1.903","T":1790000000123,'
        b'"E":1790000000125}}' % number
    )
    return bytearray(b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload)


def number_at(made: bytearray) -> slice:
    """Where the number of a quote is in its frame."""
    at = made.index(b'"u":') + 4
    return slice(at, at + 12)


def _read_until(sock: socket.socket, end: bytes) -> bytes:
    data = b""
    while end not in data:
        more = sock.recv(4096)
        if not more:
            raise BenchError("the reader closed the connection during the handshake")
        data += more
    return data


def _exactly(sock: socket.socket, n: int) -> bytes:
    data = b""
    while len(data) < n:
        more = sock.recv(n - len(data))
        if not more:
            raise BenchError("the reader closed the connection")
        data += more
    return data


class Venue:
    """A listening socket, and the connection that came to it."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(ANSWER_S)
        scheme = "wss" if context else "ws"
        self.url = f"{scheme}://127.0.0.1:{self._listening.getsockname()[1]}/"
        self.connection: socket.socket | None = None

    def accept(self) -> socket.socket:
        """The next connection, after its handshake."""
        raw, _ = self._listening.accept()
        raw.settimeout(ANSWER_S)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock = self._context.wrap_socket(raw, server_side=True) if self._context else raw
        self.connection = sock
        request = _read_until(sock, b"\r\n\r\n")
        lines = {k.strip().lower(): v.strip() for k, _, v in _fields(request)}
        accept = base64.b64encode(hashlib.sha1(lines[b"sec-websocket-key"] + _GUID).digest())
        sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        return sock

    def answer_subscription(self) -> None:
        """Read one request of the reader and say yes to it."""
        sock = self.connection
        if sock is None:
            raise BenchError("nobody is connected")
        head = _exactly(sock, 2)
        size = head[1] & 0x7F
        if size == 126:
            size = int.from_bytes(_exactly(sock, 2), "big")
        mask = _exactly(sock, 4)
        masked = _exactly(sock, size)
        request = orjson.loads(bytes(b ^ mask[i % 4] for i, b in enumerate(masked)))
        body = orjson.dumps({"result": None, "id": request["id"]})
        sock.sendall(bytes([0x81, len(body)]) + body)

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
        self._listening.close()


def _fields(request: bytes) -> list[tuple[bytes, bytes, bytes]]:
    return [line.partition(b":") for line in request.split(b"\r\n")[1:]]


class Reader:
    """A reader process as the daemon runs it, with one line and one instrument."""

    def __init__(
        self, directory: Path, url: str, core: int, *, busy_poll: bool, ca_file: str | None
    ) -> None:
        stream = Stream("bookTicker", SYMBOL, TOPIC)
        line = Line(number=0, endpoint="public", url=url, quiet=False, streams=(stream,))
        instrument = Instrument(SYMBOL, 0, 0, DEPTH)
        self.plan = ReaderPlan(
            reader=0,
            directory=str(directory),
            core=core,
            busy_poll=busy_poll,
            rows=1,
            depths=(DEPTH,),
            ring_slots=1 << 16,
            venues=(VenueSlice(VENUE, ca_file, (instrument,), (line,)),),
            log_level="error",
        )
        with contextlib.ExitStack() as stack:
            table = InstrumentsWriter.create(directory, 16)
            stack.callback(table.close)
            table.append(venue=VENUE, symbol=SYMBOL, reader=0, row=0)
            stack.callback(CountersWriter.create(directory, 1, 1).close)
            stack.callback(BoardWriter.create(directory, 0, 1).close)
            stack.callback(BooksWriter.create(directory, 0, [DEPTH]).close)
        create_ring(directory, 0, self.plan.ring_slots)
        self._pipe, other = socket.socketpair()
        self._pipe.settimeout(ANSWER_S)
        with other:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "feedd.reader", str(other.fileno()), str(os.getpid())],
                pass_fds=[other.fileno()],
            )
        self._lines = self._pipe.makefile("rb")
        self._send({"plan": msgspec.to_builtins(self.plan)})

    def _send(self, message: dict[str, Any]) -> None:
        self._pipe.sendall(orjson.dumps(message) + b"\n")

    def connect(self) -> None:
        """Give the permit that the line asks for, once the process is there."""
        while True:
            line = self._lines.readline()
            if not line:
                raise BenchError(f"the reader ended with status {self.process.wait(10)}")
            message = orjson.loads(line)
            if message["op"] == "failed":
                raise BenchError(f"the reader: {message['error']}")
            if message["op"] == "permit":
                self._send({"op": "permit", "line": message["line"]})
                return

    def close(self) -> None:
        self._pipe.close()
        self._lines.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
