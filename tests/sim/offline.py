"""A simulated venue without sockets: what a client of every channel receives, as capture rows.

The client subscribes by the venue file, as the daemon does; the venue's clock runs as fast as it
can, and the same seed gives the same frames.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from feedd import venues
from feedd.reader.subscriptions import Subscriptions
from feedd.reader.topics import SendWindow, TopicState, Wanted
from feedd.sim.config import SimConfig
from feedd.sim.connection import Connection
from feedd.sim.exchange import RestRequest
from feedd.sim.instruments import SPOT, USDM, Spec
from feedd.sim.server import SimServer
from feedd.supervisor.plan import endpoint_of, has_channel, topic_of
from feedd.supervisor.select import Listed
from feedd.venues.schema import Venue
from feedd.venues.templates import arg_key

Row = dict[str, Any]
EPOCH_MS = 1_790_000_000_000
LOGIN = {"books-l2-tbt", "books50-l2-tbt"}
"""Channels that the simulated venues keep from everybody."""
SETTLE_MS = 150
"""Deltas that wait before the books that join a REST snapshot get theirs."""
UNDERLYING = {
    "deribit": "{base_lower}_usd",
    "binance_coinm": "{base}USD",
    "binance_options": "{base}USDT",
    "okx": "{base}-{quote}",
}


@dataclass
class Recorded:
    """``rows`` of a capture, and what the venue's own journal says of them."""

    venue: str
    rows: list[Row] = field(default_factory=list)
    journal: list[Row] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    asked: list[tuple[str, list[Wanted], list[bytes]]] = field(default_factory=list)
    """By connection: its name, the streams, and the requests for them."""

    @property
    def frames(self) -> list[str]:
        return [row["raw"] for row in self.rows if row["dir"] == "in"]


class _Wire:
    """Stands for the socket of a connection."""

    def __init__(self, recorded: Recorded, name: str, server: SimServer) -> None:
        self._recorded = recorded
        self._name = name
        self._time = server.source.engine.time  # type: ignore[attr-defined]

    def send(self, _kind: object, data: bytes) -> None:
        t = self._time.now_ms * 1_000_000
        row = {"t": t, "dir": "in", "conn": self._name, "raw": data.decode()}
        self._recorded.rows.append(row)

    def send_ping(self, payload: bytes) -> None:
        return

    def disconnect(self, *_: object) -> None:
        self._recorded.refused.append(f"{self._name} was closed")


def listed(spec: Spec) -> Listed:
    """The instrument as the plan wants it."""
    base = spec.base
    facts = {"base": base, "base_lower": base.lower(), "quote": spec.quote}
    named = UNDERLYING.get(spec.venue, "").format(**facts)
    expiry = f"20{spec.symbol.split('-')[1]}" if spec.venue == "binance_options" else ""
    if expiry:
        expiry = f"{expiry[:4]}-{expiry[4:6]}-{expiry[6:]}"
    return Listed(
        spec.symbol,
        kind=spec.kind,
        base=base,
        quote=spec.quote,
        settle=spec.settle,
        underlying="" if spec.kind == "spot" else named,
        expiry=expiry,
    )


def offered(venue: Venue, without: set[str] | frozenset[str] = frozenset()) -> list[str]:
    """Channels that anybody can subscribe to."""
    return [
        name
        for name, channel in venue.channels.items()
        if channel.subscribe is not None and name not in LOGIN | without
    ]


def record(
    name: str,
    directory: Path,
    *,
    ms: int = 2_500,
    seed: int = 1,
    rate: float = 400.0,
    without: set[str] | frozenset[str] = frozenset(),
    options: Mapping[str, str] | None = None,
) -> Recorded:
    """So many milliseconds of a venue's time, everything subscribed; then the market stops."""
    venue = venues.load(name)
    path = directory / f"{name}.journal"
    config = SimConfig(
        venues=name, seed=seed, rate=rate, epoch_ms=EPOCH_MS, journal=path, limits=False
    )
    server = SimServer(config)
    engine = server.source.engine  # type: ignore[attr-defined]
    recorded = Recorded(name)
    wanted: dict[str, dict[str, Wanted]] = {}
    for market in engine.exchanges[name].markets.values():
        one = listed(market.spec)
        for channel in offered(venue, without):
            if has_channel(venue, channel, one):
                arg = topic_of(venue, channel, one, options or {})
                topic = arg_key(arg)
                endpoint = endpoint_of(venue, channel, one.symbol)
                wanted.setdefault(endpoint.name, {}).setdefault(topic, Wanted(topic, arg, channel))
    for endpoint in venue.session.endpoints:
        if endpoint.name in wanted:
            _open(server, recorded, venue, endpoint, list(wanted[endpoint.name].values()))
    for step in range(ms):
        engine.tick()
        if step == SETTLE_MS:
            _snapshots(server, recorded, venue)
    engine.stop()
    server.journal.close()
    recorded.journal = [json.loads(line) for line in path.read_text().splitlines()]
    return recorded


def _open(
    server: SimServer, recorded: Recorded, venue: Venue, endpoint: Any, wanted: list[Wanted]
) -> None:
    where = urlsplit(endpoint.url)
    connection = server._connection(f"/{venue.name}{where.path}", dict(endpoint.headers or {}))
    assert connection is not None, endpoint.url
    wire = _Wire(recorded, endpoint.name, server)
    connection.on_ws_connected(wire)  # type: ignore[arg-type]
    subscriptions = Subscriptions(venue.session, wanted, wall=lambda: EPOCH_MS * 1_000_000)
    requests = [*subscriptions.opening(0), *subscriptions.pump(0, SendWindow(1 << 20, 1, 0))]
    recorded.asked.append((endpoint.name, wanted, requests))
    heard = len(recorded.rows)
    for request in requests:
        _ask(connection, recorded, endpoint.name, request)
    for row in recorded.rows[heard:]:
        if row["dir"] == "in" and row["raw"][:1] == "{":
            subscriptions.answer(0, json.loads(row["raw"]))
    recorded.refused += [
        name for name, topic in subscriptions.topics.items() if topic.state is not TopicState.ACTIVE
    ]
    # some venues accept whatever they are asked for
    recorded.refused += [
        name
        for name in connection.subscriptions
        if name in subscriptions.topics and server.hub.find(venue.name, name) is None
    ]


def _ask(connection: Connection, recorded: Recorded, name: str, request: bytes) -> None:
    t = EPOCH_MS * 1_000_000
    recorded.rows.append({"t": t, "dir": "out", "conn": name, "raw": request.decode()})
    connection.on_text(request)


def _snapshots(server: SimServer, recorded: Recorded, venue: Venue) -> None:
    """The REST body of every book that wants one."""
    engine = server.source.engine  # type: ignore[attr-defined]
    exchange = engine.exchanges[venue.name]
    urls = {c.book.rest.url: c.book.rest for c in venue.channels.values() if c.book and c.book.rest}
    for template, rest in urls.items():
        for symbol, market in exchange.markets.items():
            url = template.format(
                symbol=symbol, symbol_lower=symbol.lower(), limit=rest.limit,
                settle_lower=market.spec.settle.lower(),
            )  # fmt: skip
            parts = urlsplit(url)
            if venue.name in (SPOT, USDM):
                body, _ = server.source.binance_depth(venue.name, symbol, rest.limit)
            else:
                answer = exchange.rest(RestRequest(parts.path, dict(parse_qsl(parts.query))))
                assert answer is not None, url
                body = answer.body
            recorded.rows.append(
                {"t": engine.time.now_ms * 1_000_000, "dir": "rest", "url": url, "raw": body}
            )
