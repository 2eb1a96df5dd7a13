"""A stranger's view of the simulated venue: aiohttp clients and a reference order book."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from feedd.sim.testing import SimHandle

TIMEOUT_S = 20.0
MARK = b"everything before this"


class Client:
    """One WebSocket connection; ``frames`` keeps every text frame in order."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self.frames: list[str] = []
        self.close_code: int | None = None
        self.is_read_empty = False

    async def send(self, message: object) -> None:
        await self.ws.send_str(message if isinstance(message, str) else json.dumps(message))

    async def receive_text(self, timeout: float = TIMEOUT_S) -> str | None:
        """The next text frame as it is; None when the connection ended."""
        message = await self.ws.receive(timeout)
        while message.type in (aiohttp.WSMsgType.PING, aiohttp.WSMsgType.PONG):
            if message.type is aiohttp.WSMsgType.PING:
                await self.ws.pong(message.data)
            elif message.data == MARK:
                self.is_read_empty = True
                return ""
            message = await self.ws.receive(timeout)
        if message.type is aiohttp.WSMsgType.TEXT:
            self.frames.append(message.data)
            return str(message.data)
        self.close_code = self.ws.close_code
        return None

    async def receive(self, timeout: float = TIMEOUT_S) -> Any:
        """The next text frame parsed; None when the connection ended."""
        text = await self.receive_text(timeout)
        return None if text is None else json.loads(text)

    async def answer(self, request: dict[str, Any]) -> Any:
        """Send a request and return the answer with its id, whatever comes in between."""
        await self.send(request)
        while True:
            message = await self.receive()
            if message is None or ("id" in message and message["id"] == request.get("id")):
                return message

    async def until(self, accept: Any, timeout: float = TIMEOUT_S) -> Any:
        """The first message that ``accept`` likes; fails when the connection ends first."""
        async with asyncio.timeout(timeout):
            while True:
                message = await self.receive()
                assert message is not None, f"connection ended, code {self.close_code}"
                if accept(message):
                    return message

    async def read_empty(self) -> None:
        """Read what was sent until now, however slow everything is: up to the answer to a ping."""
        self.is_read_empty = False
        with contextlib.suppress(ConnectionError):  # it may be closed: what came is there to read
            await self.ws.ping(MARK)
        while not self.is_read_empty and await self.receive_text() is not None:
            pass

    async def drain(self, quiet: float = 0.3) -> list[Any]:
        """All messages until nothing came for ``quiet`` seconds or the connection ended."""
        messages = []
        with contextlib.suppress(TimeoutError):
            while (message := await self.receive(quiet)) is not None:
                messages.append(message)
        return messages


@contextlib.asynccontextmanager
async def connect(sim: SimHandle, path: str, **options: Any) -> AsyncIterator[Client]:
    connector = aiohttp.TCPConnector(ssl=sim.ssl_context() or False)
    options = {"max_msg_size": 0, "autoping": False, **options}
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.ws_connect(sim.ws + path, **options) as ws,
    ):
        yield Client(ws)


def deribit(method: str, ident: int = 1, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": ident, "method": f"public/{method}", "params": params}


def subscribe(*names: str, ident: int = 1) -> dict[str, Any]:
    return {"method": "SUBSCRIBE", "params": list(names), "id": ident}


class Book:
    """Levels by their float price, with the venue's own joining rules."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[float, float]] = {"bids": {}, "asks": {}}
        self.sequence: int | None = None
        self.gaps = 0

    def replace(self, sequence: int, bids: Any, asks: Any) -> None:
        self.sides = {"bids": {}, "asks": {}}
        self.sequence = sequence
        self.apply(bids, asks)

    def apply(self, bids: Any, asks: Any) -> None:
        for side, levels in (("bids", bids), ("asks", asks)):
            for level in levels:
                price, size = float(level[-2]), float(level[-1])
                if size:
                    self.sides[side][price] = size
                else:
                    self.sides[side].pop(price, None)

    def equals(self, row: dict[str, Any]) -> bool:
        wanted = {
            side: {float(price): float(size) for price, size in row[side]}
            for side in ("bids", "asks")
        }
        return self.sides == wanted

    def feed_deribit(self, data: dict[str, Any]) -> None:
        if data["type"] == "snapshot":
            self.replace(data["change_id"], data["bids"], data["asks"])
        else:
            self.gaps += data["prev_change_id"] != self.sequence
            self.apply(data["bids"], data["asks"])
            self.sequence = data["change_id"]

    def feed_usdm(self, data: dict[str, Any], first: bool) -> bool:
        """False when the message is from before the snapshot."""
        assert self.sequence is not None
        if first:
            if data["u"] < self.sequence:
                return False
            self.gaps += not (data["U"] <= self.sequence <= data["u"]) and (
                data["pu"] != self.sequence
            )
        else:
            self.gaps += data["pu"] != self.sequence
        self.apply(data["b"], data["a"])
        self.sequence = data["u"]
        return True

    def feed_spot(self, data: dict[str, Any]) -> bool:
        assert self.sequence is not None
        if data["u"] <= self.sequence:
            return False
        self.gaps += not data["U"] <= self.sequence + 1 <= data["u"]
        self.apply(data["b"], data["a"])
        self.sequence = data["u"]
        return True


def final_books(journal: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["final_book"]: row for row in journal if "final_book" in row}


def sent_rows(journal: list[dict[str, Any]], stream: str) -> list[dict[str, Any]]:
    return [row for row in journal if row.get("stream") == stream]
