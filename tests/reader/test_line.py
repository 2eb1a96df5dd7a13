"""The line against bad servers: real sockets on loopback, raw bytes from the other side."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import picows
import pytest

from feedd.decode.assembler import Assembler
from feedd.reader.connect import ConnectError, _open_socket, open_line
from feedd.reader.line import COMPILED_PICOWS, CollectSink, Line
from feedd.reader.picows_version import check_picows

Server = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
GOOD = b'{"good":1}'


def frame(opcode: int, payload: bytes = b"", fin: int = 1, rsv: int = 0) -> bytes:
    head = bytes([fin << 7 | rsv << 4 | opcode])
    n = len(payload)
    if n < 126:
        return head + bytes([n]) + payload
    return head + b"\x7e" + struct.pack("!H", n) + payload


async def handshake(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, extra: bytes = b""
) -> None:
    request = await reader.readuntil(b"\r\n\r\n")
    (key,) = (
        line.split(b":", 1)[1].strip()
        for line in request.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key")
    )
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n" + extra + b"\r\n"
    )


class Owner:
    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.controls: list[bytes] = []
        self.ignored: list[bytes] = []
        self.flushes = 0
        self.ended = asyncio.Event()

    def sink(self) -> CollectSink:
        return CollectSink(self._message, self._flush)

    def _message(self, data: bytes, ts_recv: int, binary: bool) -> int:
        self.messages.append(data)
        return 1 if data.startswith(b'{"control"') else 2 if data.startswith(b'{"other"') else 0

    def _flush(self) -> None:
        self.flushes += 1

    def on_control(self, line: Line, data: bytes) -> None:
        self.controls.append(data)

    def on_ignored(self, line: Line, data: bytes) -> None:
        self.ignored.append(data)

    def on_end(self, line: Line) -> None:
        self.ended.set()

    def on_pause(self, line: Line) -> None:
        line.abort()


async def talk(
    server: Server,
    *,
    extra: bytes = b"",
    pongs_max: int = 0,
    size: int = 1024,
    texts: frozenset[bytes] = frozenset(),
) -> tuple[Owner, Line]:
    """Connect to ``server`` (after a good handshake), wait for the end."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handshake(reader, writer, extra)
            await server(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    owner = Owner()
    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        transport, line = await open_line(
            f"ws://127.0.0.1:{port}/",
            lambda: Line(owner.sink(), owner, Assembler(size), pongs_max, texts),
            None,
            size,
        )
        try:
            async with asyncio.timeout(5):
                await transport.wait_disconnected()
        except picows.WSProtocolError:
            pass
    finally:
        listening.close()
    return owner, line


async def test_messages_in_one_segment_and_one_flush() -> None:
    async def server(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(1, GOOD) * 3 + frame(1, b'{"control":1}') + frame(9, b"last"))
        await writer.drain()
        await asyncio.sleep(0.1)

    owner, line = await talk(server)
    assert owner.messages[:3] == [GOOD] * 3
    assert owner.controls == [b'{"control":1}']
    assert (line.frames, line.data, line.control) == (5, 3, 1)
    assert owner.flushes == 2, "one per read (also when a ping comes last), one at the end"
    assert line.pongs_sent == 1
    assert line.last_data_ns > 0


BAD = {
    "rsv": frame(1, b"x", rsv=4),
    "orphan": frame(0, b"x"),
    "interleaved": frame(1, b"x", fin=0) + frame(1, b"y"),
    "opcode": frame(3, b"x"),
    "masked": bytes([0x81, 0x81]) + b"\0\0\0\0x",
    "control too long": frame(9, b"x" * 126),
    "fragmented control": frame(9, b"", fin=0),
    "close code": frame(8, b"\x03\xec"),
    "too big": frame(1, b"x" * 1100),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("apart", [False, True])
async def test_nothing_after_a_violation_reaches_the_sink(name: str, apart: bool) -> None:
    async def server(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(1, GOOD))
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(BAD[name])
        if apart:
            await writer.drain()
            await asyncio.sleep(0.005)
        writer.write(frame(1, b'{"late":1}') * 3)
        await writer.drain()
        await asyncio.sleep(0.2)

    owner, line = await talk(server)
    assert owner.messages == [GOOD]
    assert not line.connected


async def test_close_frame_is_answered_with_its_code() -> None:
    answer = bytearray()

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(8, struct.pack("!H", 4000) + b"bye") + frame(1, b"late"))
        await writer.drain()
        answer.extend(await reader.readexactly(2 + 4 + 2))

    owner, line = await talk(server)
    async with asyncio.timeout(5):
        while len(answer) < 8:
            await asyncio.sleep(0.01)
    assert line.close_code == 4000
    assert owner.messages == []
    assert answer[0] == 0x88
    code = bytes(b ^ answer[2 + i] for i, b in enumerate(answer[6:8]))
    assert code == struct.pack("!H", 4000)


async def test_a_ping_flood_is_answered_a_few_times_only() -> None:
    async def server(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _i in range(50):
            writer.write(frame(9, b"p"))
        await writer.drain()
        await asyncio.sleep(0.1)

    _, line = await talk(server, pongs_max=2)
    assert line.pongs_sent <= 4, "two a second; the test may straddle a second"
    assert line.pongs_held >= 46


@pytest.mark.parametrize("cut", [1, 2, 5, 11])
async def test_a_truncated_frame_gives_no_message(cut: int) -> None:
    async def server(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(1, GOOD) + frame(1, GOOD)[:cut])
        await writer.drain()

    owner, _ = await talk(server)
    assert owner.messages == [GOOD]


async def test_extensions_that_nobody_offered_are_refused() -> None:
    async def server(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)

    with pytest.raises(ConnectError, match="nobody offered"):
        await talk(server, extra=b"Sec-WebSocket-Extensions: permessage-deflate\r\n")


@pytest.mark.parametrize(
    ("answer", "words", "after"),
    [
        (b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", "HTTP 429", 7.0),
        (
            b"HTTP/1.1 302 F\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            "redirect",
            None,
        ),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\nbad", "HTTP 500", None),
        (b"hello\r\n\r\n", "", None),
    ],
)
async def test_refused_handshakes_say_why(answer: bytes, words: str, after: float | None) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    owner = Owner()
    try:
        with pytest.raises(ConnectError) as caught:
            await open_line(
                f"ws://127.0.0.1:{port}/",
                lambda: Line(owner.sink(), owner, Assembler(1024)),
                None,
                1024,
            )
    finally:
        listening.close()
    assert words in str(caught.value)
    assert caught.value.retry_after_s == after


async def test_plain_text_connections_leave_the_machine_never() -> None:
    owner = Owner()
    with pytest.raises(ConnectError, match="loopback only"):
        await open_line(
            "ws://192.0.2.1/", lambda: Line(owner.sink(), owner, Assembler(1024)), None, 1024
        )


def test_picows_of_another_minor_version_is_refused() -> None:
    assert picows.__version__ == COMPILED_PICOWS
    check_picows("2.3.1", "2.3.9")
    check_picows("", "9.9")
    with pytest.raises(ImportError, match=r"picows==2\.3\.\*"):
        check_picows("2.3.1", "2.4.0")


async def test_short_messages_without_a_channel_are_heard_of() -> None:
    long = b'{"other":"' + b"x" * 1020 + b'"}'

    async def server(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(1, b'{"other":1}') + frame(1, long))
        await writer.drain()
        await asyncio.sleep(0.05)

    owner, line = await talk(server, size=4096)
    assert owner.ignored == [b'{"other":1}']
    assert (line.ignored, line.control, line.data) == (2, 0, 0)


async def test_texts_of_the_venue_never_reach_the_sink() -> None:
    async def server(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(1, b"pong") + frame(1, b"pongo") + frame(1, GOOD) + frame(1, b"pong"))
        await writer.drain()
        await asyncio.sleep(0.05)

    owner, line = await talk(server, texts=frozenset({b"pong"}))
    assert owner.messages == [b"pongo", GOOD]
    assert owner.controls == [b"pong", b"pong"]
    assert (line.frames, line.control, line.data) == (4, 2, 2)


async def test_headers_are_sent_and_a_peer_that_hangs_up_is_a_failed_attempt() -> None:
    seen: list[bytes] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    owner = Owner()
    try:
        with pytest.raises(ConnectError, match="closed the connection during the handshake"):
            await open_line(
                f"ws://127.0.0.1:{port}/",
                lambda: Line(owner.sink(), owner, Assembler(1024)),
                None,
                1024,
                {"X-Gate-Size-Decimal": "1"},
            )
    finally:
        listening.close()
    assert b"X-Gate-Size-Decimal: 1\r\n" in seen[0]


async def test_who_hangs_up_during_the_tls_handshake_is_named() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    listening = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    owner = Owner()
    with pytest.raises(ConnectError, match=r"^127\.0\.0\.1 closed the connection during"):
        await open_line(
            f"wss://127.0.0.1:{port}/",
            lambda: Line(owner.sink(), owner, Assembler(1024)),
            ssl.create_default_context(),
            1024,
        )
    listening.close()


V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.mark.parametrize(
    ("dead", "alive"),
    [
        ([(V6, f"::{n}") for n in range(2, 12)], (V4, "127.0.0.1")),
        ([(V4, f"127.0.0.{n}") for n in range(2, 6)], (V4, "127.0.0.1")),
    ],
)
async def test_dead_addresses_do_not_hide_one_that_lives(
    monkeypatch: pytest.MonkeyPatch, dead: list[tuple[int, str]], alive: tuple[int, str]
) -> None:
    loop = asyncio.get_running_loop()
    listening = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    connect = loop.sock_connect

    async def names(*_: object, **__: object) -> list[tuple[object, ...]]:
        where = [*dead, alive]
        return [(family, socket.SOCK_STREAM, 6, "", (host, port)) for family, host in where]

    async def swallow(sock: socket.socket, address: tuple[str, int]) -> None:
        if address[0] != alive[1]:
            await asyncio.sleep(60)
        await connect(sock, address)

    monkeypatch.setattr(loop, "getaddrinfo", names)
    monkeypatch.setattr(loop, "sock_connect", swallow)
    monkeypatch.setattr("feedd.reader.connect.CONNECT_TIMEOUT_S", 0.005)
    url: Any = SimpleNamespace(host="localhost", port=port)
    for _ in range(60):  # attempts, each with time for three addresses
        try:
            async with asyncio.timeout(0.015):
                sock = await _open_socket(url)
        except TimeoutError:
            continue
        sock.close()
        break
    else:
        raise AssertionError("never reached")
    listening.close()
