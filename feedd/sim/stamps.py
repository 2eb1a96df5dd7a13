"""Times as text, for the venues that do not send milliseconds as a number."""

from __future__ import annotations

import datetime


def iso_ms(ms: int) -> str:
    """``2026-05-27T12:56:40.500Z`` of a Unix time in milliseconds."""
    seconds, rest = divmod(ms, 1_000)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"
