"""What operators reach a running daemon through; made once the segments are there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from feedd.control.protocol import SOCKET_NAME
from feedd.metrics.sample import Facts, Sampler
from feedd.supervisor.actions import Actions
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
            from feedd.metrics.server import MetricsServer  # prometheus_client: only where wanted

            sampler = Sampler(self._supervisor.directory, venue_of_lines(self._supervisor))
            self.metrics = MetricsServer(sampler, self.facts)
            await self.metrics.start(*settings.address)

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
