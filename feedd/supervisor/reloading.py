"""Take over a changed configuration while streams go on: all of it, or nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from feedd.errors import ConfigError
from feedd.supervisor.config import Config, load_config
from feedd.supervisor.cores import choose_cores
from feedd.supervisor.peers import Roles
from feedd.supervisor.reload import Change, Effect, changes, refusals

if TYPE_CHECKING:
    from feedd.supervisor.run import Supervisor

__all__ = ["RefusedError", "Reloader"]

log = logging.getLogger("feedd.supervisor")


class RefusedError(ConfigError):
    """The new configuration is not taken; the daemon goes on with the old one."""


class Reloader:
    """``reload`` reads the file again. One reload at a time."""

    def __init__(self, supervisor: Supervisor, path: Path | None) -> None:
        self._supervisor = supervisor
        self._path = path
        self._lock = asyncio.Lock()
        self.generation = 1
        self.results = {"applied": 0, "unchanged": 0, "refused": 0}

    async def reload(self, *, dry_run: bool = False) -> dict[str, Any]:
        """What was, or would be, changed. Raises ``ConfigError`` with every reason against it."""
        async with self._lock:
            if dry_run:
                _, found = await self._look()
                return self._report(found, applied=False)
            notifier = self._supervisor.service.notifier
            notifier.reloading()
            try:
                new, found = await self._look()
                if found:
                    await self._apply(new, found)
            except (Exception, asyncio.CancelledError) as exc:
                self.results["refused"] += 1
                first = exc.problems[0] if isinstance(exc, ConfigError) else str(exc)
                first = first or type(exc).__name__
                log.error("reload refused, the configuration stays as it was: %s", first)
                notifier.ready(f"reload refused: {first}")
                raise
            self.results["applied" if found else "unchanged"] += 1
            notifier.ready(f"reloaded: {len(found)} keys changed")
            for change in found:
                log.info("reload: %s", change)
            if not found:
                log.info("reload: nothing changed")
            return self._report(found, applied=bool(found))

    async def _look(self) -> tuple[Config, list[Change]]:
        if self._path is None:
            raise RefusedError("this daemon was not started from a file")
        new = await asyncio.to_thread(load_config, self._path)
        found = changes(self._supervisor.config, new)
        problems = refusals(found)
        if problems:
            raise RefusedError(["the daemon must be restarted for some of this", *problems])
        self._supervisor.keeper.check(new, _reselected(found))
        return new, found

    async def _apply(self, new: Config, found: list[Change]) -> None:
        """First all that may fail, each step with its way back; then, without a pause, the rest."""
        supervisor, operations = self._supervisor, self._supervisor.operations
        old, reselected = supervisor.config, _reselected(found)
        keys = {change.key.partition(".")[0] for change in found}
        replaced = None
        async with contextlib.AsyncExitStack() as back:
            if "metrics" in keys:
                replaced = await operations.change_metrics(old.metrics, new.metrics, back)
            if "zmq" in keys:
                await operations.change_broadcaster(old, new, back)
            roles = Roles(new.control.operate_users, new.control.operate_groups)
            cores = choose_cores(new)
            # meanwhile a venue's list may have changed what the entries mean
            supervisor.keeper.check(new, reselected)
            supervisor.keeper.give_ids(new, reselected)
            back.pop_all()
        if "control" in keys:
            operations.change_roles(roles)
        if "log" in keys:
            supervisor.set_log(new.log.level, new.log.format)
        for reader in supervisor.readers.values():
            reader.memory_max = new.readers.memory_max_mib << 20
        supervisor.config = new
        for venue in reselected:
            supervisor.keeper.reselect(venue)
        if any(change.effect is Effect.READERS for change in found):
            for number, core in enumerate(cores):
                for reader in supervisor.handovers.both(number):
                    reader.plan = msgspec.structs.replace(
                        reader.plan, core=core, busy_poll=new.readers.busy_poll
                    )
            supervisor.spawn(supervisor.handovers.roll())
        self.generation += 1
        if replaced is not None:
            await replaced.close()

    def _report(self, found: list[Change], *, applied: bool) -> dict[str, Any]:
        return {
            "applied": applied,
            "generation": self.generation,
            "changes": [{"key": c.key, "old": c.old, "new": c.new} for c in found],
        }


def _reselected(found: list[Change]) -> list[str]:
    """Venues whose instruments differ."""
    keys = (change.key.split(".") for change in found)
    return [key[1] for key in keys if key[0] == "venues" and key[2:] == ["instruments"]]
