"""A reload that fails in a late step leaves nothing behind: all of the file, or nothing."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from feedd.sim.testing import SimHandle
from tests.supervisor.conftest import until
from tests.supervisor.test_broadcaster import broadcaster
from tests.supervisor.test_ctl import ctl
from tests.supervisor.test_reload import answers

pytestmark = pytest.mark.timeout(150)
Make = Callable[..., Any]
ZMQ = "[zmq]\ndata = true\n"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of 127.0.0.1 on which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def tcp(port: int, key_file: Path) -> str:
    """Keys of [zmq] for an address over TCP."""
    secret = zmq.curve_keypair()[1].decode()
    key_file.write_text(f"secret_key = '{secret}'\n")
    key_file.chmod(0o600)
    return (
        f'tcp = "tcp://127.0.0.1:{port}"\ncurve_credentials = "{key_file}"\n'
        f"curve_allowed = ['{'a' * 40}']\n"
    )


def metrics(bind: str) -> str:
    return f'[metrics]\nenabled = true\nbind = "{bind}"\n'


def said(daemon: Any) -> dict[str, Any]:
    """What is in force, but for what no reload changes."""
    found: dict[str, Any] = json.loads(ctl(daemon, "config"))
    return found


def test_nothing_of_a_late_failure_stays(
    sim: SimHandle, make_daemon: Make, tmp_path: Path, taken: int
) -> None:
    port, other = free_port(), free_port()
    before = metrics(f"127.0.0.1:{port}") + ZMQ
    one, two = sim.instruments["deribit"][:2]
    daemon = make_daemon(
        sim, venues={"deribit": ["book"]}, instruments={"deribit": [one]}, sections=before
    ).wait_live()
    until(lambda: (daemon.directory / "data").is_socket())
    publisher = broadcaster(daemon).pid
    path = daemon.files / "feedd.toml"
    original = path.read_text()
    there = said(daemon)

    def change(sections: str) -> str:
        """A reload that wants an instrument more, another log and these sections; it is refused."""
        wanted = original.replace(f'["{one}"]', json.dumps([one, two])).replace(before, sections)
        assert wanted.count(two) == 1
        path.write_text(wanted + '[log]\nformat = "json"\n[control]\noperate_users = ["nobody"]\n')
        told = ctl(daemon, "reload", ok=False)
        assert answers(f"http://127.0.0.1:{port}/metrics")
        assert not answers(f"http://127.0.0.1:{other}/metrics")
        assert said(daemon) == there
        assert '"logger":"feedd.supervisor"' not in daemon.log(), "its log is text"
        assert f"deribit:{two}" not in ctl(daemon, "status")
        return told

    # the broadcaster's address is somebody else's: its process starts, and ends again
    told = change(metrics(f"127.0.0.1:{other}") + ZMQ + tcp(taken, tmp_path / "key.toml"))
    assert "broadcaster" in told
    until(lambda: (daemon.directory / "data").is_socket())
    publisher = broadcaster(daemon, publisher).pid

    # the disk takes no ids for new instruments
    names = daemon.files / "state" / f".instruments.json.{daemon.process.pid}"
    names.mkdir()
    told = change(metrics(f"127.0.0.1:{other}") + ZMQ + "trades = true\n")
    assert "ids" in told
    assert "instruments" in told
    names.rmdir()
    until(lambda: (daemon.directory / "data").is_socket())
    broadcaster(daemon, publisher)

    # the same file is taken when there is room
    assert "generation 2" in ctl(daemon, "reload")
    assert answers(f"http://127.0.0.1:{other}/metrics")
    assert not answers(f"http://127.0.0.1:{port}/metrics")
    daemon._books = 2
    daemon.wait_live()
    assert daemon.stop() == 0


def test_the_endpoint_of_metrics_may_keep_its_port(
    sim: SimHandle, make_daemon: Make, tmp_path: Path, taken: int
) -> None:
    port = free_port()
    before = metrics(f"127.0.0.1:{port}") + ZMQ
    daemon = make_daemon(sim, venues={"deribit": ["book"]}, sections=before).wait_live()
    path = daemon.files / "feedd.toml"
    original = path.read_text()
    path.write_text(original.replace(f"127.0.0.1:{port}", f"0.0.0.0:{port}"))
    ctl(daemon, "reload")
    assert answers(f"http://127.0.0.2:{port}/metrics")

    # and has it again when something else fails
    path.write_text(original + tcp(taken, tmp_path / "key.toml"))
    assert "broadcaster" in ctl(daemon, "reload", ok=False)
    assert answers(f"http://127.0.0.2:{port}/metrics")
    assert daemon.stop() == 0
