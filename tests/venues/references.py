"""The ``[reference]`` tables of all venues, those included whose other parts are not there yet."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from feedd import venues
from feedd.venues.reference_schema import Reference
from feedd.venues.schema import Venue

ROOT = Path(__file__).resolve().parents[2]
CAPTURES = ROOT.parent / "shared" / "captures"
NAMES = (
    "deribit", "binance_spot", "binance_usdm", "binance_coinm", "binance_options", "okx",
    "bybit_spot", "bybit_linear", "bybit_inverse", "bybit_option", "coinbase", "coinbase_exchange",
    "kraken", "kraken_futures", "bitget_spot", "bitget_futures", "gate", "gate_futures",
    "hyperliquid", "bitmex", "bitfinex", "crypto_com", "bitstamp",
)  # fmt: skip


def venue_of(name: str) -> Venue:
    """The venue; before its file is complete, its reference table in another venue's clothes."""
    if name in venues.names():
        return venues.load(name)
    table = tomllib.loads((ROOT / "venues_wip" / f"{name}.reference.toml").read_text())["reference"]
    reference = msgspec.convert(table, Reference)
    return msgspec.structs.replace(
        venues.load("binance_usdm"), name=name, reference=reference, rest_url="https://example.com"
    )
