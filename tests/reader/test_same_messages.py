"""Two ways to subscribe to the same messages (Hyperliquid's fast book): one of the two, apart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from feedd import venues
from feedd.clock import monotonic_ns
from feedd.errors import ConfigError
from feedd.reader.connection import Connection
from feedd.reader.net import tls_context
from feedd.reader.plan import Line
from feedd.records import BookState
from feedd.sim.testing import start_sim
from feedd.supervisor.config import Config, VenueConfig, load_config
from feedd.supervisor.plan import make_plan, streams_of
from feedd.supervisor.select import Listed
from feedd.venues.lint import problems
from tests.reader.test_url_topics import Host

FAST = "l2Book_fast"
SYMBOL = "BTC"


def test_the_fast_book_has_a_connection_of_its_own(tmp_path: Path) -> None:
    table = {"instruments": [SYMBOL, "ETH"], "channels": [FAST, "trades", "bbo"]}
    given = {"instance": {"directory": str(tmp_path)}, "venues": {"hyperliquid": table}}
    config = msgspec.convert(given, Config)
    listed = [Listed(SYMBOL, 0), Listed("ETH", 1)]
    venue = venues.load("hyperliquid")
    (plan,) = make_plan(config, {"hyperliquid": venue}, {"hyperliquid": listed}, [None])
    found = {line.endpoint: {s.channel for s in line.streams} for _, line in plan.lines}
    assert found == {"fast": {FAST}, "main": {"trades", "bbo"}}
    (line,) = [line for _, line in plan.lines if line.endpoint == "fast"]
    assert line.streams[0].arg == {"type": "l2Book", "coin": SYMBOL, "fast": True}


def test_both_at_once_are_refused(tmp_path: Path) -> None:
    text = f"""
[instance]
directory = "{tmp_path}"
[venues.hyperliquid]
instruments = ["BTC"]
channels = ["l2Book", "{FAST}"]
"""
    path = tmp_path / "feedd.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="send the same messages: name one of the two"):
        load_config(path)


def test_the_lint_knows_what_such_a_channel_may_say() -> None:
    venue = venues.load("hyperliquid")
    replace = msgspec.structs.replace
    fast = venue.channels[FAST]

    def told(channels: dict[str, object], endpoints: object = venue.session.endpoints) -> list[str]:
        session = replace(venue.session, endpoints=endpoints)
        changed = replace(venue, channels={**venue.channels, **channels}, session=session)
        return [message for _, message in problems(changed)]

    assert told({}) == []
    (message,) = told({FAST: replace(fast, same_messages_as="l3Book")})
    assert 'no channel "l3Book"' in message
    more = told({FAST: replace(fast, topics=("l2Book2",))})
    assert any("has no meaning beside" in message for message in more)
    (message,) = told({FAST: replace(fast, subscribe=None)})
    assert "says nothing" in message
    (message,) = told({}, venue.session.endpoints[::-1])
    assert 'an endpoint of its own before that of "l2Book"' in message


async def test_the_fast_book_of_a_simulated_venue(tmp_path: Path) -> None:
    venue = venues.load("hyperliquid")
    with start_sim(tmp_path, venues="hyperliquid", rate=300, seed=5) as sim:
        config = VenueConfig(instruments=(SYMBOL,), channels=(FAST,))
        streams = tuple(streams_of(venue, config, Listed(SYMBOL, 0, kind="perpetual")))
        host = Host(venue)
        host.pipeline.add_instrument(host.handle, SYMBOL, 0)
        where = f"{sim.endpoints['hyperliquid']['ws']}/ws"
        plan = Line(0, "fast", where, False, streams)
        made = Connection(host, venue, host.handle, plan, tls_context(sim.ca))
        made.start()
        until = monotonic_ns() + 10_000_000_000
        while monotonic_ns() < until and host.pipeline.counters()["book_snapshots"] < 2:
            made.tick(monotonic_ns())
            await asyncio.sleep(0.02)
        assert host.pipeline.counters()["book_snapshots"] >= 2, "twice a second"
        assert host.pipeline.book_state(host.handle, SYMBOL)[0] == BookState.LIVE
        assert [len(side) for side in host.pipeline.book_levels(host.handle, SYMBOL)] == [5, 5]
        (look,) = made.looks()
        assert look.seen > 0, "the promise of the fast form is watched"
        made.stop()
        await asyncio.sleep(0.1)
