from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from feedd import venues as venues_of_feedd
from feedd.errors import FeeddError
from feedd.sim.testing import SimHandle, start_sim
from feedd.supervisor.status import collect

CHANNELS = {
    "deribit": ["book", "trades", "ticker", "quote"],
    "binance_usdm": ["depth", "bookTicker", "aggTrade"],
    "binance_spot": ["depth", "bookTicker", "trade"],
}


def until(what: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The first true value of ``what``; fails after a generous time."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def books_of(venue: str, channels: list[str], symbols: list[str]) -> int:
    """How many books a configuration means; patterns of symbols count once."""
    described = venues_of_feedd.load(venue).channels
    return len(symbols) if any(described[c].book is not None for c in channels) else 0


class Daemon:
    """A ``feedd run`` of its own directory; ``status`` reads its shared memory."""

    def __init__(self, files: Path, sim: SimHandle, number: int) -> None:
        self.files = files
        self.sim = sim
        self.directory = Path(f"/dev/shm/feedd-test-{os.getpid()}-{number}")
        self.process: subprocess.Popen[bytes] | None = None
        self.log_path = files / "daemon.log"
        self._readers = self._busy = self._books = 0

    def write_config(
        self,
        venues: dict[str, list[str]] | None = None,
        readers: int = 1,
        instruments: dict[str, list[str]] | None = None,
        sections: str = "",
        **more: object,
    ) -> Path:
        """``sections`` are further tables as they stand, ``more`` goes into each venue's."""
        lines = [
            "[instance]",
            f'directory = "{self.directory}"',
            f'state_directory = "{self.files / "state"}"',
            "[readers]",
            f"count = {readers}",
            "ring_slots = 16384",
        ]
        self._readers, self._busy, self._books = readers, 0, 0
        for venue, channels in (venues or CHANNELS).items():
            symbols = (instruments or self.sim.instruments)[venue]
            self._busy = min(readers, self._busy + len(symbols))
            self._books += books_of(venue, channels, symbols)
            table = {
                "instruments": symbols,
                "channels": channels,
                "endpoint": self.sim.ws,
                "rest_endpoint": self.sim.rest,
                "ca_file": self.sim.ca,
                **more,
            }
            lines.append(f"[venues.{venue}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
        path = self.files / "feedd.toml"
        path.write_text("\n".join(lines) + "\n" + sections)
        return path

    def start(self, **options: Any) -> Daemon:
        path = self.write_config(**options)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "feedd.cli", "run", "-c", str(path)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        return self

    def status(self) -> dict[str, Any]:
        return collect(self.directory)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def up(self) -> bool:
        """Every reader lives, every planned connection is up and complete."""
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        with contextlib.suppress(FeeddError):  # it has not begun yet
            readers = self.status()["readers"]
            lines = [line for r in readers for line in r["connections"]]
            return (
                len(readers) == self._readers
                and sum(bool(r["connections"]) for r in readers) >= self._busy > 0
                and all(r["alive"] for r in readers)
                and all(
                    line["state"] == "up" and line["topics_active"] == line["topics"]
                    for line in lines
                )
            )
        return False

    def live(self) -> bool:
        """It is up, and every book of the configuration is live."""
        if not self.up():
            return False
        books = [r["books"] for r in self.status()["readers"]]
        return (
            all(one["syncing"] == one["gap"] == 0 for one in books)
            and sum(one["live"] for one in books) >= self._books > 0
        )

    def wait_live(self) -> Daemon:
        until(self.live, 45)
        return self

    def wait_live_lines(self) -> Daemon:
        """Every connection is up and complete; for channels without books."""
        until(self.up, 45)
        return self

    def pids(self) -> list[int]:
        """Processes of the readers, from the kernel."""
        assert self.process is not None
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        found = []
        for pid in map(int, path.read_text().split()):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                if b"feedd.reader" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                    found.append(pid)
        return found

    def counter(self, name: str) -> int:
        return sum(r["counters"][name] for r in self.status()["readers"])

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        shutil.rmtree(self.directory, ignore_errors=True)


@pytest.fixture
def make_daemon(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """``make_daemon(sim, **config)``: a running daemon; all of them end with the test."""
    made: list[Daemon] = []

    def make(sim: SimHandle, **options: Any) -> Daemon:
        files = tmp_path / f"daemon{len(made)}"
        files.mkdir()
        daemon = Daemon(files, sim, len(made))
        made.append(daemon)
        return daemon.start(**options)

    yield make
    for daemon in made:
        daemon.close()


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[SimHandle]:
    (tmp_path / "sim").mkdir()
    options = {"rate": 600, "heartbeat_s": 0.3, "ping_s": 0.3, "seed": 11}
    with start_sim(tmp_path / "sim", **options) as handle:
        yield handle
