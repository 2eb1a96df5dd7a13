"""What the commands of the control socket do. One function per command, all quick."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

import msgspec

from feedd.clock import SECOND_NS, now_ns
from feedd.control import protocol
from feedd.control.protocol import Command
from feedd.errors import FeeddError
from feedd.supervisor.facts import pids_of, version
from feedd.supervisor.process import BroadcasterHandle, ReaderHandle, ReaderState
from feedd.supervisor.recorder import RecorderHandle
from feedd.supervisor.snapshot import snapshot

if TYPE_CHECKING:
    from feedd.supervisor.control import Handler
    from feedd.supervisor.figures import ProcessFigures
    from feedd.supervisor.run import Supervisor

__all__ = ["Actions"]

REPLACE_S = 50.0
"""How long a client waits for a reader to be replaced; less than it waits for any answer."""


class NotPossibleError(FeeddError):
    """The daemon's state does not allow it; the message says what is missing."""


class Actions:
    """The handlers of one supervisor."""

    def __init__(self, supervisor: Supervisor, figures: ProcessFigures) -> None:
        self._supervisor = supervisor
        self._figures = figures

    @property
    def handlers(self) -> dict[str, Handler]:
        return {
            "status": self.status,
            "snapshot": self.snapshot,
            "log-level": self.log_level,
            "resync": self.resync,
            "subscribe": self.subscribe,
            "unsubscribe": self.unsubscribe,
            "restart": self.restart,
            "rotate": self.rotate,
            "config": self.config,
            "reload": self.reload,
        }

    async def status(self, _: Command) -> dict[str, Any]:
        supervisor = self._supervisor
        processes = await asyncio.to_thread(self._figures.look, pids_of(supervisor))
        permits = supervisor.permits
        return {
            "version": version(),
            "pid": os.getpid(),
            "directory": str(supervisor.directory),
            "uptime_s": (now_ns() - supervisor.started_ns) / SECOND_NS,
            "ready": supervisor.service.ready,
            "log_level": logging.getLevelName(logging.getLogger().level).lower(),
            "readers": [
                {
                    "reader": reader.number,
                    "state": reader.state.value,
                    "pid": reader.pid,
                    "core": reader.plan.core,
                    "restarts": reader.restarts,
                    "last_exit": reader.last_exit,
                    "lines": [
                        {
                            "line": line.number,
                            "venue": part.name,
                            "endpoint": line.endpoint,
                            "streams": len(line.streams),
                        }
                        for part, line in reader.plan.lines
                    ],
                }
                for reader in supervisor.readers.values()
            ],
            "venues": {
                name: {
                    "permits_waiting": permits.waiting(name) if permits is not None else 0,
                    "rest_requests": fetcher.requests,
                    "rest_failures": fetcher.failures,
                }
                for name, fetcher in supervisor.fetchers.items()
            },
            "processes": processes,
        }

    async def config(self, _: Command) -> dict[str, Any]:
        supervisor = self._supervisor
        return {
            "generation": supervisor.reloader.generation,
            "config": msgspec.to_builtins(supervisor.config),
        }

    async def reload(self, command: Command) -> dict[str, Any]:
        assert isinstance(command, protocol.Reload)  # noqa: S101 - the table says so
        return await self._supervisor.reloader.reload(dry_run=command.dry_run)

    async def snapshot(self, command: Command) -> dict[str, Any]:
        assert isinstance(command, protocol.Snapshot)  # noqa: S101 - the table says so
        return await asyncio.to_thread(
            snapshot, self._supervisor.directory, command.instrument, command.depth
        )

    async def log_level(self, command: Command) -> dict[str, Any]:
        assert isinstance(command, protocol.LogLevel)  # noqa: S101 - the table says so
        self._supervisor.set_log(command.level, self._supervisor.config.log.format)
        return {"level": command.level}

    async def resync(self, command: Command) -> dict[str, Any]:
        assert isinstance(command, protocol.Resync)  # noqa: S101 - the table says so
        placed = self._supervisor.placed(command.instrument)
        if placed is None:
            raise NotPossibleError(f"{command.instrument} is on no reader")
        reader = self._running(placed)
        venue, _, symbol = command.instrument.partition(":")
        reader.send({"op": "resync", "venue": venue, "symbol": symbol})
        return {"reader": reader.number}

    async def subscribe(self, command: Command) -> dict[str, Any]:
        assert isinstance(command, protocol.Subscribe)  # noqa: S101 - the table says so
        changed = self._supervisor.keeper.subscribe(command.instrument)
        return {"reader": self._supervisor.placed(command.instrument), "changed": changed}

    async def unsubscribe(self, command: Command) -> dict[str, Any]:
        assert isinstance(command, protocol.Unsubscribe)  # noqa: S101 - the table says so
        self._supervisor.keeper.unsubscribe(command.instrument)
        return {"instrument": command.instrument}

    async def restart(self, command: Command) -> dict[str, Any]:
        assert isinstance(command, protocol.Restart)  # noqa: S101 - the table says so
        reader, handovers = self._reader(command.reader), self._supervisor.handovers
        refusal = "it was asked for" if command.at_once else handovers.refusal(reader)
        if refusal:
            return {**await self._restart_at_once(reader), "interrupted": refusal}
        task = self._supervisor.spawn(handovers.replace(reader))
        await asyncio.wait({task}, timeout=REPLACE_S)  # it goes on whether or not we look
        now = task.result() if task.done() else reader
        return {"reader": now.number, "pid": now.pid, "done": task.done(), "interrupted": ""}

    async def _restart_at_once(self, reader: ReaderHandle) -> dict[str, Any]:
        before = reader.pid
        reader.restart()
        while reader.pid == before or reader.state is not ReaderState.RUNNING:
            if reader.state in (ReaderState.FAILED, ReaderState.STOPPED):
                raise NotPossibleError(
                    f"reader {reader.number} is {reader.state}: {reader.last_exit}"
                )
            await asyncio.sleep(0.02)
        return {"reader": reader.number, "pid": reader.pid, "done": True}

    async def rotate(self, command: Command) -> dict[str, Any]:
        assert isinstance(command, protocol.Rotate)  # noqa: S101 - the table says so
        reader = self._running(command.reader)
        lines = [line.number for _, line in reader.plan.lines]
        if command.line not in lines:
            raise NotPossibleError(
                f"reader {reader.number} has no line {command.line}; it has {_list(lines)}"
            )
        reader.send({"op": "rotate", "line": command.line})
        return {"reader": reader.number, "line": command.line}

    def _reader(self, number: int) -> ReaderHandle:
        reader = self._supervisor.readers.get(number)
        if reader is None:
            known = _list(list(self._supervisor.readers))
            raise NotPossibleError(f"there is no reader {number}; there are {known}")
        return reader

    def _running(self, number: int) -> ReaderHandle:
        reader = self._reader(number)
        if reader.state is not ReaderState.RUNNING:
            raise NotPossibleError(f"reader {number} does not run: it is {reader.state}")
        return reader


def _list(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"


def with_log(
    handle: ReaderHandle | BroadcasterHandle | RecorderHandle, level: str, form: str
) -> None:
    """Tell the process that runs, and the next one in its place."""
    handle.send({"op": "log", "level": level, "format": form})
    handle.plan = msgspec.structs.replace(handle.plan, log_level=level, log_format=form)
