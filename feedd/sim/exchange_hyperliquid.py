"""Hyperliquid as a simulated venue."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from feedd.sim.connection import Connection, json_object
from feedd.sim.exchange import Exchange, RestAnswer, RestRequest, World
from feedd.sim.instruments import Spec
from feedd.sim.market import Market, Timer
from feedd.sim.market_hyperliquid import HYPERLIQUID, HyperliquidMarket, hyperliquid_specs
from feedd.sim.session_hyperliquid import MESSAGES_PER_MINUTE, HyperliquidConnection
from feedd.sim.session_limits import Limit

MIDS_MS = 5_000
REST_DEPTH = 20
REST_WEIGHT = 1_200
LIGHT = frozenset({"l2Book", "allMids"})
LIGHT_WEIGHT, HEAVY_WEIGHT = 2, 20


class HyperliquidExchange(Exchange):
    """The first perpetual exchange and spot; REST is one address with a JSON body."""

    name = HYPERLIQUID
    steady = 60.0
    connects = (30, 60.0)

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._messages = Limit(MESSAGES_PER_MINUTE, 60.0, self.config.limits)
        self._weight = Limit(REST_WEIGHT, 60.0, self.config.limits)
        self._mids = self.hub.stream(HYPERLIQUID, "allMids", "*")
        self._mids.greet = self._mids_message

    @classmethod
    def specs(cls, epoch_ms: int) -> list[Spec]:
        return hyperliquid_specs()

    def market(self, spec: Spec) -> Market:
        return HyperliquidMarket(spec, self.hub, self.time, self.config.seed)

    def connection(self, path: str) -> Connection | None:
        if urlsplit(path).path.rstrip("/") != "/ws":
            return None
        return HyperliquidConnection(self.hub, self.config, path, self.name, self._messages)

    def timers(self) -> list[Timer]:
        return [(MIDS_MS, self._send_mids)]

    def _all(self) -> dict[str, HyperliquidMarket]:
        return {k: m for k, m in self.markets.items() if isinstance(m, HyperliquidMarket)}

    def _send_mids(self) -> None:
        self.hub.post(self._mids, self._mids_message)

    def _mids_message(self) -> tuple[str, str]:
        return f'{{"channel":"allMids","data":{{"mids":{self._middles()}}}}}', ""

    def _middles(self) -> str:
        return json.dumps({coin: market.middle() for coin, market in self._all().items()})

    # -- REST ------------------------------------------------------------------------------

    def rest(self, request: RestRequest) -> RestAnswer | None:
        if request.path != "/info":
            return None
        asked = json_object(request.body) or {}
        kind = str(asked.get("type"))
        if not self._weight.allow(LIGHT_WEIGHT if kind in LIGHT else HEAVY_WEIGHT):
            return RestAnswer("null", 429)
        if kind == "l2Book" or kind == "recentTrades":
            return self._of_coin(kind, str(asked.get("coin")))
        answer = self._info(kind, str(asked.get("dex") or ""))
        if answer is None:
            words = "Failed to deserialize the JSON body into the target type"
            return RestAnswer(json.dumps(words), 422)
        return RestAnswer(answer)

    def _info(self, kind: str, dex: str) -> str | None:
        """Body of a request that names no coin; None for one that makes no sense."""
        perps = [m for m in self._all().values() if m.spec.kind == "perpetual"]
        meta = {"universe": [market.reference() for market in perps], "collateralToken": 0}
        if kind == "perpDexs":
            return "[null]"
        if kind == "allMids":
            return self._middles()
        if kind == "spotMeta":
            return json.dumps(self._spot())
        if kind == "meta":
            return None if dex else json.dumps(meta)
        if kind == "metaAndAssetCtxs":
            contexts = ",".join([market.context() for market in perps])
            return f"[{json.dumps(meta)},[{contexts}]]"
        return None

    def _spot(self) -> dict[str, object]:
        """Tokens by number, and pairs of their numbers."""
        tokens = [{"name": "USDC", "szDecimals": 8, "weiDecimals": 8, "index": 0}]
        universe = []
        for place, market in enumerate(m for m in self._all().values() if m.spec.kind == "spot"):
            spec = market.spec
            index = place + 1
            digits = spec.size_decimals
            tokens.append(
                {"name": spec.base, "szDecimals": digits, "weiDecimals": digits + 5, "index": index}
            )
            universe.append(
                {"name": spec.symbol, "tokens": [index, 0], "index": place, "isCanonical": True}
            )
        return {"tokens": tokens, "universe": universe}

    def _of_coin(self, kind: str, coin: str) -> RestAnswer:
        market = self.markets.get(coin)
        if not isinstance(market, HyperliquidMarket):
            return RestAnswer("null", 500)
        if kind == "recentTrades":
            rows = ",".join(map(market.trade_row, reversed(market.recent)))
            return RestAnswer(f"[{rows}]")
        body, event = market.book_message(*market.best(REST_DEPTH), self.time.now_ms)
        data = body.removeprefix('{"channel":"l2Book","data":').removesuffix("}")
        return RestAnswer(data, event=event, instrument=coin)

    def rest_symbol(self, request: RestRequest) -> str:
        return str((json_object(request.body) or {}).get("coin") or "")

    def rest_refusal(self, status: int) -> str:
        return "null"
