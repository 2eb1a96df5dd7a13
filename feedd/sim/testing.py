"""Start the simulated venue from a test, a benchmark or the demo."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

from feedd.clock import monotonic_ns
from feedd.errors import StartError

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0


def spawn(arguments: list[str], errors: IO[str]) -> subprocess.Popen[bytes]:
    """``feedd sim`` with its stdout in a pipe."""
    return subprocess.Popen(
        [sys.executable, "-m", "feedd.sim", *arguments], stdout=subprocess.PIPE, stderr=errors
    )


class SimHandle:
    """A simulated venue in its own process."""

    def __init__(self, directory: Path, options: dict[str, object]) -> None:
        self.directory = directory
        self.journal_path = Path(str(options.pop("journal", directory / "journal.jsonl")))
        arguments = ["--journal", str(self.journal_path), "--cert-dir", str(directory)]
        if options.pop("die_with_parent", True):
            arguments.append("--die-with-parent")
        for key, value in options.items():
            arguments += _arguments(key, value)
        self._errors = (directory / "sim.stderr").open("w+", encoding="utf-8")
        self.process = spawn(arguments, self._errors)
        try:
            ready = self._ready_line()
        except BaseException:
            self.kill()
            raise
        self.ws: str = ready["ws"]
        self.rest: str = ready["rest"]
        self.ca: str = ready["ca"]
        self.endpoints: dict[str, dict[str, str]] = ready["endpoints"]
        self.instruments: dict[str, list[str]] = ready["instruments"]

    def section(
        self, venue: str, channels: Sequence[str], instruments: Sequence[str] | None = None
    ) -> list[str]:
        """Lines of a daemon's configuration that subscribe to ``channels`` of a venue here; of all
        its instruments unless some are named."""
        symbols = self.instruments[venue] if instruments is None else instruments
        where = self.endpoints[venue]
        return [
            f"[venues.{venue}]",
            f"instruments = {json.dumps(list(symbols))}",
            f"channels = {json.dumps(list(channels))}",
            f'endpoint = "{where["ws"]}"',
            f'rest_endpoint = "{where["rest"]}"',
            f'ca_file = "{self.ca}"',
        ]

    def _ready_line(self) -> dict[str, Any]:
        assert self.process.stdout is not None  # noqa: S101 - a pipe was asked for
        deadline = monotonic_ns() + int(START_TIMEOUT_S * 1e9)
        while monotonic_ns() < deadline:
            readable, _, _ = select.select([self.process.stdout], [], [], 0.1)
            line = self.process.stdout.readline() if readable else b""
            if line:
                return cast("dict[str, Any]", json.loads(line))
            if readable or self.process.poll() is not None:
                break
        raise StartError(f"the simulated venue did not start: {self.errors() or 'no word from it'}")

    def errors(self) -> str:
        """What it wrote to stderr so far."""
        return (self.directory / "sim.stderr").read_text(encoding="utf-8").strip()

    def ssl_context(self) -> ssl.SSLContext | None:
        """A client context that trusts its test CA; None without TLS."""
        return ssl.create_default_context(cafile=self.ca) if self.ca else None

    def get(self, path: str) -> tuple[int, Any]:
        """GET from the REST port: status and parsed JSON (text when it is not JSON)."""
        return self._request("GET", path, None)

    def post(self, path: str, body: object) -> tuple[int, Any]:
        """POST JSON to the REST port: status and parsed JSON (text when it is not JSON)."""
        return self._request("POST", path, json.dumps(body).encode())

    def control(self, action: str, body: object = None, method: str = "") -> Any:
        """Call ``/_sim/<action>``: GET for status, POST otherwise; a str body is sent as it is.

        Raises ValueError with the sim's words when it refuses.
        """
        method = method or ("GET" if action == "status" else "POST")
        text = body if isinstance(body, str) else json.dumps(body or {})
        status, answer = self._request(method, f"/_sim/{action}", text.encode())
        if status != 200:
            raise ValueError(f"{action}: {answer}")
        return answer

    def _request(self, method: str, path: str, data: bytes | None) -> tuple[int, Any]:
        request = urllib.request.Request(
            self.rest + path, data=data if method != "GET" else None, method=method
        )
        try:
            with urllib.request.urlopen(
                request, timeout=STOP_TIMEOUT_S, context=self.ssl_context()
            ) as answer:
                return answer.status, _parsed(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _parsed(error.read())

    def journal(self) -> list[dict[str, Any]]:
        """All rows on disk so far."""
        text = self.journal_path.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"]

    def stop(self) -> int:
        """Ask it to end and wait; returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_TIMEOUT_S)
        finally:
            self.kill()
        return status

    def kill(self) -> None:
        """End it at once and release what it held; safe to call twice."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_TIMEOUT_S)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._errors.close()


@contextlib.contextmanager
def start_sim(directory: Path | str | None = None, **options: object) -> Iterator[SimHandle]:
    """Run the simulated venue for the time of a ``with`` block.

    Options are those of the command line with underscores: ``seed=3``, ``rate=500``,
    ``tls=False``, ``fault=["drop,nth=3"]``, ``capture=[path]``, ``hold=True``.
    """
    with contextlib.ExitStack() as stack:
        if directory is None:
            name = f"feedd-sim-{os.getpid()}-"
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix=name))
        handle = SimHandle(Path(directory), dict(options))
        try:
            yield handle
            handle.stop()
        finally:
            handle.kill()


def _arguments(key: str, value: object) -> list[str]:
    flag = "--" + key.replace("_", "-")
    if value is True:
        return [flag]
    if value is False:
        return ["--no-" + key.replace("_", "-")] if key in ("tls", "limits") else []
    if isinstance(value, list | tuple):
        return [part for each in value for part in (flag, str(each))]
    return [flag, str(value)]


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")
