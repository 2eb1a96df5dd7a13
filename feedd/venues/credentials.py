"""API keys: from systemd credentials or from files that nobody else can read, never shown.

A credential is a small TOML file of texts, ``key = "..."``, ``secret = "..."`` and what else the
venue's method needs (``passphrase``). It comes from ``$CREDENTIALS_DIRECTORY`` (systemd's
``LoadCredential=``), by name, or from a file of mode 0600 or stricter, by absolute path.
"""

from __future__ import annotations

import hmac
import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from feedd.errors import ConfigError

__all__ = ["Credentials", "Secret", "load_credentials"]

_BYTES_MAX = 65_536
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Secret:
    """A text that no log, traceback, status page or pickle shows; ``reveal`` is the only way in."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written anywhere")


class Credentials(Mapping[str, Secret]):
    """The fields of one credential by name; ``where`` says, without values, where it is from."""

    __slots__ = ("_fields", "where")

    def __init__(self, fields: Mapping[str, str], where: str) -> None:
        self._fields = {name: Secret(text) for name, text in fields.items()}
        self.where = where

    def __getitem__(self, name: str) -> Secret:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"<Credentials {', '.join(self._fields)} from {self.where}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("credentials are not written anywhere")


def load_credentials(source: str, environ: Mapping[str, str] = os.environ) -> Credentials:
    """The credential called ``source`` in ``$CREDENTIALS_DIRECTORY``, or the file ``source`` when
    it is an absolute path.

    Raises ``ConfigError``, which never quotes the content, when it is not there, is readable by
    others or is no table of texts.
    """
    if source.startswith("/"):
        path, own_file = Path(source), True
    elif not _NAME.fullmatch(source):
        raise ConfigError(
            f"credentials {source!r}: neither an absolute path nor the name of a systemd credential"
        )
    else:
        directory = environ.get("CREDENTIALS_DIRECTORY", "")
        if not directory:
            raise ConfigError(
                f"credentials {source!r}: $CREDENTIALS_DIRECTORY is not set; name it in the unit "
                f"with LoadCredential={source}:FILE, or give the absolute path of a file here"
            )
        path, own_file = Path(directory) / source, False
    return Credentials(_fields(_read(path, own_file), path), str(path))


def _read(path: Path, own_file: bool) -> bytes:
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_NOFOLLOW if own_file else 0)
    try:
        fd = os.open(path, flags)
    except OSError as exc:
        raise ConfigError(f"credentials {path}: cannot be read: {exc.strerror}") from None
    try:
        _check(os.fstat(fd), path, own_file)
        data = b""
        while len(data) <= _BYTES_MAX and (more := os.read(fd, _BYTES_MAX + 1)):
            data += more
    except OSError as exc:
        raise ConfigError(f"credentials {path}: cannot be read: {exc.strerror}") from None
    finally:
        os.close(fd)
    if len(data) > _BYTES_MAX:
        raise ConfigError(f"credentials {path}: larger than {_BYTES_MAX} bytes")
    return data


def _check(found: os.stat_result, path: Path, own_file: bool) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"credentials {path}: not a regular file")
    # systemd gives its files to the service by an access list, whose mask are the group's bits
    if found.st_mode & (0o077 if own_file else 0o007):
        raise ConfigError(
            f"credentials {path}: others can read it (mode {stat.S_IMODE(found.st_mode):04o}); "
            f"do: chmod 600 {path}"
        )
    if own_file and found.st_uid not in (os.geteuid(), 0):
        raise ConfigError(
            f"credentials {path}: belongs to user {found.st_uid}, not to {os.geteuid()} or root"
        )


def _fields(data: bytes, path: Path) -> dict[str, str]:
    try:
        table = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        # the error of the parser may quote the text
        raise ConfigError(
            f'credentials {path}: not TOML: it holds lines like key = "..." and secret = "..."'
        ) from None
    wrong = [name for name, value in table.items() if not isinstance(value, str) or not value]
    if wrong or not table:
        named = ", ".join(wrong) if wrong else "the file"
        raise ConfigError(f"credentials {path}: {named}: expected texts in quotes, not empty")
    return table
