"""Waiting for the answer to a login, and what may be said of it. Pure; ``now`` in ns.

An answer can repeat what we sent, keys and signatures too: of a refusal only its code and its words
are shown, never the message.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

from feedd.clock import SECOND_NS
from feedd.reader.answers import matches
from feedd.venues.session_schema import Auth
from feedd.venues.templates import path_get

__all__ = ["Login", "Verdict", "words_of"]

_WORDS = ("code", "msg", "message", "ret_msg", "reason", "error", "error.code", "error.message")
_WORDS_MAX = 100


class Verdict(Enum):
    NONE = auto()  # it is something else
    ACCEPTED = auto()
    REFUSED = auto()


class Login:
    """The login of one connection after the other."""

    def __init__(self, auth: Auth | None) -> None:
        self._auth = auth
        self._by = 0

    @property
    def waiting(self) -> bool:
        return self._by != 0

    def begin(self, now: int, *, wanted: bool) -> None:
        timeout_s = self._auth.timeout_s if self._auth is not None else 0.0
        self._by = now + int(timeout_s * SECOND_NS) if wanted else 0

    def done(self) -> None:
        self._by = 0

    def overdue(self, now: int) -> bool:
        return self._by != 0 and now >= self._by

    def shift(self, by_ns: int) -> None:
        if self._by:
            self._by += by_ns

    def judge(self, message: Any) -> Verdict:
        """What a message says about the login, for venues that do not answer by number."""
        auth = self._auth
        if auth is None:
            return Verdict.NONE
        if auth.accepted and all(matches(message, match) for match in auth.accepted):
            return Verdict.ACCEPTED
        if any(all(matches(message, match) for match in form) for form in auth.refused):
            return Verdict.REFUSED
        return Verdict.NONE


def words_of(message: Any) -> str:
    """Code and words of a refusal."""
    found = (path_get(message, path) for path in _WORDS)
    texts = [str(value)[:_WORDS_MAX] for value in found if isinstance(value, str | int)]
    return " ".join(texts) or "without words"
