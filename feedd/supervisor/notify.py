"""What systemd is told: the sd_notify protocol, and whether the watchdog may be fed.

One datagram per message to ``$NOTIFY_SOCKET``. Without that variable every call does nothing, so
the daemon runs the same under a shell. The protocol is small and stable (sd_notify(3)); a
dependency for it would be larger than this file.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable, Mapping, MutableMapping

from feedd.clock import SECOND_NS, monotonic_ns

__all__ = ["Notifier", "Progress", "without_notify"]

STATUS_BYTES_MAX = 400
PINGS_PER_PERIOD = 3
"""Messages per watchdog period: one late or lost ping must not end the daemon."""
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")

log = logging.getLogger("feedd.supervisor")


def without_notify(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child: it must not talk to systemd in the supervisor's name."""
    return {key: value for key, value in environ.items() if key not in VARIABLES}


class Notifier:
    """Sends to systemd; ``enabled`` is False where nobody listens.

    ``watchdog_s`` is the time between two ``watchdog`` calls, or None when none are expected.
    """

    def __init__(self, environ: MutableMapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        address = environ.get("NOTIFY_SOCKET", "")
        self.enabled = address.startswith(("/", "@"))
        # a name in the abstract namespace is written with "@" for the leading NUL byte
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = self._period(environ) if self.enabled else None
        self._socket: socket.socket | None = None
        self._warned = False
        self._status = ""

    @staticmethod
    def _period(environ: Mapping[str, str]) -> float | None:
        """A third of WatchdogSec=, when it is meant for this process."""
        pid = environ.get("WATCHDOG_PID", "")
        if pid and pid != str(os.getpid()):
            return None
        given = environ.get("WATCHDOG_USEC", "")
        if not given.isdecimal() or int(given) == 0:
            return None
        return int(given) / 1e6 / PINGS_PER_PERIOD

    def send(self, **fields: str | int) -> bool:
        """One message of ``KEY=value`` lines; False when it could not be delivered."""
        if not self.enabled:
            return False
        text = "\n".join(f"{key}={_line(str(value))}" for key, value in fields.items())
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)  # systemd that does not read must not stop us
            self._socket.sendto(text.encode(), self._address)
        except OSError as exc:
            if not self._warned:
                log.warning("cannot reach systemd at $NOTIFY_SOCKET: %s", exc.strerror or exc)
                self._warned = True
            return False
        self._warned = False
        return True

    def ready(self, status: str) -> None:
        """The daemon serves: consumers can attach."""
        self._status = status
        self.send(READY=1, STATUS=status, MAINPID=os.getpid())

    def status(self, text: str) -> None:
        """The line that ``systemctl status`` shows; sent when it changed."""
        if text != self._status:
            self._status = text
            self.send(STATUS=text)

    def starting(self, text: str, extend_s: float) -> None:
        """A start that takes long is going on: systemd waits ``extend_s`` more from now."""
        self._status = text
        self.send(STATUS=text, EXTEND_TIMEOUT_USEC=int(extend_s * 1e6))

    def reloading(self) -> None:
        """A new configuration is being looked at; ``ready`` must follow. Type=notify-reload needs
        the time as well, and without it ``systemctl reload`` would wait for its timeout."""
        self.send(
            RELOADING=1, MONOTONIC_USEC=monotonic_ns() // 1_000, STATUS="reloading configuration"
        )

    def stopping(self) -> None:
        self.send(STOPPING=1, STATUS="stopping")

    def watchdog(self) -> None:
        self.send(WATCHDOG=1)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _line(text: str) -> str:
    """One line of bounded length: a newline would begin another field."""
    cleaned = "".join(c if c.isprintable() else " " for c in text)
    return cleaned.encode()[:STATUS_BYTES_MAX].decode("utf-8", "ignore")


class Progress:
    """Whether the watchdog may be fed: every running reader's heartbeat goes on. Pure.

    A reader that is being started or waits for its restart is in the supervisor's hands, which has
    its own limits for both; one that was given up is an alert, not a reason to stop the others.
    What is left is a reader that should run, hangs, and could not be killed: only systemd can help.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_ns = int(limit_s * SECOND_NS)
        self._seen: dict[int, tuple[int, int]] = {}  # reader: heartbeat, when it changed
        self._looked = 0

    def stuck(self, now: int, running: Iterable[tuple[int, int]]) -> list[int]:
        """Readers without progress; ``running`` is (number, heartbeat) of those that should run."""
        out = []
        seen: dict[int, tuple[int, int]] = {}
        still = now - self._looked if self._looked else 0
        self._looked = now
        if still > max(
            self._limit_ns, SECOND_NS
        ):  # we stood still, and whoever else did has had no time yet
            self._seen = {n: (beat, since + still) for n, (beat, since) in self._seen.items()}
        for number, beat in running:
            last, since = self._seen.get(number, (-1, now))
            if beat != last:
                since = now
            seen[number] = (beat, since)
            if now - since > self._limit_ns:
                out.append(number)
        self._seen = seen  # a reader that ended meanwhile begins anew
        return out
