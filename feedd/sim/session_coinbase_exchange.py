"""Coinbase Exchange: the ``ws-feed`` of products, channels by name, REST."""

from __future__ import annotations

import json
from typing import ClassVar

from feedd.clock import now_ns
from feedd.sim.connection import SECOND, Connection, json_object
from feedd.sim.exchange import Exchange, RestAnswer, RestRequest, World
from feedd.sim.instruments import Spec
from feedd.sim.market import Market, Timer
from feedd.sim.market_coinbase import EXCHANGE, ExchangeMarket
from feedd.sim.session_limits import Limit
from feedd.sim.text import rfc3339

CHANNELS = ("level2_batch", "matches", "ticker", "ticker_batch", "heartbeat")
LOGIN = frozenset({"level2", "level3", "full", "user"})
STATUS = "status"
STATUS_MS = 5_000
SUBSCRIBE_WITHIN_S = 5.0
MESSAGES_PER_S = 100
REST_PER_S = 20
_FAILED = "Failed to subscribe"


class FeedConnection(Connection):
    """One client. A request is refused as a whole; an ack lists the whole set."""

    def __init__(self, exchange: FeedExchange, path: str) -> None:
        super().__init__(exchange.hub, exchange.config, path, exchange.name)
        self._asked = False
        self._messages = Limit(MESSAGES_PER_S, 1.0, self.config.limits)

    def on_text(self, text: bytes) -> None:
        if not self._messages.allow():
            self.close("1008", "rate limit exceeded")
            return
        request = json_object(text)
        if request is None:
            self._fail("Failed to parse message", "not a JSON object")
            return
        kind = request.get("type")
        if kind not in ("subscribe", "unsubscribe"):
            self._fail("Malformed JSON", f"unknown type {kind}")
            return
        names, reason = self._names(request)
        if reason:
            self._fail(_FAILED, reason)
            return
        if kind == "unsubscribe":
            self.leave(*names)
            self._ack()
            return
        self._asked = True
        fresh = [name for name in dict.fromkeys(names) if name not in self.subscriptions]
        self.subscriptions.update(dict.fromkeys(fresh))
        self._ack()
        self.join(*fresh)

    def _names(self, request: dict[str, object]) -> tuple[list[str], str]:
        """The streams of a request, or what is wrong with it."""
        names: list[str] = []
        common = request.get("product_ids", [])
        channels = request.get("channels")
        if not isinstance(channels, list) or not channels:
            return [], "no channels provided"
        for channel in channels:
            name, products = channel, common
            if isinstance(channel, dict):
                name, products = channel.get("name"), channel.get("product_ids", common)
            if name == STATUS:
                names.append(STATUS)
                continue
            if name in LOGIN:
                return [], f"{name} channel requires authentication"
            if name not in CHANNELS:
                return [], f"{name} is not a valid channel"
            if not isinstance(products, list) or not products:
                return [], f"{name} channel requires product_ids"
            for product in products:
                if self.hub.find(EXCHANGE, f"{name}:{product}") is None:
                    return [], f"{product} is not a valid product"
                names.append(f"{name}:{product}")
        return names, ""

    def _ack(self) -> None:
        shown: dict[str, list[str]] = {}
        for name in self.subscriptions:
            channel, colon, product = name.partition(":")
            shown.setdefault(channel, []).extend([product] if colon else [])
        rows = [{"name": name, "product_ids": ids} for name, ids in shown.items()]
        self.say({"type": "subscriptions", "channels": rows})

    def _fail(self, message: str, reason: str) -> None:
        self.say({"type": "error", "message": message, "reason": reason})

    def on_timer(self, now: int) -> None:
        if not self._asked and now - self.opened_ns > SUBSCRIBE_WITHIN_S * SECOND:
            self.close("1008", "no subscription within 5 seconds")


class FeedExchange(Exchange):
    """Spot products."""

    name = EXCHANGE
    steady = 50.0
    connects = (20, 1.0)
    words: ClassVar = {"active": "online", "halted": "offline", "ended": "delisted"}

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._status = self.hub.stream(EXCHANGE, STATUS, "*")
        self._status.greet = self._status_message
        self._rest = Limit(REST_PER_S, 1.0, self.config.limits)

    @classmethod
    def specs(cls, epoch_ms: int) -> list[Spec]:
        return [
            Spec(EXCHANGE, "BTC-USD", "spot", "BTC", "USD", "", 2, 1, 8, 1,
                 9_230_000, 500, 0.4, 30_000_000),
            Spec(EXCHANGE, "ETH-USD", "spot", "ETH", "USD", "", 2, 1, 8, 1,
                 310_500, 400, 0.3, 900_000_000),
            Spec(EXCHANGE, "SKL-BTC", "spot", "SKL", "BTC", "", 8, 1, 1, 1,
                 1_305, 150, 0.2, 9_850),
            Spec(EXCHANGE, "BAND-GBP", "spot", "BAND", "GBP", "", 4, 1, 2, 1,
                 148_024, 100, 0.1, 1_277),
        ]  # fmt: skip

    def market(self, spec: Spec) -> Market:
        config = self.config
        return ExchangeMarket(spec, self.hub, self.time, config.seed, config.one_sided)

    def connection(self, path: str) -> Connection | None:
        return FeedConnection(self, path) if path.partition("?")[0] in ("/", "") else None

    def timers(self) -> list[Timer]:
        return [(STATUS_MS, self._send_status)]

    def tell_state(self, market: Market) -> None:
        self._send_status()

    def _send_status(self) -> None:
        self.hub.post(self._status, self._status_message)

    def _status_message(self) -> tuple[str, str]:
        products = [market.reference() for market in self.listed]
        row = {"type": "status", "products": products, "currencies": []}
        return json.dumps(row, separators=(",", ":")), ""

    # -- REST ------------------------------------------------------------------------------

    def rest_symbol(self, request: RestRequest) -> str:
        parts = request.path.split("/")
        return parts[2] if len(parts) > 2 else ""

    def rest_refusal(self, status: int) -> str:
        return '{"message":"Public rate limit exceeded"}'

    def rest(self, request: RestRequest) -> RestAnswer | None:
        if not self._rest.allow():
            return RestAnswer(self.rest_refusal(429), 429)
        parts = request.path.strip("/").split("/")
        if parts == ["time"]:
            now = now_ns() // 1_000_000
            return RestAnswer(f'{{"iso":"{rfc3339(now)}","epoch":{now / 1_000}}}')
        if parts == ["products"]:
            rows = [market.reference() for market in self.listed]
            return RestAnswer(json.dumps(rows, separators=(",", ":")))
        if len(parts) == 3 and parts[0] == "products" and parts[2] == "book":
            market = self.markets.get(parts[1])
            if not isinstance(market, ExchangeMarket):
                return RestAnswer('{"message":"NotFound"}', 404)
            level = request.query.get("level", "1")
            if level not in ("1", "2"):
                return RestAnswer('{"message":"Invalid level"}', 400)
            body, event = market.order_book(int(level))
            return RestAnswer(body, event=event, instrument=market.spec.symbol)
        return None
