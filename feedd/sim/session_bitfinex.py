"""Bitfinex's WebSocket v2: channels get a number per connection, frames a counter.

Aggregated (P1 to P4) and raw (R0) books, candles and funding symbols are not simulated: a
subscription to one is refused.
"""

from __future__ import annotations

from collections.abc import Callable

from feedd.clock import monotonic_ns, now_ns
from feedd.sim.config import SimConfig
from feedd.sim.connection import SECOND, Connection, json_object
from feedd.sim.hub import Hub
from feedd.sim.market_bitfinex import LENGTHS, SPACING_MS

TIMESTAMP = 32_768
SEQ_ALL = 65_536
OB_CHECKSUM = 131_072
CHANNELS_MAX = 36
HEARTBEAT_S = 15.0
NOTICE_S = 30.0
INVALID, DUPLICATE, UNKNOWN_CHANNEL, LIMIT, NOT_SUBSCRIBED = 10300, 10301, 10302, 10305, 10400
UNKNOWN_EVENT = 10000
NOTICES = {
    "restart": (20051, "Stopping. Please try to reconnect."),
    "maintenance": (20060, "Entering in Maintenance mode. Please pause any activity."),
    "online": (20061, "Maintenance ended. It is advised to unsubscribe and subscribe again."),
}
Request = dict[str, object]


class BitfinexConnection(Connection):
    """One client; its channel ids and its counter mean nothing elsewhere."""

    silence_s = 60.0
    notices = frozenset(NOTICES)

    def __init__(
        self, hub: Hub, config: SimConfig, path: str, venue: str, clock: Callable[[], int]
    ) -> None:
        super().__init__(hub, config, path, venue)
        self._clock = clock
        self._flags = 0
        self._ids: dict[str, int] = {}
        self._sequence = 0
        self._given = 0
        self._stamp = 0
        self._active: dict[str, int] = {}
        self._heartbeat_ns = int((config.ping_s or HEARTBEAT_S) * SECOND)

    def on_open(self) -> None:
        self.say(
            {
                "event": "info",
                "version": 2,
                "serverId": f"00000000-0000-4000-8000-{self.number:012x}",
                "platform": {"status": 1},
            }
        )

    # -- frames ----------------------------------------------------------------------------

    def frame(self, name: str, body: str) -> str:
        """``[chanId, payload, sequence, time]``; checksums only for those who asked for them."""
        ident = self._ids.get(name)
        if ident is None or (body.startswith('"cs"') and not self._flags & OB_CHECKSUM):
            return ""
        self._active[name] = monotonic_ns()
        return f"[{ident},{body}{self._tail()}]"

    def _tail(self) -> str:
        """What the options add to an array; every array of the connection counts."""
        tail = ""
        if self._flags & SEQ_ALL:
            self._sequence += 1
            tail = f",{self._sequence}"
        if self._flags & TIMESTAMP:
            self._stamp = self._clock()
            tail += f",{self._stamp}"
        return tail

    def stamped(self, events: str) -> str:
        """A record has the number of its frame, and its time where the message itself has none."""
        if self._flags & SEQ_ALL:
            number = f'"numbering":"connection","sequence":{self._sequence}'
            events = events.replace('"sequence":null', number)
        if self._flags & TIMESTAMP:
            stamp_ns = self._stamp * 1_000_000
            events = events.replace('"ts_event":0,', f'"ts_event":{stamp_ns},')
            events = events.replace('"ts_event":0}', f'"ts_event":{stamp_ns}}}')
        return events

    # -- requests --------------------------------------------------------------------------

    def on_text(self, text: bytes) -> None:
        request = json_object(text)
        if request is None:
            return
        event = request.get("event")
        if event == "ping":
            answer = {"event": "pong", "ts": now_ns() // 1_000_000}
            self.say(answer | ({"cid": request["cid"]} if "cid" in request else {}))
        elif event == "conf":
            flags = request.get("flags")
            self._flags = flags if isinstance(flags, int) else 0
            self.say({"event": "conf", "status": "OK", "flags": self._flags})
        elif event == "subscribe":
            self._subscribe(request)
        elif event == "unsubscribe":
            self._unsubscribe(request.get("chanId"))
        else:
            self._fail(UNKNOWN_EVENT, f"event: {event}", {})

    def _fail(self, code: int, words: str, request: Request) -> None:
        shown = {key: value for key, value in request.items() if key != "event"}
        self.say({"event": "error", "msg": words, "code": code} | shown)

    def _subscribe(self, request: Request) -> None:
        channel, symbol = request.get("channel"), str(request.get("symbol"))
        shown: Request = {"symbol": symbol}
        if channel == "book":
            shown |= {
                "prec": request.get("prec", "P0"),
                "freq": request.get("freq", "F0"),
                "len": str(request.get("len", LENGTHS[1])),
            }
            if shown["freq"] not in SPACING_MS or shown["len"] not in LENGTHS:
                self._fail(INVALID, "len: invalid", request)
                return
            name = f"book:{symbol}:{shown['prec']}:{shown['freq']}:{shown['len']}"
        elif channel in ("trades", "ticker"):
            name = f"{channel}:{symbol}"
        elif channel == "status":
            shown = {"key": str(request.get("key"))}
            name = f"status:{shown['key']}"
        else:
            self._fail(UNKNOWN_CHANNEL, "channel: unknown", request)
            return
        if channel != "status":
            shown["pair"] = symbol.removeprefix("t")
        if self.hub.find(self.venue, name) is None:
            self._fail(INVALID, "symbol: invalid", request)
        elif name in self._ids:
            self._fail(DUPLICATE, "subscribe: dup", request)
        elif self.config.limits and len(self._ids) >= CHANNELS_MAX:
            self._fail(LIMIT, "subscribe: limit", request)
        else:
            if "subId" in request:
                shown["subId"] = request["subId"]
            self._open(name, {"channel": channel}, shown)

    def _open(self, name: str, head: Request, shown: Request) -> None:
        self._given += 1
        ident = self._ids[name] = self.number * 10_000 + self._given * 17
        self._active[name] = monotonic_ns()
        self.say({"event": "subscribed"} | head | {"chanId": ident} | shown)
        self.join(name)

    def _unsubscribe(self, ident: object) -> None:
        names = [name for name, given in self._ids.items() if given == ident]
        if not names:
            self._fail(NOT_SUBSCRIBED, "unsubscribe: invalid", {"chanId": ident})
            return
        self.leave(*names)
        del self._ids[names[0]], self._active[names[0]]
        self.say({"event": "unsubscribed", "status": "OK", "chanId": ident})

    # -- time ------------------------------------------------------------------------------

    def announce(self, event: str) -> None:
        """An info message; a restart ends the connection a little later."""
        code, words = NOTICES[event]
        self.say({"event": "info", "code": code, "msg": words})
        if event == "restart":
            self.close_soon("1001", "restart", self.config.notice_s or NOTICE_S)

    def on_timer(self, now: int) -> None:
        for name, heard in self._active.items():
            if now - heard >= self._heartbeat_ns:
                self._active[name] = now
                self.answer(f'[{self._ids[name]},"hb"{self._tail()}]')
        if not self._ids:  # a socket with a channel is never idle
            super().on_timer(now)
