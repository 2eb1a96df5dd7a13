"""Lists of instruments: fetched whole from servers of several forms, compared, followed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from feedd.errors import VenueError
from feedd.shm.instruments import InstrumentsReader
from feedd.shm.rows import InstrumentKind, InstrumentStatus
from feedd.supervisor.fetch import Fetcher
from feedd.supervisor.follow import Follower
from feedd.supervisor.listing import Diff, Listing, fetch_list, next_fetch_s
from feedd.supervisor.registry import Registry
from feedd.venues.reference import InstrumentInfo
from feedd.venues.schema import Venue
from feedd.venues.session_schema import RestLimits
from tests.fixtures.effort import tries
from tests.venues.references import ROOT, venue_of

S = 1_000_000_000
FIXTURES = ROOT / "tests" / "fixtures" / "reference"
ACTIVE, HALTED = InstrumentStatus.ACTIVE, InstrumentStatus.HALTED
EXPIRED, PRE = InstrumentStatus.EXPIRED, InstrumentStatus.PRE


def info(symbol: str, status: InstrumentStatus = ACTIVE, **fields: Any) -> InstrumentInfo:
    return InstrumentInfo(
        venue="v", symbol=symbol, status=status, kind=InstrumentKind.PERPETUAL, **fields
    )


def names(infos: Any) -> list[str]:
    return sorted(i.symbol for i in infos)


# ---- what changed --------------------------------------------------------------------------------


def test_nothing_changed() -> None:
    listing = Listing("v", [info("A"), info("B", tick=0.5)])
    diff = listing.update([info("B", tick=0.5), info("A")], 100 * S)
    assert not diff
    assert diff == Diff("v")


def test_a_new_listing_starts_when_it_trades() -> None:
    listing = Listing("v", [info("A")])
    diff = listing.update([info("A"), info("B", PRE), info("C")], 100 * S)
    assert (names(diff.added), names(diff.started)) == (["B", "C"], ["C"])
    diff = listing.update([info("A"), info("B"), info("C")], 200 * S)
    assert diff.changed == ((info("B", PRE), info("B")),)
    assert names(diff.started) == ["B"]
    assert names(diff.rows) == ["B"]


def test_a_halt_and_a_new_tick_are_changes() -> None:
    listing = Listing("v", [info("A", tick=0.1), info("B")])
    diff = listing.update([info("A", tick=0.5), info("B", HALTED)], 100 * S)
    assert {new.symbol: (new.tick, old.status) for old, new in diff.changed}["A"] == (0.5, ACTIVE)
    assert names(new for _, new in diff.changed) == ["A", "B"]
    assert not diff.started
    assert not diff.ended
    assert names(listing.update([info("A", tick=0.5), info("B")], 200 * S).started) == ["B"]


def test_what_expired_and_is_left_out_is_gone_at_once() -> None:
    listing = Listing("v", [info("A"), info("F", expiry=150 * S), info("G", expiry=300 * S)])
    diff = listing.update([info("A"), info("G", expiry=300 * S)], 200 * S)
    assert [(i.symbol, i.status) for i in diff.ended] == [("F", EXPIRED)]
    assert not listing.update([info("A"), info("G", expiry=300 * S)], 210 * S)


def test_what_is_left_out_before_its_expiry_is_gone_at_the_second_time() -> None:
    listing = Listing("v", [info("A"), info("B"), info("C"), info("D")])
    rest = [info("A"), info("B"), info("C")]
    assert not listing.update(rest, 100 * S)
    assert names(listing.update(rest, 200 * S).ended) == ["D"]
    # two that are seconds apart may come from one server that lags
    listing = Listing("v", [*rest, info("D")])
    for now in (100, 102, 104, 159):
        assert not listing.update(rest, now * S)
    assert names(listing.update(rest, 160 * S).ended) == ["D"]
    # once here again, the count starts over
    listing = Listing("v", [*rest, info("D")])
    assert not listing.update(rest, 100 * S)
    assert not listing.update([*rest, info("D")], 200 * S)
    assert not listing.update(rest, 300 * S)


def test_the_venue_says_that_it_ended() -> None:
    listing = Listing("v", [info("A"), info("B")])
    diff = listing.update([info("A"), info("B", EXPIRED)], 100 * S)
    assert names(diff.ended) == ["B"]
    assert not diff.changed
    assert not listing.update([info("A"), info("B", EXPIRED)], 200 * S)
    assert not listing.update([info("A")], 300 * S), "it may leave the list then"


def test_a_relisted_name_is_added_again() -> None:
    listing = Listing("v", [info("A"), info("B", EXPIRED)])
    diff = listing.update([info("A"), info("B")], 100 * S)
    assert names(diff.added) == names(diff.started) == ["B"]


def test_a_list_that_lost_most_is_not_believed() -> None:
    some = [info(f"S{i}") for i in range(10)]
    listing = Listing("v", [*some, info("F", expiry=50 * S)])
    for now in (100, 200, 300):
        diff = listing.update(some[:3], now * S)
        assert diff.doubt == "7 of 10 instruments are missing from the list"
        assert names(diff.ended) == (["F"] if now == 100 else []), "an expiry is no surprise"
    assert not listing.update([], 400 * S)
    assert names(listing.infos)[1:] == names(some)
    diff = listing.update(some[:6], 500 * S)
    assert diff.doubt == ""
    assert names(listing.update(some[:6], 600 * S).ended) == ["S6", "S7", "S8", "S9"]


STATUS = st.sampled_from([ACTIVE, HALTED, EXPIRED, PRE])
LISTS = st.lists(
    st.dictionaries(st.sampled_from("ABCDE"), st.tuples(STATUS, st.sampled_from([0, 150, 250]))),
    min_size=1, max_size=8,
)  # fmt: skip


@given(LISTS)
@settings(max_examples=tries(80), deadline=None)
def test_the_diffs_alone_rebuild_what_is_known(lists: list[dict[str, Any]]) -> None:
    """A listener that applies diffs knows what the listing knows, and every end comes once."""
    listing, known = Listing("v"), dict[str, InstrumentInfo]()
    for number, content in enumerate(lists):
        some = [info(k, status, expiry=e * S) for k, (status, e) in content.items()]
        diff = listing.update(some, (100 + 50 * number) * S)
        for one in diff.added:
            assert one.symbol not in known or known[one.symbol].status is EXPIRED
        for old, _ in diff.changed:
            assert repr(known[old.symbol]) == repr(old)
        for one in diff.ended:
            assert known[one.symbol].status is not EXPIRED
            assert one.status is EXPIRED
        listed = [i.symbol for i in diff.rows]
        assert len(listed) == len(set(listed))
        known |= {i.symbol: i for i in diff.rows}
        assert sorted(map(repr, known.values())) == sorted(map(repr, listing.infos))
        for one in some:
            assert repr(known[one.symbol]) == repr(one), "what is listed is as it is listed"


def test_the_next_list_is_asked_for_just_after_an_expiry() -> None:
    some = [info("A"), info("B", expiry=1_000 * S), info("C", EXPIRED, expiry=950 * S)]
    assert next_fetch_s(some, 600, 100 * S) == 600
    assert next_fetch_s(some, 600, 900 * S) == 130
    assert next_fetch_s(some, 600, 1_000 * S) == 600
    assert next_fetch_s([], 600, 0) == 600


# ---- fetching ------------------------------------------------------------------------------------

Answer = Callable[[web.Request, Any], Any]


@asynccontextmanager
async def raw_server(handler: Any) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def served(answer: Answer) -> AsyncIterator[tuple[str, list[str]]]:
    """``answer`` gives the JSON for a request (None: HTTP 500); yields base and requests seen."""
    seen: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        body = await request.json() if request.method == "POST" else None
        seen.append(request.path_qs + (f" {json.dumps(body)}" if body is not None else ""))
        found = answer(request, body)
        return web.Response(status=500) if found is None else web.json_response(found)

    async with raw_server(handler) as base:
        yield base, seen


def fixture(name: str) -> list[Any]:
    return [json.loads(row["raw"]) for row in json.loads((FIXTURES / f"{name}.json").read_text())]


async def fetched(venue: Venue, base: str) -> list[InstrumentInfo]:
    fetcher = Fetcher(venue.name, RestLimits(weight_max=10_000))
    try:
        return await fetch_list(venue, base, fetcher)
    finally:
        await fetcher.close()


async def test_one_request_per_underlying() -> None:
    spot, swap, future, option = fixture("okx")

    def answer(request: web.Request, body: Any) -> Any:
        if request.path.endswith("/underlying"):
            return {"code": "0", "data": [["AAA-USD", "BBB-USD"]]}
        kind, uly = request.query["instType"], request.query.get("uly")
        by_kind = {"SPOT": spot, "SWAP": swap, "FUTURES": future}
        return by_kind.get(kind) or (option if uly == "AAA-USD" else {"code": "0", "data": []})

    async with served(answer) as (base, seen):
        found = await fetched(venue_of("okx"), base)
    assert len(found) == 7
    assert [path.partition("?")[2] for path in seen] == [
        "instType=SPOT", "instType=SWAP", "instType=FUTURES", "instType=OPTION",
        "instType=OPTION&uly=AAA-USD", "instType=OPTION&uly=BBB-USD",
    ]  # fmt: skip


async def test_every_page_is_asked_for() -> None:
    first, second, pre = fixture("bybit_linear")

    def answer(request: web.Request, body: Any) -> Any:
        if request.query.get("status") == "PreLaunch":
            return pre
        return {None: first, "first=AAA": second}[request.query.get("cursor")]

    async with served(answer) as (base, seen):
        found = await fetched(venue_of("bybit_linear"), base)
    assert names(found) == ["AAAPERP", "AAAUSDT", "AAAUSDT-28JUN30", "BBBUSDT"]
    assert len(seen) == 3


async def test_pages_that_never_end_are_an_error() -> None:
    endless = fixture("bybit_linear")[0]
    async with served(lambda request, body: endless) as (base, seen):
        with pytest.raises(VenueError, match="more than 50 pages"):
            await fetched(venue_of("bybit_linear"), base)
    assert len(seen) == 50


async def test_pages_by_the_number_of_rows() -> None:
    venue = venue_of("gate")
    assert venue.reference is not None
    request = msgspec.convert(
        {"path": "/list?limit=2", "page": {"parameter": "offset", "rows": 2}},
        type(venue_of("okx").reference.requests[-1]),  # type: ignore[union-attr]
    )
    paged = msgspec.structs.replace(venue.reference, requests=(request,))
    row = fixture("gate")[0][0]
    rows = [{**row, "id": f"P{i}_USDT"} for i in range(5)]

    def answer(request: web.Request, body: Any) -> Any:
        start = int(request.query.get("offset", 0))
        return rows[start : start + 2]

    async with served(answer) as (base, seen):
        found = await fetched(msgspec.structs.replace(venue, reference=paged), base)
    assert len(found) == 5
    assert seen == ["/list?limit=2", "/list?limit=2&offset=2", "/list?limit=2&offset=4"]


async def test_requests_with_a_body() -> None:
    spot, first, other = fixture("hyperliquid")

    def answer(request: web.Request, body: Any) -> Any:
        assert request.method == "POST"
        if body["type"] == "perpDexs":
            return [None, {"name": "abc", "fullName": "x"}]
        return spot if body["type"] == "spotMeta" else {"": first, "abc": other}[body["dex"]]

    async with served(answer) as (base, seen):
        found = await fetched(venue_of("hyperliquid"), base)
    assert names(found) == ["@5", "AAA/USDC", "BTC", "abc:TSLA", "kAAA"]
    assert [path.partition(" ")[2] for path in seen] == [
        '{"type": "spotMeta"}', '{"type": "perpDexs"}', '{"type": "meta", "dex": ""}',
        '{"type": "meta", "dex": "abc"}',
    ]  # fmt: skip


async def test_a_list_is_whole_or_not_there() -> None:
    usdt, btc, dated = fixture("gate_futures")
    state = {"broken": True}

    def answer(request: web.Request, body: Any) -> Any:
        if request.path == "/api/v4/delivery/usdt/contracts" and state["broken"]:
            return {"label": "SERVER_ERROR"}
        return {"/api/v4/futures/usdt/contracts": usdt, "/api/v4/futures/btc/contracts": btc}.get(
            request.path, dated
        )

    async with served(answer) as (base, _):
        with pytest.raises(VenueError, match="/delivery/usdt/contracts lists no instruments"):
            await fetched(venue_of("gate_futures"), base)
        state["broken"] = False
        found = await fetched(venue_of("gate_futures"), base)
    assert {i.symbol: i.settle for i in found} == {
        "AAA_USDT": "USDT", "BBB_USDT": "USDT", "CCC_USDT": "USDT", "BTC_USD": "BTC",
        "DDD_USD": "BTC", "AAA_USDT_20300628": "USDT",
    }  # fmt: skip


async def test_a_product_that_the_venue_gave_up_is_an_empty_list() -> None:
    usdt, btc, _ = fixture("gate_futures")
    state = {"status": 404}

    async def handler(request: web.Request) -> web.Response:
        lists = {"/api/v4/futures/usdt/contracts": usdt, "/api/v4/futures/btc/contracts": btc}
        found = lists.get(request.path)
        return web.json_response(found) if found is not None else web.Response(**state)

    async with raw_server(handler) as base:
        found = await fetched(venue_of("gate_futures"), base)
        assert names(found) == ["AAA_USDT", "BBB_USDT", "BTC_USD", "CCC_USDT", "DDD_USD"]
        state["status"] = 503
        with pytest.raises(VenueError, match="HTTP 503"):
            await fetched(venue_of("gate_futures"), base)
    with pytest.raises(VenueError, match="contracts failed"):
        await fetched(venue_of("gate_futures"), "http://127.0.0.1:9")


# ---- following -----------------------------------------------------------------------------------


async def test_the_table_follows_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feedd.supervisor.listing.MISSED_S", 0)
    venue = venue_of("coinbase_exchange")
    rows = fixture("coinbase_exchange")[0]
    row = {**rows[0], "id": "DDD-USD", "base_currency": "DDD"}
    state: dict[str, Any] = {"rows": [*rows, row]}
    diffs: list[Diff] = []
    registry = Registry(tmp_path, tmp_path / "state")
    table = InstrumentsReader(tmp_path)
    fetcher = Fetcher(venue.name, RestLimits(weight_max=10_000))

    def status(name: str) -> InstrumentStatus:
        table.refresh()
        return InstrumentStatus(table.by_name(f"coinbase_exchange:{name}")["status"])

    async with served(lambda request, body: state["rows"]) as (base, _):
        infos = await fetch_list(venue, base, fetcher)
        registry.learn(infos)
        registry.add(["coinbase_exchange:AAA-USD", "coinbase_exchange:DDD-USD"])
        follower = Follower(venue, base, fetcher, registry, infos, diffs.append)
        assert not await follower.refresh()
        assert diffs == []

        # a halt, a new tick and a new pair
        state["rows"] = [
            {**rows[0], "trading_disabled": True, "quote_increment": "0.5"}, *rows[1:], row,
            {**rows[0], "id": "NEW-USD", "base_currency": "NEW"},
        ]  # fmt: skip
        await follower.refresh()
        assert status("AAA-USD") is HALTED
        assert table.by_name("coinbase_exchange:AAA-USD")["tick"] == 0.5
        assert names(diffs[-1].started) == ["NEW-USD"]
        assert len(table) == 2, "who is not in the plan gets no id"
        registry.add(["coinbase_exchange:NEW-USD"])
        assert status("NEW-USD") is ACTIVE

        # delisted: left out twice
        state["rows"] = [*rows, {**rows[0], "id": "NEW-USD"}]
        await follower.refresh()
        assert status("AAA-USD") is ACTIVE
        assert status("DDD-USD") is ACTIVE
        await follower.refresh()
        assert status("DDD-USD") is EXPIRED
        assert names(diffs[-1].ended) == ["DDD-USD"]
        assert table.by_name("coinbase_exchange:DDD-USD")["id"] == 1, "a row is never taken away"

        # an answer that is none changes nothing
        state["rows"] = {"message": "down"}
        before = follower.refreshed_ns
        assert not await follower.refresh()
        assert (follower.failures, follower.refreshed_ns) == (1, before)
        assert np.all(table.array["id"] == [0, 1, 2])
    await fetcher.close()
    table.close()
    registry.close()
