"""Kraken's derivatives protocol as a client meets it (ws/v1)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feedd.sim.testing import SimHandle, start_sim
from tests.sim.client import Client
from tests.sim.rig import empty, events_of, final_sides, opened, parsed, put, run

VENUE = "kraken_futures"
PATH = "/ws/v1"
SIDES = {"buy": "bids", "sell": "asks"}


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[SimHandle]:
    with start_sim(tmp_path, rate=1500, seed=3, venues=VENUE) as handle:
        yield handle


def request(event: str, feed: str, *products: str) -> dict[str, Any]:
    return {"event": event, "feed": feed, "product_ids": list(products)}


async def subscribe(client: Client, feed: str, *products: str) -> None:
    await client.send(request("subscribe", feed, *products))


async def test_books_start_with_a_snapshot_and_count_by_one(sim: SimHandle) -> None:
    products = sim.instruments[VENUE]
    async with opened(sim, VENUE, PATH) as first, opened(sim, VENUE, PATH) as second:
        await subscribe(first, "book", *products)
        await asyncio.sleep(0.2)
        await subscribe(second, "book", products[0])
        _, finals = await run(sim, first, second)
    books = {product: empty() for product in products}
    last: dict[str, int] = {}
    for message in parsed(first):
        product = message.get("product_id", "")
        if message.get("feed") == "book_snapshot":
            assert product not in last
            for side in ("bids", "asks"):
                levels = [(level["price"], level["qty"]) for level in message[side]]
                assert [p for p, _ in levels] == sorted(
                    (p for p, _ in levels), reverse=side == "bids"
                )
                put(books[product], side, levels)
            last[product] = message["seq"]
        elif message.get("feed") == "book" and "event" not in message:
            assert message["seq"] == last[product] + 1
            last[product] = message["seq"]
            put(books[product], SIDES[message["side"]], [(message["price"], message["qty"])])
    for product in products:
        row = finals[f"{VENUE}:{product}"]
        assert books[product] == final_sides(row)
        assert last[product] == row["sequence"]
    deltas = [f for f in second.frames if '"feed":"book",' in f and '"seq"' in f]
    assert deltas == [f for f in first.frames if f'"{products[0]}"' in f][-len(deltas) :]
    assert len(deltas) > 20


async def test_trades_have_a_counter_of_their_own_and_a_past(sim: SimHandle) -> None:
    await asyncio.sleep(0.5)
    async with opened(sim, VENUE, PATH) as client:
        await subscribe(client, "trade", "PF_XBTUSD")
        await asyncio.sleep(2.0)
        journal, _ = await run(sim, client)
    messages = parsed(client)
    past = next(m for m in messages if m.get("feed") == "trade_snapshot")["trades"]
    assert past == sorted(past, key=lambda trade: -trade["seq"])
    fresh = [m for m in messages if m.get("feed") == "trade" and "uid" in m]
    seqs = [past[0]["seq"], *[trade["seq"] for trade in fresh]]
    assert all(b == a + 1 for a, b in itertools.pairwise(seqs))
    events = events_of(journal, "trade:PF_XBTUSD")
    assert [event["trade_id"] for event in events] == [t["uid"] for t in [*past, *fresh]]
    for trade, event in zip([*past, *fresh], events, strict=True):
        assert float(event["price"]) == trade["price"]
        assert float(event["size"]) == trade["qty"]
        assert (event["side"], event["sequence"]) == (trade["side"], trade["seq"])
        assert event["ts_event"] == trade["time"] * 10**6
        flags = event.get("flags", [])
        assert ("replay" in flags) == (trade in past)
        assert ("liquidation" in flags) == (trade["type"] == "liquidation")
        assert ("block" in flags) == (trade["type"] == "block")


async def test_ticker_is_the_whole_state(sim: SimHandle) -> None:
    products = sim.instruments[VENUE]
    async with opened(sim, VENUE, PATH) as client:
        await subscribe(client, "ticker", *products)
        await subscribe(client, "ticker_lite", products[0])
        journal, _ = await run(sim, client, seconds=1.2)
    tickers = [m for m in parsed(client) if m.get("feed") == "ticker" and "time" in m]
    for product in products:
        mine = [t for t in tickers if t["product_id"] == product]
        events = events_of(journal, f"ticker:{product}")
        assert len(events) == 2 * len(mine) >= 2
        for ticker, deriv, quote in zip(mine, events[::2], events[1::2], strict=True):
            assert float(quote["bid_price"]) == ticker["bid"] < ticker["ask"]
            assert float(quote["ask_size"]) == ticker["ask_size"]
            assert float(deriv["mark"]) == ticker["markPrice"]
            assert float(deriv["index"]) == ticker["index"]
            assert float(deriv["open_interest"]) == ticker["openInterest"]
            assert ("funding_rate" in deriv) == product.startswith("P")
            if product.startswith("P"):
                assert float(deriv["funding_rate"]) == ticker["relative_funding_rate"]
                assert deriv["next_funding"] == ticker["next_funding_rate_time"] * 10**6
                assert ticker["next_funding_rate_time"] % 3_600_000 == 0
            else:
                assert ticker["maturityTime"] > ticker["time"]
    assert any('"feed":"ticker_lite"' in frame for frame in client.frames)


async def test_acks_errors_and_the_end_of_a_subscription(sim: SimHandle) -> None:
    async with opened(sim, VENUE, PATH) as client:
        assert await client.receive() == {"event": "info", "version": 1}
        for bad, answer in (
            ("{", {"event": "alert", "message": "Bad request"}),
            ('{"event":"subscribe","feed":"book"}', {"event": "alert", "message": "Bad request"}),
            (
                request("subscribe", "nothing", "PF_XBTUSD"),
                {"event": "error", "message": "Invalid feed"},
            ),
            (
                request("subscribe", "book", "PF_NOPE"),
                {"event": "error", "message": "Invalid product id"},
            ),
        ):
            await client.send(bad)
            assert await client.receive() == answer
        await subscribe(client, "trade", "PF_XBTUSD", "PF_NOPE", "PF_ETHUSD")
        assert (await client.receive())["event"] == "error"
        ack = await client.receive()
        assert ack == request("subscribed", "trade", "PF_XBTUSD", "PF_ETHUSD")
        await client.send(request("unsubscribe", "trade", "PF_XBTUSD", "PF_ETHUSD"))
        acks = [await client.until(lambda m: m.get("event") == "unsubscribed") for _ in range(2)]
        assert [ack["product_ids"] for ack in acks] == [["PF_XBTUSD"], ["PF_ETHUSD"]]
        assert not await client.drain(0.4)
        await client.send({"event": "subscribe", "feed": "heartbeat"})
        assert await client.receive() == {"event": "subscribed", "feed": "heartbeat"}
        assert (await client.receive()).keys() == {"feed", "time"}


async def test_a_client_must_ping() -> None:
    with start_sim(rate=200, venues=VENUE, idle_s=1.5) as sim:
        async with opened(sim, VENUE, PATH) as silent, opened(sim, VENUE, PATH) as lively:
            await subscribe(silent, "heartbeat")
            for _ in range(11):
                await lively.ws.ping()
                await asyncio.sleep(0.2)
            assert len(await silent.drain(0.3)) <= 3
            assert silent.ws.closed
            await subscribe(lively, "book", "PF_XBTUSD")
            assert await lively.until(lambda m: m.get("feed") == "book_snapshot")


def test_reference_data_and_order_book(sim: SimHandle) -> None:
    rest = f"/{VENUE}/derivatives/api/v3"
    status, body = sim.get(f"{rest}/instruments")
    assert status == 200
    found = {info["symbol"]: info for info in body["instruments"]}
    assert list(found) == sim.instruments[VENUE]
    assert found["PF_XBTUSD"]["type"] == "flexible_futures"
    assert found["PF_XBTUSD"]["contractValueTradePrecision"] == 4
    dated = found[sim.instruments[VENUE][3]]
    assert dated["type"] == "futures_inverse"
    assert dated["lastTradingTime"].endswith(":00.000Z")
    status, book = sim.get(f"{rest}/orderbook?symbol=PI_XBTUSD")
    assert status == 200
    for side in ("bids", "asks"):
        prices = [price for price, _ in book["orderBook"][side]]
        assert prices == sorted(prices)
    assert sim.get(f"{rest}/orderbook?symbol=NOPE")[0] == 400
