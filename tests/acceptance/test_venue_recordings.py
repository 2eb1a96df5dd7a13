"""What only single recordings can show: BitMEX's own quotes, Bitget's checksums."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.reference import decode_rows
from tests.reference.book import Book
from tests.reference.rows import Row, all_rows

from . import compare
from .captures import SMALL, capture_paths
from .cli import decode_once
from .here import decode_rows_here

QUOTES = 436  # all of the recording; ten of them are from before the books
MESSAGES = 83  # of quotes behind the first of each instrument


def wrong_quotes(lines: Iterable[Mapping[str, Any]]) -> tuple[int, int, list[str]]:
    """How many quotes a book showed at some moment, how many at that moment, and which never.

    A message brings all quotes since the last one, so the last of them is the book's best bid and
    offer as it stands, and the others were.
    """
    books: dict[str, Book] = defaultdict(Book)
    shown: dict[str, list[Any]] = defaultdict(list)
    last: dict[tuple[str, int], Any] = {}
    ever = now = 0
    wrong = []
    for line in lines:
        name = line["instrument"]
        if line["kind"] == "book":
            compare.apply_line(books[name], line)
            best = books[name].best()
            shown[name].append([side and [compare.shown(x) for x in side] for side in best])
        elif line["kind"] == "quote" and shown[name]:
            keys = (("bid_price", "bid_size"), ("ask_price", "ask_size"))
            quote = [[compare.shown(line[key]) for key in pair] for pair in keys]
            ever += quote in shown[name]
            if quote not in shown[name]:
                wrong.append(f"{name} {line['ts_event']}: {quote}")
            last[name, line["ts_recv"]] = quote == shown[name][-1]
    now = sum(last.values())
    return ever, now, wrong


@pytest.mark.parametrize("side", ["reference", "feedd"])
def test_bitmex_books_showed_every_quote(side: str) -> None:
    paths = SMALL["bitmex"].paths()
    if side == "reference":
        lines = decode_rows("bitmex", all_rows(paths)).records
    else:
        lines = decode_once("bitmex", paths).records
    ever, now, wrong = wrong_quotes(lines)
    assert not wrong
    assert ever == QUOTES - 10
    assert now == MESSAGES


def bitget_books() -> list[Row]:
    """The book frames of a recording of version 1, whose form is that of the old version 2."""
    rows = all_rows(capture_paths("bitget", "cf_20220403_v1.jsonl.gz"))
    return [
        {**row, "raw": row["raw"].replace('"instType":"sp"', '"instType":"SPOT"')}
        for row in rows
        if row["dir"] == "in" and '"channel":"books"' in row["raw"]
    ]


def damaged(rows: list[Row]) -> list[Row]:
    """Another size for the best ask of three books. Were it all ten, one could think that the
    venue has another checksum now; feedd would."""
    wrong = ("MASKUSDT", "ATOMETH", "FILBTC")
    return [
        {**row, "raw": row["raw"].replace('"],[', '1"],[', 1)}
        if any(f'"{symbol}"' in row["raw"] for symbol in wrong)
        else row
        for row in rows
    ]


def test_bitget_checksums_of_the_reference() -> None:
    rows = bitget_books()
    assert sum('"checksum"' in row["raw"] for row in rows) == 460
    result = decode_rows("bitget_spot", rows)
    assert not result.complaints()
    assert [book.state for book in result.books.values()] == ["live"] * 10
    # A checksum that is not computed would find nothing wrong here either.
    assert len(decode_rows("bitget_spot", damaged(rows)).events("checksum")) == 3


def test_bitget_checksums(tmp_path: Path) -> None:
    rows = bitget_books()
    got = decode_rows_here("bitget_spot", rows, tmp_path)
    compare.assert_same(got, decode_rows("bitget_spot", rows), "bitget_spot")
    assert {line["state"] for line in got.finals.values()} == {"live"}
    got = decode_rows_here("bitget_spot", damaged(rows), tmp_path)
    compare.assert_same(got, decode_rows("bitget_spot", damaged(rows)), "bitget_spot")
    assert len(got.events("checksum")) == 3
