"""One daemon on every simulated venue: each form of session in real life, over TLS."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from feedd.demo.channels import DEMO_CHANNELS
from feedd.sim.testing import SimHandle, start_sim
from feedd.sim.venues import EXCHANGES
from tests.supervisor.conftest import until
from tests.supervisor.test_ctl import ctl

pytestmark = pytest.mark.timeout(300)

Make = Callable[..., Any]
BESIDE = {
    "deribit": ["markprice", "price_index", "volatility_index", "estimated_expiration_price"],
    "binance_usdm": ["compositeIndex", "assetIndex"],
    "binance_coinm": ["indexPrice"],
    "binance_options": ["indexPrice", "openInterest"],
    "okx": ["index-tickers", "estimated-price"],
    "bitget_futures": ["liquidation_v3"],
    "gate_futures": ["contract_stats"],
    "hyperliquid": ["activeSpotAssetCtx"],
    "bitmex": ["settlement"],
}
"""Channels that the demo has not: of indices, of expiring instruments, of another address."""
VENUES = {name: [*DEMO_CHANNELS[name].channels, *BESIDE.get(name, [])] for name in EXCHANGES}
INDICES = 10
"""Instruments that only their indices' messages name: they have no book."""


@pytest.fixture
def sim(tmp_path: Path) -> Any:
    (tmp_path / "sim").mkdir()
    with start_sim(tmp_path / "sim", venues="all", rate=2000, seed=4) as handle:
        yield handle


def sections(sim: SimHandle) -> str:
    """All venues but Deribit, each at its own address of the simulator."""
    lines = []
    for name, channels in VENUES.items():
        if name == "deribit":
            continue
        lines += [*sim.section(name, channels), f"[venues.{name}.options]"]
        lines += [f'"{k}" = "{v}"' for k, v in DEMO_CHANNELS[name].options.items()]
    return "\n".join(lines) + "\n"


def lines(daemon: Any) -> list[dict[str, Any]]:
    return [line for r in daemon.status()["readers"] for line in r["connections"]]


def complete(daemon: Any) -> bool:
    there = lines(daemon)
    assert "not subscribed" not in daemon.log(), daemon.log()
    return len(there) >= len(VENUES) and all(
        line["state"] == "up" and line["topics_active"] == line["topics"] for line in there
    )


def test_every_venue_accepts_every_stream_and_every_connection_can_be_replaced(
    sim: SimHandle, make_daemon: Make
) -> None:
    first = {"deribit": VENUES["deribit"]}
    daemon = make_daemon(sim, venues=first, sections=sections(sim))
    until(lambda: (daemon.directory / "counters").exists(), 60)
    until(lambda: complete(daemon), 60)
    time.sleep(32)  # the slowest ping and its answer; only a good connection is replaced in peace
    assert complete(daemon)
    log = daemon.log()
    assert "without a meaning" not in log
    assert "not subscribed" not in log
    assert daemon.counter("subscribe_errors") == 0
    assert daemon.counter("bad_frames") == 0
    assert daemon.counter("disconnects") == 0

    gaps, resyncs = daemon.counter("gaps"), daemon.counter("resyncs")
    planned = [line["line"] for line in lines(daemon)]
    for row in planned:
        ctl(daemon, "rotate", "0", str(row))
    until(lambda: [line["rotations"] for line in lines(daemon)] == [1] * len(planned), 60)
    until(lambda: complete(daemon), 30)
    assert [line["line"] for line in lines(daemon)] == planned
    assert daemon.counter("gaps") == gaps
    assert daemon.counter("resyncs") == resyncs
    assert daemon.counter("disconnects") == 0
    (reader,) = daemon.status()["readers"]
    assert reader["books"]["live"] == sum(reader["books"].values()) - INDICES
    assert reader["books"]["init"] == INDICES
    assert "without a meaning" not in daemon.log()
    assert daemon.counter("subscribe_errors") == 0
    assert daemon.counter("bad_frames") == 0
    assert daemon.stop() == 0, daemon.log()
