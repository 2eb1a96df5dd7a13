"""Signing against the venues' published examples; where none is published, against OpenSSL's
command line or another library. Credentials that leak nothing.

Published: Deribit (authentication article), Kraken (REST authentication guide), BitMEX (API key
usage; a REST call, the same function as the socket's), Ed25519 (RFC 8037, appendix A.4). Nothing is
published for OKX, Bybit, Bitget, Coinbase Exchange and Coinbase Advanced Trade.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import pickle
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from feedd.errors import ConfigError
from feedd.venues import auth
from feedd.venues.auth import METHODS, sign
from feedd.venues.credentials import Credentials, Secret, load_credentials

S, MS = 1_000_000_000, 1_000_000
NOW = 1_704_876_947_123 * MS
THREE = {"key": "the-key", "secret": "the secret", "passphrase": "the-passphrase"}


def creds(**fields: str) -> Credentials:
    return Credentials(fields, "a test")


def openssl(algorithm: str, secret: bytes, message: bytes) -> bytes:
    """HMAC by the command line tool: shares no code with this program."""
    tool = shutil.which("openssl")
    if tool is None:
        pytest.skip("openssl is not installed")
    options = ["-mac", "HMAC", "-macopt", f"hexkey:{secret.hex()}"]
    done = subprocess.run(
        [tool, "dgst", f"-{algorithm}", "-binary", *options],
        input=message, capture_output=True, check=True,
    )  # fmt: skip
    return done.stdout


# ---- published examples --------------------------------------------------------------------------


def test_deribit_example() -> None:
    found = sign(
        "deribit_signature",
        creds(key="AMANDA", secret="AMANDASECRECT"),
        1_576_074_319_000 * MS,
        nonce="1iqt2wls",
    )
    assert found == {
        "client_id": "AMANDA",
        "timestamp": 1_576_074_319_000,
        "nonce": "1iqt2wls",
        "data": "",
        "signature": "56590594f97921b09b18f166befe0d1319b198bbcdad7ca73382de2f88fe9aa1",
    }


def test_kraken_example() -> None:
    secret = (
        "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
    )
    postdata = "nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25"
    found = sign(
        "kraken_rest",
        creds(key="k", secret=secret),
        NOW,
        nonce="1616492376594",
        path="/0/private/AddOrder",
        postdata=postdata,
    )
    assert found["sign"] == (
        "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="
    )
    token = sign("kraken_rest", creds(key="k", secret=secret), NOW)
    assert token["nonce"] == "1704876947123"
    assert token["postdata"] == "nonce=1704876947123"
    hashed = hashlib.sha256(b"1704876947123nonce=1704876947123").digest()
    message = b"/0/private/GetWebSocketsToken" + hashed
    wanted = openssl("sha512", base64.b64decode(secret), message)
    assert token["sign"] == base64.b64encode(wanted).decode()


def test_bitmex_example() -> None:
    secret = b"chNOOS4KvNXR_Xq4k4c9qsfoKWvnDecLATCRlcBwyKDYnWgO"
    published = "c7682d435d0cfe87c16098df34ef2eb5a549d4c5a3c2b1f0f77b8af73423bf00"
    assert auth._hmac(secret, b"GET/api/v1/instrument1518064236").hex() == published
    found = sign("bitmex_auth", creds(key="k", secret=secret.decode()), 1_518_064_176 * S)
    assert (found["apiKey"], found["expires"]) == ("k", 1_518_064_236)
    wanted = openssl("sha256", secret, b"GET/realtime1518064236")
    assert found["signature"] == wanted.hex()


def test_ed25519_example() -> None:
    seed = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
    secret = base64.b64encode(base64.urlsafe_b64decode(seed + "=")).decode()
    algorithm, signer = auth._signer(creds(key="k", secret=secret))
    assert algorithm == "EdDSA"
    assert auth._jws({"alg": "EdDSA"}, b"Example of Ed25519 signing", signer) == (
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    )


# ---- computed by another program -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"), [("okx_login", "/users/self/verify"), ("bitget_login", "/user/verify")]
)
def test_logins(method: str, path: str) -> None:
    wanted = openssl("sha256", b"the secret", f"1704876947GET{path}".encode())
    assert sign(method, creds(**THREE), NOW) == {
        "apiKey": "the-key",
        "passphrase": "the-passphrase",
        "timestamp": "1704876947",
        "sign": base64.b64encode(wanted).decode(),
    }


def test_bybit() -> None:
    wanted = openssl("sha256", b"the secret", b"GET/realtime1704876957123")
    assert sign("bybit_auth", creds(key="the-key", secret="the secret"), NOW) == {
        "apiKey": "the-key",
        "expires": 1_704_876_957_123,
        "signature": wanted.hex(),
    }


def test_coinbase_exchange() -> None:
    secret = base64.b64encode(b"raw \x00\xff bytes").decode()
    wanted = openssl("sha256", b"raw \x00\xff bytes", b"1704876947GET/users/self/verify")
    found = sign("coinbase_exchange", creds(**{**THREE, "secret": secret}), NOW)
    assert found == {
        "key": "the-key",
        "passphrase": "the-passphrase",
        "timestamp": "1704876947",
        "signature": base64.b64encode(wanted).decode(),
    }


def test_binance() -> None:
    assert sign("binance_header", creds(key="the-key"), NOW) == {"apiKey": "the-key"}


# ---- JSON Web Tokens, read by another library ----------------------------------------------------

NAME = "organizations/1/apiKeys/2"
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def pem(key: Any, form: Any = serialization.PrivateFormat.PKCS8) -> str:
    none = serialization.NoEncryption()
    return str(key.private_bytes(serialization.Encoding.PEM, form, none).decode())


def raw(key: ed25519.Ed25519PrivateKey) -> bytes:
    form, none = serialization.PrivateFormat.Raw, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.Raw, form, none)


PUBLIC = ED_KEY.public_key().public_bytes(
    serialization.Encoding.Raw, serialization.PublicFormat.Raw
)


@pytest.mark.parametrize(
    ("secret", "public", "algorithm"),
    [
        (pem(EC_KEY), EC_KEY.public_key(), "ES256"),
        (pem(EC_KEY, serialization.PrivateFormat.TraditionalOpenSSL), EC_KEY.public_key(), "ES256"),
        (pem(EC_KEY).replace("\n", "\\n"), EC_KEY.public_key(), "ES256"),
        (pem(ED_KEY), ED_KEY.public_key(), "EdDSA"),
        (base64.b64encode(raw(ED_KEY)).decode(), ED_KEY.public_key(), "EdDSA"),
        (base64.b64encode(raw(ED_KEY) + PUBLIC).decode(), ED_KEY.public_key(), "EdDSA"),
    ],
    ids=["pkcs8", "sec1", "one-line", "ed25519-pem", "ed25519-seed", "ed25519-pair"],
)
def test_coinbase_tokens(secret: str, public: Any, algorithm: str) -> None:
    found = sign("coinbase_jwt", creds(key=NAME, secret=secret), NOW)
    token = str(found["jwt"])
    options = {"verify_exp": False, "verify_nbf": False}
    claims = jwt.decode(token, public, algorithms=[algorithm], issuer="cdp", options=options)
    assert claims == {"sub": NAME, "iss": "cdp", "nbf": 1_704_876_947, "exp": 1_704_877_067}
    header = jwt.get_unverified_header(token)
    assert {k: header[k] for k in ("alg", "kid", "typ")} == {
        "alg": algorithm, "kid": NAME, "typ": "JWT",
    }  # fmt: skip
    assert re.fullmatch("[0-9a-f]{32}", header["nonce"])
    again = str(sign("coinbase_jwt", creds(key=NAME, secret=secret), NOW)["jwt"])
    assert jwt.get_unverified_header(again)["nonce"] != header["nonce"]
    cut = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(cut, public, algorithms=[algorithm], options=options)


def test_coinbase_token_of_a_rest_call_names_it() -> None:
    uri = "GET api.coinbase.com/api/v3/brokerage/products"
    found = sign("coinbase_jwt", creds(key=NAME, secret=pem(EC_KEY)), NOW, uri=uri, nonce="n")
    claims = jwt.decode(str(found["jwt"]), options={"verify_signature": False})
    assert claims["uri"] == uri
    assert jwt.get_unverified_header(str(found["jwt"]))["nonce"] == "n"


@pytest.mark.parametrize(
    "secret",
    ["not base64 at all!", base64.b64encode(b"short").decode(), "-----BEGIN EC PRIVATE KEY-----\nx",
     pem(ec.generate_private_key(ec.SECP384R1()))],
)  # fmt: skip
def test_keys_of_another_form_are_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(ConfigError, match="neither a PEM key") as caught:
        sign("coinbase_jwt", creds(key=NAME, secret=secret), NOW)
    shown = f"{caught.value!r}{caught.value.__cause__!r}"
    assert secret not in shown
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


# ---- the interface -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_lacks(name: str) -> None:
    with pytest.raises(ConfigError, match=f"a test: {name} needs key.* beside other"):
        sign(name, creds(other="x"), NOW)
    with pytest.raises(ConfigError, match=f"{name} takes no 'colour'"):
        sign(name, creds(**THREE), NOW, colour="red")


def test_unknown_methods_are_named() -> None:
    with pytest.raises(ConfigError, match="called 'okx'; known are deribit_signature, okx_login"):
        sign("okx", creds(**THREE), NOW)


@given(st.sampled_from(sorted(METHODS)), st.binary(min_size=32, max_size=32), st.integers(0, 2**62))
def test_no_result_holds_the_secret(name: str, key: bytes, now: int) -> None:
    secret = base64.b64encode(key).decode()
    found = sign(name, creds(key="k", secret=secret, passphrase="p"), now)
    assert secret not in json.dumps(found)
    if not METHODS[name].context:
        assert found == sign(name, creds(key="k", secret=secret, passphrase="p"), now), "pure"


def test_a_secret_that_is_not_base64_is_not_shown() -> None:
    for name in ("kraken_rest", "coinbase_exchange"):
        with pytest.raises(ConfigError, match="a test: its secret is not base64") as caught:
            sign(name, creds(**THREE), NOW)
        assert "the secret" not in f"{caught.value!r}"
        assert caught.value.__suppress_context__


# ---- credentials ---------------------------------------------------------------------------------


def test_secrets_do_not_show(caplog: pytest.LogCaptureFixture) -> None:
    found = creds(**THREE)
    logging.getLogger("x").error("%s %r %s", found, found["secret"], {"a": found["key"]})
    shown = f"{found} {found!r} {found['secret']} {found['secret']!r} {found['secret']:>9}"
    shown += str([found["secret"]]) + str(dict(found)) + caplog.text
    for text in THREE.values():
        assert text not in shown
    assert "key, secret, passphrase from a test" in repr(found)
    assert found["secret"].reveal() == "the secret"
    for thing in (found, found["secret"]):
        with pytest.raises(TypeError, match="not written anywhere"):
            pickle.dumps(thing)
        with pytest.raises(TypeError):
            json.dumps(thing)
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    with pytest.raises(TypeError):
        hash(Secret("a"))


def write(path: Path, text: str = 'key = "k"\nsecret = """a\nb"""\n', mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    found = load_credentials(str(write(tmp_path / "okx")), {})
    assert {name: value.reveal() for name, value in found.items()} == {"key": "k", "secret": "a\nb"}
    assert len(load_credentials(str(write(tmp_path / "b", mode=0o400)), {})) == 2


def test_a_systemd_credential(tmp_path: Path) -> None:
    write(tmp_path / "okx", mode=0o440)  # an access list's mask looks like this
    found = load_credentials("okx", {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert found["key"].reveal() == "k"
    assert found.where == str(tmp_path / "okx")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o777])
def test_files_that_others_can_read_are_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "okx", mode=mode)
    with pytest.raises(ConfigError, match=rf"others can read it \(mode {mode:04o}\); do: chmod"):
        load_credentials(str(path), {})


def test_a_systemd_credential_that_all_can_read_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "okx", mode=0o444)
    with pytest.raises(ConfigError, match="others can read it"):
        load_credentials("okx", {"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(write(tmp_path / "real"))
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    for path, message in (
        (link, "cannot be read"), (tmp_path, "not a regular file"), (fifo, "not a regular file"),
        (tmp_path / "none", "cannot be read: No such file"),
        (write(tmp_path / "big", "x" * 70_000), "larger than"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            load_credentials(str(path), {})


@pytest.mark.parametrize(
    "text",
    ["hunter2", "key = hunter2", 'key = "hunter2', "key = 5", 'key = ""', "", "[key]\nx = 'y'",
     "key = ['hunter2']"],
)  # fmt: skip
def test_broken_files_are_told_without_their_content(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"credentials .*: ") as caught:
        load_credentials(str(write(tmp_path / "okx", text)), {})
    assert "hunter2" not in f"{caught.value!r}{caught.value.__cause__!r}"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_names_that_are_none(tmp_path: Path) -> None:
    for name in ("../okx", "a/b", "", ".hidden", "a b", "x" * 65):
        with pytest.raises(ConfigError, match="neither an absolute path nor the name"):
            load_credentials(name, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    with pytest.raises(ConfigError, match=r"CREDENTIALS_DIRECTORY is not set.*LoadCredential=okx:"):
        load_credentials("okx", {})
