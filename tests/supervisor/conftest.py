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

from feedd.sim.testing import SimHandle, start_sim
from feedd.supervisor.status import collect

CHANNELS = {
    "deribit": ["book", "trades", "ticker", "quote"],
    "binance_usdm": ["depth", "bookTicker", "aggTrade"],
    "binance_spot": ["depth", "bookTicker", "trade"],
}


def until(what: Callable[[], Any], seconds: float = 15.0) -> Any:
    """The first true value of ``what``; fails after a generous time."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)


class Daemon:
    """A ``feedd run`` of its own directory; ``status`` reads its shared memory."""

    def __init__(self, files: Path, sim: SimHandle, number: int) -> None:
        self.files = files
        self.sim = sim
        self.directory = Path(f"/dev/shm/feedd-test-{os.getpid()}-{number}")
        self.process: subprocess.Popen[bytes] | None = None
        self.log_path = files / "daemon.log"

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
        for venue, channels in (venues or CHANNELS).items():
            symbols = (instruments or self.sim.instruments)[venue]
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

    def live(self) -> bool:
        """Every planned connection is up and complete, every book is live."""
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        with contextlib.suppress(Exception):
            status = self.status()
            lines = [line for r in status["readers"] for line in r["connections"]]
            return (
                bool(lines)
                and all(
                    line["state"] == "up" and line["topics_active"] == line["topics"]
                    for line in lines
                )
                and all(
                    r["alive"] and r["books"]["syncing"] == r["books"]["gap"] == 0
                    for r in status["readers"]
                )
                and sum(r["books"]["live"] for r in status["readers"]) > 0
            )
        return False

    def wait_live(self) -> Daemon:
        until(self.live, 25)
        return self

    def wait_live_lines(self) -> Daemon:
        """Every connection is up and complete; for channels without books."""

        def up() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log()
            with contextlib.suppress(Exception):
                lines = [line for r in self.status()["readers"] for line in r["connections"]]
                return bool(lines) and all(
                    line["state"] == "up" and line["topics_active"] == line["topics"]
                    for line in lines
                )
            return False

        until(up, 25)
        return self

    def pids(self) -> list[int]:
        """Processes of the readers, from the kernel."""
        assert self.process is not None
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        found = [int(pid) for pid in path.read_text().split()]
        return [
            pid
            for pid in found
            if b"feedd.reader" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        ]

    def counter(self, name: str) -> int:
        return sum(r["counters"][name] for r in self.status()["readers"])

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)

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
