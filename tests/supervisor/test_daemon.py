"""The whole daemon against the simulated venue, as real processes over TLS on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import pytest
import zmq

import feedd
from feedd.errors import Exit
from feedd.records import Event, Kind
from feedd.shm.instruments import InstrumentsReader
from feedd.shm.ring import RingReader
from feedd.sim.testing import SimHandle, start_sim

pytestmark = pytest.mark.timeout(150)

Make = Callable[..., Any]
USDM = {"binance_usdm": ["depth", "bookTicker"]}
DERIBIT = {"deribit": ["book", "ticker"]}


def until(what: Callable[[], Any], seconds: float = 30.0) -> Any:
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat") as file:  # a zombie is dead too
        return file.read().rpartition(")")[2].split()[0] == "Z"


def test_three_venues_reach_another_process(sim: SimHandle, make_daemon: Make) -> None:
    daemon = make_daemon(sim, readers=2).wait_live()
    status = daemon.status()
    assert status["running"]
    assert status["instruments"] == sum(map(len, sim.instruments.values()))
    kinds: set[int] = set()

    def all_kinds() -> bool:
        for n in range(2):
            with RingReader(daemon.directory, n, "oldest") as ring:
                records = ring.read(16_384)
                kinds.update(np.unique(records["kind"]).tolist())
        return {Kind.TRADE, Kind.QUOTE, Kind.BOOK, Kind.DERIV, Kind.GREEKS, Kind.STATUS} <= kinds

    until(all_kinds)
    # heartbeats both ways, short in this simulator
    until(lambda: daemon.counter("pings_received") > 3)
    assert daemon.counter("bad_frames") == 0
    assert daemon.counter("disconnects") == 0
    shown = subprocess.run(
        [sys.executable, "-m", "feedd.cli", "status", "--dir", str(daemon.directory), "--fail"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    ).stdout
    assert "reader 1: alive" in shown
    started = time.monotonic()
    assert daemon.stop() == 0, daemon.log()
    assert time.monotonic() - started < 5
    with RingReader(daemon.directory, 0, "oldest") as ring:
        assert ring.state.name == "CLOSED"
    assert not daemon.status()["running"]


def test_killed_reader_comes_back_and_the_other_is_untouched(
    sim: SimHandle, make_daemon: Make
) -> None:
    daemon = make_daemon(sim, readers=2).wait_live()
    before = {r["reader"]: r["epoch"] for r in daemon.status()["readers"]}
    victim, other = daemon.pids()
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(daemon.pids()) == 2 and victim not in daemon.pids())
    daemon.wait_live()
    assert other in daemon.pids()
    after = {r["reader"]: r["epoch"] for r in daemon.status()["readers"]}
    assert sorted(after[n] - before[n] for n in after) == [0, 1]
    assert "killed by SIGKILL" in daemon.log()


def test_stopped_reader_is_noticed_by_its_heartbeat(sim: SimHandle, make_daemon: Make) -> None:
    daemon = make_daemon(sim, venues=USDM).wait_live()
    (pid,) = daemon.pids()
    os.kill(pid, signal.SIGSTOP)
    until(lambda: "no heartbeat" in daemon.log())
    until(lambda: daemon.pids() and pid not in daemon.pids())
    daemon.wait_live()


def test_a_restart_with_fewer_readers_leaves_no_dead_ones(
    sim: SimHandle, make_daemon: Make
) -> None:
    daemon = make_daemon(sim, readers=2).wait_live()
    feed = feedd.attach(daemon.directory)
    with feed.stream(timeout=0.3) as stream:
        assert daemon.stop() == 0
        daemon.start(readers=1).wait_live()
        assert [reader.number for reader in feed.readers] == [0]
        assert feed.alive
        assert len(daemon.status()["readers"]) == 1
        daemon.sim.control("stop")  # silence, so that the stream says whether a writer is missing
        until(lambda: len(batch := next(stream)) == 0 and batch.alive)
        daemon.process.kill()
        until(lambda: len(batch := next(stream)) == 0 and not batch.alive)
    feed.close()


def test_leftovers_of_another_layout_are_replaced(sim: SimHandle, make_daemon: Make) -> None:
    daemon = make_daemon(sim, venues=USDM).wait_live()
    assert daemon.stop() == 0
    names = {p.name for p in daemon.directory.iterdir() if not p.name.startswith("LOCK")}
    assert {"wake", "counters", "instruments", "reader-0.ring"} <= names
    for name in names:
        (daemon.directory / name).write_bytes(b"something else " * 500)
    daemon.start(venues=USDM).wait_live()


def test_readers_do_not_outlive_the_supervisor(sim: SimHandle, make_daemon: Make) -> None:
    daemon = make_daemon(sim, venues=USDM).wait_live()
    (pid,) = daemon.pids()
    daemon.process.kill()
    daemon.process.wait(5)
    until(lambda: gone(pid), 3)
    # what it left behind is taken over: the same ring, the next epoch
    epoch = daemon.status()["readers"][0]["epoch"]
    daemon.start(venues=USDM).wait_live()
    assert daemon.status()["readers"][0]["epoch"] == epoch + 1


def test_a_second_daemon_on_the_same_directory_is_refused(
    sim: SimHandle, make_daemon: Make
) -> None:
    daemon = make_daemon(sim, venues=USDM).wait_live()
    second = subprocess.run(
        [sys.executable, "-m", "feedd.cli", "run", "-c", str(daemon.files / "feedd.toml")],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert second.returncode == 75
    assert "only one may write" in second.stderr
    assert daemon.live()


def test_reconnect_after_each_kind_of_close(sim: SimHandle, make_daemon: Make) -> None:
    daemon = make_daemon(sim, venues=DERIBIT).wait_live()
    for number, how in enumerate(("fin", "rst", "1001", "4000"), start=1):
        with RingReader(daemon.directory, 0) as ring:
            sim.control("fault", f"close,venue=deribit,how={how}")
            until(lambda number=number: daemon.counter("disconnects") == number)
            daemon.wait_live()
            assert daemon.counter("connects") == 1 + number
            records = ring.read(16_384)
        status = records[records["kind"] == Kind.STATUS]
        codes = [int(np.frombuffer(r["payload"][4:8].tobytes(), "<i4")[0]) for r in status]
        assert Event.LINE_DOWN in codes
        assert Event.LINE_UP in codes
        assert codes.index(Event.LINE_DOWN) < codes.index(Event.LINE_UP)
        assert Event.GAP in codes, "a lost connection is a declared gap"
        if how.isdigit():
            assert f"code {how}" in daemon.log()


def test_one_lost_delta_heals_by_itself(sim: SimHandle, make_daemon: Make) -> None:
    both = {"deribit": ["book"], "binance_usdm": ["depth"]}
    daemon = make_daemon(sim, venues=both).wait_live()
    sim.control("fault", "drop,venue=deribit,stream=book.*,nth=3")
    sim.control("fault", "drop,venue=binance_usdm,stream=*depth*,nth=3")
    until(lambda: daemon.counter("gaps") >= 2)
    daemon.wait_live()
    assert daemon.counter("gaps") == 2
    assert daemon.counter("disconnects") == 0, "only the book starts anew"


def test_a_lost_snapshot_of_the_stream_is_asked_for_again(
    sim: SimHandle, make_daemon: Make
) -> None:
    daemon = make_daemon(sim, venues=DERIBIT).wait_live()
    book = "drop,stream=book.BTC-PERPETUAL*"
    # the second message shows the gap; what follows is lost, the healing snapshot too
    sim.control("fault", {"fault": [f"{book},nth=1", f"{book},after=2,count=30"]})
    until(lambda: daemon.counter("gaps") == 1)
    until(lambda: "once more" in daemon.log(), 45)
    until(daemon.live, 45)
    assert daemon.counter("gaps") == 1


def test_health_and_gaps_over_zeromq(sim: SimHandle, make_daemon: Make) -> None:
    daemon = make_daemon(sim, venues=DERIBIT).wait_live()
    context = zmq.Context()
    try:
        socket = context.socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.subscribe(b"")
        socket.connect(f"ipc://{daemon.directory}/pub")
        assert os.stat(daemon.directory / "pub").st_mode & 0o777 == 0o660
        seen: dict[str, list[dict[str, Any]]] = {}

        def listen() -> dict[str, list[dict[str, Any]]]:
            while socket.poll(20):
                topic, body = socket.recv_multipart()
                seen.setdefault(topic.decode(), []).append(json.loads(body))
            return seen

        first = until(lambda: listen().get("health.reader.0"))[0]
        assert first["state"] == "running"
        assert first["v"] == 1
        sim.control("fault", "drop,venue=deribit,stream=book.*,nth=2")
        gap = until(lambda: listen().get("status.gap"))[0]
        assert gap["instrument_id"] is not None
        os.kill(daemon.pids()[0], signal.SIGKILL)
        until(lambda: any(m["state"] != "running" for m in listen()["health.reader.0"]))
        numbers = [m["seq"] for m in seen["health.reader.0"]]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    finally:
        context.destroy(linger=0)


def test_ids_survive_a_restart_and_a_new_symbol_gets_the_next(
    sim: SimHandle, make_daemon: Make
) -> None:
    symbols = sim.instruments["binance_usdm"]
    daemon = make_daemon(sim, venues=USDM, instruments={"binance_usdm": symbols[:2]}).wait_live()
    assert daemon.stop() == 0
    reader = InstrumentsReader(daemon.directory)
    names = [bytes(n).decode() for n in reader.array["name"]]
    reader.close()
    assert names == [f"binance_usdm:{s}" for s in symbols[:2]]
    reordered = [symbols[2], symbols[1], symbols[0]]
    daemon.start(venues=USDM, instruments={"binance_usdm": reordered}).wait_live()
    reader = InstrumentsReader(daemon.directory)
    for number, symbol in enumerate(symbols[:3]):
        row = reader.by_name(f"binance_usdm:{symbol}")
        assert int(row["id"]) == number
        assert int(row["reader"]) == 0
        assert float(row["tick"]) > 0, "reference data fills the row"
    reader.close()


def test_a_refused_stream_is_counted_and_the_others_live(sim: SimHandle, make_daemon: Make) -> None:
    symbols = [sim.instruments["deribit"][0], "NO-SUCH-THING"]
    daemon = make_daemon(sim, venues=DERIBIT, instruments={"deribit": symbols}, reference=False)
    until(lambda: daemon.directory.is_dir() and "not subscribed" in daemon.log(), 45)
    until(lambda: daemon.counter("subscribe_errors") == 2)
    (line,) = daemon.status()["readers"][0]["connections"]
    assert (line["state"], line["topics_active"], line["topics_failed"]) == ("up", 2, 2)
    until(lambda: daemon.status()["readers"][0]["books"]["live"] == 1)


def test_a_listed_symbol_that_does_not_exist_stops_the_start(
    sim: SimHandle, make_daemon: Make
) -> None:
    daemon = make_daemon(sim, venues=USDM, instruments={"binance_usdm": ["NOSUCH"]})
    assert daemon.process.wait(20) == 78
    assert "does not list 'NOSUCH'" in daemon.log()


def test_rate_limited_snapshots_are_asked_for_again(sim: SimHandle, make_daemon: Make) -> None:
    sim.control("fault", "rest,stream=/fapi/v1/depth,status=429,retry_after=1,count=2")
    daemon = make_daemon(sim, venues=USDM).wait_live()
    assert daemon.counter("rest_failures") >= 1
    assert "HTTP 429" in daemon.log()


def test_a_foreign_certificate_is_refused(sim: SimHandle, make_daemon: Make, tmp_path: Any) -> None:
    (tmp_path / "other").mkdir()
    with start_sim(tmp_path / "other", rate=100) as other:
        daemon = make_daemon(sim, venues=USDM, ca_file=other.ca, reference=False)
        until(lambda: "certificate" in daemon.log() and "refused" in daemon.log())
        assert daemon.counter("connects") == 0
        assert daemon.counter("frames") == 0
        until(lambda: daemon.counter("connect_failures") >= 2)


def test_a_wrong_host_name_is_refused(sim: SimHandle, make_daemon: Make) -> None:
    wrong = sim.ws.replace("127.0.0.1", "127.0.0.2")
    daemon = make_daemon(sim, venues=USDM, endpoint=wrong, reference=False)
    until(lambda: daemon.directory.is_dir() and "connect failed" in daemon.log())
    assert daemon.counter("connects") == 0


@pytest.mark.parametrize("fault", ["rest,delay_ms=60000", "rest,status=429,retry_after=600"])
def test_a_signal_ends_a_start_that_waits_for_a_venue(
    sim: SimHandle, make_daemon: Make, fault: str
) -> None:
    sim.control("fault", fault)
    daemon = make_daemon(sim, venues=USDM, instruments={"binance_usdm": ["*"]})
    until(lambda: (daemon.directory / "LOCK").exists())
    if "429" in fault:
        until(lambda: "no REST request to this venue for the next 600 s" in daemon.log())
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(10) == 0
    assert "stopped before the start was complete" in daemon.log()


def test_books_of_a_killed_daemon_are_not_shown_as_live(sim: SimHandle, make_daemon: Make) -> None:
    daemon = make_daemon(sim, venues=USDM).wait_live()
    books = daemon.status()["readers"][0]["books"]
    readers = psutil.Process(daemon.process.pid).children()
    for process in (*readers, daemon.process):
        process.kill()
    psutil.wait_procs(readers, 5)
    daemon.process.wait(5)
    killed = daemon.status()["readers"][0]["books"]
    assert (killed["live"], killed["stale"]) == (0, books["live"])


def test_a_state_directory_has_one_daemon(sim: SimHandle, make_daemon: Make) -> None:
    """Two would give the same ids to different instruments."""
    first = make_daemon(sim, venues={"deribit": ["book"]}).wait_live()
    second = make_daemon(sim, venues={"binance_usdm": ["bookTicker"]})
    second.process.kill()
    second.process.wait(10)
    path = second.files / "feedd.toml"
    mine, state = str(second.files / "state"), str(first.files / "state")
    path.write_text(path.read_text().replace(mine, state))
    beside = subprocess.run(
        [sys.executable, "-m", "feedd.cli", "run", "-c", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert beside.returncode == Exit.TEMPORARY
    assert f"{state} is kept by another running daemon" in beside.stderr
    assert first.stop() == 0
