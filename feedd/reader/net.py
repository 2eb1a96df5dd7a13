"""Small facts about addresses, TLS and HTTP headers that the reader and the fetcher share."""

from __future__ import annotations

import email.utils
import ipaddress
import ssl
from urllib.parse import urlsplit

from feedd.clock import SECOND_NS
from feedd.reader.backoff import RETRY_AFTER_MAX_S

__all__ = ["BAN_DEFAULT_S", "is_loopback", "retry_after_s", "tls_context"]

BAN_DEFAULT_S = {429: 10.0, 418: 120.0}
"""How long to stay away after these statuses when the venue does not say. Binance: a ban (418)
lasts from two minutes up."""


def is_loopback(url: str) -> bool:
    """True when the host of ``url`` is this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Certificate and host name verified, TLS 1.2 or newer; ``ca_file`` instead of the system's."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def retry_after_s(value: str | None, wall_ns: int) -> float | None:
    """Seconds that a Retry-After header asks for: a number or an HTTP date."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = email.utils.parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = moment.timestamp() - wall_ns / SECOND_NS
    if not seconds >= 0:
        return 0.0
    return min(seconds, RETRY_AFTER_MAX_S)
