"""The broadcaster under a whole daemon: quotes and trades over ipc and encrypted TCP."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq

import feedd
from feedd import clock
from feedd.sim.testing import SimHandle
from tests.supervisor.conftest import until
from tests.supervisor.test_ctl import ctl

pytestmark = pytest.mark.timeout(150)
Make = Callable[..., Any]
BOTH = {"binance_usdm": ["depth", "bookTicker", "aggTrade"], "deribit": ["book", "trades"]}
DATA = "[zmq]\ndata = true\ntrades = true\ninterval_ms = 20\n"


def collect(subscriber: feedd.Subscriber, enough: Callable[[dict[str, Any]], bool]) -> Any:
    """Messages by topic until ``enough`` says so."""
    seen: dict[str, list[feedd.Message]] = {}

    def more() -> bool:
        while (message := subscriber.poll(0.02)) is not None:
            seen.setdefault(message.topic, []).append(message)
        return enough(seen)

    until(more, 25)
    return seen


def broadcaster(daemon: Any, *but: int) -> psutil.Process:
    """The process, when it is none of ``but``; waits for it."""

    def look() -> psutil.Process | None:
        for child in psutil.Process(daemon.process.pid).children():
            try:
                if child.pid not in but and "feedd.broadcaster" in child.cmdline():
                    return child
            except psutil.Error:
                continue
        return None

    found: psutil.Process = until(look)
    return found


def test_market_data_over_zeromq(sim: SimHandle, make_daemon: Make) -> None:
    daemon = make_daemon(sim, venues=BOTH, readers=2, sections=DATA).wait_live()
    until(lambda: (daemon.directory / "data").is_socket())
    assert os.stat(daemon.directory / "data").st_mode & 0o777 == 0o660
    names = {f"{venue}.{s}" for venue in BOTH for s in sim.instruments[venue]}
    with feedd.subscribe(["quote.", "trade.", "health.", "instrument."],
                         directory=daemon.directory) as subscriber:  # fmt: skip
        seen = collect(
            subscriber,
            lambda s: (
                {f"quote.{n}" for n in names} <= set(s)
                and any(t.startswith("trade.deribit.") for t in s)
                and any(t.startswith("trade.binance_usdm.") for t in s)
                and "health.reader.1" in s
                and "health.broadcaster" in s
            ),
        )
        assert subscriber.lost == 0
    quotes = [m for t, some in seen.items() for m in some if t.startswith("quote.")]
    assert all(m.body["instrument"] == m.topic[6:].replace(".", ":", 1) for m in quotes)
    sources = {m.topic.split(".")[1]: m.body["source"] for m in quotes}
    assert sources["deribit"] == "book", "no quote channel is subscribed there"
    assert sources["binance_usdm"] == "quote"
    both = [m.body for m in quotes if m.body["bid_price"] and m.body["ask_price"]]
    assert both
    assert all(body["bid_price"] < body["ask_price"] for body in both)
    for topic, messages in seen.items():
        numbers = [m.body["seq"] for m in messages]
        assert numbers == sorted(set(numbers)), f"{topic}: no repetition is handed out"

    # trades are those of the ring, every one
    topic = f"trade.deribit.{sim.instruments['deribit'][0]}"
    with (
        feedd.attach(daemon.directory) as feed,
        feed.stream(instruments=[topic[6:].replace(".", ":", 1)], kinds=["trade"]) as stream,
        feedd.subscribe(topic, directory=daemon.directory) as subscriber,
    ):
        heard: list[str] = []
        ring: list[str] = []

        def same() -> bool:
            while (message := subscriber.poll(0.02)) is not None:
                heard.append(message.body["trade_id"])
            while (batch := stream.poll()) is not None:
                ring.extend(text.decode() for text in batch.trades["trade_id_text"].tolist())
            return len(heard) > 10 and len(ring) > 10

        until(same, 40)
        start = ring.index(heard[0]) if heard[0] in ring else heard.index(ring[0])
        one, other = (ring[start:], heard) if heard[0] in ring else (ring, heard[start:])
        common = min(len(one), len(other))
        assert one[:common] == other[:common]
        assert common > 5


def test_conflation_bounds_the_rate(sim: SimHandle, make_daemon: Make) -> None:
    sections = "[zmq]\ndata = true\ninterval_ms = 500\n"
    daemon = make_daemon(sim, venues={"binance_usdm": ["bookTicker"]}, sections=sections)
    until(lambda: (daemon.directory / "data").is_socket() if daemon.directory.is_dir() else False)
    topic = f"quote.binance_usdm.{sim.instruments['binance_usdm'][0]}"
    with feedd.subscribe(topic, directory=daemon.directory) as subscriber:
        collect(subscriber, lambda s: len(s.get(topic, [])) >= 2)
        before = daemon.counter("quotes")
        sent = [
            m.body["t"] for m in collect(subscriber, lambda s: len(s.get(topic, [])) >= 6)[topic]
        ]
    assert daemon.counter("quotes") - before > 3 * len(sent), "many updates, few messages"
    assert sent[-1] - sent[0] >= 0.9 * 0.5e9 * (len(sent) - 1), "one in each interval"
    assert subscriber.lost == 0


def test_it_comes_back_and_readers_do_not_notice(sim: SimHandle, make_daemon: Make) -> None:
    daemon = make_daemon(sim, venues=BOTH, sections=DATA).wait_live()
    topic = f"quote.binance_usdm.{sim.instruments['binance_usdm'][0]}"
    until(lambda: (daemon.directory / "data").is_socket())
    with feedd.subscribe([topic, "heartbeat.broadcaster"], directory=daemon.directory) as sub:
        collect(sub, lambda s: topic in s)
        first = broadcaster(daemon)
        first.kill()
        collect(sub, lambda s: topic in s and "heartbeat.broadcaster" in s)
        # one that hangs is noticed as well
        second = broadcaster(daemon, first.pid)
        second.suspend()
        until(lambda: "broadcaster: no beat" in daemon.log(), 20)
        collect(sub, lambda s: topic in s)
    assert daemon.counter("disconnects") == 0
    # between two lives it has no figures
    until(lambda: '"broadcaster"' in ctl(daemon, "--json", "status"), 20)

    # a reload can turn it off and on, and the daemon ends it
    path = daemon.files / "feedd.toml"
    text = path.read_text()
    path.write_text(text.replace("data = true", "data = false"))
    ctl(daemon, "reload")
    assert not (daemon.directory / "data").exists()
    path.write_text(text)
    ctl(daemon, "reload")
    until(lambda: (daemon.directory / "data").is_socket())
    third = broadcaster(daemon)
    assert daemon.stop() == 0
    assert not third.is_running() or third.status() == psutil.STATUS_ZOMBIE


def test_it_does_not_outlive_the_supervisor(sim: SimHandle, make_daemon: Make) -> None:
    daemon = make_daemon(sim, venues={"deribit": ["book"]}, sections=DATA).wait_live()
    until(lambda: (daemon.directory / "data").is_socket())
    child = broadcaster(daemon)
    os.kill(daemon.process.pid, signal.SIGKILL)
    daemon.process.wait(5)
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 3)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_tcp_is_for_those_with_a_key(sim: SimHandle, make_daemon: Make, tmp_path: Path) -> None:
    server_public, server_secret = (key.decode() for key in zmq.curve_keypair())
    public, secret = (key.decode() for key in zmq.curve_keypair())
    stranger = tuple(key.decode() for key in zmq.curve_keypair())
    key_file = tmp_path / "curve.toml"
    key_file.write_text(f'secret_key = """{server_secret}"""\n'.replace('"""', "'"))
    key_file.chmod(0o600)
    port = free_port()
    allowed = public.replace("\\", "\\\\").replace('"', '\\"')
    sections = (
        f'{DATA}tcp = "tcp://127.0.0.1:{port}"\ncurve_credentials = "{key_file}"\n'
        f'curve_allowed = ["{allowed}"]\n'
    )
    daemon = make_daemon(sim, venues={"binance_usdm": ["bookTicker"]}, sections=sections)
    daemon.wait_live_lines()
    address = f"tcp://127.0.0.1:{port}"
    topic = f"quote.binance_usdm.{sim.instruments['binance_usdm'][0]}"
    with feedd.subscribe([topic, "health."], address=address,
                         keys=(server_public, public, secret)) as subscriber:  # fmt: skip
        seen = collect(subscriber, lambda s: topic in s and "health.reader.0" in s)
        assert seen[topic][0].body["instrument"].startswith("binance_usdm:")
    with feedd.subscribe(topic, address=address, keys=(server_public, *stranger)) as subscriber:
        until(lambda: "refused" in daemon.log() or subscriber.poll(0.1))
        assert subscriber.poll(0.5) is None
    assert stranger[0] in daemon.log(), "who was refused is told"
    with feedd.subscribe(topic, address=address) as subscriber:  # in the clear
        assert subscriber.poll(1.0) is None
    raw = socket.create_connection(("127.0.0.1", port))
    raw.sendall(os.urandom(4096))
    raw.close()
    assert secret not in daemon.log()
    assert server_secret not in daemon.log()
    assert server_secret not in ctl(daemon, "config")
    assert daemon.stop() == 0


def test_subscribe_says_when_nobody_publishes(tmp_path: Path) -> None:
    with pytest.raises(feedd.AttachError, match=r"is \[zmq\] enabled"):
        feedd.subscribe("quote.", directory=tmp_path)


def test_subscribe_says_when_there_is_no_market_data(tmp_path: Path) -> None:
    from feedd.broadcaster.publisher import Publisher

    publisher = Publisher([f"ipc://{tmp_path}/pub"], 10, "test")
    with pytest.raises(feedd.AttachError, match="the broadcaster does not run"):
        feedd.subscribe(["health.", "quote.x.Y"], directory=tmp_path)
    feedd.subscribe("health.", directory=tmp_path).close()
    publisher.close()


def test_subscribe_alone_imports_zmq() -> None:
    code = "import sys, feedd; feedd.subscribe; print('zmq' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert out.stdout.strip() == "False"


def test_a_subscriber_that_is_too_late_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from feedd.broadcaster.publisher import Publisher

    publisher = Publisher([f"ipc://{tmp_path}/data"], 1_000, "test")
    with feedd.subscribe("quote.", directory=tmp_path, max_lag=30) as subscriber:
        until(lambda: (publisher.turn(), len(publisher.interest))[1] == 1)
        for _ in range(3):
            publisher.send("quote.a.X", {})
        assert subscriber.poll(5) is not None
        now = clock.now_ns
        monkeypatch.setattr(clock, "now_ns", lambda: now() + 31 * clock.SECOND_NS)
        with pytest.raises(feedd.TooLateError, match="behind"):
            subscriber.poll(5)
    publisher.close()


def test_losses_are_counted_per_topic(tmp_path: Path) -> None:
    from feedd.broadcaster.publisher import Publisher

    publisher = Publisher([f"ipc://{tmp_path}/data"], 1_000, "test")
    with feedd.subscribe("quote.", directory=tmp_path, timeout=0.3) as subscriber:
        until(lambda: (publisher.turn(), len(publisher.interest))[1] == 1)
        publisher.send("quote.a.X", {})
        publisher._sequence[b"quote.a.X"] = 5  # as if four had not fitted its queue
        publisher.send("quote.a.X", {})
        publisher.send("quote.b.X", {})
        publisher.repeat("quote.a.X")
        got = [(m.topic, m.body["seq"], m.lost, m.kind) for m in subscriber]
    assert got == [
        ("quote.a.X", 0, 0, "quote"),
        ("quote.a.X", 5, 4, "quote"),
        ("quote.b.X", 0, 0, "quote"),
    ]
    assert subscriber.lost == 4
    publisher.close()
