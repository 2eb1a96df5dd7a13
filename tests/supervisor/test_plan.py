"""Who reads what: whole instruments, even load, connections inside the venues' limits."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedd import venues
from feedd.errors import ConfigError
from feedd.reader.plan import ReaderPlan
from feedd.supervisor.config import Config
from feedd.supervisor.plan import Listed, choose_symbols, make_plan, topic_of


def config(readers: int = 1, **tables: object) -> Config:
    return msgspec.convert({"readers": {"count": readers}, "venues": tables}, Config)


def table(
    channels: list[str], symbols: list[str] | None = None, **more: object
) -> dict[str, object]:
    return {"channels": channels, "instruments": symbols or ["X"], **more}


def test_topics_of_the_three_venues() -> None:
    deribit, usdm = venues.load("deribit"), venues.load("binance_usdm")
    assert topic_of(deribit, "book", "BTC-PERPETUAL", {}) == "book.BTC-PERPETUAL.100ms"
    assert topic_of(deribit, "book", "A", {"interval": "raw"}) == "book.A.raw"
    assert topic_of(deribit, "book", "A", {"book.interval": "raw", "interval": "agg2"}) == (
        "book.A.raw"
    )
    assert topic_of(usdm, "depth", "BTCUSDT", {}) == "btcusdt@depth@100ms"
    assert topic_of(usdm, "aggTrade", "BTCUSDT", {"rate": "1s"}) == "btcusdt@aggTrade"


def test_patterns_mean_active_instruments_and_exact_names_must_exist() -> None:
    mine = config(deribit=table(["book"], ["A-1", "B-*", "C[x]*"])).venues["deribit"]
    listed = ["A-1", "B-1", "B-2", "B-3", "C[x]1", "Cx1"]
    active = ["B-1", "B-3", "C[x]1", "Cx1"]
    assert choose_symbols("deribit", mine, listed, active) == ["A-1", "B-1", "B-3", "C[x]1"]
    assert choose_symbols(
        "deribit", config(deribit=table(["book"], ["Z"])).venues["deribit"], [], []
    ) == ["Z"]
    wrong = config(deribit=table(["book"], ["a-1", "D-*"])).venues["deribit"]
    with pytest.raises(ConfigError) as caught:
        choose_symbols("deribit", wrong, listed, active)
    assert len(caught.value.problems) == 2
    assert "'A-1'" in caught.value.problems[0]


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
        topic_of(usdm, c, f"S{i}", {}) for i in range(len(kinds)) for c in channels
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
