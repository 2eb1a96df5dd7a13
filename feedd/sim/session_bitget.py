"""Bitget's public WebSocket, v2 and v3 form: one ack per argument, text pings."""

from __future__ import annotations

import json

from feedd.clock import monotonic_ns
from feedd.sim.config import SimConfig
from feedd.sim.connection import Connection, json_object
from feedd.sim.hub import Hub
from feedd.sim.session_limits import Limit

FAMILIES = ("SPOT", "USDT-FUTURES", "USDC-FUTURES", "COIN-FUTURES")
TOPICS = {
    "books": "books",
    "books1": "books1",
    "books5": "books5",
    "books50": "books50",
    "publicTrade": "trade",
    "ticker": "ticker",
    "liquidation": "liquidation",
}
"""Topics of v3, and what carries the same in v2."""
KEYS = {
    "asks": "a",
    "bids": "b",
    "tradeId": "i",
    "side": "S",
    "lastPr": "lastPrice",
    "holdingAmount": "openInterest",
}
"""Members whose names v3 changed, in every channel but ``liquidation``."""
TRADE_KEYS = {"price": "p", "size": "v", "ts": "T"}
CHANNELS = ("books", "books1", "books5", "books15", "trade", "ticker")
REQUEST_BYTES_MAX = 4_096
SUBSCRIPTIONS_PER_HOUR = 240
MESSAGES_PER_S = 10
HOUR_S = 3_600.0
NO_CHANNEL = 30001
TOO_MANY = 30006
BAD_PARAM = 30016


class BitgetConnection(Connection):
    """One client. ``families`` are the instrument types of this venue, by symbol."""

    silence_s = 120.0

    def __init__(
        self, hub: Hub, config: SimConfig, path: str, venue: str, families: dict[str, str]
    ) -> None:
        super().__init__(hub, config, path, venue)
        self._families = families
        self._pace = Limit(MESSAGES_PER_S, 1.0, config.limits)
        self._hourly = Limit(SUBSCRIPTIONS_PER_HOUR, HOUR_S, config.limits)
        self._pinged_ns = self.opened_ns

    def on_text(self, text: bytes) -> None:
        if not self._pace.allow():
            self.close("fin", "request over limit")
            return
        if text == b"ping":
            self._pinged_ns = monotonic_ns()
            self.answer("pong")
            return
        request = json_object(text) or {}
        operation, args = request.get("op"), request.get("args")
        good = operation in ("subscribe", "unsubscribe") and isinstance(args, list) and args
        if not good or not isinstance(args, list) or len(text) > REQUEST_BYTES_MAX:
            self._fail(None, BAD_PARAM, "Param error")
        else:
            for arg in args:
                self._one(str(operation), arg)

    def _one(self, operation: str, arg: object) -> None:
        if not isinstance(arg, dict) or self._family(arg) not in FAMILIES:
            self._fail(arg, BAD_PARAM, "Param error")
            return
        channel, symbol = self._named(arg)
        own = self._families.get(symbol)
        if own is None or not channel:
            shown = ",".join([f"{key}:{value}" for key, value in arg.items()])
            self._fail(arg, NO_CHANNEL, f"{shown} doesn't exist")
            return
        if operation == "subscribe" and not self._hourly.allow():
            self._fail(arg, TOO_MANY, "request too many")
            return
        self.say({"event": operation, "arg": arg})
        name = f"{channel}:{symbol}"
        if own != self._family(arg):
            return  # a real symbol of another family: accepted, and silent for ever
        if operation == "unsubscribe":
            self.leave(name)
        elif name in self.subscriptions:
            self.hub.greet(self, name)
        else:
            self.join(name)

    def _family(self, arg: dict[str, object]) -> str:
        return str(arg.get("instType"))

    def _named(self, arg: dict[str, object]) -> tuple[str, str]:
        """Channel (empty: there is none of that name) and symbol that an argument means."""
        channel = str(arg.get("channel"))
        return channel if channel in CHANNELS else "", str(arg.get("instId"))

    def _fail(self, arg: object, code: int, message: str) -> None:
        answer: dict[str, object] = {"event": "error"}
        if isinstance(arg, dict):
            answer["arg"] = arg
        self.say(answer | {"code": code, "msg": message})

    def on_timer(self, now: int) -> None:
        """Only the text ``ping`` counts as a sign of life, whatever else the client sends."""
        if now - self._pinged_ns > self.silence_ns:
            self.close("fin", "no ping")


class BitgetV3Connection(BitgetConnection):
    """The same content in the form of v3."""

    def _family(self, arg: dict[str, object]) -> str:
        name = str(arg.get("instType"))
        return name.upper() if name.islower() else ""

    def _named(self, arg: dict[str, object]) -> tuple[str, str]:
        return TOPICS.get(str(arg.get("topic")), ""), str(arg.get("symbol"))

    def frame(self, name: str, body: str) -> str:
        value = json.loads(body)
        arg = value["arg"]
        channel, symbol = arg["channel"], arg["instId"]
        topic = next(topic for topic, inside in TOPICS.items() if inside == channel)
        names = {**KEYS, **(TRADE_KEYS if channel == "trade" else {})}
        if channel == "liquidation":
            names = {}
        value["arg"] = {"instType": arg["instType"].lower(), "topic": topic, "symbol": symbol}
        value["data"] = [
            {names.get(key, key): member for key, member in row.items()} for row in value["data"]
        ]
        return json.dumps(value, separators=(",", ":"))
