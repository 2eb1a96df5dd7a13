"""The metrics of a whole daemon, from its endpoint."""

from __future__ import annotations

import os
import re
import signal
import urllib.request
from collections.abc import Callable
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from feedd.sim.testing import SimHandle
from tests.supervisor.conftest import until

Make = Callable[..., Any]


def scrape(daemon: Any) -> dict[str, dict[tuple[str, ...], float]]:
    """Sample name -> label values, in the order of their names -> value."""
    host, port = re.findall(r"metrics on http://(.+):(\d+)/metrics", daemon.log())[-1]
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    out: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(sample.labels[key] for key in sorted(sample.labels))
            out.setdefault(sample.name, {})[labels] = sample.value
    return out


def test_a_daemon_is_measured(sim: SimHandle, make_daemon: Make) -> None:
    sections = '[metrics]\nenabled = true\nbind = "127.0.0.1:0"\n'
    venues = {"binance_usdm": ["depth", "bookTicker"], "deribit": ["book"]}
    daemon = make_daemon(sim, venues=venues, readers=2, sections=sections).wait_live()
    got = until(lambda: (m := scrape(daemon))["feedd_ready"][()] == 1 and m)
    assert got["feedd_reader_up"] == {("0",): 1.0, ("1",): 1.0}
    assert set(got["feedd_process_open_fds"]) == {("supervisor",), ("reader-0",), ("reader-1",)}
    assert all(value > 10e6 for value in got["feedd_process_resident_memory_bytes"].values())
    assert sum(got["feedd_lines_up"].values()) == sum(got["feedd_lines"].values()) >= 2
    assert {venue for _, venue in got["feedd_lines"]} == {"binance_usdm", "deribit"}
    books = sum(len(sim.instruments[name]) for name in venues)
    until(lambda: _live(scrape(daemon)) == books, 30)
    assert sum(got["feedd_messages_total"].values()) > 0
    later = until(lambda: _grown(scrape(daemon), got))
    assert later["feedd_receive_to_ring_seconds_count"][("0",)] > 0
    assert got["feedd_rest_requests_total"][("binance_usdm",)] >= 1
    os.kill(daemon.pids()[0], signal.SIGKILL)
    until(lambda: sum(scrape(daemon)["feedd_reader_restarts_total"].values()) == 1, 30)
    daemon.wait_live()
    until(lambda: sum(scrape(daemon)["feedd_reader_up"].values()) == 2, 30)
    assert daemon.stop() == 0


def _live(now: Any) -> float:
    return sum(v for (_, state, _), v in now["feedd_books"].items() if state == "live")


def _grown(now: Any, before: Any) -> Any:
    name = "feedd_messages_total"
    return now if sum(now[name].values()) > sum(before[name].values()) else None
