"""What entries of the configuration mean: symbols, patterns, facts, and what they take out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedd.errors import ConfigError
from feedd.supervisor.select import Entry, Listed, Selection

OPTION = Listed(
    "BTC-26JUN26-100000-C", kind="option", base="BTC", quote="BTC", underlying="BTC-USD"
)
PUT = replace(OPTION, symbol="BTC-26JUN26-100000-P")
ETHER = replace(OPTION, symbol="ETH-26JUN26-4000-C", base="ETH", underlying="ETH-USD")
PERPETUAL = Listed("BTC-PERPETUAL", kind="perpetual", base="BTC", quote="USD")
SPOT = Listed("BTC_USDC", kind="spot", base="BTC", quote="USDC")
ENDED = replace(OPTION, symbol="BTC-1JAN26-1-C", active=False)
ALL = [OPTION, PUT, ETHER, PERPETUAL, SPOT, ENDED]


@pytest.mark.parametrize(
    ("entries", "symbols"),
    [
        (["BTC-PERPETUAL"], ["BTC-PERPETUAL"]),
        (["BTC-*-C"], ["BTC-26JUN26-100000-C"]),
        (["BTC-1JAN26-1-C"], ["BTC-1JAN26-1-C"]),
        (["*"], sorted(x.symbol for x in ALL if x.active)),
        (["kind=option underlying=BTC-USD"], [OPTION.symbol, PUT.symbol]),
        (["kind=Option base=btc *-P"], [PUT.symbol]),
        (["kind=perpetual|spot"], ["BTC-PERPETUAL", "BTC_USDC"]),
        (["quote=US*"], ["BTC-PERPETUAL", "BTC_USDC"]),
        (["*", "!kind=option"], ["BTC-PERPETUAL", "BTC_USDC"]),
        (["kind=option", "!ETH-*", "!*-P"], [OPTION.symbol]),
        (
            ["BTC_USDC", "*", "BTC_USDC"],
            ["BTC_USDC", *sorted(x.symbol for x in ALL if x.active and x is not SPOT)],
        ),
    ],
)
def test_entries(entries: list[str], symbols: list[str]) -> None:
    assert [x.symbol for x in Selection("deribit", entries).choose(ALL)] == symbols


def test_every_entry_that_means_nothing_is_told() -> None:
    with pytest.raises(ConfigError) as caught:
        Selection("deribit", ["btc-perpetual", "D-*", "kind=future", "!*-P"]).choose(ALL)
    first, second, third = caught.value.problems
    assert "does not list 'btc-perpetual' (did you mean 'BTC-PERPETUAL'?)" in first
    assert "nothing matches 'D-*'" in second
    assert "nothing matches 'kind=future'" in third
    with pytest.raises(ConfigError, match="everything is taken out"):
        Selection("deribit", ["BTC-PERPETUAL", "!*"]).choose(ALL)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A B", "two symbols"),
        ("kinds=option", "did you mean 'kind'"),
        ("colour=red", "known: kind, base"),
        ("kind=", "one or more values"),
        ("kind=a|", "one or more values"),
        ("kind=a kind=b", "one or more values"),
        ("!", "says nothing"),
        ("  ", "says nothing"),
    ],
)
def test_what_is_no_entry(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        Selection("deribit", [text, "fine"])
    assert "venues.deribit.instruments" in caught.value.problems[0]


def test_without_reference_data_exact_symbols_are_believed() -> None:
    assert Selection("deribit", ["Z"]).choose([]) == [Listed("Z")]
    assert Selection("deribit", ["Z", "A-*", "kind=spot"]).needs_list == ["A-*", "kind=spot"]


def test_brackets_and_question_marks_are_themselves() -> None:
    listed = [Listed("C[x]1"), Listed("Cx1"), Listed("D?1"), Listed("Dx1")]
    assert [x.symbol for x in Selection("v", ["C[x]*", "D?*"]).choose(listed)] == ["C[x]1", "D?1"]


def test_new_listings_are_judged_like_the_first_ones() -> None:
    selection = Selection("deribit", ["kind=option base=BTC", "!*-P", "ETH-PERPETUAL"])
    assert selection.follows(OPTION)
    assert not selection.follows(PUT)
    assert not selection.follows(ETHER)
    assert selection.follows(Listed("ETH-PERPETUAL", kind="perpetual"))


@given(
    st.lists(st.sampled_from(ALL), unique=True),
    st.lists(
        st.sampled_from(["*", "BTC-*", "kind=option", "!*-C", "!base=ETH", "quote=USD|BTC"]),
        min_size=1,
        unique=True,
    ),
)
def test_follows_agrees_with_choose(listed: list[Listed], entries: list[str]) -> None:
    selection = Selection("v", entries)
    try:
        chosen = {x.symbol for x in selection.choose(listed)}
    except ConfigError:
        return
    assert chosen == {x.symbol for x in listed if x.active and selection.follows(x)}


def test_an_entry_is_exact_without_star_and_facts() -> None:
    assert Entry.parse("A").exact
    assert not any(Entry.parse(text).exact for text in ("A*", "A kind=spot", "!A"))
