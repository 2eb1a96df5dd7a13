"""CPU time, memory, switches, descriptors and threads of each process of the daemon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psutil

__all__ = ["ProcessFigures"]


class ProcessFigures:
    """Looks at processes by name; a process that ends or may not be seen is left out."""

    def __init__(self) -> None:
        self._known: dict[str, psutil.Process] = {}

    def look(self, pids: Mapping[str, int]) -> dict[str, dict[str, Any]]:
        """``pids`` maps names to process ids (0: not running); the figures of those that live."""
        import psutil  # not before somebody looks: it would make the daemon's start longer

        out: dict[str, dict[str, Any]] = {}
        for name, pid in pids.items():
            if pid:
                try:
                    out[name] = self._one(name, pid)
                except (psutil.Error, OSError):
                    self._known.pop(name, None)
        for name in self._known.keys() - pids.keys():
            del self._known[name]
        return out

    def _one(self, name: str, pid: int) -> dict[str, Any]:
        import psutil

        process = self._known.get(name)
        if process is None or process.pid != pid:
            process = self._known[name] = psutil.Process(pid)
        with process.oneshot():
            cpu = process.cpu_times()
            switches = process.num_ctx_switches()
            return {
                "pid": pid,
                "cpu_user_s": cpu.user,
                "cpu_system_s": cpu.system,
                "rss_bytes": process.memory_info().rss,
                "switches_voluntary": switches.voluntary,
                "switches_involuntary": switches.involuntary,
                "open_fds": process.num_fds(),
                "threads": process.num_threads(),
            }
