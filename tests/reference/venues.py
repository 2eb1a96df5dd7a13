"""Which module knows which venue."""

from __future__ import annotations

from .binance import Binance
from .binance_options import BinanceOptions
from .bitfinex import Bitfinex
from .bitget import Bitget
from .bitmex import BitMEX
from .bybit import Bybit
from .coinbase import Coinbase, CoinbaseExchange
from .deribit import Deribit
from .gate import Gate
from .hyperliquid import Hyperliquid
from .kraken import Kraken
from .kraken_futures import KrakenFutures
from .okx import Okx
from .venue import Venue

VENUES: dict[str, type[Venue]] = {
    "binance_coinm": Binance,
    "binance_options": BinanceOptions,
    "binance_spot": Binance,
    "binance_usdm": Binance,
    "bitfinex": Bitfinex,
    "bitget_futures": Bitget,
    "bitget_spot": Bitget,
    "bitmex": BitMEX,
    "bybit_inverse": Bybit,
    "bybit_linear": Bybit,
    "bybit_option": Bybit,
    "bybit_spot": Bybit,
    "coinbase": Coinbase,
    "coinbase_exchange": CoinbaseExchange,
    "deribit": Deribit,
    "gate": Gate,
    "gate_futures": Gate,
    "hyperliquid": Hyperliquid,
    "kraken": Kraken,
    "kraken_futures": KrakenFutures,
    "okx": Okx,
}
