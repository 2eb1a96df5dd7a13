"""Standard output and error that are closed, full, or nobody's any more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from feedd.errors import Exit

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "conf/minimal.toml"
SHOW = f"config show -c {CONFIG}"


def shell(line: str, *, status: int) -> str:
    """What is on standard error after ``feedd LINE`` in a shell."""
    done = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -m feedd.cli {line}'],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == status, done.stderr
    return done.stderr


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_failure(closed: str) -> None:
    shell(f"{SHOW} {closed}", status=Exit.OK)
    shell(f"config check -c /nowhere {closed}", status=Exit.CONFIG)


def test_a_file_opened_later_is_not_a_stream(tmp_path: Path) -> None:
    """Descriptor 1 of whoever was started without one is the next file that is opened."""
    capture = tmp_path / "a.jsonl"
    capture.write_text('{"t":1,"dir":"in","conn":"a","raw":"{}"}\n')
    shell(f"decode --venue deribit {capture} >&- 2>&-", status=Exit.OK)
    assert capture.read_text().count("\n") == 1


def test_a_full_disk_under_the_output_is_said() -> None:
    assert "No space left" in shell(f"{SHOW} > /dev/full", status=Exit.IO)


def test_who_reads_only_the_beginning_sees_no_more() -> None:
    shell(f"{SHOW} | head -1; exit ${{PIPESTATUS[1]}}", status=0)
