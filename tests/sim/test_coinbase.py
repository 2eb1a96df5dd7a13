"""Coinbase Advanced Trade and Exchange as a client meets them that knows only the documents."""

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

ADVANCED, EXCHANGE = "coinbase", "coinbase_exchange"
OPTIONS: dict[str, Any] = {"tls": False, "seed": 3, "rate": 2000}


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimHandle]:
    options = {**OPTIONS, "rate": 400, "venues": f"{ADVANCED},{EXCHANGE}"}
    with start_sim(tmp_path_factory.mktemp("coinbase"), **options) as handle:
        yield handle


async def advanced(client: Tap, channel: str, *products: str, kind: str = "subscribe") -> Any:
    """One channel per request; the answer lists the whole set, after the first data."""
    request = {"type": kind, "channel": channel}
    if products:
        request["product_ids"] = list(products)
    return await client.ask(
        request, lambda m: m.get("channel") == "subscriptions" or m.get("type") == "error"
    )


async def exchange(client: Tap, *channels: Any, products: Any = (), kind: str = "subscribe") -> Any:
    request = {"type": kind, "product_ids": list(products), "channels": list(channels)}
    return await client.ask(request, lambda m: m["type"] in ("subscriptions", "error"))


async def test_advanced_says_what_the_journal_says_with_one_count(tmp_path: Path) -> None:
    with start_sim(tmp_path, venues=ADVANCED, **OPTIONS) as sim:
        products = sim.instruments[ADVANCED]
        await asyncio.sleep(0.5)
        async with tap(sim, ADVANCED, "/") as client:
            await advanced(client, "heartbeats")
            for channel in ("level2", "market_trades", "ticker"):
                ack = await advanced(client, channel, *products)
            assert ack["events"][0]["subscriptions"] == {
                "heartbeats": ["heartbeats"],
                "level2": products,
                "market_trades": products,
                "ticker": products,
            }
            await client.read_for(2.0)
            journal = await finish(sim, client)
    result, events = check(ADVANCED, [client], journal)
    assert kinds(events) == {"book", "trade", "quote"}
    assert len(result.books) == len(products)
    frames = [json.loads(text) for text in client.texts]
    assert [f["sequence_num"] for f in frames] == list(range(len(frames)))
    channels = {f["channel"] for f in frames}
    assert channels == {"heartbeats", "subscriptions", "l2_data", "market_trades", "ticker"}
    snapshot = next(f for f in frames if f["channel"] == "l2_data")["events"][0]
    sides = [level["side"] for level in snapshot["updates"]]
    assert snapshot["type"] == "snapshot"
    assert sides[:4] == ["bid", "offer", "bid", "offer"]
    past = next(f for f in frames if f["channel"] == "market_trades")["events"][0]
    ids = [int(row["trade_id"]) for row in past["trades"]]
    assert past["type"] == "snapshot"
    assert ids == sorted(ids, reverse=True)


async def test_two_connections_have_counts_of_their_own_and_the_same_content(
    tmp_path: Path,
) -> None:
    with start_sim(tmp_path, venues=ADVANCED, **OPTIONS) as sim:
        async with tap(sim, ADVANCED, "/", "a") as one, tap(sim, ADVANCED, "/", "b") as two:
            await advanced(one, "heartbeats")
            await advanced(one, "level2", "BTC-USD")
            await advanced(two, "level2", "BTC-USD")
            await asyncio.gather(one.read_for(0.5), two.read_for(0.5))
            await finish(sim, one, two)
    contents, numbers = [], []
    for client in (one, two):
        frames = [json.loads(text) for text in client.texts]
        numbers.append([f["sequence_num"] for f in frames])
        updates = [f for f in frames if f["channel"] == "l2_data"][1:]
        contents.append([(f["timestamp"], f["events"]) for f in updates])
    assert all(ids == list(range(len(ids))) for ids in numbers)
    assert len(numbers[0]) != len(numbers[1])
    shorter = min(map(len, contents))
    assert shorter > 3
    assert contents[0][-shorter:] == contents[1][-shorter:]


async def test_a_lost_frame_shows_in_the_count(tmp_path: Path) -> None:
    fault = "drop,stream=ticker:*,nth=5"
    with start_sim(tmp_path, venues=ADVANCED, fault=[fault], **OPTIONS) as sim:
        async with tap(sim, ADVANCED, "/") as client:
            await advanced(client, "level2", "BTC-USD")
            await advanced(client, "ticker", "BTC-USD", "ETH-USD")
            await client.read_for(1.0)
    numbers = [json.loads(text)["sequence_num"] for text in client.texts]
    steps = [b - a for a, b in itertools.pairwise(numbers)]
    assert sorted(set(steps)) == [1, 2]
    assert steps.count(2) == 1


async def test_advanced_errors_limits_and_silence(lasting: SimHandle) -> None:
    async with tap(lasting, ADVANCED, "/") as client:
        for request, word in (
            (("nothing",), "unknown channel"),
            (("level2",), "product_ids is required"),
            (("level2", *[f"P{n}-USD" for n in range(40)]), "too many L2 streams"),
        ):
            answer = await advanced(client, *request)
            assert answer["type"] == "error"
            assert word in answer["message"]
            assert "sequence_num" not in answer
        listed = await advanced(client, "ticker", "NO-SUCH", "BTC-USD")
        assert listed["events"][0]["subscriptions"] == {"ticker": ["BTC-USD"]}
        gone = await advanced(client, "ticker", "BTC-USD", kind="unsubscribe")
        assert gone["events"][0]["subscriptions"] == {}
        for _ in range(9):
            await client.send({"type": "subscribe", "channel": "heartbeats"})
        answer = await client.until(lambda m: m.get("type") == "error")
        assert answer["message"] == "rate limit exceeded"


async def test_a_client_must_subscribe_soon_and_wants_heartbeats(
    lasting: SimHandle, tmp_path: Path
) -> None:
    async with tap(lasting, ADVANCED, "/") as one, tap(lasting, EXCHANGE, "/") as two:
        codes = await asyncio.gather(one.ended(8), two.ended(8))
        assert codes == [1008, 1008]
    options = {**OPTIONS, "venues": ADVANCED, "idle_s": 0.4, "hold": True}
    with start_sim(tmp_path, **options) as sim:
        async with tap(sim, ADVANCED, "/") as silent, tap(sim, ADVANCED, "/") as beating:
            await advanced(silent, "level2", "BTC-USD")
            await advanced(beating, "heartbeats")
            assert await silent.ended(3) == 1001
            await beating.until(lambda m: m["channel"] == "heartbeats")
            second = await beating.until(lambda m: m["channel"] == "heartbeats")
            assert second["events"][0]["heartbeat_counter"] == 2


def test_advanced_reference_data(lasting: SimHandle) -> None:
    where = "/coinbase/api/v3/brokerage/market/"
    _, spot = lasting.get(f"{where}products?product_type=SPOT")
    _, futures = lasting.get(f"{where}products?product_type=FUTURE")
    found = [row["product_id"] for row in spot["products"] + futures["products"]]
    assert sorted(found) == sorted(lasting.instruments[ADVANCED])
    details = futures["products"][0]["future_product_details"]
    assert (details["contract_size"], details["contract_root_unit"]) == ("0.01", "BTC")
    _, book = lasting.get(f"{where}product_book?product_id=BTC-USD&limit=3")
    assert len(book["pricebook"]["bids"]) == 3
    assert lasting.get(f"{where}product_book?product_id=NO")[0] == 404


async def test_exchange_says_what_the_journal_says(tmp_path: Path) -> None:
    with start_sim(tmp_path, venues=EXCHANGE, **OPTIONS) as sim:
        products = sim.instruments[EXCHANGE]
        await asyncio.sleep(0.3)
        async with tap(sim, EXCHANGE, "/") as client:
            names = ["level2_batch", "matches", "heartbeat"]
            await exchange(client, *names, products=products)
            ack = await exchange(client, {"name": "ticker", "product_ids": products[:2]})
            assert {row["name"]: row["product_ids"] for row in ack["channels"]} == {
                **dict.fromkeys(names, products),
                "ticker": products[:2],
            }
            await client.read_for(2.0)
            journal = await finish(sim, client)
    result, events = check(EXCHANGE, [client], journal)
    assert kinds(events) == {"book", "trade", "quote"}
    assert len(result.books) == len(products)
    frames = [json.loads(text) for text in client.texts]
    types = {f["type"] for f in frames}
    assert {"snapshot", "l2update", "match", "last_match", "ticker", "heartbeat"} <= types
    assert not any("sequence" in f for f in frames if f["type"] in ("snapshot", "l2update"))
    ids = [f["trade_id"] for f in frames if f["type"] == "match" and f["product_id"] == "BTC-USD"]
    assert ids == list(range(ids[0], ids[0] + len(ids)))


async def test_exchange_refuses_a_request_as_a_whole(lasting: SimHandle) -> None:
    async with tap(lasting, EXCHANGE, "/") as client:
        for channels, products, word in (
            (("matches",), ["BTC-USD", "NO-SUCH"], "NO-SUCH is not a valid product"),
            (("level2",), ["BTC-USD"], "requires authentication"),
            (("nothing",), ["BTC-USD"], "not a valid channel"),
            (("matches",), [], "requires product_ids"),
        ):
            answer = await exchange(client, *channels, products=products)
            assert answer["type"] == "error"
            assert word in answer["reason"]
        ack = await exchange(client, "status")
        assert ack["channels"] == [{"name": "status", "product_ids": []}]
        status = await client.until(lambda m: m["type"] == "status")
        assert [p["id"] for p in status["products"]] == lasting.instruments[EXCHANGE]
        gone = await exchange(client, "status", kind="unsubscribe")
        assert gone["channels"] == []


def test_exchange_rest(lasting: SimHandle) -> None:
    status, rows = lasting.get("/coinbase_exchange/products")
    assert status == 200
    assert [row["id"] for row in rows] == lasting.instruments[EXCHANGE]
    _, book = lasting.get("/coinbase_exchange/products/BTC-USD/book?level=2")
    assert len(book["bids"]) > 100
    assert lasting.get("/coinbase_exchange/products/NO/book")[0] == 404
    codes = [lasting.get("/coinbase_exchange/time")[0] for _ in range(25)]
    assert 429 in codes
