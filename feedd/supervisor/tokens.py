"""Tokens that a venue gives for a signed REST request, asked for when a connection may be opened.

Keys are read anew for every request and go nowhere but into its signature; neither they nor a token
are ever logged.
"""

from __future__ import annotations

import orjson

from feedd.clock import now_ns
from feedd.errors import VenueError
from feedd.supervisor.fetch import Fetcher
from feedd.venues.auth import METHODS, sign
from feedd.venues.credentials import load_credentials
from feedd.venues.reference_values import text_of
from feedd.venues.schema import Venue
from feedd.venues.session_schema import Auth, Token
from feedd.venues.templates import fill_template, path_get

__all__ = ["TokenDesk"]

TOKEN_BYTES_MAX = 4_096


class TokenDesk:
    """Tokens of one venue. One event loop."""

    def __init__(self, venue: Venue, base: str, fetcher: Fetcher, credentials: str) -> None:
        auth = venue.session.auth
        assert auth is not None  # noqa: S101 - made for venues with a token
        assert auth.token is not None  # noqa: S101 - the same
        self._auth: Auth = auth
        self._token: Token = auth.token
        self._name = venue.name
        self._url = base + self._token.path
        self._fetcher = fetcher
        self._credentials = credentials
        self._nonce = 0

    async def token(self) -> str:
        """A fresh token. Raises ``VenueError`` when the venue gives none, ``ConfigError`` when the
        keys are not there or cannot sign; never with a value of either in it."""
        rule = self._token
        fields = sign(
            self._auth.method,
            load_credentials(self._credentials),
            now_ns(),
            **self._context(),
        )
        filled = fill_template({"headers": rule.headers, "form": rule.form}, fields)
        response = await self._fetcher.get(
            self._url, headers=filled["headers"], form=str(filled["form"])
        )
        where = f"{self._name}: POST {self._url}"
        if response.status != 200:
            raise VenueError(f"{where} answered HTTP {response.status}: no token")
        try:
            answer = orjson.loads(response.body)
        except orjson.JSONDecodeError:
            raise VenueError(f"{where} answered no JSON: no token") from None
        if rule.errors is not None and (errors := path_get(answer, rule.errors)):
            said = ", ".join(map(str, errors)) if isinstance(errors, list) else str(errors)
            raise VenueError(f"{where} refused: {said[:200]}")
        token = text_of(path_get(answer, rule.result))
        if not 0 < len(token) <= TOKEN_BYTES_MAX:
            raise VenueError(f'{where}: no token at "{rule.result}" of the answer')
        return token

    def _context(self) -> dict[str, str]:
        """What is signed besides the keys; a nonce is never used twice."""
        self._nonce = max(self._nonce + 1, now_ns() // 1_000_000)
        given = {"nonce": str(self._nonce), "path": self._token.path}
        return {k: v for k, v in given.items() if k in METHODS[self._auth.method].context}
