"""What operators reach a running daemon through; made once the segments are there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from feedd.control.protocol import SOCKET_NAME
from feedd.errors import StartError
from feedd.metrics.sample import Facts, Sampler
from feedd.supervisor.actions import Actions
from feedd.supervisor.config import Control, Metrics
from feedd.supervisor.control import ControlServer
from feedd.supervisor.facts import facts_of, pids_of, venue_of_lines
from feedd.supervisor.figures import ProcessFigures
from feedd.supervisor.peers import Roles

if TYPE_CHECKING:
    from feedd.metrics.server import MetricsServer
    from feedd.supervisor.run import Supervisor

__all__ = ["Operations"]


class Operations:
    """The endpoints of one supervisor; ``start`` raises ``StartError`` when one cannot be had."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._figures = ProcessFigures()
        self.metrics: MetricsServer | None = None
        self.control: ControlServer | None = None

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

    async def change_metrics(self, settings: Metrics) -> None:
        """Open the new endpoint, then close the old one; ``StartError`` leaves the old one open."""
        old = self.metrics
        self.metrics = await self._open_metrics(settings) if settings.enabled else None
        if old is not None:
            await old.close()

    def change_roles(self, settings: Control) -> None:
        if self.control is not None:
            self.control.set_roles(Roles(settings.operate_users, settings.operate_groups))

    async def facts(self) -> Facts:
        """What the supervisor knows; /proc is read in a thread."""
        figures = await asyncio.to_thread(self._figures.look, pids_of(self._supervisor))
        return facts_of(self._supervisor, figures)

    async def close(self) -> None:
        if self.control is not None:
            await self.control.close()
            self.control = None
        if self.metrics is not None:
            await self.metrics.close()
            self.metrics = None
