"""House rules that a reader would otherwise have to remember."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINES_MAX = 600
# one table of tests, or one C-level object that would only be harder to follow in two files
SOURCES = sorted(
    p
    for folder in ("feedd", "tests", "tools", "bench")
    for p in (ROOT / folder).rglob("*")
    if p.is_file()
    and (p.suffix in (".py", ".pyx", ".pxd", ".pyi", ".h") or p.parent.name == "tools")
    and ".work" not in p.parts
    and "__pycache__" not in p.parts
)
# spelled in pieces so that this file does not find itself
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|NotImplemented" + r"Error)\b")


def test_no_file_is_two() -> None:
    long = {str(p.relative_to(ROOT)): n for p in SOURCES if (n := _lines(p)) > LINES_MAX}
    assert long == {}


def _lines(path: Path) -> int:
    return path.read_text(errors="replace").count("\n")


def test_nothing_is_marked_unfinished() -> None:
    found = [str(p.relative_to(ROOT)) for p in SOURCES if UNFINISHED.search(p.read_text("utf-8"))]
    assert found == []


def test_only_the_clock_module_reads_clocks() -> None:
    readers = []
    for path in (ROOT / "feedd").rglob("*.py"):
        if path.name == "clock.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            plain = isinstance(node, ast.Import) and any(a.name == "time" for a in node.names)
            imports_time = plain or (isinstance(node, ast.ImportFrom) and node.module == "time")
            if imports_time:
                readers.append(str(path.relative_to(ROOT)))
    assert readers == []


@pytest.mark.parametrize("suffix", [".pyx"])
def test_every_compiled_module_has_a_stub(suffix: str) -> None:
    internal = {
        "feedd/decode/native.pyx",
        "feedd/pipeline/agree.pyx",
        "feedd/pipeline/alarms.pyx",
        "feedd/pipeline/arbitration.pyx",
        "feedd/pipeline/bookrow.pyx",
        "feedd/pipeline/books.pyx",
        "feedd/pipeline/checks.pyx",
        "feedd/pipeline/copies.pyx",
        "feedd/pipeline/differ.pyx",
        "feedd/pipeline/drift.pyx",
        "feedd/pipeline/gather.pyx",
        "feedd/pipeline/hidden.pyx",
        "feedd/pipeline/instrument.pyx",
        "feedd/pipeline/lanes.pyx",
        "feedd/pipeline/levels.pyx",
        "feedd/pipeline/lines.pyx",
        "feedd/pipeline/message.pyx",
        "feedd/pipeline/numbered.pyx",
        "feedd/pipeline/output.pyx",
        "feedd/pipeline/publish.pyx",
        "feedd/pipeline/quick.pyx",
        "feedd/pipeline/quickbook.pyx",
        "feedd/pipeline/recent.pyx",
        "feedd/pipeline/requests.pyx",
        "feedd/pipeline/rows.pyx",
        "feedd/pipeline/states.pyx",
        "feedd/pipeline/tally.pyx",
        "feedd/pipeline/unsure.pyx",
        "feedd/pipeline/untimed.pyx",
        "feedd/pipeline/verify.pyx",
    }
    missing = [
        str(p.relative_to(ROOT))
        for p in (ROOT / "feedd").rglob(f"*{suffix}")
        if not p.with_suffix(".pyi").exists() and str(p.relative_to(ROOT)) not in internal
    ]
    assert missing == []
