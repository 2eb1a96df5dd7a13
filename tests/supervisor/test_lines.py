"""Redundant lines and replaced connections of a whole daemon, against the simulated venue."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from feedd.sim.testing import SimHandle, start_sim
from tests.supervisor.conftest import until

pytestmark = pytest.mark.timeout(180)

Make = Callable[..., Any]
USDM = {"binance_usdm": ["depth", "bookTicker", "aggTrade"]}


@pytest.fixture
def slow_sim(tmp_path: Path) -> Any:
    (tmp_path / "sim").mkdir()
    with start_sim(tmp_path / "sim", rate=300, seed=5, notice_s=25.0) as handle:
        yield handle


def lines(daemon: Any) -> list[dict[str, Any]]:
    (reader,) = daemon.status()["readers"]
    return list(reader["connections"])


def test_a_shutdown_notice_replaces_the_connection_without_a_gap(
    slow_sim: SimHandle, make_daemon: Make
) -> None:
    daemon = make_daemon(slow_sim, venues=USDM).wait_live()
    before = lines(daemon)
    assert [(line["line"], line["number"]) for line in before] == [(0, 0), (1, 1)]
    time.sleep(11)  # only a connection that was good for a while is replaced in peace
    resyncs = daemon.counter("resyncs")
    assert len(slow_sim.control("event", {"event": "serverShutdown"})["told"]) == 2
    until(lambda: [line["rotations"] for line in lines(daemon)] == [1, 1], 30)
    after = lines(daemon)
    assert [(line["line"], line["number"]) for line in after] == [(0, 2), (1, 3)]
    assert all(line["state"] == "up" for line in after)
    assert [line["connects"] for line in after] == [2, 2]
    assert all(line["frames"] > 100 for line in after), "counters go on"
    time.sleep(1)
    assert daemon.live()
    assert daemon.counter("gaps") == 0
    assert daemon.counter("resyncs") == resyncs
    assert "replaced by line" in daemon.log()
    assert daemon.stop() == 0, daemon.log()


def test_a_line_of_two_killed_every_second_loses_nothing(tmp_path: Path, make_daemon: Make) -> None:
    (tmp_path / "sim").mkdir()
    venues = {"binance_usdm": ["depth", "bookTicker"], "binance_spot": ["depth", "trade"]}
    with start_sim(tmp_path / "sim", rate=600, seed=8) as sim:
        daemon = make_daemon(sim, venues=venues, lines=2)
        until(lambda: daemon.live() and len(lines(daemon)) == 4, 90)
        time.sleep(2)
        before = {name: daemon.counter(name) for name in ("gaps", "resyncs", "disconnects")}
        sim.control("fault", "kill,every_s=1,how=fin,redundant=1")
        time.sleep(20)
        sim.control("fault", method="DELETE")
        until(daemon.live, 30)
        assert daemon.counter("disconnects") - before["disconnects"] >= 12
        assert daemon.counter("gaps") == before["gaps"], daemon.log()
        assert daemon.counter("resyncs") == before["resyncs"]
        assert daemon.counter("bad_frames") == 0
        shares = [(line["firsts"], line["copies"]) for line in lines(daemon)]
        assert all(first > 50 for first, _ in shares), shares
        assert all(copies > 50 for _, copies in shares), shares


def test_two_lines_and_one_that_is_cut(slow_sim: SimHandle, make_daemon: Make) -> None:
    daemon = make_daemon(slow_sim, venues=USDM, lines=2)
    until(lambda: daemon.live() and len(lines(daemon)) == 4, 30)
    assert [(line["copy"], line["topics"]) for line in lines(daemon)].count((1, 0)) == 0
    assert sorted(line["copy"] for line in lines(daemon)) == [0, 0, 1, 1]
    time.sleep(1)
    gaps = daemon.counter("gaps")
    resyncs = daemon.counter("resyncs")
    connections = slow_sim.control("status")["connections"]
    for ended, number in enumerate([c["conn"] for c in connections][:2], start=1):
        slow_sim.control("fault", f"close,conn={number},how=rst")
        until(lambda ended=ended: daemon.counter("disconnects") == ended)
        until(daemon.live, 30)
        time.sleep(1)  # every book has been heard on the new connection
    assert daemon.counter("gaps") == gaps
    assert daemon.counter("resyncs") == resyncs
