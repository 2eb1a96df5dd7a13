"""Run the real ``feedd decode`` in a process of its own and read its lines."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 100
Line = dict[str, Any]


@dataclass
class Decoded:
    """What one run said: records in order, final books by instrument."""

    records: list[Line] = field(default_factory=list)
    finals: dict[str, Line] = field(default_factory=dict)
    stderr: str = ""

    def of(self, kind: str, instrument: str | None = None) -> list[Line]:
        """The records of one kind, of one instrument where given."""
        return [
            line
            for line in self.records
            if line["kind"] == kind and instrument in (None, line["instrument"])
        ]

    def complaints(self) -> list[Line]:
        """Status records that tell of something wrong: all but the states of instruments."""
        return [item for item in self.of("status") if item["event"] != "instrument_state"]

    def events(self, event: str) -> list[Line]:
        """The status records with that ``event``."""
        return [line for line in self.of("status") if line["event"] == event]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """``python -m feedd`` with these arguments, from a directory that is not the project's."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "feedd", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        cwd=tempfile.gettempdir(),
        env=environment,
        check=False,
    )


def decode(
    venue: str, captures: Sequence[Path], *, books: bool = True, instruments: Path | None = None
) -> Decoded:
    """Decode captures as one session; anything but exit status 0 fails the test."""
    options = ["--venue", venue]
    if books:
        options.append("--books")
    if instruments is not None:
        options += ["--instruments", str(instruments)]
    done = run("decode", *options, *map(str, captures))
    assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr[-2000:]}"
    return read_lines(done.stdout.splitlines(), done.stderr)


def read_lines(texts: Iterable[str], stderr: str = "") -> Decoded:
    """The records and final books in lines of JSON."""
    out = Decoded(stderr=stderr)
    for text in texts:
        line = json.loads(text, parse_float=Decimal)
        if line["kind"] == "final_book":
            assert line["instrument"] not in out.finals, f"two final books: {line['instrument']}"
            out.finals[line["instrument"]] = line
        else:
            assert not out.finals, "a record after the final books"
            out.records.append(line)
    return out


@functools.lru_cache(maxsize=4)
def decode_once(venue: str, captures: tuple[Path, ...]) -> Decoded:
    """Like ``decode``; the big captures are decoded once for the tests that follow each other."""
    return decode(venue, captures)
