"""Streams in the address of a connection: no request for them, later ones by request."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import orjson

from feedd import venues
from feedd.clock import monotonic_ns
from feedd.decode.plan import compile_plan
from feedd.pipeline.core import Pipeline
from feedd.reader.connection import Connection
from feedd.reader.net import tls_context
from feedd.reader.plan import Line, Stream
from feedd.reader.session import Action, Do, State
from feedd.reader.topics import TopicState
from feedd.shm.ring import RingWriter
from feedd.sim.testing import start_sim
from feedd.venues.lint import problems
from feedd.venues.schema import Venue
from feedd.venues.session_schema import Endpoint
from tests.reader.test_session import BINANCE, Rig, session

QUERY = "?streams={topics}"


def endpoint(**more: Any) -> Endpoint:
    return Endpoint(name="main", url="wss://localhost/stream", url_topics=QUERY, **more)


def requests(actions: list[Action]) -> list[dict[str, Any]]:
    return [orjson.loads(action.data) for action in actions if action.do is Do.SEND]


def connect(rig: Rig, where: Endpoint) -> tuple[str, list[Action]]:
    rig._do(rig.line.permit(rig.now))
    tail, named = rig.line.subscriptions.addressed(rig.now, where)
    return tail, rig._do(rig.line.connected(rig.now, named))


def test_what_the_address_names_is_subscribed_when_the_connection_is_up() -> None:
    rig = Rig(session(BINANCE), ["a@depth", "b@trade", "{odd name}"])
    tail, done = connect(rig, endpoint())
    assert tail == "?streams=a@depth/b@trade/%7Bodd%20name%7D"
    assert [a.topic for a in done if a.do is Do.SUBSCRIBED] == ["a@depth", "b@trade", "{odd name}"]
    assert requests(done) == []
    assert rig.line.subscriptions.settled
    more = rig._do(rig.line.change(rig.now, add=["c@depth"], drop=["a@depth"]))
    assert {r["method"]: r["params"] for r in requests(more)} == {
        "SUBSCRIBE": ["c@depth"],
        "UNSUBSCRIBE": ["a@depth"],
    }


def test_what_does_not_fit_is_asked_for() -> None:
    names = [f"stream{i}@depth" for i in range(20)]
    rig = Rig(session(BINANCE), names)
    tail, done = connect(rig, endpoint(url_bytes_max=100))
    assert len("wss://localhost/stream" + tail) <= 100
    named = [a.topic for a in done if a.do is Do.SUBSCRIBED]
    assert 0 < len(named) < 20
    rig.ack_all()
    asked = [name for request in requests([a for _, a in rig.done]) for name in request["params"]]
    assert sorted(named + asked) == sorted(names), "each once"


def test_a_stream_dropped_while_the_connection_opens_is_left() -> None:
    rig = Rig(session(BINANCE), ["a@depth", "b@depth"])
    rig._do(rig.line.permit(rig.now))
    _, named = rig.line.subscriptions.addressed(rig.now, endpoint())
    rig._do(rig.line.change(rig.now, add=[], drop=["a@depth"]))
    done = rig._do(rig.line.connected(rig.now, named))
    assert [(r["method"], r["params"]) for r in requests(done)] == [("UNSUBSCRIBE", ["a@depth"])]
    rig.say({"id": requests(done)[0]["id"], "result": None})
    assert list(rig.line.subscriptions.topics) == ["b@depth"]


def test_without_the_parameter_and_for_tables_nothing_is_in_the_address() -> None:
    rig = Rig(session(BINANCE), ["a@depth"])
    plain = Endpoint(name="main", url="wss://localhost/stream")
    assert rig.line.subscriptions.addressed(rig.now, plain) == ("", ())


def addressing(name: str) -> Venue:
    venue = venues.load(name)
    replace = msgspec.structs.replace
    endpoints = tuple(replace(e, url_topics=QUERY) for e in venue.session.endpoints)
    return replace(venue, session=replace(venue.session, endpoints=endpoints))


def test_the_lint_wants_the_hole_once() -> None:
    venue = addressing("binance_spot")
    assert list(problems(venue)) == []
    replace = msgspec.structs.replace
    (main,) = venue.session.endpoints
    wrong = replace(venue.session, endpoints=(replace(main, url_topics="?streams="),))
    ((_, message),) = problems(replace(venue, session=wrong))
    assert 'needs "{topics}" once' in message


class Host:
    tap = None

    def __init__(self, venue: Venue) -> None:
        self.pipeline = Pipeline(RingWriter.private(1 << 14))
        self.handle = self.pipeline.add_venue(compile_plan(venue))
        self.counts: Any = None

    def ask_permit(self, connection: Connection) -> None:
        connection.permit()

    def replace(self, connection: Connection, reason: str) -> None:
        raise AssertionError(reason)


async def test_a_connection_to_a_simulated_venue(tmp_path: Path) -> None:
    venue = addressing("binance_spot")
    with start_sim(tmp_path, venues="binance_spot", rate=300, seed=5) as sim:
        names = [f"{symbol.lower()}@bookTicker" for symbol in sim.instruments["binance_spot"]]
        streams = tuple(Stream("bookTicker", n.partition("@")[0].upper(), n) for n in names)
        host = Host(venue)
        for number, stream in enumerate(streams):
            host.pipeline.add_instrument(host.handle, stream.symbol, number)
        plan = Line(0, "main", f"{sim.ws}/stream", False, streams)
        made = Connection(host, venue, host.handle, plan, tls_context(sim.ca))
        made.start()
        until = monotonic_ns() + 10_000_000_000
        while monotonic_ns() < until and host.pipeline.counters()["quotes"] < 10:
            made.tick(monotonic_ns())
            await asyncio.sleep(0.02)
        assert host.pipeline.counters()["quotes"] >= 10
        assert made.session.state is State.UP
        assert made.session.subscriptions.count(TopicState.ACTIVE) == len(names)
        (there,) = sim.control("status")["connections"]
        assert sorted(there["subscriptions"]) == sorted(names)
        assert "?streams=" in there["path"]
        made.stop()
        await asyncio.sleep(0.1)
