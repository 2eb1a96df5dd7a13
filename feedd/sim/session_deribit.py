"""Deribit's JSON-RPC over WebSocket."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from feedd.clock import monotonic_ns, now_ns
from feedd.sim.config import SimConfig
from feedd.sim.connection import SECOND, Connection, json_object
from feedd.sim.hub import Hub
from feedd.sim.instruments import DERIBIT
from feedd.sim.source import Params, RefusalError, Source

MIN_HEARTBEAT_S = 10.0
IDLE_S = 60.0
SUBSCRIBE_COST = 3_000
CREDIT_POOL = 30_000
CREDIT_REFILL_PER_S = 10_000
OTHER_COST = 500
_QUIET = re.compile(r"^instrument\.state\.(any|future|option|spot)\.[A-Za-z]+$")
_HEARTBEAT = '{"params":{"type":"heartbeat"},"method":"heartbeat","jsonrpc":"2.0"}'
_TEST_REQUEST = '{"params":{"type":"test_request"},"method":"heartbeat","jsonrpc":"2.0"}'


class DeribitConnection(Connection):
    """One Deribit client."""

    def __init__(self, hub: Hub, config: SimConfig, path: str, source: Source) -> None:
        super().__init__(hub, config, path, DERIBIT)
        self._source = source
        self._heartbeat_ns = 0
        self._next_beat = 0
        self._tested_ns = 0
        self._credits = float(CREDIT_POOL)
        self._credited_ns = monotonic_ns()
        self._fresh: list[str] = []
        self._methods: dict[str, Callable[[Params], object]] = {
            "public/subscribe": self._subscribe,
            "private/subscribe": self._private,
            "public/unsubscribe": self._unsubscribe,
            "public/unsubscribe_all": self._unsubscribe_all,
            "public/set_heartbeat": self._set_heartbeat,
            "public/disable_heartbeat": self._disable_heartbeat,
            "public/test": self._test,
            "public/hello": self._test,
            "public/get_time": self._get_time,
            "public/get_instruments": source.deribit_instruments,
            "public/get_order_book": self._order_book,
        }

    def on_text(self, text: bytes) -> None:
        started = now_ns()
        request = json_object(text)
        if request is None:
            self._error(None, RefusalError(11050, "bad_request"), started)
            return
        ident = request.get("id")
        method = self._methods.get(str(request.get("method")))
        params = request.get("params", {})
        try:
            if method is None:
                raise RefusalError(-32601, "Method not found")
            if not isinstance(params, dict):
                raise RefusalError(-32602, "Invalid params", {"reason": "must be an object"})
            self._charge(str(request["method"]))
            result = method(params)
        except RefusalError as error:
            self._error(ident, error, started)
            if error.code == 10028:
                self.close("1008", "too_many_requests")
            return
        head = f'{{"jsonrpc":"2.0","id":{json.dumps(ident)},"result":'
        body = result if isinstance(result, RawJson) else json.dumps(result, separators=(",", ":"))
        self.answer(f"{head}{body}{_times(started)}}}")
        self._greet()

    def _error(self, ident: object, error: RefusalError, started: int) -> None:
        shown: dict[str, object] = {"code": error.code, "message": error.message}
        if error.data is not None:
            shown["data"] = error.data
        head = '{"jsonrpc":"2.0",' + (f'"id":{json.dumps(ident)},' if ident is not None else "")
        detail = json.dumps(shown, separators=(",", ":"))
        self.answer(f'{head}"error":{detail}{_times(started)}}}')

    def _charge(self, method: str) -> None:
        """Spend credits; raises the error that also ends the session when there are none."""
        now = monotonic_ns()
        refill = (now - self._credited_ns) / SECOND * CREDIT_REFILL_PER_S
        self._credits = min(CREDIT_POOL, self._credits + refill)
        self._credited_ns = now
        cost = SUBSCRIBE_COST if method.endswith("/subscribe") else OTHER_COST
        if self.config.limits and self._credits < cost:
            raise RefusalError(10028, "too_many_requests")
        self._credits -= cost

    # -- methods ---------------------------------------------------------------------------

    def _channels(self, params: Params) -> list[str]:
        channels = params.get("channels")
        if not isinstance(channels, list) or not all(isinstance(c, str) for c in channels):
            raise RefusalError(
                -32602, "Invalid params", {"param": "channels", "reason": "must be a list"}
            )
        return list(dict.fromkeys(channels))

    def _private(self, params: Params) -> object:
        raise RefusalError(13009, "unauthorized")

    def _subscribe(self, params: Params) -> object:
        channels = self._channels(params)
        if any(name.endswith(".raw") for name in channels) and not self._source.allow_raw:
            raise RefusalError(13778, "raw_subscriptions_not_available_for_unauthorized")
        known = [name for name in channels if self.hub.find(self.venue, name) or _QUIET.match(name)]
        self._fresh = [name for name in known if name not in self.subscriptions]
        return list(reversed(known))

    def _greet(self) -> None:
        """After an ack: attach the new channels and send what each starts with."""
        fresh, self._fresh = self._fresh, []
        self.join(*fresh)
        if fresh:
            self._source.subscribed()

    def _unsubscribe(self, params: Params) -> object:
        return self.leave(*self._channels(params))

    def _unsubscribe_all(self, params: Params) -> object:
        self.leave(*self.subscriptions)
        return "ok"

    def _set_heartbeat(self, params: Params) -> object:
        interval = params.get("interval")
        least = self.config.heartbeat_s or MIN_HEARTBEAT_S
        if isinstance(interval, bool) or not isinstance(interval, int | float) or interval < least:
            reason = f"must be at least {least:g}"
            raise RefusalError(-32602, "Invalid params", {"param": "interval", "reason": reason})
        self._heartbeat_ns = int(interval * SECOND)
        self._next_beat = monotonic_ns() + self._heartbeat_ns
        self._tested_ns = 0
        return "ok"

    def _disable_heartbeat(self, params: Params) -> object:
        self._heartbeat_ns = 0
        return "ok"

    def _test(self, params: Params) -> object:
        self._tested_ns = 0
        return {"version": "1.2.26"}

    def _get_time(self, params: Params) -> object:
        return now_ns() // 1_000_000

    def _order_book(self, params: Params) -> object:
        body, event = self._source.deribit_order_book(params)
        row = f'{{"t":{now_ns()},"venue":"{DERIBIT}","conn":{self.number},'
        if self.hub.journal.enabled:
            self.hub.journal.add(f'{row}"rest":"get_order_book","events":[{event}]}}\n')
        return RawJson(body)

    # -- time ------------------------------------------------------------------------------

    def on_timer(self, now: int) -> None:
        if self._heartbeat_ns:
            if self._tested_ns and now - self._tested_ns > self._heartbeat_ns:
                self.close("4000", "heartbeat close")
            elif now >= self._next_beat:
                self._next_beat = now + self._heartbeat_ns
                self.answer(_HEARTBEAT)
                self.answer(_TEST_REQUEST)
                self._tested_ns = self._tested_ns or now
        elif (
            not self.subscriptions and now - self.heard_ns > (self.config.idle_s or IDLE_S) * SECOND
        ):
            self.close("fin", "idle")


class RawJson(str):
    """A result that is JSON text already."""


def _times(started: int) -> str:
    now = now_ns()
    start_us, end_us = started // 1_000, now // 1_000
    return f',"usIn":{start_us},"usOut":{end_us},"usDiff":{end_us - start_us},"testnet":false'
