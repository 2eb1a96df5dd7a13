"""The native engine and orjson agree on what is JSON and on every value, whatever the bytes."""

from __future__ import annotations

import re
import struct
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from json_cases import KEYS, Texts, fragments, nested

from feedd.decode import probe
from tests.fixtures.effort import tries

PATHS = [
    "cc", "eightkey", "ninechars", "longer_than_eight_a.b", "longer_than_eight_b", "é.a", "é.é",
    "a.a", "a.b.a", "a.b.cc", "a.cc", "b.longer_than_eight_a", "b.ninechars.a", "b.a",
]  # fmt: skip
ABSENT = object()
AMBIGUOUS: list[tuple[float, float]] = []
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def reference(data: bytes) -> tuple[bool, Any]:
    try:
        return True, orjson.loads(data)
    except orjson.JSONDecodeError:
        return False, None


def lookup(document: Any, path: str) -> Any:
    for key in path.split("."):
        if not isinstance(document, dict) or key not in document:
            return ABSENT
        document = document[key]
    return document


def same(ours: Any, theirs: Any) -> bool:
    """Equal in type and bits; our containers are spans, our negative whole numbers floats."""
    if isinstance(theirs, (dict, list)):
        return isinstance(ours, bytes) and bool(orjson.loads(ours) == theirs)
    if isinstance(theirs, bool) or theirs is None or isinstance(theirs, str):
        return type(ours) is type(theirs) and bool(ours == theirs)
    if isinstance(theirs, int) and isinstance(ours, int):
        return ours == theirs
    if isinstance(theirs, int):
        return theirs <= 0 and isinstance(ours, float) and ours == float(theirs)
    return isinstance(ours, float) and struct.pack("d", ours) == struct.pack("d", theirs)


def agree(data: bytes) -> bool:
    """Assert agreement on ``data``; returns whether it is valid."""
    accepted, document = reference(data)
    assert probe.valid(data) is accepted, data
    found = probe.extract(PATHS, data)
    assert (found is not None) is accepted, data
    if found is None:
        return False
    for path in PATHS:
        theirs = lookup(document, path)
        ours = found.get(path, ABSENT)
        assert (ours is ABSENT) is (theirs is ABSENT), (path, data)
        assert theirs is ABSENT or same(ours, theirs), (path, ours, theirs, data)
    return True


def test_every_fragment_in_every_place() -> None:
    valid = sum(agree(data) for data in fragments())
    assert valid > 200


@pytest.mark.parametrize("brackets", ["[]", "{}", "[{}]"])
@pytest.mark.parametrize("depth", [1, 63, 64, 65, 1022, 1023, 1024, 1025, 1026, 100_000])
def test_nesting_limit(depth: int, brackets: str) -> None:
    data = nested(depth, brackets)
    for text in (data, b'{"skipped":' + data + b',"a":{"b":' + data + b"}}", b"[" + data + b"]"):
        accepted, _ = reference(text)
        assert probe.valid(text) is accepted
        # Paths that run through the nest: the walker by table and the one by skipping both count.
        assert (probe.extract(["a.a.a.a.b", "a.b"], text) is not None) is accepted
    assert probe.valid(data) is (depth <= 1024)
    assert not probe.valid(data[: len(data) // 2])


def test_structured_documents_are_read_alike() -> None:
    texts = Texts(1)
    documents = [texts.document() for _ in range(tries(2_000))]
    assert all(agree(data) for data in documents)


def test_damaged_documents_are_judged_alike() -> None:
    texts = Texts(2)
    results = [agree(texts.damaged(texts.document())) for _ in range(tries(8_300))]
    assert results.count(True) > len(results) // 25
    assert results.count(False) > len(results) // 5


def test_truncated_at_every_offset() -> None:
    texts = Texts(3)
    for _ in range(120):
        data = texts.document()
        for end in range(len(data)):
            agree(data[:end])


def test_last_of_duplicate_keys_wins_also_over_other_types() -> None:
    texts = Texts(4)
    spellings = ['"a"', '"b"', '"\\u0061"', '"\\u0062"', '"cc"']
    for _ in range(tries(1_300)):
        pairs = [f"{texts.r.choice(spellings)}:{texts.value(2)}" for _ in range(5)]
        assert agree(texts.joined("{", pairs, "}").encode())


@settings(max_examples=tries(500), deadline=None)
@given(st.binary(max_size=40))
def test_random_bytes(data: bytes) -> None:
    agree(data)


@settings(max_examples=tries(300), deadline=None)
@given(st.lists(st.sampled_from(list('[]{}",:\\u0129e-+. \ntrufalsn') + KEYS), max_size=40))
def test_random_tokens(tokens: list[str]) -> None:
    agree("".join(tokens).encode())


@settings(max_examples=tries(300), deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)
        | st.integers(-(2**63), 2**64 - 1) | st.text(),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=4),
        max_leaves=12,
    ),
    st.integers(0, 200),
)  # fmt: skip
def test_python_values(value: Any, cut: int) -> None:
    data = orjson.dumps({"a": value, "b": {"a": value}, "cc": value}, option=cut % 2 or None)
    assert agree(data)
    agree(data[:cut])


# ---- rows and levels -----------------------------------------------------------------------------


def level_number(value: Any) -> float | None:
    if isinstance(value, str) and NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) == float("inf"):
        return None
    return float(value)


def level_list(value: Any) -> list[tuple[float, float]] | None:
    if not isinstance(value, list):
        return None
    found = []
    for item in value:
        if not isinstance(item, list) or len(item) < 2:
            return None
        price, size = level_number(item[0]), level_number(item[1])
        if price is None or size is None or size < 0:
            return None
        if size == 0 and str(size) == "-0.0":
            return AMBIGUOUS  # -0 is a size, -1e-400 is none: orjson's value tells them not apart
        found.append((price, size))
    return found


def rows_agree(data: bytes) -> bool:
    accepted, document = reference(data)
    rows = probe.extract_rows(["u", "o.b"], "b", "a", data)
    assert (rows is not None) is accepted, data
    if rows is None:
        return False
    listed = document if isinstance(document, list) else [document]
    if not all(isinstance(row, dict) for row in listed):
        return True
    assert len(rows) == len(listed), data
    for (values, bids, asks), row in zip(rows, listed, strict=True):
        assert same(values.get("u"), row.get("u")), data
        for ours, key in ((bids, "b"), (asks, "a")):
            theirs = level_list(row.get(key))
            if theirs is AMBIGUOUS:
                continue
            assert (ours is None) is (theirs is None), (key, ours, theirs, data)
            assert ours is None or [(p, s) for p, s, _ in ours] == theirs, (key, data)
    return True


def test_rows_and_levels_are_read_alike() -> None:
    texts = Texts(5)
    for _ in range(tries(2_000)):
        rows = [texts.book_row() for _ in range(texts.r.choice([1, 1, 2, 3]))]
        whole = rows[0] if texts.r.random() < 0.5 else texts.joined("[", rows, "]")
        assert rows_agree(whole.encode())


def test_damaged_levels_are_judged_alike() -> None:
    texts = Texts(6)
    for _ in range(tries(5_000)):
        rows_agree(texts.damaged(texts.book_row().encode()))
