"""The proofs of the ring in short; `make model`, `make stress` and `make tsan` run them whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

STRESS = Path(__file__).resolve().parents[1] / "stress"
sys.path.insert(0, str(STRESS))

import model  # noqa: E402
import stress  # noqa: E402
import tsan  # noqa: E402


def test_the_protocols_hold_and_every_mutant_fails() -> None:
    lines: list[str] = []
    assert model.run(quick=True, show=lines.append), "\n".join(lines)
    assert sum("without" in line for line in lines) >= 26


def test_the_model_runs_as_a_program_and_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "claims", lambda quick: iter([("x", lambda: ("bad", 1))]))
    monkeypatch.setattr(model, "mutants", lambda: iter([]))
    assert model.run(show=lambda line: None) is False
    monkeypatch.setattr(model, "claims", lambda quick: iter([]))
    monkeypatch.setattr(model, "mutants", lambda: iter([("survivor", lambda: (None, 1))]))
    assert model.run(show=lambda line: None) is False


def test_without_the_second_check_records_are_torn(tmp_path: Path) -> None:
    assert stress.find_torn(tmp_path, records=1_500_000, tries=60) > 0


@pytest.mark.parametrize("mode", ["threads", "processes"])
def test_no_record_is_torn_and_every_loss_exact(tmp_path: Path, mode: str) -> None:
    sums = stress.run_c(stress.build("ring_stress", tmp_path), 1_000_000, mode)
    assert (sums["status"], sums["torn"], sums["bad_rows"], sums["inexact"]) == (0, 0, 0, 0)
    assert sums["read"] > 0
    assert sums["lost"] > 0
    assert sums["rows"] > 0


@pytest.mark.slow
def test_stopped_reader_processes_count_their_loss_exactly(shm_dir: Path) -> None:
    total = 200_000
    answers: list[Any] = stress.python_stress(str(shm_dir), total, seconds=2)
    assert len(answers) == 3
    for read, lost, wrong in answers:
        assert read + lost == total
        assert wrong == 0
    assert any(lost for _, lost, _ in answers)


def test_thread_sanitizer_is_silent_and_reports_a_plain_word(tmp_path: Path) -> None:
    try:
        good, text = tsan.check(tmp_path, records=20_000)
    except (subprocess.CalledProcessError, FileNotFoundError):
        pytest.skip("this compiler has no -fsanitize=thread")
    if "unexpected memory mapping" in text:
        pytest.skip("ThreadSanitizer cannot run in this address space")
    assert good, text
