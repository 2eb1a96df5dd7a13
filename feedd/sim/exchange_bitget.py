"""Bitget as two simulated venues: spot and futures, which share the protocol."""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import ClassVar
from urllib.parse import urlsplit

from feedd.sim.connection import Connection
from feedd.sim.exchange import Exchange, RestAnswer, RestRequest
from feedd.sim.instruments import Spec
from feedd.sim.market import Market
from feedd.sim.market_bitget import (
    BITGET_FUTURES,
    BITGET_SPOT,
    BitgetMarket,
    bitget_futures_specs,
    bitget_spot_specs,
    family,
)
from feedd.sim.session_bitget import FAMILIES, BitgetConnection, BitgetV3Connection

DEPTH_MAX = 150
SESSIONS = {"/v2/ws/public": BitgetConnection, "/v3/ws/public": BitgetV3Connection}


class BitgetExchange(Exchange):
    """What both venues share."""

    list_path: ClassVar[str]
    book_path: ClassVar[str]
    symbol_key = "symbol"

    def market(self, spec: Spec) -> Market:
        return BitgetMarket(spec, self.hub, self.time, self.config.seed)

    def connection(self, path: str) -> Connection | None:
        session = SESSIONS.get(urlsplit(path).path.rstrip("/"))
        if session is None:
            return None
        families = {symbol: family(market.spec) for symbol, market in self.markets.items()}
        return session(self.hub, self.config, path, self.name, families)

    @abstractmethod
    def wanted(self, request: RestRequest) -> str | None:
        """Family that a list request asks for; None where it must name one and does not."""

    def rest(self, request: RestRequest) -> RestAnswer | None:
        if request.path == self.list_path:
            kind = self.wanted(request)
            if kind is None:
                return self._refused("400172", "Parameter verification failed productType")
            listed = [
                market.reference()
                for market in self.markets.values()
                if family(market.spec) == kind
            ]
            return self._answer(json.dumps(listed))
        if request.path != self.book_path:
            return None
        market = self.markets.get(self.rest_symbol(request))
        limit = request.query.get("limit", str(DEPTH_MAX))
        if not isinstance(market, BitgetMarket):
            return self._refused("40034", "Parameter does not exist")
        if not limit.isdigit() or not int(limit) >= 1:
            return self._refused("400172", "Parameter verification failed limit")
        return self._answer(market.order_book(min(int(limit), DEPTH_MAX)))

    def rest_refusal(self, status: int) -> str:
        code, words = ("429", "Too Many Requests") if status == 429 else ("40725", "service error")
        return self._body(code, words, "null")

    def _answer(self, data: str) -> RestAnswer:
        return RestAnswer(self._body("00000", "success", data))

    def _refused(self, code: str, words: str) -> RestAnswer:
        return RestAnswer(self._body(code, words, "null"), 400)

    def _body(self, code: str, words: str, data: str) -> str:
        now = self.time.now_ms
        return f'{{"code":"{code}","msg":"{words}","requestTime":{now},"data":{data}}}'


class BitgetSpotExchange(BitgetExchange):
    """``SPOT``."""

    name = BITGET_SPOT
    steady = 45.0
    list_path = "/api/v2/spot/public/symbols"
    book_path = "/api/v2/spot/market/orderbook"

    @classmethod
    def specs(cls, epoch_ms: int) -> list[Spec]:
        return bitget_spot_specs()

    def wanted(self, request: RestRequest) -> str | None:
        return "SPOT"


class BitgetFuturesExchange(BitgetExchange):
    """``USDT-FUTURES``, ``USDC-FUTURES`` and ``COIN-FUTURES``."""

    name = BITGET_FUTURES
    steady = 60.0
    list_path = "/api/v2/mix/market/contracts"
    book_path = "/api/v2/mix/market/merge-depth"

    @classmethod
    def specs(cls, epoch_ms: int) -> list[Spec]:
        return bitget_futures_specs()

    def wanted(self, request: RestRequest) -> str | None:
        kind = request.query.get("productType", "").upper()
        return kind if kind in FAMILIES[1:] else None
