"""The words between a connection's session and its owner: states, actions, counters."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

__all__ = ["Action", "Activity", "Counts", "Do", "State"]


class State(StrEnum):
    IDLE = "idle"
    PERMIT = "permit"  # waiting for the supervisor's leave to connect
    CONNECTING = "connecting"
    UP = "up"
    CLOSING = "closing"
    BACKOFF = "backoff"
    STOPPED = "stopped"


class Do(StrEnum):
    """What the owner must do."""

    PERMIT = "permit"  # ask the supervisor for a connect permit
    CONNECT = "connect"
    SEND = "send"  # data: one text message
    PING = "ping"
    CLOSE = "close"  # code, text: send a close frame, then disconnect
    ABORT = "abort"  # disconnect without ceremony
    REPLACE = "replace"  # text: why; open another connection, then retire this one
    LINE_UP = "line_up"
    LINE_DOWN = "line_down"  # text: why
    STALE = "stale"  # text: no data for too long
    DISTRUST = "distrust"  # text: the venue says that its data cannot be trusted now
    SUBSCRIBED = "subscribed"  # topic: the venue sends it from now on
    SUBSCRIBE_FAILED = "subscribe_failed"  # topic, text
    NOTICE = "notice"  # text: something an operator should see


@dataclass(slots=True, frozen=True)
class Action:
    do: Do
    data: bytes = b""
    text: str = ""
    topic: str = ""
    code: int = 0


class Activity(NamedTuple):
    """Counters of the line since its connection opened; only changes between ticks matter."""

    frames: int = 0  # frames of any kind
    data: int = 0  # messages with market data
    pongs: int = 0  # answers to our pings
    pongs_sent: int = 0  # answers to the venue's pings


@dataclass(slots=True)
class Counts:
    connects: int = 0
    disconnects: int = 0
    rotations: int = 0
    connect_failures: int = 0
    login_failures: int = 0
    subscribe_errors: int = 0
    pings_sent: int = 0
    heartbeats_answered: int = 0
    control_unknown: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
