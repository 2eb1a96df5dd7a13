"""Reader processes that are started before the supervisor itself is complete.

Most of a daemon's start is Python importing: the supervisor's modules, then the readers'. Processes
that begin to import while the supervisor still does make the start shorter, by a tenth where two
readers have two cores and by more where there are more cores. Each waits for its plan, as any new
reader does; one that gets none sees the end of its pipe and goes. This module imports next to
nothing, and takes from the configuration, before anybody has checked it, no more than how many
readers there will be.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

from feedd.supervisor.notify import without_notify

__all__ = ["ONE_THREAD", "EarlyReaders", "Started"]

UMASK = 0o027
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""NumPy would start a thread per core for linear algebra, which nobody here does: they cost a
start its second core, and a pinned reader switches ever after."""
END_S = 5.0
EARLY_MAX = 64


class Started:
    """A running process with the interface of ``asyncio.subprocess.Process`` that a handle uses,
    and our end of its pipe."""

    def __init__(self, process: subprocess.Popen[bytes], sock: socket.socket) -> None:
        self._process = process
        self.sock = sock

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def wait(self) -> int:
        """The exit status; another task may go on meanwhile."""
        import asyncio  # it takes as long as the rest of this file

        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        fd = os.pidfd_open(self.pid)
        try:
            loop.add_reader(fd, ended.set)
            await ended.wait()
        finally:
            loop.remove_reader(fd)
            os.close(fd)
        return self._process.wait()

    def abandon(self) -> None:
        """It gets no plan: end it."""
        self.sock.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class EarlyReaders:
    """``count`` reader processes without a plan, each given away once."""

    def __init__(self, count: int) -> None:
        self._left: list[Started] = []
        # Ctrl-C reaches every process of the terminal: those that still import would tell of it
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self._start(count)
        finally:
            signal.signal(signal.SIGINT, before)

    def _start(self, count: int) -> None:
        for _ in range(count):
            ours, theirs = socket.socketpair()
            with theirs:
                try:
                    process = subprocess.Popen(
                        [
                            sys.executable,
                            "-m",
                            "feedd.reader",
                            str(theirs.fileno()),
                            str(os.getpid()),
                        ],
                        pass_fds=(theirs.fileno(),),
                        stdin=subprocess.DEVNULL,
                        env=without_notify(os.environ),
                        umask=UMASK,
                    )
                except OSError:  # whoever starts it in due time says why it cannot be
                    ours.close()
                    break
            self._left.append(Started(process, ours))

    @classmethod
    def of(cls, config: Path) -> EarlyReaders:
        """As many as the file asks for; none when it is no good: the check of it will say why.

        Call it before NumPy is imported here: this process and its children get the variables that
        keep its thread pools away.
        """
        for name, value in ONE_THREAD.items():
            os.environ.setdefault(name, value)
        try:
            with config.open("rb") as file:
                count = tomllib.load(file).get("readers", {}).get("count", 1)
        except (OSError, ValueError, AttributeError):
            count = 0
        return cls(count if isinstance(count, int) and 0 < count <= EARLY_MAX else 0)

    def __enter__(self) -> EarlyReaders:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def take(self) -> Started | None:
        """One of them, or None: start your own."""
        return self._left.pop() if self._left else None

    def close(self) -> None:
        """End those that nobody took."""
        while self._left:
            self._left.pop().abandon()
