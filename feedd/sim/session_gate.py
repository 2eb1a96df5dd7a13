"""Gate's WebSocket v4, spot and futures: channel, event, payload."""

from __future__ import annotations

import re
from typing import ClassVar

from feedd.clock import now_ns
from feedd.sim.config import SimConfig
from feedd.sim.connection import Connection, json_object
from feedd.sim.hub import Hub

NOTICE_S = 30.0
INVALID_BODY = 1
INVALID_ARGUMENT = 2
WHOLE_SIZE = re.compile(r'("(?:size|s|B|A)":)(-?\d+)')
"""A contract size that is a number."""
LATE_ACK_EVERY = 3
"""One subscription in this many is acknowledged after its first data, as happens on the wire."""


class GateConnection(Connection):
    """One client; idle and without subscriptions it is closed after half a minute."""

    silence_s = 30.5
    notices = frozenset({"restart"})
    prefix: ClassVar[str]
    lists: ClassVar[frozenset[str]]
    """Channels whose payload is a list of instruments."""
    singles: ClassVar[frozenset[str]]
    """Channels with one instrument and its parameters as payload."""

    def __init__(
        self,
        hub: Hub,
        config: SimConfig,
        path: str,
        venue: str,
        symbols: frozenset[str],
        others: frozenset[str],
        *,
        decimal: bool = False,
    ) -> None:
        """``others`` are instruments of another socket: accepted here, and silent."""
        super().__init__(hub, config, path, venue)
        self._symbols = symbols
        self._others = others
        self._decimal = decimal
        self._requests = 0

    def frame(self, name: str, body: str) -> str:
        if self._decimal and self.prefix == "futures":
            return WHOLE_SIZE.sub(r'\1"\2"', body)
        return body

    def on_text(self, text: bytes) -> None:
        request = json_object(text)
        if request is None:
            self._reply({"channel": "", "event": ""}, INVALID_BODY, "invalid request body")
            return
        channel, event = str(request.get("channel")), request.get("event")
        if channel == f"{self.prefix}.ping":
            self.say(
                self._times() | {"channel": f"{self.prefix}.pong", "event": "", "result": None}
            )
        elif event not in ("subscribe", "unsubscribe"):
            self._reply(request, INVALID_BODY, "invalid event")
        else:
            self._change(channel, str(event), request)

    def _change(self, channel: str, event: str, request: dict[str, object]) -> None:
        payload = request.get("payload")
        if not isinstance(payload, list) or not all(isinstance(each, str) for each in payload):
            self._reply(request, INVALID_ARGUMENT, "invalid payload")
            return
        kind = channel.removeprefix(f"{self.prefix}.")
        if not channel.startswith(f"{self.prefix}.") or kind not in self.lists | self.singles:
            self._reply(request, INVALID_ARGUMENT, f"unknown channel {channel}")
            return
        parts = payload if kind in self.lists else [":".join(payload)]
        names = [f"{channel}:{part}" for part in parts]
        wrong = None if kind == "obu" else self._refusal(kind, payload, names)
        if wrong is not None:
            self._reply(request, INVALID_ARGUMENT, wrong)
        elif event == "unsubscribe":
            self._reply(request)
            self.leave(*names)
        else:
            self._subscribe(request, names)

    def _subscribe(self, request: dict[str, object], names: list[str]) -> None:
        known = [name for name in names if name in self.subscriptions]
        if known:
            self._reply(request, INVALID_ARGUMENT, f"Alert sub {known[0].partition(':')[2]}")
            return
        self._requests += 1
        late = self._requests % LATE_ACK_EVERY == 0
        if not late:
            self._reply(request)
        for name in names:
            if not self._foreign(name):
                self.join(name)
        if late:
            self._reply(request)

    def _foreign(self, name: str) -> bool:
        """Whether a subscription is of an instrument of another socket."""
        symbol = name.split(":")[1]
        if symbol.startswith("ob."):
            symbol = symbol.split(".")[1]
        return symbol in self._others

    def _refusal(self, kind: str, payload: list[str], names: list[str]) -> str | None:
        """What is wrong with a payload; None where it is right or silently accepted."""
        symbols = payload if kind in self.lists else payload[:1]
        for symbol in symbols:
            if symbol not in self._symbols and symbol not in self._others:
                return f"{self.unknown} {symbol}"
        if not payload:
            return "invalid payload"
        own = symbols[0] in self._symbols
        if kind in self.singles and own and self.hub.find(self.venue, names[0]) is None:
            return f"invalid argument {','.join(payload[1:])}"
        return None

    unknown: ClassVar[str] = "unknown currency pair"

    def _times(self) -> dict[str, object]:
        now = now_ns() // 1_000_000
        return {"time": now // 1_000, "time_ms": now}

    def _reply(self, request: dict[str, object], code: int = 0, message: str = "") -> None:
        trace = f"{self.number:08x}{self._requests:024x}"
        answer = self._times() | {
            "conn_id": f"{self.number:016x}",
            "trace_id": trace,
            "channel": request.get("channel"),
            "event": request.get("event"),
            "payload": request.get("payload"),
        }
        if "id" in request:
            answer["id"] = request["id"]
        if code:
            answer["error"] = {"code": code, "message": message}
        answer["result"] = {"status": "fail" if code else "success"}
        self.say(answer | {"requestId": trace})

    def announce(self, event: str) -> None:
        """Say that the connection is about to be closed for an upgrade."""
        result = {"type": "upgrade", "msg": "the connection will soon be closed for an upgrade"}
        head = {"channel": f"{self.prefix}.system", "event": "update"}
        self.say(self._times() | head | {"result": result})
        self.close_soon("1001", "upgrade", self.config.notice_s or NOTICE_S)

    def on_timer(self, now: int) -> None:
        if not self.subscriptions:  # a socket with a subscription is never idle
            super().on_timer(now)


class GateSpotConnection(GateConnection):
    """``wss://api.gateio.ws/ws/v4/``."""

    prefix = "spot"
    lists = frozenset({"trades", "tickers", "book_ticker", "obu"})
    singles = frozenset({"order_book_update", "order_book"})


class GateFuturesConnection(GateConnection):
    """``wss://fx-ws.gateio.ws/v4/ws/usdt`` and the like."""

    prefix = "futures"
    lists = frozenset(
        {"trades", "tickers", "book_ticker", "obu", "public_liquidates", "contract_info"}
    )
    singles = frozenset({"order_book_update", "order_book", "contract_stats"})
    unknown = "unknown contract"
