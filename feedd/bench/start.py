"""``feedd bench start``: how long a consumer's import takes, and a daemon until it is ready.

Imports are timed inside a fresh interpreter each, alternately. "consumer" is ``import feedd`` with
the names a consumer uses. NumPy's processor time is longer than its wall time: it starts threads of
its linear algebra. The daemon is ``feedd run`` on the simulated exchange (TLS, reference data over
REST), from its command to READY, as systemd is told it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from feedd import clock
from feedd.bench.instance import BenchError, directory, median, spread
from feedd.bench.machine import describe
from feedd.reader.parent import die_with_parent
from feedd.sim.testing import SimHandle, start_sim

__all__ = ["run"]

READY_S = 30.0
IMPORTS = {
    "numpy": "import numpy",
    "feedd": "import feedd",
    "consumer": "import feedd; feedd.attach; feedd.Stream; feedd.Book",
}
TIMED = """
import time
cpu, wall = time.process_time_ns(), time.perf_counter_ns()
{what}
print(time.process_time_ns() - cpu, time.perf_counter_ns() - wall)
"""
VENUES = {
    "deribit": ["book", "trades", "ticker", "quote"],
    "binance_usdm": ["depth", "bookTicker", "aggTrade", "markPrice"],
    "binance_spot": ["depth", "bookTicker", "trade"],
}


def _environ(**more: str) -> dict[str, str]:
    """As installed programs run: with compiled modules in the cache, whatever this shell says."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return kept | more


def _import_ms(what: str) -> tuple[float, float]:
    """(processor, wall) milliseconds of one import in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", TIMED.format(what=what)],
        capture_output=True,
        text=True,
        check=False,
        env=_environ(),
    )
    if done.returncode:
        raise BenchError(f"{what!r}: {done.stderr.strip().splitlines()[-1]}")
    cpu, wall = map(int, done.stdout.split())
    return cpu / 1e6, wall / 1e6


def _config(sim: SimHandle, memory: Path, files: Path) -> str:
    lines = ["[instance]", f'directory = "{memory}"', f'state_directory = "{files / "state"}"']
    lines += ["[readers]", "count = 2"]
    for venue, channels in VENUES.items():
        lines += sim.section(venue, channels)
    return "\n".join(lines) + "\n"


def _ready_ms(sim: SimHandle, files: Path) -> float:
    """Milliseconds from starting ``feedd run`` to its READY."""
    with directory() as parent, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(files / "notify"))
        told.settimeout(READY_S)
        path = files / "feedd.toml"
        path.write_text(_config(sim, parent / "instance", files))
        start = clock.monotonic_ns()
        daemon = subprocess.Popen(
            [sys.executable, "-m", "feedd", "run", "-c", str(path)],
            env=_environ(NOTIFY_SOCKET=str(files / "notify")),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=partial(die_with_parent, os.getpid()),  # also of a bench that is killed
        )
        try:
            while b"READY=1" not in told.recv(4096):
                pass
            return (clock.monotonic_ns() - start) / 1e6
        except TimeoutError:
            daemon.kill()
            said = daemon.communicate()[1].strip()[-500:]
            raise BenchError(f"the daemon was not ready after {READY_S:.0f} s: {said}") from None
        finally:
            if daemon.poll() is None:
                daemon.send_signal(signal.SIGTERM)
            daemon.communicate(timeout=READY_S)


def run(rounds: int) -> dict[str, Any]:
    """Medians over ``rounds`` fresh processes of each kind."""
    cpu: dict[str, list[float]] = {name: [] for name in IMPORTS}
    wall: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for index in range(rounds + 1):
        for name, what in IMPORTS.items():
            taken = _import_ms(what)
            if index:  # the first round fills the page cache
                cpu[name].append(taken[0])
                wall[name].append(taken[1])
    ready = []
    files = Path(tempfile.mkdtemp(prefix="feedd-bench-start-"))
    try:
        with start_sim(files, rate=100) as sim:
            for index in range(rounds + 1):
                inside = Path(tempfile.mkdtemp(dir=files))  # nothing is remembered between starts
                taken_ms = _ready_ms(sim, inside)
                if index:
                    ready.append(taken_ms)
    finally:
        shutil.rmtree(files, ignore_errors=True)
    return {
        "import_cpu_ms": {name: median(values) for name, values in cpu.items()},
        "import_wall_ms": {name: median(values) for name, values in wall.items()},
        "import_ratio_to_numpy": median(
            [a / b for a, b in zip(wall["consumer"], wall["numpy"], strict=True)], 2
        ),
        "ready_ms": median(ready),
        "ready_spread": spread(ready),
        "rounds": rounds,
        "machine": describe(),
    }
