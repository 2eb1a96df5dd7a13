"""A client of the control socket, for ``feedd ctl`` and for programs; blocking, one thread."""

from __future__ import annotations

import socket
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from feedd.control.protocol import ANSWER_BYTES_MAX, REQUEST_BYTES_MAX, SOCKET_NAME, Code
from feedd.errors import AttachError, Exit, FeeddError

__all__ = ["ControlClient", "ControlError"]

TIMEOUT_S = 60.0


class ControlError(FeeddError):
    """The daemon did not do what it was asked; ``code`` says why."""

    exit_code = Exit.UNHEALTHY

    def __init__(self, code: str, message: str, details: list[str] | None = None) -> None:
        self.code = code
        self.details = details or []
        super().__init__("\n".join([message, *self.details]))


class ControlClient:
    """One connection; raises ``AttachError`` when nobody listens or one may not talk to it."""

    def __init__(self, directory: Path, timeout: float = TIMEOUT_S) -> None:
        path = directory / SOCKET_NAME
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(str(path))
        except OSError as exc:
            self._socket.close()
            raise AttachError(f"cannot talk to a daemon at {path}: {_hint(exc)}") from exc
        self._buffer = b""

    def ask(self, do: str, **args: Any) -> Any:
        """The result of one command. Raises ``ControlError``."""
        line = orjson.dumps({"do": do, "args": args}) + b"\n"
        if len(line) > REQUEST_BYTES_MAX:
            raise ControlError(Code.USAGE, f"{do}: the request is too long")
        try:
            self._socket.sendall(line)
            answer = orjson.loads(self._line())
        except TimeoutError:
            raise ControlError(Code.FAILED, f"{do}: no answer from the daemon") from None
        except (OSError, orjson.JSONDecodeError) as exc:
            raise ControlError(Code.FAILED, f"{do}: the daemon broke off: {exc}") from exc
        if not answer.get("ok"):
            raise ControlError(
                str(answer.get("code", Code.FAILED)),
                str(answer.get("error", "no reason given")),
                [str(item) for item in answer.get("details", [])],
            )
        return answer.get("result")

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            part = self._socket.recv(1 << 16)
            if not part:
                raise ConnectionError("end of the connection")
            self._buffer += part
            if len(self._buffer) > ANSWER_BYTES_MAX:
                raise ConnectionError("the answer is too long")
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _hint(exc: OSError) -> str:
    if isinstance(exc, FileNotFoundError):
        return "no such socket: is the daemon running, and is [control] enabled?"
    if isinstance(exc, ConnectionRefusedError):
        return "nobody listens: the daemon has ended"
    if isinstance(exc, PermissionError):
        return "permission denied: your user must be in the daemon's group"
    return str(exc.strerror or exc)
