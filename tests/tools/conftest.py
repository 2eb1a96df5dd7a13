"""The segments of tests/client, and a terminal, for tests of the tools."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.conftest import daemon, directory
from tests.tools.tmux import Tmux

__all__ = ["daemon", "directory"]


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed (Debian: apt install tmux)")
    made = Tmux(tmp_path)
    yield made
    made.close()
