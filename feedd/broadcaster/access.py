"""Who may listen over TCP: the list of public keys that are let in."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import zmq.asyncio
from zmq.auth.asyncio import AsyncioAuthenticator

__all__ = ["Gate"]

log = logging.getLogger("feedd.audit")


class _Allowed:
    """What pyzmq asks for each handshake."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = {key.encode() for key in keys}
        self.refused = 0

    def callback(self, domain: str, key: bytes) -> bool:
        # pyzmq hands the key over as Z85 text already
        if key in self._keys:
            log.info("zmq: key %s let in", key.decode())
            return True
        self.refused += 1
        log.warning("zmq: unknown key %s refused", key.decode("ascii", "replace"))
        return False


class Gate:
    """The ZAP handler of a context: nobody without one of these public keys gets in over TCP."""

    def __init__(self, context: zmq.asyncio.Context, allowed: Iterable[str]) -> None:
        self._allowed = _Allowed(allowed)
        self._authenticator = AsyncioAuthenticator(context)

    @property
    def refused(self) -> int:
        return self._allowed.refused

    def start(self) -> None:
        self._authenticator.start()
        self._authenticator.configure_curve_callback(domain="*", credentials_provider=self._allowed)

    def stop(self) -> None:
        self._authenticator.stop()
