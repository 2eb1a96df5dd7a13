"""The control socket: roles from the kernel, bounds, errors in words, an audit line."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from feedd.control.client import ControlClient, ControlError
from feedd.control.protocol import COMMANDS, REQUEST_BYTES_MAX, Command, Role
from feedd.errors import AttachError, ConfigError, FeeddError
from feedd.supervisor import control as module
from feedd.supervisor.control import CLIENTS_MAX, READERS_MAX, ControlServer
from feedd.supervisor.peers import Peer, Roles, peer_of

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to act as another user")
NOBODY = 65_534


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that other users can enter."""
    path = Path(tempfile.mkdtemp(prefix=f"feedd-test-{os.getpid()}-", dir="/dev/shm"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


async def _status(_: Command) -> Any:
    return {"pid": 1}


async def _resync(command: Command) -> Any:
    name = command.instrument  # type: ignore[attr-defined]
    if name.endswith(":BAD"):
        raise FeeddError("no such book")
    if name.endswith(":MANY"):
        raise ConfigError(["one", "two", "three"])
    if name.endswith(":CRASH"):
        raise ZeroDivisionError
    if name.endswith(":SLOW"):
        await asyncio.sleep(60)
    return {"reader": 0}


@pytest.fixture
async def server(place: Path) -> AsyncIterator[ControlServer]:
    made = ControlServer(place / "control", Roles((), ()), {"status": _status, "resync": _resync})
    await made.start(None)
    yield made
    await made.close()


async def ask(place: Path, raw: bytes) -> list[dict[str, Any]]:
    """Send bytes, read to the end; every answer."""
    reader, writer = await asyncio.open_unix_connection(place / "control", limit=1 << 20)
    writer.write(raw)
    writer.write_eof()
    async with asyncio.timeout(20):
        answers = [json.loads(line) for line in (await reader.read()).splitlines()]
    writer.close()
    return answers


def request(do: str, **args: Any) -> bytes:
    return json.dumps({"do": do, "args": args}).encode() + b"\n"


async def test_requests_and_answers(server: ControlServer, place: Path) -> None:
    assert stat.S_IMODE((place / "control").stat().st_mode) == 0o660
    two = request("status") + request("resync", instrument="deribit:A")
    assert await ask(place, two) == [
        {"v": 1, "ok": True, "result": {"pid": 1}},
        {"v": 1, "ok": True, "result": {"reader": 0}},
    ]
    assert server.results == {"done": 2, "failed": 0, "refused": 0}


@pytest.mark.parametrize(
    ("raw", "code", "words"),
    [
        (b"nonsense\n", "usage", "not a request"),
        (b"\xff\x00\n", "usage", "not a request"),
        (b"[]\n", "usage", "not a request"),
        (b'{"do": "status", "more": 1}\n', "usage", "unknown field `more`"),
        (request("explode"), "usage", "unknown command 'explode'; known: resync, status"),
        (request("status", what=1), "usage", "unknown field `what`"),
        (request("resync"), "usage", "missing required field `instrument`"),
        (request("resync", instrument=5), "usage", "Expected `str`"),
        (request("resync", instrument="no venue"), "usage", "instrument"),
        (request("resync", instrument="deribit:BAD"), "failed", "no such book"),
        (request("resync", instrument="deribit:CRASH"), "failed", "ZeroDivisionError"),
    ],
)
async def test_what_cannot_be_done_is_said(
    server: ControlServer, place: Path, raw: bytes, code: str, words: str
) -> None:
    (answer,) = await ask(place, raw)
    assert (answer["ok"], answer["code"]) == (False, code)
    assert words in answer["error"]


async def test_all_problems_travel(server: ControlServer, place: Path) -> None:
    def use() -> ControlError:
        with ControlClient(place) as client, pytest.raises(ControlError) as caught:
            client.ask("resync", instrument="deribit:MANY")
        return caught.value

    error = await asyncio.to_thread(use)
    assert str(error) == "one\ntwo\nthree"
    assert error.code == "failed"


async def test_a_slow_command_ends(
    server: ControlServer, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HANDLER_S", 0.1)
    (answer,) = await ask(place, request("resync", instrument="deribit:SLOW"))
    assert "not done within" in answer["error"]


async def test_a_request_without_end_is_cut(server: ControlServer, place: Path) -> None:
    (answer,) = await ask(place, b"x" * (REQUEST_BYTES_MAX + 1) + b"\n")
    assert answer["error"] == f"a request has at most {REQUEST_BYTES_MAX} bytes"
    _, writer = await asyncio.open_unix_connection(place / "control")

    async def gigabyte() -> None:
        for _ in range(4_096):
            writer.write(b"y" * (1 << 18))
            await writer.drain()

    with pytest.raises(ConnectionError):
        await gigabyte()
    writer.close()
    assert (await ask(place, request("status")))[0]["ok"]


async def test_partial_lines_time_out(
    server: ControlServer, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.2)
    reader, writer = await asyncio.open_unix_connection(place / "control")
    writer.write(b'{"do": "sta')
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


async def test_a_client_that_does_not_read_is_dropped(
    server: ControlServer, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DRAIN_S", 0.2)

    async def large(_: Command) -> Any:
        return "z" * (1 << 22)

    monkeypatch.setitem(server._handlers, "status", large)
    _, writer = await asyncio.open_unix_connection(place / "control", limit=1)
    writer.write(request("status") * 3)
    for _ in range(100):
        await asyncio.sleep(0.05)
        if not server._clients:
            break
    assert not server._clients
    writer.close()


async def test_clients_are_bounded(server: ControlServer, place: Path) -> None:
    held = [await asyncio.open_unix_connection(place / "control") for _ in range(CLIENTS_MAX)]
    while len(server._clients) < CLIENTS_MAX:
        await asyncio.sleep(0.01)
    (answer,) = await ask(place, request("status"))
    assert answer["code"] == "busy"
    for _, writer in held:
        writer.close()
    while server._clients:
        await asyncio.sleep(0.01)
    assert (await ask(place, request("status")))[0]["ok"]


def test_places_are_kept_for_operators(place: Path) -> None:
    server = ControlServer(place / "control", Roles((), ()), {})
    for n in range(READERS_MAX):
        server._clients[n] = Role.READ  # type: ignore[index]
    assert server._full(Role.READ)
    assert not server._full(Role.OPERATE)


async def test_the_rate_is_bounded(server: ControlServer, place: Path) -> None:
    answers = await ask(place, request("status") * 150)
    assert len(answers) == 150
    busy = [answer for answer in answers if not answer["ok"]]
    assert 20 <= len(busy) <= 60
    assert {answer["code"] for answer in busy} == {"busy"}


async def test_an_audit_line_for_each_command(
    server: ControlServer, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await ask(place, request("status") + request("resync", instrument="deribit:A\x1b[2J"))
    await ask(place, request("resync", instrument="deribit:BAD"))
    lines = [record.getMessage() for record in caplog.records if record.name == "feedd.audit"]
    assert len(lines) == 2, "looking leaves no line"
    assert f"uid={os.geteuid()}" in lines[0]
    assert f"pid={os.getpid()}" in lines[0]
    assert r"resync instrument='deribit:A\x1b[2J': done" in lines[0]
    assert lines[1].endswith("failed: no such book")


def test_roles() -> None:
    roles = Roles((), ("daemon",))
    import grp

    daemon = grp.getgrnam("daemon").gr_gid
    assert roles.of(Peer(1, 0, frozenset())) is Role.OPERATE
    assert roles.of(Peer(1, os.geteuid(), frozenset())) is Role.OPERATE
    assert roles.of(Peer(1, 1234, frozenset({daemon, 7}))) is Role.OPERATE
    assert roles.of(Peer(1, 1234, frozenset({7}))) is Role.READ
    assert Roles(("daemon",), ()).of(Peer(1, 1, frozenset())) is Role.OPERATE


def test_the_kernel_names_the_peer() -> None:
    import socket

    one, other = socket.socketpair()
    peer = peer_of(one)
    assert (peer.pid, peer.uid) == (os.getpid(), os.geteuid())
    assert os.getegid() in peer.gids
    assert set(os.getgroups()) <= peer.gids
    assert "pid=" in str(peer)
    one.close()
    other.close()


@as_root
@pytest.mark.parametrize(("groups", "allowed"), [([], False), ([1], True)])
async def test_another_user_may_only_look(
    place: Path, groups: list[int], allowed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Group 1 (daemon) operates here; the peer is nobody, with or without it."""
    server = ControlServer(
        place / "control", Roles((), ("daemon",)), {"status": _status, "resync": _resync}
    )
    await server.start(None)
    (place / "control").chmod(0o666)
    code = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "s.connect(sys.argv[1])\n"
        "s.sendall(sys.argv[2].encode() + b'\\n')\n"
        "s.shutdown(socket.SHUT_WR)\n"
        "print(s.makefile().read(), end='')\n"
    )

    def act(raw: bytes) -> dict[str, Any]:
        out = subprocess.run(
            ["/usr/bin/env", "python3", "-c", code, str(place / "control"), raw.decode().strip()],
            user=NOBODY,
            group=NOBODY,
            extra_groups=groups,
            capture_output=True,
            timeout=20,
            cwd="/",
            env={"PATH": "/usr/bin:/bin"},
        )
        assert out.returncode == 0, out.stderr
        answer: dict[str, Any] = json.loads(out.stdout)
        return answer

    if shutil.which("python3", path="/usr/bin:/bin") is None:
        pytest.skip("no python3 that another user can run")
    assert (await asyncio.to_thread(act, request("status")))["ok"]
    answer = await asyncio.to_thread(act, request("resync", instrument="deribit:A"))
    assert answer["ok"] is allowed
    if not allowed:
        assert answer["code"] == "refused"
        assert "control.operate_groups" in answer["error"]
        assert f"uid={NOBODY}" in caplog.text
    await server.close()


def test_nobody_there_is_said(place: Path) -> None:
    with pytest.raises(AttachError, match="is the daemon running"):
        ControlClient(place)
    import socket

    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(place / "control"))
    dead.close()
    with pytest.raises(AttachError, match="the daemon has ended"):
        ControlClient(place)


def test_every_command_has_help_and_a_role() -> None:
    for name, (form, role) in COMMANDS.items():
        assert form.__doc__, name
        assert role in Role
    from feedd.control.command import ctl

    assert set(ctl.commands) == set(COMMANDS), "a command of the protocol is one of `feedd ctl`"
    assert sys.version_info >= (3, 11)
