"""The process: start, ready line, ends, and what it says when it cannot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner

from feedd.cli import cli
from feedd.clock import monotonic_ns, sleep
from feedd.errors import StartError
from feedd.sim import testing
from feedd.sim.main import sim
from feedd.sim.testing import start_sim
from tests.fixtures import prefork
from tests.sim.client import connect, deribit

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "feedd.sim", "--die-with-parent", "--no-tls",
                          "--rate", "100"], stdout=subprocess.PIPE)
print(child.stdout.readline().decode(), end="", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def as_anybody_starts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testing, "spawn", prefork.AS_USUAL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_cleanly_with_a_whole_journal(
    tmp_path: Path, number: signal.Signals
) -> None:
    with start_sim(tmp_path, rate=1000) as handle:
        async with connect(handle, "/ws/api/v2") as client:
            await client.answer(deribit("subscribe", channels=["book.BTC-PERPETUAL.100ms"]))
            await client.receive()
            handle.process.send_signal(number)
            while await client.receive() is not None:
                pass
            assert client.close_code == 1001
        assert handle.process.wait(10) == 0
        assert handle.errors() == ""
    journal = handle.journal()
    assert "stopped" in journal[-1]
    assert len([row for row in journal if "final_book" in row]) == 12
    assert "1001 going away" in [row.get("close") for row in journal]


def test_without_tls_and_with_chosen_epoch_the_content_repeats(tmp_path: Path) -> None:
    names = []
    for run in ("a", "b"):
        directory = tmp_path / run
        directory.mkdir()
        options = {"tls": False, "epoch_ms": 1_795_000_000_000, "hold": True, "rate": 100}
        with start_sim(directory, **options) as handle:
            assert handle.ws.startswith("ws://")
            assert handle.ca == ""
            status = handle.control("status")
            assert status["running"] is False
            assert status["ticks"] == 0
            _, book = handle.get("/fapi/v1/depth?symbol=BTCUSDT&limit=50")
            names.append((handle.instruments, book))
            handle.control("resume")
            sleep(0.1)
            assert handle.control("status")["ticks"] > 0
    assert names[0] == names[1]


def test_it_dies_with_its_parent() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert parent.stdout is not None
        line = parent.stdout.readline().decode()
        pid = int(line.split('"pid": ')[1].split("}")[0].split(",")[0])
        assert Path(f"/proc/{pid}").exists()
    finally:
        parent.kill()
        parent.communicate()
    deadline = monotonic_ns() + 10_000_000_000
    while _alive(pid) and monotonic_ns() < deadline:
        sleep(0.02)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def test_mistakes_end_with_words(tmp_path: Path) -> None:
    for arguments, word in (
        (["--speed", "fast"], "--speed"),
        (["--rate", "0"], "positive"),
        (["--venue", "nowhere"], "nowhere"),
        (["--synthetic", "--capture", "x"], "exclude"),
    ):
        result = CliRunner().invoke(sim, arguments)
        assert result.exit_code == 2
        assert word in result.output
    assert "corrupt,mode=" in CliRunner().invoke(sim, ["--help"]).output
    for options, word in (
        ({"fault": ["explode"]}, "unknown action"),
        ({"capture": [tmp_path / "absent"], "venue": "deribit"}, "absent"),
        ({"journal": tmp_path / "no" / "such" / "file"}, "journal"),
    ):
        with pytest.raises(StartError, match=word), start_sim(tmp_path, **options):
            pass


def test_pid_in_the_ready_line_is_the_process(tmp_path: Path) -> None:
    with start_sim(tmp_path, rate=100) as handle:
        assert handle.process.pid != os.getpid()
        assert Path(handle.ca).parent == tmp_path
        assert Path(handle.ca).read_text().startswith("-----BEGIN CERTIFICATE")


async def test_chosen_venues_are_served_under_their_name(tmp_path: Path) -> None:
    with start_sim(tmp_path, rate=300, venues="binance_usdm,deribit", tls=False) as handle:
        assert list(handle.instruments) == ["binance_usdm", "deribit"]
        assert handle.endpoints["deribit"]["ws"] == handle.ws + "/deribit"
        async with connect(handle, "/deribit/ws/api/v2") as client:
            channels = ["book.BTC-PERPETUAL.100ms"]
            assert (await client.answer(deribit("subscribe", channels=channels)))["result"]
        async with connect(handle, "/binance_usdm/public/ws/btcusdt@depth@100ms") as client:
            assert (await client.receive())["e"] == "depthUpdate"
        assert handle.get("/binance_usdm/fapi/v1/exchangeInfo")[0] == 200
        assert handle.get("/binance_spot/api/v3/exchangeInfo")[0] == 404
        for path in ("/stream", "/binance_spot/stream", "/deribit/public/stream"):
            with pytest.raises(aiohttp.WSServerHandshakeError):
                async with connect(handle, path):
                    pass
    unknown = pytest.raises(StartError, match="nowhere is not simulated")
    with unknown, start_sim(tmp_path, venues="deribit,nowhere"):
        pass


def test_an_unknown_venue_is_a_usage_error() -> None:
    done = CliRunner().invoke(cli, ["sim", "--venues", "deribit,nowhere"])
    assert done.exit_code == 2
    assert "nowhere is not simulated" in done.stderr
