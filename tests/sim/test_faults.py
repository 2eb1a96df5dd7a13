"""Each fault does to the wire what it says, and the journal says which message it hit."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from feedd.clock import monotonic_ns
from feedd.sim.faults import FaultError, Faults, altered, corrupted, parse
from feedd.sim.testing import SimHandle, start_sim
from tests.sim.client import Client, connect, deribit, sent_rows, subscribe

STREAM = "btcusdt@trade"


@pytest.fixture(scope="module")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimHandle]:
    with start_sim(tmp_path_factory.mktemp("sim"), rate=2000, seed=5) as handle:
        yield handle


@pytest.fixture(autouse=True)
def no_faults_left(sim: SimHandle) -> Iterator[None]:
    yield
    sim.control("fault", method="DELETE")


async def arm(sim: SimHandle, text: str) -> None:
    await asyncio.to_thread(sim.control, "fault", text)


async def collect(client: Client, count: int) -> list[int]:
    """Trade ids of the next ``count`` messages."""
    return [(await client.receive())["data"]["t"] for _ in range(count)]


async def trades_with(sim: SimHandle, fault: str, count: int = 12) -> list[int]:
    await arm(sim, fault)
    async with connect(sim, "/stream") as client:
        await client.answer(subscribe(STREAM))
        return await collect(client, count)


def steps(ids: list[int]) -> list[int]:
    return [b - a for a, b in itertools.pairwise(ids)]


async def test_drop_loses_exactly_that_message(sim: SimHandle) -> None:
    ids = await trades_with(sim, f"drop,stream={STREAM},nth=5")
    assert steps(ids) == [1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1]
    await asyncio.sleep(0.4)
    (row,) = [r for r in sent_rows(sim.journal(), STREAM) if r["fault"] == "drop"]
    assert row["events"][0]["trade_id"] == str(ids[3] + 1)


async def test_duplicate_sends_twice_and_nothing_more_is_due(sim: SimHandle) -> None:
    ids = await trades_with(sim, f"duplicate,stream={STREAM},nth=3")
    assert steps(ids)[:4] == [1, 1, 0, 1]
    await asyncio.sleep(0.4)
    (row,) = [r for r in sent_rows(sim.journal(), STREAM) if r["fault"] == "duplicate"]
    assert row["events"] == []


async def test_reorder_swaps_with_the_next(sim: SimHandle) -> None:
    ids = await trades_with(sim, f"reorder,stream={STREAM},nth=4")
    assert steps(ids) == [1, 1, 2, -1, 2, 1, 1, 1, 1, 1, 1]


async def test_alter_is_valid_and_wrong(sim: SimHandle) -> None:
    await arm(sim, f"alter,stream={STREAM},nth=2")
    async with connect(sim, "/stream") as client:
        await client.answer(subscribe(STREAM))
        got = [(await client.receive())["data"] for _ in range(4)]
    await asyncio.sleep(0.4)
    rows = {r["events"][0]["trade_id"]: r for r in sent_rows(sim.journal(), STREAM) if r["events"]}
    same = [rows[str(d["t"])]["events"][0]["price"] == d["p"] for d in got]
    assert same == [True, False, True, True]
    assert rows[str(got[1]["t"])]["fault"] == "alter"


@pytest.mark.parametrize("mode", ["json", "nan", "nest", "empty"])
async def test_corrupt_beside_the_good_frame(sim: SimHandle, mode: str) -> None:
    await arm(sim, f"corrupt,stream={STREAM},nth=2,beside=1,mode={mode}")
    async with connect(sim, "/stream") as client:
        await client.answer(subscribe(STREAM))
        good, bad = [], []
        for _ in range(6):
            message = await client.ws.receive(5)
            try:
                good.append(strict(message.data)["data"]["t"])
            except (ValueError, RecursionError):
                bad.append(message.data)
    assert len(bad) == 1
    assert steps(good) == [1, 1, 1, 1]


def strict(text: str) -> Any:
    def refuse(name: str) -> None:
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


async def test_corrupt_utf8_in_place_of_the_good_frame(sim: SimHandle) -> None:
    await arm(sim, f"corrupt,stream={STREAM},nth=2,mode=utf8")
    async with connect(sim, "/stream") as client:
        await client.answer(subscribe(STREAM))
        assert await client.receive() is not None
        message = await client.ws.receive(5)
        assert message.type is aiohttp.WSMsgType.ERROR or client.ws.close_code == 1007


async def test_corrupt_binary_and_fragments(sim: SimHandle) -> None:
    await arm(sim, f"corrupt,stream={STREAM},nth=2,mode=binary")
    await arm(sim, f"fragment,stream={STREAM}")
    async with connect(sim, "/stream") as client:
        await client.answer(subscribe(STREAM))
        kinds = [(await client.ws.receive(5)).type.name for _ in range(4)]
    assert kinds == ["TEXT", "BINARY", "TEXT", "TEXT"]


async def test_mute_silences_a_stream_or_a_whole_connection(sim: SimHandle) -> None:
    async with connect(sim, "/stream") as client:
        await client.answer(subscribe(STREAM, "ethusdt@trade"))
        await arm(sim, f"mute,stream={STREAM}")
        await client.drain(0.01)
        await asyncio.sleep(0.1)
        while (await client.receive())["stream"] == STREAM:
            pass
        names = {(await client.receive())["stream"] for _ in range(20)}
        assert names == {"ethusdt@trade"}
        number = newest(sim, await asyncio.to_thread(sim.control, "status"))
        await arm(sim, f"mute,conn={number}")
        await client.drain(0.5)
        await client.send({"method": "LIST_SUBSCRIPTIONS", "id": 9})
        assert await client.drain(0.4) == []


def newest(sim: SimHandle, status: dict[str, Any]) -> int:
    return max(connection["conn"] for connection in status["connections"])


@pytest.mark.parametrize(
    ("how", "code"), [("fin", 1006), ("rst", 1006), ("1001", 1001), ("4000", 4000)]
)
async def test_close_each_way(sim: SimHandle, how: str, code: int) -> None:
    await arm(sim, f"close,stream={STREAM},nth=3,how={how}")
    async with connect(sim, "/stream") as client:
        await client.answer(subscribe(STREAM))
        while True:
            message = await client.ws.receive(5)
            if message.type is not aiohttp.WSMsgType.TEXT:
                break
            client.frames.append(message.data)
        assert len(client.frames) == 4
        assert client.ws.close_code == code
    await asyncio.sleep(0.4)
    closes = [row["close"] for row in sim.journal() if "close" in row]
    assert f"{how} fault" in closes


async def test_half_close_then_silence(sim: SimHandle) -> None:
    await arm(sim, f"close,stream={STREAM},nth=3,how=half")
    async with connect(sim, "/stream") as client:
        await client.answer(subscribe(STREAM))
        while (await client.ws.receive(5)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert client.ws.close_code == 1006


async def test_close_without_a_message_happens_at_once(sim: SimHandle) -> None:
    async with connect(sim, "/ws/api/v2") as client:
        await client.answer(deribit("test"))
        await arm(sim, "close,venue=deribit,how=1012")
        assert await client.receive() is None
        assert client.close_code == 1012


async def test_slow_delays_and_keeps_the_order(sim: SimHandle) -> None:
    async with connect(sim, "/stream") as client:
        await client.answer(subscribe(STREAM))
        await client.receive()
        number = newest(sim, await asyncio.to_thread(sim.control, "status"))
        await arm(sim, f"slow,conn={number},delay_ms=400")
        await client.drain(0.2)
        before = monotonic_ns()
        await client.answer({"method": "LIST_SUBSCRIPTIONS", "id": 7})
        assert monotonic_ns() - before > 350_000_000
        ids = [json.loads(f)["data"]["t"] for f in client.frames if '"data"' in f]
        assert set(steps(ids)) == {1}


async def test_acks_can_be_lost(sim: SimHandle) -> None:
    await arm(sim, "drop,stream=!ack,venue=binance_spot,nth=1")
    async with connect(sim, "/stream") as client:
        await client.send(subscribe(STREAM))
        assert "stream" in await client.receive()
        assert await client.answer({"method": "LIST_SUBSCRIPTIONS", "id": 2}) is not None


async def test_rest_faults(sim: SimHandle) -> None:
    path = "/fapi/v1/depth?symbol=BTCUSDT&limit=1000"
    await arm(sim, "rest,venue=binance_usdm,stream=/fapi/v1/depth,status=429,count=1")
    await arm(sim, "rest,stream=/api/v3/depth,status=418,count=1")
    await arm(sim, "rest,stream=/api/v3/exchangeInfo,status=500,count=1")
    status, body = await asyncio.to_thread(sim.get, path)
    assert (status, body["code"]) == (429, -1003)
    status, fresh = await asyncio.to_thread(sim.get, path)
    assert status == 200
    assert (await asyncio.to_thread(sim.get, "/api/v3/depth?symbol=BTCUSDT"))[0] == 418
    status, page = await asyncio.to_thread(sim.get, "/api/v3/exchangeInfo")
    assert status == 500
    assert "<html>" in page
    await arm(sim, "rest,stale=1,delay_ms=200,count=1")
    before = monotonic_ns()
    _, stale = await asyncio.to_thread(sim.get, path)
    assert monotonic_ns() - before > 190_000_000
    assert stale["lastUpdateId"] < fresh["lastUpdateId"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("explode", "unknown action"),
        ("drop,where=3", "key=value"),
        ("drop,nth=many", "needs a number"),
        ("corrupt,mode=odd", "unknown mode"),
        ("close,how=softly", "close code"),
        ("drop,prob=2", "between 0 and 1"),
        ("slow", "delay_ms"),
        ("kill", "every_s"),
        ("rest", "status"),
    ],
)
def test_mistakes_are_explained(sim: SimHandle, text: str, word: str) -> None:
    with pytest.raises(FaultError, match=word):
        parse(text)
    with pytest.raises(ValueError, match=word):
        sim.control("fault", text)


def test_turns_are_counted_and_chances_are_seeded() -> None:
    def fired(text: str, seed: int = 1) -> list[int]:
        faults = Faults(seed, (text,))
        return [n for n in range(1, 41) if faults.firing("v", "s", "i", 1)]

    assert fired("drop,nth=7") == [7]
    assert fired("drop,every=10,after=3") == [13, 23, 33]
    assert fired("drop,count=2") == [1, 2]
    assert fired("drop,stream=other") == []
    some = fired("drop,prob=0.3")
    assert 3 < len(some) < 30
    assert some == fired("drop,prob=0.3")
    assert some != fired("drop,prob=0.3", seed=2)


def test_damage_is_damage() -> None:
    frame = b'{"stream":"x@trade","data":{"e":"trade","p":"61800.30","q":"0.5"}}'
    changed = json.loads(altered(frame))["data"]
    assert changed["p"] != "61800.30"
    assert changed["q"] == "0.5"
    for mode in ("json", "nan", "empty"):
        with pytest.raises(ValueError):  # noqa: PT011 - the words are those of the json module
            strict(corrupted(frame, mode).decode())
    with pytest.raises(UnicodeDecodeError):
        corrupted(frame, "utf8").decode()


async def test_kill_ends_a_random_connection_each_time_but_never_the_last(sim: SimHandle) -> None:
    async with connect(sim, "/stream") as one, connect(sim, "/stream") as two:
        for client in (one, two):
            await client.answer(subscribe(STREAM))
        await arm(sim, "kill,every_s=0.2,redundant=1,how=rst,venue=binance_spot")
        ends = await asyncio.gather(lives(one, 0.9), lives(two, 0.9))
        # one of the two is killed; the other then has no double and lives
        assert sorted(ends) == [False, True]


async def lives(client: Client, seconds: float) -> bool:
    """Whether the connection is still there after so long."""
    try:
        async with asyncio.timeout(seconds):
            while await client.receive() is not None:
                pass
    except TimeoutError:
        return True
    return False


async def test_a_redundant_fault_never_hits_both_copies(sim: SimHandle) -> None:
    await arm(sim, f"drop,stream={STREAM},prob=0.5,redundant=1")
    async with connect(sim, "/stream") as one:
        await one.answer(subscribe(STREAM))
        assert set(steps(await collect(one, 5))) == {1}
        async with connect(sim, "/stream") as two:
            await two.answer(subscribe(STREAM))
            await collect(two, 1)
            first = json.loads(two.frames[-1])["data"]["t"]
            both = [await collect(one, 60), await collect(two, 60)]
    whole = set(range(first, min(ids[-1] for ids in both)))
    assert whole <= set(both[0]) | set(both[1]) | {first}
    assert not whole <= set(both[0])
    assert not whole <= set(both[1])
