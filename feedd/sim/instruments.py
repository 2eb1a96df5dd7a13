"""The synthetic venues' instruments and how each is written on the wire."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

DERIBIT = "deribit"
USDM = "binance_usdm"
SPOT = "binance_spot"
COINM = "binance_coinm"
OPTIONS = "binance_options"
RECORDED = (DERIBIT, USDM, SPOT)
"""Venues whose recordings can be played."""

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_EXPIRY_HOUR = 8
_MIN_DAYS_TO_EXPIRY = 45


@dataclass(frozen=True, slots=True)
class Spec:
    """One instrument.

    A price is ``ticks * tick / 10**price_decimals``, a size ``lots * lot / 10**size_decimals``.
    ``share`` is its part of the market's activity, ``depth`` the levels a side it tends to.
    """

    venue: str
    symbol: str
    kind: str
    base: str
    quote: str
    settle: str
    price_decimals: int
    tick: int
    size_decimals: int
    lot: int
    start: int
    depth: int
    share: float
    typical: int
    contract_size: str = "1.0"
    strike: int = 0
    option_type: str = ""
    expiry_ms: int = 0
    expiry_name: str = ""

    @property
    def name(self) -> str:
        """The name feedd gives it: ``venue:SYMBOL``."""
        return f"{self.venue}:{self.symbol}"


def quarterly_expiry(epoch_ms: int) -> datetime.datetime:
    """The first quarter-end Friday, 08:00 UTC, at least 45 days after ``epoch_ms``."""
    start = datetime.datetime.fromtimestamp(epoch_ms / 1000, datetime.UTC)
    earliest = start + datetime.timedelta(days=_MIN_DAYS_TO_EXPIRY)
    year, quarter = earliest.year, (earliest.month - 1) // 3
    while True:
        month = quarter * 3 + 3
        after = datetime.datetime(
            year + month // 12, month % 12 + 1, 1, _EXPIRY_HOUR, tzinfo=datetime.UTC
        )
        last = after - datetime.timedelta(days=1)
        friday = last - datetime.timedelta(days=(last.weekday() - 4) % 7)
        if friday >= earliest:
            return friday
        quarter += 1
        if quarter == 4:
            year, quarter = year + 1, 0


def deribit_specs(epoch_ms: int) -> list[Spec]:
    expiry = quarterly_expiry(epoch_ms)
    code = f"{expiry.day}{MONTHS[expiry.month - 1]}{expiry.year % 100:02d}"
    expiry_ms = int(expiry.timestamp()) * 1000
    specs = [
        Spec(
            DERIBIT, "BTC-PERPETUAL", "perpetual", "BTC", "USD", "BTC",
            1, 5, 0, 10, 184_600, 350, 0.15, 900, "10.0",
        ),
        Spec(
            DERIBIT, "ETH-PERPETUAL", "perpetual", "ETH", "USD", "ETH",
            2, 5, 0, 1, 62_100, 300, 0.11, 4_000, "1.0",
        ),
    ]  # fmt: skip
    options = (("BTC", 100_000, "C", 120), ("BTC", 85_000, "P", 90), ("ETH", 3_300, "C", 130),
               ("ETH", 2_900, "P", 110))  # fmt: skip
    for base, strike, letter, start in options:
        size_decimals = 1 if base == "BTC" else 0
        specs.append(
            Spec(
                DERIBIT, f"{base}-{code}-{strike}-{letter}", "option", base, base, base,
                4, 5, size_decimals, 1, start, 40, 0.02, 120, "1.0",
                strike, "call" if letter == "C" else "put", expiry_ms, code,
            )
        )  # fmt: skip
    return specs


def usdm_specs() -> list[Spec]:
    return [
        Spec(USDM, "BTCUSDT", "perpetual", "BTC", "USDT", "USDT",
             2, 10, 3, 1, 923_000, 400, 0.20, 900),
        Spec(USDM, "ETHUSDT", "perpetual", "ETH", "USDT", "USDT",
             2, 1, 3, 1, 310_500, 380, 0.12, 6_000),
        Spec(USDM, "SOLUSDT", "perpetual", "SOL", "USDT", "USDT",
             4, 100, 0, 1, 14_120, 320, 0.08, 60),
    ]  # fmt: skip


def spot_specs() -> list[Spec]:
    return [
        Spec(SPOT, "BTCUSDT", "spot", "BTC", "USDT", "", 8, 1_000_000, 8, 1_000,
             9_230_000, 400, 0.12, 30_000),
        Spec(SPOT, "ETHUSDT", "spot", "ETH", "USDT", "", 8, 1_000_000, 8, 10_000,
             310_500, 360, 0.08, 20_000),
        Spec(SPOT, "SOLUSDT", "spot", "SOL", "USDT", "", 8, 1_000_000, 8, 100_000,
             14_120, 300, 0.06, 9_000),
    ]  # fmt: skip
