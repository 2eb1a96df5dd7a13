"""aiohttp, imported without the certificates that it would read and nobody here would use.

At its import aiohttp makes two TLS contexts for clients that bring none, and reads all certificates
of the system for each: a seventh of a second, more than any other part of the supervisor's start.
Every client here brings its own (``reader.net.tls_context``). One that forgot to would trust
nobody.
"""

from __future__ import annotations

import ssl

__all__ = ["aiohttp"]


def _read_none(self: ssl.SSLContext) -> None:
    """In the place of ``set_default_verify_paths``."""


ssl.SSLContext.set_default_verify_paths = _read_none  # type: ignore[method-assign]
try:
    import aiohttp
finally:
    del ssl.SSLContext.set_default_verify_paths  # what it inherits is there again
