"""Everything feedd raises on purpose.

::

    FeeddError                 exit code
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

__all__ = [
    "AttachError",
    "CaptureError",
    "ConfigError",
    "FeeddError",
    "LappedError",
    "LayoutError",
    "LockedError",
    "ShmError",
    "ShmFullError",
    "StartError",
    "VenueError",
]


class FeeddError(Exception):
    """Base class; the message says what happened, where, and what to do."""

    exit_code = 70


class ConfigError(FeeddError):
    """Mistakes of a configuration or venue file, all of them, one per line."""

    exit_code = 78

    def __init__(self, problems: list[str] | str) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class ShmError(FeeddError):
    """Shared memory could not be created, opened or mapped."""

    exit_code = 74


class ShmFullError(ShmError):
    """The file system of the segment has no room left."""

    exit_code = 75


class LayoutError(ShmError):
    """The file is not a feedd segment of a layout that this version reads."""

    exit_code = 70


class LockedError(ShmError):
    """Another living writer owns the segment."""

    exit_code = 75


class AttachError(ShmError):
    """No daemon directory was found, or it belongs to somebody not trusted."""

    exit_code = 69


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

    exit_code = 65


class VenueError(FeeddError):
    """A venue answered with an error, or not at all."""

    exit_code = 69


class StartError(FeeddError):
    """The daemon or one of its processes could not be started."""

    exit_code = 69
