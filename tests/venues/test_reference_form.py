"""The reference form itself: paths, sources, arithmetic, names, requests, pages, URLs, mistakes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedd import venues
from feedd.errors import VenueError
from feedd.venues.reference import parse_answer, parse_counted
from feedd.venues.reference_lint import reference_problems
from feedd.venues.reference_requests import filled, match_url, next_page, paged, requests_of
from feedd.venues.reference_schema import Page, Reference, Request, Source
from feedd.venues.reference_values import Row, first, source_text, values
from feedd.venues.schema import Venue

MS = 1_000_000


def reference(**fields: Any) -> Reference:
    table = {"requests": ["/list"], "rows": "rows", "symbol": ["id"], "needs": ["id"]} | fields
    return msgspec.convert(table, Reference)


def venue(table: Reference) -> Venue:
    return msgspec.structs.replace(venues.load("binance_usdm"), name="own", reference=table)


def text(row: Any, *sources: Any, root: Any = None, **names: str) -> str:
    return source_text(
        Row(row, root, names), tuple(msgspec.convert(s, str | Source) for s in sources)
    )


# ---- paths ---------------------------------------------------------------------------------------

ROW = {
    "a": {"b": 1, "none": None},
    "list": [10, [20, 21], {"k": "x", "v": 30}, {"k": "y", "v": 40}],
    "dict": {"one": 1, "two": {"v": 2}},
    "dots": [{"k": "1.5", "v": 50}],
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a.b", [1]), ("a.none", []), ("a.missing", []), ("a.b.c", []), ("b", []),
        ("list[0]", [10]), ("list[1][1]", [21]), ("list[1][*]", [20, 21]), ("list[9]", []),
        ("list[k=y].v", [40]), ("list[k=z].v", []), ("list[*].v", [30, 40]),
        ("dict[*]", [1, {"v": 2}]), ("dict[*].v", [2]), ("dots[k=1.5].v", [50]),
        ("a[0]", []), ("list.k", []), ("$name", ["n"]), ("$other", []), ("@.root", [7]),
        ("@", [{"root": 7}]),
    ],
)  # fmt: skip
def test_paths(path: str, found: list[Any]) -> None:
    row = Row(ROW, {"root": 7}, {"name": "n"})
    assert list(values(row, path)) == found
    assert first(row, path) == (found[0] if found else None)


def test_a_row_may_be_a_list() -> None:
    row = Row(["BTCUSD", [None, None, None, "0.1"]])
    assert first(row, "[0]") == "BTCUSD"
    assert first(row, "[1][3]") == "0.1"
    assert first(row, "[1][0]") is None


# ---- sources -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ({"path": "pair", "match": "([^-]+)-.*"}, "BTC"),
        ({"path": "pair", "match": "BTC-USD"}, "BTC-USD"),
        ({"path": "pair", "match": "(BTC)"}, ""),
        ({"path": "pair", "match": "BTC-USD(X)?"}, ""),
        ({"path": "pair", "replace": {r"\bBTC\b": "XBT", "-": "/"}}, "XBT/USD"),
        ({"path": "pair", "replace": {"USD": r"\1"}}, r"BTC-\1"),
        ({"path": "pair", "map": {"BTC-USD": "yes"}}, "yes"),
        ({"path": "pair", "map": {"BTC": "no"}}, ""),
        ({"path": "low", "upper": True, "prefix": "t"}, "tABC"),
        ({"path": "missing", "prefix": "t"}, ""),
        ({"value": "fixed", "when": {"pair": "BTC-USD", "missing": ""}}, "fixed"),
        ({"value": "fixed", "when": {"pair": ["A", "B"]}}, ""),
        ({"path": "low", "lookup": {"table": "@.table", "key": "k", "take": "v"}}, "5"),
        ({"path": "pair", "lookup": {"table": "@.table", "key": "k", "take": "v"}}, ""),
        ({"path": "low", "lookup": {"table": "@.none", "key": "k", "take": "v"}}, ""),
        # arithmetic keeps decimals exact: 0.1 * 3 is not 0.30000000000000004
        ({"path": "tenth", "times": "three"}, "0.3"),
        ({"value": "1", "over": "million"}, "0.000001"),
        ({"value": "1", "over": "zero"}, ""),
        ({"value": "1", "left": "three"}, "0.001"),
        ({"path": "end", "left": "three"}, "0.005"),
        ({"value": "0.000001", "right": "three"}, "0.001"),
        ({"value": "1", "left": "minus"}, "1E+2"),
        ({"value": "1", "left": "low"}, ""),
        ({"value": "1", "left": "missing"}, ""),
        ({"value": "1", "left": "huge"}, ""),
        ({"path": "low", "times": "three"}, ""),
        ({"path": "minus", "abs": True, "shift": -1}, "0.2"),
    ],
)
def test_sources(source: dict[str, Any], wanted: str) -> None:
    row = {
        "pair": "BTC-USD", "low": "abc", "tenth": "0.1", "three": 3, "million": 1_000_000,
        "zero": 0, "end": "5", "minus": "-2", "huge": "1e400",
    }  # fmt: skip
    assert text(row, source, root={"table": [3, {"k": "abc", "v": 5}]}) == wanted
    assert text(row, source, "low", root={"table": [{"k": "abc", "v": 5}]}) == (wanted or "abc")


NUMBERS = st.integers() | st.floats() | st.text(max_size=6) | st.none() | st.booleans()


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_arithmetic_survives_anything(a: Any, b: Any, c: Any, d: Any, e: Any) -> None:
    row = json.loads(json.dumps({"a": a, "b": b, "c": c, "d": d, "e": e}))
    source = {"path": "a", "times": "b", "over": "c", "left": "d", "right": "e", "abs": True}
    found = text(row, source)
    assert not found or float(found) >= 0


# ---- rows, names, times --------------------------------------------------------------------------


def parsed(table: Reference, body: Any, url: str | None = None) -> list[tuple[str, str]]:
    return [(i.symbol, i.base) for i in parse_counted(venue(table), body, url).instruments]


def test_rows_of_an_object() -> None:
    table = reference(rows_form="object", symbol=["$key"], base=["name"], needs=["name"])
    assert parsed(table, {"rows": {"A": {"name": "a"}, "B": {"name": "b"}}}) == [
        ("A", "a"),
        ("B", "b"),
    ]


def test_rows_that_are_texts_and_lists() -> None:
    table = reference(rows="[0]", symbol=["[0]", "$row"], base=["[1].b"], needs=[])
    counted = parse_counted(venue(table), [["X", ["Y", {"b": "y"}], 5, {}, None, []]])
    assert [(i.symbol, i.base) for i in counted.instruments] == [("X", ""), ("Y", "y")]
    assert counted.rejected == {"not an object": 3, "no symbol": 1}
    assert counted.rows == 6


def test_grammar_and_definitions() -> None:
    table = reference(
        grammar=[r"(?P<asset>[A-Z]+)_(?P<day>\d+)?", r"(?P<asset>[a-z]+)"],
        define={"d": [{"path": "$asset", "prefix": "<"}], "e": [{"path": "$d", "prefix": "<"}]},
        base=["$e"],
        kind=[{"value": "future", "when": {"$day": "7"}}, {"value": "perpetual"}],
    )
    rows = [{"id": "AB_7"}, {"id": "CD_"}, {"id": "ef"}, {"id": "12"}]
    found = parse_counted(venue(table), {"rows": rows}).instruments
    assert [(i.base, i.kind.name) for i in found] == [
        ("<<AB", "FUTURE"), ("<<CD", "PERPETUAL"), ("<<ef", "PERPETUAL"), ("", "PERPETUAL"),
    ]  # fmt: skip


def test_rows_of_another_product_are_counted() -> None:
    counted = parse_counted(
        venue(reference(only={"type": ["a", ""]})),
        {"rows": [{"id": "A", "type": "a"}, {"id": "B", "type": "b"}, {"id": "C"}]},
    )
    assert [i.symbol for i in counted.instruments] == ["A", "C"]
    assert counted.rejected == {"another product": 1}


@pytest.mark.parametrize(
    ("value", "ns"),
    [
        ("2021-09-24T12:00:00.000Z", 1_632_484_800_000 * MS),
        ("2021-09-24T12:00:00Z", 1_632_484_800_000 * MS),
        ("2021-09-24T14:00:00.5+02:00", 1_632_484_800_500 * MS),
        ("2021-09-24 12:00:00.123456789z", 1_632_484_800_123_456_789),
        ("1969-12-31T23:59:59Z", 0),
        ("2021-13-24T12:00:00Z", 0),
        ("2021-09-24", 0),
        ("9999-12-31T00:00:00Z", 0),
        (None, 0),
        (1632484800, 0),
    ],
)
def test_times_as_text(value: Any, ns: int) -> None:
    table = reference(expiry={"path": "t", "unit": "rfc3339"})
    (info,) = parse_counted(venue(table), {"rows": [{"id": "A", "t": value}]}).instruments
    assert info.expiry == ns


def test_the_first_time_counts() -> None:
    times = [{"path": "a", "unit": "s"}, {"path": "b", "unit": "ms", "when": {"c": "x"}}]
    table = reference(listed=times)
    rows = [
        {"id": "A", "a": 5, "b": 7, "c": "x"}, {"id": "B", "a": 0, "b": 7, "c": "x"},
        {"id": "C", "a": "", "b": 7},
    ]  # fmt: skip
    found = parse_counted(venue(table), {"rows": rows}).instruments
    assert [i.listed_ts for i in found] == [5_000 * MS, 7 * MS, 0]


def test_decimals_without_a_tick() -> None:
    table = reference(tick=["tick"], price_step=[{"value": "1", "left": "digits"}])
    rows = [{"id": "A", "digits": 3}, {"id": "B", "digits": 3, "tick": "0.5"}]
    first_, second = parse_counted(venue(table), {"rows": rows}).instruments
    assert (first_.price_decimals, first_.tick != first_.tick) == (3, True)
    assert (second.price_decimals, second.tick) == (1, 0.5)


# ---- requests ------------------------------------------------------------------------------------

MANY = reference(
    requests=[
        {"path": "/v1/list?kind=spot", "set": {"kind": "SPOT"}},
        {"path": "/v1/list?kind=option&of={of}", "each": {"name": "of", "values": ["A", "B/C"]}},
        {"path": "/v1/{of}/contracts", "each": {"name": "of", "values": ["A"]}},
        {"path": "/info", "body": {"type": "meta", "dex": "{of}", "n": [1, "{of}", "x{of}"]},
         "each": {"name": "of", "request": "/info", "body": {"type": "dexes"}, "path": "[*]"}},
    ],
    base=["$of", "$kind"],
)  # fmt: skip


def test_requests_are_filled_in() -> None:
    spot, option, contracts, info = requests_of(MANY)
    assert filled(spot, {}) == ("/v1/list?kind=spot", None)
    assert filled(option, {"of": "B/C"}) == ("/v1/list?kind=option&of=B%2FC", None)
    assert filled(contracts, {"of": "A"}) == ("/v1/A/contracts", None)
    # only a text that is a placeholder as a whole is one: nothing is pasted into JSON
    assert filled(info, {"of": 'x"'}) == (
        "/info",
        {"type": "meta", "dex": 'x"', "n": [1, 'x"', "x{of}"]},
    )


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://api.example.com/v1/list?kind=spot", "SPOT"),
        ("/v1/list?kind=spot&limit=5", "SPOT"),
        ("https://api.example.com/base/v1/list?kind=option&of=B%2FC&cursor=1", "B/C"),
        ("https://api.example.com/v1/list?of=B&kind=option", "B"),
        ("/v1/usdt/contracts", "usdt"),
        # a kind that nobody asks for: the first request with that path
        ("/v1/list?kind=other", "SPOT"),
        (None, "SPOT"),
        ("a file name", "SPOT"),
        ("/elsewhere", "SPOT"),
    ],
)
def test_a_recorded_url_tells_the_request(url: str | None, base: str) -> None:
    assert parsed(MANY, {"rows": [{"id": "X"}]}, url) == [("X", base)]


def test_without_needs_only_the_url_tells() -> None:
    table = reference(needs=[], requests=["/v1/list"])
    body = {"rows": [{"id": "X"}]}
    assert parsed(table, body, "https://example.com/v1/list?x=1") == [("X", "")]
    assert parsed(table, body, "capture.json") == [("X", "")]
    with pytest.raises(VenueError, match="no request of own is this one"):
        parsed(table, body, "https://example.com/v1/other")


def test_answers_of_one_url_are_told_apart() -> None:
    table = reference(
        requests=[
            {"path": "/info", "body": {"a": 1}, "has": ["tokens"], "set": {"kind": "spot"}},
            {"path": "/info", "body": {"a": 2}, "parts": "[*]", "set": {"kind": "parts"}},
            {"path": "/info", "body": {"a": 3}, "rows": "others", "set": {"kind": "other"}},
        ],
        base=["@.name", "$kind"],
    )
    row = [{"id": "X"}]
    assert parsed(table, {"tokens": [], "rows": row}, "/info") == [("X", "spot")]
    assert parsed(table, {"others": row}, "/info") == [("X", "other")]
    parts = [{"rows": row, "name": "p"}, {"rows": [{"id": "Y"}]}, {"none": 1}]
    assert parsed(table, parts, "/info") == [("X", "p"), ("Y", "parts")]
    with pytest.raises(VenueError, match='no list at "rows"'):
        parsed(table, {"rows": row}, "/info")


def test_pages() -> None:
    cursor = Page(parameter="cursor", cursor="result.next")
    assert next_page(cursor, {"result": {"next": "a=b&c"}}, 3, 3) == "a=b&c"
    for last in ({"result": {"next": ""}}, {"result": {"next": None}}, {"result": {}}, {}):
        assert next_page(cursor, last, 3, 3) is None
    assert paged("/list?a=1", cursor, "a=b&c") == "/list?a=1&cursor=a%3Db%26c"
    assert paged("/list?a=1", cursor, "a%3Db%26c") == "/list?a=1&cursor=a%3Db%26c"
    assert paged("/list", cursor, "x+/==") == "/list?cursor=x%2B%2F%3D%3D"
    offset = Page(parameter="offset", rows=100)
    assert next_page(offset, [], 100, 300) == "300"
    assert next_page(offset, [], 99, 299) is None
    assert paged("/list", offset, "300") == "/list?offset=300"


def test_an_answer_names_its_request_in_errors() -> None:
    request = Request(path="/v1/list")
    with pytest.raises(VenueError, match="own: the answer of /v1/list is not JSON"):
        parse_answer("own", reference(), request, b"{")
    with pytest.raises(VenueError, match=r'/v1/list lists no instruments.*"rows" \(it has: code\)'):
        parse_answer("own", reference(), request, b'{"code":1}')


def test_urls_match_by_their_end() -> None:
    table = reference(requests=["/instrument/active"])
    assert [r.path for r, _ in match_url(table, "https://h/api/v1/instrument/active")] == [
        "/instrument/active"
    ]
    assert match_url(table, "https://h/api/v1/instrument") == []
    assert match_url(table, "https://h/active") == []


# ---- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        ({"requests": []}, "requests", "at least one request"),
        ({"requests": [{"path": "/a", "live": False}]}, "requests", "at least one request"),
        ({"requests": ["/a?b={c}"]}, "requests.0", "needs a table with an each"),
        ({"requests": [{"path": "/a?b={c}"}]}, "requests.0", "unknown placeholder {c}"),
        ({"requests": [{"path": "/a", "each": {"name": "c", "values": ["1"]}}]},
         "requests.0.each", "{c} is used nowhere"),
        ({"requests": [{"path": "/{c}", "each": {"name": "c"}}]},
         "requests.0.each", "needs the key"),
        ({"requests": [{"path": "/{c}", "each": {"name": "c", "request": "/x"}}]},
         "requests.0.each", "belong together"),
        ({"requests": [{"path": "/{c}", "each": {"name": "c", "values": ["1"], "body": {}}}]},
         "requests.0.each.body", "without the key"),
        ({"requests": [{"path": "/a", "page": {"parameter": "p"}}]},
         "requests.0.page", "exactly one"),
        ({"requests": [{"path": "/a", "body": {}, "page": {"parameter": "p", "rows": 1}}]},
         "requests.0.page", "POST"),
        ({"requests": [{"path": "/a", "set": {"key": "x"}}]}, "requests.0.set.key", "taken"),
        ({"grammar": ["("]}, "grammar.0", "no regular expression"),
        ({"symbol": []}, "symbol", "at least one source"),
        ({"base": [{"path": "a", "match": "["}]}, "base.0", "no regular expression"),
        ({"base": [{"path": "a", "replace": {"*": "b"}}]}, "base.0", "no regular expression"),
        ({"base": [{"prefix": "a"}]}, "base.0", "exactly one"),
        ({"base": ["$a"]}, "base.0", "unknown name $a; known are $key, $row, $symbol"),
        ({"base": [{"value": "a", "times": "$b"}]}, "base.0", "unknown name $b"),
        ({"expiry": {"path": "$a.b"}}, "expiry.0", "unknown name $a"),
        ({"kind": [{"value": "spot", "when": {"$a": ""}}]}, "kind.0", "unknown name $a"),
        ({"define": {"a": ["$b"]}}, "define.a.0", "unknown name $b"),
        ({"base": [{"value": "1"}, "a"]}, "base.1", "never reached"),
        ({"status": [{"value": "active"}, {"value": "pre"}]}, "status.1", "never reached"),
    ],
)  # fmt: skip
def test_mistakes_are_told(fields: dict[str, Any], path: str, message: str) -> None:
    issues = list(reference_problems(reference(**fields)))
    found = [(".".join(str(key) for key in where[1:]), what) for where, what in issues]
    assert [where for where, _ in found] == [path]
    assert message in found[0][1]


def test_what_is_known_is_no_mistake() -> None:
    table = reference(
        requests=[{"path": "/{c}", "each": {"name": "c", "values": ["1"]}, "set": {"s": "x"}}],
        grammar=["(?P<g>.*)"],
        define={"d": ["$g"]},
        base=["$c", "$s", "$g", "$d", "$row", "$key", "$symbol[0].x"],
        quote=[{"value": "1", "left": "$g"}, {"value": "1"}],
    )
    assert list(reference_problems(table)) == []
