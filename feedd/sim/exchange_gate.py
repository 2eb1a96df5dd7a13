"""Gate as two simulated venues: spot, and futures with a socket per settlement coin."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
DECIMAL_HEADER = "X-Gate-Size-Decimal"
"""A client that sends it gets contract sizes as decimal text."""


class GateExchange(Exchange):
    """What both venues share."""

    paths: ClassVar[dict[str, tuple[str, str]]]
    """By settlement coin ("" for spot): path of the socket, and root of the REST paths."""
    session: ClassVar[type[GateConnection]]
    list_name: ClassVar[str]
    limit_max: ClassVar[int]
    unknown: ClassVar[str]
    """Label of the refusal of an unknown instrument."""

    def accept(self, path: str, headers: Mapping[str, str]) -> Connection | None:
        for settle, (socket, _) in self.paths.items():
            if urlsplit(path).path.rstrip("/") == socket:
                own = frozenset(self._settled(settle))
                others = frozenset(self.markets) - own
                decimal = headers.get(DECIMAL_HEADER) == "1"
                return self.session(
                    self.hub, self.config, path, self.name, own, others, decimal=decimal
                )
        return None

    def _settled(self, settle: str) -> dict[str, Market]:
        """Markets of one settlement coin."""
        return {k: m for k, m in self.markets.items() if m.spec.settle == settle}

    def rest(self, request: RestRequest) -> RestAnswer | None:
        for settle, (_, root) in self.paths.items():
            if request.path == f"{root}/{self.list_name}":
                listed = [market.reference() for market in self._settled(settle).values()]
                return RestAnswer(json.dumps(listed))
            if request.path == f"{root}/order_book":
                return self._order_book(request, settle)
        return None

    def _order_book(self, request: RestRequest, settle: str) -> RestAnswer:
        symbol = self.rest_symbol(request)
        market = self._settled(settle).get(symbol)
        limit = request.query.get("limit", str(DEFAULT_LIMIT))
        if not isinstance(market, GateMarket):
            return RestAnswer(_error(self.unknown, f"unknown {self.symbol_key} {symbol}"), 400)
        if not limit.isdigit() or not 1 <= int(limit) <= self.limit_max:
            return RestAnswer(_error("INVALID_PARAM_VALUE", f"invalid limit {limit}"), 400)
        with_id = request.query.get("with_id", "") == "true"
        body, event = market.order_book(int(limit), with_id)
        return RestAnswer(body, event=event, instrument=symbol)

    def rest_refusal(self, status: int) -> str:
        label = "TOO_MANY_REQUESTS" if status == 429 else "SERVER_ERROR"
        return _error(label, f"status {status}")


class GateSpotExchange(GateExchange):
    """Spot."""

    name = GATE
    steady = 120.0
    paths: ClassVar = {"": ("/ws/v4", "/api/v4/spot")}
    session = GateSpotConnection
    list_name = "currency_pairs"
    symbol_key = "currency_pair"
    limit_max = 5_000
    unknown = "INVALID_CURRENCY_PAIR"

    @classmethod
    def specs(cls, epoch_ms: int) -> list[Spec]:
        return gate_specs()

    def market(self, spec: Spec) -> Market:
        return GateSpotMarket(spec, self.hub, self.time, self.config.seed)


class GateFuturesExchange(GateExchange):
    """Perpetual contracts; there are no dated ones (``/delivery``) in this market."""

    name = GATE_FUTURES
    steady = 120.0
    paths: ClassVar = {
        "USDT": ("/v4/ws/usdt", "/api/v4/futures/usdt"),
        "BTC": ("/v4/ws/btc", "/api/v4/futures/btc"),
    }
    session = GateFuturesConnection
    list_name = "contracts"
    symbol_key = "contract"
    retick = True
    limit_max = 300
    unknown = "CONTRACT_NOT_FOUND"

    @classmethod
    def specs(cls, epoch_ms: int) -> list[Spec]:
        return gate_futures_specs()

    def market(self, spec: Spec) -> Market:
        return GateFuturesMarket(spec, self.hub, self.time, self.config.seed)

    def tell_state(self, market: Market) -> None:
        if isinstance(market, GateFuturesMarket):
            market.send_info()

    def rest(self, request: RestRequest) -> RestAnswer | None:
        if request.path == "/api/v4/delivery/usdt/contracts":
            return RestAnswer("[]")
        return super().rest(request)


def _error(label: str, message: str) -> str:
    return json.dumps({"label": label, "message": message})
