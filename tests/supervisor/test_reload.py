"""What a reload may change, what it refuses, and what happens to streams meanwhile."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from feedd.sim.testing import SimHandle
from feedd.supervisor import config_docs
from feedd.supervisor.config import Config, load_config
from feedd.supervisor.config_docs import keys as all_keys
from feedd.supervisor.reload import EFFECTS, Effect, changes, effect_of, flat, refusals, toml
from tests.supervisor.conftest import until
from tests.supervisor.test_ctl import ctl

pytestmark = pytest.mark.timeout(150)
ROOT = Path(__file__).resolve().parents[2]
Make = Callable[..., Any]
BOTH = {"binance_usdm": ["depth", "bookTicker"], "deribit": ["book"]}


def config(text: str = "") -> Config:
    base = '[venues.deribit]\ninstruments = ["A"]\nchannels = ["book"]\n'
    return msgspec.convert(tomllib.loads(base + text), Config)


# ---- differences ---------------------------------------------------------------------------------


def test_changes_are_told_key_by_key() -> None:
    assert changes(config(), config()) == []
    found = changes(
        config('[log]\nlevel = "info"\n'),
        config('[log]\nlevel = "debug"\n[readers]\ncount = 2\n[venues.deribit.options]\na = "1"\n'),
    )
    assert [str(change) for change in found] == [
        "readers.count: 1 -> 2",
        'venues.deribit.options.a: none -> "1"',
        'log.level: "info" -> "debug"',
    ]
    assert refusals(found) == [
        "readers.count: 1 -> 2: needs a restart",
        'venues.deribit.options.a: none -> "1": needs a restart',
    ]
    away = changes(config('[venues.okx]\ninstruments = ["B"]\nchannels = []\n'), config())
    assert any(change.key == "venues.okx.instruments" and change.new is None for change in away)


def test_every_pattern_of_effects_fits_a_key() -> None:
    names = [key.name for key in all_keys() if key.effect is not None]
    for pattern, effect in EFFECTS:
        assert any(effect_of(name) is effect for name in names), pattern
    assert effect_of("log.level") is Effect.LIVE
    assert effect_of("readers.count") is Effect.RESTART
    assert effect_of("readers.cores") is Effect.READERS


@pytest.mark.parametrize("name", ["feedd.toml", "minimal.toml", "deribit-options-desk.toml"])
def test_what_show_prints_means_the_same(name: str, tmp_path: Path) -> None:
    loaded = load_config(ROOT / "conf" / name)
    path = tmp_path / "shown.toml"
    path.write_text(toml(loaded))
    assert load_config(path) == loaded


def test_text_survives_being_shown() -> None:
    odd = msgspec.structs.replace(config().venues["deribit"], options={'a."\\\x07': 'é"\n'})
    shown = toml(msgspec.structs.replace(config(), venues={"deribit": odd}))
    assert tomllib.loads(shown)["venues"]["deribit"]["options"] == {'a."\\\x07': 'é"\n'}


# ---- documentation -------------------------------------------------------------------------------


def test_every_key_is_documented() -> None:
    assert [key.name for key in all_keys() if not key.text] == []


def test_the_document_is_current() -> None:
    said = (ROOT / "docs/configuration.md").read_text()
    assert said == config_docs.markdown(), "run: make docs"


def test_the_complete_file_names_every_key() -> None:
    text = (ROOT / "conf/feedd.toml").read_text()
    for key in all_keys():
        short = key.name.rpartition(".")[2]
        if key.effect is None:
            continue
        assert re.search(rf"(?m)^(# )?{short} = |^\[venues\.\w+\.{short}\]", text), key.name


def test_the_complete_file_shows_the_defaults() -> None:
    """A value in conf/feedd.toml outside of venues is the default, as its head says."""
    shown, default = flat(load_config(ROOT / "conf/feedd.toml")), flat(config())
    wrong = {k for k, v in shown.items() if not k.startswith("venues.") and default[k] != v}
    assert wrong == set()


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "feedd.cli", *words], capture_output=True, text=True, timeout=60
    )


def test_explain() -> None:
    out = run("config", "explain", "readers.cores").stdout
    assert "One core per reader" in out
    assert "default []; taken over by a reload, which replaces the readers" in out
    assert "levels a side" in run("config", "explain", "venues.deribit.depth").stdout.lower()
    assert "[zmq]" in run("config", "explain", "zmq").stdout
    assert "[venues.<name>]" in run("config", "explain").stdout
    wrong = run("config", "explain", "readers.core")
    assert wrong.returncode == 2
    assert "did you mean readers.cores" in wrong.stderr


def test_diff_of_two_files(tmp_path: Path) -> None:
    one, other = tmp_path / "a.toml", tmp_path / "b.toml"
    one.write_text(toml(config()))
    other.write_text(toml(config('[log]\nlevel = "debug"\n')))
    same = run("config", "diff", str(one), str(one))
    assert (same.returncode, same.stdout) == (0, "nothing differs\n")
    live = run("config", "diff", str(one), str(other))
    assert live.returncode == 0
    assert 'live     log.level: "info" -> "debug"' in live.stdout
    other.write_text(toml(config("[readers]\ncount = 3\n")))
    refused = run("config", "diff", "--json", str(one), str(other))
    assert refused.returncode == 1
    assert json.loads(refused.stdout) == [
        {"key": "readers.count", "old": 1, "new": 3, "reload": "restart"}
    ]
    other.write_text("nonsense = 1\n")
    assert run("config", "diff", str(one), str(other)).returncode == 78


# ---- a running daemon ----------------------------------------------------------------------------


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.URLError:
        return False


def test_a_daemon_takes_over_what_it_can(sim: SimHandle, make_daemon: Make) -> None:
    metrics = '[metrics]\nenabled = true\nbind = "127.0.0.1:0"\n'
    daemon = make_daemon(sim, venues=BOTH, readers=2, sections=metrics).wait_live()
    config_path = daemon.files / "feedd.toml"
    original = config_path.read_text()
    pids = daemon.pids()

    def url() -> str:
        return str(re.findall(r"metrics on (http://\S+)", daemon.log())[-1])

    def change(old: str, new: str) -> None:
        assert old in original
        config_path.write_text(original.replace(old, new))

    assert ctl(daemon, "reload") == "nothing changed\n"
    first_url = url()
    assert answers(first_url)

    # live: the endpoint moves, the log becomes JSON, also that of the readers
    change('bind = "127.0.0.1:0"', 'bind = "127.0.0.2:0"\n[log]\nformat = "json"')
    assert "a reload would be accepted" in ctl(daemon, "reload", "--dry-run")
    assert answers(first_url)
    assert run("config", "diff", "--dir", str(daemon.directory), str(config_path)).returncode == 0
    assert "generation 2" in ctl(daemon, "reload")
    assert "127.0.0.2" in url()
    assert answers(url().removesuffix('"}'))
    assert not answers(first_url)
    size = len(daemon.log())
    ctl(daemon, "rotate", "0", "0")
    until(lambda: '"reader":0' in daemon.log()[size:])
    until(lambda: daemon.counter("disconnects") == 1, 25)  # its successor is up
    daemon.wait_live()

    # refused as a whole: nothing of it is in force
    config_path.write_text(original.replace("count = 2", "count = 1"))
    told = ctl(daemon, "reload", ok=False)
    assert "readers.count: 2 -> 1: needs a restart" in told
    assert answers(url().removesuffix('"}')), "the metrics would have moved back"
    shown = json.loads(ctl(daemon, "config"))
    assert shown["readers"]["count"] == 2
    assert shown["metrics"]["bind"] == "127.0.0.2:0"

    # a wrong file: every mistake is told
    config_path.write_text(original.replace("count = 2", "count = 0\nnonsense = 1"))
    told = ctl(daemon, "reload", ok=False)
    assert "readers.count" in told
    assert "nonsense" in told

    # an address that cannot be had: the old endpoint stays
    change('bind = "127.0.0.1:0"', 'bind = "192.0.2.1:9464"\n[log]\nformat = "json"')
    assert "cannot listen" in ctl(daemon, "reload", ok=False)
    assert answers(url().removesuffix('"}'))

    # by signal
    config_path.write_text(original)
    os.kill(daemon.process.pid, signal.SIGHUP)
    until(lambda: "reload: log.format" in daemon.log())
    until(lambda: json.loads(ctl(daemon, "config"))["log"]["format"] == "text")
    assert daemon.pids() == pids
    assert daemon.counter("disconnects") == 1, "the one that was rotated"
    assert daemon.counter("gaps") <= len(sim.instruments["binance_usdm"]) + len(
        sim.instruments["deribit"]
    )
    assert daemon.stop() == 0


def test_systemd_hears_of_a_reload(
    sim: SimHandle, make_daemon: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.supervisor.test_notify import Systemd

    systemd = Systemd(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
    daemon = make_daemon(sim, venues={"deribit": ["book"]})
    until(lambda: systemd.having("READY"), 25)
    systemd.messages.clear()
    os.kill(daemon.process.pid, signal.SIGHUP)
    (ready,) = until(lambda: systemd.having("READY"))
    keys = [key for message in systemd.messages for key in message]
    assert keys.index("RELOADING") < keys.index("READY")
    assert "MONOTONIC_USEC" in keys
    assert ready["STATUS"] == "reloaded: 0 keys changed"
    (daemon.files / "feedd.toml").write_text("nonsense = 1\n")
    systemd.messages.clear()
    os.kill(daemon.process.pid, signal.SIGHUP)
    (ready,) = until(lambda: systemd.having("READY"))
    assert "reload refused: " in ready["STATUS"]
    assert daemon.stop() == 0
    systemd.close()


def test_a_closed_terminal_is_no_reload(sim: SimHandle, make_daemon: Make) -> None:
    daemon = make_daemon(sim, venues={"deribit": ["book"]}).wait_live()
    assert daemon.stop() == 0
    pid, master = pty.fork()
    if pid == 0:
        path = str(daemon.files / "feedd.toml")
        os.execv(sys.executable, [sys.executable, "-m", "feedd.cli", "run", "-c", path])
    seen = b""
    while b"feedd.supervisor: ready" not in seen:
        seen += os.read(master, 4096)
    os.kill(pid, signal.SIGHUP)
    while b"nothing changed" not in seen:
        seen += os.read(master, 4096)
    os.close(master)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert daemon.status()["readers"][0]["state"] == "closed"
    assert b"WARNING" not in seen
