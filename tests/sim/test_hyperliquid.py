"""Hyperliquid's protocol as a client meets it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feedd.sim.testing import SimHandle, start_sim
from tests.sim.client import Client
from tests.sim.rig import events_of, opened, parsed, run

VENUE = "hyperliquid"
PATH = "/ws"


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[SimHandle]:
    with start_sim(tmp_path, rate=1500, seed=3, venues=VENUE) as handle:
        yield handle


async def ask(client: Client, method: str = "subscribe", **subscription: Any) -> None:
    await client.send({"method": method, "subscription": subscription})


async def answer(client: Client) -> Any:
    """The next message that is no data."""
    kinds = ("subscriptionResponse", "error", "pong")
    return await client.until(lambda m: m["channel"] in kinds)


def data_of(client: Client, channel: str) -> list[Any]:
    return [m["data"] for m in parsed(client) if m["channel"] == channel]


@pytest.mark.parametrize(("fast", "depth"), [(True, 5), (False, 20)])
async def test_every_frame_is_the_whole_book(sim: SimHandle, fast: bool, depth: int) -> None:
    coins = sim.instruments[VENUE]
    more = {"fast": True} if fast else {}
    async with opened(sim, VENUE, PATH) as client, opened(sim, VENUE, PATH) as other:
        for coin in coins:
            await ask(client, type="l2Book", coin=coin, **more)
            await ask(other, type="l2Book", coin=coin, **more)
        journal, finals = await run(sim, client, other, seconds=1.8)
    frames = data_of(client, "l2Book")
    assert len(frames) >= (3 if fast else 2) * len(coins)
    assert frames[-len(coins) :] == data_of(other, "l2Book")[-len(coins) :]
    for coin in coins:
        mine = [f for f in frames if f["coin"] == coin]
        times = [f["time"] for f in mine]
        assert times == sorted(set(times))
        bids, asks = ([[row["px"], row["sz"]] for row in side] for side in mine[-1]["levels"])
        row = finals[f"{VENUE}:{coin}"]
        assert row["sequence"] is None
        assert (row["bids"], row["asks"]) == (bids, asks)
        assert len(bids) == len(asks) == depth
        events = events_of(journal, f"l2Book:{coin}{':fast' if fast else ''}", conn=1)
        assert [event["ts_event"] for event in events] == [t * 10**6 for t in times]
        assert all(event["action"] == "snapshot" for event in events)
        figures = {len(row["px"].replace(".", "").strip("0")) for row in mine[-1]["levels"][0]}
        assert max(figures) <= 5


async def test_quotes_trades_and_contexts_mean_what_the_journal_says(sim: SimHandle) -> None:
    await asyncio.sleep(0.3)
    async with opened(sim, VENUE, PATH) as client:
        for kind in ("bbo", "trades", "activeAssetCtx"):
            await ask(client, type=kind, coin="BTC")
        await ask(client, type="activeAssetCtx", coin="PURR/USDC")
        await ask(client, type="allMids")
        journal, _ = await run(sim, client, seconds=1.2)
    quotes, events = data_of(client, "bbo"), events_of(journal, "bbo:BTC")
    assert len(quotes) == len(events) > 5
    for quote, event in zip(quotes, events, strict=True):
        bid, ask_ = quote["bbo"]
        assert (event["bid_price"], event["bid_size"]) == (bid["px"], bid["sz"])
        assert (event["ask_price"], event["ask_size"]) == (ask_["px"], ask_["sz"])
        assert (event["sequence"], event["ts_event"]) == (None, quote["time"] * 10**6)
    batches, events = data_of(client, "trades"), events_of(journal, "trades:BTC")
    trades = [trade for batch in batches for trade in batch]
    assert len(batches[0]) > 1
    assert len({trade["tid"] for trade in trades}) == len(trades) == len(events) > 20
    for trade, event in zip(trades, events, strict=True):
        assert (event["price"], event["size"]) == (trade["px"], trade["sz"])
        assert event["side"] == {"B": "buy", "A": "sell"}[trade["side"]]
        assert (event["trade_id"], event.get("flags")) == (str(trade["tid"]), None)
    contexts, events = data_of(client, "activeAssetCtx"), events_of(journal, "activeAssetCtx:BTC")
    for context, event in zip(contexts, events, strict=True):
        assert event["mark"] == context["ctx"]["markPx"]
        assert event["index"] == context["ctx"]["oraclePx"]
        assert event["funding_rate"] == context["ctx"]["funding"]
        assert (event["ts_event"], event["open_interest"]) == (0, context["ctx"]["openInterest"])
    assert data_of(client, "activeSpotAssetCtx")
    assert data_of(client, "allMids")[0]["mids"].keys() == set(sim.instruments[VENUE])


async def test_answers_repeat_the_subscription_and_errors_are_words(sim: SimHandle) -> None:
    async with opened(sim, VENUE, PATH) as client:
        await client.send({"method": "ping"})
        assert await answer(client) == {"channel": "pong"}
        await ask(client, type="l2Book", coin="BTC", fast=True)
        data = (await answer(client))["data"]
        shown = {"type": "l2Book", "coin": "BTC", "nSigFigs": None, "mantissa": None, "fast": True}
        assert data == {"method": "subscribe", "subscription": shown}
        await ask(client, type="l2Book", coin="BTC", fast=True)
        assert (await answer(client))["data"].startswith("Already subscribed: {")
        await ask(client, "unsubscribe", type="bbo", coin="BTC")
        assert (await answer(client))["data"].startswith("Already unsubscribed: {")
        await ask(client, "unsubscribe", type="l2Book", coin="BTC", fast=True)
        assert (await answer(client))["data"]["method"] == "unsubscribe"
        assert not await client.drain(0.8)
        for bad in ("{", {"method": "subscribe"}, {"method": "subscribe", "subscription": {}}):
            await client.send(bad)
            assert (await answer(client))["data"].startswith("Error parsing JSON into valid")


@pytest.mark.parametrize(
    "wanted",
    [{"type": "bbo", "coin": "NOPE"}, {"type": "l2Book", "coin": "BTC", "nSigFigs": 6}],
)
async def test_an_unknown_coin_ends_the_connection(sim: SimHandle, wanted: dict[str, Any]) -> None:
    async with opened(sim, VENUE, PATH) as client:
        await ask(client, type="trades", coin="BTC")
        await ask(client, **wanted)
        await client.drain(2.0)
        assert client.ws.closed
        assert client.close_code == 1006
        assert not any('"error"' in frame for frame in client.frames)


async def test_a_connection_on_which_nothing_was_sent_is_closed() -> None:
    with start_sim(rate=100, venues=VENUE, idle_s=0.8) as sim:
        async with opened(sim, VENUE, PATH) as idle, opened(sim, VENUE, PATH) as lively:
            for turn in range(8):
                await lively.send({"method": "ping"})
                if turn < 2:
                    await idle.ws.ping()
                await asyncio.sleep(0.2)
            assert await idle.receive_text(2.0) is None
            assert await lively.receive() == {"channel": "pong"}


async def test_ten_connections_are_the_most(sim: SimHandle) -> None:
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(opened(sim, VENUE, PATH)) for _ in range(11)]
        assert await clients[10].receive_text() is None
        await clients[9].send({"method": "ping"})
        assert await clients[9].receive() == {"channel": "pong"}


def test_rest_is_one_address(sim: SimHandle) -> None:
    def info(**body: Any) -> tuple[int, Any]:
        return sim.post(f"/{VENUE}/info", body)

    _, meta = info(type="meta", dex="")
    perps = [coin["name"] for coin in meta["universe"]]
    _, spot = info(type="spotMeta")
    assert perps + [pair["name"] for pair in spot["universe"]] == sim.instruments[VENUE]
    (pair,) = spot["universe"]
    names = {token["index"]: token["name"] for token in spot["tokens"]}
    assert [names[index] for index in pair["tokens"]] == ["PURR", "USDC"]
    assert info(type="perpDexs") == (200, [None])
    _, (meta_again, contexts) = info(type="metaAndAssetCtxs")
    assert meta_again == meta
    assert len(contexts) == len(perps)
    _, book = info(type="l2Book", coin="BTC")
    assert (book["coin"], len(book["levels"][0])) == ("BTC", 20)
    assert info(type="recentTrades", coin="NOPE")[0] == 500
    assert info(type="nothing")[0] == 422
    assert [info(type="meta")[0] for _ in range(60)].count(429) > 0
