"""How the tests are spread over processes by ``pytest -n 4 --dist loadfile`` (``make test``).

The tests of a file stay together, because many share what takes long to make. Tests that start
processes of their own share nothing, take seconds each, and wait more than they compute: each is
a unit by itself, and they come first and alternate with files that compute. So the processors are
busy while those wait, and no long file is left to run alone at the end.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import hypothesis
import pytest

from feedd.sim import testing
from tests.fixtures import leftovers, prefork

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import Scheduling

WHOLE_PROCESSES = (  # the longest first
    "tests/supervisor/test_every_venue.py",
    "tests/demo/test_venues.py",
    "tests/demo/test_demo.py",
    "tests/capture/test_record_replay.py",
    "tests/supervisor/test_handover.py",
    "tests/supervisor/test_ctl.py",
    "tests/supervisor/test_lines.py",
    "tests/supervisor/test_lives.py",
    "tests/supervisor/test_daemon.py",
    "tests/supervisor/test_reload.py",
    "tests/supervisor/test_broadcaster.py",
    "tests/supervisor/test_reselect.py",
    "tests/sim/test_venue_faults.py",
    "tests/sim/test_bitfinex.py",
    "tests/sim/test_gate.py",
)
# NumPy starts a thread per core for linear algebra, in each of hundreds of processes, for nobody.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

# A busy machine takes long over one example now and then: that says nothing about the code.
hypothesis.settings.register_profile(
    "feedd", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("feedd")


def unit(nodeid: str) -> str:
    """What the tests that one process must run together have in common."""
    return nodeid if nodeid.startswith(WHOLE_PROCESSES) else nodeid.split("::", 1)[0]


def pytest_configure(config: pytest.Config) -> None:
    """What a killed run leaves in shared memory goes: of earlier ones now, of this one later."""
    testing.spawn = prefork.spawn  # type: ignore[assignment]
    if hasattr(config, "workerinput"):
        return
    leftovers.sweep()
    watcher = subprocess.Popen(
        [sys.executable, leftovers.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # an interrupt of the run is not for it
    )
    config.add_cleanup(watcher.stdin.close)  # type: ignore[union-attr]
    watcher.returncode = 0  # it ends after this process does: nobody waits for it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    units: dict[str, list[pytest.Item]] = {}
    for item in items:
        units.setdefault(unit(item.nodeid), []).append(item)
    waiting = [
        found for path in WHOLE_PROCESSES for name, found in units.items() if name.startswith(path)
    ]
    computing = [found for name, found in units.items() if not name.startswith(WHOLE_PROCESSES)]
    mixed = itertools.zip_longest(waiting, computing, fillvalue=[])
    items[:] = [item for pair in mixed for found in pair for item in found]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    from xdist.scheduler import LoadFileScheduling

    class Units(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit(nodeid)

    if config.getvalue("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return Units(config, log)
