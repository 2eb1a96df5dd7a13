"""Write damaged captures, also with rows that hold bytes instead of text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_capture(path: Path, rows: list[dict[str, Any]]) -> Path:
    """JSON lines, uncompressed."""
    with path.open("w", encoding="ascii") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")
    return path
