"""A simulated exchange and a daemon, for benchmarks that disturb or end its processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from feedd.errors import FeeddError
from feedd.sim.testing import SimHandle, start_sim
from feedd.supervisor.status import collect

CHANNELS = {
    "deribit": ["book", "trades", "ticker", "quote"],
    "binance_usdm": ["depth", "bookTicker", "aggTrade"],
    "binance_spot": ["depth", "bookTicker", "trade"],
}


def until(what: Callable[[], Any], seconds: float = 60.0, every_s: float = 0.001) -> Any:
    """The first true value of ``what``."""
    end = time.monotonic() + seconds
    while not (value := what()):
        if time.monotonic() > end:
            raise SystemExit(f"not within {seconds:.0f} s: {what}")
        time.sleep(every_s)
    return value


class Instance:
    """``start`` runs the daemon; ``sections`` are further tables of its configuration."""

    def __init__(self, sim: SimHandle, files: Path, readers: int, sections: str = "") -> None:
        self.sim = sim
        self.files = files
        self.readers = readers
        self.directory = Path(f"/dev/shm/feedd-bench-{os.getpid()}")
        self.process: subprocess.Popen[bytes] | None = None
        self.books = sum(len(sim.instruments[venue]) for venue in CHANNELS)
        lines = [
            "[instance]",
            f'directory = "{self.directory}"',
            f'state_directory = "{files / "state"}"',
            f"[readers]\ncount = {readers}",
        ]
        for venue, channels in CHANNELS.items():
            lines += sim.section(venue, channels)
        self.config = files / "feedd.toml"
        self.config.write_text("\n".join(lines) + "\n" + sections)

    def start(self) -> None:
        with (self.files / "daemon.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "feedd", "run", "-c", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        assert self.process is not None, "the daemon was not started"
        return self.process.pid

    def reader_pids(self) -> list[int]:
        """From the kernel; a process that has not said yet what it is counts."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        found = []
        for text in children:
            with contextlib.suppress(OSError):
                if b"feedd.reader" in Path(f"/proc/{text}/cmdline").read_bytes().split(b"\0"):
                    found.append(int(text))
        return found

    def connects(self) -> dict[int, tuple[int, int]]:
        """Epoch, and connections made so far, of every reader."""
        return {
            reader["reader"]: (reader["epoch"], reader["counters"]["connects"])
            for reader in collect(self.directory)["readers"]
        }

    def live(self, after: dict[int, tuple[int, int]] | None = None) -> bool:
        """Every reader runs, every connection is complete, every book is live; with ``after`` in a
        later life of those readers, with connections of its own: what a dead process left in
        memory does not count."""
        with contextlib.suppress(FeeddError, OSError):
            readers = collect(self.directory)["readers"]
            for reader in readers:
                epoch, connects = (after or {}).get(reader["reader"], (-1, -1))
                made = reader["counters"]["connects"] - connects
                if reader["epoch"] <= epoch or made < len(reader["connections"]):
                    return False
            lines = [line for reader in readers for line in reader["connections"]]
            return (
                len(readers) == self.readers
                and all(r["alive"] and r["connections"] for r in readers)
                and all(x["state"] == "up" and x["topics_active"] == x["topics"] for x in lines)
                and sum(reader["books"]["live"] for reader in readers) >= self.books
            )
        return False

    def counters(self) -> dict[str, int]:
        """Sums over the readers."""
        sums: dict[str, int] = {}
        for reader in collect(self.directory)["readers"]:
            for name, value in reader["counters"].items():
                sums[name] = sums.get(name, 0) + value
        return sums

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def remove(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.rmtree(self.files / "state", ignore_errors=True)


@contextlib.contextmanager
def instance(
    *, rate: float, readers: int = 1, sections: Callable[[Path], str] = lambda files: ""
) -> Iterator[Instance]:
    """Exchange and files; the daemon is not started yet. ``sections`` may name files in a folder
    that goes away with the rest."""
    with contextlib.ExitStack() as stack:
        files = Path(tempfile.mkdtemp(prefix="feedd-bench-"))
        stack.callback(shutil.rmtree, files, ignore_errors=True)
        sim = stack.enter_context(
            start_sim(files, venues=",".join(CHANNELS), rate=rate, seed=3, journal=os.devnull)
        )
        made = Instance(sim, files, readers, sections(files))
        stack.callback(made.remove)
        stack.callback(made.stop)
        yield made
