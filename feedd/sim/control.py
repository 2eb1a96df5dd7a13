"""The control API under ``/_sim``: faults, stop and resume, status."""

from __future__ import annotations

import json

from aiohttp import web

from feedd.clock import now_ns
from feedd.sim.exchange import RETICK, Exchange
from feedd.sim.faults import FaultError, Rule
from feedd.sim.hub import Hub
from feedd.sim.market import STAGES
from feedd.sim.source import Source

EVENTS = frozenset(
    {
        "serverShutdown",  # Binance
        "64008",  # OKX: this connection will be closed for an upgrade
        "maintenance",  # Kraken: status of the trading engine; BitMEX, Bitfinex, Gate: the like
        "restart",  # Bitfinex 20051, Gate "upgrade": reconnect
        "online",  # the end of a maintenance
        "reset",  # OKX: sequence numbers start over; Bybit: the service restarted (u = 1)
        "snapshot",  # Bybit: a snapshot again, in mid-stream
        *STAGES,  # of an instrument, where the venue has a channel that says so
        RETICK,  # the same: another tick size
    }
)
"""What ``POST /_sim/event`` may name; a connection class lists those that its venue sends."""


class Control:
    """Handlers of the control endpoints; all answers are JSON."""

    def __init__(self, hub: Hub, source: Source) -> None:
        self.hub = hub
        self.source = source

    def routes(self) -> list[web.RouteDef]:
        """The endpoints."""
        return [
            web.post("/_sim/fault", self.fault),
            web.delete("/_sim/fault", self.clear),
            web.post("/_sim/event", self.event),
            web.post("/_sim/stop", self.stop),
            web.post("/_sim/resume", self.resume),
            web.get("/_sim/status", self.status),
        ]

    async def fault(self, request: web.Request) -> web.Response:
        """Arm faults: the body is one description, or ``{"fault": text or [texts]}``."""
        text = (await request.text()).strip()
        if text.startswith("{"):
            wanted = json.loads(text).get("fault", [])
            texts = [wanted] if isinstance(wanted, str) else list(wanted)
        else:
            texts = [text]
        try:
            for each in texts:
                rule = self.hub.faults.add(each)
                if rule.action == "close" and _immediate(each):
                    self._close_now(rule)
        except FaultError as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"faults": self.hub.faults.describe()})

    async def clear(self, request: web.Request) -> web.Response:
        """Disarm all faults; what reorder and slow hold back is sent."""
        self.hub.faults.clear()
        for connection in list(self.hub.connections.values()):
            connection.release_held()
            connection.speed_up()
        return web.json_response({"faults": []})

    def _close_now(self, rule: Rule) -> None:
        """A ``close`` that names no message closes the connections it selects at once."""
        self.hub.faults.remove(rule)
        for connection in list(self.hub.connections.values()):
            if rule.selects(connection.venue, "*", "*", connection.number):
                connection.close(rule.how, "fault")

    async def event(self, request: web.Request) -> web.Response:
        """Announce an event to connections: ``{"event": name, "venue": v, "conn": n}``.

        Each may be left out: serverShutdown, to all connections that know it. With a ``symbol``
        the event happens to that instrument of the venue (``reset``, ``snapshot``, ``halt``, …).
        """
        wanted = json.loads(await request.text() or "{}")
        event = str(wanted.get("event", "serverShutdown"))
        if event not in EVENTS:
            known = ", ".join(sorted(EVENTS))
            return web.json_response({"error": f"the events are {known}"}, status=400)
        symbol = wanted.get("symbol")
        if symbol is not None:
            venues = [wanted["venue"]] if "venue" in wanted else list(self.source.exchanges)
            met = [
                venue
                for venue in venues
                if venue in self.source.exchanges
                and _happens(self.source.exchanges[venue], event, str(symbol))
            ]
            return web.json_response({"venues": met})
        told = []
        for connection in list(self.hub.connections.values()):
            venue, number = wanted.get("venue"), wanted.get("conn")
            if (
                event in connection.notices
                and venue in (None, connection.venue)
                and number in (None, connection.number)
            ):
                connection.announce(event)
                told.append(connection.number)
        return web.json_response({"told": told})

    async def stop(self, request: web.Request) -> web.Response:
        """Stop sending; when this answers, the journal on disk is complete."""
        self.source.stop()
        self.hub.journal.row({"t": now_ns(), "stopped": True})
        self.hub.journal.flush()
        return self._status()

    async def resume(self, request: web.Request) -> web.Response:
        """Go on."""
        self.source.start()
        return self._status()

    async def status(self, request: web.Request) -> web.Response:
        """Source, streams, connections, faults."""
        return self._status()

    def _status(self) -> web.Response:
        journal = self.hub.journal
        return web.json_response(
            {
                **self.source.status(),
                "journal": None if journal.path is None else str(journal.path),
                "streams": {
                    f"{s.venue}:{s.name}": {"messages": s.count, "attempted": s.attempted}
                    for s in self.hub.streams.values()
                },
                "connections": [
                    {
                        "conn": c.number,
                        "venue": c.venue,
                        "path": c.path,
                        "subscriptions": list(c.subscriptions),
                        "pending": c.pending,
                    }
                    for c in self.hub.connections.values()
                ],
                "opened": self.hub.opened,
                "faults": self.hub.faults.describe(),
            }
        )


def _happens(exchange: Exchange, event: str, symbol: str) -> bool:
    if event in STAGES or event == RETICK:
        return exchange.become(event, symbol)
    return exchange.event(event, symbol)


def _immediate(text: str) -> bool:
    """Whether a close fault names only connections, not messages."""
    keys = {part.partition("=")[0].strip() for part in text.split(",")[1:]}
    return not keys & {"stream", "instrument", "nth", "every", "prob", "after", "count"}
