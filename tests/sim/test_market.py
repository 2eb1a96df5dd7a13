"""The generator itself, in this process: deterministic, well-formed, numbered as venues number."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from feedd.sim.config import SimConfig
from feedd.sim.engine import Engine
from feedd.sim.faults import Faults
from feedd.sim.hub import Hub
from feedd.sim.journal import Journal
from feedd.sim.ladder import ASK, BID

EPOCH_MS = 1_795_000_000_000


class Sink:
    """Stands for a connection: keeps what it is sent."""

    number = 1
    closing = False
    delayed = False

    def __init__(self, venue: str) -> None:
        self.venue = venue
        self.subscriptions: dict[str, None] = {}
        self.got: list[tuple[str, str]] = []

    def frame(self, name: str, body: str) -> str:
        self.got.append((name, body))
        return body

    def stamped(self, events: str) -> str:
        return events

    def transmit(self, frame: bytes) -> None:
        pass

    def release_held(self) -> None:
        pass


def run(tmp_path: Path, ticks: int, names: Any, **options: Any) -> tuple[Engine, Sink, list[Any]]:
    config = SimConfig(**{"rate": 5_000.0, "seed": 3, **options})
    path = tmp_path / f"journal-{len(list(tmp_path.iterdir()))}.jsonl"
    journal = Journal(path, config.seed, EPOCH_MS)
    hub = Hub(journal, Faults(config.seed))
    engine = Engine(config, hub, EPOCH_MS)
    sink = Sink("any")
    for stream in hub.streams.values():
        if names(stream.name):
            stream.subs = [sink]  # type: ignore[list-item]
    for _ in range(ticks):
        engine.tick()
    engine.stop()
    journal.close()
    return engine, sink, [json.loads(line) for line in path.read_text().splitlines()]


def digest(frames: list[tuple[str, str]]) -> str:
    return hashlib.sha256(repr(frames).encode()).hexdigest()


def wants_everything(name: str) -> bool:
    return True


def wants_usual(name: str) -> bool:
    """Each event once: 100 ms books and tickers, quotes, single trades, marks, liquidations."""
    if name.startswith(("book.", "ticker.", "trades.")):
        return name.endswith(".100ms") and ".future." not in name and ".option." not in name
    usual = ("@depth@100ms", "@bookTicker", "@trade", "@markPrice@1s", "@forceOrder")
    return name.startswith("quote.") or name.endswith(usual)


def test_content_depends_on_the_seed_alone(tmp_path: Path) -> None:
    _, first, rows = run(tmp_path, 1_500, wants_everything)
    _, again, rows_again = run(tmp_path, 1_500, wants_everything)
    _, other, _ = run(tmp_path, 1_500, wants_everything, seed=4)
    assert digest(first.got) == digest(again.got)
    assert digest(first.got) != digest(other.got)
    strip = [{k: v for k, v in row.items() if k != "t"} for row in rows]
    assert strip == [{k: v for k, v in row.items() if k != "t"} for row in rows_again]


def test_content_does_not_depend_on_who_listens(tmp_path: Path) -> None:
    _, everything, _ = run(tmp_path, 1_500, wants_everything)
    for name in ("btcusdt@depth@100ms", "quote.BTC-PERPETUAL", "ethusdt@aggTrade"):
        _, alone, _ = run(tmp_path, 1_500, lambda each, name=name: each == name)
        assert alone.got
        assert alone.got == [frame for frame in everything.got if frame[0] == name]


def test_rate_is_what_was_asked_for(tmp_path: Path) -> None:
    for rate in (5_000.0, 1_000.0):
        _, _, rows = run(tmp_path, 4_000, wants_usual, rate=rate)
        per_second = sum(len(row.get("events", ())) for row in rows) / 4
        assert rate <= per_second < 1.5 * rate


def test_books_are_deep_and_never_crossed(tmp_path: Path) -> None:
    engine, _, _ = run(tmp_path, 3_000, lambda name: False, rate=20_000.0)
    for market in engine.markets.values():
        best_bid, bid_size, best_ask, ask_size = market.ladder.top()
        assert 0 < best_bid < best_ask
        assert bid_size > 0
        assert ask_size > 0
        assert market.ladder.best_bid == max(market.ladder.sides[BID])
        assert market.ladder.best_ask == min(market.ladder.sides[ASK])
        least = 20 if market.spec.kind == "option" else 200
        for side in (BID, ASK):
            assert least <= len(market.ladder.sides[side]) < 900
            assert all(size > 0 for size in market.ladder.sides[side].values())


def _is_chained(name: str) -> bool:
    """A Deribit book; its grouped form sends the best levels without a link."""
    return name.startswith("book.") and ".none." not in name


def test_numbering_is_each_venues_own(tmp_path: Path) -> None:
    _, sink, _ = run(tmp_path, 3_000, lambda name: "depth@100ms" in name or _is_chained(name))
    last: dict[str, int] = {}
    dense: dict[str, list[bool]] = {"spot": [], "usdm": []}
    jumps = []
    for name, body in sink.got:
        message = json.loads(body)
        if "U" in message:
            spot = "pu" not in message
            previous = last.get(name + str(spot))
            if previous is not None:
                dense["spot" if spot else "usdm"].append(message["U"] == previous + 1)
                assert spot or message["pu"] == previous
            assert message["U"] <= message["u"]
            last[name + str(spot)] = message["u"]
        else:
            data = message["params"]["data"]
            if name in last:
                assert data["prev_change_id"] == last[name]
                jumps.append(data["change_id"] - last[name])
            last[name] = data["change_id"]
    assert all(dense["spot"])
    assert dense["usdm"]
    assert not any(dense["usdm"])
    assert min(jumps) > 0
    assert max(jumps) > 100


def test_every_kind_of_event_comes_with_its_edges(tmp_path: Path) -> None:
    _, sink, rows = run(tmp_path, 9_000, wants_usual, one_sided=True)
    events = [event for row in rows for event in row.get("events", ())]
    kinds = {event["kind"] for event in events}
    assert kinds == {"book", "trade", "quote", "deriv", "greeks", "liquidation"}
    assert any(e.get("flags") == ["liquidation"] for e in events)
    assert any(e["kind"] == "quote" and e["bid_price"] is None for e in events)
    assert any(e["kind"] == "greeks" and "bid_iv" not in e for e in events)
    assert all(0.2 < float(e["mark_iv"]) < 1.3 for e in events if e["kind"] == "greeks")
    text = "".join(body for _, body in sink.got)
    assert '"last_price":null' in text
    assert '"bid_iv":0.0' in text
    assert "e3" in text
    assert "e-" in text
    names = {event["instrument"] for event in events}
    for venue in ("deribit:", "binance_usdm:", "binance_spot:"):
        assert len({name for name in names if name.startswith(venue)}) >= 3
