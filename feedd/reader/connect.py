"""Open one WebSocket connection: TLS verified, no redirects, bounded in time, options set.

What can go wrong becomes one ``ConnectError`` with words for people and, where the venue said so,
how long to stay away.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import picows

from feedd.clock import now_ns
from feedd.reader.line import Line
from feedd.reader.net import BAN_DEFAULT_S, is_loopback, retry_after_s

__all__ = ["ConnectError", "open_line"]

CONNECT_TIMEOUT_S = 5.0
HANDSHAKE_TIMEOUT_S = 5.0
TOTAL_TIMEOUT_S = 15.0
KEEPALIVE_IDLE_S = 10
KEEPALIVE_INTERVAL_S = 3
KEEPALIVE_PROBES = 3
UNACKED_TIMEOUT_MS = 10_000
RECEIVE_BUFFER_BYTES = 1 << 20
"""Room in the kernel for a burst while the reader is busy."""

_Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]
"""As ``getaddrinfo`` gives it."""


class ConnectError(Exception):
    """The attempt failed; ``retry_after_s`` is what the venue asked for, if it did. ``banned_s``:
    for so long no connection from here is welcome, 0 where it concerns this attempt alone."""

    def __init__(self, reason: str, retry_after: float | None = None, status: int = 0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after
        default_s = BAN_DEFAULT_S.get(status, 0.0)
        self.banned_s = (retry_after or default_s) if default_s else 0.0


def _tune(sock: socket.socket) -> None:
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKED_TIMEOUT_MS)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)


def _by_turns(found: Sequence[_Address]) -> list[_Address]:
    """One family after the other, each in an order of its own: dead addresses, or a family that
    leads nowhere, must not use up the time of every attempt."""
    families: dict[int, list[_Address]] = {}
    for address in found:
        families.setdefault(address[0], []).append(address)
    for addresses in families.values():
        random.shuffle(addresses)
    turns = itertools.zip_longest(*families.values())
    return [address for turn in turns for address in turn if address is not None]


async def _open_socket(url: picows.WSParsedURL) -> socket.socket:
    """A connected socket to the first address of the host that answers."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    last: OSError | None = None
    for family, kind, protocol, _, address in _by_turns(found)[:8]:
        sock = socket.socket(family, kind, protocol)
        try:
            _tune(sock)
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await loop.sock_connect(sock, address)
        except OSError as exc:  # TimeoutError is one
            sock.close()
            last = exc
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise last or OSError(f"{url.host} has no address")


async def open_line(
    url: str,
    make: Callable[[], Line],
    context: ssl.SSLContext | None,
    frame_bytes_max: int,
    headers: Mapping[str, str] | None = None,
) -> tuple[picows.WSTransport, Line]:
    """Connect and shake hands; the line is what ``make`` built. Raises ``ConnectError``.

    ``headers`` are sent with the handshake.
    """
    if not url.startswith("wss://") and not is_loopback(url):
        raise ConnectError(f"{url}: connections without TLS are for loopback only")
    try:
        async with asyncio.timeout(TOTAL_TIMEOUT_S):
            transport, line = await picows.ws_connect(
                make,
                url,
                ssl_context=context if url.startswith("wss://") else None,
                websocket_handshake_timeout=HANDSHAKE_TIMEOUT_S,
                enable_auto_ping=False,  # the session pings
                enable_auto_pong=False,  # the line answers pings
                max_frame_size=frame_bytes_max,
                max_redirects=0,
                extra_headers=headers or None,
                socket_factory=_open_socket,
                logger_name="reader",
            )
    except (picows.WSError, OSError, ValueError, asyncio.IncompleteReadError) as exc:
        raise _described(url, exc) from exc
    response: Any = transport.response
    if response is None:  # the peer hung up: picows says nothing about it
        transport.disconnect(False)
        raise ConnectError(f"{urlsplit(url).hostname} closed the connection during the handshake")
    extensions = response.headers.get("Sec-WebSocket-Extensions")
    if extensions:
        transport.disconnect(False)
        raise ConnectError(f"the venue turned on extensions that nobody offered: {extensions[:80]}")
    if not isinstance(line, Line):
        raise ConnectError(f"the listener of {url} is a {type(line).__name__}, not a Line")
    return transport, line


def _described(url: str, exc: BaseException) -> ConnectError:
    host = urlsplit(url).hostname
    response = getattr(exc, "response", None)
    if response is not None:
        status = int(response.status)
        asked = retry_after_s(response.headers.get("Retry-After"), now_ns())
        if 300 <= status < 400:
            target = str(response.headers.get("Location"))[:100]
            return ConnectError(f"HTTP {status}: a redirect to {target} is not followed", asked)
        body = (response.body or b"")[:100].decode("utf-8", "backslashreplace")
        return ConnectError(f"HTTP {status} {body}".strip(), asked, status)
    if isinstance(exc, ssl.SSLCertVerificationError):
        return ConnectError(f"certificate of {host} refused: {exc.verify_message or exc}")
    if isinstance(exc, ssl.SSLError):
        return ConnectError(f"TLS with {host} failed: {exc.reason or exc}")
    if isinstance(exc, TimeoutError):
        return ConnectError(f"{host} did not answer in time")
    if isinstance(exc, socket.gaierror):
        return ConnectError(f"the name {host} was not found: {exc.strerror}")
    if isinstance(exc, ConnectionResetError) and not str(exc):
        return ConnectError(f"{host} closed the connection during the handshake")
    return ConnectError(f"{type(exc).__name__}: {str(exc)[:200]}")
