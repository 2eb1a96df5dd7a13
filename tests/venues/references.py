"""The venues whose lists of instruments are tested, and where the recordings are."""

from __future__ import annotations

from pathlib import Path

from feedd import venues
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
    """The built-in venue of this name."""
    return venues.load(name)
