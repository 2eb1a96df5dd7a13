"""``feedd capture``: look after capture files."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import orjson

from feedd.capture.verify import Report, verify_all
from feedd.clock import SECOND_NS

__all__ = ["capture"]


@click.group("capture")
def capture() -> None:
    """Look after capture files."""


@capture.command("verify")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per file.")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE...",
)
def verify(as_json: bool, files: tuple[Path, ...]) -> None:
    """Read capture files to their ends: what they hold, what is missing, where one was cut off.

    Files of one recording are checked against each other too. Exit status 1: something is missing
    or damaged in at least one of them.
    """
    reports = verify_all(files)
    for report in reports:
        click.echo(orjson.dumps(report.as_json()) if as_json else _text(report))
    sys.exit(1 if any(report.problems for report in reports) else 0)


def _when(t: int | None) -> str:
    if t is None:
        return "no time"
    return datetime.fromtimestamp(t // SECOND_NS, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _text(report: Report) -> str:
    rows = ", ".join(f"{count:,} {way}" for way, count in sorted(report.rows.items()))
    lines = [
        f"{report.path}: {'DAMAGED' if report.problems else 'ok'}",
        f"  {_when(report.first_t)} to {_when(report.last_t)} UTC   {rows or 'no rows'}   "
        f"{report.bytes / 1e6:,.1f} MB",
    ]
    lines += [f"  problem: {problem}" for problem in report.problems]
    lines += [f"  note: {note}" for note in report.notes]
    return "\n".join(lines)
