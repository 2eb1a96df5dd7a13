"""Hyperliquid's WebSocket: one subscription in a frame, and no mercy for unknown coins.

Books aggregated to fewer figures and requests over the socket (``post``) are not simulated; they
are refused like a malformed request.
"""

from __future__ import annotations

import json

from feedd.sim.config import SimConfig
from feedd.sim.connection import SECOND, Connection, json_object
from feedd.sim.hub import Hub
from feedd.sim.session_limits import Limit

CONNECTIONS_MAX = 10
SUBSCRIPTIONS_MAX = 1_000
MESSAGES_PER_MINUTE = 2_000
SILENCE_S = 60.0
DEATH_S = 0.1
"""From a subscription to an unknown coin to the end of the connection."""
PER_COIN = frozenset({"l2Book", "bbo", "trades", "activeAssetCtx"})
FIGURES_FATAL = 6


class HyperliquidConnection(Connection):
    """One client; ``messages`` counts those of all connections."""

    def __init__(self, hub: Hub, config: SimConfig, path: str, venue: str, messages: Limit) -> None:
        super().__init__(hub, config, path, venue)
        self._messages = messages
        self._patience_ns = int((config.idle_s or SILENCE_S) * SECOND)

    def on_open(self) -> None:
        if self.config.limits and len(self._all()) > CONNECTIONS_MAX:
            self.close("fin", "too many connections")

    def _all(self) -> list[Connection]:
        return [
            other
            for other in self.hub.connections.values()
            if isinstance(other, HyperliquidConnection)
        ]

    def on_text(self, text: bytes) -> None:
        if not self._messages.allow():
            self.close("fin", "too many messages")
            return
        if self.doomed:
            return
        request = json_object(text) or {}
        method, wanted = request.get("method"), request.get("subscription")
        if method == "ping":
            self.say({"channel": "pong"})
        elif method in ("subscribe", "unsubscribe") and isinstance(wanted, dict):
            self._change(str(method), wanted, text)
        else:
            self._unclear(text)

    def _unclear(self, text: bytes) -> None:
        shown = text.decode("utf-8", "replace")
        self._error(f"Error parsing JSON into valid websocket request: {shown}")

    def _error(self, words: str) -> None:
        self.say({"channel": "error", "data": words})

    def _change(self, method: str, wanted: dict[str, object], text: bytes) -> None:
        kind, coin = wanted.get("type"), wanted.get("coin")
        if kind == "allMids":
            name, shown = "allMids", dict(wanted)
        elif kind in PER_COIN and isinstance(coin, str):
            name, shown = f"{kind}:{coin}", {"type": kind, "coin": coin}
        else:
            self._unclear(text)
            return
        if kind == "l2Book":
            figures = wanted.get("nSigFigs")
            if figures == FIGURES_FATAL:
                self._die()
                return
            if figures is not None or wanted.get("mantissa") is not None:
                self._unclear(text)
                return
            shown |= {"nSigFigs": None, "mantissa": None}
            if wanted.get("fast") is True:
                name, shown = f"{name}:fast", shown | {"fast": True}
        if self.hub.find(self.venue, name) is None:
            self._die()
        elif method == "subscribe":
            self._subscribe(name, shown)
        elif name not in self.subscriptions:
            self._error(f"Already unsubscribed: {json.dumps(shown)}")
        else:
            self._respond(method, shown)
            self.leave(name)

    def _subscribe(self, name: str, shown: dict[str, object]) -> None:
        if name in self.subscriptions:
            self._error(f"Already subscribed: {json.dumps(shown)}")
            return
        total = sum(len(other.subscriptions) for other in self._all())
        if self.config.limits and total >= SUBSCRIPTIONS_MAX:
            self._error(f"Cannot track more than {SUBSCRIPTIONS_MAX} total subscriptions.")
            return
        self._respond("subscribe", shown)
        self.join(name)

    def _respond(self, method: str, shown: dict[str, object]) -> None:
        data = {"method": method, "subscription": shown}
        self.say({"channel": "subscriptionResponse", "data": data})

    def _die(self) -> None:
        """The venue ends the connection in a moment, without a word."""
        self.close_soon("fin", "unknown coin", DEATH_S)

    def on_timer(self, now: int) -> None:
        if now - self.sent_ns > self._patience_ns:
            self.close("fin", "nothing sent")
