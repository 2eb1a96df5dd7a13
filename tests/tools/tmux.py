"""A real terminal without a person: tmux holds it, the test types and reads the screen."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

TOOLS = Path(__file__).parents[2] / "tools"


class Tmux:
    """A tmux server of its own, one session of one window."""

    def __init__(self, folder: Path) -> None:
        self._base = ["tmux", "-S", str(folder / "tmux"), "-f", "/dev/null"]

    def start(self, *command: str) -> None:
        size = ["-x", "150", "-y", "40"]
        subprocess.run([*self._base, "new-session", "-d", *size, *command], check=True, timeout=20)

    def tool(self, name: str, *arguments: str) -> None:
        self.start(sys.executable, str(TOOLS / name), *arguments)

    def shell(self, line: str) -> None:
        """A shell that runs ``line`` and stays: what the program leaves can be read."""
        self.start("sh", "-c", f"trap : INT; {line}; cat")

    def keys(self, *keys: str) -> None:
        subprocess.run([*self._base, "send-keys", *keys], check=True, timeout=20)

    def screen(self) -> str:
        shown = [*self._base, "capture-pane", "-p"]
        return subprocess.run(shown, capture_output=True, text=True, timeout=20).stdout

    def until(self, what: str | Callable[[str], bool], seconds: float = 40.0) -> str:
        """The screen, as soon as it has the text ``what``, or ``what`` is true of it."""
        end = time.monotonic() + seconds
        while True:
            text = self.screen()
            if what in text if isinstance(what, str) else what(text):
                return text
            assert time.monotonic() < end, f"{what!r} never came:\n{text}"
            time.sleep(0.05)

    def alive(self) -> bool:
        listed = [*self._base, "list-sessions"]
        return subprocess.run(listed, capture_output=True, timeout=20).returncode == 0

    def until_ended(self, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while self.alive():
            assert time.monotonic() < end, self.screen()
            time.sleep(0.05)

    def close(self) -> None:
        subprocess.run([*self._base, "kill-server"], capture_output=True, timeout=20)
