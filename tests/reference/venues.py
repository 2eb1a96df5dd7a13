"""Which module knows which venue."""

from __future__ import annotations

from .binance import Binance
from .binance_options import BinanceOptions
from .bybit import Bybit
from .coinbase import Coinbase, CoinbaseExchange
from .deribit import Deribit
from .kraken import Kraken
from .okx import Okx
from .venue import Venue

VENUES: dict[str, type[Venue]] = {
    "binance_coinm": Binance,
    "binance_options": BinanceOptions,
    "binance_spot": Binance,
    "binance_usdm": Binance,
    "bybit_inverse": Bybit,
    "bybit_linear": Bybit,
    "bybit_option": Bybit,
    "bybit_spot": Bybit,
    "coinbase": Coinbase,
    "coinbase_exchange": CoinbaseExchange,
    "deribit": Deribit,
    "kraken": Kraken,
    "okx": Okx,
}
