"""OKX as a client meets it that knows only the venue's documents."""

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

PUBLIC, BUSINESS = "/ws/v5/public", "/ws/v5/business"
OPTIONS: dict[str, Any] = {"venues": "okx", "tls": False, "seed": 3, "rate": 3000, "limits": False}


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[SimHandle]:
    with start_sim(tmp_path, **OPTIONS) as handle:
        yield handle


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimHandle]:
    options = {**OPTIONS, "rate": 400, "keepalive_s": 0.3, "notice_s": 0.3}
    with start_sim(tmp_path_factory.mktemp("okx"), **options) as handle:
        yield handle


def arg(channel: str, symbol: str = "", key: str = "instId") -> dict[str, str]:
    return {"channel": channel, key: symbol} if symbol else {"channel": channel}


async def subscribe(client: Tap, *args: dict[str, str], op: str = "subscribe") -> list[Any]:
    """One ack or error comes per argument, between data."""
    await client.send({"id": "x1", "op": op, "args": list(args)})
    return [await client.until(lambda m: isinstance(m, dict) and "event" in m) for _ in args]


async def test_every_channel_says_what_the_journal_says(sim: SimHandle) -> None:
    symbols = sim.instruments["okx"]
    args = [
        arg(channel, symbol)
        for symbol in symbols
        for channel in ("books", "trades", "bbo-tbt", "tickers")
    ]
    derivatives = [s for s in symbols if s.count("-") > 1]
    args += [arg(c, s) for s in derivatives for c in ("mark-price", "open-interest")]
    args += [arg("funding-rate", s) for s in symbols if s.endswith("SWAP")]
    args += [arg("liquidation-orders", t, "instType") for t in ("SWAP", "FUTURES")]
    args += [arg("opt-summary", "BTC-USD", "instFamily")]
    args += [arg("index-tickers", s) for s in ("BTC-USDT", "ETH-USDT", "BTC-USD")]
    async with tap(sim, "okx", PUBLIC) as client:
        acks = await subscribe(client, *args)
        assert [(a["event"], a["arg"], a["id"]) for a in acks] == [
            ("subscribe", each, "x1") for each in args
        ]
        await client.read_for(2.5)
        while not any('"bidVol":"0"' in text for text in client.texts):  # a second of every three
            assert await client.receive() is not None
        journal = await finish(sim, client)
    result, events = check("okx", [client], journal)
    assert kinds(events) == {"book", "trade", "quote", "deriv", "greeks", "liquidation"}
    assert len(result.books) == len(symbols)
    assert any("bid_iv" not in e for e in events if e["kind"] == "greeks")


async def test_books_link_and_checksum_is_retired(sim: SimHandle) -> None:
    async with tap(sim, "okx", PUBLIC) as client:
        await subscribe(client, arg("books", "BTC-USDT-SWAP"))
        await client.read_for(1.0)
    messages = [json.loads(t) for t in client.texts if '"action"' in t]
    assert [m["action"] for m in messages[:2]] == ["snapshot", "update"]
    rows = [m["data"][0] for m in messages]
    assert rows[0]["prevSeqId"] == -1
    for before, after in itertools.pairwise(rows):
        assert after["prevSeqId"] == before["seqId"] < after["seqId"]
    assert {row["checksum"] for row in rows} == {0}
    levels = rows[0]["bids"] + rows[0]["asks"]
    assert all(len(level) == 4 and level[2] == "0" for level in levels)
    assert all(isinstance(field, str) for level in levels for field in level)
    assert any(level[1] == "0" for row in rows[1:] for level in row["bids"] + row["asks"])


async def test_a_quiet_book_is_kept_alive_and_a_reset_links(tmp_path: Path) -> None:
    options = {**OPTIONS, "rate": 121, "keepalive_s": 0.3}
    with start_sim(tmp_path, **options) as sim:
        async with tap(sim, "okx", PUBLIC) as client:
            await subscribe(client, arg("books", "BTC-USDT"))
            # too slow a market to change within the keep-alive time, most of the time
            await client.read_for(2.0)
            await asyncio.to_thread(
                sim.control, "event", {"event": "reset", "venue": "okx", "symbol": "BTC-USDT"}
            )
            row = lambda m: m["data"][0]  # noqa: E731 - a short name for a long path
            await client.until(lambda m: row(m)["seqId"] < row(m)["prevSeqId"], 30)
            journal = await finish(sim, client)
    rows = [row(json.loads(t)) for t in client.texts if '"action"' in t]
    quiet = [r for r in rows if not r["bids"] and not r["asks"]]
    assert quiet
    assert all(r["prevSeqId"] == r["seqId"] for r in quiet)
    check("okx", [client], journal)


async def test_bad_arguments_are_refused_one_by_one(lasting: SimHandle) -> None:
    async with tap(lasting, "okx", PUBLIC) as client:
        wanted = [
            arg("books", "NO-SUCH"),
            arg("trades", "BTC-USDT"),
            arg("trades-all", "BTC-USDT"),
            arg("books-l2-tbt", "BTC-USDT"),
        ]
        answers = await subscribe(client, *wanted)
        assert [a.get("code") for a in answers] == ["60018", None, "60018", "60011"]
        assert "NO-SUCH" in answers[0]["msg"]
        assert all(a["id"] == "x1" and a["connId"] for a in answers)
        gone = await subscribe(client, arg("trades", "BTC-USDT"), op="unsubscribe")
        assert gone[0]["event"] == "unsubscribe"
        await client.drain(0.3)
    async with tap(lasting, "okx", BUSINESS) as client:
        answers = await subscribe(client, arg("trades-all", "BTC-USDT"), arg("books", "BTC-USDT"))
        assert [a.get("code") for a in answers] == [None, "60018"]


@pytest.mark.parametrize(
    ("request_text", "code"),
    [
        ("{", "60012"),
        ('{"op":"subscribe"}', "60012"),
        ('{"op":"nothing","args":[]}', "60019"),
        ('{"op":"login","args":[{}]}', "60009"),
        ('{"op":"subscribe","id":"not-alnum!","args":[]}', "60012"),
        (json.dumps({"op": "subscribe", "args": [arg("books", "X" * 70_000)]}), "60012"),
    ],
)
async def test_error_codes(lasting: SimHandle, request_text: str, code: str) -> None:
    async with tap(lasting, "okx", PUBLIC) as client:
        await client.send(request_text)
        answer = await client.receive()
        assert (answer["event"], answer["code"]) == ("error", code)


async def test_text_ping_idle_end_and_upgrade_notice(lasting: SimHandle, tmp_path: Path) -> None:
    async with tap(lasting, "okx", PUBLIC) as client:
        await client.send("ping")
        assert await client.receive() == "pong"
        await asyncio.to_thread(lasting.control, "event", {"event": "64008", "venue": "okx"})
        notice = await client.receive()
        assert (notice["event"], notice["code"]) == ("notice", "64008")
        assert await client.ended() == 1001
    with start_sim(tmp_path, **OPTIONS, idle_s=0.4) as sim:
        async with tap(sim, "okx", PUBLIC) as client:
            for _ in range(3):
                await asyncio.sleep(0.25)
                await client.send("ping")
                assert await client.receive() == "pong"
            assert await client.ended() == 4004


async def test_limits_per_second_and_hour(tmp_path: Path) -> None:
    with start_sim(tmp_path, **{**OPTIONS, "limits": True}) as sim:
        async with tap(sim, "okx", PUBLIC) as client:
            for _ in range(481):
                await client.send({"op": "unsubscribe", "args": [arg("books", "BTC-USDT")]})
            answers = [await client.receive() for _ in range(481)]
            assert [a.get("code") for a in answers[-2:]] == [None, "60014"]
        statuses = []
        for _ in range(5):
            try:
                async with tap(sim, "okx", PUBLIC):
                    statuses.append(101)
            except Exception as error:
                statuses.append(getattr(error, "status", 0))
        assert 429 in statuses
        codes = [sim.get("/okx/api/v5/public/instruments?instType=SPOT")[0] for _ in range(22)]
        assert codes.count(200) == 20
        assert codes[-1] == 429


def test_reference_data_and_books_by_rest(lasting: SimHandle) -> None:
    found: dict[str, dict[str, str]] = {}
    for kind in ("SPOT", "SWAP", "FUTURES", "OPTION&instFamily=BTC-USD"):
        status, body = lasting.get(f"/okx/api/v5/public/instruments?instType={kind}")
        assert (status, body["code"]) == (200, "0")
        found |= {row["instId"]: row for row in body["data"]}
    assert sorted(found) == sorted(lasting.instruments["okx"])
    swap = found["BTC-USD-SWAP"]
    assert (swap["ctVal"], swap["ctValCcy"], swap["ctType"]) == ("100", "USD", "inverse")
    option = next(row for row in found.values() if row["optType"] == "P")
    assert (option["stk"], option["ctMult"], option["ctValCcy"]) == ("85000", "0.01", "BTC")
    assert found["BTC-USDT"]["baseCcy"] == "BTC"
    status, body = lasting.get("/okx/api/v5/public/instruments?instType=OPTION")
    assert (status, body["code"]) == (400, "50015")
    _, body = lasting.get("/okx/api/v5/public/underlying?instType=OPTION")
    assert body["data"] == [["BTC-USD"]]
    status, body = lasting.get("/okx/api/v5/market/books?instId=BTC-USDT&sz=5")
    assert len(body["data"][0]["bids"]) == 5
    assert lasting.get("/okx/api/v5/market/books?instId=NO")[1]["code"] == "51001"
    assert lasting.get("/okx/api/v5/no/such")[0] == 404
