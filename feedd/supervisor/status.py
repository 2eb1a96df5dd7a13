"""``feedd status``: read from shared memory alone; asks no process, so it works when one hangs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from feedd.client.life import promised
from feedd.clock import SECOND_NS, monotonic_ns, now_ns
from feedd.errors import ShmError
from feedd.records import NO_INSTRUMENT, BookState
from feedd.shm.board import BoardReader
from feedd.shm.connections import connection_row
from feedd.shm.counters import STAGES, CountersReader, percentile
from feedd.shm.directory import check_directory, lock_held, lock_path
from feedd.shm.instruments import InstrumentsReader
from feedd.shm.ring import RingReader

__all__ = ["collect", "healthy", "render"]

FRESH_S = 2.0


def collect(directory: Path) -> dict[str, Any]:
    """Everything that is known, as JSON-ready data (``v`` is the version of its form).

    Raises ``AttachError`` when there is no instance in ``directory``.
    """
    check_directory(directory)
    counters = CountersReader(directory)
    instruments = InstrumentsReader(directory)
    try:
        return {
            "v": 1,
            "t": now_ns(),
            "directory": str(directory),
            "running": lock_held(lock_path(directory)),
            "instruments": len(instruments),
            "readers": [_reader(directory, counters, n) for n in range(counters.readers)],
        }
    finally:
        counters.close()
        instruments.close()


def _reader(directory: Path, counters: CountersReader, number: int) -> dict[str, Any]:
    values = counters.reader(number)
    out: dict[str, Any] = {"reader": number}
    try:
        with RingReader(directory, number) as ring:
            beat = ring.heartbeat_ns
            age_s = (monotonic_ns() - beat) / SECOND_NS if beat else None
            out |= {
                "alive": lock_held(lock_path(directory, number)) or promised(ring),
                "state": ring.state.name.lower(),
                "heartbeat_age_s": age_s,
                "epoch": ring.epoch,
                "head": ring.head,
                "capacity": ring.capacity,
            }
    except ShmError as exc:
        out |= {"alive": False, "state": f"unreadable: {exc}", "heartbeat_age_s": None}
    out["connections"] = [
        {"line": line, **connection_row(words)}
        for line, words in enumerate(counters.connections(number))
        if words[0]
    ]
    out["books"] = _books(directory, number, fresh=_fresh(out))
    out["latency_ns"] = {
        stage: {name: int(percentile(counters.histogram(number, stage), q)) for name, q in _Q}
        for stage in STAGES
    }
    out["counters"] = values
    return out


_Q = (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))


def _fresh(reader: dict[str, Any]) -> bool:
    """Whether somebody keeps the data of this reader up to date."""
    age_s = reader["heartbeat_age_s"]
    return bool(reader["alive"]) and age_s is not None and age_s <= FRESH_S


def _books(directory: Path, number: int, *, fresh: bool) -> dict[str, int]:
    """How many instruments are in which book state; those without a book count as init, and live
    ones that nobody keeps up to date as stale."""
    try:
        board = BoardReader(directory, number)
    except ShmError:
        return {}
    try:
        rows = board.snapshot()
        states = rows["state"][rows["instrument"] != NO_INSTRUMENT]
        if not fresh:
            states = np.where(states == BookState.LIVE, BookState.STALE, states)
        return {state.name.lower(): int((states == state).sum()) for state in BookState}
    finally:
        board.close()


def healthy(status: dict[str, Any]) -> bool:
    """The daemon runs, every reader is alive and fresh, every connection is up and complete."""
    if not status["running"]:
        return False
    for reader in status["readers"]:
        if not _fresh(reader):
            return False
        for line in reader["connections"]:
            if line["state"] != "up" or line["topics_active"] != line["topics"]:
                return False
    return True


def render(status: dict[str, Any]) -> str:
    """The same for people."""
    word = "running" if status["running"] else "NOT RUNNING"
    lines = [f"{status['directory']}: {word}, {status['instruments']} instruments"]
    for reader in status["readers"]:
        counters = reader["counters"]
        age = reader["heartbeat_age_s"]
        beat = "no heartbeat" if age is None else f"heartbeat {age:.1f} s ago"
        alive = "alive" if reader["alive"] else "DEAD"
        lines.append(
            f"reader {reader['reader']}: {alive}, {reader['state']}, {beat}, "
            f"{counters['frames']:,} frames, {counters['records']:,} records, "
            f"{counters['gaps']:,} gaps, {counters['bad_frames']:,} bad frames"
        )
        books = ", ".join(f"{n} {state}" for state, n in reader["books"].items() if n)
        total = reader["latency_ns"]["total"]
        lines.append(
            f"  books: {books or 'none'}; receive to ring p50 {total['p50'] / 1000:.1f} us, "
            f"p99 {total['p99'] / 1000:.1f} us"
        )
        lines += map(_line_text, reader["connections"])
    return "\n".join(lines)


def _line_text(line: dict[str, Any]) -> str:
    text = (
        f"  line {line['line']}: {line['state']}, {line['topics_active']}/{line['topics']} "
        f"streams ({line['topics_failed']} refused), {line['frames']:,} frames, "
        f"{line['connects']} connects, {line['disconnects']} disconnects, "
        f"{line['rotations']} rotations"
    )
    both = line["firsts"] + line["copies"]
    if both:
        text += f", first with {line['firsts'] / both:.0%} of what other lines have too"
    if line["lag_count"]:
        text += f", else {line['lag_sum_ns'] / line['lag_count'] / 1e6:.2f} ms later"
    return text
