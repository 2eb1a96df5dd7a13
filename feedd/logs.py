"""Log lines on stderr: for people, for journald, or as JSON. Never on the hot path.

Whatever a venue or a peer sent may end up in a message, so every line is made harmless on its way
out: characters that a terminal or a log reader could act on are escaped, what looks like a secret
is masked, length is bounded. A place in the code that says the same again and again is cut short
and followed by one line with the number of those left out.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections import OrderedDict

import orjson

from feedd.clock import SECOND_NS, monotonic_ns

__all__ = ["RateLimit", "flush_suppressed", "harmless", "setup_logging"]

MESSAGE_MAX = 4_000
BURST = 10
"""Lines of one place in the code (and one first argument, such as the venue) per window."""
WINDOW_NS = 10 * SECOND_NS
PLACES_MAX = 1_000
UNLIMITED = frozenset({"feedd.audit"})
"""Bounded where they come from; an audit must not leave anything out."""

_PRIORITY = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}
_SECRETS = (
    (re.compile(r"://[^/\s@:]+:[^/\s@]+@"), "://***@"),
    (
        re.compile(
            r"(?i)\b(api[_-]?key|secret|token|signature|sign|passw(?:or)?d|passphrase|"
            r"private[_-]?key|listen[_-]?key|authorization)"
            r"(\\?[\"']?\s*[=:]\s*\\?[\"']?)(?:bearer\s+)?[^\s\"'&,;}\\]+"
        ),
        r"\1\2***",
    ),
)


def harmless(text: str) -> str:
    """One printable line without what looks like a secret, of bounded length."""
    if len(text) > MESSAGE_MAX:
        text = f"{text[:MESSAGE_MAX]}... ({len(text) - MESSAGE_MAX} characters more)"
    for pattern, mask in _SECRETS:
        text = pattern.sub(mask, text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


class _Formatter(logging.Formatter):
    """What all forms share; ``process`` names this process in each line."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self.process = process

    def parts(self, record: logging.LogRecord) -> tuple[str, list[str]]:
        """The message as one line, and the lines of a traceback."""
        trace: list[str] = []
        if record.exc_info:
            try:
                shown = self.formatException(record.exc_info)
            except Exception:  # uvloop hands over what is no traceback: a class was raised
                shown = repr(record.exc_info[1])
            trace = [harmless(line) for line in shown.splitlines()]
        return harmless(record.getMessage()), trace


class _Text(_Formatter):
    """A line for people, with the time."""

    def format(self, record: logging.LogRecord) -> str:
        message, trace = self.parts(record)
        stamp = f"{self.formatTime(record)} "
        first = f"{record.levelname:<7} {record.name}{self.process}: {message}"
        return "\n".join([stamp + first, *(f"    {line}" for line in trace)])


class _Journal(_Formatter):
    """journald has the time; each line carries its own priority, else a traceback would not."""

    def format(self, record: logging.LogRecord) -> str:
        message, trace = self.parts(record)
        mark = f"<{_PRIORITY.get(record.levelno, 6)}>"
        lines = [f"{record.name}{self.process}: {message}", *(f"    {line}" for line in trace)]
        return "\n".join(mark + line for line in lines)


class _Json(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        message, trace = self.parts(record)
        line = {
            "t": record.created,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message,
        }
        if self.process:
            line["reader"] = int(self.process)
        if trace:
            line["traceback"] = trace
        return orjson.dumps(line).decode()


class _Place:
    __slots__ = ("count", "record", "since")

    def __init__(self, since: int, record: logging.LogRecord) -> None:
        self.since = since
        self.count = 0
        self.record = record


class _Limiter(logging.Filter):
    """Lets ``BURST`` lines of a place through per window; what was left out is told afterwards."""

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__()
        self._handler = handler
        self._places: OrderedDict[tuple[str, int, str], _Place] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name in UNLIMITED or record.levelno >= logging.CRITICAL:
            return True
        self.flush(monotonic_ns())
        first = record.args[0] if isinstance(record.args, tuple) and record.args else ""
        key = (record.pathname, record.lineno, first if isinstance(first, str) else "")
        place = self._places.get(key)
        if place is None:
            if len(self._places) >= PLACES_MAX:
                self._tell(self._places.popitem(last=False)[1])
            place = self._places[key] = _Place(monotonic_ns(), record)
        place.count += 1
        return place.count <= BURST

    def flush(self, now: int) -> None:
        """Close windows that are over; places are in the order in which theirs began."""
        while self._places:
            key, place = next(iter(self._places.items()))
            if now - place.since < WINDOW_NS:
                return
            del self._places[key]
            self._tell(place)

    def _tell(self, place: _Place) -> None:
        left_out = place.count - BURST
        if left_out > 0:
            old = place.record
            message = f"suppressed {left_out} lines like: {harmless(old.getMessage())[:200]}"
            told = logging.LogRecord(
                old.name, old.levelno, old.pathname, old.lineno, message, None, None
            )
            self._handler.emit(told)


def _is_journal() -> bool:
    """True when stderr is the journal's own socket (systemd sets device and inode)."""
    given = os.environ.get("JOURNAL_STREAM", "")
    try:
        info = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return given == f"{info.st_dev}:{info.st_ino}"


def setup_logging(level: str, form: str, reader: int | None = None) -> None:
    """Log to stderr; ``reader`` is the number of this process, for every line of it."""
    handler = logging.StreamHandler(sys.stderr)
    kind = _Json if form == "json" else _Journal if _is_journal() else _Text
    separator = "" if form == "json" else " "
    handler.setFormatter(kind("" if reader is None else f"{separator}{reader}"))
    handler.addFilter(_Limiter(handler))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("picows").setLevel(logging.CRITICAL)  # the session says it better


def flush_suppressed() -> None:
    """Tell what was left out as soon as its window is over, also where nothing else is said."""
    for handler in logging.getLogger().handlers:
        for held in handler.filters:
            if isinstance(held, _Limiter):
                held.flush(monotonic_ns())


class RateLimit:
    """At most ``burst`` times per ten seconds and key; for work that is only done for the log."""

    def __init__(self, burst: int = 5) -> None:
        self._burst = burst
        self._seen: dict[str, tuple[int, int]] = {}

    def allow(self, key: str, now: int) -> bool:
        start, count = self._seen.get(key, (now, 0))
        if now - start > WINDOW_NS:
            start, count = now, 0
        if len(self._seen) > PLACES_MAX:
            self._seen.clear()
        self._seen[key] = (start, count + 1)
        return count < self._burst
