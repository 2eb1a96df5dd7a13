"""Binance's WebSocket streams: spot, futures and options, combined and raw."""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import orjson

from feedd.clock import monotonic_ns, now_ns
from feedd.sim.config import SimConfig
from feedd.sim.connection import SECOND, Connection
from feedd.sim.hub import Hub
from feedd.sim.instruments import COINM, OPTIONS, SPOT, USDM
from feedd.sim.source import Source

MAX_STREAMS = {SPOT: 1_024, USDM: 1_024, COINM: 1_024, OPTIONS: 200}
MESSAGES_PER_S = {SPOT: 5, USDM: 10, COINM: 10, OPTIONS: 10}
PING_S = {SPOT: 20.0, USDM: 180.0, COINM: 180.0, OPTIONS: 300.0}
PONG_TIMEOUT_S = {SPOT: 60.0, USDM: 600.0, COINM: 600.0, OPTIONS: 900.0}
PUBLIC = {
    USDM: ("bookTicker", "depth", "rpiDepth"),
    OPTIONS: ("bookTicker", "depth", "optionTrade", "optionTicker"),
}
"""Stream kinds of the /public route, where there are routes; all others belong to /market."""
UNDOCUMENTED = "trade"
"""Served on both routes: no document says where it belongs."""


class BinanceConnection(Connection):
    """One Binance client. ``route`` is public or market where there are routes, else empty."""

    notices: ClassVar[frozenset[str]] = frozenset({"serverShutdown"})

    def __init__(
        self, hub: Hub, config: SimConfig, path: str, source: Source | None, venue: str
    ) -> None:
        super().__init__(hub, config, path, venue)
        parts = urlsplit(path)
        segments = [segment for segment in parts.path.split("/") if segment]
        self.route = segments.pop(0) if segments[0] in ("public", "market") else ""
        self.combined = segments[0] == "stream"
        self._source = source
        self._url_streams = segments[1:]
        for value in parse_qs(parts.query).get("streams", []):
            self._url_streams += [name for name in value.split("/") if name]
        self._ping_ns = int((config.ping_s or PING_S[venue]) * SECOND)
        self._pong_ns = int((config.pong_timeout_s or PONG_TIMEOUT_S[venue]) * SECOND)
        self._next_ping = 0
        self._pinged_ns = 0
        self._payload = b""
        self._window_ns = 0
        self._in_window = 0

    def frame(self, name: str, body: str) -> str:
        return f'{{"stream":"{name}","data":{body}}}' if self.combined else body

    def on_open(self) -> None:
        self._next_ping = monotonic_ns() + self._ping_ns
        if self._url_streams:
            self._add(self._url_streams)

    # -- requests --------------------------------------------------------------------------

    def on_text(self, text: bytes) -> None:
        if self._too_fast():
            self.close("1008", "Too many requests")
            return
        try:
            request = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            self._fail(3, f"Invalid JSON: {error.msg}", None)
            return
        if not isinstance(request, dict):
            self._fail(2, "Invalid request: request must be an object", None)
            return
        ident = request.get("id")
        names = request.get("params", [])
        method = request.get("method")
        if not _id_ok(ident):
            self._fail(2, "Invalid request: request ID must be an integer, string or null", None)
        elif method in ("SUBSCRIBE", "UNSUBSCRIBE"):
            self._change(str(method), names, ident)
        elif method == "LIST_SUBSCRIPTIONS":
            self._reply(list(self.subscriptions), ident)
        elif method == "SET_PROPERTY":
            self._set_property(names, ident)
        elif method == "GET_PROPERTY" and names == ["combined"]:
            self._reply(self.combined, ident)
        elif method == "GET_PROPERTY":
            self._fail(0, f"Unknown property: {names}", ident)
        else:
            self._fail(2, f"Invalid request: unknown variant `{method}`", ident)

    def _too_fast(self) -> bool:
        now = monotonic_ns()
        if now - self._window_ns >= SECOND:
            self._window_ns, self._in_window = now, 0
        self._in_window += 1
        return self.config.limits and self._in_window > MESSAGES_PER_S[self.venue]

    def _change(self, method: str, names: object, ident: object) -> None:
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self._fail(2, "Invalid request: params must be a list of strings", ident)
        elif method == "UNSUBSCRIBE":
            self._reply(None, ident)
            self.leave(*names)
        elif len(self.subscriptions.keys() | set(names)) > MAX_STREAMS[self.venue]:
            most = MAX_STREAMS[self.venue]
            self._fail(2, f"Invalid request: more than {most} streams", ident)
        else:
            self._reply(None, ident)
            self._add(names)

    def _add(self, names: list[str]) -> None:
        """Subscribe; a name that is unknown or on the wrong route is accepted and stays silent."""
        for name in names:
            self.subscriptions[name] = None
            if self._routed(name):
                self.hub.subscribe(self, name)
        self.note_subscribed(list(names))
        if self._source is not None:
            self._source.subscribed()

    def _routed(self, name: str) -> bool:
        kinds = PUBLIC.get(self.venue)
        if kinds is None or not self.route:
            return True
        kind = name.split("@")[1] if "@" in name and not name.startswith("!") else name.strip("!")
        if self.venue == USDM and kind == UNDOCUMENTED:
            return True
        public = any(kind == known or kind.rstrip("0123456789") == known for known in kinds)
        return public == (self.route == "public")

    def _set_property(self, params: object, ident: object) -> None:
        if not isinstance(params, list) or len(params) != 2 or params[0] != "combined":
            self._fail(0, "Unknown property", ident)
        elif not isinstance(params[1], bool):
            self._fail(1, "Invalid value type: expected Boolean", ident)
        else:
            self.combined = params[1]
            self._reply(None, ident)

    def _reply(self, result: object, ident: object) -> None:
        self.say({"result": result, "id": ident})

    def _fail(self, code: int, message: str, ident: object) -> None:
        self.say({"code": code, "msg": message, "id": ident})

    # -- time ------------------------------------------------------------------------------

    def on_pong(self, payload: bytes) -> None:
        if self._pinged_ns and payload == self._payload:
            self._pinged_ns = 0

    def on_timer(self, now: int) -> None:
        if now - self.opened_ns > self.config.max_life_s * SECOND:
            self.close("1001", "maximum lifetime reached")
        elif self._pinged_ns and now - self._pinged_ns > self._pong_ns:
            self.close("1008", "Pong timeout")
        elif now >= self._next_ping:
            self._next_ping = now + self._ping_ns
            self._payload = str(now_ns() // 1_000_000).encode()
            self._pinged_ns = self._pinged_ns or now
            self.ping(self._payload)

    def announce(self, event: str) -> None:
        """``serverShutdown``: sent before the venue closes a connection on its own account."""
        self.answer(
            self.frame("!serverShutdown", f'{{"e":"serverShutdown","E":{now_ns() // 1_000_000}}}')
        )


def _id_ok(ident: object) -> bool:
    if isinstance(ident, bool):
        return False
    if isinstance(ident, str):
        return len(ident) <= 36
    return ident is None or isinstance(ident, int)
