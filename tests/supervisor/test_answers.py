"""What readers ask their supervisor for: every question is answered, and asked once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from feedd.clock import monotonic_ns, now_ns
from feedd.supervisor.buckets import PermitDesk
from feedd.supervisor.config import load_config
from feedd.supervisor.fetch import Response
from feedd.supervisor.follow import Follower
from feedd.supervisor.run import Supervisor

VENUE = "binance_usdm"


class Reader:
    def __init__(self, key: int) -> None:
        self.permit_key = key
        self.answers: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any], body: bytes = b"") -> None:
        self.answers.append(message)


class Slow:
    """A venue that lets requests wait: for a ban, or for its budget."""

    def __init__(self) -> None:
        self.urls: list[str] = []
        self.gate = asyncio.Event()

    async def get(self, url: str, *_: object, **__: object) -> Response:
        self.urls.append(url)
        await self.gate.wait()
        return Response(200, b"{}", now_ns())


def supervisor(directory: Path) -> Supervisor:
    path = directory / "feedd.toml"
    path.write_text(
        f"""[instance]
directory = "{directory}/run"
state_directory = "{directory}/state"
[venues.{VENUE}]
instruments = ["BTCUSDT", "ETHUSDT"]
channels = ["depth"]
"""
    )
    return Supervisor(load_config(path))


async def test_a_snapshot_that_still_waits_is_not_asked_for_once_more(tmp_path: Path) -> None:
    daemon, slow = supervisor(tmp_path), Slow()
    daemon.fetchers[VENUE] = slow  # type: ignore[assignment]
    one, other = Reader(1), Reader(2)

    async def ask(reader: Reader, symbol: str) -> None:
        wanted = {"op": "snapshot", "venue": VENUE, "symbol": symbol, "channel": "depth"}
        daemon._on_message(reader, wanted, b"")  # type: ignore[arg-type]
        await asyncio.sleep(0)

    for _ in range(10):  # as a reader does every minute
        await ask(one, "BTCUSDT")
    assert len(slow.urls) == 1
    await ask(one, "ETHUSDT")
    await ask(other, "BTCUSDT")
    assert len(slow.urls) == 3, "another book and another process have one each"
    slow.gate.set()
    await asyncio.sleep(0.01)
    assert [a["symbol"] for a in one.answers] == ["BTCUSDT", "ETHUSDT"]
    assert [a["symbol"] for a in other.answers] == ["BTCUSDT"]
    await ask(one, "BTCUSDT")
    assert len(slow.urls) == 4, "once it is answered it may be asked for again"


async def test_a_token_that_cannot_be_had_is_an_answer_too(tmp_path: Path, caplog: Any) -> None:
    daemon, reader = supervisor(tmp_path), Reader(1)

    class Desk:
        async def token(self) -> str:
            raise IndexError("what the venue answered was never seen before")

    daemon._tokens[VENUE] = Desk()  # type: ignore[assignment]
    daemon._wants_token.add((VENUE, 1, 7))
    daemon._permit(reader, VENUE, 7)  # type: ignore[arg-type]
    await asyncio.sleep(0.01)
    refused = "no token: IndexError"
    assert reader.answers == [{"op": "permit", "venue": VENUE, "line": 7, "refused": refused}]
    assert "never seen before" in caplog.text


async def test_a_list_that_cannot_be_used_is_not_the_last_one(tmp_path: Path, caplog: Any) -> None:
    daemon = supervisor(tmp_path)
    follower = Follower(daemon.venues[VENUE], "http://x", None, None, [], lambda _: None)  # type: ignore[arg-type]
    asked: list[int] = []

    async def refresh() -> Any:
        asked.append(1)
        raise KeyError("a mistake of ours")

    follower.refresh = refresh  # type: ignore[method-assign]
    life = asyncio.create_task(follower.run())
    for turn in range(1, 4):
        follower._want()
        async with asyncio.timeout(5):
            while len(asked) < turn:
                await asyncio.sleep(0.001)
    life.cancel()
    assert caplog.text.count(f"{VENUE}: the list of instruments was not used") == 3
    assert follower.failures == 3


async def test_who_is_turned_away_tells_everybody(tmp_path: Path, caplog: Any) -> None:
    daemon = supervisor(tmp_path)
    daemon.permits = PermitDesk(None)
    daemon.permits.add_venue(VENUE, 100, 60, monotonic_ns(), now_ns())
    for key in (1, 2):
        daemon._on_message(Reader(key), {"op": "permit", "venue": VENUE, "line": 0}, b"")  # type: ignore[arg-type]
    told = {"op": "stay_away", "venue": VENUE, "seconds": 30.0}
    for key in (3, 4):
        daemon._on_message(Reader(key), told, b"")  # type: ignore[arg-type]
    assert daemon.permits.grants(monotonic_ns(), now_ns()) == []
    assert daemon.permits.waiting(VENUE) == 2
    (message,) = [r.getMessage() for r in caplog.records]
    assert message == (
        f"{VENUE} turns connections away: no new connection to this venue for the next 30 s"
    )


async def test_a_permit_is_given_once_while_one_process_takes_over(tmp_path: Path) -> None:
    daemon, new = supervisor(tmp_path), Reader(1)
    daemon.permits = PermitDesk(None)
    daemon.permits.add_venue(VENUE, 100, 60, monotonic_ns(), now_ns())
    daemon.readers[0] = daemon.handovers.standbys[0] = new  # type: ignore[assignment]
    daemon._on_message(new, {"op": "permit", "venue": VENUE, "line": 3}, b"")  # type: ignore[arg-type]
    granting = asyncio.create_task(daemon._grant_forever())
    await asyncio.sleep(0.05)
    granting.cancel()
    assert new.answers == [{"op": "permit", "venue": VENUE, "line": 3}]


async def test_a_storm_of_hangups_is_two_reloads(tmp_path: Path) -> None:
    daemon = supervisor(tmp_path)
    daemon._terminal, daemon.service.ready = False, True
    begun: list[int] = []
    gate = asyncio.Event()

    async def reload() -> None:
        begun.append(1)
        await gate.wait()

    daemon.reloader.reload = reload  # type: ignore[assignment, method-assign]
    for _ in range(100):
        daemon._on_hangup()
        await asyncio.sleep(0)
    gate.set()
    await asyncio.sleep(0.01)
    assert len(begun) == 2, "the one that ran, and one for what was changed since it began"
    daemon._on_hangup()
    await asyncio.sleep(0.01)
    assert len(begun) == 3
