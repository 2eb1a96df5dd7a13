"""Small sessions written by hand, and what the reference says about them in short."""

from __future__ import annotations

import json
from typing import Any

from tests.reference import Result, decode_rows

T = 1_790_000_000_000_000_000
MS = T // 1_000_000


def run(venue: str, *frames: Any, conn: str = "a") -> Result:
    """Frames (values, or text as it is) as one session; ``("out", value)`` is sent."""
    rows = []
    for frame in frames:
        direction, value = frame if isinstance(frame, tuple) else ("in", frame)
        raw = value if isinstance(value, str) else json.dumps(value)
        rows.append({"t": T, "dir": direction, "raw": raw, "conn": conn})
    return decode_rows(venue, rows)


def said(result: Result) -> list[str]:
    """What each line is, in short."""
    return [str(line.get("event", line.get("action", line["kind"]))) for line in result.records]


def only(result: Result) -> dict[str, Any]:
    """The one line, its absent fields left out."""
    (line,) = result.records
    return {key: value for key, value in line.items() if value not in (None, set(), "")}


def gaps(result: Result) -> list[tuple[Any, ...]]:
    """Instrument and numbers of what was declared."""
    return [
        (line["event"], line["instrument"], line["expected"], line["got"])
        for line in result.of("status")
    ]
