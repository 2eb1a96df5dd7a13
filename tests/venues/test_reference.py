"""Instrument lists -> rows of the instruments table, for the three venues and for nonsense."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from feedd import venues
from feedd.capture.instruments import load_file
from feedd.errors import CaptureError, ConfigError, VenueError
from feedd.shm.rows import INSTRUMENT, Contract, InstrumentKind, InstrumentStatus, SizeUnit
from feedd.venues.reference import InstrumentInfo, parse, parse_counted
from tests.fixtures.effort import tries

CAPTURES = Path(__file__).resolve().parents[3] / "shared" / "captures"
DERIBIT, SPOT, USDM = (venues.load(n) for n in ("deribit", "binance_spot", "binance_usdm"))
MS = 1_000_000


def deribit(**fields: Any) -> dict[str, Any]:
    row = {
        "instrument_name": "AAA-PERPETUAL", "kind": "future", "settlement_period": "perpetual",
        "base_currency": "AAA", "quote_currency": "USD", "settlement_currency": "AAA",
        "instrument_type": "reversed", "tick_size": 0.5, "min_trade_amount": 10.0,
        "contract_size": 10.0, "expiration_timestamp": 32503708800000, "price_index": "aaa_usd",
        "creation_timestamp": 1600000000000, "is_active": True, "state": "open",
        "tick_size_steps": [],
    }  # fmt: skip
    row.update(fields)
    return {key: value for key, value in row.items() if value is not ...}


def one(venue: Any, row: dict[str, Any]) -> InstrumentInfo:
    key = "result" if venue is DERIBIT else "symbols"
    (info,) = parse(venue, json.dumps({key: [row]}).encode())
    return info


def test_deribit_inverse_perpetual() -> None:
    info = one(DERIBIT, deribit())
    assert math.isnan(info.strike)
    assert msgspec.structs.replace(info, strike=0.0) == InstrumentInfo(
        venue="deribit", symbol="AAA-PERPETUAL", kind=InstrumentKind.PERPETUAL, base="AAA",
        quote="USD", settle="AAA", underlying="aaa_usd", tick=0.5, lot=10.0, min_size=10.0,
        contract_size=10.0, price_decimals=1, size_decimals=0, size_unit=SizeUnit.QUOTE,
        contract=Contract.INVERSE, expiry=0, strike=0.0, option_type=0,
        status=InstrumentStatus.ACTIVE, listed_ts=1600000000000 * MS,
    )  # fmt: skip
    assert one(DERIBIT, deribit()).name == "deribit:AAA-PERPETUAL"


def test_deribit_option_with_tick_steps() -> None:
    info = one(
        DERIBIT,
        deribit(
            instrument_name="AAA-1JAN30-100-C", kind="option", settlement_period="month",
            option_type="call", strike=100.0, quote_currency="AAA", contract_size=1.0,
            min_trade_amount=0.1, tick_size=0.0001, expiration_timestamp=1893484800000,
            tick_size_steps=[{"above_price": 0.005, "tick_size": 0.0005}],
        ),
    )  # fmt: skip
    assert (info.kind, info.option_type, info.strike) == (InstrumentKind.OPTION, 1, 100.0)
    assert (info.size_unit, info.contract) == (SizeUnit.BASE, Contract.INVERSE)
    assert (info.tick, info.price_decimals, info.lot, info.size_decimals) == (0.0001, 4, 0.1, 1)
    assert info.expiry == 1893484800000 * MS


@pytest.mark.parametrize(
    ("change", "kind", "unit", "contract"),
    [
        ({"settlement_period": "week"}, "FUTURE", "QUOTE", "INVERSE"),
        ({"instrument_type": "linear", "quote_currency": "USDC"}, "PERPETUAL", "BASE", "LINEAR"),
        ({"instrument_type": ..., "future_type": "linear"}, "PERPETUAL", "BASE", "LINEAR"),
        ({"instrument_type": ...}, "PERPETUAL", "QUOTE", "INVERSE"),
        ({"instrument_type": ..., "quote_currency": "USDC"}, "PERPETUAL", "BASE", "LINEAR"),
        ({"kind": "option", "option_type": "put"}, "OPTION", "BASE", "INVERSE"),
        ({"kind": "option", "instrument_type": "linear"}, "OPTION", "BASE", "LINEAR"),
        ({"kind": "future_combo"}, "COMBO", "QUOTE", "INVERSE"),
        ({"kind": "option_combo"}, "COMBO", "BASE", "INVERSE"),
        ({"kind": "spot", "instrument_type": "linear"}, "SPOT", "BASE", "LINEAR"),
        ({"kind": "something"}, "UNKNOWN", "QUOTE", "INVERSE"),
    ],
)
def test_deribit_kinds_and_units(
    change: dict[str, Any], kind: str, unit: str, contract: str
) -> None:
    info = one(DERIBIT, deribit(**change))
    assert (info.kind.name, info.size_unit.name, info.contract.name) == (kind, unit, contract)


def test_deribit_before_settlement_currency_existed() -> None:
    row = deribit(settlement_currency=..., instrument_type=..., price_index=..., state=...)
    info = one(DERIBIT, row)
    assert (info.settle, info.underlying, info.status) == ("AAA", "", InstrumentStatus.ACTIVE)
    assert one(DERIBIT, {**row, "is_active": False}).status is InstrumentStatus.HALTED


@pytest.mark.parametrize(
    ("state", "status"),
    [("open", "ACTIVE"), ("settlement", "SETTLING"), ("closed", "EXPIRED"), ("locked", "HALTED"),
     ("created", "PRE"), ("never seen", "UNKNOWN")],
)  # fmt: skip
def test_deribit_states(state: str, status: str) -> None:
    assert one(DERIBIT, deribit(state=state)).status.name == status


def binance(**fields: Any) -> dict[str, Any]:
    row = {
        "symbol": "AAAUSDT", "pair": "AAAUSDT", "contractType": "PERPETUAL", "status": "TRADING",
        "deliveryDate": 4133404800000, "onboardDate": 1569398400000, "baseAsset": "AAA",
        "quoteAsset": "USDT", "marginAsset": "USDT", "pricePrecision": 8, "quantityPrecision": 8,
        "filters": [
            {"filterType": "MARKET_LOT_SIZE", "stepSize": "5", "minQty": "5"},
            {"filterType": "LOT_SIZE", "stepSize": "0.00100000", "minQty": "0.002"},
            {"filterType": "PRICE_FILTER", "tickSize": "0.10"},
        ],
    }  # fmt: skip
    row.update(fields)
    return {key: value for key, value in row.items() if value is not ...}


def test_binance_usdm() -> None:
    info = one(USDM, binance())
    assert (info.kind, info.contract, info.size_unit) == (
        InstrumentKind.PERPETUAL, Contract.LINEAR, SizeUnit.BASE,
    )  # fmt: skip
    assert (info.tick, info.price_decimals) == (0.1, 1)
    assert (info.lot, info.size_decimals, info.min_size) == (0.001, 3, 0.002)
    assert (info.base, info.quote, info.settle, info.underlying) == (
        "AAA", "USDT", "USDT", "AAAUSDT",
    )  # fmt: skip
    assert (info.expiry, info.listed_ts, info.contract_size) == (0, 1569398400000 * MS, 1.0)
    dated = one(USDM, binance(contractType="NEXT_QUARTER", deliveryDate=1893484800000))
    assert (dated.kind, dated.expiry) == (InstrumentKind.FUTURE, 1893484800000 * MS)


def test_binance_spot() -> None:
    info = one(SPOT, binance(symbol="币安人生USDT", status="BREAK", contractType=..., pair=...))
    assert (info.kind, info.size_unit, info.status) == (
        InstrumentKind.SPOT, SizeUnit.BASE, InstrumentStatus.HALTED,
    )  # fmt: skip
    assert info.name == "binance_spot:币安人生USDT"
    assert (info.price_decimals, info.size_decimals, info.expiry) == (1, 3, 0)
    bare = one(SPOT, binance(filters=[]))
    assert math.isnan(bare.tick)
    assert (bare.price_decimals, bare.size_decimals) == (-1, -1)


def test_columns_are_those_of_the_table() -> None:
    columns = one(USDM, binance()).columns()
    names = INSTRUMENT.names
    assert names is not None
    assert set(columns) == set(names) - {"lock", "id", "name", "reader", "row", "flags"}


@pytest.mark.parametrize(
    ("text", "decimals"),
    [("0.00000100", 6), ("1.0", 0), ("10", 0), ("5e-05", 5), ("1E-8", 8), ("0.25", 2),
     ("0", -1), ("-1", -1), ("x", -1), ("", -1), ("1e400", -1), ("nan", -1), ("1e-9999", -1)],
)  # fmt: skip
def test_decimals_come_from_the_text(text: str, decimals: int) -> None:
    filters = [{"filterType": "PRICE_FILTER", "tickSize": text}]
    info = one(USDM, binance(filters=filters))
    assert info.price_decimals == decimals
    assert math.isnan(info.tick) is (decimals < 0)


def test_numbers_keep_their_text() -> None:
    body = b'{"result":[{"instrument_name":"A","kind":"option","tick_size":0.00010,"strike":1E+2}]}'
    (info,) = parse(DERIBIT, body)
    assert (info.price_decimals, info.strike) == (4, 100.0)
    (same,) = parse(DERIBIT, json.loads(body))
    assert (same.price_decimals, same.strike) == (4, 100.0)


def test_nonsense_rows_are_left_out_and_counted() -> None:
    rows = [
        binance(), 5, None, [], binance(symbol=...), binance(symbol=7), binance(symbol=""),
        binance(symbol="A" * 65), binance(symbol="A B"), binance(symbol="\ud800"),
        binance(symbol="A\n"), binance(baseAsset=...), binance(status="CLOSE"),
        binance(symbol="B", baseAsset="much too long for the column", filters="none", status=[1]),
    ]  # fmt: skip
    parsed = parse_counted(USDM, {"symbols": rows})
    assert [(i.symbol, i.base, i.status.name) for i in parsed.instruments] == [
        ("AAAUSDT", "AAA", "EXPIRED"),
        ("B", "", "UNKNOWN"),
    ]
    assert parsed.rejected == {
        "not an object": 3, "no symbol": 3, "symbol is too long": 1, "symbol is not UTF-8": 1,
        "symbol has spaces or control characters": 2, "no baseAsset": 1, "repeated symbol": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b"{}", b"[]", b'{"code":-1003,"msg":"Too many requests"}', b'{"symbols":5}',
     b"\xff", b"[" * 100_000, '{"symbols":{"a":1}}', None, b'{"symbols":' + b"9" * 5000],
)  # fmt: skip
def test_what_lists_no_instruments_is_an_error(body: Any) -> None:
    with pytest.raises(VenueError, match="binance_usdm"):
        parse(USDM, body, "https://example.com/x")


def test_a_venue_without_reference_table() -> None:
    venue = msgspec.structs.replace(USDM, reference=None)
    with pytest.raises(ConfigError, match="no \\[reference\\] table"):
        parse(venue, b"{}")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@settings(max_examples=tries(100), deadline=None)
@given(st.dictionaries(st.sampled_from([*deribit(), "option_type", "strike"]), VALUES))
def test_any_value_anywhere_is_survived(changes: dict[str, Any]) -> None:
    for info in parse(DERIBIT, {"result": [deribit(**changes)]}):
        assert info.expiry >= 0
        assert info.tick > 0 or math.isnan(info.tick)
        assert -1 <= info.price_decimals <= 100


# ---- files ---------------------------------------------------------------------------------------


def rows() -> list[dict[str, Any]]:
    body = {"symbols": [binance(), binance(symbol="BBBUSDT")]}
    later = {"symbols": [binance(status="HALT")]}
    return [
        {"t": 1, "dir": "rest", "url": "/fapi/v1/exchangeInfo", "raw": json.dumps(body)},
        {"t": 2, "dir": "in", "raw": '{"e":"trade"}'},
        {"t": None, "dir": "rest", "url": "/depth", "raw": '{"lastUpdateId":1,"bids":[]}'},
        {"t": 3, "dir": "rest", "raw": json.dumps(later)},
        {"t": 4, "dir": "rest"},
    ]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize("array", [False, True])
def test_instruments_of_a_capture(tmp_path: Path, suffix: str, array: bool) -> None:
    data = json.dumps(rows(), indent=1) if array else "\n\n".join(map(json.dumps, rows())) + "\n"
    path = tmp_path / f"rest.json{suffix}"
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[suffix]
    path.write_bytes(pack(data.encode()))
    loaded = load_file(USDM, path)
    assert [(i.symbol, i.status.name) for i in loaded.instruments] == [
        ("BBBUSDT", "ACTIVE"),
        ("AAAUSDT", "HALTED"),
    ]
    assert loaded.skipped == {
        "not a rest row": 1, "not a list of instruments": 1, "not a capture row": 1,
    }  # fmt: skip
    assert not loaded.rejected


@pytest.mark.parametrize("data", [b'{"t":1}\nnonsense\n', b"[1,", b"\xff\xfe"])
def test_broken_captures_are_an_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(data)
    with pytest.raises(CaptureError, match=r"x\.json"):
        load_file(USDM, path)
    for suffix in (".gz", ".zst"):
        packed = tmp_path / f"y.json{suffix}"
        packed.write_bytes(data)
        with pytest.raises(CaptureError):
            load_file(USDM, packed)
    with pytest.raises(CaptureError):
        load_file(USDM, tmp_path / "none.json")


# ---- recorded bodies -----------------------------------------------------------------------------


def recorded(venue: str) -> Iterator[Path]:
    yield from sorted((CAPTURES / venue).glob("rest_*"))


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="../shared/captures is not here")
@pytest.mark.parametrize(
    ("name", "least"), [("deribit", 1_000), ("binance_usdm", 100), ("binance_spot", 1)]
)
def test_recorded_bodies(name: str, least: int) -> None:
    venue = venues.load(name)
    found: dict[str, InstrumentInfo] = {}
    for path in recorded(name):
        loaded = load_file(venue, path)
        found.update((i.symbol, i) for i in loaded.instruments)
        assert set(loaded.rejected) <= {"no kind"}  # lists of combos and of trades
    assert len(found) >= least
    for info in found.values():
        assert info.kind is not InstrumentKind.UNKNOWN, info
        assert info.contract is not Contract.UNKNOWN, info
        assert info.size_unit is not SizeUnit.UNKNOWN, info
        assert info.status is not InstrumentStatus.UNKNOWN, info
        assert info.base, info
        assert info.quote, info
        assert (info.option_type != 0) is (info.kind is InstrumentKind.OPTION), info
        assert math.isnan(info.strike) is (info.kind is not InstrumentKind.OPTION), info
        if info.kind is not InstrumentKind.COMBO:  # the recorded ones are partly endless
            endless = info.kind in (InstrumentKind.PERPETUAL, InstrumentKind.SPOT)
            assert (info.expiry == 0) is endless, info
        if info.price_decimals >= 0:
            assert round(info.tick, info.price_decimals) == info.tick, info


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="../shared/captures is not here")
def test_recorded_instruments_agree_with_their_names() -> None:
    """Deribit's names say kind, strike and option type: an oracle independent of the fields."""
    checked = 0
    for path in recorded("deribit"):
        for info in load_file(DERIBIT, path).instruments:
            parts = info.symbol.split("-")
            if parts[-1] in "CP" and len(parts) == 4:
                assert info.kind is InstrumentKind.OPTION
                assert info.option_type == (1 if parts[-1] == "C" else -1)
                assert info.strike == float(parts[2].replace("d", "."))
                assert info.size_unit is SizeUnit.BASE
            elif parts[-1] == "PERPETUAL":
                assert info.kind is InstrumentKind.PERPETUAL
                linear = "_USDC" in info.symbol
                assert info.contract is (Contract.LINEAR if linear else Contract.INVERSE)
                assert info.size_unit is (SizeUnit.BASE if linear else SizeUnit.QUOTE)
                assert info.settle == ("USDC" if linear else info.base)
            checked += 1
    assert checked > 1_000
