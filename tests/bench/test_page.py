"""``bench/performance.py`` puts its tables where docs/performance.md has the marks for them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "performance.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("performance", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_section_has_its_place(script: ModuleType) -> None:
    page = script.PAGE.read_text()
    assert set(script.SECTIONS) == set(script.ROUNDS)
    for section in (*script.SECTIONS, "bars"):
        changed = script.put(page, section, "| a | b |")
        assert script.put(changed, section, "| a | b |") == changed
        assert f"{section}: begin -->\n| a | b |\n<!-- {section}: end" in changed
        outside = changed.replace("| a | b |", "")
        assert len(outside) < len(page) + 10


def test_a_page_without_marks_is_refused(script: ModuleType) -> None:
    with pytest.raises(SystemExit, match="no marks for 'ring'"):
        script.put("# Performance\n", "ring", "text")


def test_the_bars_say_what_is_met(script: ModuleType) -> None:
    ready = {"import_ratio_to_numpy": 1.4, "ready_ms": 1400.0}
    text = script.bars({"start": ready}, "")
    cells = [[c.strip() for c in line.split("|")] for line in text.splitlines()[2:]]
    assert [row[3:5] for row in cells] == [["1.40", "yes"], ["1,400", "no"]]


def test_bars_of_what_was_not_measured_stay(script: ModuleType) -> None:
    first = script.bars({"start": {"import_ratio_to_numpy": 1.4, "ready_ms": 1400.0}}, "")
    again = script.bars({}, f"# Performance\n{first}\n")
    assert again == first
    other = {"sessions": [{"capture": "of another session", "kinds": {}}]}
    assert script.bars({"decode": other}, first) == first
