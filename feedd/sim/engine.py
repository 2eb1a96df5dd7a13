"""Runs all markets on one venue clock, a millisecond per tick, in step with the real clock."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable

from feedd.clock import monotonic_ns
from feedd.sim.config import SimConfig
from feedd.sim.hub import Hub
from feedd.sim.instruments import DERIBIT, SPOT, USDM, all_specs
from feedd.sim.ladder import ASK, BID
from feedd.sim.market import Market, VenueTime
from feedd.sim.market_deribit import DeribitMarket, DeribitState
from feedd.sim.market_spot import SpotMarket
from feedd.sim.market_usdm import UsdmMarket
from feedd.sim.ticker_deribit import DeribitTicker

MS = 1_000_000
MAX_LAG_MS = 1_000
"""A generator further behind the clock than this gives up the lost time instead of a burst."""
STEADY_EVENTS = 190.0
"""Events per second that come by the clock (100 ms books, tickers, marks), whatever the rate."""
EVENTS_PER_STEP = 1.35
"""Quotes and single trades that an average step yields, measured; see the rate test."""
PLATFORM_MS = 400


class Engine:
    """The synthetic source: markets, their timers, the venue time. Single-threaded."""

    def __init__(self, config: SimConfig, hub: Hub, epoch_ms: int) -> None:
        self.hub = hub
        self.time = VenueTime(epoch_ms)
        self.ticks = 0
        self.running = False
        self.lost_ms = 0
        self._anchor_ns = 0
        self._stopped_ns = 0
        self._moved = True
        state = DeribitState()
        self.markets: dict[tuple[str, str], Market] = {}
        self._timers: list[tuple[int, int, int, Callable[[], None]]] = []
        steps_per_ms = max(config.rate - STEADY_EVENTS, 1.0) / EVENTS_PER_STEP / 1_000
        self._pace: list[list[float]] = []
        self._steppers: list[Callable[[], None]] = []
        for spec in all_specs(epoch_ms):
            args = (spec, hub, self.time, config.seed, config.one_sided)
            market: Market
            if spec.venue == DERIBIT:
                market = DeribitMarket(*args, state)
                for interval, action in DeribitTicker(market, hub).timers():
                    self._schedule(interval, action)
            else:
                market = (UsdmMarket if spec.venue == USDM else SpotMarket)(*args)
            for interval, action in market.timers():
                self._schedule(interval, action)
            self.markets[spec.venue, spec.symbol] = market
            self._pace.append([0.0, spec.share * steps_per_ms])
            self._steppers.append(market.step)
        self._all_market_streams()
        heapq.heapify(self._timers)

    def _schedule(self, interval: int, action: Callable[[], None]) -> None:
        """Run ``action`` every ``interval`` ms; each timer has a phase of its own."""
        order = len(self._timers)
        self._timers.append((1 + order * 37 % interval, order, interval, action))

    def _all_market_streams(self) -> None:
        usdm = [m for m in self.markets.values() if isinstance(m, UsdmMarket)]
        arrays = {1_000: self.hub.stream(USDM, "!markPrice@arr@1s", "*"),
                  3_000: self.hub.stream(USDM, "!markPrice@arr", "*")}  # fmt: skip
        for interval, stream in arrays.items():

            def send(stream=stream) -> None:  # type: ignore[no-untyped-def]
                marks = [m.mark for m in usdm if m.mark[0]]
                stream.count += 1
                if stream.subs and len(marks) == len(usdm):
                    body = "[" + ",".join([mark[0] for mark in marks]) + "]"
                    self.hub.publish(stream, body, ",".join([mark[1] for mark in marks]))

            self._schedule(interval, send)
        platform = self.hub.stream(DERIBIT, "platform_state", "*")
        self.hub.stream(DERIBIT, "platform_state.public_methods_state", "*")

        def send_platform() -> None:
            platform.count += 1
            data = '{"price_index":"sol_usdc","locked":false}'
            body = (
                '{"jsonrpc":"2.0","method":"subscription","params":'
                f'{{"channel":"platform_state","data":{data}}}}}'
            )
            self.hub.publish(platform, body, "")

        self._schedule(PLATFORM_MS, send_platform)

    # -- time ------------------------------------------------------------------------------

    def start(self) -> None:
        """Let the market live from now on."""
        if not self.running:
            now = monotonic_ns()
            if self._stopped_ns:
                self._skip((now - self._stopped_ns) // MS)
            self.running = True
            self._anchor_ns = now - self.ticks * MS

    def _skip(self, ms: int) -> None:
        """Move the venue's clock over a time in which nothing happened."""
        self.time.now_ms += ms
        self.hub.journal.row({"skipped_ms": ms, "tick": self.ticks})

    def run_due(self, now_ns: int) -> None:
        """Run the ticks due at monotonic time ``now_ns``."""
        if not self.running:
            return
        due = (now_ns - self._anchor_ns) // MS - self.ticks
        if due > MAX_LAG_MS:
            late = due - 1
            self.lost_ms += late
            self._anchor_ns += late * MS
            self._skip(late)
            due = 1
        for _ in range(due):
            self.tick()

    def tick(self) -> None:
        """One millisecond of the venue's life."""
        self.ticks += 1
        self._moved = True
        self.time.now_ms += 1
        timers = self._timers
        while timers[0][0] <= self.ticks:
            due, order, interval, action = timers[0]
            action()
            heapq.heapreplace(timers, (due + interval, order, interval, action))
        for pace, step in zip(self._pace, self._steppers, strict=True):
            pace[0] += pace[1]
            while pace[0] >= 1.0:
                pace[0] -= 1.0
                step()

    def stop(self) -> None:
        """Stop the market: send what the windows hold, then write every final book."""
        if self.running:
            self.running = False
            self._stopped_ns = monotonic_ns()
        if not self._moved:
            return
        self._moved = False
        for market in self.markets.values():
            market.flush()
        for connection in list(self.hub.connections.values()):
            connection.release_held()
        for market in self.markets.values():
            sequence = market.sequence if market.book_sent is None else market.book_sent
            self.hub.journal.row(
                {
                    "final_book": market.spec.name,
                    "sequence": sequence,
                    "bids": market.side_text(BID),
                    "asks": market.side_text(ASK),
                }
            )

    # -- what REST asks --------------------------------------------------------------------

    def market(self, venue: str, symbol: str) -> Market | None:
        """The market of a symbol, or None."""
        return self.markets.get((venue, symbol))

    def reference(self, venue: str) -> list[dict[str, object]]:
        """Reference data of all instruments of a venue."""
        return [m.reference() for (name, _), m in self.markets.items() if name == venue]

    def exchange_info(self, venue: str) -> str:
        """The body of Binance's exchangeInfo."""
        weight = 2_400 if venue == USDM else 6_000
        limit = {
            "rateLimitType": "REQUEST_WEIGHT",
            "interval": "MINUTE",
            "intervalNum": 1,
            "limit": weight,
        }
        info: dict[str, object] = {
            "timezone": "UTC",
            "serverTime": self.time.now_ms,
            "rateLimits": [limit],
            "exchangeFilters": [],
            "symbols": self.reference(SPOT if venue == SPOT else USDM),
        }
        if venue == USDM:
            info["futuresType"] = "U_MARGINED"
        return json.dumps(info, separators=(",", ":"))
