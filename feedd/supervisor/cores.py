"""Which core each reader gets, and what the machine's memory nodes mean for that."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from feedd.supervisor.config import Config

__all__ = ["choose_cores", "core_list", "note_nodes", "numa_nodes"]

NODES = Path("/sys/devices/system/node")

log = logging.getLogger("feedd.supervisor")


def choose_cores(config: Config) -> list[int | None]:
    """The core of each reader; fewer cores than readers: none is pinned, with one warning."""
    cores, count = config.readers.cores, config.readers.count
    if cores and len(cores) < count:
        log.warning(
            "readers.cores names %d cores for %d readers: the readers are not pinned",
            len(cores),
            count,
        )
        return [None] * count
    chosen: list[int | None] = list(cores[:count]) if cores else [None] * count
    note_nodes([core for core in chosen if core is not None], numa_nodes())
    return chosen


def core_list(text: str) -> set[int]:
    """``0-3,8`` as the kernel writes it -> {0, 1, 2, 3, 8}."""
    out: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first.isdecimal():
            out |= set(range(int(first), int(last or first) + 1))
    return out


def numa_nodes(place: Path = NODES) -> dict[int, set[int]]:
    """Memory node -> its cores; empty where the kernel does not tell."""
    out: dict[int, set[int]] = {}
    for path in place.glob("node*/cpulist"):
        digits = path.parent.name.removeprefix("node")
        if digits.isdecimal():
            try:
                out[int(digits)] = core_list(path.read_text())
            except OSError:
                continue
    return out


def note_nodes(cores: Iterable[int], nodes: Mapping[int, set[int]]) -> None:
    """Say when readers are spread over memory nodes: a ring lies on the node of its reader."""
    by_node: dict[int, list[int]] = {}
    for core in cores:
        for node, members in nodes.items():
            if core in members:
                by_node.setdefault(node, []).append(core)
    if len(by_node) > 1:
        shown = "; ".join(f"node {n}: cores {sorted(c)}" for n, c in sorted(by_node.items()))
        log.warning(
            "the readers are on %d memory nodes (%s): a consumer reads rings of the other node "
            "more slowly",
            len(by_node),
            shown,
        )
