"""All mistakes of a TOML file at once, each with its line and key."""

from __future__ import annotations

import enum
import tomllib
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedd.toml_lines import KeyPath, key_lines
from feedd.toml_lint import Problem, _Walk, parse
from tests.fixtures.effort import tries


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Base(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Door(Base, frozen=True, kw_only=True):
    name: str
    width: Annotated[float, msgspec.Meta(gt=0, le=3)] = 1.0
    colour: Colour = Colour.RED


class Room(Base, frozen=True, kw_only=True):
    floor: int
    doors: tuple[Door, ...] = ()
    tags: dict[str, str] = {}


class House(Base, frozen=True, kw_only=True):
    street: Annotated[str, msgspec.Meta(min_length=1, pattern="^[A-Z]")]
    number: Annotated[int, msgspec.Meta(ge=1, le=999)]
    kind: Literal["flat", "villa"] = "flat"
    heated: bool = True
    rooms: dict[str, Room] = {}
    owner: str | Door | None = None
    sizes: list[int] = []


class Pair(Base, frozen=True, kw_only=True):
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")


class Pairs(Base, frozen=True, kw_only=True):
    pair: Pair


GOOD = """
street = "Main"
number = 7
kind = "villa"
sizes = [1, 2]

[rooms.hall]
floor = 0
doors = [{ name = "front", width = 2 }, { name = "back" }]

[rooms.attic]
floor = 2

[[rooms.attic.doors]]
name = "hatch"
"""


def found(text: str) -> list[tuple[int, str, str]]:
    value, problems = parse(text, "house.toml", House)
    assert (value is None) is bool(problems)
    return [(p.line, p.key, p.message) for p in problems]


def test_a_good_file_becomes_a_value() -> None:
    value, problems = parse(GOOD, "house.toml", House)
    assert problems == []
    assert value is not None
    assert value.rooms["hall"].doors[1] == Door(name="back")
    assert value.rooms["hall"].doors[0].width == 2.0


def test_many_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = """street = "main"
number = 1000
kind = "vila"
heated = "yes"
sizes = [1, "two", 3.5]
colour = "red"

[rooms.hall]
flor = 0
doors = [
    { name = "front", witdh = 2 },
    { width = -1, colour = "reed" },
    "back",
]

[rooms.attic]
tags = { a = 1, b = "x" }
number = 3

[owner]
name = 5
"""
    assert found(text) == [
        (1, "street", 'the text "main" is not of the form ^[A-Z]'),
        (2, "number", "expected a whole number from 1 to 999, got 1000"),
        (3, "kind", 'expected one of "flat", "villa", got the text "vila"; did you mean "villa"?'),
        (4, "heated", 'expected true or false, got the text "yes"'),
        (5, "sizes[1]", 'expected a whole number, got the text "two"'),
        (5, "sizes[2]", "expected a whole number, got 3.5"),
        (6, "colour", 'unknown key; it belongs one table further in, into "owner"'),
        (9, "rooms.hall.flor", 'unknown key; did you mean "floor"?'),
        (11, "rooms.hall.doors[0].witdh", 'unknown key; did you mean "width"?'),
        (12, "rooms.hall.doors[1]", 'the key "name" is missing: text'),
        (12, "rooms.hall.doors[1].colour",
         'expected one of "red", "blue", got the text "reed"; did you mean "red"?'),
        (12, "rooms.hall.doors[1].width", "expected a number of more than 0 and at most 3, got -1"),
        (13, "rooms.hall.doors[2]", 'expected a table, got the text "back"'),
        (16, "rooms.attic", 'the key "floor" is missing: a whole number'),
        (17, "rooms.attic.tags.a", "expected text, got 1"),
        (18, "rooms.attic.number", "unknown key; it belongs into a table further out"),
        (21, "owner.name", "expected text, got 5"),
    ]  # fmt: skip


def test_missing_keys_of_the_file_itself_have_no_line() -> None:
    assert found("") == [
        (0, "", 'the key "number" is missing: a whole number from 1 to 999'),
        (0, "", 'the key "street" is missing: text'),
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('street = "x"\nnumber = \n', 2),
        ("a = 1\na = 2\n", 2),
        ("[a]\n[b]\nx = 1 1\n", 3),
        ("a = [1,\n2\n", 3),
        ('a = "x\n', 1),
    ],
)
def test_what_is_no_toml_is_told_with_its_line(text: str, line: int) -> None:
    ((at, key, message),) = found(text)
    assert (at, key) == (line, "")
    assert message.startswith("not valid TOML: ")
    assert "line" not in message.rpartition("(at")[1]


def test_what_is_no_utf8_is_told_with_its_line() -> None:
    _, problems = parse(b'street = "A"\nnumber = 1\n# \xff\n', "h.toml", House)
    assert [(p.line, p.message) for p in problems] == [(3, "not UTF-8 text: TOML files are UTF-8")]


def test_nesting_bombs_are_a_problem_not_a_crash() -> None:
    _, problems = parse("a = " + "[" * 100_000, "h.toml", House)
    assert len(problems) == 1


def test_rules_run_beside_type_mistakes_but_not_about_them() -> None:
    def rules(house: House) -> list[tuple[str | KeyPath, str]]:
        issues: list[tuple[str | KeyPath, str]] = [("kind", "rule about the whole")]
        for name, room in house.rooms.items():
            issues.append((("rooms", name, "floor"), f"rule about {room.floor}"))
        return issues

    text = 'street = "A"\nnumber = 1\n[rooms.a]\nfloor = "x"\n[rooms.b]\nfloor = 4\n'
    _, problems = parse(text, "h.toml", House, rules)
    assert [(p.line, p.key, p.message) for p in problems] == [
        (0, "kind", "rule about the whole"),
        (4, "rooms.a.floor", 'expected a whole number, got the text "x"'),
        (6, "rooms.b.floor", "rule about 4"),
    ]


def test_a_structs_own_check_is_told() -> None:
    _, problems = parse("[pair]\nlow = 2\nhigh = 1\n", "p.toml", Pairs)
    assert [str(p) for p in problems] == ["p.toml:1: pair: low is above high"]


VALUES = st.one_of(
    st.sampled_from(["A", "a", "", "flat", "red", "blue"]),
    st.integers(-1, 1000),
    st.sampled_from([0.5, 1.0, 3.5, float("nan"), float("inf")]),
    st.booleans(),
    st.lists(st.one_of(st.integers(0, 2), st.booleans(), st.text(max_size=1)), max_size=2),
)
DOORS = st.dictionaries(st.sampled_from(["name", "width", "colour", "more"]), VALUES)
ROOMS = st.dictionaries(
    st.sampled_from(["floor", "doors", "tags"]), VALUES | DOORS | st.lists(DOORS, max_size=2)
)


@given(
    st.fixed_dictionaries(
        {"street": st.just("A") | VALUES, "number": st.just(1) | VALUES},
        optional={
            "kind": VALUES,
            "heated": VALUES,
            "rooms": st.dictionaries(st.just("hall"), ROOMS),
            "owner": VALUES | DOORS,
            "sizes": VALUES,
        },
    )
)
@settings(max_examples=tries(100))
def test_what_msgspec_takes_has_no_mistake(data: dict[str, Any]) -> None:
    """Only what it refuses is walked."""
    walk = _Walk()
    built = walk.walk(data, msgspec.inspect.type_info(House), (), None)
    try:
        value = msgspec.convert(data, House, strict=True)
    except msgspec.ValidationError:
        assert walk.issues
        return
    assert walk.issues == []
    assert repr(built) == repr(value)


def test_text_of_a_problem() -> None:
    assert str(Problem("f.toml", 3, "a.b", "wrong")) == "f.toml:3: a.b: wrong"
    assert str(Problem("f.toml", 0, "", "wrong")) == "f.toml: wrong"


# ---- lines ---------------------------------------------------------------------------------------


def test_lines_of_every_kind_of_key() -> None:
    text = '''# comment = 1
a.b."c d".'e' = 1
text = """
x = 1 ] } # not a comment
""" # a comment
raw = \'\'\'
[no.table]
\'\'\'
list = [ # comment ]
    1, "a,]", { x = 1, y = [2,
    3] },
]
"quoted \\u00e9" = 'C:\\'

[t . u]
time = 2020-01-01T00:00:00Z
[[t.rows]]
n = 1
[[t.rows]]
n = 2
[t.rows.sub]
m = 3
'''
    assert tomllib.loads(text)
    lines = key_lines(text)
    expected: dict[KeyPath, int] = {
        ("a",): 2, ("a", "b", "c d", "e"): 2, ("text",): 3, ("raw",): 6, ("list",): 9,
        ("list", 0): 10, ("list", 2, "x"): 10, ("list", 2, "y", 1): 11, ("quoted é",): 13,
        ("t", "u"): 15, ("t", "u", "time"): 16, ("t", "rows", 0): 17, ("t", "rows", 0, "n"): 18,
        ("t", "rows", 1): 19, ("t", "rows", 1, "n"): 20, ("t", "rows", 1, "sub", "m"): 22,
    }  # fmt: skip
    assert {path: lines.get(path) for path in expected} == expected


def paths(node: Any, path: KeyPath = ()) -> set[KeyPath]:
    items: list[tuple[str | int, Any]] = []
    if isinstance(node, dict):
        items = list(node.items())
    elif isinstance(node, list):
        items = list(enumerate(node))
    return {path}.union(*(paths(value, (*path, key)) for key, value in items))


def as_toml(value: Any) -> str:
    if isinstance(value, dict):
        pairs = (f"{as_toml(key)} = {as_toml(item)}" for key, item in value.items())
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, list):
        return "[\n" + ",\n".join(map(as_toml, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in escaped) + '"'


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
VALUES = st.recursive(
    st.integers(-9, 9) | st.booleans() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=tries(100), deadline=None)
@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_every_key_of_any_file_has_its_line(tables: dict[str, Any]) -> None:
    text = "".join(f"{as_toml(key)} = {as_toml(value)}\n# [x]\n" for key, value in tables.items())
    assert tomllib.loads(text) == tables
    assert set(key_lines(text)) == paths(tables) - {()}
