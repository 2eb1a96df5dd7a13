"""The session machine against scripted venues: requests, acks, pings, bad symbols, notices."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from feedd.clock import SECOND_NS
from feedd.reader.session import Action, Activity, Do, LineSession, State
from feedd.reader.topics import TopicState, Wanted
from feedd.venues.session_lint import session_problems
from feedd.venues.session_schema import Session
from feedd.venues.templates import arg_key
from tests.reader.venue_scripts import SCRIPTS, session_of

S = SECOND_NS
STEP = S // 20
WALL = 1_790_000_000 * S
NAMES = sorted(SCRIPTS)


def channels_of(session: Session) -> set[str]:
    """Every channel that a session table names."""
    named = {c for e in session.endpoints for c in (*e.carries, *e.channel_max)} - {"*"}
    health = session.health
    return named | set(health.quiet_channels) | set(health.stream_age_max_s)


class Play:
    """A session and its scripted venue, with one clock; the venue answers at the next step."""

    def __init__(self, name: str, symbols: list[str], *, mute: bool = False) -> None:
        self.venue = session_of(name)
        self.script = SCRIPTS[name]()
        wanted = [Wanted(arg_key(arg), arg, "c") for arg in map(self.script.arg, symbols)]
        self.line = LineSession(
            self.venue, wanted, rng=random.Random(7), wall=lambda: WALL + self.now
        )
        self.now = 5_000 * S
        self.mute = mute
        self.seen = Activity()
        self.sent: list[tuple[int, Any]] = []
        self.done: list[Action] = []
        self.waiting: list[Any] = []
        self.connects = 0
        self._do(self.line.start(self.now))

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            self.done.append(action)
            if action.do is Do.SEND:
                text = action.data.decode()
                message = orjson.loads(text) if text[:1] == "{" else text
                self.sent.append((self.now, message))
                if not self.mute:
                    self.waiting += self.script.answer(message, self.script)
            elif action.do is Do.PING:
                self.sent.append((self.now, "ws ping"))
                if not self.mute:
                    self.seen = self.seen._replace(pongs=self.seen.pongs + 1)
            elif action.do is Do.CONNECT:
                self.connects += 1
                self.seen = Activity()
                self.waiting = []
                self.script.clear()
                self._do(self.line.connected(self.now))
            elif action.do is Do.PERMIT:
                self._do(self.line.permit(self.now))
            elif action.do in (Do.CLOSE, Do.ABORT):
                self._do(self.line.disconnected(self.now, "ours"))

    def step(self, data: bool = True) -> None:
        self.now += STEP
        waiting, self.waiting = self.waiting, []
        for message in waiting:
            if message is None:
                self._do(self.line.disconnected(self.now, "closed"))
                break
            self.say(message)
        if data:
            self.seen = self.seen._replace(frames=self.seen.frames + 1, data=self.seen.data + 1)
        self._do(self.line.tick(self.now, self.seen))

    def say(self, message: Any) -> None:
        data = message.encode() if isinstance(message, str) else orjson.dumps(message)
        self.seen = self.seen._replace(frames=self.seen.frames + 1)
        self._do(self.line.control(self.now, data))

    def run(self, seconds: float, data: bool = True) -> None:
        for _ in range(int(seconds * S / STEP)):
            self.step(data)

    def states(self) -> dict[str, TopicState]:
        return {name: topic.state for name, topic in self.line.subscriptions.topics.items()}

    def requests(self) -> list[Any]:
        """What was sent that names a stream."""
        return [
            m for _, m in self.sent if isinstance(m, dict) and "SYM" in orjson.dumps(m).decode()
        ]

    def notices(self) -> list[str]:
        return [action.text for action in self.done if action.do is Do.NOTICE]


def symbols(n: int) -> list[str]:
    return [f"SYM{i}" for i in range(n)]


@pytest.mark.parametrize("name", NAMES)
def test_the_table_has_no_mistakes(name: str) -> None:
    session = session_of(name)
    assert session_problems(session, channels_of(session) or {"c"}) == []


@pytest.mark.parametrize("name", NAMES)
def test_all_streams_become_active_and_nothing_is_left_unsaid(name: str) -> None:
    play = Play(name, symbols(45))
    play.run(30)
    assert set(play.states().values()) == {TopicState.ACTIVE}
    assert play.line.state is State.UP
    assert play.connects == 1
    assert play.notices() == [], "every message of the venue had a meaning"
    assert play.line.counts.control_unknown == 0
    text = orjson.dumps(play.requests()).decode()
    assert all(
        text.count(f'{symbol}"') + text.count(f"{symbol}.") + text.count(f"{symbol}@") == 1
        for symbol in symbols(45)
    ), "each asked for once"


@pytest.mark.parametrize("name", NAMES)
def test_one_bad_symbol_does_not_spoil_the_others(name: str) -> None:
    some = symbols(13)
    some.insert(5, "SYMBAD")
    play = Play(name, some)
    play.run(60)
    states = play.states()
    (wrong,) = (key for key in states if "BAD" in key)
    assert states.pop(wrong) is TopicState.FAILED
    assert set(states.values()) == {TopicState.ACTIVE}
    failed = [action.topic for action in play.done if action.do is Do.SUBSCRIBE_FAILED]
    assert failed == [wrong]
    assert play.line.state is State.UP
    closes = play.venue.ack.bad_symbol == "closes_socket"
    assert play.connects == (3 if closes else 1)


@pytest.mark.parametrize("name", NAMES)
def test_resubscribing_leaves_and_rejoins_one_stream(name: str) -> None:
    play = Play(name, symbols(3))
    play.run(5)
    before = len(play.requests())
    key = arg_key(play.script.arg("SYM1"))
    play._do(play.line.resubscribe(play.now, [key]))
    play.run(3)
    assert set(play.states().values()) == {TopicState.ACTIVE}
    again = [m for _, m in play.sent if isinstance(m, dict)][-40:]
    text = [
        orjson.dumps(m).decode()
        for m in again
        if "nsubscribe" in orjson.dumps(m).decode() or "UNSUBSCRIBE" in orjson.dumps(m).decode()
    ]
    assert len(text) == 1
    assert len(play.requests()) == before + (1 if name == "bitfinex" else 2)
    assert "SYM0" not in text[0]


@pytest.mark.parametrize("name", NAMES)
def test_five_quiet_minutes_with_pings_answered(name: str) -> None:
    play = Play(name, symbols(2))
    play.line.quiet = True
    for _ in range(300):
        play.run(1, data=False)
        if play.venue.heartbeat.silence_max_s is not None:
            play.seen = play.seen._replace(frames=play.seen.frames + 1)  # the venue's heartbeats
    assert play.line.state is State.UP
    assert play.connects == 1
    assert play.notices() == []


@pytest.mark.parametrize("name", NAMES)
def test_a_dead_peer_is_left_in_time(name: str) -> None:
    play = Play(name, symbols(2))
    play.run(8)
    play.mute = True
    start = play.now
    while play.line.state is State.UP and play.now < start + 200 * S:
        play.step(data=False)
    beat = play.venue.heartbeat
    bound = min(beat.ping_interval_s + beat.pong_timeout_s, beat.silence_max_s or 1e9)
    assert play.line.counts.disconnects == 1
    assert play.now - start <= (bound + 1) * S
    aborts = [a.text for a in play.done if a.do is Do.ABORT]
    assert len(aborts) == 1


@pytest.mark.parametrize("name", NAMES)
def test_requests_keep_to_every_limit(name: str) -> None:
    play = Play(name, symbols(120))
    play.run(80)
    limits = play.venue.limits
    assert set(play.states().values()) == {TopicState.ACTIVE}
    window = int(limits.messages_window_s * S)
    times = [t for t, _ in play.sent]
    for i, t in enumerate(times):
        assert sum(t <= u < t + window for u in times[i:]) <= limits.messages_max
    for message in play.requests():
        data = orjson.dumps(message)
        assert len(data) <= limits.request_bytes_max
        assert data.count(b"SYM") <= limits.topics_per_request
    if limits.requests_per_hour:
        assert len(play.requests()) <= limits.requests_per_hour


NOTICES = [
    ("okx", {"event": "notice", "code": "64008", "msg": "soon", "connId": "a"}, Do.REPLACE),
    ("bitfinex", {"event": "info", "code": 20051, "msg": "Stopping"}, Do.REPLACE),
    ("bitfinex", {"event": "info", "code": 20060, "msg": "Refreshing"}, Do.DISTRUST),
    ("gate_futures", {"channel": "futures.system", "result": {"type": "upgrade"}}, Do.REPLACE),
    ("kraken", {"channel": "status", "data": [{"system": "maintenance"}]}, Do.DISTRUST),
    ("binance_coinm", {"stream": "!serverShutdown", "data": {}}, Do.REPLACE),
    ("bitstamp", {"event": "bts:request_reconnect", "channel": "", "data": ""}, Do.REPLACE),
]


@pytest.mark.parametrize(("name", "message", "do"), NOTICES)
def test_notices_are_acted_on(name: str, message: dict[str, Any], do: Do) -> None:
    play = Play(name, symbols(2))
    play.run(15)
    assert do not in [action.do for action in play.done]
    play.say(message)
    assert do in [action.do for action in play.done]
    if do is Do.REPLACE:
        play.run(21)
        assert play.connects == 2, "nobody took over: left and back at once"


def test_the_end_of_a_maintenance_starts_every_stream_anew() -> None:
    play = Play("kraken", symbols(3))
    play.run(3)
    online = {"channel": "status", "type": "update", "data": [{"system": "online"}]}
    play.say(online)
    play.run(1)
    assert len(play.requests()) == 1, "online at the start means nothing"
    play.say({"channel": "status", "data": [{"system": "maintenance"}]})
    play.say({"channel": "status", "data": [{"system": "maintenance"}]})
    assert [a.do for a in play.done].count(Do.DISTRUST) == 1
    play.say(online)
    play.run(3)
    assert [m["method"] for m in play.requests()] == ["subscribe", "unsubscribe", "subscribe"]
    assert set(play.states().values()) == {TopicState.ACTIVE}


def test_exact_requests() -> None:
    """The forms of the documents, byte for byte where it matters."""
    play = Play("okx", ["BTC-SYM"])
    assert play.sent[0][1] == {
        "id": "1",
        "op": "subscribe",
        "args": [{"channel": "books", "instId": "BTC-SYM"}],
    }
    play = Play("coinbase", ["A-SYM", "B-SYM"])
    assert [m for _, m in play.sent[:2]] == [
        {"type": "subscribe", "channel": "heartbeats"},
        {"type": "subscribe", "channel": "level2", "product_ids": ["A-SYM", "B-SYM"]},
    ]
    play = Play("gate_futures", ["BTC_SYM"])
    assert play.sent[0][1] == {
        "time": (WALL + play.now) // S,
        "event": "subscribe",
        "channel": "futures.obu",
        "payload": ["ob.BTC_SYM.50"],
    }
    play = Play("kraken", ["A/SYM", "B/SYM"])
    params = {"channel": "book", "symbol": ["A/SYM", "B/SYM"], "depth": 100}
    assert play.sent[0][1] == {"method": "subscribe", "params": params, "req_id": 1}
    play = Play("bitfinex", ["tSYM"])
    assert [m for _, m in play.sent[:1]] == [{"event": "conf", "flags": 196608}]
    assert play.sent[1][1]["event"] == "subscribe"
    play.run(2)
    play._do(play.line.resubscribe(play.now, ["book:tSYM:P0:F0:100"]))
    assert play.sent[-1][1] == {"event": "unsubscribe", "chanId": 1000}


def test_a_heartbeat_gets_its_number_back() -> None:
    play = Play("crypto_com", symbols(1))
    play.run(2)
    for number in (1587523073344, "{topics}", None):
        play.say({"id": number, "method": "public/heartbeat", "code": 0})
        assert play.sent[-1][1] == {"id": number, "method": "public/respond-heartbeat"}
    assert play.line.counts.heartbeats_answered == 3


def test_a_stream_whose_payload_is_a_list_stands_alone() -> None:
    venue = session_of("gate")
    args = [
        {"channel": "spot.order_book_update", "payload": [f"SYM{i}", "100ms"]} for i in range(3)
    ]
    line = LineSession(
        venue, [Wanted(arg_key(a), a) for a in args], rng=random.Random(1), wall=lambda: WALL
    )
    line.start(0)
    line.permit(0)
    sent = [orjson.loads(a.data) for a in line.connected(0) if a.do is Do.SEND]
    assert [m["payload"] for m in sent] == [["SYM0", "100ms"], ["SYM1", "100ms"], ["SYM2", "100ms"]]


def test_the_budget_of_an_hour_ends_in_a_new_connection() -> None:
    play = Play("bitget_spot", symbols(1))
    play.run(12)
    key = next(iter(play.states()))
    used = 0
    while play.connects == 1 and used < 400:
        topic = play.line.subscriptions.topics[key]
        topic.resubscribes = 0  # as if long ago
        play._do(play.line.resubscribe(play.now, [key]))
        play.run(1)
        used += 1
    assert play.connects == 2
    first = [m for _, m in play.sent if isinstance(m, dict)]
    assert len(first) <= 241
    play.run(3)
    assert play.states() == {key: TopicState.ACTIVE}


def test_streams_come_and_go_on_a_running_connection() -> None:
    play = Play("kraken", symbols(2))
    play.run(2)
    arg = play.script.arg("SYM9")
    play._do(play.line.change(play.now, add=[Wanted(arg_key(arg), arg, "c")], drop=[]))
    play.run(2)
    assert play.states()[arg_key(arg)] is TopicState.ACTIVE
    gone = arg_key(play.script.arg("SYM0"))
    play._do(play.line.change(play.now, add=[], drop=[gone, "nobody"]))
    play.run(2)
    assert gone not in play.states()
    last = play.requests()[-1]
    assert last["method"] == "unsubscribe"
    assert last["params"]["symbol"] == ["SYM0"]
    assert len(play.requests()) == 3, "the others were left alone"


def test_a_stream_that_is_dropped_before_its_answer_is_left_afterwards() -> None:
    play = Play("kraken", symbols(1))
    key = next(iter(play.states()))
    assert play.states() == {key: TopicState.SENT}
    play._do(play.line.change(play.now, add=[], drop=[key]))
    play.run(2)
    assert play.states() == {}
    assert [m["method"] for m in play.requests()] == ["subscribe", "unsubscribe"]


def test_an_ack_that_leaves_a_field_out_still_means_the_only_stream_it_can() -> None:
    venue = session_of("kraken")
    args = [
        {"channel": "ticker", "symbol": "A/SYM", "event_trigger": "bbo"},
        {"channel": "book", "symbol": "A/SYM", "depth": 100},
    ]
    line = LineSession(
        venue, [Wanted(arg_key(a), a) for a in args], rng=random.Random(1), wall=lambda: WALL
    )
    line.start(0)
    line.permit(0)
    first = orjson.loads(line.connected(0)[1].data)
    result = {"channel": "ticker", "symbol": "A/SYM"}
    ack = {"method": "subscribe", "success": True, "result": result, "req_id": first["req_id"]}
    line.control(0, orjson.dumps(ack))
    states = [topic.state for topic in line.subscriptions.topics.values()]
    assert states == [TopicState.ACTIVE, TopicState.SENT]


def test_a_connection_that_may_not_subscribe_is_left_before_the_venue_does() -> None:
    venue = session_of("coinbase")
    line = LineSession(venue, [], rng=random.Random(1), wall=lambda: WALL)
    line.start(0)
    line.permit(0)
    line.connected(0)
    assert line.tick(4 * S, Activity()) == []
    actions = line.tick(5 * S, Activity())
    assert [(a.do, a.text) for a in actions] == [(Do.CLOSE, "nothing subscribed within 5 s")]
