"""Example messages of every kind, and the edges of the command itself."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures import binance, deribit
from tests.fixtures.scenario import write_rows
from tests.reference import decode as reference_decode
from tests.reference.rows import all_rows

from . import compare
from .captures import EXAMPLES, SMALL, capture_paths
from .cli import decode, run
from .here import decode_here

KINDS = {
    "binance_coinm": {"trade", "quote", "book", "deriv", "liquidation"},
    "binance_options": {"trade", "quote", "book", "deriv", "greeks"},
    "binance_spot": {"trade", "quote", "book"},
    "binance_usdm": {"trade", "quote", "book", "deriv", "liquidation"},
    "bybit_inverse": {"trade", "quote", "book", "deriv", "liquidation"},
    "bybit_linear": {"trade", "quote", "book", "deriv", "liquidation"},
    "bybit_option": {"trade", "quote", "book", "deriv", "greeks"},
    "bybit_spot": {"trade", "quote", "book", "deriv"},
    "coinbase": {"trade", "quote", "book"},
    "coinbase_exchange": {"trade", "quote", "book"},
    "deribit": {"trade", "quote", "book", "deriv", "greeks"},
    "kraken": {"trade", "quote"},  # the examples' books were shortened: their checksums fail
    "okx": {"trade", "quote", "book", "deriv", "greeks", "liquidation"},
}
FIRST = ("deribit",)
ODD = {"coinbase_exchange": 1}  # one example holds a size that is none: "0.-10000"


def _is_current(venue: str, row: dict[str, Any]) -> bool:
    """Whether a message has a form that the venue still sends (or one of another protocol)."""
    raw = row["raw"]
    if venue == "binance_options":  # the old API named its streams in capitals
        return re.search('"stream":"[A-Z]', raw) is None
    if venue.startswith("bybit_"):
        is_option = re.search('-[CP](-USDT)?"', raw) is not None
        is_old = "orderbook.1." in raw and '"delta"' in raw
        return is_option == (venue == "bybit_option") and not is_old
    return True


@pytest.mark.parametrize("venue", FIRST)
def test_examples_decode_without_a_bad_frame(venue: str) -> None:
    """These hold frames of many years, with channels that the reference does not know."""
    got = decode(venue, capture_paths(venue, "examples.jsonl"))
    assert not got.events("bad_frame")
    assert {line["kind"] for line in got.records} >= KINDS[venue]


@pytest.mark.parametrize("venue", [venue for venue in KINDS if venue not in FIRST])
def test_examples_of_every_kind_equal_the_reference(venue: str, tmp_path: Path) -> None:
    rows = all_rows(capture_paths(EXAMPLES[venue], "examples.jsonl"))
    (path,) = write_rows(tmp_path, [row for row in rows if _is_current(venue, row)])
    got, expected = decode_here(venue, [path]), reference_decode(venue, [path])
    compare.assert_same(got, expected, venue)
    assert len(got.events("bad_frame")) == ODD.get(venue, 0)
    assert {line["kind"] for line in got.records} - {"status"} == KINDS[venue]


REFERENCE_DATA = {
    "deribit": "rest_cf_20210722_options.json.gz",
    "binance_coinm": "rest_cf_20210722.json",
    "binance_spot": "rest_nautilus_exchange_info_response.json",
    "binance_usdm": "rest_cf_20210722.json",
    "coinbase_exchange": "rest_cf_20210417_exchange.json",
    "okx": "rest_cf_20220513_books.json.gz",
}


@pytest.mark.parametrize("venue", REFERENCE_DATA)
def test_reference_data_changes_no_value(venue: str) -> None:
    paths = SMALL[venue].paths()
    (instruments,) = capture_paths(EXAMPLES[venue], REFERENCE_DATA[venue])
    plain = decode(venue, paths)
    informed = decode(venue, paths, instruments=instruments)
    assert compare.grouped(informed.records, False) == compare.grouped(plain.records, False)
    assert informed.finals == plain.finals


def test_without_books_there_is_no_final_book(tmp_path: Path) -> None:
    paths = deribit.born_empty().write(tmp_path)
    assert decode("deribit", paths).finals
    assert not decode("deribit", paths, books=False).finals


@pytest.mark.parametrize("form", ["jsonl", "jsonl.gz", "jsonl.zst", "json", "spaced json.gz"])
def test_every_form_of_a_capture_reads_the_same(tmp_path: Path, form: str) -> None:
    scenario = deribit.session()
    expected = decode_here("deribit", scenario.write(tmp_path / "plain"))
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in scenario.rows)
    path = tmp_path / f"capture.{form.split()[-1]}"
    if "json" in form.split(".")[0].split() or form.startswith("spaced"):
        rows = [{**row, "extra": {"ignored": []}} for row in scenario.rows]
        text = "\n  \t" * form.startswith("spaced") + json.dumps(rows)
    data = text.encode()
    if path.suffix == ".gz":
        data = gzip.compress(data)
    elif path.suffix == ".zst":
        zstandard = pytest.importorskip("zstandard")
        data = zstandard.ZstdCompressor().compress(data)
    path.write_bytes(data)
    got = decode_here("deribit", [path])
    assert got.records == expected.records
    assert got.finals == expected.finals


@pytest.mark.parametrize(
    "line",
    [
        b'{"t":5,"dir":"in","raw":"{\\"method\\":\\"\xff\\"}"}',
        b'{"t":5,"dir":"in","raw":"{\\"method\\":\\"\\udcff\\"}"}',
        b'{"t":5,"dir":"in","b64":"eyJtZXRob2QiOiL/In0="}',
    ],
    ids=["bytes in the file", "escaped surrogate", "base64"],
)
def test_bad_utf8_is_a_bad_frame_however_it_was_recorded(tmp_path: Path, line: bytes) -> None:
    scenario = deribit.session()
    (path,) = scenario.write(tmp_path)
    expected = decode_here("deribit", [path])
    lines = gzip.decompress(path.read_bytes()).splitlines()
    damaged = tmp_path / "damaged.jsonl"
    damaged.write_bytes(b"\n".join([*lines[:40], line, *lines[40:]]) + b"\n")
    got = decode_here("deribit", [damaged])
    assert len(got.events("bad_frame")) == 1
    assert compare.grouped(got.records, False) == compare.grouped(expected.records, False)
    assert got.finals == expected.finals


def test_rows_that_are_not_messages_are_passed_over(tmp_path: Path) -> None:
    scenario = binance.session("binance_spot")
    expected = decode_here("binance_spot", scenario.write(tmp_path / "plain"))
    rows = [dict(row, conn="a", note=1) for row in scenario.rows]
    rows.insert(0, {"t": None, "dir": "open", "conn": "a", "raw": ""})
    rows.append({"t": rows[-1]["t"], "dir": "out", "raw": "not json"})
    got = decode_here("binance_spot", write_rows(tmp_path / "more", rows, scenario.rest_rows))
    assert compare.grouped(got.records, True) == compare.grouped(expected.records, True)
    assert got.finals == expected.finals


@pytest.mark.parametrize(
    "arguments",
    [
        ["decode"],
        ["decode", "--venue", "deribit"],
        ["decode", "--venue", "nowhere", "{capture}"],
        ["decode", "--venue", "deribit", "--nonsense", "{capture}"],
        ["decode", "{capture}"],
    ],
)
def test_usage_errors_exit_with_2_and_write_no_record(tmp_path: Path, arguments: list[str]) -> None:
    (capture,) = deribit.born_empty().write(tmp_path)
    done = run(*(item.format(capture=capture) for item in arguments))
    assert done.returncode == 2
    assert not done.stdout
    assert done.stderr


def test_a_missing_capture_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "absent.jsonl"
    done = run("decode", "--venue", "deribit", str(missing))
    assert done.returncode != 0
    assert "absent.jsonl" in done.stderr
    assert "Traceback" not in done.stderr
