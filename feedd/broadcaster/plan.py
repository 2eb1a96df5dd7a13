"""What the supervisor tells the broadcaster process: plain data that travels as JSON."""

from __future__ import annotations

import msgspec

__all__ = ["BroadcasterPlan"]


class BroadcasterPlan(msgspec.Struct, frozen=True):
    directory: str
    bind: str
    """ipc address that this process listens on."""
    upstream: str
    """ipc address of the supervisor's publisher: what comes from there is passed on."""
    send_hwm: int
    interval_s: float
    """At most one quote per instrument in this time."""
    trades: bool
    tcp: str | None = None
    curve_credentials: str | None = None
    """Where the server's secret key is; the key itself never travels."""
    curve_allowed: tuple[str, ...] = ()
    log_level: str = "info"
    log_format: str = "text"
