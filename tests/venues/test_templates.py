"""Templates, paths and topics: JSON out of tables, values out of JSON."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedd.venues.templates import (
    arg_key,
    covers,
    fill_template,
    fill_topic,
    holes,
    path_get,
    placeholders,
)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("", {"a": [{"b": 1}, "x"]}),
        ("a.0.b", 1),
        ("a.1", "x"),
        ("a.2", None),
        ("a.b", None),
        ("a.-1", None),
        ("c", None),
        ("a.0.b.c", None),
    ],
)
def test_paths_go_through_objects_and_arrays(path: str, value: Any) -> None:
    assert path_get({"a": [{"b": 1}, "x"]}, path) == value


@given(st.text())
def test_values_are_put_in_whole_never_pasted(text: str) -> None:
    made = fill_template({"id": "{id}", "args": ["{topic}"]}, {"id": 7, "topic": text})
    assert orjson.loads(orjson.dumps(made)) == {"id": 7, "args": [text]}


def test_a_star_puts_the_fields_of_a_table_beside_the_others() -> None:
    template = {"event": "subscribe", "*": "{topic}"}
    made = fill_template(template, {"topic": {"feed": "book", "product_ids": ["A"]}})
    assert made == {"event": "subscribe", "feed": "book", "product_ids": ["A"]}
    assert placeholders(template) == {"topic"}
    assert fill_template({"*": "{topic}"}, {"topic": "text"}) == {"*": "text"}


def test_topics_are_texts_or_tables_with_holes() -> None:
    topic = {"channel": "book", "symbol": "{symbol}", "depth": "{depth:int}", "list": ["{symbol}"]}
    values = {"symbol": "BTC/USD", "depth": "100"}
    assert holes(topic) == ["symbol", "depth", "symbol"]
    assert fill_topic(topic, values) == {
        "channel": "book",
        "symbol": "BTC/USD",
        "depth": 100,
        "list": ["BTC/USD"],
    }
    assert fill_topic("book.{symbol}.{depth}", values) == "book.BTC/USD.100"
    with pytest.raises(KeyError):
        fill_topic("{nothing}", values)
    with pytest.raises(ValueError, match="raw"):
        fill_topic("{depth:int}", {"depth": "raw"})


def test_the_name_of_a_stream() -> None:
    assert arg_key("book.X") == "book.X"
    assert arg_key({"channel": "books", "instId": "BTC-USDT"}) == "books:BTC-USDT"
    assert arg_key({"channels": ["level2", "ticker"], "n": 5, "f": True}) == "level2,ticker:5:true"


def test_an_answer_may_leave_something_out_but_not_all() -> None:
    arg = {"channel": "ticker", "symbol": "A", "event_trigger": "bbo"}
    assert covers({"channel": "ticker", "symbol": "A"}, arg, partly=True)
    assert not covers({"channel": "ticker", "symbol": "B"}, arg, partly=True)
    assert not covers({"more": 1}, arg, partly=True)


@pytest.mark.parametrize(
    ("answer", "arg", "group", "same"),
    [
        ({"channel": "books", "instId": "A"}, {"channel": "books", "instId": "A"}, "", True),
        ({"channel": "books", "instId": "A", "more": None}, {"instId": "A"}, "", True),
        ({"channel": "books"}, {"channel": "books", "instId": "A"}, "", False),
        ({"feed": "book", "product_ids": ["A", "B"]}, {"product_ids": "B"}, "product_ids", True),
        ({"feed": "book", "product_ids": ["A", "B"]}, {"product_ids": "C"}, "product_ids", False),
        ({"feed": "book", "product_ids": ["A"]}, {"product_ids": "A"}, "", False),
        ({"depth": "100"}, {"depth": 100}, "", True),
        ({"payload": ["A", "B"]}, {"payload": ["A", "B"]}, "payload", True),
        ({"payload": ["A"]}, {"payload": ["A", "B"]}, "payload", False),
        ("text", {"a": 1}, "", False),
        (None, "text", "", False),
        ({"fast": True}, {"fast": True}, "", True),
        ({"fast": True}, {"fast": 1}, "", False),
    ],
)
def test_an_answer_covers_what_it_repeats(answer: Any, arg: Any, group: str, same: bool) -> None:
    assert covers(answer, arg, group) is same
