"""Who a process is, beyond its reusable pid: start time and boot id."""

from __future__ import annotations

import functools
from pathlib import Path

__all__ = ["boot_id", "process_starttime"]


def process_starttime(pid: int) -> int:
    """Field 22 of /proc/pid/stat (clock ticks since boot); 0 when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    # the command name, field 2, may hold spaces and brackets: count from its last bracket
    return int(text.rpartition(")")[2].split()[19])


@functools.cache
def boot_id() -> bytes:
    """16 bytes that change with every boot; zeros where /proc does not tell."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text()
        return bytes.fromhex(text.replace("-", ""))  # uuid takes longer to import than this file
    except (OSError, ValueError):
        return bytes(16)
