"""Instruments come and go in a running daemon; the streams of the others are not touched."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import feedd
from feedd.errors import FeeddError
from feedd.shm.instruments import InstrumentsReader
from feedd.sim.testing import SimHandle, start_sim
from tests.supervisor.conftest import until
from tests.supervisor.test_ctl import ctl

pytestmark = pytest.mark.timeout(150)

Make = Callable[..., Any]
CHANNELS = {"binance_usdm": ["depth", "bookTicker"], "deribit": ["book", "quote"]}


@pytest.fixture
def sim(tmp_path: Path) -> Any:
    (tmp_path / "sim").mkdir()
    with start_sim(tmp_path / "sim", rate=400, seed=6) as handle:
        yield handle


def placed(daemon: Any, name: str) -> tuple[int, int]:
    reader = InstrumentsReader(daemon.directory)
    try:
        row = reader.by_name(name)
        return (-1, -1) if row is None else (int(row["reader"]), int(row["row"]))
    finally:
        reader.close()


def test_a_reload_takes_instruments_in_and_out(sim: SimHandle, make_daemon: Make) -> None:
    first = {name: list(sim.instruments[name][:1]) for name in CHANNELS}
    daemon = make_daemon(sim, venues=CHANNELS, instruments=first).wait_live()
    stays = f"binance_usdm:{first['binance_usdm'][0]}"
    where = placed(daemon, stays)
    connects, gaps = daemon.counter("connects"), daemon.counter("gaps")

    more = {name: list(sim.instruments[name][:3]) for name in CHANNELS}
    daemon.write_config(venues=CHANNELS, instruments=more)
    ctl(daemon, "reload")
    until(lambda: sum(r["books"]["live"] for r in daemon.status()["readers"]) == 6, 25)
    new = f"deribit:{more['deribit'][2]}"
    book = feedd.attach(daemon.directory).book(new)
    until(lambda: len(book.refresh().bids) > 0)
    assert placed(daemon, stays) == where
    assert daemon.counter("connects") == connects, "on the connections that were there"
    assert daemon.counter("gaps") == gaps

    daemon.write_config(venues=CHANNELS, instruments=first)
    ctl(daemon, "reload")
    until(lambda: sum(r["books"]["live"] for r in daemon.status()["readers"]) == 2)
    until(lambda: placed(daemon, new) == (-1, -1))
    with pytest.raises(FeeddError, match="not subscribed"):
        until(lambda: book.refresh() is None, 2)
    until(lambda: sum(len(c["subscriptions"]) for c in sim.control("status")["connections"]) <= 5)
    time.sleep(0.5)
    assert daemon.live()
    assert daemon.counter("gaps") == gaps
    assert daemon.counter("disconnects") == 0
    assert daemon.counter("bad_frames") == 0

    daemon.write_config(venues=CHANNELS, instruments={**first, "deribit": ["NOBODY"]})
    assert "does not list 'NOBODY'" in ctl(daemon, "reload", ok=False)
    assert daemon.live()


def test_the_last_stream_of_a_connection_ends_it_and_a_new_one_opens_another(
    sim: SimHandle, make_daemon: Make
) -> None:
    channels = {"deribit": ["book"]}
    names = sim.instruments["deribit"]
    daemon = make_daemon(sim, venues=channels, instruments={"deribit": names[:1]}).wait_live()
    daemon.write_config(venues=channels, instruments={"deribit": names[1:2]})
    ctl(daemon, "reload")
    until(
        lambda: (
            [c["subscriptions"] for c in sim.control("status")["connections"]] and daemon.live()
        ),
        25,
    )
    until(lambda: sum(r["books"]["live"] for r in daemon.status()["readers"]) == 1)
    book = feedd.attach(daemon.directory).book(f"deribit:{names[1]}")
    until(lambda: len(book.refresh().bids) > 0)
    assert daemon.stop() == 0, daemon.log()
