"""Bitfinex as a simulated venue."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from feedd.sim.connection import Connection
from feedd.sim.exchange import Exchange, RestAnswer, RestRequest, World
from feedd.sim.instruments import Spec
from feedd.sim.market import Market
from feedd.sim.market_bitfinex import BITFINEX, LENGTHS, BitfinexMarket, bitfinex_specs
from feedd.sim.session_bitfinex import BitfinexConnection
from feedd.sim.session_limits import Limit

REST_PER_MINUTE = 90
CONFIGS = {
    "pub:info:pair": ("spot", True),
    "pub:info:pair:futures": ("perpetual", True),
    "pub:list:pair:exchange": ("spot", False),
    "pub:list:pair:futures": ("perpetual", False),
}
"""Kind of instrument and whether its details are listed, by the name of the list."""


class BitfinexExchange(Exchange):
    """Pairs and perpetuals; REST answers are arrays of arrays."""

    name = BITFINEX
    steady = 15.0
    connects = (20, 60.0)

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._requests = Limit(REST_PER_MINUTE, 60.0, self.config.limits)

    @classmethod
    def specs(cls, epoch_ms: int) -> list[Spec]:
        return bitfinex_specs()

    def market(self, spec: Spec) -> Market:
        return BitfinexMarket(spec, self.hub, self.time, self.config.seed)

    def connection(self, path: str) -> Connection | None:
        if urlsplit(path).path.rstrip("/") != "/ws/2":
            return None
        clock = self.time
        return BitfinexConnection(self.hub, self.config, path, self.name, lambda: clock.now_ms)

    def rest(self, request: RestRequest) -> RestAnswer | None:
        parts = request.path.strip("/").split("/")
        if parts[:1] != ["v2"] or len(parts) < 2:
            return None
        if not self._requests.allow():
            return RestAnswer('{"error":"ERR_RATE_LIMIT"}', 429)
        if parts[1] == "conf" and len(parts) == 3:
            return RestAnswer(json.dumps([self._config(name) for name in parts[2].split(",")]))
        if parts[1:] == ["status", "deriv"]:
            return self._status(request.query.get("keys", ""))
        if parts[1:] == ["platform", "status"]:
            return RestAnswer("[1]")
        if parts[1] == "book" and len(parts) == 4:
            return self._book(parts[2], parts[3], request.query.get("len", LENGTHS[1]))
        return None

    def _config(self, name: str) -> list[object]:
        """One list of the configuration; an unknown one is empty."""
        kind, details = CONFIGS.get(name, ("", False))
        found: list[object] = []
        for market in self.markets.values():
            if market.spec.kind != kind:
                continue
            info = market.reference()
            row = [None, None, None, info["least"], "2000.0", None, None, None, None, None]
            found.append([info["pair"], row] if details else info["pair"])
        return found

    def _status(self, keys: str) -> RestAnswer:
        wanted = keys.split(",")
        rows = [
            f'["{symbol}",{market.status_row()}]'
            for symbol, market in self.markets.items()
            if isinstance(market, BitfinexMarket)
            and market.figures is not None
            and (keys == "ALL" or symbol in wanted)
        ]
        return RestAnswer("[" + ",".join(rows) + "]")

    def _book(self, symbol: str, precision: str, length: str) -> RestAnswer:
        market = self.markets.get(symbol)
        if not isinstance(market, BitfinexMarket):
            return RestAnswer('["error",10020,"symbol: invalid"]', 500)
        if precision != "P0" or length not in LENGTHS:
            return RestAnswer('["error",10020,"len: invalid"]', 500)
        return RestAnswer(market.levels_body(*market.best(int(length))))

    def rest_symbol(self, request: RestRequest) -> str:
        parts = request.path.strip("/").split("/")
        return parts[2] if parts[1:2] == ["book"] and len(parts) > 2 else ""

    def rest_refusal(self, status: int) -> str:
        if status == 429:
            return '{"error":"ERR_RATE_LIMIT"}'
        return f'["error",20060,"status {status}"]'
