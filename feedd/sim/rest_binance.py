"""REST of a Binance futures or options venue: depth and exchangeInfo, with weights."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from feedd.clock import monotonic_ns, now_ns
from feedd.sim.exchange import RestAnswer, RestRequest, World
from feedd.sim.market import Market
from feedd.sim.market_binance import BinanceBook

BUDGET = 2_400
"""Weight per minute."""
FUTURES_WEIGHTS = ((50, 2), (100, 5), (500, 10), (1_000, 20))
OPTIONS_WEIGHTS = ((50, 1), (100, 5), (500, 10), (1_000, 20))
LIMITS = (5, 10, 20, 50, 100, 500, 1_000)
DEFAULT_LIMIT = 500
MINUTE_NS = 60_000_000_000
TOO_MANY = '{"code":-1003,"msg":"Too many requests."}'
_SYMBOL = re.compile(r"^[A-Z0-9-_.]{1,40}$")


class BinanceRest:
    """Answers for one venue under its base path."""

    def __init__(
        self,
        base: str,
        markets: Mapping[str, Market],
        world: World,
        weights: tuple[tuple[int, int], ...] = FUTURES_WEIGHTS,
    ) -> None:
        self._base = base
        self._markets = markets
        self._world = world
        self._weights = weights
        self._minute = 0
        self._used = 0

    def answer(
        self, request: RestRequest, info: Callable[[], dict[str, object]]
    ) -> RestAnswer | None:
        """Answer a request; ``info`` gives the rows of exchangeInfo."""
        if not request.path.startswith(self._base + "/"):
            return None
        name = request.path.removeprefix(self._base + "/")
        if name == "ping":
            return RestAnswer("{}")
        if name == "time":
            return RestAnswer(f'{{"serverTime":{now_ns() // 1_000_000}}}')
        if name == "exchangeInfo":
            return self._weighted(1, lambda: RestAnswer(self._info(info)))
        if name == "depth":
            return self._depth(request)
        return None

    def _info(self, info: Callable[[], dict[str, object]]) -> str:
        limit = {
            "rateLimitType": "REQUEST_WEIGHT",
            "interval": "MINUTE",
            "intervalNum": 1,
            "limit": BUDGET,
        }
        body = {
            "timezone": "UTC",
            "serverTime": self._world.time.now_ms,
            "rateLimits": [limit],
            **info(),
        }
        return json.dumps(body, separators=(",", ":"))

    def _depth(self, request: RestRequest) -> RestAnswer:
        symbol, limit = request.query.get("symbol", ""), request.query.get("limit", "")
        if not symbol:
            return _refused(-1102, "Mandatory parameter 'symbol' was not sent.")
        if not _SYMBOL.match(symbol):
            return _refused(-1100, "Illegal characters found in parameter 'symbol'.")
        count = int(limit) if limit.isdigit() else DEFAULT_LIMIT
        if (limit and not limit.isdigit()) or count not in LIMITS:
            return _refused(-4021, f"{limit} is not valid depth limit")
        market = self._markets.get(symbol)
        if not isinstance(market, BinanceBook):
            return _refused(-1121, "Invalid symbol.")
        weight = next(w for top, w in self._weights if count <= top)

        def book() -> RestAnswer:
            body, event = market.snapshot(count)
            return RestAnswer(body, event=event, instrument=symbol)

        return self._weighted(weight, book)

    def _weighted(self, weight: int, make: Callable[[], RestAnswer]) -> RestAnswer:
        """Spend weight and answer, or refuse when the minute's budget is used up."""
        minute = monotonic_ns() // MINUTE_NS
        if minute != self._minute:
            self._minute, self._used = minute, 0
        self._used += weight
        if self._world.config.limits and self._used > BUDGET:
            left = 60 - monotonic_ns() % MINUTE_NS // 1_000_000_000
            return RestAnswer(TOO_MANY, 429, {"Retry-After": str(left)})
        answer = make()
        answer.headers["X-MBX-USED-WEIGHT-1M"] = str(self._used)
        return answer


def _refused(code: int, message: str) -> RestAnswer:
    return RestAnswer(json.dumps({"code": code, "msg": message}), 400)
