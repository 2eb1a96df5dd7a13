"""Bybit's four families as a client meets them that knows only the venue's documents."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feedd.sim.testing import SimHandle, start_sim
from tests.sim.strangers import Tap, check, finish, kinds, tap

FAMILIES = ("spot", "linear", "inverse", "option")
VENUES = ",".join(f"bybit_{family}" for family in FAMILIES)
OPTIONS: dict[str, Any] = {"tls": False, "seed": 3, "rate": 2500}
DEPTH = {"option": 100}


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimHandle]:
    with start_sim(tmp_path_factory.mktemp("bybit"), venues=VENUES, **OPTIONS) as handle:
        yield handle


def path(family: str) -> str:
    return f"/v5/public/{family}"


def is_ack(message: Any) -> bool:
    return "success" in message


async def subscribe(client: Tap, *topics: str, op: str = "subscribe") -> Any:
    return await client.ask({"req_id": "a1", "op": op, "args": list(topics)}, is_ack)


@pytest.mark.parametrize("family", FAMILIES)
async def test_every_channel_says_what_the_journal_says(tmp_path: Path, family: str) -> None:
    venue = f"bybit_{family}"
    with start_sim(tmp_path, venues=venue, one_sided=True, **OPTIONS) as sim:
        symbols = sim.instruments[venue]
        topics = [f"orderbook.{DEPTH.get(family, 50)}.{s}" for s in symbols]
        topics += [f"tickers.{s}" for s in symbols]
        if family == "option":
            topics += ["publicTrade.BTC", "publicTrade.ETH"]
        else:
            topics += [f"{name}.{s}" for s in symbols for name in ("publicTrade", "orderbook.1")]
        if family in ("linear", "inverse"):
            topics += [f"allLiquidation.{s}" for s in symbols]
        async with tap(sim, venue, path(family)) as client:
            for start in range(0, len(topics), 10):
                some = topics[start : start + 10]
                ack = await subscribe(client, *some)
                assert ack["success"] is True
                if family == "option":
                    assert ack["data"] == {"failTopics": [], "successTopics": some}
                else:
                    assert (ack["op"], ack["req_id"]) == ("subscribe", "a1")
            await client.read_for(2.5)
            journal = await finish(sim, client)
    result, events = check(venue, [client], journal)
    expected = {"book", "trade", "quote", "deriv"}
    expected |= {"option": {"greeks"}, "spot": set()}.get(family, {"liquidation"})
    assert kinds(events) == expected
    assert len(result.books) == len(symbols)
    books = [json.loads(t) for t in client.texts if f'"orderbook.{DEPTH.get(family, 50)}.' in t]
    numbers: dict[str, int] = {}
    for message in (m for m in books if "topic" in m):
        update, topic = message["data"]["u"], message["topic"]
        assert (message["type"] == "delta") == (topic in numbers)
        assert update == numbers.get(topic, update - 1) + 1
        numbers[topic] = update
        assert len(message["data"]["b"]) <= 2 * DEPTH.get(family, 50)
        assert message["ts"] > message["cts"]


async def test_the_best_prices_are_repeated_with_the_same_number(tmp_path: Path) -> None:
    # hardly a step a second: most pushes of the best prices are repetitions
    with start_sim(tmp_path, venues="bybit_linear", **{**OPTIONS, "rate": 61}) as sim:
        async with tap(sim, "bybit_linear", path("linear")) as client:
            await subscribe(client, "orderbook.1.BTCUSDT-" + code(sim))
            await client.read_for(7.0)
            journal = await finish(sim, client)
    pushes = [json.loads(t) for t in client.texts if '"topic"' in t]
    assert {p["type"] for p in pushes} == {"snapshot"}
    again = [a for a, b in itertools.pairwise(pushes) if a["data"]["u"] == b["data"]["u"]]
    assert again
    check("bybit_linear", [client], journal)


def code(sim: SimHandle) -> str:
    return sim.instruments["bybit_linear"][-1].partition("-")[2]


async def pushed(client: Tap, snapshots: int) -> None:
    """Read until that many snapshots came, and a change after the last of them."""

    def kinds() -> list[str]:
        messages = map(json.loads, client.texts)
        return [message["type"] for message in messages if "topic" in message]

    async with asyncio.timeout(20):
        while kinds().count("snapshot") < snapshots or kinds()[-1] != "delta":
            assert await client.receive() is not None


async def test_snapshots_in_mid_stream_and_after_a_restart(tmp_path: Path) -> None:
    with start_sim(tmp_path, venues="bybit_linear", **OPTIONS) as sim:
        async with tap(sim, "bybit_linear", path("linear")) as client:
            await subscribe(client, "orderbook.50.BTCUSDT")
            await pushed(client, snapshots=1)
            for count, event in ((2, "snapshot"), (3, "reset")):
                body = {"event": event, "venue": "bybit_linear", "symbol": "BTCUSDT"}
                told = await asyncio.to_thread(sim.control, "event", body)
                assert told == {"venues": ["bybit_linear"]}
                await pushed(client, snapshots=count)
            journal = await finish(sim, client)
    numbers = [(m["type"], m["data"]["u"]) for m in map(json.loads, client.texts) if "topic" in m]
    snapshots = [number for kind, number in numbers if kind == "snapshot"]
    assert len(snapshots) == 3
    assert snapshots[0] < snapshots[1]
    assert snapshots[2] == 1
    assert ("delta", 2) in numbers
    check("bybit_linear", [client], journal)


async def test_bad_topics_and_limits(lasting: SimHandle) -> None:
    async with tap(lasting, "bybit_linear", path("linear")) as client:
        refused = await subscribe(client, "publicTrade.BTCUSDT", "orderbook.50.NOSUCH")
        assert refused["success"] is False
        assert refused["ret_msg"] == "error:handler not found,topic:orderbook.50.NOSUCH"
        await client.drain(0.3)
        assert not any('"topic":"publicTrade' in t for t in client.texts)
        long = await subscribe(client, "orderbook.50." + "X" * 21_000)
        assert "21000" in long["ret_msg"]
        assert (await subscribe(client, op="nothing"))["success"] is False
    async with tap(lasting, "bybit_spot", path("spot")) as client:
        many = await subscribe(client, *[f"orderbook.{n}.BTCUSDT" for n in range(11)])
        assert (many["success"], many["ret_msg"]) == (False, "error:args size >10")
    async with tap(lasting, "bybit_option", path("option")) as client:
        symbol = lasting.instruments["bybit_option"][0]
        partly = await subscribe(client, "orderbook.25.NO", f"orderbook.25.{symbol}")
        assert partly["data"]["failTopics"] == ["orderbook.25.NO"]
        await client.until(lambda m: m.get("topic") == f"orderbook.25.{symbol}")
        await subscribe(client, f"orderbook.25.{symbol}", op="unsubscribe")
        await client.drain(0.2)
    with pytest.raises(Exception, match="404"):
        async with tap(lasting, "bybit_spot", path("linear")):
            pass


async def test_each_family_has_its_pong(lasting: SimHandle, tmp_path: Path) -> None:
    for family in FAMILIES:
        async with tap(lasting, f"bybit_{family}", path(family)) as client:
            await client.send({"req_id": "p7", "op": "ping"})
            pong = await client.receive()
            if family == "option":
                assert (pong["op"], pong["args"][0].isdigit()) == ("pong", True)
            else:
                assert (pong["ret_msg"], pong["op"], pong["req_id"]) == ("pong", "ping", "p7")
    with start_sim(tmp_path, venues="bybit_spot", idle_s=0.3, **OPTIONS) as sim:
        async with tap(sim, "bybit_spot", path("spot")) as client:
            assert await client.ended(3) in (None, 1000, 1006)


def test_reference_data_has_pages_and_books_a_limit(lasting: SimHandle) -> None:
    for family in FAMILIES:
        found: list[dict[str, Any]] = []
        for base in ("&baseCoin=BTC", "&baseCoin=ETH") if family == "option" else ("",):
            cursor = ""
            while True:
                where = f"/bybit_{family}/v5/market/instruments-info?category={family}&limit=2"
                status, body = lasting.get(f"{where}{base}&cursor={cursor}")
                assert (status, body["retCode"]) == (200, 0)
                assert len(body["result"]["list"]) <= 2
                found += body["result"]["list"]
                cursor = body["result"]["nextPageCursor"]
                if not cursor:
                    break
        assert {r["symbol"] for r in found} == set(lasting.instruments[f"bybit_{family}"])
        assert all(r["status"] == "Trading" and r["priceFilter"]["tickSize"] for r in found)
        symbol = found[0]["symbol"]
        where = f"/bybit_{family}/v5/market/orderbook?category={family}&symbol={symbol}&limit="
        book = lasting.get(where + "20")[1]["result"]
        assert len(book["b"]) == 20
        assert lasting.get(where + "100000")[1]["retCode"] == 10_001
    linear = lasting.get("/bybit_linear/v5/market/instruments-info?category=linear")[1]
    types = {r["contractType"] for r in linear["result"]["list"]}
    assert types == {"LinearPerpetual", "LinearFutures"}
    where = "/bybit_linear/v5/market/instruments-info?category=linear&status=PreLaunch"
    assert lasting.get(where)[1]["result"]["list"] == []
    wrong = lasting.get("/bybit_linear/v5/market/instruments-info?category=spot")[1]
    assert wrong["retCode"] == 10_001
