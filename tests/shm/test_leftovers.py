"""What a killed test leaves in shared memory goes; what a living one has stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fixtures.leftovers import sweep

RUN = """
import os, subprocess, sys, tempfile
from tests import conftest
class Config:
    def add_cleanup(self, cleanup): self.cleanup = cleanup
config = Config()
conftest.pytest_configure(config)
print(tempfile.mkdtemp(prefix=f"feedd-test-{os.getpid()}-", dir="/dev/shm"), flush=True)
sys.stdin.read()
"""


def gone(path: Path, seconds: int = 60) -> bool:
    wait = f"for i in $(seq {seconds * 10}); do [ -e {path} ] || exit 0; sleep 0.1; done; exit 1"
    return subprocess.run(["sh", "-c", wait], check=False).returncode == 0


def test_a_killed_run_leaves_nothing() -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    with run:
        assert run.stdout is not None
        path = Path(run.stdout.readline().strip())
        assert path.is_dir()
        run.send_signal(signal.SIGKILL)
    assert gone(path)


def test_the_directory_of_a_living_process_stays(tmp_path: Path) -> None:
    mine = Path(tempfile.mkdtemp(prefix=f"feedd-test-{os.getpid()}-", dir=tmp_path))
    other = tmp_path / "feedd"
    other.mkdir()
    assert sweep(tmp_path) == []
    assert mine.is_dir()
    assert other.is_dir()
