"""What a figure was measured on: the machine in a few words."""

from __future__ import annotations

import os
import platform
from pathlib import Path

__all__ = ["describe"]


def _model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Processor", "cpu model"):
            return value.strip()
    return platform.machine()


def describe() -> dict[str, str | int]:
    """Processor, cores that may be used, kernel, Python; no host name."""
    return {
        "cpu": _model(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
