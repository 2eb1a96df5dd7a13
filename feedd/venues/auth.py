"""Signing: what a venue wants to see before it gives data that is public but not to everybody.

``sign`` turns credentials and a time into the fields of a request template. Every method is a pure
function of (credentials, time, context): nothing is sent, read or remembered here. No method gives
the secret itself away.

=====================  =======================  ====================================================
method                 credentials              fields
=====================  =======================  ====================================================
deribit_signature      key, secret              client_id, timestamp (ms), nonce, data, signature
okx_login              key, secret, passphrase  apiKey, passphrase, timestamp (s, text), sign
bybit_auth             key, secret              apiKey, expires (ms), signature
coinbase_jwt           key, secret              jwt
coinbase_exchange      key, secret, passphrase  key, passphrase, timestamp (s, text), signature
kraken_rest            key, secret              key, nonce, postdata, sign
bitget_login           key, secret, passphrase  apiKey, passphrase, timestamp (s, text), sign
bitmex_auth            key, secret              apiKey, expires (s), signature
binance_header         key                      apiKey
=====================  =======================  ====================================================
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from feedd.errors import ConfigError
from feedd.venues.credentials import Credentials, Secret

__all__ = ["FIELDS", "METHODS", "Method", "sign"]

Fields = dict[str, str | int]
_BYBIT_LIFE_MS = 10_000
_BITMEX_LIFE_S = 60
_JWT_LIFE_S = 120


class _Input(NamedTuple):
    credentials: Credentials
    now_ns: int
    context: Mapping[str, str]

    def text(self, name: str) -> str:
        return self.credentials[name].reveal()

    @property
    def ms(self) -> int:
        return self.now_ns // 1_000_000

    @property
    def seconds(self) -> int:
        return self.now_ns // 1_000_000_000

    def nonce(self, size: int) -> str:
        return self.context.get("nonce") or secrets.token_hex(size)


class Method(NamedTuple):
    """One way to sign."""

    run: Callable[[_Input], Fields]
    needs: tuple[str, ...]
    """Fields that the credentials must have."""
    life_s: float
    """How long the result may be used; it is made anew for every connection anyway."""
    context: tuple[str, ...] = ()
    """Names that ``sign`` may be given beside the credentials."""


def _hmac(secret: bytes, message: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.new(secret, message, algorithm).digest()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(secret: Secret, credentials: Credentials) -> bytes:
    try:
        return base64.b64decode(secret.reveal(), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(f"{credentials.where}: its secret is not base64") from None


# ---- methods -------------------------------------------------------------------------------------


def _deribit(given: _Input) -> Fields:
    """Lower-case hex HMAC-SHA256 of timestamp, nonce and data, a line feed between them."""
    nonce, data = given.nonce(8), given.context.get("data", "")
    message = f"{given.ms}\n{nonce}\n{data}".encode()
    return {
        "client_id": given.text("key"),
        "timestamp": given.ms,
        "nonce": nonce,
        "data": data,
        "signature": _hmac(given.text("secret").encode(), message).hex(),
    }


def _login(path: str) -> Callable[[_Input], Fields]:
    def run(given: _Input) -> Fields:
        """Base64 HMAC-SHA256 of timestamp in seconds + GET + path."""
        timestamp = str(given.seconds)
        message = f"{timestamp}GET{path}".encode()
        return {
            "apiKey": given.text("key"),
            "passphrase": given.text("passphrase"),
            "timestamp": timestamp,
            "sign": _b64(_hmac(given.text("secret").encode(), message)),
        }

    return run


def _bybit(given: _Input) -> Fields:
    expires = given.ms + _BYBIT_LIFE_MS
    return _realtime(given, expires)


def _bitmex(given: _Input) -> Fields:
    expires = given.seconds + _BITMEX_LIFE_S
    return _realtime(given, expires)


def _realtime(given: _Input, expires: int) -> Fields:
    """Hex HMAC-SHA256 of GET/realtime + the time until which it may be used."""
    message = f"GET/realtime{expires}".encode()
    signature = _hmac(given.text("secret").encode(), message).hex()
    return {"apiKey": given.text("key"), "expires": expires, "signature": signature}


def _coinbase_exchange(given: _Input) -> Fields:
    timestamp = str(given.seconds)
    secret = _decoded(given.credentials["secret"], given.credentials)
    return {
        "key": given.text("key"),
        "passphrase": given.text("passphrase"),
        "timestamp": timestamp,
        "signature": _b64(_hmac(secret, f"{timestamp}GET/users/self/verify".encode())),
    }


def _kraken(given: _Input) -> Fields:
    """Base64 HMAC-SHA512 of path + SHA256(nonce + POST data)."""
    nonce = given.context.get("nonce") or str(given.ms)
    path = given.context.get("path", "/0/private/GetWebSocketsToken")
    postdata = given.context.get("postdata") or f"nonce={nonce}"
    secret = _decoded(given.credentials["secret"], given.credentials)
    message = path.encode() + hashlib.sha256((nonce + postdata).encode()).digest()
    return {
        "key": given.text("key"),
        "nonce": nonce,
        "postdata": postdata,
        "sign": _b64(_hmac(secret, message, "sha512")),
    }


def _binance(given: _Input) -> Fields:
    return {"apiKey": given.text("key")}


# ---- JSON Web Token ------------------------------------------------------------------------------


def _b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _signer(credentials: Credentials) -> tuple[str, Callable[[bytes], bytes]]:
    """Algorithm name of the private key, and what signs with it.

    The secret is a PEM private key (P-256 or Ed25519), or the base64 of an Ed25519 seed that the
    public key may follow.
    """
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
    except ImportError:
        raise ConfigError(
            "signing for Coinbase needs the package cryptography: pip install 'feedd[auth]'"
        ) from None
    text = credentials["secret"].reveal()
    key: Any
    try:
        if text.lstrip().startswith("-----BEGIN"):
            pem = text.replace("\\n", "\n").encode()  # a key copied out of JSON
            key = serialization.load_pem_private_key(pem, password=None)
        else:
            raw = base64.b64decode(text, validate=True)
            if len(raw) not in (32, 64):
                raise ValueError
            key = ed25519.Ed25519PrivateKey.from_private_bytes(raw[:32])
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "EdDSA", key.sign
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigError(
            f"{credentials.where}: its secret is neither a PEM key (P-256 or Ed25519) nor the "
            "base64 of an Ed25519 key"
        )
    elliptic = key

    def sign_es256(message: bytes) -> bytes:
        r, s = decode_dss_signature(elliptic.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return "ES256", sign_es256


def _jws(header: dict[str, Any], claims: bytes, signer: Callable[[bytes], bytes]) -> str:
    """Compact serialisation of RFC 7515."""
    head = json.dumps(header, separators=(",", ":")).encode()
    message = f"{_b64url(head)}.{_b64url(claims)}"
    return f"{message}.{_b64url(signer(message.encode()))}"


def _coinbase_jwt(given: _Input) -> Fields:
    key, now = given.text("key"), given.seconds
    algorithm, signer = _signer(given.credentials)
    header = {"alg": algorithm, "kid": key, "nonce": given.nonce(16), "typ": "JWT"}
    claims = {"sub": key, "iss": "cdp", "nbf": now, "exp": now + _JWT_LIFE_S}
    if "uri" in given.context:
        claims["uri"] = given.context["uri"]
    data = json.dumps(claims, separators=(",", ":")).encode()
    return {"jwt": _jws(header, data, signer)}


# ---- all of them ---------------------------------------------------------------------------------

_PAIR = ("key", "secret")
_THREE = ("key", "secret", "passphrase")

METHODS: Mapping[str, Method] = {
    "deribit_signature": Method(_deribit, _PAIR, 30, ("nonce", "data")),
    "okx_login": Method(_login("/users/self/verify"), _THREE, 30),
    "bybit_auth": Method(_bybit, _PAIR, _BYBIT_LIFE_MS / 1000),
    "coinbase_jwt": Method(_coinbase_jwt, _PAIR, _JWT_LIFE_S, ("nonce", "uri")),
    "coinbase_exchange": Method(_coinbase_exchange, _THREE, 30),
    "kraken_rest": Method(_kraken, _PAIR, 30, ("nonce", "path", "postdata")),
    "bitget_login": Method(_login("/user/verify"), _THREE, 30),
    "bitmex_auth": Method(_bitmex, _PAIR, _BITMEX_LIFE_S),
    "binance_header": Method(_binance, ("key",), float("inf")),
}


FIELDS: Mapping[str, frozenset[str]] = {
    "deribit_signature": frozenset({"client_id", "timestamp", "nonce", "data", "signature"}),
    "okx_login": frozenset({"apiKey", "passphrase", "timestamp", "sign"}),
    "bybit_auth": frozenset({"apiKey", "expires", "signature"}),
    "coinbase_jwt": frozenset({"jwt"}),
    "coinbase_exchange": frozenset({"key", "passphrase", "timestamp", "signature"}),
    "kraken_rest": frozenset({"key", "nonce", "postdata", "sign"}),
    "bitget_login": frozenset({"apiKey", "passphrase", "timestamp", "sign"}),
    "bitmex_auth": frozenset({"apiKey", "expires", "signature"}),
    "binance_header": frozenset({"apiKey"}),
}
"""What each method makes: the placeholders of a venue file's templates."""


def sign(method: str, credentials: Credentials, now_ns: int, **context: str) -> Fields:
    """Fields for the request template of ``method`` at the wall time ``now_ns``.

    ``context`` are the names of ``Method.context``. Raises ``ConfigError`` for an unknown method or
    name, a credential that lacks a field, and a secret of the wrong form; never with a value in it.
    """
    described = METHODS.get(method)
    if described is None:
        raise ConfigError(f"no way to sign called {method!r}; known are {', '.join(METHODS)}")
    unknown = sorted(set(context) - set(described.context))
    if unknown:
        raise ConfigError(f"{method} takes no {unknown[0]!r}")
    missing = [name for name in described.needs if name not in credentials]
    if missing:
        raise ConfigError(
            f"{credentials.where}: {method} needs {' and '.join(missing)} beside "
            f"{', '.join(credentials) or 'nothing'}"
        )
    return described.run(_Input(credentials, now_ns, context))
