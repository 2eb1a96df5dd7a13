"""The segments of tests/client, and a terminal, for tests of the tools."""

import contextlib
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from feedd.clock import monotonic_ns
from feedd.errors import ShmError
from tests.client.conftest import directory
from tests.client.segments import Daemon
from tests.tools.tmux import Tmux

__all__ = ["directory"]


@pytest.fixture
def daemon(directory: Path) -> Iterator[Daemon]:
    """Its writers give signs of life, as they would: a tool may take its time to start."""
    made, end = Daemon(directory), threading.Event()

    def beat() -> None:
        while not end.wait(0.2):
            for ring in list(made.rings):
                with contextlib.suppress(ShmError):  # the test closed it
                    ring.heartbeat(monotonic_ns())

    beating = threading.Thread(target=beat)
    beating.start()
    yield made
    end.set()
    beating.join()
    made.close()


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed (Debian: apt install tmux)")
    made = Tmux(tmp_path)
    yield made
    made.close()
