"""A token by a signed REST request: the venue's form, where it goes, and that nothing is shown."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec
import orjson
import pytest
from aiohttp import web

from feedd import venues
from feedd.decode.plan import compile_plan
from feedd.errors import ConfigError, VenueError
from feedd.pipeline.core import Pipeline
from feedd.reader.connection import NO_TOKEN_PAUSE_S, Connection
from feedd.reader.plan import Line, Stream
from feedd.reader.session import Do, LineSession, State
from feedd.reader.topics import Wanted
from feedd.shm.ring import RingWriter
from feedd.supervisor.config import Config, config_issues
from feedd.supervisor.fetch import Fetcher
from feedd.supervisor.tokens import TokenDesk
from feedd.venues.lint import problems
from feedd.venues.schema import Venue

SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
KEY = "KEY-abcdef"
PATH = "/0/private/GetWebSocketsToken"


class KrakenRest:
    """Gives tokens to whom signs as the documents say."""

    def __init__(self) -> None:
        self.nonces: list[int] = []
        self.answer: dict[str, Any] | None = None
        self.status = 200

    async def token(self, request: web.Request) -> web.Response:
        body = await request.text()
        assert request.content_type == "application/x-www-form-urlencoded"
        ((nonce,),) = parse_qs(body).values()
        digest = hashlib.sha256((nonce + body).encode()).digest()
        made = hmac.new(base64.b64decode(SECRET), PATH.encode() + digest, "sha512").digest()
        good = request.headers["API-Sign"] == base64.b64encode(made).decode()
        if request.headers["API-Key"] != KEY or not good:
            return web.json_response({"error": ["EAPI:Invalid signature"]})
        if self.nonces and int(nonce) <= self.nonces[-1]:
            return web.json_response({"error": ["EAPI:Invalid nonce"]})
        self.nonces.append(int(nonce))
        given = {"token": f"TOKEN-{len(self.nonces)}", "expires": 900}
        answer = {"error": [], "result": given} if self.answer is None else self.answer
        return web.json_response(answer, status=self.status)


@pytest.fixture
async def rest() -> AsyncIterator[tuple[KrakenRest, str]]:
    kraken = KrakenRest()
    app = web.Application()
    app.router.add_post(PATH, kraken.token)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield kraken, f"http://127.0.0.1:{port}"
    await runner.cleanup()


def keys(tmp_path: Path, secret: str = SECRET) -> str:
    path = tmp_path / "kraken.toml"
    path.write_text(f'key = "{KEY}"\nsecret = "{secret}"\n')
    path.chmod(0o600)
    return str(path)


async def test_tokens_are_asked_for_as_the_documents_say(
    rest: tuple[KrakenRest, str], tmp_path: Path, caplog: Any
) -> None:
    kraken, base = rest
    venue = venues.load("kraken")
    fetcher = Fetcher("kraken", msgspec.structs.replace(venue.session.rest, weight_max=50))
    try:
        desk = TokenDesk(venue, base, fetcher, keys(tmp_path))
        found = [await desk.token() for _ in range(3)]
        assert found == ["TOKEN-1", "TOKEN-2", "TOKEN-3"]
        assert len(set(kraken.nonces)) == 3, "a nonce is used once"
        shown: list[str] = []
        for answer, status in (
            ({"error": ["EGeneral:Permission denied"]}, 200),
            ({"error": [], "result": {}}, 200),
            ({"error": []}, 503),
        ):
            kraken.answer, kraken.status = answer, status
            with pytest.raises(VenueError, match=r"token|Permission denied") as caught:
                await desk.token()
            shown.append(str(caught.value))
        other = TokenDesk(venue, base, fetcher, keys(tmp_path, "bm90IHRoaXM="))
        with pytest.raises(VenueError, match="Invalid signature") as caught:
            await other.token()
        nowhere = TokenDesk(venue, "http://127.0.0.1:1", fetcher, keys(tmp_path))
        with pytest.raises(VenueError, match="failed") as late:
            await nowhere.token()
        with pytest.raises(ConfigError, match="cannot be read"):
            await TokenDesk(venue, base, fetcher, str(tmp_path / "none")).token()
        said = " ".join([*shown, str(caught.value), str(late.value), caplog.text])
        for secret in (SECRET, KEY, "TOKEN-", "API-Sign"):
            assert secret not in said
    finally:
        await fetcher.close()


def with_channel() -> Venue:
    """Kraken with its ticker on the address that wants a token."""
    venue = venues.load("kraken")
    replace = msgspec.structs.replace
    main, level3 = venue.session.endpoints
    session = replace(venue.session, endpoints=(replace(level3, carries=("ticker",)), main))
    return replace(venue, session=session)


TICKER = {"channel": "ticker", "symbol": "BTC/USD", "event_trigger": "bbo"}


def test_the_token_goes_into_every_subscription_and_nowhere_else() -> None:
    venue = with_channel()
    assert list(problems(venue)) == []
    wanted = [Wanted(f"ticker:{s}", {**TICKER, "symbol": s}, "ticker") for s in ("A/B", "C/D")]
    line = LineSession(
        venue.session, wanted, rng=random.Random(1), signer=lambda _: {"token": "TOKEN-7"}
    )
    now = 10**12
    line.start(now)
    line.permit(now)
    (first,) = [orjson.loads(a.data) for a in line.connected(now) if a.do is Do.SEND]
    assert first["params"] == {**TICKER, "symbol": ["A/B", "C/D"], "token": "TOKEN-7"}
    assert "token" not in first
    for symbol in ("A/B", "C/D"):
        result = {**TICKER, "symbol": symbol}
        answer = {"method": "subscribe", "result": result, "success": True, "req_id": 1}
        line.control(now, orjson.dumps(answer))
    assert line.subscriptions.settled, "the answer has no token, and is known"


class Host:
    tap = None

    def __init__(self, venue: Venue) -> None:
        self.pipeline = Pipeline(RingWriter.private(1 << 14))
        self.handle = self.pipeline.add_venue(compile_plan(venue))
        self.counts: Any = None
        self.asked: list[bool] = []

    def ask_permit(self, connection: Connection) -> None:
        self.asked.append(connection.wants_token)

    def replace(self, connection: Connection, reason: str) -> None:
        raise AssertionError(reason)


def connection(host: Host, venue: Venue, endpoint: str) -> Connection:
    plan = Line(0, endpoint, "ws://127.0.0.1:1", False, (Stream("ticker", "A/B", "t", TICKER),))
    return Connection(host, venue, host.handle, plan, None, lambda _: {"key": "never asked"})


async def test_without_a_token_no_connection_is_opened(caplog: Any) -> None:
    caplog.set_level("INFO")
    venue = with_channel()
    host = Host(venue)
    made = connection(host, venue, "level3")
    made.start()
    assert host.asked == [True]
    made.permit("", "kraken: refused: EGeneral:Permission denied")
    await asyncio.sleep(0.05)
    assert made.session.state is State.BACKOFF
    assert made.session.counts.connect_failures == 1
    assert "Permission denied" in caplog.text
    assert NO_TOKEN_PAUSE_S >= 30
    plain = connection(host, venue, "main")
    plain.start()
    assert host.asked == [True, False], "the others do without"


def test_keys_that_nobody_wants_are_a_mistake(tmp_path: Path) -> None:
    table = {"instruments": ["BTC/USD"], "channels": ["book"], "credentials": keys(tmp_path)}
    config = msgspec.convert(
        {"instance": {"directory": str(tmp_path)}, "venues": {"kraken": table}}, Config
    )
    issues = dict(config_issues(config))
    assert issues["venues.kraken.credentials"] == "no channel that is named here wants them"
