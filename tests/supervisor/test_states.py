"""A venue lists, halts and ends instruments on its channel: table, ring, broadcast, plan."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from feedd import venues
from feedd.records import STATUS, Event, Kind
from feedd.shm.instruments import InstrumentsReader
from feedd.shm.ring import RingReader
from feedd.shm.rows import InstrumentStatus
from feedd.sim.testing import SimHandle, start_sim
from feedd.supervisor.follow import Follower
from feedd.supervisor.listing import TOLD_S, Diff, Listing
from feedd.venues.reference import InstrumentInfo
from tests.supervisor.conftest import until

pytestmark = pytest.mark.timeout(150)

Make = Callable[..., Any]
ACTIVE, HALTED, EXPIRED = (
    InstrumentStatus.ACTIVE,
    InstrumentStatus.HALTED,
    InstrumentStatus.EXPIRED,
)
NEW = "ETH-USDT-SWAP"
DEEP = {
    "okx": (["BTC-USDT-SWAP", "*-SWAP"], ["bbo-tbt", "instruments"]),
    "kraken": (["*"], ["ticker", "instrument"]),
    "binance_coinm": (["BTCUSD_PERP"], ["bookTicker", "contractInfo"]),
    "binance_options": (["BTC-*"], ["bookTicker", "optionSymbol"]),
    "coinbase": (["*"], ["ticker", "status"]),
    "coinbase_exchange": (["*"], ["ticker", "status"]),
    "bitmex": (["XBTUSD"], ["quote", "instrument"]),
    "gate_futures": (["BTC_USDT"], ["book_ticker", "contract_info"]),
    "kraken_futures": (["*"], ["ticker"]),
}
HALTS = {
    "deribit": ("BTC-PERPETUAL", HALTED),
    "okx": ("BTC-USDT-SWAP", HALTED),
    "kraken": ("BTC/USD", HALTED),
    "binance_coinm": ("BTCUSD_PERP", InstrumentStatus.SETTLING),
    "binance_options": ("", HALTED),
    "coinbase_exchange": ("BTC-USD", HALTED),
    "bitmex": ("XBTUSD", HALTED),
    "kraken_futures": ("", HALTED),
}


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[SimHandle]:
    (tmp_path / "sim").mkdir()
    venues = ",".join(("deribit", *DEEP))
    with start_sim(tmp_path / "sim", venues=venues, rate=600, seed=3) as handle:
        yield handle


def sections(sim: SimHandle) -> str:
    lines = []
    for name, (instruments, channels) in DEEP.items():
        lines += sim.section(name, channels, instruments)
    return "\n".join(lines) + "\n"


class Table:
    """Rows of the instruments table, as any process may read them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def row(self, name: str) -> Any:
        reader = InstrumentsReader(self.directory)
        try:
            return reader.by_name(name).copy()
        except KeyError:
            return None
        finally:
            reader.close()

    def status(self, name: str) -> int:
        row = self.row(name)
        return -1 if row is None else int(row["status"])

    def reader(self, name: str) -> int:
        row = self.row(name)
        return -1 if row is None else int(row["reader"])


def states(ring: RingReader) -> list[tuple[int, int, str]]:
    """(instrument id, status, word) of the STATUS records since the last call."""
    found = ring.read(1 << 14)
    found = found[found["kind"] == Kind.STATUS].view(STATUS)
    return [
        (int(r["instrument"]), int(r["arg0"]), bytes(r["text"]).rstrip(b"\0").decode())
        for r in found
        if int(r["code"]) == Event.INSTRUMENT_STATE
    ]


def heard(socket: Any, messages: dict[str, list[dict[str, Any]]]) -> None:
    while socket.poll(0):
        topic, body = socket.recv_multipart()[:2]
        messages.setdefault(topic.decode(), []).append(json.loads(body))


def first_of(sim: SimHandle, venue: str) -> str:
    return sim.instruments[venue][0]


def happen(sim: SimHandle, event: str, venue: str, symbol: str) -> None:
    body = {"event": event, "venue": venue, "symbol": symbol}
    assert sim.control("event", body) == {"venues": [venue]}


def test_what_a_venue_says_of_its_instruments_is_known_everywhere_at_once(
    sim: SimHandle, make_daemon: Make
) -> None:
    happen(sim, "unlist", "okx", NEW)
    first = {"deribit": ["quote", "instrument_state"]}
    names = {"deribit": ["BTC-PERPETUAL", "ETH-PERPETUAL"]}
    daemon = make_daemon(sim, venues=first, instruments=names, sections=sections(sim))
    until(lambda: (daemon.directory / "counters").exists(), 30)
    daemon.wait_live_lines()
    table = Table(daemon.directory)
    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.connect(f"ipc://{daemon.directory}/pub")
    socket.subscribe(b"instrument.")
    messages: dict[str, list[dict[str, Any]]] = {}
    with RingReader(daemon.directory, 0, "newest") as ring:
        # halts: each venue in its own words, the table within the time of a message
        halted = {}
        for venue, (symbol, status) in HALTS.items():
            name = f"{venue}:{symbol or first_of(sim, venue)}"
            assert table.status(name) == ACTIVE, name
            happen(sim, "halt", venue, name.partition(":")[2])
            until(lambda name=name, status=status: table.status(name) == status, 8)
            halted[name] = (int(table.row(name)["id"]), int(status))
        records: list[tuple[int, int, str]] = []

        def published(*wanted: tuple[int, int]) -> bool:
            records.extend(states(ring))
            return {(ident, status) for ident, status, _ in records} >= set(wanted)

        def said(name: str, status: str) -> bool:
            heard(socket, messages)
            told = messages.get(f"instrument.{name}", [])
            return any(message.get("status") == status for message in told)

        until(lambda: published(*halted.values()))
        for name, (_, status) in halted.items():
            word = InstrumentStatus(status).name.lower()
            until(lambda name=name, word=word: said(name, word))

        # a new listing is subscribed at once, not at the next list
        assert table.row(f"okx:{NEW}") is None
        began = time.monotonic()
        happen(sim, "list", "okx", NEW)
        until(lambda: table.reader(f"okx:{NEW}") == 0, 12)
        assert time.monotonic() - began < 12, "the list itself is asked for every ten minutes"
        row = table.row(f"okx:{NEW}")
        assert (int(row["status"]), float(row["tick"])) == (ACTIVE, 0.01)
        ident = int(row["id"])
        until(lambda: published((ident, int(ACTIVE))))
        assert (ident, int(ACTIVE), "live") in records
        until(lambda: said(f"okx:{NEW}", "active"))

        # the end of one: left, and said so
        happen(sim, "delist", "kraken", "SOL/EUR")
        until(lambda: table.status("kraken:SOL/EUR") == EXPIRED, 8)
        assert table.reader("kraken:SOL/EUR") == -1
        until(lambda: said("kraken:SOL/EUR", "expired"))

        # another tick: the list is asked for
        for venue, symbol, tick in (
            ("okx", "BTC-USDT-SWAP", 0.2),
            ("gate_futures", "BTC_USDT", 0.2),
        ):
            happen(sim, "retick", venue, symbol)
            until(
                lambda name=f"{venue}:{symbol}", tick=tick: float(table.row(name)["tick"]) == tick,
                12,
            )
        happen(sim, "resume", "okx", "BTC-USDT-SWAP")
        until(lambda: table.status("okx:BTC-USDT-SWAP") == ACTIVE, 8)
    socket.close(0)
    context.term()
    assert daemon.counter("unknown_states") == 0
    assert daemon.counter("bad_frames") == 0
    assert daemon.counter("subscribe_errors") == 0
    assert "without a meaning" not in daemon.log()
    assert daemon.stop() == 0, daemon.log()


# ---- the rules by themselves ---------------------------------------------------------------------


def info(symbol: str, status: InstrumentStatus = ACTIVE) -> InstrumentInfo:
    return InstrumentInfo(venue="okx", symbol=symbol, status=status)


def test_a_word_counts_against_a_list_that_is_older() -> None:
    listing = Listing("okx", [info("A"), info("B")])
    now = 10**18
    diff = listing.told("A", HALTED, now)
    assert diff is not None
    assert [(old.status, new.status) for old, new in diff.changed] == [(ACTIVE, HALTED)]
    assert not listing.told("A", HALTED, now)
    assert listing.told("NEW", ACTIVE, now) is None
    assert not listing.update([info("A"), info("B")], now + 10**9), "this list is older"
    late = now + int((TOLD_S + 1) * 1e9)
    (change,) = listing.update([info("A"), info("B")], late).changed
    assert change[1].status is ACTIVE
    ended = listing.told("B", EXPIRED, late)
    assert ended is not None
    assert [i.symbol for i in ended.ended] == ["B"]
    assert not listing.update([info("A"), info("B")], late + 1)
    again = listing.told("B", ACTIVE, late + 2)
    assert again is not None
    assert [i.symbol for i in again.started] == ["B"]


def test_what_a_channel_does_not_know_the_list_decides() -> None:
    listing = Listing("coinbase", [info("A", HALTED)])
    assert listing.untold("A", ACTIVE), "it may be active now: ask"
    assert [i.status for i in listing.infos] == [HALTED], "until the list says so"
    listing.told("A", EXPIRED, 10**18)
    assert listing.untold("A", ACTIVE)
    (again,) = listing.update([info("A")], 10**18 + 1).added
    assert again.status is ACTIVE, "what was told before holds no longer"
    assert not listing.untold("A", ACTIVE)


class Registered:
    def __init__(self) -> None:
        self.learned: list[tuple[str, InstrumentStatus]] = []

    def learn(self, rows: list[InstrumentInfo]) -> None:
        self.learned += [(row.symbol, row.status) for row in rows]


def follower(
    infos: list[InstrumentInfo], venue: str = "okx"
) -> tuple[Follower, Registered, list[Diff]]:
    registered, diffs = Registered(), []
    made = Follower(
        venues.load(venue),
        "https://127.0.0.1:1",
        None,
        registered,
        infos,
        diffs.append,  # type: ignore[arg-type]
    )
    return made, registered, diffs


async def test_only_news_ask_for_the_list(caplog: Any) -> None:
    mine, registered, diffs = follower([info("A"), info("B")])
    mine.on_states([("A", int(ACTIVE), "live", False), ("GONE", int(EXPIRED), "expired", False)])
    assert (registered.learned, diffs, mine._wanted.is_set()) == ([], [], False)
    mine.on_states([("A", int(HALTED), "suspend", False)])
    assert registered.learned == [("A", HALTED)]
    assert [d.changed[0][1].symbol for d in diffs] == ["A"]
    assert mine._wanted.is_set()
    mine._wanted.clear()
    mine.on_states([("B", int(ACTIVE), "live", True)])
    assert mine._wanted.is_set(), "its tick may be another one"
    mine._wanted.clear()
    mine.on_states([("NEW", int(ACTIVE), "live", False)])
    assert mine._wanted.is_set()
    mine._wanted.clear()
    mine.on_states([("NEW", int(ACTIVE), "live", False)])
    assert not mine._wanted.is_set(), "looked for already"
    for _ in range(2):
        mine.on_states([("A", 0, "rotating", False)])
    assert [r.message.count("rotating") for r in caplog.records if r.levelname == "WARNING"] == [1]
    assert registered.learned == [("A", HALTED)], "nothing is guessed"
    assert mine._wanted.is_set()


async def test_a_channel_that_does_not_say_everything_halts_but_does_not_open() -> None:
    mine, registered, _ = follower([info("A", HALTED), info("B")], "coinbase")
    mine.on_states([("A", int(ACTIVE), "online", False), ("B", int(ACTIVE), "online", False)])
    assert registered.learned == []
    assert mine._wanted.is_set(), "the list says what A is"
    mine.on_states([("B", int(EXPIRED), "delisted", False)])
    assert registered.learned == [("B", EXPIRED)]
