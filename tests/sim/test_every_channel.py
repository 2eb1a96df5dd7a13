"""Every channel that can be subscribed, of every simulated venue: decoder, reference and journal.

What the simulator sent is decoded by feedd and by the reference, which knows nothing of feedd's
venue files; both must say the same, and what the simulator's own journal says.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from feedd import venues
from feedd.capture.decode import CaptureDecoder
from feedd.sim.venues import EXCHANGES
from tests.acceptance import compare
from tests.acceptance.cli import Decoded, read_lines
from tests.acceptance.test_simulated_venues import plain
from tests.reference import decode_rows
from tests.sim.offline import Row, offered, record

V3 = {"bitget_spot", "bitget_futures"}
CASES = [(name, "") for name in EXCHANGES] + [(name, "v3") for name in sorted(V3)]


def forms(venue: str, form: str) -> set[str]:
    """Channels of the other one of two forms of the same content."""
    if venue not in V3:
        return set()
    return {name for name in venues.load(venue).channels if name.endswith("_v3") != (form == "v3")}


def decoded(venue: str, rows: Sequence[Row], path: Path) -> Decoded:
    """What ``feedd decode --books`` says, without a process of its own."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    decoder = CaptureDecoder(venues.load(venue))
    lines = [orjson.dumps(line).decode() for line in decoder.events([path])]
    lines += [orjson.dumps(line).decode() for line in decoder.final_books()]
    return read_lines(lines)


def text(value: Any) -> str:
    """A line as text, in which equal numbers look the same."""
    if isinstance(value, dict):
        return str(sorted((key, text(member)) for key, member in value.items()))
    if isinstance(value, list | tuple):
        return str([text(member) for member in value])
    if isinstance(value, Decimal):
        return str(compare.shortest(value).normalize())
    return repr(value)


@pytest.mark.parametrize(("venue", "form"), CASES)
def test_decoder_reference_and_journal_agree(venue: str, form: str, tmp_path: Path) -> None:
    without = forms(venue, form)
    sent = record(venue, tmp_path, ms=1_500, without=without)
    assert not sent.refused
    got = decoded(venue, sent.rows, tmp_path / "rows.jsonl")
    assert not got.events("bad_frame")
    assert not got.events("gap")
    compare.assert_same(got, decode_rows(venue, sent.rows), venue)
    told = [event for row in sent.journal for event in row.get("events", ())]
    ours, theirs = plain(got.records), plain(told)
    for key, lines in theirs.items():
        if key[0] != "book":  # of several book channels one has the book
            assert sorted(map(text, ours[key])) == sorted(map(text, lines)), key


# channel, milliseconds until it has said something, and what it says
LATER = [
    ("deribit", "markprice", 1_500, "greeks", {"mark_iv", "mark"}),
    ("deribit", "price_index", 1_500, "deriv", {"index"}),
    ("deribit", "volatility_index", 1_500, "greeks", {"mark_iv"}),
    ("deribit", "estimated_expiration_price", 4_500, "deriv", {"settlement"}),
    ("binance_usdm", "compositeIndex", 1_500, "deriv", {"index"}),
    ("binance_usdm", "assetIndex", 1_500, "deriv", {"index"}),
    ("binance_coinm", "indexPrice", 1_500, "deriv", {"index"}),
    ("binance_options", "indexPrice", 1_500, "deriv", {"index"}),
    ("binance_options", "openInterest", 61_000, "deriv", {"open_interest"}),
    ("okx", "index-tickers", 500, "deriv", {"index"}),
    ("okx", "estimated-price", 3_500, "deriv", {"settlement"}),
    ("bitget_futures", "liquidation_v3", 20_000, "liquidation", {"price", "size"}),
    ("gate_futures", "contract_stats", 11_000, "deriv", {"mark", "open_interest"}),
    ("hyperliquid", "activeSpotAssetCtx", 2_500, "deriv", {"mark"}),
]


@pytest.mark.parametrize(("venue", "channel", "ms", "kind", "fields"), LATER)
def test_a_channel_alone(
    venue: str, channel: str, ms: int, kind: str, fields: set[str], tmp_path: Path
) -> None:
    others = set(offered(venues.load(venue))) - {channel}
    sent = record(venue, tmp_path, ms=ms, rate=300.0, without=others)
    records = decoded(venue, sent.rows, tmp_path / "rows.jsonl").of(kind)
    assert records
    known = {name for line in records for name in compare.FIELDS[kind] if name in line}
    assert fields <= known
    told: list[Any] = [event for row in sent.journal for event in row.get("events", ())]
    assert len(plain(records)) == len(plain(told))


def test_a_settlement_is_told_when_a_contract_ends(tmp_path: Path) -> None:
    rows: list[Row] = []
    for action, price in (("partial", None), ("insert", 9612.5)):
        data = [] if price is None else [{"symbol": "XBTM26", "settledPrice": price}]
        frame = {"table": "settlement", "action": action, "data": data}
        rows.append({"t": 1, "dir": "in", "raw": json.dumps(frame)})
    (line,) = decoded("bitmex", rows, tmp_path / "rows.jsonl").records
    assert (line["kind"], line["instrument"], line["settlement"]) == (
        "deriv",
        "bitmex:XBTM26",
        9612.5,
    )
