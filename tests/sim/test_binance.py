"""The Binance venues' protocol as a client meets it."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from feedd.sim.testing import SimHandle, start_sim
from tests.sim.client import connect, subscribe


async def test_ack_list_and_unsubscribe(venue: SimHandle) -> None:
    async with connect(venue, "/stream") as client:
        names = ["btcusdt@trade", "nosuch@depth"]
        assert await client.answer(subscribe(*names)) == {"result": None, "id": 1}
        listed = await client.answer({"method": "LIST_SUBSCRIPTIONS", "id": 3})
        assert listed["result"] == names
        await client.until(lambda m: m.get("stream") == "btcusdt@trade")
        gone = {"method": "UNSUBSCRIBE", "params": ["btcusdt@trade"], "id": "abc"}
        assert await client.answer(gone) == {"result": None, "id": "abc"}
        assert not await client.drain(0.3)


@pytest.mark.parametrize(
    ("request_text", "code"),
    [
        ("{", 3),
        ("[]", 2),
        ('{"method":"NOPE","id":1}', 2),
        ('{"method":"SUBSCRIBE","params":[1],"id":1}', 2),
        ('{"method":"SUBSCRIBE","params":["a@b"],"id":1.5}', 2),
        ('{"method":"SET_PROPERTY","params":["other",true],"id":1}', 0),
        ('{"method":"SET_PROPERTY","params":["combined",3],"id":1}', 1),
    ],
)
async def test_error_codes(venue: SimHandle, request_text: str, code: int) -> None:
    async with connect(venue, "/ws") as client:
        await client.send(request_text)
        assert (await client.receive())["code"] == code


@pytest.mark.parametrize(
    ("path", "combined", "symbol_key"),
    [
        ("/stream?streams=btcusdt@bookTicker/ethusdt@bookTicker", True, "s"),
        ("/ws/btcusdt@bookTicker/ethusdt@bookTicker", False, "s"),
        ("/public/stream?streams=btcusdt@bookTicker/ethusdt@bookTicker", True, "s"),
        ("/public/ws/btcusdt@bookTicker/ethusdt@bookTicker", False, "s"),
    ],
)
async def test_streams_of_the_url(
    venue: SimHandle, path: str, combined: bool, symbol_key: str
) -> None:
    async with connect(venue, path) as client:
        seen = set()
        for _ in range(60):
            message = await client.receive()
            if combined:
                assert message.keys() == {"stream", "data"}
                assert message["stream"] == message["data"]["s"].lower() + "@bookTicker"
                message = message["data"]
            assert ("st" in message) == path.startswith("/public")
            assert ("e" in message) == path.startswith("/public")
            seen.add(message[symbol_key])
        assert seen == {"BTCUSDT", "ETHUSDT"}


async def test_a_stream_on_the_wrong_route_is_acked_and_silent(venue: SimHandle) -> None:
    book_data = ["btcusdt@depth@100ms", "btcusdt@bookTicker", "!bookTicker", "btcusdt@depth5"]
    market_data = ["btcusdt@aggTrade", "btcusdt@markPrice@1s", "!markPrice@arr@1s"]
    for path, wrong, right in (
        ("/public/stream", market_data, book_data[0]),
        ("/market/stream", book_data, market_data[0]),
    ):
        async with connect(venue, path) as client:
            assert await client.answer(subscribe(*wrong)) == {"result": None, "id": 1}
            await asyncio.sleep(0.5)
            assert await client.answer(subscribe(right, ident=2)) == {"result": None, "id": 2}
            assert len(client.frames) == 2
            assert (await client.receive())["stream"] == right


async def test_all_market_arrays_and_marks(venue: SimHandle) -> None:
    async with connect(venue, "/market/ws") as client:
        await client.answer(subscribe("!markPrice@arr@1s"))
        marks = await client.receive()
        assert {mark["s"] for mark in marks} == {"BTCUSDT", "ETHUSDT", "SOLUSDT"}
        assert all(mark["e"] == "markPriceUpdate" and mark["T"] > mark["E"] for mark in marks)


async def test_partial_depth_is_the_top_of_the_book(venue: SimHandle) -> None:
    async with connect(venue, "/stream") as client:
        await client.answer(subscribe("btcusdt@depth5@100ms"))
        top = (await client.receive())["data"]
        assert top.keys() == {"lastUpdateId", "bids", "asks"}
        assert len(top["bids"]) == len(top["asks"]) == 5
        assert float(top["bids"][0][0]) < float(top["asks"][0][0])
    async with connect(venue, "/public/stream") as client:
        await client.answer(subscribe("solusdt@depth10@100ms"))
        top = (await client.receive())["data"]
        assert len(top["b"]) == len(top["a"]) == 10
        assert {"U", "u", "pu"} <= top.keys()


async def test_combined_property_switches_the_form(venue: SimHandle) -> None:
    async with connect(venue, "/ws/btcusdt@trade") as client:
        assert "stream" not in await client.receive()
        request = {"method": "SET_PROPERTY", "params": ["combined", True], "id": 5}
        assert await client.answer(request) == {"result": None, "id": 5}
        assert (await client.receive())["stream"] == "btcusdt@trade"


async def test_too_many_requests_end_the_connection(venue: SimHandle) -> None:
    async with connect(venue, "/stream") as client:
        for ident in range(8):
            await client.send({"method": "LIST_SUBSCRIPTIONS", "id": ident})
        answers = await client.drain()
        assert len(answers) == 5
        assert client.close_code == 1008


async def test_pings_must_be_answered_and_life_is_limited() -> None:
    with start_sim(rate=300, ping_s=0.1, pong_timeout_s=0.4, max_life_s=1.2) as sim:
        async with connect(sim, "/stream", autoping=False) as client:
            pings = []
            while True:
                message = await client.ws.receive(3)
                if message.type is not aiohttp.WSMsgType.PING:
                    break
                pings.append(message.data)
                if len(pings) <= 3:
                    await client.ws.pong(message.data)
                else:
                    await client.ws.pong(b"something else")
            assert len(pings) >= 5
            assert client.ws.close_code == 1008
        async with connect(sim, "/stream") as client:
            assert await client.receive(4) is None
            assert client.close_code == 1001


async def test_server_shutdown_is_announced_on_demand(venue: SimHandle) -> None:
    async with connect(venue, "/stream") as combined, connect(venue, "/ws") as bare:
        await asyncio.to_thread(venue.control, "event", {"venue": "binance_spot"})
        message = await combined.receive()
        assert message["stream"] == "!serverShutdown"
        assert message["data"]["e"] == "serverShutdown"
        assert (await bare.receive()).keys() == {"e", "E"}
