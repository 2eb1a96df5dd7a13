"""What a reader does not notice: its message rate beside things that go wrong around it.

    python -m bench.undisturbed [--repeats N] [--seconds S] [--rate EVENTS] [--json]

One daemon on the simulated exchange (TLS), with market data over ZeroMQ and with a recorder. Each
repeat is a while undisturbed and then as long with one thing wrong:

* subscriber: a ZeroMQ client that subscribes to everything and takes ten messages a second;
* consumer: a process that maps the rings, reads them, and is stopped (SIGSTOP);
* disk: the disk that is recorded to is full (a small tmpfs of its own; needs the right to mount).

Printed are, for each, the medians of messages a second, of the reader's CPU time per message and of
receipt to ring (p99), undisturbed and disturbed, and the ratio of the two rates. The exchange runs
on the same machine: with ``--rate`` above what its cores carry together, the processes take CPU
time from each other and the ratio says that. The exit status is 1 when one is below 0.95.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.instance import Instance, instance, until
from feedd.shm.counters import CountersReader, percentile

RATIO_MIN = 0.95
DISK_MB = 64
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Phase:
    rate: float
    cpu_us: float
    p99_us: float


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def observe(daemon: Instance, seconds: float) -> Phase:
    (pid,) = daemon.reader_pids()
    counters = CountersReader(daemon.directory)
    frames, buckets, cpu = _now(counters, pid)
    started = time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - started
    frames_after, buckets_after, cpu_after = _now(counters, pid)
    counters.close()
    count = frames_after - frames
    return Phase(
        rate=count / passed,
        cpu_us=(cpu_after - cpu) / max(count, 1) * 1e6,
        p99_us=percentile(buckets_after - buckets, 0.99) / 1_000,
    )


def _now(counters: CountersReader, pid: int) -> tuple[int, np.ndarray, float]:  # type: ignore[type-arg]
    buckets = counters.histogram(0, "total").astype(np.int64)
    return counters.reader(0)["frames"], buckets, cpu_s(pid)


# -- what goes wrong -------------------------------------------------------------------------------


@contextlib.contextmanager
def slow_subscriber(daemon: Instance) -> Iterator[None]:
    code = (
        "import sys, time, zmq\n"
        "s = zmq.Context().socket(zmq.SUB)\n"
        "s.setsockopt(zmq.RCVHWM, 10)\n"
        "s.subscribe(b'')\n"
        "for name in ('pub', 'data'): s.connect(f'ipc://{sys.argv[1]}/{name}')\n"
        "s.recv_multipart(); print('here', flush=True)\n"
        "while True: s.recv_multipart(); time.sleep(0.1)\n"
    )
    with _child([sys.executable, "-c", code, str(daemon.directory)]):
        yield


@contextlib.contextmanager
def stopped_consumer(daemon: Instance) -> Iterator[None]:
    code = (
        "import sys, feedd\n"
        "for batch in feedd.attach(sys.argv[1]).stream(): print('here', flush=True)\n"
    )
    with _child([sys.executable, "-c", code, str(daemon.directory)]) as consumer:
        consumer.send_signal(signal.SIGSTOP)
        yield


@contextlib.contextmanager
def _child(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != b"here\n":
            raise SystemExit(f"{command[0]} did not start")
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextlib.contextmanager
def full_disk(daemon: Instance) -> Iterator[None]:
    ballast = daemon.files / "disk" / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    until(lambda: "No space left" in _log(daemon), 20)
    try:
        yield
    finally:
        ballast.unlink()
        size = len(_log(daemon))
        until(lambda: "takes data again" in _log(daemon)[size - 200 :], 20)


def _log(daemon: Instance) -> str:
    return (daemon.files / "daemon.log").read_text(errors="replace")


# -- the run ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(path: Path) -> Iterator[bool]:
    """A file system of its own at ``path``; False without the right to mount one."""
    path.mkdir(exist_ok=True)
    size = f"size={DISK_MB}m"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "none", str(path)], capture_output=True
    )
    try:
        yield mounted.returncode == 0
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "-l", str(path)], check=True)


def race(
    daemon: Instance,
    wrong: Callable[[Instance], AbstractContextManager[None]],
    repeats: int,
    seconds: float,
) -> dict[str, float | int]:
    plain: list[Phase] = []
    disturbed: list[Phase] = []
    for _ in range(repeats):
        plain.append(observe(daemon, seconds))
        with wrong(daemon):
            disturbed.append(observe(daemon, seconds))

    def median(phases: list[Phase], name: str) -> float:
        return round(float(statistics.median(getattr(phase, name) for phase in phases)), 2)

    row: dict[str, float | int] = {"repeats": repeats}
    for name in ("rate", "cpu_us", "p99_us"):
        row[name], row[f"{name}_disturbed"] = median(plain, name), median(disturbed, name)
    row["ratio"] = round(row["rate_disturbed"] / row["rate"], 3)
    return row


def sections(files: Path) -> str:
    (files / "disk").mkdir()
    return (
        "[zmq]\ndata = true\ntrades = true\ninterval_ms = 10\n"
        f'[capture]\nenabled = true\ndirectory = "{files / "disk" / "capture"}"\n'
        "ring_mb = 1\nkeep_gb = 0.02\nrotate_mb = 4\n"
    )


def measure(repeats: int, seconds: float, rate: float) -> dict[str, dict[str, float | int]]:
    rows: dict[str, dict[str, float | int]] = {}
    with (
        instance(rate=rate, sections=sections) as daemon,
        small_disk(daemon.files / "disk") as mounted,
    ):
        daemon.start()
        until(daemon.live)
        rows["subscriber"] = race(daemon, slow_subscriber, repeats, seconds)
        rows["consumer"] = race(daemon, stopped_consumer, repeats, seconds)
        if mounted:
            rows["disk"] = race(daemon, full_disk, repeats, seconds)
        found = daemon.counters()
        lost = found["gaps"] + found["disconnects"]
        daemon.stop()
    if lost:
        raise SystemExit(f"{lost} gaps and disconnects: no run to speak of")
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each phase")
    parser.add_argument("--rate", type=float, default=6_000.0, help="events a second")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = measure(options.repeats, options.seconds, options.rate)
    low = [name for name, row in rows.items() if row["ratio"] < RATIO_MIN]
    if options.json:
        print(json.dumps({"seconds": options.seconds, "rows": rows, "low": low}))
        return 1 if low else 0
    print(f"{'':<12}{'messages/s':>24}{'us of CPU each':>22}{'p99 us':>22}{'ratio':>8}")
    for name, row in rows.items():
        pairs = "".join(
            f"{row[field]:>{width}} -> {row[f'{field}_disturbed']:>8}"
            for field, width in (("rate", 12), ("cpu_us", 10), ("p99_us", 10))
        )
        print(f"{name:<12}{pairs}{row['ratio']:>8}")
    if "disk" not in rows:
        print("disk: not measured, there is no right to mount a small file system")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
