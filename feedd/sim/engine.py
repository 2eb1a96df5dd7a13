"""Runs all markets on one venue clock, a millisecond per tick, in step with the real clock."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable

from feedd.clock import monotonic_ns
from feedd.sim.config import SimConfig
from feedd.sim.exchange import Exchange, World
from feedd.sim.hub import Hub
from feedd.sim.instruments import SPOT, USDM
from feedd.sim.market import Market, VenueTime
from feedd.sim.venues import EXCHANGES, choose

MS = 1_000_000
MAX_LAG_MS = 1_000
"""A generator further behind the clock than this gives up the lost time instead of a burst."""
EVENTS_PER_STEP = 1.35
"""Quotes and single trades that an average step yields, measured; see the rate test."""
LEAST_STEPS_PER_S = 1.0


class Engine:
    """The synthetic source: venues, their timers, the venue time. Single-threaded."""

    def __init__(self, config: SimConfig, hub: Hub, epoch_ms: int) -> None:
        self.hub = hub
        self.time = VenueTime(epoch_ms)
        self.ticks = 0
        self.running = False
        self.lost_ms = 0
        self._anchor_ns = 0
        self._stopped_ns = 0
        self._moved = True
        world = World(hub, config, self.time, epoch_ms)
        self.exchanges: dict[str, Exchange] = {
            name: EXCHANGES[name](world) for name in choose(config.venues)
        }
        self.markets: dict[tuple[str, str], Market] = {
            (name, symbol): market
            for name, exchange in self.exchanges.items()
            for symbol, market in exchange.markets.items()
        }
        self._timers: list[tuple[int, int, int, Callable[[], None]]] = []
        for exchange in self.exchanges.values():
            self._schedule_all(exchange)
        heapq.heapify(self._timers)
        # The shares of the chosen venues add up to whatever they do: the rate is for them all.
        markets = self.markets.values()
        steady = sum(exchange.steady for exchange in self.exchanges.values())
        steps_per_s = max(config.rate - steady, LEAST_STEPS_PER_S) / EVENTS_PER_STEP
        whole = sum(market.spec.share for market in markets)
        self._pace = [[0.0, m.spec.share / whole * steps_per_s / 1_000] for m in markets]
        self._steppers = [market.step for market in markets]

    def _schedule_all(self, exchange: Exchange) -> None:
        """Each timer of a venue has a phase of its own, the same whoever else is simulated."""
        timers = [timer for market in exchange.markets.values() for timer in market.timers()]
        for place, (interval, action) in enumerate([*exchange.timers(), *timers]):
            order = len(self._timers)
            self._timers.append((1 + place * 37 % interval, order, interval, action))

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
            self.hub.journal.row(market.final_book())

    # -- what REST asks --------------------------------------------------------------------

    def market(self, venue: str, symbol: str) -> Market | None:
        """The market of a symbol, or None."""
        return self.markets.get((venue, symbol))

    def reference(self, venue: str) -> list[dict[str, object]]:
        """Reference data of all instruments of a venue."""
        exchange = self.exchanges.get(venue)
        return [] if exchange is None else [market.reference() for market in exchange.listed]

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
