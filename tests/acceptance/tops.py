"""Check books against the venue's own best bid and offer at the same moment."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.reference.book import Book
from tests.reference.rows import all_rows

from .compare import apply_line, shown

Top = tuple[Any, Any]
Key = tuple[str, int]


def venue_tops(venue: str, lines: Iterable[Mapping[str, Any]], paths: Iterable[Path]) -> list[Any]:
    """(instrument, number or time, top) as the venue's best-bid/offer messages said."""
    if venue == "deribit":
        return _ticker_tops(paths)
    out = []
    for line in lines:
        if line["kind"] == "quote" and line["sequence"] is not None:
            bid = (shown(line["bid_price"]), shown(line["bid_size"]))
            ask = (shown(line["ask_price"]), shown(line["ask_size"]))
            out.append((line["instrument"], line["sequence"], (bid, ask)))
    return out


def _ticker_tops(paths: Iterable[Path]) -> list[Any]:
    """From the raw tickers: feedd makes no quotes of them."""
    out = []
    for row in all_rows(list(paths)):
        value = json.loads(row["raw"], parse_float=Decimal)
        params = value.get("params", {})
        if row["dir"] != "in" or not str(params.get("channel", "")).startswith("ticker."):
            continue
        data = params["data"]
        sides = []
        for side in ("bid", "ask"):
            price, size = data[f"best_{side}_price"], data[f"best_{side}_amount"]
            sides.append((shown(price), shown(size)) if price and size else None)
        name = f"deribit:{data['instrument_name']}"
        out.append((name, data["timestamp"] * 1_000_000, tuple(sides)))
    return out


def check_tops(
    venue: str, lines: Iterable[Mapping[str, Any]], paths: Iterable[Path]
) -> tuple[int, list[str]]:
    """How many best-bid/offers a book line shares number (time) with, and which differ."""
    lines = list(lines)
    wanted = defaultdict(list)
    for instrument, moment, top in venue_tops(venue, lines, paths):
        wanted[instrument, moment].append(top)
    books: dict[str, Book] = defaultdict(Book)
    tops: dict[Key, Top] = {}
    for line in lines:
        if line["kind"] == "book":
            book = books[line["instrument"]]
            apply_line(book, line)
            moment = line["ts_event"] if venue == "deribit" else line["sequence"]
            if (line["instrument"], moment) in wanted:
                best = book.best()
                tops[line["instrument"], moment] = (
                    None if best[0] is None else (shown(best[0][0]), shown(best[0][1])),
                    None if best[1] is None else (shown(best[1][0]), shown(best[1][1])),
                )
    checked = 0
    wrong = []
    for key, top in tops.items():
        for said in wanted[key]:
            checked += 1
            if said != top:
                wrong.append(f"{key}: venue {said}, book {top}")
    return checked, wrong
