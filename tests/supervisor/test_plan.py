"""Who reads what: whole instruments, even load, connections inside the venues' limits."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedd import venues
from feedd.errors import ConfigError
from feedd.reader.plan import Line, ReaderPlan
from feedd.supervisor.config import Config
from feedd.supervisor.plan import make_plan, streams_of, topic_of
from feedd.supervisor.select import Listed
from feedd.venues.schema import Venue


def config(readers: int = 1, **tables: object) -> Config:
    return msgspec.convert({"readers": {"count": readers}, "venues": tables}, Config)


def table(
    channels: list[str], symbols: list[str] | None = None, **more: object
) -> dict[str, object]:
    return {"channels": channels, "instruments": symbols or ["X"], **more}


def test_topics_of_the_three_venues() -> None:
    deribit, usdm = venues.load("deribit"), venues.load("binance_usdm")
    assert topic_of(deribit, "book", Listed("BTC-PERPETUAL", 0), {}) == "book.BTC-PERPETUAL.100ms"
    assert topic_of(deribit, "book", Listed("A", 0), {"interval": "raw"}) == "book.A.raw"
    assert topic_of(
        deribit, "book", Listed("A", 0), {"book.interval": "raw", "interval": "agg2"}
    ) == ("book.A.raw")
    assert topic_of(usdm, "depth", Listed("BTCUSDT", 0), {}) == "btcusdt@depth@100ms"
    assert topic_of(usdm, "aggTrade", Listed("BTCUSDT", 0), {"rate": "1s"}) == "btcusdt@aggTrade"


@given(
    st.integers(1, 5),
    st.lists(st.sampled_from(["option", "perpetual", "spot"]), min_size=1, max_size=150),
)
@settings(max_examples=60, deadline=None)
def test_every_stream_once_every_instrument_whole(readers: int, kinds: list[str]) -> None:
    usdm = venues.load("binance_usdm")
    channels = ["depth", "bookTicker", "aggTrade", "markPrice", "forceOrder"]
    chosen = {"binance_usdm": [Listed(f"S{i}", i, kind) for i, kind in enumerate(kinds)]}
    plans = make_plan(
        config(readers, binance_usdm=table(channels)),
        {"binance_usdm": usdm},
        chosen,
        [None] * readers,
    )
    assert len(plans) == readers
    topics = [s.topic for p in plans for _, line in p.lines for s in line.streams]
    assert sorted(topics) == sorted(
        topic_of(usdm, c, Listed(f"S{i}", i), {}) for i in range(len(kinds)) for c in channels
    )
    limits = {e.name: e for e in usdm.session.endpoints}
    for plan in plans:
        mine = {item.symbol for v in plan.venues for item in v.instruments}
        rows = [item.row for v in plan.venues for item in v.instruments]
        assert rows == list(range(len(rows)))
        assert len(plan.depths) == plan.rows >= len(rows) + 1
        numbers = [line.number for _, line in plan.lines]
        assert numbers == list(range(len(numbers)))
        for _, line in plan.lines:
            assert line.quiet == all(s.channel == "forceOrder" for s in line.streams)
            assert len(line.streams) <= limits[line.endpoint].streams_max
            assert {s.symbol for s in line.streams} <= mine
            assert {s.channel for s in line.streams} <= set(limits[line.endpoint].carries)
        assert msgspec.json.decode(msgspec.json.encode(plan), type=ReaderPlan) == plan
    loads = [
        sum({"option": 1, "spot": 4}.get(kinds[i.id], 8) for v in p.venues for i in v.instruments)
        for p in plans
    ]
    assert max(loads) - min(loads) <= 8


def test_options_have_shallow_books() -> None:
    chosen = {"deribit": [Listed("P", 0, "perpetual"), Listed("O", 1, "option")]}
    (plan,) = make_plan(
        config(deribit=table(["book"], depth=512, option_depth=64)),
        {"deribit": venues.load("deribit")},
        chosen,
        [3],
    )
    assert plan.core == 3
    assert plan.depths[:2] == (512, 64)


def test_more_connections_than_the_venue_allows_is_a_mistake() -> None:
    deribit = venues.load("deribit")
    many = {"deribit": [Listed(f"S{i}", i) for i in range(500 * 33)]}
    with pytest.raises(ConfigError, match="the venue allows 32"):
        make_plan(config(deribit=table(["book"])), {"deribit": deribit}, many, [None])


def patched(name: str, **session: object) -> Venue:
    """A built-in venue with other values in its session."""
    venue = venues.load(name)
    return msgspec.structs.replace(venue, session=msgspec.structs.replace(venue.session, **session))


def test_a_topic_may_be_a_table_and_need_reference_data() -> None:
    venue = venues.load("deribit")
    table_topic = {"channel": "opt-summary", "instFamily": "{underlying}", "depth": "{group:int}"}
    channel = msgspec.structs.replace(
        venue.channels["book"], subscribe=table_topic, options={"group": "5"}, kinds=("option",)
    )
    venue = msgspec.structs.replace(venue, channels={**venue.channels, "book": channel})
    options = [Listed(f"O{i}", i, "option", underlying=f"U{i % 2}") for i in range(4)]
    perpetual = Listed("P", 9, "perpetual")
    mine = config(deribit=table(["book", "trades"])).venues["deribit"]
    streams = [s for x in [*options, perpetual] for s in streams_of(venue, mine, x)]
    assert [s.topic for s in streams if s.symbol == "O1"] == [
        "opt-summary:U1:5",
        "trades.O1.100ms",
    ]
    assert streams[0].arg == {"channel": "opt-summary", "instFamily": "U0", "depth": 5}
    assert [s.channel for s in streams if s.symbol == "P"] == ["trades"], "no option channel"
    (plan,) = make_plan(
        config(deribit=table(["book"])), {"deribit": venue}, {"deribit": options}, [None]
    )
    assert [s.topic for _, line in plan.lines for s in line.streams] == [
        "opt-summary:U0:5",
        "opt-summary:U1:5",
    ], "one stream for all instruments that share it"
    with pytest.raises(ConfigError, match="needs its underlying"):
        topic_of(venue, "book", Listed("O9", 9, "option"), {})


def test_an_option_may_depend_on_what_an_instrument_is() -> None:
    bitget, okx = venues.load("bitget_futures"), venues.load("okx")
    for quote, family in (("USDT", "USDT"), ("USDC", "USDC"), ("USD", "COIN"), ("", "USDT")):
        arg = topic_of(bitget, "books", Listed("X", 0, quote=quote), {})
        assert arg["instType"] == f"{family}-FUTURES"
    arg = topic_of(bitget, "books", Listed("X", 0, quote="USD"), {"books.type": "SIM"})
    assert arg["instType"] == "SIM"
    liquidations = topic_of(okx, "liquidation-orders", Listed("X", 0, "future"), {})
    assert liquidations == {"channel": "liquidation-orders", "instType": "FUTURES"}
    strict = {"type": {"by": "quote", "USD": "COIN"}}
    channel = msgspec.structs.replace(bitget.channels["books"], options=strict)
    bitget = msgspec.structs.replace(bitget, channels={"books": channel})
    with pytest.raises(ConfigError, match="needs its"):
        topic_of(bitget, "books", Listed("X", 0, quote="EUR"), {})


def test_connections_are_cut_by_channel_characters_and_symbols() -> None:
    usdm = venues.load("binance_usdm")
    base = usdm.session.endpoints[0]
    chosen = {"binance_usdm": [Listed(f"S{i}_{'AB'[i % 2]}", i) for i in range(40)]}
    mine = config(binance_usdm=table(["depth", "bookTicker"]))

    def lines(**session: object) -> list[Line]:
        venue = patched("binance_usdm", **session)
        (plan,) = make_plan(mine, {"binance_usdm": venue}, chosen, [None])
        return [line for _, line in plan.lines]

    some = lines(endpoints=(msgspec.structs.replace(base, channel_max={"depth": 15}),))
    assert [sum(s.channel == "depth" for s in line.streams) for line in some] == [15, 15, 10]
    assert sum(len(line.streams) for line in some) == 80
    limits = msgspec.structs.replace(usdm.session.limits, topic_chars_max=300)
    some = lines(limits=limits)
    assert len(some) > 4
    assert all(sum(len(s.topic) + 3 for s in line.streams) <= 300 for line in some)
    halves = tuple(
        msgspec.structs.replace(base, name=letter, symbols=(f"*_{letter}",)) for letter in "AB"
    )
    some = lines(endpoints=halves)
    assert [{s.symbol[-1] for s in line.streams} for line in some] == [{"A"}, {"B"}]
    with pytest.raises(ConfigError, match="no endpoint carries 'depth' of S0_A"):
        lines(endpoints=halves[1:])
    limits = msgspec.structs.replace(usdm.session.limits, streams_total_max=79)
    with pytest.raises(ConfigError, match="80 streams are needed, the venue allows 79"):
        lines(limits=limits)


def test_redundant_lines_carry_the_same_streams_and_start_apart() -> None:
    usdm = venues.load("binance_usdm")
    chosen = {"binance_usdm": [Listed(f"S{i}", i) for i in range(3)]}

    def lines(count: object) -> list[Line]:
        mine = config(binance_usdm=table(["depth", "bookTicker", "aggTrade"], lines=count))
        (plan,) = make_plan(mine, {"binance_usdm": usdm}, chosen, [None])
        return [line for _, line in plan.lines]

    both = lines(2)
    assert [(line.endpoint, line.copy, line.delay_s > 0) for line in both] == [
        ("public", 0, False),
        ("public", 1, True),
        ("market", 0, False),
        ("market", 1, True),
    ]
    assert both[0].streams == both[1].streams
    assert [line.number for line in both] == [0, 1, 2, 3]
    some = lines({"depth": 2})
    assert [len(line.streams) for line in some] == [6, 3, 3]
    assert {s.channel for s in some[1].streams} == {"depth"}


def test_topics_of_a_day_and_of_what_an_index_is_called() -> None:
    options = venues.load("binance_options")
    option = Listed("BTC-261225-1-C", 0, "option", underlying="BTCUSDT", expiry="2026-12-25")
    interest = topic_of(options, "openInterest", option, {})
    assert interest == "btcusdt@optionOpenInterest@261225"
    with pytest.raises(ConfigError, match="needs its expiry"):
        topic_of(options, "openInterest", Listed("X", 0, "option", underlying="U"), {})
    okx = venues.load("okx")
    future = Listed("BTC-USD-261225", 0, "future", underlying="BTC-USD")
    assert topic_of(okx, "index-tickers", future, {})["instId"] == "BTC-USD"
    assert topic_of(okx, "index-tickers", Listed("BTC-USDT", 0, "spot"), {})["instId"] == "BTC-USDT"
    assert topic_of(okx, "estimated-price", future, {})["instType"] == "FUTURES"
