"""The supervisor as a service: READY when it serves, a STATUS line, the watchdog."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from feedd.clock import SECOND_NS, monotonic_ns
from feedd.supervisor.headline import Headline
from feedd.supervisor.notify import Notifier, Progress
from feedd.supervisor.process import HEARTBEAT_MAX_S, ReaderHandle, ReaderState

__all__ = ["Service"]

TURN_S = 0.1
STATUS_EVERY_S = 5.0
STUCK_S = 2 * HEARTBEAT_MAX_S
"""The supervisor kills a silent reader long before; past this it has failed to."""
START_EXTEND_S = 30.0

log = logging.getLogger("feedd.supervisor")


class Service:
    """What systemd hears of one supervisor; ``readers`` is the supervisor's own mapping."""

    def __init__(
        self,
        directory: Path,
        readers: Mapping[int, ReaderHandle],
        notifier: Notifier | None = None,
    ) -> None:
        self.notifier = Notifier() if notifier is None else notifier
        self.ready = False
        self._directory = directory
        self._readers = readers
        self._progress = Progress(STUCK_S)
        self._stuck: list[int] = []

    async def starting(self) -> None:
        """Until cancelled: the start waits for a venue's answer, and systemd must wait as well."""
        while True:
            self.notifier.starting("starting: waiting for the venues' lists", START_EXTEND_S)
            await asyncio.sleep(START_EXTEND_S / 3)

    async def watch(self) -> None:
        """Until cancelled: READY, then a status line and the watchdog.

        The pings come from this task, so a supervisor whose loop does not turn sends none.
        """
        headline = Headline(self._directory)
        try:
            next_status = next_ping = 0
            while True:
                now = monotonic_ns()
                self._look(now)
                if not self.ready and self._started():
                    self.ready = True
                    self.notifier.ready(self._text(headline, now))
                    log.info("ready")
                    next_status = now + int(STATUS_EVERY_S * SECOND_NS)
                elif self.ready and now >= next_status:
                    next_status = now + int(STATUS_EVERY_S * SECOND_NS)
                    self.notifier.status(self._text(headline, now))
                period = self.notifier.watchdog_s
                if period is not None and now >= next_ping and not self._stuck:
                    next_ping = now + int(period * SECOND_NS)
                    self.notifier.watchdog()
                await asyncio.sleep(TURN_S if period is None else min(TURN_S, period / 2))
        finally:
            headline.close()

    def _started(self) -> bool:
        """Every reader runs or had its first chance: one bad venue must not block the start."""
        return all(
            reader.state not in (ReaderState.STARTING, ReaderState.STOPPED) or reader.restarts
            for reader in self._readers.values()
        )

    def _look(self, now: int) -> None:
        running = [
            (number, reader.heartbeat_ns)
            for number, reader in self._readers.items()
            if reader.state is ReaderState.RUNNING
        ]
        stuck = self._progress.stuck(now, running)
        for number in sorted(set(stuck) - set(self._stuck)):
            log.critical(
                "reader %d makes no progress and could not be ended: the watchdog is not fed",
                number,
            )
        self._stuck = stuck

    def _text(self, headline: Headline, now: int) -> str:
        return headline.text(now, [reader.state for reader in self._readers.values()])

    def stopping(self) -> None:
        self.notifier.stopping()
