"""The server's CURVE key, from a credential."""

from __future__ import annotations

import zmq

from feedd.errors import ConfigError
from feedd.venues.credentials import load_credentials

__all__ = ["server_key"]

KEY_CHARACTERS = 40


def server_key(source: str) -> bytes:
    """The server's secret key from a credential (``secret_key = "..."``, Z85, 40 characters).

    Raises ``ConfigError`` without quoting the key.
    """
    credentials = load_credentials(source)
    if "secret_key" not in credentials:
        raise ConfigError(f'credentials {credentials.where}: no secret_key = "..." in it')
    key = credentials["secret_key"].reveal().encode()
    try:
        if len(key) != KEY_CHARACTERS:
            raise ValueError
        zmq.curve_public(key)
    except (ValueError, zmq.ZMQError):
        raise ConfigError(
            f"credentials {credentials.where}: secret_key is not a CURVE key of "
            f"{KEY_CHARACTERS} characters (Z85)"
        ) from None
    return key
