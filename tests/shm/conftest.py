"""Fixtures of the shared-memory tests: a directory in /dev/shm, and C programs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = Path(__file__).parent / "c"


@pytest.fixture
def shm_dir() -> Iterator[Path]:
    """An instance directory in shared memory, removed whatever happens."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix=f"feedd-test-{os.getpid()}-", dir=base))
    path.chmod(0o750)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def compile_c(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``compile_c("name", "-DFLAG")`` builds tests/shm/c/name.c; ``text=`` builds that text."""
    directory = tmp_path_factory.mktemp("c")
    built: dict[tuple[str, ...], Path] = {}

    def build(name: str, *flags: str, text: str | None = None) -> Path:
        key = (name, *flags)
        if key not in built:
            source = SOURCES / f"{name}.c"
            if text is not None:
                source = directory / f"{name}.c"
                source.write_text(text)
            target = directory / f"{name}{len(built)}"
            command = [os.environ.get("CC", "gcc"), "-std=gnu11", "-O2", "-Wall", "-Wextra",
                       "-Werror", *flags, f"-I{ROOT}/feedd/shm/include", f"-I{SOURCES}",
                       str(source), "-o", str(target), "-lpthread"]  # fmt: skip
            subprocess.run(command, check=True, timeout=120)
            built[key] = target
        return built[key]

    return build
