"""A recorded session as the source."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from feedd.clock import monotonic_ns
from feedd.sim.testing import SimHandle, start_sim
from tests.sim.client import connect, deribit, subscribe

RECORDINGS = Path(__file__).parents[3] / "shared" / "captures"
START_NS = 1_700_000_000_000_000_000


def depth(symbol: str, first: int) -> str:
    levels = f'"b":[["{first}.10","1.0"]],"a":[]'
    return (
        f'{{"stream":"{symbol.lower()}@depth@100ms","data":{{"e":"depthUpdate","E":1,'
        f'"s":"{symbol}","U":{first},"u":{first},{levels}}}}}'
    )


def spot_rows(spacing_ms: int = 40) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for n in range(20):
        symbol = "AAAUSDT" if n % 2 else "BBBUSDT"
        at = START_NS + n * spacing_ms * 1_000_000
        rows.append({"t": at, "dir": "in", "raw": depth(symbol, 100 + n)})
    rows.insert(0, {"t": START_NS, "dir": "out", "raw": '{"method":"SUBSCRIBE"}'})
    rows.insert(1, {"t": START_NS, "dir": "in", "raw": '{"result":null,"id":1}'})
    url = "https://api.binance.com/api/v3/depth?symbol=AAAUSDT&limit=5000"
    for last in (90, 103):
        body = f'{{"lastUpdateId":{last},"bids":[],"asks":[]}}'
        rows.append({"t": START_NS, "dir": "rest", "url": url, "raw": body})
    return rows


@pytest.fixture
def captures(tmp_path: Path) -> list[Path]:
    """One session in three files: plain, gzip, and zstd."""
    lines = [json.dumps(row).encode() + b"\n" for row in spot_rows()]
    parts = [lines[:7], lines[7:15], lines[15:]]
    packs = [(".jsonl", bytes), (".jsonl.gz", gzip.compress), (".jsonl.zst", zstandard.compress)]
    paths = []
    for part, (suffix, pack) in zip(parts, packs, strict=True):
        paths.append(tmp_path / f"capture{suffix}")
        paths[-1].write_bytes(pack(b"".join(part)))
    return paths


async def play(sim: SimHandle, path: str, names: list[str], count: int) -> list[str]:
    async with connect(sim, path) as client:
        if path.endswith("v2"):
            answer = await client.answer(deribit("subscribe", channels=names))
            assert sorted(answer["result"]) == sorted(names)
        else:
            await client.answer(subscribe(*names))
        while len(client.frames) < count + 1 and await client.receive() is not None:
            pass
        assert not await client.drain(0.3)
        return client.frames[1:]


async def test_order_and_text_are_those_of_the_recording(
    tmp_path: Path, captures: list[Path]
) -> None:
    options = {"capture": captures, "venue": "binance_spot", "settle_s": 0.1}
    with start_sim(tmp_path, speed="max", **options) as sim:
        frames = await play(sim, "/stream", ["aaausdt@depth@100ms", "bbbusdt@depth@100ms"], 20)
        assert frames == [r["raw"] for r in spot_rows() if '"stream"' in r["raw"]]
        path = "/api/v3/depth?symbol=AAAUSDT"
        answers = [(await asyncio.to_thread(sim.get, path))[1] for _ in range(3)]
        assert [body["lastUpdateId"] for body in answers] == [90, 103, 103]
        assert (await asyncio.to_thread(sim.get, "/api/v3/depth?symbol=ZZZUSDT"))[0] == 400
        _, info = await asyncio.to_thread(sim.get, "/api/v3/exchangeInfo")
        assert {s["symbol"] for s in info["symbols"]} == {"AAAUSDT", "BBBUSDT"}
        assert sim.control("status")["played"] == 20
    rows = [row for row in sim.journal() if "stream" in row]
    assert len(rows) == 20
    assert all("events" not in row for row in rows)


async def test_timing_is_kept_or_scaled_and_bare_streams_are_bare(tmp_path: Path) -> None:
    path = tmp_path / "capture.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in spot_rows(50)))
    options = {"capture": [path], "venue": "binance_spot", "settle_s": 0.1}
    with start_sim(tmp_path, speed="2", **options) as sim:
        async with connect(sim, "/ws/aaausdt@depth@100ms") as client:
            data = await client.receive()
            assert data["e"] == "depthUpdate"
            started = monotonic_ns()
            for _ in range(9):
                await client.receive()
            # Nine steps of 100 ms at twice the speed.
            assert 0.40 < (monotonic_ns() - started) / 1e9 < 3.0


@pytest.mark.parametrize(
    ("venue", "path", "session", "files"),
    [
        ("deribit", "/ws/api/v2", "cf_20210722_options.jsonl.gz", "rest_cf_20210722_*"),
        ("binance_usdm", "/public/stream", "cf_20210722.jsonl.gz", "rest_cf_20210722*"),
        ("binance_spot", "/stream", "cf_20210814.jsonl.gz", "rest_cf_20210814*"),
    ],
)
async def test_real_recordings_play_unchanged(
    tmp_path: Path, venue: str, path: str, session: str, files: str
) -> None:
    directory = RECORDINGS / venue
    if not directory.is_dir():
        pytest.skip(f"no recordings at {directory}")
    capture = directory / session
    rows = [json.loads(line) for line in gzip.decompress(capture.read_bytes()).splitlines()]
    wanted: list[tuple[str, str]] = []
    for row in rows:
        message = json.loads(row["raw"]) if row["dir"] == "in" else {}
        name = message.get("stream") or message.get("params", {}).get("channel")
        if name and (venue != "binance_usdm" or ("aggTrade" not in name and "kline" not in name)):
            wanted.append((name, row["raw"]))
    names = list(dict.fromkeys(name for name, _ in wanted))
    captures = [capture, *directory.glob(files)]
    options = {"capture": captures, "venue": venue, "settle_s": 0.2, "speed": "max"}
    with start_sim(tmp_path, **options) as sim:
        frames = await play(sim, path, names, len(wanted))
        assert [json.loads(f) for f in frames] == [json.loads(raw) for _, raw in wanted]
        if venue == "deribit":
            found = await asyncio.to_thread(
                sim.get, "/api/v2/public/get_instruments?currency=BTC&kind=option"
            )
            assert len(found[1]["result"]) > 100
        else:
            rest = "/fapi/v1/depth" if venue == "binance_usdm" else "/api/v3/depth"
            symbol = names[0].split("@")[0].upper()
            status, body = await asyncio.to_thread(sim.get, f"{rest}?symbol={symbol}&limit=1000")
            assert status == 200
            assert body["lastUpdateId"] > 0
