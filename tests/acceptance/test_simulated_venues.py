"""The simulated venues against the references: two readings of one document must agree.

The simulator's journal says what each message it sent must yield; the reference says what the
message means. Neither knows the other, and the decoder takes no part.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from feedd.sim.testing import start_sim
from feedd.sim.venues import EXCHANGES
from tests.reference import decode_rows
from tests.sim.rig import opened, run

from . import compare

Requests = Callable[[list[str]], Iterable[dict[str, Any]]]
Key = tuple[str, str]


def kraken_futures(symbols: list[str]) -> Iterable[dict[str, Any]]:
    for feed in ("book", "trade", "ticker", "ticker_lite"):
        yield {"event": "subscribe", "feed": feed, "product_ids": symbols}


def bitget(venue: str) -> Requests:
    def family(symbol: str) -> str:
        if venue == "bitget_spot":
            return "SPOT"
        ends = {"USDT": "USDT-FUTURES", "PERP": "USDC-FUTURES", "USDC": "USDC-FUTURES"}
        return ends.get(symbol[-4:], "COIN-FUTURES")

    def requests(symbols: list[str]) -> Iterable[dict[str, Any]]:
        for channel in ("books", "books1", "trade", "ticker"):
            args = [{"instType": family(s), "channel": channel, "instId": s} for s in symbols]
            yield {"op": "subscribe", "args": args}

    return requests


def gate(prefix: str) -> Requests:
    def requests(symbols: list[str]) -> Iterable[dict[str, Any]]:
        payloads = dict.fromkeys(("trades", "tickers", "book_ticker"), symbols)
        payloads["obu"] = [f"ob.{symbol}.50" for symbol in symbols]
        for kind, payload in payloads.items():
            channel = f"{prefix}.{kind}"
            yield {"time": 1, "channel": channel, "event": "subscribe", "payload": payload}

    return requests


def hyperliquid(symbols: list[str]) -> Iterable[dict[str, Any]]:
    for kind in ("l2Book", "bbo", "trades", "activeAssetCtx"):
        for coin in symbols:
            yield {"method": "subscribe", "subscription": {"type": kind, "coin": coin}}


def bitmex(symbols: list[str]) -> Iterable[dict[str, Any]]:
    for table in ("orderBookL2", "trade", "quote", "instrument", "liquidation"):
        yield {"op": "subscribe", "args": [f"{table}:{symbol}" for symbol in symbols]}


def bitfinex(symbols: list[str]) -> Iterable[dict[str, Any]]:
    yield {"event": "conf", "flags": 196608}
    for symbol in symbols:
        name = {"event": "subscribe", "symbol": symbol}
        yield {**name, "channel": "book", "prec": "P0", "freq": "F0", "len": "100"}
        yield {**name, "channel": "trades"}
        yield {**name, "channel": "ticker"}


VENUES: dict[str, tuple[str, Requests]] = {
    "kraken_futures": ("/ws/v1", kraken_futures),
    "bitget_spot": ("/v2/ws/public", bitget("bitget_spot")),
    "bitget_futures": ("/v2/ws/public", bitget("bitget_futures")),
    "gate": ("/ws/v4/", gate("spot")),
    "gate_futures": ("/v4/ws/usdt", gate("futures")),
    "hyperliquid": ("/ws", hyperliquid),
    "bitmex": ("/realtime", bitmex),
    "bitfinex": ("/ws/2", bitfinex),
}


def plain(lines: Iterable[Mapping[str, Any]]) -> dict[Key, list[Any]]:
    """Records in a form that both sides can be brought to.

    A trade id counts once, and so does the number of a quote: the journal also notes what a
    message repeats (the greeting of a subscription and the push behind it). It does not note the
    states of instruments; tests/supervisor/test_states.py has those end to end.
    """
    out: dict[Key, list[Any]] = defaultdict(list)
    seen = set()
    quotes: dict[str, int] = {}
    for line in lines:
        kind, name = line["kind"], line["instrument"]
        if kind == "status":
            continue
        if kind == "trade" and (name, line["trade_id"]) in seen:
            continue
        seen.add((name, line.get("trade_id")))
        if kind == "quote" and line["sequence"] is not None:
            if line["sequence"] <= quotes.get(name, -1):
                continue
            quotes[name] = line["sequence"]
        fields = {key: exact(line[key]) for key in compare.FIELDS[kind] if key in line}
        sequence = line["sequence"] if kind in compare.NUMBERED else None
        is_past = "replay" in line.get("flags", ())
        when = line["ts_event"] or None  # a message without a time
        out[kind, name].append((when, sequence, is_past, fields))
    return dict(out)


def exact(value: Any) -> Any:
    """Decimal text as a number."""
    if isinstance(value, list | tuple):
        return [exact(item) for item in value]
    if isinstance(value, str):
        try:
            return Decimal(value)
        except ArithmeticError:
            return value
    return value


@pytest.mark.parametrize("venue", VENUES)
async def test_the_simulator_and_the_reference_agree(venue: str, tmp_path: Path) -> None:
    if venue not in EXCHANGES:
        pytest.skip(f"{venue} is not simulated")
    path, requests = VENUES[venue]
    with start_sim(tmp_path, rate=800, seed=5, venues=venue) as sim:
        symbols = sim.instruments[venue]
        async with opened(sim, venue, path) as client:
            for request in requests(symbols):
                await client.send(request)
                await asyncio.sleep(0.02)
            journal, finals = await run(sim, client, seconds=1.5)
            frames = list(client.frames)
    result = decode_rows(venue, [{"t": None, "dir": "in", "raw": raw} for raw in frames])
    assert not result.complaints()
    events = [
        event for row in journal if row.get("venue") == venue for event in row.get("events", ())
    ]
    ours, theirs = plain(result.records), plain(events)
    assert {key: len(lines) for key, lines in ours.items()} == {
        key: len(lines) for key, lines in theirs.items()
    }
    for key, lines in ours.items():
        for index, (left, right) in enumerate(zip(lines, theirs[key], strict=True)):
            assert left == right, f"{key} number {index}"
    assert {kind for kind, _ in ours} >= {"book", "trade"}
    for name, book in result.books.items():
        depth = max(map(len, book.levels()))
        for side, levels in zip(("bids", "asks"), book.levels(), strict=True):
            assert [list(level) for level in levels] == exact(finals[name][side])[:depth], name
