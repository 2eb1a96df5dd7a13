"""What the benches share: a directory of their own, cores, a second process, summaries."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import shutil
import signal
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feedd.errors import FeeddError

__all__ = ["BenchError", "beside", "cores", "directory", "median", "percentiles", "pin", "spread"]


class BenchError(FeeddError):
    """A bench could not be run as it must be."""


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """A private directory in shared memory, removed at the end."""
    path = Path(tempfile.mkdtemp(prefix=f"feedd-bench-{os.getpid()}-", dir="/dev/shm"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@functools.cache
def cores() -> tuple[int, int]:
    """The core of the writing side and the core of the reading side; the same where only one is.

    Asked first before anything is pinned, and the same ever after.
    """
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[min(1, len(usable) - 1)]


def pin(core: int) -> None:
    """Keep this process on one core."""
    os.sched_setaffinity(0, {core})


@contextlib.contextmanager
def beside(work: Callable[[], object], core: int) -> Iterator[int]:
    """Run ``work`` in a forked process on ``core``; at the end it must have ended without error."""
    gc.collect()
    usable = os.sched_getaffinity(0)
    pin(core)  # the child begins there, whatever this process does next
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            gc.disable()
            work()
            code = 0
        except BaseException as exc:
            os.write(2, f"feedd bench: {type(exc).__name__}: {exc}\n".encode())
        finally:
            os._exit(code)
    try:
        os.sched_setaffinity(0, usable)
        yield pid
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    _, status = os.waitpid(pid, 0)
    if status:
        raise BenchError(f"the other process of the bench ended with status {status}")


def percentiles(values: NDArray[np.int64] | Sequence[int], *wanted: float) -> list[float]:
    """Percentiles of the values, without those of the first eighth: they warm up."""
    settled = np.asarray(values)[len(values) // 8 :]
    return [float(v) for v in np.percentile(settled, wanted)]


def median(values: Sequence[float], digits: int = 1) -> float:
    return round(statistics.median(values), digits)


def spread(values: Sequence[float]) -> float:
    """Half the distance of the quartiles, as a share of the median."""
    if len(values) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4)
    return round((high - low) / 2 / middle, 3) if middle else 0.0
