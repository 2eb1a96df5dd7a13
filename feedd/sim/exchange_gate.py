"""Gate as two simulated venues: spot, and futures settled in USDT."""

from __future__ import annotations

import json
from typing import ClassVar
from urllib.parse import urlsplit

from feedd.sim.connection import Connection
from feedd.sim.exchange import Exchange, RestAnswer, RestRequest
from feedd.sim.instruments import Spec
from feedd.sim.market import Market
from feedd.sim.market_gate import GateMarket
from feedd.sim.market_gate_futures import GATE_FUTURES, GateFuturesMarket, gate_futures_specs
from feedd.sim.market_gate_spot import GATE, GateSpotMarket, gate_specs
from feedd.sim.session_gate import GateConnection, GateFuturesConnection, GateSpotConnection

DEFAULT_LIMIT = 10


class GateExchange(Exchange):
    """What both venues share."""

    socket_path: ClassVar[str]
    session: ClassVar[type[GateConnection]]
    list_path: ClassVar[str]
    book_path: ClassVar[str]
    symbol_key: ClassVar[str]
    limit_max: ClassVar[int]
    unknown: ClassVar[str]
    """Label of the refusal of an unknown instrument."""

    def connection(self, path: str) -> Connection | None:
        if urlsplit(path).path.rstrip("/") != self.socket_path:
            return None
        return self.session(self.hub, self.config, path, self.name, frozenset(self.markets))

    def rest(self, request: RestRequest) -> RestAnswer | None:
        if request.path == self.list_path:
            listed = [market.reference() for market in self.markets.values()]
            return RestAnswer(json.dumps(listed))
        if request.path != self.book_path:
            return None
        symbol = self.rest_symbol(request)
        market = self.markets.get(symbol)
        limit = request.query.get("limit", str(DEFAULT_LIMIT))
        if not isinstance(market, GateMarket):
            return RestAnswer(_error(self.unknown, f"unknown {self.symbol_key} {symbol}"), 400)
        if not limit.isdigit() or not 1 <= int(limit) <= self.limit_max:
            return RestAnswer(_error("INVALID_PARAM_VALUE", f"invalid limit {limit}"), 400)
        with_id = request.query.get("with_id", "") == "true"
        body, event = market.order_book(int(limit), with_id)
        return RestAnswer(body, event=event, instrument=symbol)

    def rest_symbol(self, request: RestRequest) -> str:
        return request.query.get(self.symbol_key, "")

    def rest_refusal(self, status: int) -> str:
        label = "TOO_MANY_REQUESTS" if status == 429 else "SERVER_ERROR"
        return _error(label, f"status {status}")


class GateSpotExchange(GateExchange):
    """Spot."""

    name = GATE
    steady = 120.0
    socket_path = "/ws/v4"
    session = GateSpotConnection
    list_path = "/api/v4/spot/currency_pairs"
    book_path = "/api/v4/spot/order_book"
    symbol_key = "currency_pair"
    limit_max = 5_000
    unknown = "INVALID_CURRENCY_PAIR"

    @classmethod
    def specs(cls, epoch_ms: int) -> list[Spec]:
        return gate_specs()

    def market(self, spec: Spec) -> Market:
        return GateSpotMarket(spec, self.hub, self.time, self.config.seed)


class GateFuturesExchange(GateExchange):
    """Perpetual contracts settled in USDT."""

    name = GATE_FUTURES
    steady = 120.0
    socket_path = "/v4/ws/usdt"
    session = GateFuturesConnection
    list_path = "/api/v4/futures/usdt/contracts"
    book_path = "/api/v4/futures/usdt/order_book"
    symbol_key = "contract"
    limit_max = 300
    unknown = "CONTRACT_NOT_FOUND"

    @classmethod
    def specs(cls, epoch_ms: int) -> list[Spec]:
        return gate_futures_specs()

    def market(self, spec: Spec) -> Market:
        return GateFuturesMarket(spec, self.hub, self.time, self.config.seed)


def _error(label: str, message: str) -> str:
    return json.dumps({"label": label, "message": message})
