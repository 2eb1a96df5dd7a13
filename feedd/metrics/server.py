"""The HTTP endpoint for Prometheus: GET /metrics and nothing else, everything bounded.

A scrape must never disturb the supervisor: samples are taken in a thread, at most one at a time and
not more often than every ``FRESH_S``; a client has ``TIMEOUT_S`` in all; beyond ``CLIENTS_MAX``
connections are closed at once. Requests are so simple that the fifty lines here are easier to bound
than a web server: one request per connection, the request's body is never read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from feedd.clock import SECOND_NS, monotonic_ns
from feedd.errors import StartError
from feedd.metrics.exposition import expose
from feedd.metrics.sample import Facts, Sample, Sampler

__all__ = ["MetricsServer"]

CLIENTS_MAX = 16
HEAD_BYTES_MAX = 8_192
TIMEOUT_S = 5.0
FRESH_S = 0.25

log = logging.getLogger("feedd.metrics")


class MetricsServer:
    """Serves samples of ``sampler``, with what ``facts`` adds."""

    def __init__(self, sampler: Sampler, facts: Callable[[], Awaitable[Facts]]) -> None:
        self.sampler = sampler
        self._facts = facts
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self._lock = asyncio.Lock()
        self._last: Sample | None = None
        self._last_at = 0
        self.refused = 0

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, the real port when 0 was asked for."""
        if self._server is None:
            raise StartError("the metrics endpoint is not started")
        host, port = self._server.sockets[0].getsockname()[:2]
        return str(host), int(port)

    @property
    def busy(self) -> int:
        """Clients that are connected now."""
        return len(self._clients)

    async def start(self, host: str, port: int) -> None:
        try:
            self._server = await asyncio.start_server(
                self._client, host, port, limit=HEAD_BYTES_MAX, backlog=CLIENTS_MAX
            )
        except OSError as exc:
            raise StartError(
                f"metrics.bind: cannot listen on {host}:{port}: {exc.strerror or exc}"
            ) from exc
        log.info("metrics on http://%s:%d/metrics", *self.address)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= CLIENTS_MAX:
            self.refused += 1
            writer.transport.abort()
            return
        self._clients.add(writer)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._one(reader, writer)
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
            pass
        except (asyncio.LimitOverrunError, ValueError):
            with contextlib.suppress(ConnectionError):
                writer.write(_response("431 Request Header Fields Too Large", b"too long\n"))
        finally:
            self._clients.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        request, _, rest = head.partition(b"\r\n")
        words = request.split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            writer.write(_response("400 Bad Request", b"not HTTP/1.1\n"))
        elif words[0] not in (b"GET", b"HEAD"):
            writer.write(_response("405 Method Not Allowed", b"GET only\n"))
        elif words[1].partition(b"?")[0] != b"/metrics":
            writer.write(_response("404 Not Found", b"metrics are at /metrics\n"))
        else:
            sample = await self._sample()
            body, kind = await asyncio.to_thread(expose, sample, _accept(rest))
            writer.write(_response("200 OK", body, kind, head_only=words[0] == b"HEAD"))
        await writer.drain()

    async def _sample(self) -> Sample:
        async with self._lock:
            now = monotonic_ns()
            if self._last is None or now - self._last_at > FRESH_S * SECOND_NS:
                self._last = await asyncio.to_thread(self.sampler.sample, await self._facts())
                self._last_at = now
            return self._last

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in self._clients:
                writer.transport.abort()
            while self._clients:
                await asyncio.sleep(0.01)
            await self._server.wait_closed()
            self._server = None
        async with self._lock:  # a sample that a thread is taking ends first
            self.sampler.close()


def _accept(head: bytes) -> str:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"accept":
            return value.strip().decode("latin-1")
    return ""


def _response(status: str, body: bytes, kind: str = "", *, head_only: bool = False) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind or 'text/plain; charset=utf-8'}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if head_only else body)
