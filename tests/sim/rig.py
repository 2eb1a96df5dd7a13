"""What the tests of the venues with in-stream books share: run, stop, compare with the journal."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

from feedd.sim.testing import SimHandle
from tests.sim.client import Client, connect, final_books

LOOK_S = 0.1
Sides = dict[str, dict[float, float]]


@contextlib.asynccontextmanager
async def opened(sim: SimHandle, venue: str, path: str, **options: Any) -> AsyncIterator[Client]:
    """A connection to a venue's own path."""
    async with connect(sim, f"/{venue}{path}", **options) as client:
        yield client


async def run(
    sim: SimHandle, *clients: Client, seconds: float = 0.8
) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """Let it run, stop it, read all clients empty; returns journal and final books."""
    stopped = asyncio.Event()
    readers = [asyncio.create_task(_read(client, stopped)) for client in clients]
    await asyncio.sleep(seconds)
    status = await asyncio.to_thread(sim.control, "stop")
    assert status["running"] is False
    stopped.set()
    await asyncio.gather(*readers)
    journal = sim.journal()
    assert journal[-1]["stopped"] is True
    return journal, final_books(journal)


async def _read(client: Client, stopped: asyncio.Event) -> None:
    """Take frames until the venue stopped, and then all that it sent before."""
    while not stopped.is_set():
        with contextlib.suppress(TimeoutError):
            if await client.receive_text(LOOK_S) is None:
                return
    await client.read_empty()


def parsed(client: Client) -> list[Any]:
    """Every frame of a client as JSON; other text as it is."""
    found = []
    for frame in client.frames:
        try:
            found.append(json.loads(frame))
        except ValueError:
            found.append(frame)
    return found


def empty() -> Sides:
    return {"bids": {}, "asks": {}}


def put(book: Sides, side: str, levels: Iterable[Any]) -> None:
    """Apply absolute levels (price, size); size 0 deletes."""
    for price, size in levels:
        if float(size):
            book[side][float(price)] = float(size)
        else:
            book[side].pop(float(price), None)


def final_sides(row: dict[str, Any], depth: int | None = None) -> Sides:
    """The journal's book, its best ``depth`` levels."""
    return {
        side: {float(price): float(size) for price, size in row[side][:depth]}
        for side in ("bids", "asks")
    }


def events_of(journal: list[dict[str, Any]], stream: str, conn: int = 0) -> list[dict[str, Any]]:
    """Events of a stream's rows in wire order, of one connection if it is named."""
    return [
        event
        for row in journal
        if row.get("stream") == stream and conn in (0, row["conn"])
        for event in row["events"]
    ]
