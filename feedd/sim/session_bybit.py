"""Bybit v5: one socket per family, REST, and the four families as venues."""

from __future__ import annotations

import json
from typing import ClassVar

from feedd.clock import now_ns
from feedd.sim.connection import SECOND, Connection, json_object
from feedd.sim.exchange import Exchange, RestAnswer, RestRequest
from feedd.sim.instruments import MONTHS, Spec, quarterly_expiry
from feedd.sim.market import Market
from feedd.sim.market_bybit import BybitMarket

SPOT, LINEAR, INVERSE, OPTION = "bybit_spot", "bybit_linear", "bybit_inverse", "bybit_option"
ARGS_CHARACTERS = 21_000
SPOT_ARGS_PER_REQUEST = 10
OPTION_ARGS = 2_000
IDLE_S = 600.0
REST_PATHS = tuple(
    f"/v5/market/{name}" for name in ("instruments-info", "orderbook", "full_orderbook")
)
REST_LIMITS = {"spot": 200, "linear": 500, "inverse": 500, "option": 25}
PAGE = 500


class BybitConnection(Connection):
    """One client of one family."""

    def __init__(self, exchange: BybitExchange, path: str) -> None:
        super().__init__(exchange.hub, exchange.config, path, exchange.name)
        self.family = exchange.family
        self._idle_ns = int((self.config.idle_s or IDLE_S) * SECOND)

    @property
    def _ident(self) -> str:
        return f"ce3dpomvha7dha97tvp0-{self.number:x}"

    def on_text(self, text: bytes) -> None:
        request = json_object(text)
        if request is None:
            self._reply(False, "Invalid JSON", "", "")
            return
        op, ident = str(request.get("op", "")), str(request.get("req_id", ""))
        args = request.get("args", [])
        if op == "ping":
            self._pong(ident)
        elif op not in ("subscribe", "unsubscribe"):
            self._reply(False, f"error:request op not found,op:{op}", op, ident)
        elif not isinstance(args, list) or not all(isinstance(name, str) for name in args):
            self._reply(False, "error:args must be a list of topics", op, ident)
        else:
            self._change(op, args, ident)

    def _pong(self, ident: str) -> None:
        if self.family == "option":
            self.answer(f'{{"args":["{now_ns() // 1_000_000}"],"op":"pong"}}')
            return
        self.answer(
            f'{{"success":true,"ret_msg":"pong","conn_id":"{self._ident}",'
            f'"req_id":{json.dumps(ident)},"op":"ping"}}'
        )

    def _change(self, op: str, args: list[str], ident: str) -> None:
        wrong = self._too_much(op, args)
        if wrong:
            self._reply(False, wrong, op, ident)
            return
        unknown = [name for name in args if self.hub.find(self.venue, name) is None]
        known = [name for name in args if name not in unknown]
        if unknown and self.family != "option":
            # one bad topic fails the whole request
            self._reply(False, f"error:handler not found,topic:{unknown[0]}", op, ident)
            return
        if self.family == "option":
            self._command(unknown, known)
        else:
            self._reply(True, "", op, ident)
        if op == "unsubscribe":
            self.leave(*known)
        else:
            self.join(*[name for name in dict.fromkeys(known) if name not in self.subscriptions])

    def _too_much(self, op: str, args: list[str]) -> str:
        if op == "unsubscribe":
            return ""
        if self.family == "spot" and len(args) > SPOT_ARGS_PER_REQUEST:
            return f"error:args size >{SPOT_ARGS_PER_REQUEST}"
        wanted = self.subscriptions.keys() | set(args)
        if sum(map(len, wanted)) > ARGS_CHARACTERS:
            return f"error:args length >{ARGS_CHARACTERS}"
        if self.family == "option" and len(wanted) > OPTION_ARGS:
            return f"error:args size >{OPTION_ARGS}"
        return ""

    def _command(self, failed: list[str], done: list[str]) -> None:
        data = {"failTopics": failed, "successTopics": done}
        row = {"success": not failed, "conn_id": self._ident, "data": data, "type": "COMMAND_RESP"}
        self.say(row)

    def _reply(self, success: bool, message: str, op: str, ident: str) -> None:
        row = {"success": success, "ret_msg": message, "conn_id": self._ident}
        self.say({**row, "req_id": ident, "op": op})

    def on_timer(self, now: int) -> None:
        if now - max(self.heard_ns, self.sent_ns) > self._idle_ns:
            self.close("fin", "idle")


class BybitExchange(Exchange):
    """What the families share."""

    family: ClassVar[str]
    steady = 60.0
    connects = (500, 300.0)
    symbol_key = "symbol"
    events: ClassVar[frozenset[str]] = frozenset({"reset", "snapshot"})

    def market(self, spec: Spec) -> Market:
        config = self.config
        return BybitMarket(
            spec, self.hub, self.time, config.seed, config.one_sided, self.family
        )  # fmt: skip

    def connection(self, path: str) -> Connection | None:
        if path.partition("?")[0] != f"/v5/public/{self.family}":
            return None
        return BybitConnection(self, path)

    def event(self, event: str, symbol: str) -> bool:
        """``reset``: the service restarted, a snapshot with u = 1; ``snapshot``: sent again."""
        market = self.markets.get(symbol)
        if event not in self.events or not isinstance(market, BybitMarket):
            return False
        market.send_snapshots(restarted=event == "reset")
        return True

    def rest_refusal(self, status: int) -> str:
        return _body(10_006, "Too many visits!", "{}")

    def rest(self, request: RestRequest) -> RestAnswer | None:
        query = request.query
        if request.path == "/v5/market/time":
            second = now_ns() // SECOND
            result = f'{{"timeSecond":"{second}","timeNano":"{now_ns()}"}}'
            return RestAnswer(_body(0, "OK", result))
        if request.path not in REST_PATHS:
            return None
        if query.get("category") != self.family:
            return RestAnswer(_body(10_001, "params error: category invalid", "{}"))
        if request.path.endswith("instruments-info"):
            return self._instruments(query.get("cursor", ""), request)
        market = self.markets.get(query.get("symbol", ""))
        if not isinstance(market, BybitMarket):
            return RestAnswer(_body(10_001, "Not supported symbols", "{}"))
        if request.path.endswith("full_orderbook"):
            found = market.full_book()
            if found is None:
                return RestAnswer(_body(10_001, "params error: category invalid", "{}"))
            result, event = found
            return RestAnswer(_body(0, "OK", result), event=event, instrument=market.spec.symbol)
        limit = query.get("limit", "25")
        if not limit.isdigit() or not 1 <= int(limit) <= REST_LIMITS[self.family]:
            return RestAnswer(_body(10_001, "params error: limit invalid", "{}"))
        result, event = market.order_book(int(limit))
        return RestAnswer(_body(0, "OK", result), event=event, instrument=market.spec.symbol)

    def _instruments(self, cursor: str, request: RestRequest) -> RestAnswer:
        """A page of the list; ``cursor`` is the place of its first row."""
        limit = request.query.get("limit", str(PAGE))
        base = request.query.get("baseCoin", "BTC" if self.family == "option" else "")
        rows = [
            market.reference()
            for symbol, market in self.markets.items()
            if base in ("", "All", market.spec.base)
            and request.query.get("symbol", symbol) == symbol
            and request.query.get("status", "Trading") == "Trading"
        ]
        start = int(cursor) if cursor.isdigit() else 0
        count = int(limit) if limit.isdigit() and int(limit) else PAGE
        end = start + count
        result: dict[str, object] = {"category": self.family, "list": rows[start:end]}
        result["nextPageCursor"] = str(end) if end < len(rows) else ""
        return RestAnswer(_body(0, "OK", json.dumps(result, separators=(",", ":"))))


class SpotExchange(BybitExchange):
    """Spot."""

    name = SPOT
    family = "spot"

    @classmethod
    def specs(cls, epoch_ms: int) -> list[Spec]:
        return [
            Spec(SPOT, "BTCUSDT", "spot", "BTC", "USDT", "", 2, 1, 6, 1,
                 9_230_000, 300, 0.5, 900_000),
            Spec(SPOT, "ETHUSDT", "spot", "ETH", "USDT", "", 2, 1, 5, 1,
                 310_500, 280, 0.3, 700_000),
            Spec(SPOT, "SOLUSDC", "spot", "SOL", "USDC", "", 3, 10, 3, 1,
                 14_120, 240, 0.2, 60_000),
        ]  # fmt: skip


class LinearExchange(BybitExchange):
    """USDT and USDC perpetuals and a dated future."""

    name = LINEAR
    family = "linear"

    @classmethod
    def specs(cls, epoch_ms: int) -> list[Spec]:
        expiry = quarterly_expiry(epoch_ms)
        code = f"{expiry.day}{MONTHS[expiry.month - 1]}{expiry.year % 100:02d}"
        expiry_ms = int(expiry.timestamp()) * 1_000
        return [
            Spec(LINEAR, "BTCUSDT", "perpetual", "BTC", "USDT", "USDT", 2, 10, 3, 1,
                 923_000, 300, 0.4, 900),
            Spec(LINEAR, "ETHUSDT", "perpetual", "ETH", "USDT", "USDT", 2, 1, 2, 1,
                 310_500, 280, 0.3, 600),
            Spec(LINEAR, "BTCPERP", "perpetual", "BTC", "USDC", "USDC", 2, 10, 3, 1,
                 923_100, 240, 0.2, 500),
            Spec(LINEAR, f"BTCUSDT-{code}", "future", "BTC", "USDT", "USDT", 2, 50, 3, 1,
                 185_000, 160, 0.1, 400, expiry_ms=expiry_ms),
        ]  # fmt: skip


class InverseExchange(BybitExchange):
    """Perpetuals settled in the coin; a size is in USD."""

    name = INVERSE
    family = "inverse"

    @classmethod
    def specs(cls, epoch_ms: int) -> list[Spec]:
        return [
            Spec(INVERSE, "BTCUSD", "perpetual", "BTC", "USD", "BTC", 2, 50, 0, 1,
                 184_600, 280, 0.6, 9_000),
            Spec(INVERSE, "ETHUSD", "perpetual", "ETH", "USD", "ETH", 2, 5, 0, 1,
                 62_100, 260, 0.4, 4_000),
        ]  # fmt: skip


class OptionExchange(BybitExchange):
    """Options settled in USDT and in USDC."""

    name = OPTION
    family = "option"

    @classmethod
    def specs(cls, epoch_ms: int) -> list[Spec]:
        expiry = quarterly_expiry(epoch_ms)
        code = f"{expiry.day}{MONTHS[expiry.month - 1]}{expiry.year % 100:02d}"
        expiry_ms = int(expiry.timestamp()) * 1_000
        rows = (
            ("BTC", 100_000, "C", "USDT", 1_100),
            ("BTC", 85_000, "P", "USDT", 800),
            ("ETH", 3_300, "C", "USDT", 400),
            ("BTC", 90_000, "C", "USDC", 1_300),
        )
        return [
            Spec(
                OPTION,
                f"{base}-{code}-{strike}-{letter}" + ("-USDT" if settle == "USDT" else ""),
                "option", base, settle, settle, 0, 5, 2, 1, start, 60, 0.25, 300, "1",
                strike, "call" if letter == "C" else "put", expiry_ms, code,
            )
            for base, strike, letter, settle, start in rows
        ]  # fmt: skip


def _body(code: int, message: str, result: str) -> str:
    return (
        f'{{"retCode":{code},"retMsg":"{message}","result":{result},"retExtInfo":{{}},'
        f'"time":{now_ns() // 1_000_000}}}'
    )
