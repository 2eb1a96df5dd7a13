"""Clients that follow a venue's documents and know nothing of the simulator.

``record`` runs a client against a venue and keeps what went over the wire as a capture;
``check`` has the reference decoders of these tests (tests/reference) read it and compares every
record and every final book with the simulator's journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from decimal import Decimal
from typing import Any

import aiohttp

from feedd.sim.testing import SimHandle
from tests.reference.session import Result, decode_rows

Row = dict[str, Any]
QUIET_S = 0.15
PING = b"everything before this"
TIMEOUT_S = 10.0
_VALUES = ("bid_price", "bid_size", "ask_price", "ask_size", "price", "size", "side", "trade_id")
_TIMES = frozenset({"ts_event", "next_funding"})
_NOT_VALUES = frozenset({"kind", "instrument", "flags", "ts_recv", "channel", "numbering"})


class Tap:
    """One WebSocket connection; ``rows`` is the capture, ``texts`` the frames received."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse, name: str) -> None:
        self.ws = ws
        self.name = name
        self.rows: list[Row] = []
        self.texts: list[str] = []
        self._drained = False

    async def send(self, message: Any) -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        self.rows.append({"t": None, "dir": "out", "conn": self.name, "raw": text})
        await self.ws.send_str(text)

    async def receive(self, timeout: float = TIMEOUT_S) -> Any:
        """The next message: parsed JSON, or the text where it is none; None at the end."""
        message = await self.ws.receive(timeout)
        while message.type in (aiohttp.WSMsgType.PING, aiohttp.WSMsgType.PONG):
            if message.type is aiohttp.WSMsgType.PING:
                await self.ws.pong(message.data)
            self._drained = self._drained or message.data == PING
            message = await self.ws.receive(timeout)
        if message.type is not aiohttp.WSMsgType.TEXT:
            return None
        self.rows.append({"t": None, "dir": "in", "conn": self.name, "raw": message.data})
        self.texts.append(message.data)
        try:
            return json.loads(message.data)
        except ValueError:
            return message.data

    async def until(self, accept: Any, timeout: float = TIMEOUT_S) -> Any:
        """The first message that ``accept`` likes."""
        async with asyncio.timeout(timeout):
            while True:
                message = await self.receive()
                assert message is not None, f"ended with {self.ws.close_code}"
                if accept(message):
                    return message

    async def ask(self, message: Any, accept: Any) -> Any:
        """Send and wait for the answer."""
        await self.send(message)
        return await self.until(accept)

    async def drain(self, quiet: float = QUIET_S) -> None:
        """Read what was sent until now, however slow everything is, and until nothing came for
        ``quiet`` seconds."""
        self._drained = False
        with contextlib.suppress(ConnectionError):  # it may be closed: what came is there to read
            await self.ws.ping(PING)
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                try:
                    if await self.receive(quiet) is None:
                        return
                except TimeoutError:
                    if self._drained:
                        return

    async def read_for(self, seconds: float) -> None:
        """Read for a time, however much comes."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while await self.receive() is not None:
                    pass

    async def ended(self, timeout: float = TIMEOUT_S) -> int | None:
        """Read to the end of the connection; its close code."""
        async with asyncio.timeout(timeout):
            while await self.receive() is not None:
                pass
        return self.ws.close_code


@contextlib.asynccontextmanager
async def tap(sim: SimHandle, venue: str, path: str, name: str = "a", **more: Any) -> Any:
    """Open a connection to a venue's own path."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            sim.endpoints[venue]["ws"] + path, max_msg_size=0, autoping=False, **more
        ) as ws,
    ):
        yield Tap(ws, name)


async def finish(sim: SimHandle, *taps: Tap) -> list[Row]:
    """Stop the venue, read every connection empty; returns the whole journal."""
    await asyncio.to_thread(sim.control, "stop")
    await asyncio.gather(*(each.drain() for each in taps))
    return sim.journal()


def check(
    venue: str, taps: Iterable[Tap], journal: list[Row], rest: Iterable[Row] = ()
) -> tuple[Result, list[Row]]:
    """Decode what one client received and compare with what the venue says that it sent.

    Returns the reference's result and the journal's events.
    """
    rows = [*rest, *(row for each in taps for row in each.rows)]
    result = decode_rows(venue, rows)
    bad = result.complaints()
    assert not bad, bad[:3]
    due = [
        event
        for row in journal
        if row.get("venue") == venue and "stream" in row and row["fault"] is None
        for event in row["events"]
    ]
    data = [record for record in result.records if record["kind"] != "status"]
    wanted, found = _sorted(due), _sorted(data)
    assert wanted.keys() == found.keys()
    for key, events in wanted.items():
        assert len(found[key]) == len(events), key
        for got, event in zip(found[key], events, strict=True):
            assert got == event, key
    finals = {row["final_book"]: row for row in journal if "final_book" in row}
    for name, book in result.books.items():
        assert book.state == "live", name
        row = finals[name]
        for side, levels in zip(("bids", "asks"), book.levels(), strict=True):
            assert levels == [(Decimal(p), Decimal(s)) for p, s in row[side]], (name, side)
    return result, due


def _sorted(records: Iterable[Row]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Comparable values by kind and instrument, in order."""
    out: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        out[record["kind"], record["instrument"]].append(_values(record))
    return out


def _values(record: Row) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in record.items():
        if key in _NOT_VALUES or value is None:
            continue
        if key == "sequence" and record["kind"] == "trade" and _numbered_by_id(record):
            continue
        if key in ("bids", "asks"):
            # The order within a message is no matter but for one price that comes twice.
            levels = [(Decimal(str(p)), Decimal(str(s))) for p, s in value]
            values[key] = sorted(levels, key=lambda level: level[0])
        elif key in ("action", "side", "trade_id"):
            values[key] = value
        elif key in _TIMES or key == "sequence":
            if value:
                values[key] = int(value)
        else:
            values[key] = Decimal(str(value))
    return values


def _numbered_by_id(trade: Row) -> bool:
    """Binance numbers trades by their id; the reference repeats it as the sequence."""
    return str(trade["instrument"]).startswith("binance_")


def kinds(events: Iterable[Row]) -> set[str]:
    """The kinds of record among some events."""
    return {event["kind"] for event in events}


__all__ = ["AsyncIterator", "Tap", "check", "finish", "kinds", "tap"]
