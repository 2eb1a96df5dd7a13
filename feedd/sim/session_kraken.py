"""Kraken spot, WebSocket v2, and its REST."""

from __future__ import annotations

import json
from typing import ClassVar

from feedd.clock import now_ns
from feedd.sim.connection import SECOND, Connection, json_object
from feedd.sim.exchange import Exchange, RestAnswer, RestRequest, World
from feedd.sim.instruments import Spec
from feedd.sim.market import Market
from feedd.sim.market_kraken import DEPTHS, KRAKEN, KrakenMarket
from feedd.sim.text import rfc3339

HEARTBEAT_NS = SECOND
IDLE_S = 60.0
DEFAULT_DEPTH = 10
SNAPSHOT_BY_DEFAULT = {"book": True, "ticker": True, "trade": False, "instrument": True}
REST_MAX_COUNT = 500


class KrakenConnection(Connection):
    """One client. Each symbol of a request is answered on its own."""

    notices: ClassVar[frozenset[str]] = frozenset({"maintenance", "online"})

    def __init__(self, exchange: KrakenExchange, path: str) -> None:
        super().__init__(exchange.hub, exchange.config, path, exchange.name)
        self._idle_ns = int((self.config.idle_s or IDLE_S) * SECOND)

    def on_open(self) -> None:
        self._status("online")

    def _status(self, system: str) -> None:
        ident = 6_437_862_339_878_838_000 + self.number
        data = (
            f'{{"version":"2.0.10","system":"{system}","api_version":"v2","connection_id":{ident}}}'
        )
        self.answer(f'{{"channel":"status","type":"update","data":[{data}]}}')

    def announce(self, event: str) -> None:
        """``maintenance`` and ``online``: the state of the trading engine."""
        self._status(event)

    # -- requests --------------------------------------------------------------------------

    def on_text(self, text: bytes) -> None:
        request = json_object(text)
        if request is None:
            self._reply({"error": "Malformed request", "success": False})
            return
        method, ident = str(request.get("method")), request.get("req_id")
        params = request.get("params", {})
        tail: dict[str, object] = {} if ident is None else {"req_id": ident}
        if method == "ping":
            self._reply({"method": "pong", **tail, "success": True})
        elif method not in ("subscribe", "unsubscribe") or not isinstance(params, dict):
            self._reply({"error": f"Unsupported method: {method}", "success": False, **tail})
        elif params.get("channel") == "instrument":
            self._one(method, params, "", tail)
        else:
            symbols = params.get("symbol")
            for symbol in symbols if isinstance(symbols, list) else [symbols]:
                self._one(method, params, str(symbol), tail)

    def _one(
        self, method: str, params: dict[str, object], symbol: str, tail: dict[str, object]
    ) -> None:
        channel = str(params.get("channel"))
        result: dict[str, object] = {"channel": channel}
        if symbol:
            result["symbol"] = symbol
        name, error = self._name(channel, params, symbol, result)
        if not error and method == "subscribe" and name in self.subscriptions:
            error = "Already subscribed"
        if not error and method == "unsubscribe" and name not in self.subscriptions:
            error = "Subscription Not Found"
        if error:
            shown = {"symbol": symbol} if symbol else {}
            self._reply({"error": error, "method": method, "success": False, **shown, **tail})
            return
        snapshot = bool(params.get("snapshot", SNAPSHOT_BY_DEFAULT[channel]))
        if method == "subscribe":
            result["snapshot"] = snapshot
        self._reply({"method": method, "result": result, "success": True, **tail})
        if method == "unsubscribe":
            self.leave(name)
        else:
            self.join(name, greeted=snapshot)

    def _name(
        self, channel: str, params: dict[str, object], symbol: str, result: dict[str, object]
    ) -> tuple[str, str]:
        """The stream and what is wrong with the request; fills the ack's ``result``."""
        if channel not in SNAPSHOT_BY_DEFAULT:
            return "", f"Unsupported channel: {channel}"
        if channel == "instrument":
            return "instrument", ""
        if self.hub.find(KRAKEN, f"trade:{symbol}") is None:
            return "", f"Currency pair not supported {symbol}"
        if channel == "book":
            depth = params.get("depth", DEFAULT_DEPTH)
            if depth not in DEPTHS:
                return "", f"Subscription depth not supported: {depth}"
            result["depth"] = depth
            name = f"book:{symbol}:{depth}"
            others = [f"book:{symbol}:{other}" for other in DEPTHS if other != depth]
            if any(other in self.subscriptions for other in others):
                return name, "Already subscribed to another depth of this book"
            return name, ""
        if channel == "ticker":
            trigger = params.get("event_trigger", "trades")
            if trigger not in ("trades", "bbo"):
                return "", f"Unsupported event trigger: {trigger}"
            result["event_trigger"] = trigger
            return f"ticker:{symbol}:{trigger}", ""
        return f"trade:{symbol}", ""

    def _reply(self, row: dict[str, object]) -> None:
        now = now_ns() // 1_000
        moment = rfc3339(now // 1_000, now % 1_000)
        self.say({**row, "time_in": moment, "time_out": moment})

    def on_timer(self, now: int) -> None:
        if self.subscriptions:
            if now - self.sent_ns >= HEARTBEAT_NS:
                self.answer('{"channel":"heartbeat"}')
        elif now - self.heard_ns > self._idle_ns:
            self.close("fin", "idle")


class KrakenExchange(Exchange):
    """Spot pairs."""

    name = KRAKEN
    steady = 1.0
    connects = (150, 600.0)
    words: ClassVar = {"active": "online", "halted": "cancel_only", "ended": "delisted"}
    retick = True

    def __init__(self, world: World) -> None:
        super().__init__(world)
        stream = self.hub.stream(KRAKEN, "instrument", "*")
        stream.greet = self._instruments

    @classmethod
    def specs(cls, epoch_ms: int) -> list[Spec]:
        return [
            Spec(KRAKEN, "BTC/USD", "spot", "BTC", "USD", "", 1, 1, 8, 1,
                 923_000, 400, 0.4, 30_000_000),
            Spec(KRAKEN, "ETH/USD", "spot", "ETH", "USD", "", 2, 1, 8, 1,
                 310_500, 360, 0.3, 900_000_000),
            Spec(KRAKEN, "DOGE/USD", "spot", "DOGE", "USD", "", 7, 1, 8, 1,
                 982_000, 300, 0.2, 90_000_000_000),
            Spec(KRAKEN, "SOL/EUR", "spot", "SOL", "EUR", "", 2, 1, 8, 1,
                 13_120, 120, 0.1, 700_000_000),
        ]  # fmt: skip

    def market(self, spec: Spec) -> Market:
        config = self.config
        return KrakenMarket(spec, self.hub, self.time, config.seed, config.one_sided)

    def connection(self, path: str) -> Connection | None:
        return KrakenConnection(self, path) if path.partition("?")[0] == "/v2" else None

    def _markets(self) -> list[KrakenMarket]:
        return [market for market in self.markets.values() if isinstance(market, KrakenMarket)]

    def _instruments(self) -> tuple[str, str]:
        names = {name: None for m in self._markets() for name in (m.spec.base, m.spec.quote)}
        assets = [
            {"id": name, "status": "enabled", "precision": 10, "precision_display": 5}
            for name in names
        ]
        pairs = [m.pair() for m in self.listed if isinstance(m, KrakenMarket)]
        return _pairs("snapshot", assets, pairs)

    def tell_state(self, market: Market) -> None:
        if isinstance(market, KrakenMarket):
            stream = self.hub.stream(KRAKEN, "instrument", "*")
            self.hub.post(stream, lambda: _pairs("update", [], [market.pair()]))

    # -- REST ------------------------------------------------------------------------------

    def rest_refusal(self, status: int) -> str:
        return '{"error":["EAPI:Rate limit exceeded"]}'

    def rest(self, request: RestRequest) -> RestAnswer | None:
        if request.path == "/0/public/Time":
            second = now_ns() // SECOND
            return _answer(f'{{"unixtime":{second},"rfc1123":""}}')
        if request.path == "/0/public/SystemStatus":
            moment = rfc3339(now_ns() // 1_000_000)
            return _answer(f'{{"status":"online","timestamp":"{moment}"}}')
        if request.path == "/0/public/AssetPairs":
            rows = {}
            tokenized = request.query.get("aclass_base", "currency") != "currency"
            for market in [] if tokenized else self.listed:
                row = market.reference()
                rows[f"{row['base']}{row['quote']}"] = row
            return _answer(json.dumps(rows, separators=(",", ":")))
        if request.path == "/0/public/Depth":
            return self._depth(request)
        return None

    def _depth(self, request: RestRequest) -> RestAnswer:
        wanted = request.query.get("pair", "")
        count = request.query.get("count", "100")
        for market in self._markets():
            names = ("".join(market.old_names), "/".join(market.old_names), market.spec.symbol)
            if wanted in names:
                levels = int(count) if count.isdigit() else 100
                book = market.order_book(max(1, min(levels, REST_MAX_COUNT)))
                return _answer(f'{{"{names[0]}":{book}}}')
        return RestAnswer('{"error":["EQuery:Unknown asset pair"]}')


def _pairs(
    kind: str, assets: list[dict[str, object]], pairs: list[dict[str, object]]
) -> tuple[str, str]:
    data = {"assets": assets, "pairs": pairs}
    row = {"channel": "instrument", "type": kind, "data": data}
    return json.dumps(row, separators=(",", ":")), ""


def _answer(result: str) -> RestAnswer:
    return RestAnswer(f'{{"error":[],"result":{result}}}')
