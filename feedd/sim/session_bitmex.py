"""BitMEX's realtime API: tables by instrument, one ack per topic."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

from feedd.clock import monotonic_ns, now_ns
from feedd.sim.config import SimConfig
from feedd.sim.connection import SECOND, Connection, json_object
from feedd.sim.hub import Hub
from feedd.sim.session_limits import Limit
from feedd.sim.text import iso_ms

TABLES = frozenset(
    {
        "trade", "orderBookL2", "orderBookL2_25", "orderBook10", "quote", "instrument", "funding",
        "liquidation", "settlement", "announcement", "insurance",
    }
)  # fmt: skip
WHOLE = frozenset({"announcement", "insurance"})
"""Tables that have no instruments."""
TOPICS_MAX = 20
SUBSCRIPTIONS_PER_HOUR = 720
NOTICE_S = 5.0
LATE_TABLES = ("orderBookL2:", "orderBookL2_25:")
LATE_EVERY = 2
"""One book in this many gets its partial after its first changes, as on a busy socket."""
LATE_NS = SECOND // 10


class BitmexConnection(Connection):
    """One client. ``hourly`` counts the subscriptions of all."""

    notices = frozenset({"maintenance"})

    def __init__(
        self,
        hub: Hub,
        config: SimConfig,
        path: str,
        venue: str,
        symbols: tuple[str, ...],
        hourly: Limit,
    ) -> None:
        super().__init__(hub, config, path, venue)
        self._symbols = symbols
        self._hourly = hourly
        self._topics: dict[str, list[str]] = {}
        self._late: dict[str, int] = {}
        self._books = 0
        self._early = False

    def frame(self, name: str, body: str) -> str:
        self._early = name in self._late
        return body

    def stamped(self, events: str) -> str:
        """Nothing is due of what comes before the partial."""
        return "" if self._early else events

    def on_open(self) -> None:
        now = iso_ms(now_ns() // 1_000_000)
        self.say(
            {
                "info": "Welcome to the BitMEX Realtime API.",
                "version": "2.0.0",
                "timestamp": now,
                "docs": "https://www.bitmex.com/app/wsAPI",
                "heartbeatEnabled": False,
                "limit": {"remaining": 39},
            }
        )
        asked = parse_qs(urlsplit(self.path).query).get("subscribe", [])
        topics = [topic for each in asked for topic in each.split(",") if topic]
        if topics:
            self._change("subscribe", topics)

    def on_text(self, text: bytes) -> None:
        if text == b"ping":
            self.answer("pong")
            return
        request = json_object(text)
        if request is None:
            self._fail(400, "Unrecognized request. See the docs.", None)
            return
        operation, args = request.get("op"), request.get("args")
        topics = [args] if isinstance(args, str) else args
        if operation not in ("subscribe", "unsubscribe"):
            self._fail(400, f"Unknown op: {operation}", request)
        elif not isinstance(topics, list) or not all(isinstance(each, str) for each in topics):
            self._fail(400, "Arguments must be an array of strings.", request)
        elif len(topics) > TOPICS_MAX:
            self._fail(400, f"Too many arguments; at most {TOPICS_MAX}.", request)
        else:
            self._change(str(operation), topics)

    def _change(self, operation: str, topics: list[str]) -> None:
        request = {"op": operation, "args": topics}
        for topic in topics:
            table = topic.partition(":")[0]
            known = topic in self._topics
            if table not in TABLES:
                self._fail(400, f"Unknown table: {table}", request)
            elif operation == "unsubscribe":
                self.say({"success": True, "unsubscribe": topic, "request": request})
                self.leave(*self._topics.pop(topic, []))
            elif known:
                words = f"You are already subscribed to this topic: {topic}"
                self._fail(400, words, request)
            elif not self._hourly.allow():
                words = "Rate limit exceeded, retry in 5 seconds."
                self._fail(429, words, request, {"retryAfter": 5})
            else:
                self.say({"success": True, "subscribe": topic, "request": request})
                self._serve(topic)

    def _serve(self, topic: str) -> None:
        """Join the streams of a topic: of one instrument, or of all where it names none."""
        table, _, symbol = topic.partition(":")
        symbols = (symbol,) if symbol else () if table in WHOLE else self._symbols
        names = [f"{table}:{each}" for each in symbols]
        real = [name for name in names if self.hub.find(self.venue, name) is not None]
        self._topics[topic] = real
        if not real:
            only = json.dumps({"symbol": symbol} if symbol else {})
            self.answer(
                f'{{"table":"{table}","action":"partial","keys":[],"types":{{}},'
                f'"foreignKeys":{{}},"attributes":{{}},"filter":{only},"data":[]}}'
            )
        for name in real:
            if name in self.subscriptions:
                continue
            self._books += name.startswith(LATE_TABLES)
            if name.startswith(LATE_TABLES) and self._books % LATE_EVERY == 0:
                self._join_late(name)
            else:
                self.join(name)

    def _join_late(self, name: str) -> None:
        """Attach to a book whose partial comes in a moment."""
        self._late[name] = monotonic_ns() + LATE_NS
        self.join(name, greeted=False)

    def on_timer(self, now: int) -> None:
        for name in [name for name, due in self._late.items() if now >= due]:
            del self._late[name]
            if name in self.subscriptions:
                self.hub.greet(self, name)
        super().on_timer(now)

    def _fail(
        self, status: int, words: str, request: object, meta: dict[str, int] | None = None
    ) -> None:
        self.say({"status": status, "error": words, "meta": meta or {}, "request": request})

    def announce(self, event: str) -> None:
        """Tell those who listen to announcements; the connection ends a little later."""
        if "announcement" in self._topics:
            row = {
                "id": 1,
                "link": "https://blog.bitmex.com/maintenance",
                "title": "Scheduled maintenance",
                "content": "The trading engine will be restarted.",
                "date": iso_ms(now_ns() // 1_000_000),
            }
            self.say({"table": "announcement", "action": "insert", "data": [row]})
        self.close_soon("1001", "maintenance", self.config.notice_s or NOTICE_S)
