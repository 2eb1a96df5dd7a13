"""What the demo subscribes to, venue by venue: everything of a venue that yields records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.resources import files

from feedd.errors import StartError
from feedd.sim.venues import choose

__all__ = ["DEMO_CHANNELS", "Subscription", "known_venues"]


@dataclass(frozen=True, slots=True)
class Subscription:
    """Channels of a venue's file, options of their topics, and the symbols that these suit."""

    channels: tuple[str, ...]
    options: dict[str, str] = field(default_factory=dict)
    symbols: str = "*"
    """A shell pattern."""

    def suits(self, symbol: str) -> bool:
        """Whether an instrument is one of ``symbols``."""
        return fnmatchcase(symbol, self.symbols)


_BYBIT_FUTURES = Subscription(
    ("orderbook", "orderbook1", "publicTrade", "tickers", "allLiquidation"),
    {"orderbook.levels": "50"},
)

DEMO_CHANNELS: dict[str, Subscription] = {
    "deribit": Subscription(("book", "trades", "ticker", "quote"), {"interval": "100ms"}),
    "binance_usdm": Subscription(
        ("depth", "bookTicker", "aggTrade", "markPrice", "forceOrder"),
        {"depth.rate": "100ms", "markPrice.rate": "1s"},
    ),
    "binance_spot": Subscription(("depth", "bookTicker", "trade"), {"rate": "100ms"}),
    "binance_coinm": Subscription(
        ("depth", "bookTicker", "aggTrade", "markPrice", "forceOrder"),
        {"depth.rate": "100ms", "markPrice.rate": "1s"},
    ),
    "binance_options": Subscription(
        ("depth", "bookTicker", "trade", "markPrice"), {"depth.rate": "100ms"}
    ),
    "okx": Subscription(
        (
            "books", "bbo-tbt", "trades", "tickers", "mark-price", "open-interest", "funding-rate",
            "liquidation-orders", "opt-summary",
        )
    ),
    "bybit_spot": Subscription(
        ("orderbook", "orderbook1", "publicTrade", "tickers"), {"orderbook.levels": "50"}
    ),
    "bybit_linear": _BYBIT_FUTURES,
    "bybit_inverse": _BYBIT_FUTURES,
    "bybit_option": Subscription(
        ("orderbook", "publicTrade", "tickers"), {"orderbook.levels": "25"}
    ),
    "coinbase": Subscription(("level2", "market_trades", "ticker")),
    "coinbase_exchange": Subscription(("level2_batch", "matches", "ticker")),
    "kraken": Subscription(("book", "trade", "ticker"), {"book.depth": "25"}),
    "kraken_futures": Subscription(("book", "trade", "ticker")),
    "bitget_spot": Subscription(("books", "books1", "trade", "ticker")),
    # The option ``type`` names one family for all, USDT-FUTURES where nothing is said.
    "bitget_futures": Subscription(("books", "books1", "trade", "ticker"), symbols="*USDT"),
    "gate": Subscription(("obu", "book_ticker", "trades", "tickers")),
    "gate_futures": Subscription(
        ("obu", "book_ticker", "trades", "tickers", "public_liquidates"), {"obu.levels": "50"}
    ),
    "hyperliquid": Subscription(("l2Book", "bbo", "trades", "activeAssetCtx")),
    "bitmex": Subscription(
        ("orderBookL2", "quote", "trade", "instrument", "funding", "liquidation")
    ),
    "bitfinex": Subscription(("book", "trades", "ticker", "deriv", "liquidations")),
}  # fmt: skip


def known_venues(text: str) -> tuple[str, ...]:
    """Venues named as for ``feedd sim --venues``; with ``all`` those that feedd has a file for.

    Raises StartError for a venue that the demo cannot subscribe to.
    """
    wanted = choose(text)
    missing = [name for name in wanted if name not in DEMO_CHANNELS or not _has_file(name)]
    if text.strip() == "all":
        return tuple(name for name in wanted if name not in missing)
    if missing:
        raise StartError(f"--venues: feedd has no venue file for {_list(missing)}")
    return wanted


def _has_file(name: str) -> bool:
    return (files("feedd") / "venues" / f"{name}.toml").is_file()


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
