"""Where messages come from: what sessions and REST ask of a market or a capture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from feedd.sim.exchange import Exchange

BOOK_DEPTHS = (1, 5, 10, 20, 50, 100, 1_000, 10_000)
CURRENCIES = ("BTC", "ETH", "USDC", "USDT", "EURR", "any")
KINDS = ("future", "option", "spot", "future_combo", "option_combo", "any")

Params = dict[str, object]


class RefusalError(Exception):
    """A venue's error answer: its code and words, and the HTTP status that goes with it."""

    def __init__(self, code: int, message: str, data: object = None, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data
        self.status = status


class Source(Protocol):
    """The synthetic market or a capture."""

    allow_raw: bool
    exchanges: Mapping[str, Exchange]
    """The venues that are simulated; empty where a recording is played."""

    def subscribed(self) -> None:
        """Somebody subscribed to something new."""

    def start(self) -> None:
        """Go on sending."""

    def stop(self) -> None:
        """Send nothing more; final books go to the journal."""

    def run_due(self, now_ns: int) -> None:
        """Send what is due at this monotonic time."""

    def status(self) -> dict[str, object]:
        """What the status page says about the source."""

    def symbols(self, venue: str) -> list[str]:
        """The venue's instruments."""

    def deribit_instruments(self, params: Params) -> list[dict[str, object]]:
        """Result of public/get_instruments; raises RefusalError."""

    def deribit_order_book(self, params: Params) -> tuple[str, str]:
        """Result text and journal event of public/get_order_book; raises RefusalError."""

    def binance_depth(self, venue: str, symbol: str, limit: int) -> tuple[str, str]:
        """Body and journal event of a depth request; raises RefusalError."""

    def exchange_info(self, venue: str) -> str:
        """Body of exchangeInfo."""


def check_instrument_query(params: Params) -> tuple[str, str]:
    """Currency and kind of a get_instruments query; raises RefusalError."""
    currency, kind = str(params.get("currency", "")), str(params.get("kind", "any"))
    for param, value, choices in (("currency", currency, CURRENCIES), ("kind", kind, KINDS)):
        if value not in choices:
            reason = f"must be one of {', '.join(choices)}"
            raise RefusalError(-32602, "Invalid params", {"param": param, "reason": reason})
    return currency, kind
