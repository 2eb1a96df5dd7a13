"""Everything feedd raises on purpose, and the exit status of each.

::

    FeeddError                 exit status
    ├── ConfigError            78   configuration or venue file: all mistakes at once
    ├── ShmError               74   shared memory could not be created or mapped
    │   ├── ShmFullError       75   the tmpfs is full: make room, retry
    │   ├── LayoutError        70   not a feedd segment, or another ABI version
    │   ├── LockedError        75   another writer owns the segment
    │   └── AttachError        69   no daemon directory found, or not trusted
    ├── LappedError            70   a consumer asked to be told (on_overrun="raise")
    ├── CaptureError           65   a capture file cannot be read
    ├── VenueError             69   the venue answered with an error
    └── StartError             69   nothing could be started
"""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "AttachError",
    "CaptureError",
    "ConfigError",
    "Exit",
    "FeeddError",
    "LappedError",
    "LayoutError",
    "LockedError",
    "ShmError",
    "ShmFullError",
    "StartError",
    "VenueError",
]


class Exit(IntEnum):
    """Exit statuses (sysexits.h, but for usage: the command line's own 2). Each has a meaning for
    whoever restarts the daemon; ``meaning`` says it."""

    OK = 0
    UNHEALTHY = 1
    USAGE = 2
    DATA = 65
    UNAVAILABLE = 69
    SOFTWARE = 70
    IO = 74
    TEMPORARY = 75
    CONFIG = 78

    @property
    def meaning(self) -> str:
        return _MEANINGS[self]


_MEANINGS = {
    Exit.OK: "ended as asked (SIGTERM, SIGINT), or the command did what it should",
    Exit.UNHEALTHY: "a check says no: `feedd status --fail`, `feedd ctl` refused by the daemon",
    Exit.USAGE: "wrong options or arguments; a restart cannot help",
    Exit.DATA: "an input file cannot be read as what it should be",
    Exit.UNAVAILABLE: "nothing to talk to: no daemon, no venue answers, every reader was given up",
    Exit.SOFTWARE: "a mistake in feedd: please report it with the log",
    Exit.IO: "shared memory or a file could not be made, read or written",
    Exit.TEMPORARY: "try again later: another daemon has the directory, or memory is full",
    Exit.CONFIG: "configuration or venue file with mistakes; a restart cannot help",
}


class FeeddError(Exception):
    """Base class; the message says what happened, where, and what to do."""

    exit_code = Exit.SOFTWARE


class ConfigError(FeeddError):
    """Mistakes of a configuration or venue file, all of them, one per line."""

    exit_code = Exit.CONFIG

    def __init__(self, problems: list[str] | str) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class ShmError(FeeddError):
    """Shared memory could not be created, opened or mapped."""

    exit_code = Exit.IO


class ShmFullError(ShmError):
    """The file system of the segment has no room left."""

    exit_code = Exit.TEMPORARY


class LayoutError(ShmError):
    """The file is not a feedd segment of a layout that this version reads."""

    exit_code = Exit.SOFTWARE


class LockedError(ShmError):
    """Another living writer owns the segment."""

    exit_code = Exit.TEMPORARY


class AttachError(ShmError):
    """No daemon directory was found, or it belongs to somebody not trusted."""

    exit_code = Exit.UNAVAILABLE


class LappedError(FeeddError):
    """The consumer fell a whole ring behind and asked to be told by an exception."""

    def __init__(self, lost: int, position: int) -> None:
        self.lost = lost
        self.position = position
        super().__init__(
            f"the consumer fell a whole ring behind: {lost} records lost, reading goes on at "
            f"sequence {position}; read faster, or give the ring more slots"
        )


class CaptureError(FeeddError):
    """A capture file cannot be opened or is not in the capture format."""

    exit_code = Exit.DATA


class VenueError(FeeddError):
    """A venue answered with an error, or not at all."""

    exit_code = Exit.UNAVAILABLE


class StartError(FeeddError):
    """The daemon or one of its processes could not be started."""

    exit_code = Exit.UNAVAILABLE
