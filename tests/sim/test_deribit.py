"""Deribit's protocol as a client meets it."""

from __future__ import annotations

import asyncio
import itertools
import ssl

import aiohttp
import pytest

from feedd.sim.testing import SimHandle, start_sim
from tests.sim.client import Client, connect, deribit

PATH = "/ws/api/v2"
BOOK = "book.BTC-PERPETUAL.100ms"


def is_data(message: dict) -> bool:
    return message.get("method") == "subscription"


async def test_ack_leaves_bad_channels_out_and_the_book_starts_with_a_snapshot(
    venue: SimHandle,
) -> None:
    async with connect(venue, PATH) as client:
        channels = ["quote.NO-SUCH", BOOK, "trades.BTC-PERPETUAL.1s", "ticker.ETH-PERPETUAL.100ms"]
        answer = await client.answer(deribit("subscribe", 3, channels=channels))
        assert answer["result"] == ["ticker.ETH-PERPETUAL.100ms", BOOK]
        assert {"usIn", "usOut", "usDiff", "testnet", "jsonrpc"} <= answer.keys()
        first = (await client.until(lambda m: m["params"]["channel"] == BOOK))["params"]["data"]
        assert first["type"] == "snapshot"
        assert "prev_change_id" not in first
        assert len(first["bids"]) > 200
        assert first["bids"] == sorted(first["bids"], key=lambda level: -level[1])
        change = (await client.until(lambda m: m["params"]["channel"] == BOOK))["params"]["data"]
        assert change["type"] == "change"
        assert change["prev_change_id"] == first["change_id"]


async def test_subscribing_again_gives_no_second_snapshot(venue: SimHandle) -> None:
    async with connect(venue, PATH) as client:
        await client.answer(deribit("subscribe", channels=[BOOK]))
        again = await client.answer(deribit("subscribe", 2, channels=[BOOK]))
        assert again["result"] == [BOOK]
        await asyncio.sleep(0.3)
        await client.answer(deribit("unsubscribe", 3, channels=[BOOK]))
        types = [json_type(frame) for frame in client.frames if '"channel"' in frame]
        assert types.count("snapshot") == 1
        await client.answer(deribit("subscribe", 4, channels=[BOOK]))
        message = await client.until(is_data)
        assert message["params"]["data"]["type"] == "snapshot"


def json_type(frame: str) -> str:
    return "snapshot" if '"type":"snapshot"' in frame else "change"


async def test_errors_have_the_venues_codes(venue: SimHandle) -> None:
    async with connect(venue, PATH) as client:
        await client.send("no json")
        answer = await client.receive()
        assert answer["error"]["code"] == 11050
        assert "id" not in answer
        raw = await client.answer(deribit("subscribe", 2, channels=["book.BTC-PERPETUAL.raw"]))
        assert raw["error"]["code"] == 13778
        assert (await client.answer(deribit("nothing", 3)))["error"]["code"] == -32601
        assert (await client.answer(deribit("subscribe", 4)))["error"]["code"] == -32602
        slow = await client.answer(deribit("set_heartbeat", 5, interval=0.1))
        assert slow["error"]["data"]["param"] == "interval"


async def test_requests_over_websocket(venue: SimHandle) -> None:
    async with connect(venue, PATH) as client:
        found = await client.answer(deribit("get_instruments", currency="BTC", kind="option"))
        assert [i["kind"] for i in found["result"]] == ["option", "option"]
        book = await client.answer(
            deribit("get_order_book", 2, instrument_name="ETH-PERPETUAL", depth=5)
        )
        assert len(book["result"]["bids"]) == 5
        assert (await client.answer(deribit("test", 3)))["result"]["version"]


async def test_heartbeat_answered_lives_and_unanswered_ends_with_4000(venue: SimHandle) -> None:
    async with connect(venue, PATH) as client:
        assert (await client.answer(deribit("set_heartbeat", interval=0.2)))["result"] == "ok"
        for ident in range(2, 5):
            kinds = [(await client.receive())["params"]["type"] for _ in range(2)]
            assert kinds == ["heartbeat", "test_request"]
            await client.answer(deribit("test", ident))
        while await client.receive() is not None:
            pass
        assert client.close_code == 4000


async def test_unsubscribe_all_silences(venue: SimHandle) -> None:
    async with connect(venue, PATH) as client:
        await client.answer(deribit("subscribe", channels=[BOOK, "quote.BTC-PERPETUAL"]))
        assert (await client.answer(deribit("unsubscribe_all", 2)))["result"] == "ok"
        assert not await client.drain(0.3)


async def test_too_many_subscribe_calls_end_the_session(venue: SimHandle) -> None:
    async with connect(venue, PATH) as client:
        for ident in range(30):
            await client.send(deribit("subscribe", ident, channels=["platform_state"]))
        codes = [m["error"]["code"] for m in await client.drain() if "error" in m]
        assert codes == [10028]
        assert client.close_code == 1008


async def test_tls_is_real_and_verified(venue: SimHandle) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.ws_connect(venue.ws + PATH)
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(venue.rest + "/api/v3/ping", ssl=ssl.create_default_context())
        context = venue.ssl_context()
        assert context is not None
        async with session.get(venue.rest + "/api/v3/ping", ssl=context) as answer:
            assert answer.status == 200


async def test_unknown_path_is_refused(venue: SimHandle) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with connect(venue, "/nothing"):
            pass
    assert caught.value.status == 404


async def raw_changes(client: Client) -> list[dict]:
    channel = "book.ETH-PERPETUAL.raw"
    await client.answer(deribit("subscribe", channels=[channel, "trades.future.ETH.raw"]))
    return [await client.until(is_data) for _ in range(60)]


async def test_raw_channels_and_idle_timeout_by_option() -> None:
    with start_sim(allow_raw=True, idle_s=0.2, rate=3000) as sim:
        async with connect(sim, PATH) as client:
            found = [m["params"] for m in await raw_changes(client)]
            books = [p["data"] for p in found if p["channel"].startswith("book")]
            trades = [p["data"] for p in found if p["channel"].startswith("trades")]
            assert trades
            assert trades[0][0]["instrument_name"] == "ETH-PERPETUAL"
            for before, after in itertools.pairwise(books):
                assert after["prev_change_id"] == before["change_id"]
        async with connect(sim, PATH) as idle:
            assert await idle.receive(3) is None
