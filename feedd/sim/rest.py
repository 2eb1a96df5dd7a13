"""The REST side: the recorded venues' endpoints, and the door to those of all others."""

from __future__ import annotations

import asyncio
import json
import re
from urllib.parse import urlsplit

from aiohttp import web

from feedd.clock import monotonic_ns, now_ns
from feedd.sim.config import SimConfig
from feedd.sim.exchange import RestRequest
from feedd.sim.faults import Rule
from feedd.sim.hub import Hub
from feedd.sim.instruments import COINM, DERIBIT, OPTIONS, SPOT, USDM
from feedd.sim.source import RefusalError, Source

USDM_LIMITS = (5, 10, 20, 50, 100, 500, 1_000)
SPOT_MAX_LIMIT = 5_000
DEFAULT_LIMIT = {USDM: 500, SPOT: 100}
BUDGET = {USDM: 2_400, SPOT: 6_000}
WEIGHT_STEPS = {
    USDM: ((50, 2), (100, 5), (500, 10), (1_000, 20)),
    SPOT: ((100, 5), (500, 25), (1_000, 50), (5_000, 250)),
}
INFO_WEIGHT = {USDM: 1, SPOT: 20}
RECORDED_PATHS = {DERIBIT: "/api/v2/", USDM: "/fapi/", SPOT: "/api/v3/"}
MINUTE_NS = 60_000_000_000
_SYMBOL = re.compile(r"^[A-Z0-9-_.]{1,20}$")
_LIMIT = re.compile(r"^[0-9]{1,20}$")


class Rest:
    """Handlers of the public REST endpoints, with weights, errors and faults."""

    def __init__(self, hub: Hub, config: SimConfig, source: Source) -> None:
        self.hub = hub
        self.config = config
        self.source = source
        self._weights = {USDM: (0, 0), SPOT: (0, 0)}
        self._first: dict[tuple[str, str], tuple[str, str]] = {}

    def routes(self) -> list[web.RouteDef]:
        """The endpoints: the recorded venues' with and without prefix, the others' with it."""
        routes = self._recorded_routes()
        here = {
            venue: start
            for venue, start in RECORDED_PATHS.items()
            if venue in self.source.exchanges or not self.source.exchanges
        }
        own = [r for r in routes if r.path.startswith(tuple(here.values()))]
        prefixed = [
            web.get(f"/{venue}{route.path}", route.handler)
            for venue, start in here.items()
            for route in own
            if route.path.startswith(start)
        ]
        anywhere = "/{venue}/{path:.*}"
        doors = [web.get(anywhere, self.any_venue), web.post(anywhere, self.any_venue)]
        return [*own, *prefixed, *doors]

    def _recorded_routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v2/public/get_instruments", self.get_instruments),
            web.get("/api/v2/public/get_order_book", self.get_order_book),
            web.get("/api/v2/public/get_time", self.get_time),
            web.get("/api/v2/public/test", self.get_test),
            web.get("/fapi/v1/exchangeInfo", self.usdm_info),
            web.get("/fapi/v1/depth", self.usdm_depth),
            web.get("/fapi/v1/ping", self.binance_ping),
            web.get("/fapi/v1/time", self.binance_time),
            web.get("/api/v3/exchangeInfo", self.spot_info),
            web.get("/api/v3/depth", self.spot_depth),
            web.get("/api/v3/ping", self.binance_ping),
            web.get("/api/v3/time", self.binance_time),
        ]

    # -- Deribit ---------------------------------------------------------------------------

    async def get_instruments(self, request: web.Request) -> web.Response:
        """``public/get_instruments``."""
        return await self._deribit(request, "")

    async def get_order_book(self, request: web.Request) -> web.Response:
        """``public/get_order_book``."""
        return await self._deribit(request, request.query.get("instrument_name", ""))

    async def get_time(self, request: web.Request) -> web.Response:
        """``public/get_time``."""
        return _rpc_result(str(now_ns() // 1_000_000))

    async def get_test(self, request: web.Request) -> web.Response:
        """``public/test``."""
        return _rpc_result('{"version":"1.2.26"}')

    async def _deribit(self, request: web.Request, instrument: str) -> web.Response:
        rules = await self._delay(DERIBIT, request.path, instrument)
        failed = _failed(rules)
        if failed is not None:
            self._note(DERIBIT, request, failed.status, "")
            error = {"code": 10028, "message": "too_many_requests"}
            return _json(json.dumps({"jsonrpc": "2.0", "error": error}), failed.status, failed)
        params: dict[str, object] = dict(request.query)
        try:
            if not request.path.endswith("get_order_book"):
                return _rpc_result(json.dumps(self.source.deribit_instruments(params)))
            answer = self.source.deribit_order_book(params)
        except RefusalError as refusal:
            error = {"code": refusal.code, "message": refusal.message}
            if refusal.data is not None:
                error["data"] = refusal.data
            body = json.dumps({"jsonrpc": "2.0", "error": error, "testnet": False})
            return _json(body, refusal.status)
        body, event = self._maybe_stale((DERIBIT, instrument), answer, rules)
        self._note(DERIBIT, request, 200, event, rules)
        return _rpc_result(body)

    # -- Binance ---------------------------------------------------------------------------

    async def usdm_info(self, request: web.Request) -> web.Response:
        """``GET /fapi/v1/exchangeInfo``."""
        return await self._info(USDM, request)

    async def spot_info(self, request: web.Request) -> web.Response:
        """``GET /api/v3/exchangeInfo``."""
        return await self._info(SPOT, request)

    async def usdm_depth(self, request: web.Request) -> web.Response:
        """``GET /fapi/v1/depth``."""
        return await self._depth(USDM, request)

    async def spot_depth(self, request: web.Request) -> web.Response:
        """``GET /api/v3/depth``."""
        return await self._depth(SPOT, request)

    async def binance_ping(self, request: web.Request) -> web.Response:
        """Test connectivity."""
        return _json("{}")

    async def binance_time(self, request: web.Request) -> web.Response:
        """Server time."""
        return _json(f'{{"serverTime":{now_ns() // 1_000_000}}}')

    async def _info(self, venue: str, request: web.Request) -> web.Response:
        rules = await self._delay(venue, request.path, "")
        failed = _failed(rules)
        if failed is not None:
            self._note(venue, request, failed.status, "")
            return _binance_failure(failed)
        if not self._spend(venue, INFO_WEIGHT[venue]):
            return self._over_budget(venue)
        return self._weighted(venue, self.source.exchange_info(venue))

    async def _depth(self, venue: str, request: web.Request) -> web.Response:
        symbol = request.query.get("symbol", "")
        rules = await self._delay(venue, request.path, symbol)
        failed = _failed(rules)
        if failed is not None:
            self._note(venue, request, failed.status, "")
            return _binance_failure(failed)
        try:
            limit = _depth_limit(venue, request, symbol)
            weight = next(w for top, w in WEIGHT_STEPS[venue] if limit <= top)
            if not self._spend(venue, weight):
                return self._over_budget(venue)
            answer = self.source.binance_depth(venue, symbol, limit)
        except RefusalError as refusal:
            body = json.dumps({"code": refusal.code, "msg": refusal.message})
            return _json(body, refusal.status)
        body, event = self._maybe_stale((venue, symbol), answer, rules)
        self._note(venue, request, 200, event, rules)
        return self._weighted(venue, body)

    def _spend(self, venue: str, weight: int) -> bool:
        """Count the weight of a request; false when the minute's budget is used up."""
        minute = monotonic_ns() // MINUTE_NS
        then, used = self._weights[venue]
        used = (used if then == minute else 0) + weight
        self._weights[venue] = (minute, used)
        return not self.config.limits or used <= BUDGET[venue]

    def _weighted(self, venue: str, body: str) -> web.Response:
        response = _json(body)
        response.headers["X-MBX-USED-WEIGHT-1M"] = str(self._weights[venue][1])
        return response

    def _over_budget(self, venue: str) -> web.Response:
        left = 60 - monotonic_ns() % MINUTE_NS // 1_000_000_000
        message = f"Too much request weight used; current limit is {BUDGET[venue]} per 1 MINUTE."
        response = _json(json.dumps({"code": -1003, "msg": message}), 429)
        response.headers["Retry-After"] = str(left)
        return response

    # -- all other venues ------------------------------------------------------------------

    async def any_venue(self, request: web.Request) -> web.Response:
        """``/<venue>/<the venue's own path>``."""
        venue = request.match_info["venue"]
        exchange = self.source.exchanges.get(venue)
        if exchange is None:
            return _json('{"error":"no such venue or path"}', 404)
        path = "/" + request.match_info["path"]
        asked = RestRequest(path, dict(request.query), await request.text())
        rules = await self._delay(venue, asked.path, exchange.rest_symbol(asked))
        failed = _failed(rules)
        if failed is not None:
            self._note(venue, request, failed.status, "")
            return _json(exchange.rest_refusal(failed.status), failed.status, failed)
        answer = exchange.rest(asked)
        if answer is None:
            return _json('{"error":"no such path"}', 404)
        body, event = answer.body, answer.event
        if answer.instrument:
            key = (venue, answer.instrument)
            body, event = self._maybe_stale(key, (body, event), rules)
        if answer.status == 200 and event:
            self._note(venue, request, 200, event, rules)
        response = _json(body, answer.status)
        response.headers.update(answer.headers)
        return response

    # -- faults and journal ----------------------------------------------------------------

    async def _delay(self, venue: str, path: str, instrument: str) -> list[Rule]:
        rules = self.hub.faults.firing_rest(venue, path, instrument)
        delay = max((rule.delay_ms for rule in rules), default=0.0)
        if delay > 0:
            await asyncio.sleep(delay / 1_000)
        return rules

    def _maybe_stale(
        self, key: tuple[str, str], answer: tuple[str, str], rules: list[Rule]
    ) -> tuple[str, str]:
        """The answer, or with a ``stale`` fault the oldest one of this instrument."""
        first = self._first.setdefault(key, answer)
        return first if any(rule.stale for rule in rules) else answer

    def remember(self) -> None:
        """Keep a snapshot of every Binance book from before the first tick, for ``stale``."""
        for venue in (USDM, SPOT, COINM, OPTIONS):
            for symbol in self.source.symbols(venue):
                try:
                    self._first[venue, symbol] = self.source.binance_depth(venue, symbol, 1_000)
                except RefusalError:
                    continue

    def _note(
        self,
        venue: str,
        request: web.Request,
        status: int,
        event: str,
        rules: list[Rule] | None = None,
    ) -> None:
        journal = self.hub.journal
        if not journal.enabled:
            return
        fault = "null"
        if status != 200:
            fault = '"status"'
        elif any(rule.stale for rule in rules or []):
            fault = '"stale"'
        url = urlsplit(str(request.url))
        shown = json.dumps(f"{url.path}?{url.query}" if url.query else url.path)
        journal.add(
            f'{{"t":{now_ns()},"venue":"{venue}","rest":{shown},"status":{status},'
            f'"fault":{fault},"events":[{event}]}}\n'
        )


def _depth_limit(venue: str, request: web.Request, symbol: str) -> int:
    """The limit asked for; raises the venue's refusal of a bad query."""
    if not symbol:
        raise RefusalError(
            -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."
        )
    if not _SYMBOL.match(symbol):
        raise RefusalError(
            -1100,
            "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'.",
        )
    text = request.query.get("limit", str(DEFAULT_LIMIT[venue]))
    if not _LIMIT.match(text):
        raise RefusalError(
            -1100,
            "Illegal characters found in parameter 'limit'; legal range is '^[0-9]{1,20}$'.",
        )
    limit = int(text)
    if venue == USDM and limit not in USDM_LIMITS:
        raise RefusalError(-4021, f"{limit} is not valid depth limit")
    return max(min(limit, SPOT_MAX_LIMIT), 1)


def _failed(rules: list[Rule]) -> Rule | None:
    return next((rule for rule in rules if rule.status), None)


def _json(body: str, status: int = 200, rule: Rule | None = None) -> web.Response:
    response = web.Response(text=body, status=status, content_type="application/json")
    if rule is not None and rule.retry_after:
        response.headers["Retry-After"] = str(rule.retry_after)
    return response


def _binance_failure(rule: Rule) -> web.Response:
    if rule.status >= 500 or rule.status == 403:
        page = f"<html><body><h1>{rule.status} Error</h1></body></html>"
        return web.Response(text=page, status=rule.status, content_type="text/html")
    message = "Way too many requests; IP banned." if rule.status == 418 else "Too many requests."
    return _json(json.dumps({"code": -1003, "msg": message}), rule.status, rule)


def _rpc_result(body: str) -> web.Response:
    now = now_ns() // 1_000
    return _json(
        f'{{"jsonrpc":"2.0","result":{body},"usIn":{now},"usOut":{now},"usDiff":0,"testnet":false}}'
    )
