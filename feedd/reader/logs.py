"""Log lines on stderr: for people, for journald's priorities, or as JSON. Never on the hot path."""

from __future__ import annotations

import logging
import os
import sys

import orjson

from feedd.clock import SECOND_NS

__all__ = ["RateLimit", "setup_logging"]

_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}


class _Text(logging.Formatter):
    def __init__(self, journal: bool, reader: int | None) -> None:
        stamp = "" if journal else "%(asctime)s "
        who = "%(name)s" if reader is None else f"%(name)s {reader}"
        super().__init__(f"{stamp}%(levelname)-7s {who}: %(message)s")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return f"<{_PRIORITY.get(record.levelno, 6)}>{text}" if self._journal else text


class _Json(logging.Formatter):
    def __init__(self, reader: int | None) -> None:
        super().__init__()
        self._reader = {} if reader is None else {"reader": reader}

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "t": record.created,
            "level": record.levelname.lower(),
            "logger": record.name,
            **self._reader,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


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
    handler.setFormatter(_Json(reader) if form == "json" else _Text(_is_journal(), reader))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("picows").setLevel(logging.CRITICAL)  # the session says it better


class RateLimit:
    """At most ``burst`` lines per ten seconds and key; ``allow`` also tells how many were left."""

    def __init__(self, burst: int = 5) -> None:
        self._burst = burst
        self._seen: dict[str, tuple[int, int]] = {}

    def allow(self, key: str, now: int) -> bool:
        start, count = self._seen.get(key, (now, 0))
        if now - start > 10 * SECOND_NS:
            start, count = now, 0
        if len(self._seen) > 1_000:
            self._seen.clear()
        self._seen[key] = (start, count + 1)
        return count < self._burst
