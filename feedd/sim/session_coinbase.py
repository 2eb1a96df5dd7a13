"""Coinbase Advanced Trade: one counter per connection, one channel per request."""

from __future__ import annotations

import json
from typing import ClassVar

from feedd.clock import monotonic_ns, now_ns
from feedd.sim.connection import SECOND, Connection, json_object
from feedd.sim.exchange import Exchange, RestAnswer, RestRequest, World
from feedd.sim.instruments import Spec, quarterly_expiry
from feedd.sim.market import Market
from feedd.sim.market_coinbase import ADVANCED, NUMBER, NUMBERED, AdvancedMarket
from feedd.sim.session_limits import Limit
from feedd.sim.text import rfc3339

CHANNELS = ("level2", "market_trades", "ticker", "ticker_batch")
HEARTBEATS = "heartbeats"
STATUS = "status"
SUBSCRIBE_WITHIN_S = 5.0
SILENT_S = 75.0
"""A connection without heartbeats ends after so long without an update (60 to 90 s)."""
HEARTBEAT_NS = SECOND
LEVEL2_PRODUCTS = 39
MESSAGES_PER_S = 8


class AdvancedConnection(Connection):
    """One client. ``sequence_num`` counts every frame that has a channel."""

    def __init__(self, exchange: CoinbaseExchange, path: str) -> None:
        super().__init__(exchange.hub, exchange.config, path, exchange.name)
        self._exchange = exchange
        self._next = 0
        self._beats = 0
        self._beat_ns = 0
        self._asked = False
        self._updated_ns = self.opened_ns
        self._messages = Limit(MESSAGES_PER_S, 1.0, self.config.limits)
        self._silent_ns = int((self.config.idle_s or SILENT_S) * SECOND)

    def frame(self, name: str, body: str) -> str:
        self._updated_ns = monotonic_ns()
        return body.replace(NUMBER, str(self._count()), 1)

    def stamped(self, events: str) -> str:
        number = f'"sequence":{self._next - 1},"numbering":"connection"'
        return events.replace(f'"sequence":{NUMBERED}', number)

    def _count(self) -> int:
        number, self._next = self._next, self._next + 1
        return number

    def _own(self, channel: str, event: str) -> None:
        """Send a frame that belongs to no stream."""
        now = now_ns() // 1_000
        self.answer(
            f'{{"channel":"{channel}","client_id":"",'
            f'"timestamp":"{rfc3339(now // 1_000, now % 1_000)}",'
            f'"sequence_num":{self._count()},"events":[{event}]}}'
        )

    def _fail(self, message: str) -> None:
        self.say({"type": "error", "message": message})

    # -- requests --------------------------------------------------------------------------

    def on_text(self, text: bytes) -> None:
        if not self._messages.allow():
            self._fail("rate limit exceeded")
            return
        request = json_object(text)
        if request is None:
            self._fail("failed to parse message")
            return
        kind, channel = request.get("type"), str(request.get("channel", ""))
        products = request.get("product_ids", [])
        if kind not in ("subscribe", "unsubscribe"):
            self._fail(f"unknown message type: {kind}")
        elif channel not in (*CHANNELS, HEARTBEATS, STATUS):
            self._fail(f"unknown channel: {channel}")
        elif not isinstance(products, list) or not all(isinstance(p, str) for p in products):
            self._fail("product_ids must be a list of products")
        elif channel in CHANNELS and not products:
            self._fail("product_ids is required")
        else:
            self._change(str(kind), channel, products)

    def _change(self, kind: str, channel: str, products: list[str]) -> None:
        names = [HEARTBEATS] if channel == HEARTBEATS else [f"{channel}:{p}" for p in products]
        if channel == STATUS and not products:
            names = [STATUS]
        if kind == "unsubscribe":
            self.leave(*names)
        else:
            books = {name for name in self.subscriptions if name.startswith("level2:")}
            books.update(name for name in names if channel == "level2")
            if self.config.limits and len(books) > LEVEL2_PRODUCTS:
                self._fail("too many L2 streams requested in a single session")
                return
            self._asked = True
            # Unknown products are left out of the set in the ack; the first data come before it.
            self.join(
                *[
                    name
                    for name in dict.fromkeys(names)
                    if name not in self.subscriptions
                    and (name == HEARTBEATS or self.hub.find(ADVANCED, name) is not None)
                ]
            )
        self._ack()

    def _ack(self) -> None:
        """The whole set of subscriptions."""
        shown: dict[str, list[str]] = {}
        for name in self.subscriptions:
            channel, _, product = name.partition(":")
            shown.setdefault(channel, []).append(product or channel)
        self._own("subscriptions", json.dumps({"subscriptions": shown}, separators=(",", ":")))

    # -- time ------------------------------------------------------------------------------

    def on_timer(self, now: int) -> None:
        if not self._asked and now - self.opened_ns > SUBSCRIBE_WITHIN_S * SECOND:
            self.close("1008", "no subscription within 5 seconds")
        elif HEARTBEATS in self.subscriptions:
            if now - self._beat_ns >= HEARTBEAT_NS:
                self._beat_ns = now
                self._beat()
        elif self._asked and now - self._updated_ns > self._silent_ns:
            self.close("1001", "no updates")

    def _beat(self) -> None:
        self._beats += 1
        now = now_ns() // 1_000
        moment = rfc3339(now // 1_000, now % 1_000, 9).replace("T", " ").replace("Z", "+00:00")
        self._own(HEARTBEATS, f'{{"current_time":"{moment}","heartbeat_counter":{self._beats}}}')


class CoinbaseExchange(Exchange):
    """Advanced Trade: spot products and a future of the derivatives exchange."""

    name = ADVANCED
    steady = 60.0
    connects = (8, 1.0)
    symbol_key = "product_id"
    words: ClassVar = {"active": "online", "ended": "delisted"}

    def __init__(self, world: World) -> None:
        super().__init__(world)
        stream = self.hub.stream(ADVANCED, STATUS, "*")
        stream.greet = lambda: self._status(self.listed)
        for symbol, market in self.markets.items():
            stream = self.hub.stream(ADVANCED, f"{STATUS}:{symbol}", symbol)
            stream.greet = lambda market=market: self._status([market])

    @classmethod
    def specs(cls, epoch_ms: int) -> list[Spec]:
        expiry = quarterly_expiry(epoch_ms)
        return [
            Spec(ADVANCED, "BTC-USD", "spot", "BTC", "USD", "", 2, 1, 8, 1,
                 9_230_000, 500, 0.4, 30_000_000),
            Spec(ADVANCED, "ETH-USD", "spot", "ETH", "USD", "", 2, 1, 8, 1,
                 310_500, 400, 0.3, 900_000_000),
            Spec(ADVANCED, "SOL-USDC", "spot", "SOL", "USDC", "", 2, 1, 8, 1,
                 14_120, 200, 0.2, 9_000_000_000),
            Spec(ADVANCED, f"BIT-{expiry:%d%b%y}-CDE".upper(), "future", "BTC", "USD", "USD",
                 0, 5, 0, 1, 18_500, 120, 0.1, 90, "0.01",
                 expiry_ms=int(expiry.timestamp()) * 1_000),
        ]  # fmt: skip

    def market(self, spec: Spec) -> Market:
        config = self.config
        return AdvancedMarket(spec, self.hub, self.time, config.seed, config.one_sided)

    def connection(self, path: str) -> Connection | None:
        return AdvancedConnection(self, path) if path.partition("?")[0] in ("/", "") else None

    def tell_state(self, market: Market) -> None:
        for name in (STATUS, f"{STATUS}:{market.spec.symbol}"):
            stream = self.hub.stream(ADVANCED, name, "*")
            self.hub.post(stream, lambda: self._status([market]))

    def _status(self, markets: list[Market]) -> tuple[str, str]:
        rows = [
            {
                "product_type": "SPOT",
                "id": market.spec.symbol,
                "base_currency": market.spec.base,
                "quote_currency": market.spec.quote,
                "base_increment": market.size_text(1),
                "quote_increment": market.price_text(1),
                "display_name": market.spec.symbol,
                "status": market.word or "online",
                "status_message": "",
                "min_market_funds": "1",
            }
            for market in markets
        ]
        event = json.dumps({"type": "snapshot", "products": rows}, separators=(",", ":"))
        return (
            f'{{"channel":"status","client_id":"","timestamp":"{rfc3339(self.time.now_ms)}",'
            f'"sequence_num":{NUMBER},"events":[{event}]}}'
        ), ""

    # -- REST ------------------------------------------------------------------------------

    def rest_refusal(self, status: int) -> str:
        return '{"error":"RESOURCE_EXHAUSTED","message":"Too many requests"}'

    def rest(self, request: RestRequest) -> RestAnswer | None:
        base = "/api/v3/brokerage/market/"
        if request.path == f"{base}products":
            wanted = request.query.get("product_type", "")
            rows = [market.reference() for market in self.listed]
            rows = [row for row in rows if wanted in ("", row["product_type"])]
            body = {"products": rows, "num_products": len(rows)}
            return RestAnswer(json.dumps(body, separators=(",", ":")))
        if request.path == f"{base}product_book":
            market = self.markets.get(request.query.get("product_id", ""))
            if not isinstance(market, AdvancedMarket):
                body = {"error": "NOT_FOUND", "message": "product not found"}
                return RestAnswer(json.dumps(body), 404)
            limit = request.query.get("limit", "1000")
            return RestAnswer(market.order_book(int(limit) if limit.isdigit() else 1_000))
        if request.path == "/api/v3/brokerage/time":
            now = now_ns() // 1_000_000
            return RestAnswer(f'{{"iso":"{rfc3339(now)}","epochMillis":"{now}"}}')
        return None
