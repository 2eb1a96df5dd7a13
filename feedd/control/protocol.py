"""The control socket: commands, who may give them, and how they travel.

``control`` in the instance directory is an AF_UNIX stream socket (mode 0660). Both sides send JSON
lines. A request is ``{"do": "<command>", "args": {...}}``, at most ``REQUEST_BYTES_MAX`` bytes; the
answer is ``{"v": 1, "ok": true, "result": ...}`` or ``{"v": 1, "ok": false, "code": "...",
"error": "..."}``. A connection may ask many times, one request at a time.

Roles: *operate* may do everything, *read* may look. Root and the daemon's own user operate, and
whoever ``[control]`` names; everybody else who can open the socket reads.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec

__all__ = [
    "ANSWER_BYTES_MAX",
    "COMMANDS",
    "REQUEST_BYTES_MAX",
    "SOCKET_NAME",
    "Code",
    "Command",
    "Role",
]

SOCKET_NAME = "control"
REQUEST_BYTES_MAX = 64 * 1024
ANSWER_BYTES_MAX = 16 * 1024 * 1024


class Role(StrEnum):
    READ = "read"
    OPERATE = "operate"


class Code(StrEnum):
    """Why a request was not done."""

    USAGE = "usage"  # not a request, unknown command, wrong arguments
    REFUSED = "refused"  # the role does not suffice
    BUSY = "busy"  # too many clients or requests: ask again later
    FAILED = "failed"  # it was tried, or the daemon's state does not allow it


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Arguments of a command; the subclass's docstring is its help."""


_Instrument = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]{1,32}:.{1,64}$")]
_Reader = Annotated[int, msgspec.Meta(ge=0, le=4095)]
_Line = Annotated[int, msgspec.Meta(ge=0, le=4095)]


class Status(Command, frozen=True, kw_only=True):
    """Processes, versions, limits: what the daemon knows of itself."""


class Snapshot(Command, frozen=True, kw_only=True):
    """The latest values and the best levels of one instrument."""

    instrument: _Instrument
    depth: Annotated[int, msgspec.Meta(ge=1, le=32)] = 10


class LogLevel(Command, frozen=True, kw_only=True):
    """Set the log level of all processes until the next start or reload."""

    level: Literal["debug", "info", "warning", "error"]


class Resync(Command, frozen=True, kw_only=True):
    """Start one book anew: declares a gap, then takes a fresh snapshot from the venue."""

    instrument: _Instrument


class Subscribe(Command, frozen=True, kw_only=True):
    """Take one instrument in while everything else goes on; until a restart or a reload that
    changes the venue's instruments."""

    instrument: _Instrument


class Unsubscribe(Command, frozen=True, kw_only=True):
    """Leave one instrument; its board row is free again after a rest."""

    instrument: _Instrument


class Restart(Command, frozen=True, kw_only=True):
    """Replace one reader process by another that got ready beside it: no record is lost. Where
    that is not possible, or ``at_once``, it ends first, and its streams are interrupted."""

    reader: _Reader
    at_once: bool = False


class Rotate(Command, frozen=True, kw_only=True):
    """Close one connection in order and open it again."""

    reader: _Reader
    line: _Line


class ShowConfig(Command, frozen=True, kw_only=True):
    """The configuration in force, defaults included."""


class Reload(Command, frozen=True, kw_only=True):
    """Read the configuration file again and take it over, all or nothing."""

    dry_run: bool = False


COMMANDS: dict[str, tuple[type[Command], Role]] = {
    "status": (Status, Role.READ),
    "snapshot": (Snapshot, Role.READ),
    "config": (ShowConfig, Role.READ),
    "reload": (Reload, Role.OPERATE),
    "log-level": (LogLevel, Role.OPERATE),
    "resync": (Resync, Role.OPERATE),
    "subscribe": (Subscribe, Role.OPERATE),
    "unsubscribe": (Unsubscribe, Role.OPERATE),
    "restart": (Restart, Role.OPERATE),
    "rotate": (Rotate, Role.OPERATE),
}


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    do: str
    args: dict[str, Any] = {}
