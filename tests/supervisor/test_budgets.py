"""Connection permits, REST weight and restart budgets never exceed what they promise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from feedd.clock import SECOND_NS, monotonic_ns
from feedd.errors import ConfigError, StartError, VenueError
from feedd.reader.net import is_loopback, retry_after_s
from feedd.supervisor.buckets import Bucket, PermitDesk
from feedd.supervisor.fetch import Fetcher, fill_url
from feedd.supervisor.process import RestartBudget
from feedd.supervisor.reference import choose
from feedd.supervisor.registry import Registry
from feedd.venues.session_schema import RestLimits

S = SECOND_NS


@given(st.integers(2, 50), st.integers(1, 60), st.lists(st.integers(0, 20_000), max_size=200))
@settings(max_examples=80, deadline=None)
def test_no_window_ever_sees_more_than_the_limit(
    limit: int, window_s: int, steps_ms: list[int]
) -> None:
    bucket = Bucket(limit, window_s * S, 0)
    now, taken = 0, []
    for step in steps_ms:
        now += step * 1_000_000
        while bucket.take(now):
            taken.append(now)
    for i, start in enumerate(taken):
        assert sum(t < start + window_s * S for t in taken[i:]) <= limit


def test_a_bucket_says_how_long_to_wait() -> None:
    bucket = Bucket(10, S, 0)
    for _ in range(5):
        assert bucket.take(0)
    assert not bucket.take(0)
    wait = bucket.wait_ns(0)
    assert not bucket.take(wait // 2)
    assert bucket.take(wait + 1)
    assert bucket.take(10 * S, 1000), "more than the capacity costs all of it, not for ever"


def test_permits_are_first_come_first_served_and_survive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "permits.json"
    desk = PermitDesk(path)
    desk.add_venue("v", 4, 60, 0, 1_000 * S)
    for line in range(5):
        desk.ask("v", 0, line)
        desk.ask("v", 0, line)
    assert desk.grants(0, 1_000 * S) == [("v", 0, 0), ("v", 0, 1)]
    assert desk.waiting("v") == 3
    again = PermitDesk(path)
    again.add_venue("v", 4, 60, 0, 1_001 * S)
    again.ask("v", 1, 7)
    assert again.grants(0, 1_001 * S) == [], "the new daemon goes on with the old budget"
    assert again.grants(30 * S, 1_031 * S) == [("v", 1, 7)]
    again.ask("v", 1, 8)
    again.forget(1)
    assert again.waiting("v") == 0


@pytest.mark.parametrize("text", ["", "[]", '{"v": 3}', '{"v": ["x", 1]}', "\x00"])
def test_a_damaged_permit_file_starts_anew(tmp_path: Path, text: str) -> None:
    path = tmp_path / "permits.json"
    path.write_text(text)
    desk = PermitDesk(path)
    desk.add_venue("v", 4, 60, 0, S)
    desk.ask("v", 0, 0)
    assert desk.grants(0, S)


def test_a_venue_that_turns_one_away_is_left_alone_by_all() -> None:
    desk = PermitDesk(None)
    for venue in "vw":
        desk.add_venue(venue, 40, 60, 0, S)
        desk.ask(venue, 0, 0)
        desk.ask(venue, 1, 0)
    assert desk.hold("v", 10 * S, 0, S)
    assert not desk.hold("v", 10 * S + 1, 0, S), "the next line says the same"
    assert not desk.hold("v", 3 * S, 0, S)
    assert desk.grants(S, S) == [("w", 0, 0), ("w", 1, 0)]
    assert desk.grants(10 * S, S) == []
    assert desk.grants(11 * S, S) == [("v", 0, 0), ("v", 1, 0)]


def test_a_ban_is_kept_over_restarts(tmp_path: Path, caplog: Any) -> None:
    path = tmp_path / "permits.json"
    desk = PermitDesk(path)
    desk.add_venue("v", 40, 60, 5 * S, 1_000 * S)
    desk.hold("v", 35 * S, 5 * S, 1_000 * S)
    desk.hold("v rest", 125 * S, 5 * S, 1_000 * S)
    again = PermitDesk(path)  # ten seconds later, the machine was started anew
    again.add_venue("v", 40, 60, S, 1_010 * S)
    again.ask("v", 0, 0)
    assert again.held("v rest", S, 1_010 * S) == 111 * S
    told = "turned away before the restart, for"
    assert [r.getMessage().partition(" s more")[0] for r in caplog.records] == [
        f"v: {told} 20", f"v rest: {told} 110",
    ]  # fmt: skip
    assert again.grants(20 * S, 1_029 * S) == []
    assert again.grants(22 * S, 1_031 * S) == [("v", 0, 0)]
    third = PermitDesk(path)
    third.add_venue("v", 40, 60, S, 1_200 * S)
    assert third.held("v", S, 1_200 * S) == third.held("v rest", S, 1_200 * S) == 0
    fourth = PermitDesk(path)
    fourth.add_venue("v", 40, 60, S, S)
    assert fourth.held("v rest", S, -(10**6) * S) == 0, "no ban is that long: the clock is wrong"


def test_permits_are_given_while_the_disk_is_full(tmp_path: Path, caplog: Any) -> None:
    state = tmp_path / "state"
    desk = PermitDesk(state / "permits.json")  # no such directory: every write fails
    desk.add_venue("v", 40, 60, 0, S)
    for line in range(3):
        desk.ask("v", 0, line)
        assert desk.grants(0, S) == [("v", 0, line)]
    (message,) = [r.getMessage() for r in caplog.records]
    assert "permits.json: cannot be written (No such file or directory)" in message
    state.mkdir()
    desk.ask("v", 0, 3)
    assert desk.grants(0, S)
    assert (state / "permits.json").exists()


def test_an_id_that_could_not_be_kept_is_not_given(tmp_path: Path, monkeypatch: Any) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    one = Registry(tmp_path, tmp_path / "state")
    one.add(["v:A"])
    with monkeypatch.context() as patch:
        patch.setattr("feedd.supervisor.registry.os.fsync", full)
        for _ in range(2):  # a reader asks again
            with pytest.raises(OSError, match="No space"):
                one.add(["v:B"])
        assert len(one) == 1
        assert [path.name for path in (tmp_path / "state").iterdir()] == ["instruments.json"]
        config: Any = SimpleNamespace(venues={"v": SimpleNamespace(instruments=("D",))})
        with pytest.raises(
            StartError, match=r"cannot write .*state/instruments.json: No space left"
        ):
            choose(config, {}, one)
    one.close()
    two = Registry(tmp_path, tmp_path / "state")
    two.add(["v:C", "v:B"])
    assert [two.id_of(f"v:{x}") for x in "ACB"] == [0, 1, 2]
    two.close()


def test_restart_budget() -> None:
    budget = RestartBudget()
    pauses = [budget.next_pause_s(i * S) for i in range(6)]
    assert pauses == [0.0, 0.25, 0.5, 1.0, 2.0, None]
    assert budget.next_pause_s(70 * S) == 0.0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("7", 7.0),
        ("-3", 0.0),
        ("soon", None),
        ("nan", 0.0),
        ("1e99", 259_200.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
    ],
)
def test_retry_after(value: str | None, expected: float | None) -> None:
    assert retry_after_s(value, 10 * S) == expected


def test_loopback() -> None:
    assert is_loopback("ws://localhost:1/x")
    assert is_loopback("ws://127.0.0.9")
    assert is_loopback("ws://[::1]:3/")
    assert not is_loopback("ws://127.0.0.1.example.org")
    assert not is_loopback("ws://10.0.0.1")


@asynccontextmanager
async def server(handler: object) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/{tail:.*}", handler)  # type: ignore[arg-type]
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_fetcher_stays_inside_concurrency_and_honours_retry_after() -> None:
    state = {"now": 0, "most": 0, "n": 0}

    async def handler(request: web.Request) -> web.Response:
        state["n"] += 1
        number = state["n"]
        state["now"] += 1
        state["most"] = max(state["most"], state["now"])
        await asyncio.sleep(0.02)
        state["now"] -= 1
        if number == 5:
            return web.Response(status=429, headers={"Retry-After": "0.4"})
        return web.json_response({"path": request.path_qs})

    fetcher = Fetcher("v", RestLimits(weight_max=10_000, concurrency=2))
    async with server(handler) as base:
        responses = await asyncio.gather(*(fetcher.get(f"{base}/a?n={i}") for i in range(5)))
        assert sorted(r.status for r in responses) == [200, 200, 200, 200, 429]
        assert state["most"] == 2
        started = monotonic_ns()
        assert (await fetcher.get(f"{base}/b")).status == 200
        assert monotonic_ns() - started > 0.3 * S
        await fetcher.close()
    assert fetcher.failures == 1


@pytest.mark.parametrize("status", [418, 429, 503])
async def test_whoever_waits_for_a_place_hears_that_the_venue_said_no(status: int) -> None:
    asked = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        if asked > 2:
            return web.json_response({})
        await asyncio.sleep(0.02)
        return web.Response(status=status, headers={"Retry-After": "0.4"})

    fetcher = Fetcher("v", RestLimits(weight_max=10_000, concurrency=2))
    async with server(handler) as base:
        requests = [asyncio.create_task(fetcher.get(base)) for _ in range(12)]
        await asyncio.sleep(0.3)
        assert asked == 2, "ten were let in before the venue said no"
        assert fetcher.failures == 2
        statuses = sorted(r.status for r in await asyncio.gather(*requests))
        assert statuses == [200] * 10 + [status] * 2
        await fetcher.close()


async def test_a_ban_until_a_moment_that_is_past_here_is_a_ban() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=418, headers={"Retry-After": "Thu, 01 Jan 1970 00:01:40 GMT"})

    fetcher, told = Fetcher("v", RestLimits(weight_max=10_000)), list[int]()
    fetcher.on_blocked = told.append
    async with server(handler) as base:
        await fetcher.get(base)
        assert told == [fetcher.blocked_until_ns]
        assert fetcher.blocked_until_ns - monotonic_ns() > 100 * S
        await fetcher.close()


async def test_fetcher_weight_budget_paces_requests() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text="{}")

    fetcher = Fetcher("v", RestLimits(weight_max=40, window_s=1, concurrency=8))
    async with server(handler) as base:
        started = monotonic_ns()
        await asyncio.gather(*(fetcher.get(base, 5) for _ in range(8)))
        assert monotonic_ns() - started > 0.9 * S, "4 at once, 4 more at 20 weight a second"
        await fetcher.close()


async def test_fetcher_refuses_redirects_and_names_failures() -> None:
    async def handler(request: web.Request) -> web.Response:
        if request.path == "/move":
            raise web.HTTPFound("/elsewhere")
        return web.Response(status=403, text="go away")

    fetcher = Fetcher("v", RestLimits(weight_max=1000))
    async with server(handler) as base:
        assert (await fetcher.get(f"{base}/move")).status == 302
        with pytest.raises(VenueError, match="HTTP 403: go away"):
            await fetcher.get_ok(base)
    with pytest.raises(VenueError, match="failed"):
        await fetcher.get(base)
    await fetcher.close()


def test_symbols_are_percent_encoded_in_addresses() -> None:
    assert fill_url("/d?symbol={symbol}&limit={limit}", symbol="A&b=ü", limit=5) == (
        "/d?symbol=A%26b%3D%C3%BC&limit=5"
    )


def test_ids_are_stable_over_restarts(tmp_path: Path) -> None:
    one = Registry(tmp_path, tmp_path / "state")
    one.add(["v:A", "v:B"])
    one.close()
    two = Registry(tmp_path, tmp_path / "state")
    assert len(two) == 2, "a restarted daemon goes on with the same table"
    two.add(["v:C", "v:A"])
    assert [two.id_of(f"v:{x}") for x in "ABC"] == [0, 1, 2]
    two.close()
    (tmp_path / "instruments").unlink()
    three = Registry(tmp_path, tmp_path / "state")
    three.add(["v:D"])
    assert [three.id_of(f"v:{x}") for x in "ABCD"] == [0, 1, 2, 3]
    three.close()
    (tmp_path / "state" / "instruments.json").write_text("{")
    with pytest.raises(ConfigError, match="move it"):
        Registry(tmp_path, tmp_path / "state")


async def test_the_most_urgent_request_goes_first_and_waiting_makes_urgent() -> None:
    order: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        order.append(request.match_info["name"])
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_get("/{name}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    # one request at once, the next ones half a second apart: the others are all there by then
    fetcher = Fetcher("v", RestLimits(weight_max=2, window_s=1.0, concurrency=1))
    try:
        await fetcher.get(f"{base}/first")
        waiting = [
            asyncio.create_task(fetcher.get(f"{base}/{name}", urgency_s=urgency))
            for name, urgency in (("list", 0.0), ("option", 61.0), ("swap", 68.0), ("late", 61.0))
        ]
        await asyncio.sleep(0)
        gone = asyncio.create_task(fetcher.get(f"{base}/gone", urgency_s=99.0))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(*waiting)
    finally:
        await fetcher.close()
        await runner.cleanup()
    assert order == ["first", "swap", "option", "late", "list"]
