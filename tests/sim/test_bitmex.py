"""BitMEX's realtime protocol as a client meets it."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feedd.sim.testing import SimHandle, start_sim
from tests.sim.client import Client
from tests.sim.rig import Sides, empty, events_of, final_sides, opened, parsed, run

VENUE = "bitmex"
PATH = "/realtime"
SIDES = {"Buy": "bids", "Sell": "asks"}


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[SimHandle]:
    with start_sim(tmp_path, rate=1500, seed=3, venues=VENUE) as handle:
        yield handle


async def ask(client: Client, *topics: str, op: str = "subscribe") -> None:
    await client.send({"op": op, "args": list(topics)})


def messages(client: Client, table: str) -> list[dict[str, Any]]:
    return [m for m in parsed(client) if isinstance(m, dict) and m.get("table") == table]


class Rows:
    """The book of one instrument, by the key (id, side); the price is remembered by the key."""

    def __init__(self) -> None:
        self.levels: dict[tuple[int, str], tuple[float, float]] = {}
        self.had_partial = False
        self.early = 0

    def feed(self, action: str, rows: list[dict[str, Any]]) -> None:
        """Apply a message; what comes before the partial is dropped."""
        if action == "partial":
            assert not self.had_partial
            self.had_partial = True
        if not self.had_partial:
            self.early += 1
            return
        for row in rows:
            key = (row["id"], row["side"])
            if action == "delete":
                del self.levels[key]
            elif action == "update":
                self.levels[key] = (self.levels[key][0], row["size"])
                assert row.get("price", self.levels[key][0]) == self.levels[key][0]
            else:
                assert key not in self.levels
                self.levels[key] = (row["price"], row["size"])

    def sides(self) -> Sides:
        book = empty()
        for (_, side), (price, size) in self.levels.items():
            book[SIDES[side]][price] = size
        return book


@pytest.mark.parametrize(("table", "depth"), [("orderBookL2", None), ("orderBookL2_25", 25)])
async def test_rows_by_id_make_the_book(sim: SimHandle, table: str, depth: int | None) -> None:
    symbols = sim.instruments[VENUE]
    async with opened(sim, VENUE, PATH) as client, opened(sim, VENUE, PATH) as other:
        await ask(client, *[f"{table}:{symbol}" for symbol in symbols])
        await asyncio.sleep(0.2)
        await ask(other, f"{table}:XBTUSD")
        _, finals = await run(sim, client, other)
    books = {symbol: Rows() for symbol in symbols}
    forms: set[bool] = set()
    for message in messages(client, table):
        symbol = message["data"][0]["symbol"]
        books[symbol].feed(message["action"], message["data"])
        if message["action"] == "update":
            forms.add("price" in message["data"][0])
    assert forms == {True, False}
    early = [books[symbol].early > 0 for symbol in symbols]
    assert early == [turn % 2 == 1 for turn in range(len(symbols))]
    for symbol in symbols:
        row = finals[f"{VENUE}:{symbol}"]
        assert row["sequence"] is None
        assert books[symbol].sides() == final_sides(row)
        assert len(row["bids"]) == depth if depth else len(row["bids"]) > 50
    news = [f for f in other.frames if '"table"' in f and '"partial"' not in f]
    assert len(news) > 20
    assert news == [f for f in client.frames if '"symbol":"XBTUSD"' in f][-len(news) :]
    ids = {key[0] for key in books["XBTUSD"].levels}
    assert len(ids) == len(books["XBTUSD"].levels)


async def test_nothing_is_due_of_what_comes_before_the_partial(sim: SimHandle) -> None:
    async with opened(sim, VENUE, PATH) as client:
        await ask(client, "orderBookL2:XBTUSD", "orderBookL2:ETHUSD")
        journal, _ = await run(sim, client)
    for symbol in ("XBTUSD", "ETHUSD"):
        rows = [row for row in journal if row.get("stream") == f"orderBookL2:{symbol}"]
        first = next(turn for turn, row in enumerate(rows) if row.get("greeting"))
        assert all(row["events"] == [] for row in rows[:first])
        assert all(len(row["events"]) == 1 for row in rows[first:])
        assert (first > 0) == (symbol == "ETHUSD")


async def test_quotes_trades_and_top_ten(sim: SimHandle) -> None:
    await asyncio.sleep(0.3)
    async with opened(sim, VENUE, PATH) as client:
        await ask(client, "quote:XBTUSD", "trade:XBTUSD", "orderBook10:XBTUSD")
        journal, finals = await run(sim, client)
    for table in ("quote", "trade", "orderBook10"):
        rows = [(m["action"], row) for m in messages(client, table) for row in m["data"]]
        events = events_of(journal, f"{table}:XBTUSD")
        assert len(rows) == len(events) > 10
        assert rows[0][0] == "partial"
        for (action, row), event in zip(rows, events, strict=True):
            stamp = row["timestamp"]
            assert event["ts_event"] == ns_of(stamp)
            if table == "quote":
                assert float(event["bid_price"]) == row["bidPrice"]
                assert float(event["ask_size"]) == row["askSize"]
            elif table == "trade":
                assert (float(event["price"]), float(event["size"])) == (row["price"], row["size"])
                assert event["side"] == row["side"].lower()
                assert event["trade_id"] == row["trdMatchID"]
                assert (event.get("flags") == ["replay"]) == (action == "partial")
            else:
                assert [[float(p), float(s)] for p, s in event["bids"]] == row["bids"]
                assert len(row["asks"]) == 10
    assert {m["action"] for m in messages(client, "orderBook10")} == {"partial", "update"}
    last = messages(client, "orderBook10")[-1]["data"][0]
    assert [[float(p), float(s)] for p, s in finals[f"{VENUE}:XBTUSD"]["bids"][:10]] == last["bids"]


def ns_of(stamp: str) -> int:
    """ISO text to nanoseconds."""
    moment = datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    return int(moment.timestamp()) * 10**9 + moment.microsecond * 1000


async def test_instrument_rows_carry_only_what_changed(sim: SimHandle) -> None:
    fields = {
        "markPrice": "mark",
        "indicativeSettlePrice": "index",
        "lastPrice": "last",
        "openInterest": "open_interest",
        "fundingRate": "funding_rate",
        "indicativeFundingRate": "predicted_funding",
    }
    async with opened(sim, VENUE, PATH) as client:
        await ask(client, "instrument:XBTUSD", "funding:XBTUSD", "instrument:XBT_USDT")
        journal, _ = await run(sim, client, seconds=2.2)
    rows = [(m["action"], m["data"][0]) for m in messages(client, "instrument")]
    mine = [(action, row) for action, row in rows if row["symbol"] == "XBTUSD"]
    assert mine[0][0] == "partial"
    assert mine[0][1]["tickSize"] == 0.1
    assert all(action == "update" for action, _ in mine[1:])
    assert any("markPrice" not in row for _, row in mine[1:])
    events = events_of(journal, "instrument:XBTUSD")
    told = [row for _, row in mine if row.keys() & fields.keys()]
    assert len(told) == len(events) > 3
    for row, event in zip(told, events, strict=True):
        assert {name: row[key] for key, name in fields.items() if key in row} == {
            name: float(event[name]) for name in fields.values() if name in event
        }
        if "fundingTimestamp" in row:
            assert event["next_funding"] == ns_of(row["fundingTimestamp"])
    (funding,) = messages(client, "funding")
    (event,) = events_of(journal, "funding:XBTUSD")
    assert float(event["funding_rate"]) == funding["data"][0]["fundingRate"]
    spot = [row for _, row in rows if row["symbol"] == "XBT_USDT"]
    assert spot
    assert not any("markPrice" in row for row in spot)


async def test_liquidation_orders_come_shrink_and_go() -> None:
    with start_sim(rate=4000, seed=3, venues=VENUE) as sim:
        async with opened(sim, VENUE, PATH) as client:
            await ask(client, "liquidation")
            journal, _ = await run(sim, client, seconds=2.0)
    by_order: dict[str, list[str]] = {}
    inserted = []
    for message in messages(client, "liquidation"):
        for row in message["data"]:
            by_order.setdefault(row["orderID"], []).append(message["action"])
            if message["action"] == "insert":
                inserted.append(row)
    assert inserted
    # An order may be there already (partial), and one may still be open at the end.
    lives = {tuple(actions[1:]) for actions in by_order.values()}
    assert ("update", "delete") in lives
    assert lives <= {("update", "delete"), ()}
    assert {actions[0] for actions in by_order.values()} <= {"partial", "insert"}
    events = {
        event["trade_id"]: event
        for row in journal
        if row.get("stream", "").startswith("liquidation:")
        for event in row["events"]
    }
    assert events.keys() == {row["orderID"] for row in inserted}
    for row in inserted:
        event = events[row["orderID"]]
        assert (float(event["price"]), float(event["size"])) == (row["price"], row["leavesQty"])
        assert event["side"] == row["side"].lower()


async def test_greeting_acks_errors_and_pongs(sim: SimHandle) -> None:
    async with opened(sim, VENUE, f"{PATH}?subscribe=trade:XBTUSD") as client:
        assert (await client.receive()).keys() >= {"info", "version", "limit"}
        ack = await client.receive()
        assert (ack["success"], ack["subscribe"]) == (True, "trade:XBTUSD")
        await client.send("ping")
        while await client.receive_text() != "pong":
            pass
        await ask(client, "foo:XBTUSD", "trade:XBTUSD")
        failed = [await client.until(lambda m: "error" in m) for _ in range(2)]
        assert [f["error"] for f in failed] == [
            "Unknown table: foo",
            "You are already subscribed to this topic: trade:XBTUSD",
        ]
        await ask(client, "trade:XBTUSD", op="unsubscribe")
        await client.until(lambda m: m.get("unsubscribe") == "trade:XBTUSD")
        assert not await client.drain(0.3)
        await ask(client, "orderBookL2:NOPE")
        assert (await client.receive())["success"] is True
        nothing = await client.receive()
        assert (nothing["action"], nothing["data"]) == ("partial", [])
        assert nothing["filter"] == {"symbol": "NOPE"}
        for bad in ("{", {"op": "dance"}, {"op": "subscribe", "args": ["trade:XBTUSD"] * 21}):
            await client.send(bad)
            assert (await client.receive())["status"] == 400


async def test_subscriptions_are_limited_and_maintenance_is_announced() -> None:
    with start_sim(rate=100, venues=VENUE, notice_s=0.3) as sim:
        async with opened(sim, VENUE, PATH) as client:
            for _ in range(37):
                await ask(client, *["trade:NOPE"] * 20)
            for turn in range(720):
                await ask(client, f"trade:N{turn}")
            limited = await client.until(lambda m: m.get("status") == 429)
            assert limited["meta"] == {"retryAfter": 5}
        async with opened(sim, VENUE, PATH) as client:
            await asyncio.to_thread(sim.control, "event", {"event": "maintenance"})
            await client.drain(2.0)
            assert client.close_code == 1001


def test_reference_data_and_order_book(sim: SimHandle) -> None:
    status, rows = sim.get(f"/{VENUE}/api/v1/instrument/active")
    assert status == 200
    found = {row["symbol"]: row for row in rows}
    assert list(found) == sim.instruments[VENUE]
    assert found["XBTUSD"]["isInverse"]
    assert found["ETHUSD"]["isQuanto"]
    assert found["XBTUSDT"]["underlyingToPositionMultiplier"] == 1_000_000
    assert found["XBT_USDT"]["typ"] == "IFXXXP"
    _, book = sim.get(f"/{VENUE}/api/v1/orderBook/L2?symbol=XBTUSD&depth=3")
    assert [row["side"] for row in book] == ["Sell"] * 3 + ["Buy"] * 3
    assert book[2]["price"] > book[3]["price"]
    statuses = [sim.get(f"/{VENUE}/api/v1/instrument/active")[0] for _ in range(40)]
    assert 429 in statuses
