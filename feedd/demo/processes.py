"""Child processes of the demo: none outlives it, whatever happens."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from feedd.errors import StartError

__all__ = ["child", "end"]

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


@contextlib.contextmanager
def child(
    arguments: list[str], log: Path, *, stdout: int | None = None, grace_s: float = 10.0
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``python -m ARGUMENTS`` for the time of the block.

    It has a session of its own, so that a Ctrl-C in the terminal reaches only the demo, which then
    ends its children in order. ``log`` gets stderr (and stdout unless it is given).
    """
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.PIPE,
            stdout=errors if stdout is None else stdout,
            stderr=errors,
            start_new_session=True,
            preexec_fn=_die_with_parent,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    try:
        yield process
    finally:
        end(process, grace_s)


def end(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """SIGTERM, then SIGKILL after ``grace_s``; safe to call twice."""
    with contextlib.suppress(BrokenPipeError):
        if process.stdin is not None:
            process.stdin.close()
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def check(process: subprocess.Popen[bytes], what: str, log: Path) -> None:
    """Raise ``StartError`` with the end of its log when a process has ended too early."""
    if process.poll() is not None:
        tail = log.read_text(errors="replace").strip().splitlines()[-15:]
        raise StartError(
            f"{what} ended with status {process.returncode}:\n  "
            + "\n  ".join(tail or ["(silent)"])
        )
