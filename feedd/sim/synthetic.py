"""The seeded market as the source of messages."""

from __future__ import annotations

from collections.abc import Mapping

from feedd.sim.engine import Engine
from feedd.sim.exchange import Exchange
from feedd.sim.instruments import DERIBIT
from feedd.sim.market_binance import BinanceBook
from feedd.sim.market_deribit import DeribitMarket
from feedd.sim.source import BOOK_DEPTHS, Params, RefusalError, check_instrument_query


class SyntheticSource:
    """The seeded market."""

    def __init__(self, engine: Engine, allow_raw: bool) -> None:
        self.engine = engine
        self.exchanges: Mapping[str, Exchange] = engine.exchanges
        self.allow_raw = allow_raw

    def subscribed(self) -> None:
        """Nothing to do: the market lives on its own."""

    def start(self) -> None:
        self.engine.start()

    def stop(self) -> None:
        self.engine.stop()

    def run_due(self, now_ns: int) -> None:
        self.engine.run_due(now_ns)

    def status(self) -> dict[str, object]:
        engine = self.engine
        return {
            "source": "synthetic",
            "running": engine.running,
            "ticks": engine.ticks,
            "lost_ms": engine.lost_ms,
            "venue_time_ms": engine.time.now_ms,
        }

    def symbols(self, venue: str) -> list[str]:
        return [symbol for name, symbol in self.engine.markets if name == venue]

    def deribit_instruments(self, params: Params) -> list[dict[str, object]]:
        currency, kind = check_instrument_query(params)
        if str(params.get("expired", "false")).lower() == "true":
            return []
        return [
            info
            for info in self.engine.reference(DERIBIT)
            if currency in ("any", info["base_currency"]) and kind in ("any", info["kind"])
        ]

    def deribit_order_book(self, params: Params) -> tuple[str, str]:
        name = str(params.get("instrument_name", ""))
        market = self.engine.market(DERIBIT, name)
        if not isinstance(market, DeribitMarket):
            raise RefusalError(13020, "not_found", {"param": "instrument_name", "reason": name})
        depth = str(params.get("depth", "5"))
        if not depth.isdigit() or int(depth) not in BOOK_DEPTHS:
            reason = f"must be one of {', '.join(map(str, BOOK_DEPTHS))}"
            raise RefusalError(-32602, "Invalid params", {"param": "depth", "reason": reason})
        return market.order_book(int(depth))

    def binance_depth(self, venue: str, symbol: str, limit: int) -> tuple[str, str]:
        market = self.engine.market(venue, symbol)
        if not isinstance(market, BinanceBook):
            raise RefusalError(-1121, "Invalid symbol.")
        return market.snapshot(limit)

    def exchange_info(self, venue: str) -> str:
        return self.engine.exchange_info(venue)
