"""The recordings beside the project, with what is known about them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fixtures.sessions import SESSIONS
from tests.reference import Result
from tests.reference import decode as reference_decode

from .cli import ROOT

CAPTURES = ROOT.parent / "shared" / "captures"


@dataclass(frozen=True)
class Recording:
    """Files of one session; the counts are those of its index, not of any decoder."""

    venue: str
    files: tuple[str, ...]
    trades: int
    quotes: int
    checked_tops: int  # quotes (Deribit: tickers) whose number (time) a book line shares
    books: int
    is_big: bool = False
    folder: str = ""  # where several venues share one
    state: str = "live"  # of every book at the end

    @property
    def name(self) -> str:
        """For test ids."""
        return f"{self.venue}/{self.files[0].removesuffix('.gz').removesuffix('.jsonl')}"

    def paths(self) -> tuple[Path, ...]:
        """The files, or a skip when they are not there."""
        return capture_paths(self.folder or self.venue, *self.files)


def capture_paths(folder: str, *files: str) -> tuple[Path, ...]:
    """Paths of recordings; skips the test that asks when the recordings are not there."""
    paths = tuple(CAPTURES / folder / name for name in files)
    for path in paths:
        if not path.exists():
            pytest.skip(f"no recording {path}: put the captures beside the project to run this")
    return paths


RECORDINGS = (
    Recording("deribit", ("cf_20210405_options.jsonl.gz",), 0, 0, 88, 10),
    Recording("deribit", ("cf_20210722_options.jsonl.gz",), 0, 0, 37, 10),
    Recording("deribit", ("fm_20260913_testnet_option_100ms.jsonl.gz",), 0, 0, 1, 1),
    Recording("deribit", ("fm_20260913_testnet_perp_100ms.jsonl.gz",), 3, 0, 0, 1),
    Recording(
        "binance_spot",
        ("cf_20210405.jsonl.gz", "rest_cf_20210405.json.gz"),
        1240,
        5408,
        1152,
        10,
    ),
    Recording("binance_spot", ("cf_20210814.jsonl.gz", "rest_cf_20210814.json.gz"), 28, 412, 96, 4),
    Recording("binance_spot", ("hft_20240808_btcusdt.jsonl.gz",), 9757, 28040, 564, 1, True),
    Recording("binance_usdm", ("cf_20210405.jsonl.gz", "rest_cf_20210405.json"), 574, 3424, 215, 5),
    Recording("binance_usdm", ("cf_20210722.jsonl.gz", "rest_cf_20210722.json"), 91, 613, 50, 4),
    Recording("binance_usdm", ("hft_20240808_btcusdt.jsonl.gz",), 21313, 66089, 503, 1, True),
    Recording(
        "binance_coinm", ("cf_20210722.jsonl.gz", "rest_cf_20210722.json"), 51, 2240, 209, 10
    ),
    Recording("binance_coinm", ("hft_20240808_btcusd_perp.jsonl.gz",), 2286, 19136, 1124, 1, True),
    Recording("bybit_linear", ("cf_20250613_v5_ob1.c1.jsonl.gz",), 0, 182, 0, 0, folder="bybit"),
    Recording("bybit_spot", ("cf_20250613_v5_ob1.c2.jsonl.gz",), 0, 94, 0, 0, folder="bybit"),
    Recording("bybit_linear", ("nt_ob500_xrpusdt.jsonl.gz",), 0, 0, 0, 1, folder="bybit"),
    Recording(
        "coinbase_exchange", ("cf_20210417_exchange.jsonl.gz",), 107, 0, 0, 10, folder="coinbase"
    ),
    Recording("kraken", ("dc_20260818_v2_minagbp_d25_resync.jsonl.gz",), 0, 0, 0, 1),
    Recording("okx", ("cf_20210722_books_l2_tbt.c1.jsonl.gz",), 36, 0, 0, 10),
    Recording("okx", ("cf_20220513_books.jsonl.gz",), 74, 0, 0, 3),
    Recording(
        "okx", ("fm_20260926_swap_midstream_checksum0.jsonl.gz",), 2, 22, 0, 1, state="syncing"
    ),
    Recording("kraken_futures", ("cf_20210417.jsonl.gz",), 1003, 0, 0, 10),
    Recording("hyperliquid", ("hft_20250126_btc.jsonl.gz",), 64, 0, 0, 1),
    Recording("bitmex", ("cf_20210722.jsonl.gz",), 27, 436, 0, 10),
    Recording("bitfinex", ("cf_20210405.jsonl.gz",), 248, 58, 0, 8),
)
VENUES = tuple(SESSIONS)  # the venues with a made-up session
SMALL = {
    "deribit": RECORDINGS[1],
    "binance_spot": RECORDINGS[5],
    "binance_usdm": RECORDINGS[8],
    "binance_coinm": RECORDINGS[10],
    "bybit_linear": RECORDINGS[14],
    "coinbase_exchange": RECORDINGS[15],
    "kraken": RECORDINGS[16],
    "okx": RECORDINGS[18],
    "kraken_futures": RECORDINGS[20],
    "hyperliquid": RECORDINGS[21],
    "bitmex": RECORDINGS[22],
    "bitfinex": RECORDINGS[23],
}
EXAMPLES = {venue: venue for venue in VENUES} | {
    "bybit_inverse": "bybit",
    "bybit_linear": "bybit",
    "bybit_option": "bybit",
    "bybit_spot": "bybit",
    "coinbase_exchange": "coinbase",
}  # folder of the venue's example messages


@functools.lru_cache(maxsize=len(RECORDINGS))
def reference_once(venue: str, paths: tuple[Path, ...]) -> Result:
    """The reference's answer, worked out once for the tests that follow each other."""
    return reference_decode(venue, paths)
