"""No memory is allocated for a message: counted over a million of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_a_million_messages_allocate_nothing(tmp_path: Path) -> None:
    counter = tmp_path / "count_allocations.so"
    source = HERE / "count_allocations.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", counter, source], check=True)
    memory = Path(tempfile.mkdtemp(prefix=f"feedd-test-{os.getpid()}-", dir="/dev/shm"))
    try:
        done = subprocess.run(
            [sys.executable, str(HERE / "allocations.py"), str(memory)],
            env=os.environ | {"LD_PRELOAD": str(counter), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=110,
        )
    finally:
        shutil.rmtree(memory, ignore_errors=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["counting"], "the counter was not preloaded"
    assert result["refused"] == result["gaps"] == 0
    assert result["messages"] == 1_000_000
    # the first quotes of a pass are older than the last of the pass before it
    assert result["records"] + result["duplicates"] == result["messages"]
    assert result["duplicates"] < 1_000
    assert result["calls"] == 0
    assert result["blocks"] < 10, "objects that the loop itself made, not one per message"
