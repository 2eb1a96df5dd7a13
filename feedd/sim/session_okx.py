"""OKX v5: its public and business sockets, REST, and the venue as a whole."""

from __future__ import annotations

import json
from functools import partial
from typing import ClassVar

from feedd.clock import now_ns
from feedd.sim import events
from feedd.sim.connection import SECOND, Connection, json_object
from feedd.sim.exchange import Exchange, RestAnswer, RestRequest, World
from feedd.sim.hub import Stream
from feedd.sim.instruments import Spec, quarterly_expiry
from feedd.sim.market import Market, Timer
from feedd.sim.market_okx import OKX, TYPES, OkxMarket, family
from feedd.sim.session_limits import Limit

PATHS = {"/ws/v5/public": "public", "/ws/v5/business": "business"}
BUSINESS = frozenset({"trades-all"})
LOGIN = frozenset({"books-l2-tbt", "books50-l2-tbt"})
"""Channels for accounts of a high tier: nobody has one here."""
OPS_PER_HOUR = 480
ARGS_BYTES = 64 * 1024
IDLE_S = 30.0
NOTICE_S = 60.0
SUMMARY_MS = 1_000
INDEX_MS = 100
REST_PER_2S = 20
REST_BOOKS_PER_2S = 40
_SELECTORS = ("instId", "instFamily", "uly", "instType")


class OkxConnection(Connection):
    """One client; each argument of a request is acked or refused on its own."""

    notices: ClassVar[frozenset[str]] = frozenset({"64008"})

    def __init__(self, exchange: OkxExchange, path: str, route: str) -> None:
        super().__init__(exchange.hub, exchange.config, path, exchange.name)
        self.route = route
        self._ops = Limit(OPS_PER_HOUR, 3_600, self.config.limits)
        self._idle_ns = int((self.config.idle_s or IDLE_S) * SECOND)

    @property
    def _ident(self) -> str:
        return f"a4d3ae{self.number:04x}"

    def on_text(self, text: bytes) -> None:
        if text == b"ping":
            self.answer("pong")
            return
        shown = text.decode("utf-8", "replace")
        request = json_object(text)
        args = None if request is None else request.get("args")
        if request is None or not isinstance(args, list):
            self._error("60012", f"Invalid request: {shown}", None)
            return
        op, ident = request.get("op"), request.get("id")
        if ident is not None and not (isinstance(ident, str) and _id_ok(ident)):
            self._error("60012", f"Invalid request: {shown}", None)
        elif op not in ("subscribe", "unsubscribe", "login"):
            self._error("60019", f"Invalid op: {op}", ident)
        elif len(json.dumps(args, separators=(",", ":"))) > ARGS_BYTES:
            self._error("60012", "Invalid request: args longer than 64 KB", ident)
        elif not self._ops.allow():
            self._error("60014", "Requests too frequent", ident)
        elif op == "login":
            self._error("60009", "Login failed.", ident)
        else:
            for arg in args:
                self._one(str(op), arg, ident)

    def _one(self, op: str, arg: object, ident: str | None) -> None:
        name = self._name(arg)
        channel = name.partition(":")[0]
        if channel in LOGIN:
            self._error("60011", "Please log in", ident)
        elif (channel in BUSINESS) != (self.route == "business") or not self.hub.find(OKX, name):
            what = json.dumps(arg, separators=(",", ":"))
            message = (
                f"Wrong URL or {what} doesn't exist. Please use the correct URL, channel and "
                "parameters referring to API document."
            )
            self._error("60018", message, ident)
        elif op == "subscribe":
            self._ack(op, arg, ident)
            if name not in self.subscriptions:
                self.join(name)
        else:
            self.leave(name)
            self._ack(op, arg, ident)

    @staticmethod
    def _name(arg: object) -> str:
        """The stream an argument means: the channel and its most exact selector."""
        if not isinstance(arg, dict) or not isinstance(arg.get("channel"), str):
            return ""
        chosen = next((str(arg[key]) for key in _SELECTORS if arg.get(key)), "")
        return f"{arg['channel']}:{chosen}" if chosen else str(arg["channel"])

    def _ack(self, op: str, arg: object, ident: str | None) -> None:
        row: dict[str, object] = {} if ident is None else {"id": ident}
        self._reply(row | {"event": op, "arg": arg})

    def _error(self, code: str, message: str, ident: str | None) -> None:
        row: dict[str, object] = {} if ident is None else {"id": ident}
        self._reply(row | {"event": "error", "code": code, "msg": message})

    def _reply(self, row: dict[str, object]) -> None:
        self.say(row | {"connId": self._ident})

    def on_timer(self, now: int) -> None:
        if now - max(self.heard_ns, self.sent_ns) > self._idle_ns:
            self.close("4004", "No data received in 30s.")

    def announce(self, event: str) -> None:
        """Notice 64008; the connection is closed a minute later."""
        message = "The connection will soon be closed for a service upgrade. Please reconnect."
        self._reply({"event": "notice", "code": event, "msg": message})
        self.close_soon("1001", "service upgrade", self.config.notice_s or NOTICE_S)


def _id_ok(ident: str) -> bool:
    return len(ident) <= 32 and ident.isascii() and ident.isalnum()


class OkxExchange(Exchange):
    """Spot, swaps, a future and options, their indices, REST."""

    name = OKX
    steady = 120.0
    connects = (3, 1.0)
    symbol_key = "instId"
    events: ClassVar[frozenset[str]] = frozenset({"reset"})
    words: ClassVar = {"active": "live", "halted": "suspend", "ended": "expired"}
    retick = True

    def __init__(self, world: World) -> None:
        super().__init__(world)
        markets = [m for m in self.markets.values() if isinstance(m, OkxMarket)]
        self._options: dict[str, list[OkxMarket]] = {}
        for market in markets:
            if market.spec.kind == "option":
                self._options.setdefault(family(market.spec), []).append(market)
        self._summaries: dict[str, Stream] = {}
        for name in self._options:
            stream = self.hub.stream(OKX, f"opt-summary:{name}", "*")
            stream.greet = lambda name=name: self._summary(name)
            self._summaries[name] = stream
        # The index of a pair is that of its first derivative.
        self._indices: dict[str, OkxMarket] = {}
        for market in markets:
            if market.spec.kind in ("perpetual", "future"):
                self._indices.setdefault(family(market.spec), market)
        self._index_streams: dict[str, Stream] = {}
        for name in self._indices:
            stream = self.hub.stream(OKX, f"index-tickers:{name}", name)
            stream.greet = lambda name=name: self._index(name)
            self._index_streams[name] = stream
        for kind in set(TYPES.values()):
            stream = self.hub.stream(OKX, f"instruments:{kind}", "*")
            stream.greet = lambda kind=kind: self._instruments(kind)
        for kind in ("SWAP", "FUTURES", "OPTION", "MARGIN"):
            # accepted for every type, also where nothing is ever liquidated here
            self.hub.stream(OKX, f"liquidation-orders:{kind}", "*")
        limits = self.config.limits
        self._rest = Limit(REST_PER_2S, 2, limits)
        self._rest_books = Limit(REST_BOOKS_PER_2S, 2, limits)

    @classmethod
    def specs(cls, epoch_ms: int) -> list[Spec]:
        expiry = quarterly_expiry(epoch_ms)
        code, expiry_ms = f"{expiry:%y%m%d}", int(expiry.timestamp()) * 1_000
        inverse, option = ("BTC", "USD", "BTC"), "option"
        return [
            Spec(OKX, "BTC-USDT", "spot", "BTC", "USDT", "", 1, 1, 8, 1,
                 923_000, 280, 0.16, 3_000_000),
            Spec(OKX, "ETH-USDT", "spot", "ETH", "USDT", "", 2, 1, 6, 1,
                 310_500, 260, 0.10, 900_000),
            Spec(OKX, "BTC-USDT-SWAP", "perpetual", "BTC", "USDT", "USDT", 1, 1, 2, 1,
                 923_100, 280, 0.24, 9_000, "0.01"),
            Spec(OKX, "ETH-USDT-SWAP", "perpetual", "ETH", "USDT", "USDT", 2, 1, 2, 1,
                 310_600, 260, 0.16, 7_000, "0.1"),
            Spec(OKX, "BTC-USD-SWAP", "perpetual", *inverse, 1, 1, 0, 1,
                 922_900, 260, 0.14, 900, "100"),
            Spec(OKX, f"BTC-USD-{code}", "future", *inverse, 1, 1, 0, 1,
                 925_000, 200, 0.10, 400, "100", expiry_ms=expiry_ms),
            Spec(OKX, f"BTC-USD-{code}-100000-C", option, *inverse, 4, 5, 0, 1,
                 120, 40, 0.05, 120, "1", 100_000, "call", expiry_ms, code),
            Spec(OKX, f"BTC-USD-{code}-85000-P", option, *inverse, 4, 5, 0, 1,
                 90, 40, 0.05, 120, "1", 85_000, "put", expiry_ms, code),
        ]  # fmt: skip

    def market(self, spec: Spec) -> Market:
        config = self.config
        return OkxMarket(
            spec, self.hub, self.time, config.seed, config.one_sided, config.keepalive_s
        )

    def connection(self, path: str) -> Connection | None:
        route = PATHS.get(path.partition("?")[0])
        return None if route is None else OkxConnection(self, path, route)

    def event(self, event: str, symbol: str) -> bool:
        """``reset``: the sequence numbers of an instrument start over lower."""
        market = self.markets.get(symbol)
        if event != "reset" or not isinstance(market, OkxMarket):
            return False
        market.reset_sequence()
        return True

    # -- streams of more than one instrument -----------------------------------------------

    def timers(self) -> list[Timer]:
        return [(SUMMARY_MS, self._send_summaries), (INDEX_MS, self._send_indices)]

    def _send_summaries(self) -> None:
        for name, stream in self._summaries.items():
            self.hub.post(stream, partial(self._summary, name))

    def _summary(self, name: str) -> tuple[str, str]:
        rows = [market.summary() for market in self._options[name]]
        body = (
            f'{{"arg":{{"channel":"opt-summary","instFamily":"{name}"}},'
            f'"data":[{",".join([row for row, _ in rows])}]}}'
        )
        return body, ",".join([event for _, event in rows])

    def _send_indices(self) -> None:
        for name, stream in self._index_streams.items():
            self.hub.post(stream, partial(self._index, name))

    def _index(self, name: str) -> tuple[str, str]:
        index, now = self._indices[name].figures.index, self.time.now_ms
        body = (
            f'{{"arg":{{"channel":"index-tickers","instId":"{name}"}},"data":[{{"instId":"{name}",'
            f'"idxPx":"{index}","open24h":"{index}","high24h":"{index}","low24h":"{index}",'
            f'"sodUtc0":"{index}","sodUtc8":"{index}","ts":"{now}"}}]}}'
        )
        return body, events.values("deriv", f"{OKX}:{name}", now, {"index": index})

    def _instruments(self, kind: str) -> tuple[str, str]:
        rows = [r for r in (m.reference() for m in self.listed) if r["instType"] == kind]
        return _instruments(kind, rows)

    def tell_state(self, market: Market) -> None:
        kind = TYPES[market.spec.kind]
        stream = self.hub.stream(OKX, f"instruments:{kind}", "*")
        self.hub.post(stream, lambda: _instruments(kind, [market.reference()]))

    # -- REST ------------------------------------------------------------------------------

    def rest_refusal(self, status: int) -> str:
        return '{"code":"50011","msg":"Too Many Requests","data":[]}'

    def rest(self, request: RestRequest) -> RestAnswer | None:
        query = request.query
        if request.path == "/api/v5/public/time":
            return _answer([{"ts": str(now_ns() // 1_000_000)}])
        if request.path == "/api/v5/public/underlying":
            kind = query.get("instType", "")
            if kind not in TYPES.values() or kind == "SPOT":
                return _refused("51000", "Parameter instType error")
            names = [
                family(market.spec)
                for market in self.markets.values()
                if TYPES[market.spec.kind] == kind
            ]
            body = json.dumps({"code": "0", "msg": "", "data": [list(dict.fromkeys(names))]})
            return RestAnswer(body)
        if request.path == "/api/v5/public/instruments":
            if not self._rest.allow():
                return RestAnswer(self.rest_refusal(429), 429)
            return self._instrument_list(query.get("instType", ""), request)
        if request.path == "/api/v5/market/books":
            if not self._rest_books.allow():
                return RestAnswer(self.rest_refusal(429), 429)
            market = self.markets.get(query.get("instId", ""))
            if not isinstance(market, OkxMarket):
                return _refused("51001", "Instrument ID doesn't exist")
            size = query.get("sz", "1")
            if not size.isdigit() or not 1 <= int(size) <= 400:
                return _refused("51000", "Parameter sz error")
            row, event = market.order_book(int(size))
            body = f'{{"code":"0","msg":"","data":[{row}]}}'
            return RestAnswer(body, event=event, instrument=market.spec.symbol)
        return None

    def _instrument_list(self, kind: str, request: RestRequest) -> RestAnswer:
        if kind not in TYPES.values():
            return _refused("51000", "Parameter instType error")
        wanted = request.query.get("instFamily") or request.query.get("uly")
        if kind == "OPTION" and not wanted:
            return _refused("50015", "Either parameter uly or instFamily is required")
        rows = [market.reference() for market in self.listed]
        return _answer(
            [
                row
                for row in rows
                if row["instType"] == kind and (not wanted or row["instFamily"] == wanted)
            ]
        )


def _instruments(kind: str, rows: list[dict[str, object]]) -> tuple[str, str]:
    arg = {"channel": "instruments", "instType": kind}
    return json.dumps({"arg": arg, "data": rows}, separators=(",", ":")), ""


def _answer(rows: list[dict[str, object]]) -> RestAnswer:
    return RestAnswer(json.dumps({"code": "0", "msg": "", "data": rows}, separators=(",", ":")))


def _refused(code: str, message: str) -> RestAnswer:
    return RestAnswer(json.dumps({"code": code, "msg": message, "data": []}), 400)
