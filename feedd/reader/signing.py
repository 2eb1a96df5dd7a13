"""From the place of credentials to what signs for a venue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from feedd.clock import now_ns
from feedd.errors import ConfigError
from feedd.venues.auth import sign
from feedd.venues.credentials import load_credentials
from feedd.venues.schema import Venue

__all__ = ["Signer", "signer_of"]

Signer = Callable[[int], Mapping[str, Any]]
"""Wall time in ns -> fields of the venue's way to sign."""


def signer_of(venue: Venue, source: str) -> Signer:
    """What signs for a venue with the keys at ``source``; tried once, so that it can later.

    Raises ``ConfigError`` when the venue knows no login, when the credentials are not there, are
    readable by others or lack something; never with a value in it.
    """
    auth = venue.session.auth
    if auth is None:
        raise ConfigError(f"{venue.name} knows no login")
    credentials, method = load_credentials(source), auth.method

    def signer(now: int) -> Mapping[str, Any]:
        return sign(method, credentials, now)

    signer(now_ns())
    return signer
