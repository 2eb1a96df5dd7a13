"""The session machine, driven by a fake clock and a scripted venue."""

from __future__ import annotations

import random
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedd.clock import SECOND_NS
from feedd.reader.session import Action, Activity, Do, LineSession, State
from feedd.reader.topics import SendWindow, TopicState
from feedd.venues.session_schema import Session
from tests.fixtures.effort import tries

HERE = Path(__file__).parent
BINANCE = tomllib.loads((HERE / "session_binance.toml").read_text())
DERIBIT = tomllib.loads((HERE / "session_deribit.toml").read_text())

S = SECOND_NS
STEP = S // 20


def session(table: dict[str, Any], **changes: dict[str, Any]) -> Session:
    """``table`` as a Session, with values of some sub-tables replaced."""
    merged = {
        key: {**value, **changes.get(key, {})} if isinstance(value, dict) else value
        for key, value in table.items()
    }
    return msgspec.convert(merged, Session)


class Rig:
    """A session with a clock; collects what it does."""

    def __init__(self, venue: Any, topics: list[str], seed: int = 1, **kw: Any) -> None:
        self.now = 1_000 * S
        self.line = LineSession(venue, topics, rng=random.Random(seed), **kw)
        self.done: list[tuple[int, Action]] = []
        self.seen = Activity()
        self.answer_pings = True
        self._do(self.line.start(self.now))

    def _do(self, actions: list[Action]) -> list[Action]:
        for action in actions:
            self.done.append((self.now, action))
            if action.do is Do.PING and self.answer_pings:
                self.seen = self.seen._replace(
                    pongs=self.seen.pongs + 1, frames=self.seen.frames + 1
                )
        return actions

    def connect(self) -> list[Action]:
        assert self.line.state is State.PERMIT
        self._do(self.line.permit(self.now))
        self.seen = Activity()
        return self._do(self.line.connected(self.now))

    def say(self, message: Any) -> list[Action]:
        data = message if isinstance(message, bytes) else orjson.dumps(message)
        self.seen = self.seen._replace(frames=self.seen.frames + 1)
        return self._do(self.line.control(self.now, data))

    def run(self, seconds: float, data: bool = False, stop: Do | None = None) -> list[Action]:
        out: list[Action] = []
        end = self.now + int(seconds * S)
        while self.now < end:
            self.now += STEP
            if data:
                self.seen = self.seen._replace(frames=self.seen.frames + 1, data=self.seen.data + 1)
            out += self._do(self.line.tick(self.now, self.seen))
            if stop is not None and any(a.do is stop for a in out):
                break
        return out

    def lost(self, reason: str = "closed") -> list[Action]:
        return self._do(self.line.disconnected(self.now, reason))

    def ack_all(self) -> None:
        """Answer every subscribe request so far and those that follow."""
        answered = 0
        for _ in range(1000):
            sent = [orjson.loads(a.data) for _, a in self.done if a.do is Do.SEND]
            if answered == len(sent):
                if self.line.subscriptions.settled:
                    return
                self.run(0.2, data=True)
                continue
            for message in sent[answered:]:
                answered += 1
                method = message["method"]
                topics = message.get("params", [])
                if isinstance(topics, dict):
                    topics = topics.get("channels", "ok")
                if method.startswith("public/"):
                    self.say({"id": message["id"], "result": topics})
                else:
                    self.say({"id": message["id"], "result": None})
        raise AssertionError("the subscriptions never settled")


def kinds(actions: list[Action]) -> list[Do]:
    return [action.do for action in actions]


def sent(actions: list[Action]) -> list[dict[str, Any]]:
    return [orjson.loads(action.data) for action in actions if action.do is Do.SEND]


def topics(n: int) -> list[str]:
    return [f"t{i}" for i in range(n)]


def test_the_first_steps_of_a_connection() -> None:
    rig = Rig(session(BINANCE), topics(2))
    assert rig.line.state is State.PERMIT
    assert kinds([a for _, a in rig.done]) == [Do.PERMIT]
    actions = rig.connect()
    assert kinds(actions) == [Do.LINE_UP, Do.SEND]
    assert sent(actions) == [{"method": "SUBSCRIBE", "params": ["t0", "t1"], "id": 1}]
    rig.say({"result": None, "id": 1})
    assert rig.line.active_topics == 2
    assert rig.line.subscriptions.settled


def test_deribit_arms_heartbeats_and_answers_test_requests() -> None:
    rig = Rig(session(DERIBIT), topics(3))
    actions = rig.connect()
    assert [m["method"] for m in sent(actions)] == ["public/set_heartbeat", "public/subscribe"]
    rig.say({"id": 1, "result": "ok"})
    rig.say({"id": 2, "result": ["t2", "t0", "t1"]})
    assert rig.line.active_topics == 3
    request = {"params": {"type": "test_request"}, "method": "heartbeat", "jsonrpc": "2.0"}
    replies = sent(rig.say(request))
    assert [m["method"] for m in replies] == ["public/test"]
    assert rig.line.counts.heartbeats_answered == 1
    assert rig.say({"params": {"type": "heartbeat"}, "method": "heartbeat"}) == []
    assert rig.say({"id": replies[0]["id"], "result": {"version": "1"}}) == []


def test_a_refused_heartbeat_request_ends_the_connection() -> None:
    rig = Rig(session(DERIBIT), topics(1))
    rig.connect()
    actions = rig.say({"id": 1, "error": {"code": 10001, "message": "no"}})
    assert kinds(actions) == [Do.CLOSE]
    assert "heartbeats refused" in actions[0].text


def test_a_topic_left_out_of_the_ack_is_asked_for_again_then_given_up() -> None:
    rig = Rig(session(DERIBIT), ["good", "bad"])
    rig.connect()
    rig.say({"id": 1, "result": "ok"})
    rig.say({"id": 2, "result": ["good"]})
    assert rig.line.active_topics == 1
    asked = 1
    failed: list[Action] = []
    for _ in range(400):
        for message in sent(rig.run(0.1, data=True)):
            assert message["params"]["channels"] == ["bad"]
            asked += 1
            failed += rig.say({"id": message["id"], "result": []})
    assert asked == 3
    assert [(a.do, a.topic) for a in failed] == [(Do.SUBSCRIBE_FAILED, "bad")]
    assert rig.line.counts.subscribe_errors == 1
    assert rig.line.state is State.UP, "one bad topic does not end the connection"


@pytest.mark.parametrize(
    "error", [{"code": 2, "msg": "Invalid request"}, {"error": {"code": 2, "msg": "bad"}}]
)
def test_a_bad_topic_in_a_batch_is_found_by_halving(error: dict[str, Any]) -> None:
    rig = Rig(session(BINANCE, limits={"topics_per_request": 8}), [*topics(7), "bad"])
    rig.connect()
    seen = 0
    for _ in range(600):
        messages = sent([a for _, a in rig.done])
        for message in messages[seen:]:
            seen += 1
            if "bad" in message["params"]:
                rig.say({**error, "id": message["id"]})
            else:
                rig.say({"result": None, "id": message["id"]})
        rig.run(0.1, data=True)
    assert rig.line.active_topics == 7
    failed = [a.topic for _, a in rig.done if a.do is Do.SUBSCRIBE_FAILED]
    assert failed == ["bad"]
    assert "bad" in next(a.text for _, a in rig.done if a.do is Do.SUBSCRIBE_FAILED) or error


def test_a_missing_ack_is_retried_three_times_and_then_counted() -> None:
    rig = Rig(session(BINANCE, heartbeat={"ping_interval_s": 1000}), topics(2))
    rig.connect()
    actions = rig.run(60, data=True)
    assert len(sent(actions)) == 2, "with the first one: three requests"
    failed = [a for a in actions if a.do is Do.SUBSCRIBE_FAILED]
    assert sorted(a.topic for a in failed) == ["t0", "t1"]
    assert "no answer" in failed[0].text
    assert rig.line.counts.subscribe_errors == 2
    late = sent([a for _, a in rig.done])[-1]
    rig.say({"result": None, "id": late["id"]})
    assert rig.line.active_topics == 2, "a late answer still counts"


@pytest.mark.parametrize("message", [{"result": None, "id": 999}, {"id": "1"}, {"id": True}, [1]])
def test_answers_to_nothing_change_nothing(message: Any) -> None:
    rig = Rig(session(BINANCE), topics(2))
    rig.connect()
    assert kinds(rig.say(message)) == [Do.NOTICE]
    assert rig.line.active_topics == 0
    assert rig.line.counts.control_unknown == 1


def test_text_that_is_not_json_is_a_notice() -> None:
    rig = Rig(session(BINANCE), topics(1))
    rig.connect()
    actions = rig.say(b"\xff<html>" + b"x" * 1000)
    assert kinds(actions) == [Do.NOTICE]
    assert len(actions[0].text) < 300


@given(st.integers(1, 120), st.integers(1, 8), st.integers(1, 10), st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_never_more_frames_than_the_venue_allows(
    n: int, per_request: int, limit: int, reserved: int
) -> None:
    reserved = min(reserved, limit - 1)
    venue = session(
        BINANCE,
        limits={
            "messages_max": limit,
            "messages_reserved": reserved,
            "topics_per_request": per_request,
        },
        heartbeat={"ping_interval_s": 2, "pong_timeout_s": 1},
    )
    rig = Rig(venue, topics(n))
    rig.connect()
    rig.ack_all()
    rig.run(3, data=True)
    assert rig.line.active_topics == n
    requested = [t for m in sent([a for _, a in rig.done]) for t in m["params"]]
    assert requested == topics(n), "each topic once, in order"
    times = [t for t, a in rig.done if a.do in (Do.SEND, Do.PING)]
    for i, t in enumerate(times):
        assert sum(t <= u < t + S for u in times[i:]) <= limit
    assert all(len(m["params"]) <= per_request for m in sent([a for _, a in rig.done]))


def test_requests_stay_below_the_byte_limit() -> None:
    venue = session(BINANCE, limits={"request_bytes_max": 400, "topics_per_request": 500})
    rig = Rig(venue, [f"topic-with-a-long-name-{i:04d}" for i in range(40)])
    rig.connect()
    rig.ack_all()
    assert all(len(a.data) <= 400 for _, a in rig.done if a.do is Do.SEND)


def test_symbols_are_never_pasted_into_json() -> None:
    nasty = ['a"b', "ü{id}", "\\", "{topics}"]
    rig = Rig(session(BINANCE), nasty)
    assert sent(rig.connect())[0]["params"] == nasty


def test_a_connection_that_never_delivers_is_noticed() -> None:
    rig = Rig(session(BINANCE), topics(1))
    rig.connect()
    rig.say({"result": None, "id": 1})
    actions = rig.run(59)
    assert Do.CLOSE not in kinds(actions)
    actions = rig.run(2)
    assert kinds(actions)[:2] == [Do.STALE, Do.CLOSE]
    assert "no data for 60 s" in actions[0].text
    assert Do.LINE_DOWN in kinds(rig.lost())


def test_heartbeats_pongs_and_acks_are_not_data() -> None:
    rig = Rig(session(DERIBIT, health={"data_age_max_s": 60}), topics(1))
    rig.connect()
    rig.say({"id": 1, "result": "ok"})
    rig.say({"id": 2, "result": ["t0"]})
    for _ in range(200):
        actions = rig.run(1)
        if Do.STALE in kinds(actions):
            break
        rig.say({"method": "heartbeat", "params": {"type": "test_request"}})
    assert 1055 * S < rig.now < 1065 * S


def test_a_quiet_line_has_no_data_age() -> None:
    rig = Rig(session(BINANCE), topics(1), quiet=True)
    rig.connect()
    rig.say({"result": None, "id": 1})
    assert set(kinds(rig.run(300))) == {Do.PING}


def test_a_peer_that_sends_no_pong_is_left_though_data_flows() -> None:
    rig = Rig(session(BINANCE), topics(1))
    rig.answer_pings = False
    rig.connect()
    rig.say({"result": None, "id": 1})
    actions = rig.run(30, data=True, stop=Do.ABORT)
    assert kinds(actions)[-1] is Do.ABORT
    assert "no pong" in actions[-1].text
    assert 1014 * S < rig.now < 1017 * S


def test_silence_is_noticed_where_the_venue_promised_heartbeats() -> None:
    rig = Rig(session(DERIBIT, heartbeat={"ping_interval_s": 1000}), topics(1))
    rig.connect()
    for message in list(sent([a for _, a in rig.done])):
        channels = message["params"].get("channels", "ok")
        rig.say({"id": message["id"], "result": channels})
    actions = rig.run(40, stop=Do.ABORT)
    assert "silence for 30 s" in actions[-1].text


def test_standing_still_blames_nobody() -> None:
    rig = Rig(session(BINANCE), topics(1))
    rig.connect()
    rig.say({"result": None, "id": 1})
    rig.run(5, data=True)
    rig.now += 600 * S
    assert kinds(rig.run(1)) in ([], [Do.PING])
    assert rig.line.state is State.UP
    rig.now += 9 * S
    rig.run(8, data=True)
    assert rig.line.state is State.UP


def test_rotation_comes_before_the_venues_limit_and_without_delay() -> None:
    rig = Rig(session(BINANCE), topics(1))
    rig.connect()
    rig.say({"result": None, "id": 1})
    actions = rig.run(1000, data=True, stop=Do.REPLACE)
    assert 1850 * S <= rig.now <= 1951 * S
    assert "before the venue's limit" in actions[-1].text
    actions = rig.run(1000, data=True, stop=Do.CLOSE)
    assert Do.REPLACE not in kinds(actions), "asked once"
    assert actions[-1].code == 1000
    assert 1984 * S <= rig.now <= 1986 * S, "nobody took over: left before the venue cuts"
    assert rig.line.counts.rotations == 1
    assert kinds(rig.lost()) == [Do.LINE_DOWN, Do.PERMIT]
    rig.connect()
    assert rig.line.state is State.UP


def test_a_connection_that_was_replaced_does_not_come_back() -> None:
    rig = Rig(session(BINANCE), topics(1))
    rig.connect()
    rig.run(15, data=True)
    rig.say({"e": "serverShutdown", "E": 1})
    actions = rig._do(rig.line.retire(rig.now, "replaced by line 7"))
    assert [(a.do, a.code) for a in actions] == [(Do.CLOSE, 1000)]
    assert kinds(rig.lost()) == [Do.LINE_DOWN]
    assert rig.line.state is State.STOPPED
    assert rig.line.counts.disconnects == 0, "it was not lost"
    assert rig.run(100) == []
    waiting = Rig(session(BINANCE), topics(1))
    assert waiting.line.retire(waiting.now, "not needed") == []
    assert waiting.line.permit(waiting.now) == []


def test_a_delayed_start_asks_for_its_permit_later() -> None:
    line = LineSession(session(BINANCE), topics(1), rng=random.Random(1))
    assert line.start(0, 2.0) == []
    assert line.tick(2 * S - 1, Activity()) == []
    assert kinds(line.tick(2 * S, Activity())) == [Do.PERMIT]


def test_a_message_that_was_overheard_may_be_an_answer_or_nothing() -> None:
    rig = Rig(session(BINANCE), topics(1))
    rig.connect()
    assert rig.line.overheard(rig.now, b'{"k":"kline"}') == []
    assert rig.line.counts.control_unknown == 0
    rig.line.overheard(rig.now, b'{"result":null,"id":1}')
    assert rig.line.active_topics == 1
    assert kinds(rig.say({"k": "kline"})) == [Do.NOTICE]


def test_a_shutdown_notice_rotates_but_cannot_cause_a_storm() -> None:
    rig = Rig(session(BINANCE), topics(1))
    rig.connect()
    rig.run(15, data=True)
    assert kinds(rig.say({"e": "serverShutdown", "E": 1})) == [Do.NOTICE, Do.REPLACE]
    assert Do.CLOSE in kinds(rig.run(21, data=True, stop=Do.CLOSE))
    assert kinds(rig.lost()) == [Do.LINE_DOWN, Do.PERMIT]
    start = rig.now
    connects = 0
    while rig.now < start + 120 * S:
        if rig.line.state is State.PERMIT:
            connects += 1
            rig.connect()
            rig.say({"e": "serverShutdown", "E": 1})
            rig.lost()
        rig.run(0.05)
    assert connects < 30
    assert rig.say({"e": "hello"}) == []


@pytest.mark.parametrize("how", ["clean close", "reset"])
def test_no_storm_when_the_venue_closes_at_once(how: str) -> None:
    rig = Rig(session(BINANCE), topics(1))
    attempts: list[int] = []
    while rig.now < 1300 * S:
        if rig.line.state is State.PERMIT:
            attempts.append(rig.now)
            rig.connect()
            rig.run(0.2, data=True)  # data for a moment is not sustained data
            rig.lost(how)
        rig.run(0.05)
    assert 10 < len(attempts) < 45
    assert attempts[1] - attempts[0] < S, "the first retry is immediate"
    assert rig.line.counts.reasons == {how: len(attempts)}


def test_sustained_data_makes_the_next_retry_immediate() -> None:
    rig = Rig(session(BINANCE), topics(1))
    for _ in range(6):
        rig.connect()
        rig.lost()
        rig.run(60, stop=Do.PERMIT)
    rig.connect()
    rig.run(11, data=True)
    rig.lost()
    assert rig.line.retry_at == rig.now


def test_connect_failures_back_off_and_honour_retry_after() -> None:
    rig = Rig(session(BINANCE), topics(1))
    rig.line.permit(rig.now)
    actions = rig.line.connect_failed(rig.now, "HTTP 429", 90.0)
    assert kinds(actions) == [Do.NOTICE]
    assert 90 * S <= rig.line.retry_at - rig.now <= 92 * S
    assert rig.line.counts.connect_failures == 1
    assert Do.PERMIT not in kinds(rig.run(89))
    assert Do.PERMIT in kinds(rig.run(4))


def test_everything_is_subscribed_anew_after_a_loss() -> None:
    rig = Rig(session(BINANCE), topics(3))
    rig.connect()
    rig.ack_all()
    rig.lost()
    rig.run(5, stop=Do.PERMIT)
    assert sent(rig.connect())[0]["params"] == topics(3)
    assert rig.line.active_topics == 0


def test_resubscribe_leaves_and_rejoins_only_that_topic() -> None:
    rig = Rig(session(BINANCE), topics(3))
    rig.connect()
    rig.ack_all()
    rig.run(2, data=True)
    actions = rig._do(rig.line.resubscribe(rig.now, ["t1"]))
    assert [(m["method"], m["params"]) for m in sent(actions)] == [("UNSUBSCRIBE", ["t1"])]
    actions = rig.say({"result": None, "id": sent(actions)[0]["id"]})
    assert [(m["method"], m["params"]) for m in sent(actions)] == [("SUBSCRIBE", ["t1"])]
    rig.say({"result": None, "id": sent(actions)[0]["id"]})
    assert rig.line.active_topics == 3
    assert kinds(rig.line.resubscribe(rig.now, ["nobody"])) == [Do.NOTICE]


def test_resubscribe_storms_are_slowed_down() -> None:
    rig = Rig(session(BINANCE), topics(1))
    rig.connect()
    rig.ack_all()
    end = rig.now + 100 * S
    while rig.now < end:
        rig._do(rig.line.resubscribe(rig.now, ["t0"]))
        rig.run(0.1, data=True)
        for message in sent([a for _, a in rig.done[-4:]]):
            rig.say({"result": None, "id": message["id"]})
    leaves = [a for _, a in rig.done if b"UNSUBSCRIBE" in a.data]
    assert 3 <= len(leaves) <= 10


def test_stop_in_every_state() -> None:
    rig = Rig(session(BINANCE), topics(1))
    assert rig.line.stop(rig.now) == []
    assert rig.line.state is State.STOPPED
    assert rig.line.permit(rig.now) == []
    rig = Rig(session(BINANCE), topics(1))
    rig.line.permit(rig.now)
    rig.line.stop(rig.now)
    assert kinds(rig.line.connected(rig.now)) == [Do.ABORT]
    rig = Rig(session(BINANCE), topics(1))
    rig.connect()
    assert kinds(rig.line.stop(rig.now)) == [Do.CLOSE, Do.LINE_DOWN]
    assert rig.lost() == []
    assert rig.run(100) == []


def test_a_peer_that_does_not_finish_the_close_is_cut() -> None:
    rig = Rig(session(BINANCE), topics(1))
    rig.connect()
    rig.run(62, stop=Do.CLOSE)
    assert rig.line.state is State.CLOSING
    assert kinds(rig.run(3)) == [Do.ABORT]


def test_pongs_that_the_line_sent_count_against_the_limit() -> None:
    window = SendWindow(5, S, 2)
    assert window.room(0)
    for _ in range(3):
        window.note(0)
    assert not window.room(0)
    assert window.room(0, urgent=True)
    assert not window.room(S - 1)
    assert window.room(S)
    rig = Rig(session(BINANCE), topics(8))
    rig.connect()
    assert len(sent([a for _, a in rig.done])) == 2


events = st.lists(
    st.sampled_from(
        ["tick", "data", "long", "permit", "connected", "failed", "lost", "ack", "junk", "resub"]
    ),
    max_size=80,
)


@given(events, st.integers(0, 1000))
@settings(max_examples=tries(100), deadline=None)
def test_no_order_of_events_breaks_the_machine(script: list[str], seed: int) -> None:
    """Permits and connects alternate, nothing is sent while down, LINE_UP and LINE_DOWN pair."""
    line = LineSession(session(DERIBIT), topics(5), rng=random.Random(seed))
    now = 5 * S
    seen = Activity()
    up = False
    waiting_permit = connecting = False
    out = line.start(now)
    for event in [*script, "tick"]:
        for action in out:
            if action.do is Do.PERMIT:
                assert not waiting_permit
                assert not connecting
                waiting_permit = True
            elif action.do is Do.CONNECT:
                assert waiting_permit
                waiting_permit, connecting = False, True
            elif action.do is Do.LINE_UP:
                assert not up
                up, connecting = True, False
            elif action.do is Do.LINE_DOWN:
                assert up
                up = False
            elif action.do in (Do.SEND, Do.PING, Do.STALE):
                assert up
        if event == "tick":
            now += STEP
            out = line.tick(now, seen)
        elif event == "data":
            now += STEP
            seen = seen._replace(data=seen.data + 1, frames=seen.frames + 1)
            out = line.tick(now, seen)
        elif event == "long":
            out = []
            for _ in range(400):
                now += STEP
                out += line.tick(now, seen)
        elif event == "permit":
            out = line.permit(now)
        elif event == "connected":
            out = line.connected(now)
            if line.state is State.UP and out[0].do is Do.LINE_UP:
                seen = Activity()
        elif event == "failed":
            was = line.state
            out = line.connect_failed(now, "refused")
            if was is State.CONNECTING:
                connecting = False
        elif event == "lost":
            out = line.disconnected(now, "closed")
        elif event == "ack":
            out = line.control(now, b'{"id":2,"result":["t0","t3"]}')
        elif event == "resub":
            out = line.resubscribe(now, ["t0", "t9"])
        else:
            out = line.control(now, b'{"id":2,"error":{}}')
        states = {t.state for t in line.subscriptions.topics.values()}
        assert states <= set(TopicState)
