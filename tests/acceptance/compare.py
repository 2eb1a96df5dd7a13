"""Compare ``feedd decode`` lines with the reference, value by value.

The reference keeps exact decimals. A line must show the nearest float64 in its shortest form, so
both sides become ``Decimal`` of that form and must be equal, digit for digit.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from tests.reference import Result
from tests.reference.book import Book, Update

from .cli import Decoded

FLAGS = {"snapshot", "inexact", "liquidation", "block", "combo", "replay", "bad_ts"}
DATA_KINDS = ("trade", "liquidation", "quote", "deriv", "greeks", "book")
FIELDS = {
    "trade": ("price", "size", "side", "trade_id"),
    "liquidation": ("price", "size", "side", "trade_id"),
    "quote": ("bid_price", "bid_size", "ask_price", "ask_size"),
    "book": ("action", "bids", "asks"),
    "deriv": (
        "mark",
        "index",
        "last",
        "open_interest",
        "funding_rate",
        "predicted_funding",
        "settlement",
        "next_funding",
    ),
    "greeks": (
        "delta",
        "gamma",
        "vega",
        "theta",
        "rho",
        "mark_iv",
        "bid_iv",
        "ask_iv",
        "underlying",
        "mark",
    ),
}
NUMBERED = {"quote", "book"}  # kinds whose ``sequence`` the contract pins down
Grouped = dict[tuple[str, str], list[tuple[Any, ...]]]


@functools.lru_cache(maxsize=1 << 17)
def shortest(value: Decimal) -> Decimal:
    """The decimal that stands for the nearest float64."""
    return Decimal(repr(float(value)))


def shown(value: Any) -> Any:
    """A value as a line must show it."""
    if isinstance(value, Decimal):
        return shortest(value)
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return Decimal(value)
    return [[shown(item) for item in pair] for pair in value]


def _plain(line: Mapping[str, Any], rest_books: bool) -> tuple[Any, ...]:
    kind = line["kind"]
    times = (line["ts_event"], line["ts_recv"])
    if rest_books and kind == "book" and "snapshot" in line["flags"]:
        times = (None, None)  # a REST body was neither sent nor received with the stream
    fields = tuple((name, shown(line[name])) for name in FIELDS[kind] if name in line)
    sequence = line["sequence"] if kind in NUMBERED else None
    return (*times, sequence, frozenset(FLAGS & set(line["flags"])), *fields)


def grouped(lines: Iterable[Mapping[str, Any]], rest_books: bool) -> Grouped:
    """The data records by (kind, instrument), each in order, ready to compare."""
    out: Grouped = defaultdict(list)
    for line in lines:
        if line["kind"] in DATA_KINDS:
            out[line["kind"], line["instrument"]].append(_plain(line, rest_books))
    return out


def assert_groups_equal(got: Grouped, expected: Grouped) -> None:
    """Fail with the first difference, not with a diff of ten thousand lines."""
    assert {key: len(value) for key, value in got.items()} == {
        key: len(value) for key, value in expected.items()
    }
    for key, lines in expected.items():
        for index, (ours, theirs) in enumerate(zip(got[key], lines, strict=True)):
            assert ours == theirs, f"{key} number {index}"


def final_levels(book: Book) -> dict[str, list[list[Decimal]]]:
    """Both sides of a reference book in the shape of a ``final_book`` line."""
    bids, asks = book.levels()
    return {"bids": shown(bids), "asks": shown(asks)}


def assert_finals_equal(got: Decoded, expected: Result) -> None:
    """Every final book: state, and for live ones number and every level of both sides."""
    states = {name: line["state"] for name, line in got.finals.items()}
    assert states == {name: book.state for name, book in expected.books.items()}
    for name, book in expected.books.items():
        if book.state != "live":
            continue
        line = got.finals[name]
        assert line["sequence"] == book.sequence, name
        for side, levels in final_levels(book).items():
            assert shown(line[side]) == levels, f"{name} {side}"


def replayed(lines: Iterable[Mapping[str, Any]]) -> dict[str, Book]:
    """The books that the book lines alone build."""
    books: dict[str, Book] = defaultdict(Book)
    for line in lines:
        if line["kind"] == "book":
            apply_line(books[line["instrument"]], line)
    return books


def apply_line(book: Book, line: Mapping[str, Any]) -> None:
    """Apply one book line to a plain book."""
    bids, asks = (
        [(Decimal(price), Decimal(size)) for price, size in line[side]] for side in ("bids", "asks")
    )
    update = Update(last=line["sequence"], bids=bids, asks=asks)
    if line["action"] == "snapshot":
        book.replace(update)
    else:
        book.apply(update)


def assert_replay_builds_finals(got: Decoded) -> None:
    """The book lines alone build every final book that is live."""
    books = replayed(got.records)
    for name, line in got.finals.items():
        if line["state"] == "live":
            for side, levels in final_levels(books[name]).items():
                assert shown(line[side]) == levels, f"{name} {side}"


def events(lines: Iterable[Mapping[str, Any]], event: str) -> list[str]:
    """The instruments of the status records of one event, sorted."""
    return sorted(
        str(line["instrument"])
        for line in lines
        if line["kind"] == "status" and line["event"] == event
    )


def losses(lines: Iterable[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """What was declared lost or wrong, in order: what, where, which numbers show it.

    Checksums are 32 bits, which some venues write with a sign. What a gap ``got`` instead of the
    expected number is not compared: it may be the number before the message or its own.
    """
    out: list[tuple[Any, ...]] = []
    for line in lines:
        if line["kind"] == "status" and line["event"] == "gap":
            out.append(("gap", line["instrument"], line["expected"]))
        elif line["kind"] == "status" and line["event"] == "checksum":
            numbers = (line["expected"] % 2**32, line["got"] % 2**32)
            out.append(("checksum", line["instrument"], *numbers))
    return out


def states(lines: Iterable[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """What was said of instruments themselves, in order."""
    return [
        tuple(line[key] for key in ("instrument", "ts_event", "state", "previous", "reason"))
        for line in lines
        if line["kind"] == "status" and line["event"] == "instrument_state"
    ]


def has_rest_books(venue: str) -> bool:
    """Whether snapshots come by REST: these lines have times of their own."""
    return venue.startswith(("binance_", "gate"))


def assert_same(got: Decoded, expected: Result, venue: str) -> None:
    """Everything at once."""
    rest_books = has_rest_books(venue)
    assert events(got.records, "bad_frame") == events(expected.records, "bad_frame")
    assert losses(got.records) == losses(expected.records)
    assert states(got.records) == states(expected.records)
    assert_groups_equal(
        grouped(got.records, rest_books),
        grouped(expected.records, rest_books),
    )
    assert_finals_equal(got, expected)
    assert_replay_builds_finals(got)
