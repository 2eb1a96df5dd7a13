"""What consumers cost the writer: nothing, counted in instructions."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from feedd.shm.ring import create_ring

RECORDS = 5_000
CONSUMERS = 16


def instructions(program: Path, directory: Path, out: Path) -> int:
    """Executed by ``publish_loop`` for RECORDS records, as callgrind counts them."""
    ran = subprocess.run(
        [
            "valgrind",
            "--tool=callgrind",
            "--toggle-collect=publish_loop",
            f"--callgrind-out-file={out}",
            program,
            directory / "reader-0.ring",
            directory / "wake",
            str(RECORDS),
        ],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr
    total = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
    assert total is not None
    return int(total[1])


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_sixteen_consumers_cost_the_writer_no_instruction(
    shm_dir: Path, compile_c: Callable[..., Path], tmp_path: Path
) -> None:
    writer, crowd = compile_c("publish_cost"), compile_c("attend")
    create_ring(shm_dir, 0)
    alone = instructions(writer, shm_dir, tmp_path / "alone")
    assert RECORDS * 20 < alone < RECORDS * 300
    others = subprocess.Popen(
        [crowd, shm_dir / "reader-0.ring", shm_dir / "wake", str(CONSUMERS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert others.stdout is not None
        assert others.stdout.readline() == b"ready\n"
        assert instructions(writer, shm_dir, tmp_path / "watched") == alone
    finally:
        others.communicate(timeout=20)
