from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from feedd.sim.testing import SimHandle, start_sim


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimHandle]:
    """One running venue for the tests of a module that change nothing about it."""
    directory: Path = tmp_path_factory.mktemp("sim")
    options = {"rate": 1500, "heartbeat_s": 0.2, "seed": 7}
    with start_sim(directory, **options) as handle:
        yield handle
