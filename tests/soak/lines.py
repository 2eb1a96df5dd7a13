"""Redundant lines, every venue of the simulator: ``make soak``.

For each venue the whole of ``feedd demo``: simulated exchange over TLS, daemon with ``lines = 2``,
consumer; every second a random line is cut. What the consumer received is compared with the
venue's journal, event by event: nothing may be lost, doubled, wrong or out of order, and no gap
declared. *Late* are states of one line that a newer one had overtaken, with which another line was
greeted: not to be delivered. Prints one row for each venue; exits 1 when one is not clean.

``make soak ARGS='--venues bitfinex,kraken --seconds 20 --how fin'``
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from feedd.demo.channels import known_venues  # noqa: E402

COUNTS = ("lost", "duplicates", "wrong", "gaps")
MORE_S = 180
"""Beyond the run itself: to start, subscribe, drain and compare."""
ENDED_SHARE = 0.2
"""Lines cut in a run, of the seconds it lasts, below which it shows too little: the simulator cuts
no line while its double has not settled."""


@dataclass(frozen=True, slots=True)
class Row:
    venue: str
    report: dict[str, Any] | None
    words: str

    def problem(self, seconds: float) -> str:
        """Why this run is not clean; empty where it is."""
        if self.report is None:
            return "no result"
        found = [f"{name} {self.report[name]}" for name in COUNTS if self.report[name]]
        if self.report["ended"] < ENDED_SHARE * seconds:
            found.append(f"only {self.report['ended']} lines were cut")
        if self.report["total"] == 0:
            found.append("no events")
        return ", ".join(found)


def run(venue: str, options: argparse.Namespace) -> Row:
    """One venue by itself."""
    arguments = [
        sys.executable, "-m", "feedd", "demo", "--json", "--venues", venue, "--lines", "2",
        "--seconds", str(options.seconds), "--rate", str(options.rate), "--seed", str(options.seed),
    ]  # fmt: skip
    for fault in [f"kill,every_s=1,redundant=1,how={options.how}", *options.fault]:
        arguments += ["--fault", fault]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(
            arguments, capture_output=True, text=True, timeout=options.seconds + MORE_S,
            cwd=ROOT, env=environment,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        return Row(venue, None, f"no end after {error.timeout:.0f} s")
    line = done.stdout.strip()
    return Row(venue, json.loads(line) if line else None, done.stderr.strip())


def table(rows: Iterable[Row], seconds: float) -> bool:
    """Print the rows as they come; whether all are clean."""
    print(
        f"{'venue':<18} {'events':>9} {'cut':>4} {'late':>5} {'lost':>6} {'double':>7} "
        f"{'wrong':>6} {'gaps':>5}"
    )
    clean = True
    total = [0] * (3 + len(COUNTS))
    for row in rows:
        if row.report is None:
            print(f"{row.venue:<18} {row.words}", flush=True)
            clean = False
            continue
        numbers = [row.report[name] for name in ("total", "ended", "overtaken", *COUNTS)]
        total = [a + b for a, b in zip(total, numbers, strict=True)]
        problem = row.problem(seconds)
        print(_line(row.venue, numbers) + ("  <-" if problem else ""), flush=True)
        if problem:
            clean = False
            print(f"  {problem}\n  " + row.words[:2000].replace("\n", "\n  "), file=sys.stderr)
    print(_line("all", total))
    return clean


def _line(name: str, numbers: list[int]) -> str:
    widths = (9, 4, 5, 6, 7, 6, 5)
    return f"{name:<18} " + " ".join(f"{n:>{w}}" for n, w in zip(numbers, widths, strict=True))


def arguments_of(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venues", default="all", help="with commas between; default: all")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each venue")
    parser.add_argument("--rate", type=float, default=1000.0, help="events a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--how", default="rst", help="how a line ends: rst, fin, half, a code")
    parser.add_argument("--fault", action="append", default=[], help="a further fault")
    parser.add_argument("--jobs", type=int, default=1, help="venues at the same time")
    return parser.parse_args(words)


def main() -> int:
    options = arguments_of()
    venues = known_venues(options.venues)
    with ThreadPoolExecutor(options.jobs) as pool:
        clean = table(pool.map(lambda venue: run(venue, options), venues), options.seconds)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
