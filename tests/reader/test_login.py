"""Logins: nothing is subscribed before the answer, nothing secret is ever said."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from feedd import venues
from feedd.clock import SECOND_NS
from feedd.errors import ConfigError
from feedd.reader.login import words_of
from feedd.reader.session import Action, Activity, Do, LineSession, State
from feedd.reader.signing import signer_of
from feedd.reader.topics import TopicState, Wanted
from feedd.venues.auth import FIELDS, METHODS, sign
from feedd.venues.credentials import Credentials
from feedd.venues.session_lint import session_problems
from feedd.venues.templates import arg_key
from tests.reader.venue_scripts import SCRIPTS, session_of

S = SECOND_NS
WALL = 1_790_000_000 * S
SECRETS = {"key": "KEY-abcdef", "secret": "U0VDUkVULWFiY2RlZg==", "passphrase": "PASS-abcdef"}
WITH_LOGIN = [name for name in SCRIPTS if session_of(name).auth is not None]


class Rig:
    def __init__(self, name: str) -> None:
        self.venue = session_of(name)
        script = SCRIPTS[name]()
        wanted = [Wanted(arg_key(a), a) for a in map(script.arg, ("SYM0", "SYM1"))]
        self.now = 9_000 * S
        self.signed: list[dict[str, Any]] = []
        self.line = LineSession(
            self.venue,
            wanted,
            rng=random.Random(1),
            wall=lambda: WALL + self.now,
            signer=self._sign,
        )
        self.done: list[Action] = []
        self.keep(self.line.start(self.now))
        self.keep(self.line.permit(self.now))
        self.first = self.sent(self.keep(self.line.connected(self.now)))

    def _sign(self, now: int) -> dict[str, Any]:
        assert self.venue.auth is not None
        assert now == WALL + self.now
        if self.venue.auth.method == "coinbase_jwt" or self.venue.auth.token is not None:
            self.signed.append({"jwt": f"TOKEN-{len(self.signed)}"})
        else:
            self.signed.append(sign(self.venue.auth.method, Credentials(SECRETS, "a test"), now))
        return self.signed[-1]

    def keep(self, actions: list[Action]) -> list[Action]:
        self.done += actions
        return actions

    def sent(self, actions: list[Action]) -> list[Any]:
        return [orjson.loads(a.data) for a in actions if a.do is Do.SEND and a.data[:1] == b"{"]

    def say(self, message: Any) -> list[Action]:
        return self.keep(self.line.control(self.now, orjson.dumps(message)))

    def run(self, seconds: float) -> list[Action]:
        out: list[Action] = []
        for n in range(int(seconds * 20)):
            self.now += S // 20
            out += self.keep(self.line.tick(self.now, Activity(frames=n, pongs=n)))
        return out


def accepted(name: str, message: Any) -> Any:
    """What the venue answers to a login."""
    if name == "deribit":
        return {"jsonrpc": "2.0", "id": message["id"], "result": {"access_token": "TOKEN-secret"}}
    if name in ("okx", "bitget_spot", "bitget_futures"):
        return {"event": "login", "code": "0" if name == "okx" else 0, "msg": ""}
    if name == "bitmex":
        return {"success": True, "request": message}
    return {"success": True, "ret_msg": "", "op": "auth", "conn_id": "c"}


def refused(name: str, message: Any) -> Any:
    if name == "deribit":
        error = {"code": 13004, "message": "invalid_credentials", "data": message["params"]}
        return {"jsonrpc": "2.0", "id": message["id"], "error": error}
    if name in ("okx", "bitget_spot", "bitget_futures"):
        return {"event": "error", "code": "60009", "msg": "Login failed.", "arg": message["args"]}
    if name == "bitmex":
        return {"status": 401, "error": "Invalid API Key.", "meta": {}, "request": message}
    return {"success": False, "ret_msg": "Params Error", "op": "auth", "args": message["args"]}


FRAMED = [name for name in WITH_LOGIN if session_of(name).auth.request is not None]  # type: ignore[union-attr]


def said(rig: Rig) -> str:
    return " ".join(f"{a.text} {a.topic}" for a in rig.done)


def test_the_venues_with_a_login() -> None:
    assert {"deribit", "okx", "bybit_linear", "coinbase", "coinbase_exchange"} <= set(WITH_LOGIN)


@pytest.mark.parametrize("name", FRAMED)
def test_nothing_is_subscribed_before_the_login_is_accepted(name: str) -> None:
    rig = Rig(name)
    login = rig.first[0]
    assert len(rig.signed) == 1
    text = orjson.dumps(rig.first).decode()
    assert "SYM" not in text
    assert str(next(iter(rig.signed[0].values()))) in text
    assert "{" + "signature" + "}" not in text
    out = rig.run(1)
    assert "SYM" not in str(rig.sent(out))
    assert rig.say({"hello": SECRETS["key"]})[0].do is Do.NOTICE
    after = rig.sent(rig.say(accepted(name, login)))
    assert "SYM0" in orjson.dumps(after).decode()
    assert rig.line.state is State.UP
    assert rig.line.counts.login_failures == 0
    for secret in (*SECRETS.values(), "TOKEN-secret", str(list(rig.signed[0].values())[-1])):
        assert secret not in said(rig)


@pytest.mark.parametrize("name", FRAMED)
def test_a_refused_login_says_why_without_secrets_and_stays_away(name: str) -> None:
    rig = Rig(name)
    actions = rig.say(refused(name, rig.first[0]))
    assert [a.do for a in actions] == [Do.NOTICE, Do.CLOSE]
    assert "login refused" in actions[0].text
    assert any(
        word in actions[0].text for word in ("invalid_cred", "Login fail", "API Key", "Params")
    )
    rig.keep(rig.line.disconnected(rig.now, "closed"))
    assert Do.PERMIT not in [a.do for a in rig.run(59)]
    assert Do.PERMIT in [a.do for a in rig.run(3)]
    assert rig.line.counts.login_failures == 1
    for secret in (*SECRETS.values(), str(list(rig.signed[0].values())[-1])):
        assert secret not in said(rig)
    rig.keep(rig.line.permit(rig.now))
    rig.keep(rig.line.connected(rig.now))
    assert len(rig.signed) == 2, "signed anew"


@pytest.mark.parametrize("name", FRAMED)
def test_a_login_without_an_answer_ends_the_connection(name: str) -> None:
    rig = Rig(name)
    actions = rig.run(6)
    assert "no answer to the login" in next(a.text for a in actions if a.do is Do.CLOSE)
    assert "SYM" not in str(rig.sent(rig.done))


@pytest.mark.parametrize("name", ["coinbase", "coinbase_exchange"])
def test_a_venue_that_wants_it_in_every_subscription_gets_it_anew(name: str) -> None:
    rig = Rig(name)
    asked = [m for m in rig.first if "SYM0" in str(m)]
    fields = session_of(name).auth.subscribe  # type: ignore[union-attr]
    assert all(set(fields) <= set(m) for m in asked)
    assert len(rig.signed) == len(asked)
    ack = SCRIPTS[name]().answer(asked[0], SCRIPTS[name]())
    rig.say(ack[0])
    states = [t.state for t in rig.line.subscriptions.topics.values()]
    assert states == [TopicState.ACTIVE] * 2
    rig.now += 10 * S
    name_of = next(iter(rig.line.subscriptions.topics))
    (left,) = rig.sent(rig.keep(rig.line.resubscribe(rig.now, [name_of])))
    assert left["type"] == "unsubscribe"
    assert set(fields) <= set(left)
    assert rig.signed[-1] != rig.signed[0]


def test_without_credentials_nobody_logs_in() -> None:
    line = LineSession(session_of("deribit"), ["book.SYM0.100ms"], rng=random.Random(1))
    line.start(0)
    line.permit(0)
    sent = [a.data for a in line.connected(0) if a.do is Do.SEND]
    assert any(b"SYM0" in data for data in sent)
    assert not any(b"public/auth" in data for data in sent)


@pytest.mark.parametrize("method", METHODS)
def test_the_names_of_fields_are_those_that_signing_makes(method: str) -> None:
    if method == "coinbase_jwt":
        pytest.importorskip("cryptography")
        fields = dict(
            SECRETS,
            secret="nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=".replace("_", "/").replace(
                "-", "+"
            ),
        )
    else:
        fields = SECRETS
    assert set(sign(method, Credentials(fields, "a test"), WALL)) == FIELDS[method]


def test_mistakes_of_the_table() -> None:
    session = session_of("deribit")
    assert session.auth is not None

    def problems(**changes: Any) -> str:
        auth = msgspec.structs.replace(session.auth, **changes)
        changed = msgspec.structs.replace(session, auth=auth)
        return "\n".join(session_problems(changed, set(session.health.stream_age_max_s) | {"c"}))

    assert "no way to sign called 'magic'" in problems(method="magic")
    assert "unknown placeholder {passphrase}" in problems(
        request={"id": "{id}", "p": "{passphrase}"}
    )
    assert 'must hold the value "{id}"' in problems(request={"key": "{client_id}"})
    assert "request, subscribe or topic is needed" in problems(request=None)


def test_credentials_are_tried_once_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "deribit.toml"
    path.write_text('key = "KEY-abc"\n')
    path.chmod(0o600)
    deribit = venues.load("deribit")
    with pytest.raises(ConfigError, match="needs secret") as caught:
        signer_of(deribit, str(path))
    assert "KEY-abc" not in str(caught.value)
    path.write_text('key = "KEY-abc"\nsecret = "s"\n')
    assert signer_of(deribit, str(path))(WALL)["client_id"] == "KEY-abc"
    with pytest.raises(ConfigError, match="knows no login"):
        signer_of(venues.load("binance_spot"), str(path))
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="others can read it"):
        signer_of(deribit, str(path))


def test_words_of_a_refusal_are_its_code_and_its_words() -> None:
    assert words_of({"code": 1, "msg": "no", "args": ["secret"]}) == "1 no"
    assert words_of({"error": {"code": 5, "message": "bad", "data": "secret"}}) == "5 bad"
    assert words_of(["secret"]) == "without words"
    assert len(words_of({"msg": "x" * 1000})) <= 100
