"""The simulated venue as a whole: sockets, timers, start and stop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

import picows
from aiohttp import web

from feedd.clock import monotonic_ns, now_ns
from feedd.errors import StartError
from feedd.sim.certs import server_context
from feedd.sim.config import SimConfig
from feedd.sim.connection import Connection
from feedd.sim.control import Control
from feedd.sim.engine import Engine
from feedd.sim.faults import Faults
from feedd.sim.hub import Hub
from feedd.sim.instruments import DERIBIT, RECORDED, SPOT, USDM
from feedd.sim.journal import Journal
from feedd.sim.playback import Playback
from feedd.sim.rest import Rest
from feedd.sim.session_binance import BinanceConnection
from feedd.sim.session_deribit import DeribitConnection
from feedd.sim.session_limits import Limit
from feedd.sim.source import Source
from feedd.sim.synthetic import SyntheticSource

PACE_S = 0.001
TIMER_S = 0.05
FLUSH_S = 0.25
GOODBYE_S = 0.2
MAX_REQUEST = 1 << 20


class SimServer:
    """One running simulated venue. Everything runs in the event loop's thread."""

    def __init__(self, config: SimConfig) -> None:
        self.config = config
        epoch_ms = config.epoch_ms or now_ns() // 1_000_000
        try:
            self.journal = Journal(config.journal, config.seed, epoch_ms)
        except OSError as error:
            raise StartError(
                f"cannot write the journal {config.journal}: {error.strerror}"
            ) from error
        self.hub = Hub(self.journal, Faults(config.seed, config.faults))
        self.source: Source
        if config.captures:
            self.source = Playback(config, self.hub)
        else:
            engine = Engine(config, self.hub, epoch_ms)
            self.source = SyntheticSource(engine, config.allow_raw)
        self.ready: dict[str, object] = {}
        self._stop = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._runner: web.AppRunner | None = None
        self._connects: dict[str, Limit] = {}
        self._tasks: list[asyncio.Task[None]] = []

    # -- life ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen on both ports and let the source run; fills ``ready``."""
        config = self.config
        context: ssl.SSLContext | None = None
        ca = ""
        if config.tls:
            context, path = server_context(config.cert_dir)
            ca = str(path)
        try:
            self._server = await picows.ws_create_server(
                self._listener, config.host, config.port, ssl=context, max_frame_size=MAX_REQUEST,
                enable_auto_pong=False,  # a connection answers by itself: it counts pings as life
            )  # fmt: skip
            rest_port = await self._start_rest(context)
        except OSError as error:
            raise StartError(
                f"cannot listen on {config.host}: {error.strerror or error}; choose other ports"
            ) from error
        port = self._server.sockets[0].getsockname()[1]
        letter = "s" if config.tls else ""
        ws = f"ws{letter}://{config.host}:{port}"
        rest = f"http{letter}://{config.host}:{rest_port}"
        venues = tuple(self.source.exchanges) or RECORDED
        self.ready = {
            "ws": ws,
            "rest": rest,
            "ca": ca,
            "instruments": {venue: self.source.symbols(venue) for venue in venues},
            "endpoints": {
                venue: {"ws": f"{ws}/{venue}", "rest": f"{rest}/{venue}"}
                for venue in self.source.exchanges
            },
        }
        if not config.hold:
            self.source.start()
        self._tasks = [
            asyncio.create_task(self._pace()),
            asyncio.create_task(self._timers()),
            asyncio.create_task(self._flusher()),
        ]

    async def _start_rest(self, context: ssl.SSLContext | None) -> int:
        rest = Rest(self.hub, self.config, self.source)
        if not self.config.captures:
            rest.remember()
        app = web.Application()
        app.add_routes(rest.routes())
        app.add_routes(Control(self.hub, self.source).routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=GOODBYE_S)
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, self.config.host, self.config.rest_port, ssl_context=context
        )
        await site.start()
        return int(self._runner.addresses[0][1])

    async def wait(self) -> None:
        """Run until somebody asks for the end; raises what made a part of the sim fail."""
        stopped = asyncio.create_task(self._stop.wait())
        done, _ = await asyncio.wait([stopped, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        for task in done:
            if task is not stopped:
                task.result()

    def request_stop(self) -> None:
        """Ask for the end; callable from a signal handler."""
        self._stop.set()

    async def close(self) -> None:
        """Stop the source, say goodbye to clients, finish the journal."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.source.stop()
        for connection in list(self.hub.connections.values()):
            connection.close("1001", "going away")
        if self._server is not None:
            self._server.close()
        deadline = monotonic_ns() + int(GOODBYE_S * 1e9)
        while self.hub.connections and monotonic_ns() < deadline:
            await asyncio.sleep(PACE_S)
        if self._runner is not None:
            await self._runner.cleanup()
        self.journal.row({"t": now_ns(), "stopped": True})
        self.journal.close()

    # -- clients ---------------------------------------------------------------------------

    def _listener(
        self, request: picows.WSUpgradeRequest
    ) -> Connection | picows.WSUpgradeResponseWithListener:
        path = request.path.decode("ascii", "replace")
        status, words = 429, b"too many connections\n"
        if self._may_connect(path):
            connection = self._connection(path, request.headers)
            if connection is not None:
                return connection
            status, words = 404, b"no such stream endpoint\n"
        response = picows.WSUpgradeResponse.create_error_response(status, words)
        return picows.WSUpgradeResponseWithListener(response, None)

    def _may_connect(self, path: str) -> bool:
        """Count a connection attempt against the venue's limit."""
        exchange = self.source.exchanges.get(path.removeprefix("/").partition("/")[0])
        if exchange is None or exchange.connects is None:
            return True
        limit = self._connects.get(exchange.name)
        if limit is None:
            limit = Limit(*exchange.connects, enforced=self.config.limits)
            self._connects[exchange.name] = limit
        return limit.allow()

    def _connection(self, path: str, headers: Mapping[str, str]) -> Connection | None:
        """``/<venue>/<the venue's own path>``; the recorded venues also without the prefix."""
        prefix, slash, rest = path.removeprefix("/").partition("/")
        venue = prefix.partition("?")[0]
        exchange = self.source.exchanges.get(venue)
        if exchange is None:
            return self._recorded_connection(path, "")
        own = slash + rest or path.removeprefix(f"/{venue}") or "/"
        if venue in RECORDED:
            return self._recorded_connection(own, venue)
        return exchange.accept(own, headers)

    def _recorded_connection(self, path: str, venue: str) -> Connection | None:
        segments = [segment for segment in urlsplit(path).path.split("/") if segment]
        if segments[:3] == ["ws", "api", "v2"]:
            here = DERIBIT
        else:
            routed = segments[:1] in (["public"], ["market"])
            if segments[1 if routed else 0 :][:1] not in (["ws"], ["stream"]):
                return None
            here = USDM if routed else SPOT
        if venue not in ("", here) or (self.source.exchanges and here not in self.source.exchanges):
            return None
        if here == DERIBIT:
            return DeribitConnection(self.hub, self.config, path, self.source)
        return BinanceConnection(self.hub, self.config, path, self.source, here)

    # -- time ------------------------------------------------------------------------------

    async def _pace(self) -> None:
        while True:
            self.source.run_due(monotonic_ns())
            await asyncio.sleep(PACE_S)

    async def _timers(self) -> None:
        last = 0
        while True:
            now = monotonic_ns()
            everyone = now - last >= TIMER_S * 1e9
            last = now if everyone else last
            if everyone:
                self.hub.kill_due(now)
            delayed = False
            for connection in list(self.hub.connections.values()):
                delayed = delayed or connection.delayed
                if everyone or connection.delayed:
                    connection.tick(now)
            await asyncio.sleep(PACE_S if delayed else TIMER_S)

    async def _flusher(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            self.journal.flush()


async def serve(config: SimConfig) -> None:
    """Run the simulated venue until SIGTERM or SIGINT; prints the ready line to stdout."""
    server = SimServer(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.request_stop)
    try:
        await server.start()
        sys.stdout.write(json.dumps({**server.ready, "pid": os.getpid()}) + "\n")
        sys.stdout.flush()
        await server.wait()
    finally:
        await server.close()
