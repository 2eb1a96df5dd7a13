"""What operators reach a running daemon through; made once the segments are there."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feedd.broadcaster.plan import BroadcasterPlan
from feedd.control.protocol import SOCKET_NAME
from feedd.errors import StartError
from feedd.metrics.sample import Facts, Sampler
from feedd.supervisor.actions import Actions
from feedd.supervisor.config import Config, Metrics
from feedd.supervisor.control import ControlServer
from feedd.supervisor.facts import facts_of, pids_of, venue_of_lines
from feedd.supervisor.figures import ProcessFigures
from feedd.supervisor.peers import Roles
from feedd.supervisor.process import BroadcasterHandle, ProcessHandle, ReaderState

if TYPE_CHECKING:
    from feedd.metrics.server import MetricsServer
    from feedd.supervisor.run import Supervisor

__all__ = ["Operations", "broadcaster_plan", "health_of"]

BROADCASTER_STOP_S = 2.0
BROADCASTER_LOOK_S = 0.02

log = logging.getLogger("feedd.supervisor")


def broadcaster_plan(config: Config) -> BroadcasterPlan | None:
    """None when no market data is wanted over ZeroMQ."""
    zmq = config.zmq
    if not (zmq.enabled and zmq.data):
        return None
    return BroadcasterPlan(
        directory=str(config.instance.path),
        bind=config.data_address,
        upstream=config.zmq_address,
        send_hwm=zmq.send_hwm,
        interval_s=zmq.interval_ms / 1_000,
        trades=zmq.trades,
        tcp=zmq.tcp,
        curve_credentials=zmq.curve_credentials,
        curve_allowed=zmq.curve_allowed,
        log_level=config.log.level,
        log_format=config.log.format,
    )


def health_of(handle: ProcessHandle) -> dict[str, Any]:
    """What every ``health.*`` message says of a process."""
    return {
        "state": handle.state.value,
        "pid": handle.pid,
        "restarts": handle.restarts,
        "last_exit": handle.last_exit,
    }


class Operations:
    """The endpoints of one supervisor; ``start`` raises ``StartError`` when one cannot be had."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._figures = ProcessFigures()
        self.metrics: MetricsServer | None = None
        self.control: ControlServer | None = None
        self.broadcaster: BroadcasterHandle | None = None
        self._broadcaster_life: asyncio.Task[None] | None = None

    async def start(self, gid: int | None) -> None:
        """Open every endpoint that the configuration wants; ``gid`` is the readers' group."""
        control = self._supervisor.config.control
        if control.enabled:
            self.control = ControlServer(
                self._supervisor.directory / SOCKET_NAME,
                Roles(control.operate_users, control.operate_groups),
                Actions(self._supervisor, self._figures).handlers,
            )
            await self.control.start(gid)
        settings = self._supervisor.config.metrics
        if settings.enabled:
            self.metrics = await self._open_metrics(settings)

    async def _open_metrics(self, settings: Metrics) -> MetricsServer:
        from feedd.metrics.server import MetricsServer  # prometheus_client: only where wanted

        sampler = Sampler(self._supervisor.directory, venue_of_lines(self._supervisor))
        server = MetricsServer(sampler, self.facts)
        try:
            await server.start(*settings.address)
        except StartError:
            await server.close()
            raise
        return server

    async def change_metrics(
        self, old: Metrics, new: Metrics, back: AsyncExitStack
    ) -> MetricsServer | None:
        """Serve where ``new`` says; ``back`` gets the way back. Returns the endpoint to close when
        nothing is taken back."""
        before = self.metrics
        if before is not None and new.enabled and new.address[1] == old.address[1] != 0:
            back.push_async_callback(self._reopen_metrics, old)
            self.metrics = None
            await before.close()  # who has a port for one address may keep it from all others
            before = None
        opened = await self._open_metrics(new) if new.enabled else None
        self.metrics = opened

        async def undo() -> None:
            self.metrics = before
            if opened is not None:
                await opened.close()

        back.push_async_callback(undo)
        return before

    async def _reopen_metrics(self, settings: Metrics) -> None:
        try:
            self.metrics = await self._open_metrics(settings)
        except StartError as exc:
            log.error("the endpoint of metrics is closed: %s", exc)

    def change_roles(self, roles: Roles) -> None:
        if self.control is not None:
            self.control.set_roles(roles)

    def open_broadcaster(self, config: Config) -> None:
        """Start the process that publishes market data, when it is wanted."""
        # a process that was killed leaves its socket, and a client would wait there
        Path(config.data_address.removeprefix("ipc://")).unlink(missing_ok=True)
        plan = broadcaster_plan(config)
        if plan is not None:
            handle = BroadcasterHandle(plan, self._broadcaster_changed)
            self.broadcaster = handle
            self._broadcaster_life = self._supervisor.spawn(handle.run())

    async def close_broadcaster(self) -> None:
        """End it in order; one that hangs is killed."""
        if self.broadcaster is None or self._broadcaster_life is None:
            return
        self.broadcaster.stop()
        done, _ = await asyncio.wait({self._broadcaster_life}, timeout=BROADCASTER_STOP_S)
        if not done:
            self.broadcaster.kill()
            await asyncio.wait({self._broadcaster_life}, timeout=1.0)
        self.broadcaster = self._broadcaster_life = None

    async def change_broadcaster(self, old: Config, new: Config, back: AsyncExitStack) -> None:
        """Another process with what ``new`` says, once it runs; ``back`` gets the way back."""
        back.push_async_callback(self._replace_broadcaster, old)
        await self._replace_broadcaster(new)
        handle = self.broadcaster
        while handle is not None and handle.state is not ReaderState.RUNNING:
            if handle.restarts or handle.stopping():
                raise StartError(
                    f"zmq: the broadcaster does not start with this: {handle.last_exit}; its own "
                    "message is in the log"
                )
            await asyncio.sleep(BROADCASTER_LOOK_S)

    async def _replace_broadcaster(self, config: Config) -> None:
        await self.close_broadcaster()
        if not self._supervisor.stopping:
            self.open_broadcaster(config)

    def _broadcaster_changed(self) -> None:
        handle, publisher = self.broadcaster, self._supervisor.broadcast
        if handle is not None and publisher is not None:
            publisher.send("health.broadcaster", health_of(handle))

    async def facts(self) -> Facts:
        """What the supervisor knows; /proc is read in a thread."""
        figures = await asyncio.to_thread(self._figures.look, pids_of(self._supervisor))
        if self.metrics is not None:  # lines come and go while the daemon runs
            self.metrics.sampler.venue_of = venue_of_lines(self._supervisor)
        return facts_of(self._supervisor, figures)

    async def close(self) -> None:
        if self.broadcaster is not None:
            self.broadcaster.kill()
        if self.control is not None:
            await self.control.close()
            self.control = None
        if self.metrics is not None:
            await self.metrics.close()
            self.metrics = None
