"""Kraken's derivatives venue as a simulated venue."""

from __future__ import annotations

import json
from typing import ClassVar
from urllib.parse import urlsplit

from feedd.sim.connection import Connection
from feedd.sim.exchange import Exchange, RestAnswer, RestRequest, World
from feedd.sim.instruments import Spec
from feedd.sim.market import Market, Timer
from feedd.sim.market_kraken_futures import (
    KRAKEN_FUTURES,
    KrakenFuturesMarket,
    kraken_futures_specs,
)
from feedd.sim.session_kraken_futures import HEARTBEAT, KrakenFuturesConnection
from feedd.sim.text import iso_ms

HEARTBEAT_MS = 1_000
REST = "/derivatives/api/v3"


class KrakenFuturesExchange(Exchange):
    """Linear and inverse contracts, and the heartbeat feed."""

    name = KRAKEN_FUTURES
    steady = 4.0
    words: ClassVar = {"active": "false", "halted": "true"}
    """``suspended`` of the tickers."""
    symbol_key = "symbol"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._heartbeat = self.hub.stream(KRAKEN_FUTURES, HEARTBEAT, "*")

    @classmethod
    def specs(cls, epoch_ms: int) -> list[Spec]:
        return kraken_futures_specs(epoch_ms)

    def market(self, spec: Spec) -> Market:
        return KrakenFuturesMarket(spec, self.hub, self.time, self.config.seed)

    def connection(self, path: str) -> Connection | None:
        if urlsplit(path).path.rstrip("/") != "/ws/v1":
            return None
        return KrakenFuturesConnection(self.hub, self.config, path, self.name)

    def timers(self) -> list[Timer]:
        return [(HEARTBEAT_MS, self._beat)]

    def _beat(self) -> None:
        self._heartbeat.count += 1
        body = f'{{"feed":"heartbeat","time":{self.time.now_ms}}}'
        self.hub.publish(self._heartbeat, body, "")

    def rest(self, request: RestRequest) -> RestAnswer | None:
        if request.path == f"{REST}/instruments":
            listed = [market.reference() for market in self.listed]
            body = {"result": "success", "instruments": listed, "serverTime": self._now()}
            return RestAnswer(json.dumps(body))
        if request.path != f"{REST}/orderbook":
            return None
        market = self.markets.get(request.query.get("symbol", ""))
        if not isinstance(market, KrakenFuturesMarket):
            return RestAnswer(self._error("invalidArgument"), 400)
        return RestAnswer(
            f'{{"result":"success","orderBook":{market.order_book()},"serverTime":"{self._now()}"}}'
        )

    def rest_refusal(self, status: int) -> str:
        return self._error("apiLimitExceeded" if status == 429 else "Unavailable")

    def _error(self, error: str) -> str:
        return json.dumps({"result": "error", "error": error, "serverTime": self._now()})

    def _now(self) -> str:
        return iso_ms(self.time.now_ms)
