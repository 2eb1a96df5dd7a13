"""Binance COIN-M futures and European options as a client meets them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from feedd.sim.testing import SimHandle, start_sim
from tests.reference.session import decode_rows
from tests.sim.strangers import Tap, check, finish, kinds, tap

COINM, OPTIONS = "binance_coinm", "binance_options"
START: dict[str, Any] = {"tls": False, "seed": 3, "rate": 2500}


async def subscribe(client: Tap, *names: str) -> Any:
    request = {"method": "SUBSCRIBE", "params": list(names), "id": 7}
    return await client.ask(request, lambda m: "id" in m)


async def snapshots(sim: SimHandle, venue: str, base: str) -> list[dict[str, Any]]:
    rows = []
    for symbol in sim.instruments[venue]:
        url = f"{base}/depth?symbol={symbol}&limit=1000"
        status, body = await asyncio.to_thread(sim.get, f"/{venue}{url}")
        assert status == 200
        rows.append({"t": None, "dir": "rest", "url": url, "raw": json.dumps(body)})
    return rows


async def read_until(clients: list[Tap], *parts: str, rounds: int = 40) -> None:
    """Read all for two seconds, and on until each of ``parts`` was in some message."""
    await asyncio.gather(*(client.read_for(2.0) for client in clients))
    for _ in range(rounds):
        text = "".join(text for client in clients for text in client.texts)
        if all(part in text for part in parts):
            return
        await asyncio.gather(*(client.read_for(0.5) for client in clients))
    raise AssertionError(f"never came: {[part for part in parts if part not in text]}")


def only_streams(journal: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Books are joined with a REST snapshot: what came before it has no place in the record."""
    return [r for r in journal if "depth" not in r.get("stream", "")]


async def test_coinm_says_what_the_journal_says(tmp_path: Path) -> None:
    with start_sim(tmp_path, venues=COINM, **START) as sim:
        symbols = sim.instruments[COINM]
        low = [s.lower() for s in symbols]
        names = [f"{s}@{c}" for s in low for c in ("bookTicker", "aggTrade", "markPrice@1s")]
        async with tap(sim, COINM, "/stream") as client, tap(sim, COINM, "/stream") as books:
            assert await subscribe(client, *names, "!forceOrder@arr") == {"result": None, "id": 7}
            await subscribe(books, *[f"{s}@depth@100ms" for s in low])
            await books.read_for(0.3)
            rest = await snapshots(sim, COINM, "/dapi/v1")
            await read_until([client, books], "forceOrder", "aggTrade", "bookTicker", "markPrice")
            journal = await finish(sim, client, books)
    _, events = check(COINM, [client], only_streams(journal))
    assert kinds(events) == {"trade", "quote", "deriv", "liquidation"}
    dated = [e for e in events if e["kind"] == "deriv" and not e["instrument"].endswith("PERP")]
    assert dated
    assert not any("funding_rate" in e or "next_funding" in e for e in dated)
    check_books(COINM, books, rest, journal)
    text = "".join(client.texts)
    assert '"st":2' in text
    assert '{"u":' in text
    assert '"ps":"BTCUSD"' in text


def check_books(venue: str, client: Tap, rest: list[dict[str, Any]], journal: list[Any]) -> None:
    """Every delta after the snapshot is in the journal, and the final books are."""
    result = decode_rows(venue, [*rest, *client.rows])
    assert not result.complaints()
    due = [e for r in journal for e in r.get("events", ()) if e["kind"] == "book"]
    numbers = {(e["instrument"], e["sequence"], e["action"]): e for e in due}
    for record in result.of("book"):
        event = numbers[record["instrument"], record["sequence"], record["action"]]
        for side in ("bids", "asks"):
            assert sorted((float(p), float(s)) for p, s in event[side]) == sorted(
                (float(p), float(s)) for p, s in record[side]
            )
    finals = {row["final_book"]: row for row in journal if "final_book" in row}
    assert result.books
    for name, book in result.books.items():
        assert book.state == "live"
        for side, levels in zip(("bids", "asks"), book.levels(), strict=True):
            assert [(float(p), float(s)) for p, s in levels] == [
                (float(p), float(s)) for p, s in finals[name][side]
            ]


async def test_options_say_what_the_journal_says(tmp_path: Path) -> None:
    with start_sim(tmp_path, venues=OPTIONS, one_sided=True, **START) as sim:
        symbols = sim.instruments[OPTIONS]
        low = [s.lower() for s in symbols]
        async with (
            tap(sim, OPTIONS, "/public/stream") as public,
            tap(sim, OPTIONS, "/market/stream") as market,
            tap(sim, OPTIONS, "/public/stream") as books,
        ):
            await subscribe(public, *[f"{s}@bookTicker" for s in low], "btcusdt@optionTrade")
            await subscribe(market, "btcusdt@optionMarkPrice", "ethusdt@optionMarkPrice")
            await subscribe(market, "!index@arr", f"{low[0]}@bookTicker")
            await subscribe(books, *[f"{s}@depth@100ms" for s in low])
            await books.read_for(0.3)
            rest = await snapshots(sim, OPTIONS, "/eapi/v1")
            # a side is missing now and then
            wanted = ('"b":"-1.0"', "bookTicker", "optionTrade", "depth")
            await read_until([public, market, books], *wanted)
            journal = await finish(sim, public, market, books)
    _, events = check(OPTIONS, [public, market], only_streams(journal))
    assert kinds(events) == {"trade", "quote", "deriv", "greeks"}
    assert not any("bookTicker" in text for text in market.texts)
    check_books(OPTIONS, books, rest, journal)
    marks = [json.loads(t)["data"] for t in market.texts if "optionMarkPrice" in t]
    assert {len(rows) for rows in marks} == {2, 3}
    assert any(row["b"] == "-1.0" for rows in marks for row in rows)


async def test_partial_books_and_the_cap_of_streams(tmp_path: Path) -> None:
    with start_sim(tmp_path, venues=OPTIONS, **START) as sim:
        low = [s.lower() for s in sim.instruments[OPTIONS]]
        async with tap(sim, OPTIONS, "/public/stream") as client:
            await subscribe(client, *[f"{s}@depth10@100ms" for s in low])
            await client.read_for(0.6)
            refused = await subscribe(client, *[f"x{n}@bookTicker" for n in range(200)])
            assert refused["code"] == 2
            journal = await finish(sim, client)
        finals = {row["final_book"]: row for row in journal if "final_book" in row}
        windows = [json.loads(t) for t in client.texts if "depth10" in t]
        last = {m["data"]["s"]: m["data"] for m in windows if "data" in m}
        assert set(last) == set(sim.instruments[OPTIONS])
        for symbol, window in last.items():
            assert window["b"] == finals[f"{OPTIONS}:{symbol}"]["bids"][:10]
        with pytest.raises(Exception, match="404"):
            async with tap(sim, OPTIONS, "/stream"):
                pass


def test_reference_data_and_weights(tmp_path: Path) -> None:
    with start_sim(tmp_path, venues=f"{COINM},{OPTIONS}", **{**START, "rate": 200}) as sim:
        _, info = sim.get("/binance_coinm/dapi/v1/exchangeInfo")
        rows = {row["symbol"]: row for row in info["symbols"]}
        assert list(rows) == sim.instruments[COINM]
        perpetual = rows["BTCUSD_PERP"]
        assert (perpetual["contractSize"], perpetual["contractStatus"]) == (100, "TRADING")
        assert (perpetual["pair"], perpetual["marginAsset"]) == ("BTCUSD", "BTC")
        assert [r["contractType"] for r in rows.values()].count("CURRENT_QUARTER") == 1
        _, info = sim.get("/binance_options/eapi/v1/exchangeInfo")
        assert [row["symbol"] for row in info["optionSymbols"]] == sim.instruments[OPTIONS]
        assert {row["underlying"] for row in info["optionContracts"]} == {"BTCUSDT", "ETHUSDT"}
        put = info["optionSymbols"][1]
        assert (put["side"], put["strikePrice"]) == ("PUT", "85000.000")
        path = "/binance_coinm/dapi/v1/depth?limit=1000&symbol="
        assert sim.get(path + "NOPE")[1]["code"] == -1121
        assert sim.get(path)[1]["code"] == -1102
        assert sim.get("/binance_coinm/dapi/v1/depth?symbol=BTCUSD_PERP&limit=7")[0] == 400
        codes = [sim.get(path + "BTCUSD_PERP")[0] for _ in range(125)]
        assert codes[0] == 200
        assert codes[-1] == 429
