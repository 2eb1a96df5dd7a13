"""A stream that goes silent on a connection that lives: noticed, resubscribed, back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from feedd.sim.testing import start_sim
from tests.supervisor.conftest import until

pytestmark = pytest.mark.timeout(120)

Make = Callable[..., Any]
VENUES = {"binance_usdm": ["markPrice", "bookTicker"]}


def test_one_silent_stream_is_resubscribed_and_the_others_stay(
    tmp_path: Path, make_daemon: Make
) -> None:
    (tmp_path / "sim").mkdir()
    with start_sim(tmp_path / "sim", rate=200, seed=3) as sim:
        daemon = make_daemon(sim, venues=VENUES)
        until(lambda: (daemon.directory / "counters").exists())
        until(lambda: daemon.status()["readers"][0]["counters"]["derivs"] > 2, 25)
        symbol = sim.instruments["binance_usdm"][0].lower()
        sim.control("fault", f"mute,stream={symbol}@markPrice*")
        until(lambda: daemon.counter("streams_stale") == 1, 25)
        until(lambda: "subscribing again" in daemon.log(), 15)
        line = f"{symbol}@markPrice@1s"
        assert f"from {line}" in daemon.log()
        assert daemon.counter("disconnects") == 0
        sim.control("fault", method="DELETE")
        until(lambda: daemon.counter("streams_stale") == 0, 25)
        assert "data again after" in daemon.log()
        assert daemon.counter("stale_alarms") == 0
        assert daemon.counter("disconnects") == 0
        assert daemon.counter("subscribe_errors") == 0
