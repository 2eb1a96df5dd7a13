"""Kraken's derivatives WebSocket: subscribe by feed and product, pinged by its clients."""

from __future__ import annotations

from feedd.sim.config import SimConfig
from feedd.sim.connection import Connection, json_object
from feedd.sim.hub import Hub
from feedd.sim.session_limits import Limit

FEEDS = ("book", "trade", "ticker", "ticker_lite")
HEARTBEAT = "heartbeat"
REQUESTS_PER_S = 100


class KrakenFuturesConnection(Connection):
    """One client; it must send something, if only a ping frame, at least every minute."""

    silence_s = 60.0

    def __init__(self, hub: Hub, config: SimConfig, path: str, venue: str) -> None:
        super().__init__(hub, config, path, venue)
        self._pace = Limit(REQUESTS_PER_S, 1.0, config.limits)
        self._requests = 0

    def on_open(self) -> None:
        self.say({"event": "info", "version": 1})

    def on_text(self, text: bytes) -> None:
        if not self._pace.allow():
            self.say({"event": "error", "message": "Rate limit exceeded"})
            return
        request = json_object(text)
        if request is None or request.get("event") not in ("subscribe", "unsubscribe"):
            self.say({"event": "alert", "message": "Bad request"})
            return
        feed, event = request.get("feed"), str(request["event"])
        products = request.get("product_ids", [])
        if feed == HEARTBEAT:
            self._change(event, HEARTBEAT, [""])
        elif feed not in FEEDS:
            self.say({"event": "error", "message": "Invalid feed"})
        elif not isinstance(products, list) or not products:
            self.say({"event": "alert", "message": "Bad request"})
        else:
            self._change(event, str(feed), [str(product) for product in products])

    def _change(self, event: str, feed: str, products: list[str]) -> None:
        """Acknowledge, in one message or one per product, and serve what is new."""
        found = []
        for product in products:
            name = f"{feed}:{product}" if product else feed
            if self.hub.find(self.venue, name) is None:
                self.say({"event": "error", "message": "Invalid product id"})
            else:
                found.append((product, name))
        if not found:
            return
        self._requests += 1
        together = self._requests % 2 == 1
        for part in [found] if together else [[each] for each in found]:
            ack: dict[str, object] = {"event": f"{event}d", "feed": feed}
            if part[0][0]:
                ack["product_ids"] = [product for product, _ in part]
            self.say(ack)
        names = [name for _, name in found]
        if event == "unsubscribe":
            self.leave(*names)
            return
        for name in names:
            if name not in self.subscriptions:
                self.join(name)
