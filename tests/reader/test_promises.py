"""Which streams a connection expects to hear from, and how soon."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from feedd import venues
from feedd.clock import SECOND_NS
from feedd.decode.plan import compile_plan
from feedd.pipeline.core import Pipeline
from feedd.reader.connection import NEVER_NS, Connection
from feedd.reader.ladder import Look
from feedd.reader.plan import Line, Stream
from feedd.shm.ring import RingWriter
from feedd.supervisor.config import VenueConfig
from feedd.supervisor.plan import streams_of
from feedd.supervisor.select import Listed

S = SECOND_NS


class Host:
    """A process that has a pipeline and is asked for nothing."""

    tap = None

    def __init__(self, name: str) -> None:
        self.pipeline = Pipeline(RingWriter.private(1 << 14))
        self.handle = self.pipeline.add_venue(compile_plan(venues.load(name)))
        self.counts: Any = None

    def ask_permit(self, connection: Connection) -> None: ...

    def replace(self, connection: Connection, reason: str) -> None: ...


def connection(name: str, channels: list[str], listed: Listed) -> tuple[Host, Connection]:
    host, venue = Host(name), venues.load(name)
    config = VenueConfig(instruments=(listed.symbol,), channels=tuple(channels))
    streams = tuple(streams_of(venue, config, listed))
    host.pipeline.add_instrument(host.handle, listed.symbol, 0)
    endpoint = venue.session.endpoints[0]
    plan = Line(0, endpoint.name, "ws://localhost", False, streams)
    return host, Connection(host, venue, host.handle, plan, None)


def looks(made: Connection) -> dict[str, Look]:
    return {look.topic: look for look in made.looks()}


def test_rates_that_the_venue_promises() -> None:
    _, made = connection("binance_usdm", ["markPrice", "bookTicker", "depth"], Listed("BTCUSDT"))
    found = looks(made)
    assert list(found) == ["btcusdt@markPrice@1s"], "a book from REST may be silent"
    assert found["btcusdt@markPrice@1s"].limit_ns == 10 * S
    assert not found["btcusdt@markPrice@1s"].active


def test_a_snapshot_in_the_stream_is_promised_once() -> None:
    host, made = connection("deribit", ["book", "trades", "ticker"], Listed("X"))
    (look,) = looks(made).values()
    assert (look.topic, look.limit_ns, look.seen) == ("book.X.100ms", 30 * S, 0)
    book = {
        "type": "snapshot", "timestamp": 1_700_000_000_000, "instrument_name": "X",
        "change_id": 1, "bids": [["new", 10, 1]], "asks": [],
    }  # fmt: skip
    message = {"method": "subscription", "params": {"channel": "book.X.100ms", "data": book}}
    host.pipeline.on_message(host.handle, msgspec.json.encode(message), 77)
    (look,) = looks(made).values()
    assert (look.limit_ns, look.seen) == (NEVER_NS, 77)
    made._note_seen(made.streams)  # a connection after that one starts anew
    (look,) = looks(made).values()
    assert look.limit_ns == 30 * S
    # the clock was set back meanwhile: what comes is heard all the same
    book["change_id"] = 2
    host.pipeline.on_message(host.handle, msgspec.json.encode(message), 55)
    (look,) = looks(made).values()
    assert (look.limit_ns, look.seen) == (NEVER_NS, 55)
    # a stream that goes and comes back owes its first message anew
    stream = made.streams[look.topic]
    made.change([], [stream.topic])
    made.change([stream], [])
    (look,) = looks(made).values()
    assert (look.limit_ns, look.seen) == (30 * S, 55)


@pytest.mark.parametrize("name", venues.names())
def test_promises_are_about_channels_that_can_be_followed(name: str) -> None:
    """Every channel that a venue file promises something of has a stream of its own here."""
    venue = venues.load(name)
    promised = venue.session.health.stream_age_max_s
    for channel in promised:
        if venue.channels[channel].subscribe is None:
            continue
        kinds = venue.channels[channel].kinds
        listed = Listed(
            "X",
            kind=kinds[0] if kinds else "unknown",
            base="B",
            quote="Q",
            underlying="U",
            settle="S",
            expiry="2026-12-25",
        )
        _, made = connection(name, [channel], listed)
        shared = "{symbol" not in str(venue.channels[channel].subscribe)
        assert len(looks(made)) == (0 if shared else 1), channel


def test_streams_that_come_and_go() -> None:
    _, made = connection("deribit", ["book"], Listed("X"))
    made.change([Stream("book", "Y", "book.Y.100ms")], ["book.X.100ms"])
    assert list(looks(made)) == ["book.Y.100ms"]
