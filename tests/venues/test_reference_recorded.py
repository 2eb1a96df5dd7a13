"""Recorded REST bodies: every column against what this file works out from the raw fields itself.

Nothing here reads a venue file: each venue has a function from a raw row to the columns, written
from the venue's documents.
"""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from fractions import Fraction
from typing import Any

import pytest

from feedd.capture.instruments import load_file
from feedd.venues.reference import InstrumentInfo
from tests.venues.references import CAPTURES, venue_of

pytestmark = pytest.mark.skipif(not CAPTURES.is_dir(), reason="../shared/captures is not here")

Columns = dict[str, Any]
Derived = Iterator[tuple[str, Columns]]


def bodies(file: str, url: str = "") -> Iterator[Any]:
    path = CAPTURES / file
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    for row in json.loads(text):
        if url in row.get("url", ""):
            yield json.loads(row["raw"])


def ms(value: Any) -> int:
    return int(value or 0) * 1_000_000


def iso(value: str | None) -> int:
    if not value:
        return 0
    moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    return round(moment.timestamp() * 1000) * 1_000_000


def num(value: Any) -> float:
    return float(Fraction(str(value))) if value not in ("", None) else math.nan


# ---- one function per venue ----------------------------------------------------------------------


def okx(body: Any) -> Derived:
    for row in body["data"]:
        kind = {"SPOT": "SPOT", "SWAP": "PERPETUAL", "FUTURES": "FUTURE", "OPTION": "OPTION"}
        derivative = row["instType"] != "SPOT"
        option = row["instType"] == "OPTION"
        base, quote = row["instId"].split("-")[:2]
        value = Fraction(row["ctVal"]) * Fraction(row["ctMult"]) if derivative else Fraction(1)
        inverse = row["ctType"] == "inverse" or (option and row["settleCcy"] == base)
        yield (
            row["instId"],
            {
                "kind": kind[row["instType"]],
                "base": base,
                "quote": row["settleCcy"] if option else quote,
                "settle": row["settleCcy"],
                "tick": num(row["tickSz"]),
                "lot": num(row["lotSz"]),
                "min_size": num(row["minSz"]),
                "contract_size": float(value),
                "contract": "INVERSE" if inverse else "LINEAR",
                "size_unit": "CONTRACTS" if derivative else "BASE",
                "strike": num(row["instId"].split("-")[3]) if option else math.nan,
                "option_type": {"C": 1, "P": -1}.get(row["instId"][-1], 0) if option else 0,
                "expiry": ms(row["expTime"]),
                "listed_ts": ms(row["listTime"]),
                "status": {"live": "ACTIVE", "suspend": "HALTED", "preopen": "PRE"}[row["state"]],
            },
        )


def binance_coinm(body: Any) -> Derived:
    for row in body["symbols"]:
        filters = {f["filterType"]: f for f in row["filters"]}
        base, end = re.fullmatch(r"(\w+)USD_(PERP|\d{6})", row["symbol"]).groups()  # type: ignore[union-attr]
        dated = end != "PERP"
        yield (
            row["symbol"],
            {
                "kind": "FUTURE" if dated else "PERPETUAL",
                "base": base,
                "quote": "USD",
                "settle": base,
                "underlying": base + "USD",
                "tick": num(filters["PRICE_FILTER"]["tickSize"]),
                "lot": num(filters["LOT_SIZE"]["stepSize"]),
                "min_size": num(filters["LOT_SIZE"]["minQty"]),
                "contract_size": 100.0 if base == "BTC" else 10.0,
                "contract": "INVERSE",
                "size_unit": "CONTRACTS",
                "expiry": iso(f"20{end[:2]}-{end[2:4]}-{end[4:]}T08:00:00Z") if dated else 0,
                "listed_ts": ms(row["onboardDate"]),
                "status": "ACTIVE",
            },
        )


def bybit(contract: str, unit: str) -> Callable[[Any], Derived]:
    def rows(body: Any) -> Derived:
        for row in body["result"]["list"]:
            lots = row["lotSizeFilter"]
            option = "optionsType" in row
            parts = row["symbol"].split("-")
            perpetual = "Perpetual" in row.get("contractType", "")
            spot = "contractType" not in row and not option
            yield (
                row["symbol"],
                {
                    "kind": "OPTION" if option else "SPOT" if spot else "PERPETUAL",
                    "base": parts[0] if option else row["baseCoin"],
                    "quote": row["quoteCoin"],
                    "settle": row.get("settleCoin", ""),
                    "tick": num(row["priceFilter"]["tickSize"]),
                    "lot": num(lots.get("qtyStep", lots.get("basePrecision"))),
                    "min_size": num(lots["minOrderQty"]),
                    "contract_size": 1.0,
                    "contract": contract,
                    "size_unit": unit,
                    "strike": num(parts[2]) if option else math.nan,
                    "option_type": {"C": 1, "P": -1}[parts[3]] if option else 0,
                    "expiry": 0 if spot else ms(row["deliveryTime"]),
                    "listed_ts": 0 if spot else ms(row["launchTime"]),
                    "status": "ACTIVE",
                },
            )
            assert spot or option or perpetual

    return rows


def coinbase(body: Any) -> Derived:
    for row in body["products"]:
        future = row["product_type"] == "FUTURE"
        details = row.get("future_product_details") or {}
        perpetual = bool(details.get("funding_interval"))
        yield (
            row["product_id"],
            {
                "kind": ("PERPETUAL" if perpetual else "FUTURE") if future else "SPOT",
                "base": details["contract_root_unit"]
                if future
                else row["product_id"].split("-")[0],
                "quote": "USD" if future else row["product_id"].split("-")[1],
                "settle": "USD" if future else "",
                "tick": num(row["price_increment"]),
                "lot": num(row["base_increment"]),
                "min_size": num(row["base_min_size"]),
                "contract_size": num(details["contract_size"]) if future else 1.0,
                "contract": "LINEAR",
                "size_unit": "CONTRACTS" if future else "BASE",
                "expiry": iso(details.get("contract_expiry")),
                "listed_ts": iso(row["new_at"]),
                "status": "ACTIVE",
            },
        )


def coinbase_exchange(body: Any) -> Derived:
    for row in body:
        base, quote = row["id"].split("-")
        halted = row["trading_disabled"] or row["cancel_only"] or row["status"] != "online"
        yield (
            row["id"],
            {
                "kind": "SPOT",
                "base": base,
                "quote": quote,
                "settle": "",
                "tick": num(row["quote_increment"]),
                "lot": num(row["base_increment"]),
                "min_size": num(row["base_min_size"]),
                "contract_size": 1.0,
                "contract": "LINEAR",
                "size_unit": "BASE",
                "status": "HALTED" if halted else "ACTIVE",
            },
        )


def kraken(body: Any) -> Derived:
    new = {"XBT": "BTC", "XDG": "DOGE"}
    for key, row in body["result"].items():
        if "wsname" not in row:
            assert key.endswith(".d")
            continue
        base, quote = (new.get(asset, asset) for asset in row["wsname"].split("/"))
        step = Fraction(1, 10 ** row["pair_decimals"])
        yield (
            f"{base}/{quote}",
            {
                "kind": "SPOT",
                "base": base,
                "quote": quote,
                "tick": float(Fraction(row["tick_size"]) if "tick_size" in row else step),
                "lot": float(Fraction(1, 10 ** row["lot_decimals"])),
                "min_size": num(row.get("ordermin")),
                "contract_size": 1.0,
                "contract": "LINEAR",
                "size_unit": "BASE",
                "status": "ACTIVE",
            },
        )


def kraken_futures(body: Any) -> Derived:
    for row in body["instruments"]:
        symbol = row["symbol"].upper() if row["symbol"].islower() else row["symbol"]
        prefix, pair = symbol.split("_")[:2]
        base = pair.removesuffix("USD").replace("XBT", "BTC")
        index = prefix in ("IN", "RR")
        inverse = prefix in ("PI", "FI")
        dated = prefix in ("FI", "FF")
        digits = row.get("contractValueTradePrecision", 0)
        yield (
            symbol,
            {
                "kind": "INDEX" if index else "FUTURE" if dated else "PERPETUAL",
                "base": base,
                "quote": "USD",
                "settle": "" if index else base if inverse else "USD",
                "tick": num(row.get("tickSize")),
                "lot": math.nan if index else float(Fraction(10) ** -digits),
                "contract_size": math.nan if index else 1.0,
                "contract": "UNKNOWN" if index else "INVERSE" if inverse else "LINEAR",
                "size_unit": "UNKNOWN" if index else "CONTRACTS" if inverse else "BASE",
                "expiry": iso(row.get("lastTradingTime")),
                "listed_ts": iso(row.get("openingDate")),
                "status": "ACTIVE" if row["tradeable"] else "HALTED",
            },
        )


def bitget_spot(body: Any) -> Derived:
    for row in body["data"]:
        assert row["symbol"] == row["baseCoin"] + row["quoteCoin"] + "_SPBL"
        yield (
            row["baseCoin"] + row["quoteCoin"],
            {
                "kind": "SPOT",
                "base": row["baseCoin"],
                "quote": row["quoteCoin"],
                "tick": float(Fraction(1, 10 ** int(row["priceScale"]))),
                "lot": float(Fraction(1, 10 ** int(row["quantityScale"]))),
                "min_size": num(row["minTradeAmount"]) or math.nan,  # 0: none
                "contract_size": 1.0,
                "contract": "LINEAR",
                "size_unit": "BASE",
                "status": "ACTIVE",
            },
        )


def bitmex(body: Any) -> Derived:
    for row in body if isinstance(body, list) else [body]:
        satoshi = Fraction(1, 100_000_000)
        spread = row["typ"] == "FFMCSX"
        inverse = row["isInverse"] or spread
        if row["isInverse"]:  # |multiplier| satoshi per contract at a price of 1
            size = -row["multiplier"] * satoshi
        elif spread:
            size = -row["underlyingToSettleMultiplier"] * satoshi
        elif row["isQuanto"]:
            size = row["multiplier"] * satoshi
        else:  # all linear ones recorded are quoted and settled in bitcoin
            assert row["quoteCurrency"] == "XBT"
            size = row["multiplier"] * satoshi
        kind = {"FFWCSX": "PERPETUAL", "FFCCSX": "FUTURE", "FFMCSX": "COMBO"}
        yield (
            row["symbol"],
            {
                "kind": kind[row["typ"]],
                "base": row["underlying"],
                "quote": row["quoteCurrency"],
                "settle": "XBT",
                "tick": num(row["tickSize"]),
                "lot": num(row["lotSize"]),
                "min_size": num(row["lotSize"]),
                "contract_size": float(size),
                "contract": "INVERSE" if inverse else "QUANTO" if row["isQuanto"] else "LINEAR",
                "size_unit": "CONTRACTS",
                "expiry": iso(row.get("expiry")),
                "listed_ts": iso(row["listing"]),
                "status": "ACTIVE",
            },
        )


def bitfinex(body: Any) -> Derived:
    (pairs,) = body
    for pair in pairs:
        base, quote = pair.split(":") if ":" in pair else (pair[:3], pair[3:])
        perpetual = base.endswith("F0") and quote.endswith("F0")
        if perpetual:
            base, quote = base[:-2], quote[:-2]
        yield (
            "t" + pair,
            {
                "kind": "PERPETUAL" if perpetual else "SPOT",
                "base": base,
                "quote": quote,
                "settle": quote if perpetual else "",
                "tick": math.nan,
                "lot": math.nan,
                "contract_size": 1.0,
                "contract": "LINEAR",
                "size_unit": "BASE",
                "status": "ACTIVE",
            },
        )


def hyperliquid(body: Any) -> Derived:
    collateral = {0: "USDC", 235: "USDE", 360: "USDH"}
    for part in body if isinstance(body, list) else [body]:
        for row in part["universe"]:
            yield (
                row["name"],
                {
                    "kind": "PERPETUAL",
                    "base": row["name"].split(":")[-1],
                    "quote": "USD",
                    "settle": collateral[part.get("collateralToken", 0)],
                    "tick": math.nan,
                    "lot": float(Fraction(1, 10 ** row["szDecimals"])),
                    "price_decimals": 6 - row["szDecimals"],
                    "size_decimals": row["szDecimals"],
                    "contract_size": 1.0,
                    "contract": "LINEAR",
                    "size_unit": "BASE",
                    "status": "ACTIVE",
                },
            )


# ---- the comparison ------------------------------------------------------------------------------

NAUTILUS = "rest_nautilus_http_"
CASES = [
    ("okx", "okx/rest_cf_20210722_books_l2_tbt.json.gz", "instruments", okx, 1_100),
    ("okx", "okx/rest_cf_20220513_books.json.gz", "instruments", okx, 1_400),
    *(("okx", f"okx/{NAUTILUS}get_instruments_{k}.json", "", okx, n)
      for k, n in (("spot", 5), ("swap", 3), ("futures", 6), ("option", 4))),
    ("binance_coinm", "binance_coinm/rest_cf_20210722.json", "exchangeInfo", binance_coinm, 36),
    *((f"bybit_{k.split('_')[0]}", f"bybit/{NAUTILUS}get_instruments_{k}.json", "",
       bybit("INVERSE" if "inverse" in k else "LINEAR", "QUOTE" if "inverse" in k else "BASE"), n)
      for k, n in (("spot", 2), ("spot_xstocks", 1), ("linear", 2), ("linear_symbol_type", 1),
                   ("inverse", 1), ("inverse_symbol_type", 1), ("option", 1),
                   ("option_symbol_id", 1))),
    ("coinbase", f"coinbase/{NAUTILUS}products.json", "", coinbase, 2),
    ("coinbase", f"coinbase/{NAUTILUS}products_future.json", "", coinbase, 2),
    ("coinbase_exchange", "coinbase/rest_cf_20210417_exchange.json", "", coinbase_exchange, 160),
    ("kraken", "kraken/rest_cf_20210417_v1.json", "AssetPairs", kraken, 290),
    ("kraken", f"kraken/{NAUTILUS}asset_pairs.json", "", kraken, 1),
    ("kraken", f"kraken/{NAUTILUS}asset_pairs_tokenized.json", "", kraken, 1),
    ("kraken_futures", "kraken_futures/rest_cf_20210417.json", "", kraken_futures, 27),
    ("kraken_futures", f"kraken_futures/{NAUTILUS}futures_instruments.json", "", kraken_futures, 4),
    ("kraken_futures", f"kraken_futures/{NAUTILUS}futures_instrument_no_fee_schedule.json", "",
     kraken_futures, 1),
    ("bitget_spot", "bitget/rest_cf_20220403_v1.json", "", bitget_spot, 240),
    ("bitmex", "bitmex/rest_cf_20210722.json", "", bitmex, 34),
    ("bitmex", f"bitmex/{NAUTILUS}get_instrument_xbtusd.json", "", bitmex, 1),
    ("bitmex", f"bitmex/{NAUTILUS}get_instrument_xbtm26_xbtu26_spread.json", "", bitmex, 1),
    ("bitfinex", "bitfinex/rest_cf_20210417.json", "list:pair", bitfinex, 320),
    ("hyperliquid", f"hyperliquid/{NAUTILUS}meta_perp_sample.json", "", hyperliquid, 3),
    ("hyperliquid", f"hyperliquid/{NAUTILUS}all_perp_metas_non_usdc_collateral.json", "",
     hyperliquid, 3),
]  # fmt: skip


def shown(info: InstrumentInfo, column: str) -> Any:
    value = getattr(info, column)
    return value.name if column in ("kind", "contract", "size_unit", "status") else value


def same(a: Any, b: Any) -> bool:
    return bool(a == b or (a != a and b != b))


@pytest.mark.parametrize(("venue", "file", "url", "derive", "least"), CASES)
def test_columns_of_recorded_rows(
    venue: str, file: str, url: str, derive: Callable[[Any], Derived], least: int
) -> None:
    wanted: dict[str, Columns] = {}
    for body in bodies(file, url):
        wanted.update(derive(body))
    loaded = load_file(venue_of(venue), CAPTURES / file)
    found = {info.symbol: info for info in loaded.instruments}
    assert len(found) >= least
    assert set(found) == set(wanted)
    for symbol, columns in wanted.items():
        for column, value in columns.items():
            is_ = shown(found[symbol], column)
            assert same(is_, value), f"{symbol} {column}: {is_!r}, wanted {value!r}"


@pytest.mark.parametrize("file", ["ticker.json", "trades.json", "ohlc.json", "order_book.json"])
def test_other_answers_list_no_instruments(file: str) -> None:
    loaded = load_file(venue_of("kraken"), CAPTURES / "kraken" / f"{NAUTILUS}{file}")
    assert loaded.instruments == []
