"""BitMEX as a simulated venue."""

from __future__ import annotations

import json
from typing import ClassVar
from urllib.parse import urlsplit

from feedd.sim.connection import Connection
from feedd.sim.exchange import Exchange, RestAnswer, RestRequest, World
from feedd.sim.instruments import Spec
from feedd.sim.market import Market
from feedd.sim.market_bitmex import BITMEX, BitmexMarket, bitmex_specs
from feedd.sim.session_bitmex import SUBSCRIPTIONS_PER_HOUR, BitmexConnection
from feedd.sim.session_limits import Limit

REST_PER_MINUTE = 30
DEFAULT_DEPTH = 25


class BitmexExchange(Exchange):
    """Inverse, quanto and linear contracts, and spot."""

    name = BITMEX
    steady = 10.0
    connects = (60, 3_600.0)
    symbol_key = "symbol"
    words: ClassVar = {"active": "Open", "halted": "Closed", "ended": "Settled"}

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._hourly = Limit(SUBSCRIPTIONS_PER_HOUR, 3_600.0, self.config.limits)
        self._requests = Limit(REST_PER_MINUTE, 60.0, self.config.limits)

    @classmethod
    def specs(cls, epoch_ms: int) -> list[Spec]:
        return bitmex_specs()

    def market(self, spec: Spec) -> Market:
        return BitmexMarket(spec, self.hub, self.time, self.config.seed)

    def connection(self, path: str) -> Connection | None:
        if urlsplit(path).path.rstrip("/") != "/realtime":
            return None
        symbols = tuple(self.markets)
        return BitmexConnection(self.hub, self.config, path, self.name, symbols, self._hourly)

    def tell_state(self, market: Market) -> None:
        if isinstance(market, BitmexMarket):
            market.send_state()

    def rest(self, request: RestRequest) -> RestAnswer | None:
        if request.path not in ("/api/v1/instrument/active", "/api/v1/orderBook/L2"):
            return None
        if not self._requests.allow():
            words = "Rate limit exceeded, retry in 1 seconds."
            return RestAnswer(_error(words, "RateLimitError"), 429, {"Retry-After": "1"})
        if request.path.endswith("/active"):
            return RestAnswer(json.dumps([market.reference() for market in self.listed]))
        market = self.markets.get(self.rest_symbol(request))
        depth = request.query.get("depth", str(DEFAULT_DEPTH))
        if not depth.isdigit():
            return RestAnswer(_error("'depth' must be a positive integer.", "ValidationError"), 400)
        if not isinstance(market, BitmexMarket):
            return RestAnswer("[]")
        return RestAnswer(market.order_book(int(depth) or None))

    def rest_refusal(self, status: int) -> str:
        if status == 503:
            return _error(
                "The system is currently overloaded. Please try again later.", "HTTPError"
            )
        return _error(f"status {status}", "HTTPError")


def _error(message: str, name: str) -> str:
    return json.dumps({"error": {"message": message, "name": name}})
