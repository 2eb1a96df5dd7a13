"""The pipe between supervisor and reader: JSON lines, some followed by a body of raw bytes.

``{"op": "snapshot", ..., "bytes": 1234}\\n`` is followed by 1,234 bytes as the venue sent them, so
that a hostile body is never parsed or re-encoded on its way. Both ends are ours; the bounds guard
against mistakes. The end of the pipe is the sign that the other side is gone.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import orjson

from feedd.limits import REST_BODY_BYTES_MAX

__all__ = ["LINE_BYTES_MAX", "Pipe"]

LINE_BYTES_MAX = 64 * 1024 * 1024
"""A plan of thousands of instruments is one line."""
QUEUE_BYTES_MAX = 128 * 1024 * 1024


class Pipe:
    """One end. ``receive`` in one task, ``send`` from anywhere in the loop's thread."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.dropped = 0

    @classmethod
    async def over(cls, sock: socket.socket) -> Pipe:
        """Take over a connected stream socket."""
        sock.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=sock, limit=LINE_BYTES_MAX)
        return cls(reader, writer)

    def send(self, message: dict[str, Any], body: bytes | None = None) -> bool:
        """Queue one message; False (and counted) when the other side does not read any more."""
        transport = self._writer.transport
        if transport.is_closing() or transport.get_write_buffer_size() > QUEUE_BYTES_MAX:
            self.dropped += 1
            return False
        if body is None:
            self._writer.write(orjson.dumps(message) + b"\n")
        else:
            line = orjson.dumps({**message, "bytes": len(body)})
            self._writer.write(b"".join((line, b"\n", body)))
        return True

    async def receive(self) -> tuple[dict[str, Any], bytes] | None:
        """The next message and its body (or empty); None at the end of the pipe."""
        try:
            line = await self._reader.readline()
            if not line.endswith(b"\n"):
                return None
            message: dict[str, Any] = orjson.loads(line)
            size = message.get("bytes", 0)
            if not 0 <= size <= REST_BODY_BYTES_MAX:
                raise ValueError(f"a body of {size} bytes")
            return message, await self._reader.readexactly(size) if size else b""
        except (ConnectionError, asyncio.IncompleteReadError):
            return None

    def close(self) -> None:
        self._writer.close()
