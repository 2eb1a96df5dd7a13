"""Is a capture file whole? Counts, times, what is missing, where it was cut off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from feedd.capture.recorded import Damage, check_head, read_recorded
from feedd.clock import SECOND_NS
from feedd.errors import CaptureError

__all__ = ["Report", "verify", "verify_all"]

QUIET_NS = 60 * SECOND_NS
"""A silence that is worth a word."""


@dataclass(slots=True)
class Report:
    """What one file holds. ``problems`` are losses and damage, ``notes`` are worth knowing."""

    path: Path
    rows: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    """Of messages and bodies."""
    first_t: int | None = None
    last_t: int | None = None
    backwards: int = 0
    """Rows that are older than one before them."""
    longest_ns: int = 0
    """The longest time between two rows."""
    dropped: int = 0
    """Entries that the recorder says it lost."""
    recorded: dict[str, Any] | None = None
    """What the recorder wrote at its head; None for other captures."""
    first_n: int = 0
    last_n: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        head = self.recorded
        return {
            "file": str(self.path),
            "ok": not self.problems,
            "rows": dict(sorted(self.rows.items())),
            "bytes": self.bytes,
            "first_t": self.first_t,
            "last_t": self.last_t,
            "backwards": self.backwards,
            "longest_silence_ns": self.longest_ns,
            "dropped": self.dropped,
            "recorder": None if head is None else {k: head[k] for k in head if k != "instruments"},
            "problems": self.problems,
            "notes": self.notes,
        }


def verify(path: Path) -> Report:
    """Read one file to its end. Raises CaptureError when it cannot be opened."""
    report = Report(path)
    damage = Damage()
    latest = 0
    for row in read_recorded(path, damage):
        _row(report, row)
        t = row.get("t")
        if type(t) is int:
            if report.first_t is None:
                report.first_t = t
            report.backwards += t < latest
            if latest:
                report.longest_ns = max(report.longest_ns, t - latest)
            latest = report.last_t = max(t, latest)
    report.problems += damage
    if report.dropped:
        report.problems.append(f"{report.dropped} entries lost: the recorder lagged")
    if path.name.endswith(".part"):
        report.notes.append("not closed: still written, or left by a recorder that was killed")
    if report.backwards:
        report.notes.append(f"{report.backwards} rows are older than one before them")
    if report.longest_ns > QUIET_NS:
        report.notes.append(f"nothing for {report.longest_ns / SECOND_NS:.0f} s somewhere")
    if not report.rows:
        report.problems.append("no rows")
    return report


def _row(report: Report, row: dict[str, Any]) -> None:
    report.rows[str(row["dir"])] += 1
    report.bytes += len(row["raw"]) if isinstance(row.get("raw"), str) else 0
    if isinstance(row.get("feedd"), dict) and report.recorded is None:
        try:
            check_head(report.path, row["feedd"])
        except CaptureError as exc:
            report.problems.append(str(exc))
            return
        report.recorded = row["feedd"]
        report.first_n = row["n"] if type(row.get("n")) is int else 0
        return
    n = row.get("n")
    if type(n) is int and n:
        if n < report.last_n:
            report.problems.append(f"entry {n} comes after entry {report.last_n}")
        report.last_n = max(report.last_n, n)
    if type(row.get("dropped")) is int:
        report.dropped += row["dropped"]


def verify_all(paths: Iterable[Path]) -> list[Report]:
    """Each file, and whether files of one recording are missing between them."""
    reports = [verify(path) for path in paths]
    tracks: dict[tuple[str, int], list[Report]] = {}
    for report in reports:
        head = report.recorded
        if head is not None:
            tracks.setdefault((head["venue"], head["reader"]), []).append(report)
    for track in tracks.values():
        track.sort(key=lambda report: report.first_n)
        for before, after in pairwise(track):
            assert after.recorded is not None  # noqa: S101 - only such are in a track
            if after.recorded.get("after", before.last_n) != before.last_n:
                after.problems.append(f"a file is missing between {before.path.name} and this one")
    return reports
