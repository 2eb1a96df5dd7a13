"""Readers replaced while their data flows: another process gets ready, then takes the place.

``feedd ctl restart`` starts a second process of the reader. It connects, subscribes and brings its
books up beside the running one, which costs its venues' connections twice for that time. Then the
old process ends at the end of an event, and the new one goes on behind its last record. Whatever
goes wrong before that moment, the old process simply stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from feedd.clock import SECOND_NS, monotonic_ns
from feedd.errors import FeeddError
from feedd.supervisor.process import ReaderHandle, ReaderState

if TYPE_CHECKING:
    from feedd.supervisor.run import Supervisor

__all__ = ["HandoverError", "Handovers"]

WARM_MAX_S = 600.0
"""A book of REST snapshots may wait for the venue's budget; after that the old process stays."""
GIVE_WAY_S = 2.0
TAKE_OVER_S = 5.0
LOOK_S = 0.02
ORDERLY = "exited with status 0"

log = logging.getLogger("feedd.supervisor")


class HandoverError(FeeddError):
    """The old process goes on; the message says why."""


class Handovers:
    """Those of one supervisor; at most one a reader at a time."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.standbys: dict[int, ReaderHandle] = {}
        """Processes that get ready, by reader."""

    def both(self, number: int) -> Iterator[ReaderHandle]:
        """The process of a reader, and the one that is to replace it; it is both for a moment."""
        current, standby = self._supervisor.readers[number], self.standbys.get(number)
        yield current
        if standby is not None and standby is not current:
            yield standby

    def refusal(self, reader: ReaderHandle) -> str:
        """Why this reader can only be restarted with an interruption; empty when it need not."""
        supervisor = self._supervisor
        if reader.state is not ReaderState.RUNNING:
            return f"it is {reader.state}"
        if reader.plan.capture:
            return "its messages are recorded, and a recording has one writer"
        planned = Counter(
            part.name for one in supervisor.readers.values() for part, _ in one.plan.lines
        )
        more = Counter(part.name for part, _ in reader.plan.lines)
        for name, count in more.items():
            limits = supervisor.venues[name].session.limits
            if planned[name] + count > limits.connections_max:
                return (
                    f"{name} allows {limits.connections_max} connections, and two processes of "
                    f"this reader would have {planned[name] + count} in all"
                )
        return ""

    async def roll(self) -> None:
        """Every reader, one after the other; what cannot be replaced goes on as it is."""
        for number in list(self._supervisor.readers):
            reader = self._supervisor.readers[number]
            why = self.refusal(reader)
            if not why:
                try:
                    await self.replace(reader)
                except HandoverError as exc:
                    why = str(exc)
            if why:
                log.warning(
                    "reader %d keeps its process, and with it the old configuration, until "
                    "`feedd ctl restart %d`: %s",
                    number,
                    number,
                    why,
                )

    async def replace(self, reader: ReaderHandle) -> ReaderHandle:
        """The reader's next process, in its place. Raises ``HandoverError``: nothing changed."""
        number, supervisor = reader.number, self._supervisor
        if number in self.standbys:
            raise HandoverError(f"reader {number} is being replaced already")
        new = supervisor.make_reader(reader.plan)
        new.standby = True
        new.restarts = reader.restarts
        self.standbys[number] = new
        new.life = supervisor.spawn(new.run())
        try:
            await self._until_warm(reader, new)
            log.info("reader %d: pid %d is warm, pid %d gives way", number, new.pid, reader.pid)
            # From here on there is no way back: whatever happens, the new one is the reader.
            supervisor.readers[number] = new
            await self._swap(reader, new)
        except BaseException:
            if supervisor.readers[number] is not new:
                new.kill()
            raise
        finally:
            del self.standbys[number]
        return new

    async def _until_warm(self, old: ReaderHandle, new: ReaderHandle) -> None:
        deadline = monotonic_ns() + int(WARM_MAX_S * SECOND_NS)
        restarts = old.restarts
        while not new.warm:
            if old.state is not ReaderState.RUNNING:
                raise HandoverError(f"reader {old.number} ended meanwhile: {old.last_exit}")
            if new.restarts != restarts:
                raise HandoverError(
                    f"the new process of reader {old.number} ended ({new.last_exit}); the old one "
                    "goes on"
                )
            if monotonic_ns() > deadline:
                raise HandoverError(
                    f"the new process of reader {old.number} is not ready after {WARM_MAX_S:.0f} "
                    f"s: {new.missing}; the old one goes on"
                )
            await asyncio.sleep(LOOK_S)

    async def _swap(self, old: ReaderHandle, new: ReaderHandle) -> None:
        started = monotonic_ns()
        old.give_way()
        if not await _ended(old, GIVE_WAY_S):
            log.error("reader %d: pid %d does not give way: killed", old.number, old.pid)
            old.kill()
            await _ended(old, GIVE_WAY_S)
        new.standby = False
        # killed in the middle of an event it leaves something that no epoch may go on behind
        new.send({"op": "take_over", "orderly": old.last_exit == ORDERLY})
        deadline = monotonic_ns() + int(TAKE_OVER_S * SECOND_NS)
        while new.state is not ReaderState.RUNNING and monotonic_ns() < deadline:
            await asyncio.sleep(LOOK_S / 10)
        log.info(
            "reader %d: pid %d goes on, no record came for at most %.0f ms",
            new.number,
            new.pid,
            (monotonic_ns() - started) / 1e6,
        )

    def end(self) -> None:
        """The daemon ends: nothing is replaced any more."""
        for standby in self.standbys.values():
            standby.kill()


async def _ended(handle: ReaderHandle, seconds: float) -> bool:
    deadline = monotonic_ns() + int(seconds * SECOND_NS)
    while handle.pid and monotonic_ns() < deadline:
        await asyncio.sleep(0.001)
    return not handle.pid
