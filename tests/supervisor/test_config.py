"""The configuration: every mistake at once, with file, line, key and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from feedd.errors import ConfigError
from feedd.supervisor import commands
from feedd.supervisor.config import Config, load_config, override_url
from feedd.supervisor.config_command import config as config_command
from feedd.supervisor.early import EarlyReaders

ROOT = Path(__file__).resolve().parents[2]
GOOD = """
[venues.deribit]
instruments = ["BTC-PERPETUAL"]
channels = ["book"]
"""
SPOT = '[venues.binance_spot]\ninstruments = ["B"]\nchannels = ["depth"]\n'


def load(tmp_path: Path, text: str) -> list[str]:
    """The problems of a configuration; empty when there are none."""
    path = tmp_path / "c.toml"
    path.write_text(text)
    try:
        load_config(path)
    except ConfigError as exc:
        return exc.problems
    return []


@pytest.mark.parametrize(
    "name",
    ["feedd.toml", "minimal.toml", "deribit-options-desk.toml", "multi-venue-perpetuals.toml"],
)
def test_the_shipped_files_are_right(name: str) -> None:
    assert load_config(ROOT / "conf" / name).venues


def test_a_minimal_file(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD) == []


def test_all_mistakes_come_at_once_with_their_lines(tmp_path: Path) -> None:
    problems = load(
        tmp_path,
        """
[instance]
directry = "/x"
[readers]
count = 0
ring_slots = 20000
[venues.deribit]
instruments = []
channels = ["boook"]
endpoint = "ws://example.org"
[venues.binanse_spot]
instruments = ["BTCUSDT"]
channels = ["depth"]
""",
    )
    text = "\n".join(problems)
    for line, words in (
        (3, "did you mean"),
        (5, "readers.count"),
        (8, "instruments"),
        (9, '"book"'),
        (10, "loopback only"),
        (11, '"binance_spot"'),
    ):
        assert any(f"c.toml:{line}:" in p and words in p for p in problems), (line, words, text)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("[readers]\nring_slots = 20000", "power of two"),
        ("[readers]\ncores = [4095]", "not available"),
        ("[readers]\ncores = [0, 0]", "more than once"),
        ("[readers]\ncount = 65", "64"),
        ('[instance]\ndirectory = "relative"', "absolute"),
        ('[instance]\ngroup = "no-such-group-here"', "no group"),
        ('[instance]\nname = "a b"', "instance.name"),
        ('[zmq]\nbind = "tcp://0.0.0.0:1"', "ipc://"),
        (f'[zmq]\nbind = "ipc:///{"x" * 120}"', "too long"),
        ('[zmq]\ntcp = "tcp://10.0.0.5:5555"', "nothing is sent in the clear"),
        ('[zmq]\ntcp = "tcp://10.0.0.5:5555"', "needs the broadcaster"),
        ('[zmq]\ntcp = "tcp://*:5555"', "not tcp://IP:PORT"),
        ('[zmq]\ntcp = "tcp://10.0.0.5:99999"', "not tcp://IP:PORT"),
        ('[zmq]\ncurve_credentials = "x"', "no meaning without zmq.tcp"),
        ('[zmq]\ncurve_allowed = ["short"]', "zmq.curve_allowed"),
        (
            '[zmq]\ndata = true\ntcp = "tcp://10.0.0.5:1"\ncurve_credentials = "/no/file"',
            "cannot be read",
        ),
        ('[metrics]\nbind = "localhost:1"', "not an IP address"),
        ('[metrics]\nbind = "9464"', "not HOST:PORT"),
        ('[control]\noperate_users = ["no-such-user-here"]', "no user"),
        ('[control]\noperate_groups = ["no-such-group-here"]', "no group"),
        ('[log]\nlevel = "loud"', "log.level"),
        ("nonsense = 1", "unknown key"),
        (
            SPOT.replace('"B"', '"B*"') + "reference = false",
            "reference = true",
        ),
        (
            SPOT + 'options = {rat = "1"}',
            '"rate"',
        ),
        (
            SPOT + 'options = {rate="a b"}',
            "letters",
        ),
        (
            SPOT + 'ca_file = "/no/file"',
            "cannot be read",
        ),
        (
            SPOT + f'ca_file = "{__file__}"',
            "no certificate in PEM form",
        ),
        (
            SPOT + 'ca_file = "/"',
            "cannot be read: Is a directory",
        ),
        (
            SPOT + 'endpoint = "wss://127.0.0.1:99999"',
            "not a wss:// address: Port out of range",
        ),
        (
            SPOT + 'rest_endpoint = "https://[::1"',
            "not a https:// address: Invalid IPv6",
        ),
        (
            SPOT + 'endpoint = "ftp://x"',
            "not a wss://",
        ),
        ('[venues.binance_spot]\ninstruments = ["B", "B"]\nchannels = ["depth"]', "more than once"),
        ('[venues.binance_spot]\ninstruments = "B"\nchannels = ["depth"]', "list"),
        ("[venues.binance_spot]\nchannels = []", "instruments"),
    ],
)
def test_each_mistake_has_its_words(tmp_path: Path, change: str, words: str) -> None:
    text = f"{change}\n{GOOD}" if change.startswith("nonsense") else f"{GOOD}\n{change}\n"
    problems = load(tmp_path, text)
    assert problems
    assert any(words in problem for problem in problems), problems


@pytest.mark.parametrize("text", ["[venues", "a = 1\na = 2", "\ufeff= 3"])
def test_what_is_no_toml_is_said_to_be_so(tmp_path: Path, text: str) -> None:
    (problem,) = load(tmp_path, text)
    assert "not valid TOML" in problem


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read"):
        load_config(tmp_path / "nowhere.toml")


def test_the_command_lists_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(GOOD)
    result = CliRunner().invoke(config_command, ["check", "-c", str(path)])
    assert result.exit_code == 0
    assert "no mistakes" in result.output


def test_override_keeps_the_venues_path() -> None:
    url = "wss://a.example:9443/public/stream?x=1"
    assert override_url(url, None) == url
    assert override_url(url, "wss://127.0.0.1:5/") == "wss://127.0.0.1:5/public/stream?x=1"


def test_credentials_are_checked_and_never_quoted(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text('key = "the-key"\nsecret = "the-secret"\n')
    path.chmod(0o600)
    assert load(tmp_path, GOOD + f'credentials = "{path}"\n') == []
    for text, words in (
        (GOOD + 'credentials = "nobody"\n', "CREDENTIALS_DIRECTORY"),
        (SPOT + f'credentials = "{path}"\n', "binance_spot knows no login"),
    ):
        (problem,) = load(tmp_path, text)
        assert "credentials" in problem
        assert words in problem
    path.chmod(0o644)
    (problem,) = load(tmp_path, GOOD + f'credentials = "{path}"\n')
    assert "chmod 600" in problem
    assert "the-secret" not in problem
    assert "the-key" not in problem


def test_the_environment_overrules_the_log_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.toml"
    path.write_text(
        '[venues.deribit]\ninstruments = ["BTC-PERPETUAL"]\nchannels = ["book"]\n'
        '[log]\nlevel = "warning"\n'
    )
    levels: list[str] = []

    def run_daemon(config: Config, _: Path | None, early: EarlyReaders) -> int:
        levels.append(config.log.level)
        return 0

    monkeypatch.setattr("feedd.supervisor.run.run_daemon", run_daemon)
    monkeypatch.setattr("feedd.logs.setup_logging", lambda *_: None)
    for given in ("", "error", "DEBUG"):
        monkeypatch.setenv("FEEDD_LOG_LEVEL", given)
        assert CliRunner().invoke(commands.run, ["-c", str(path)]).exit_code == 0
    assert levels == ["warning", "error", "debug"]
    monkeypatch.setenv("FEEDD_LOG_LEVEL", "loud")
    result = CliRunner().invoke(commands.record, ["-c", str(path), "--to", str(tmp_path)])
    assert isinstance(result.exception, ConfigError)
    assert "FEEDD_LOG_LEVEL" in str(result.exception)


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("instance", "directory"),
        ("instance", "state_directory"),
        ("instance", "group"),
        ("capture", "directory"),
        ("zmq", "bind"),
        ("venues.deribit", "ca_file"),
        ("venues.deribit", "credentials"),
    ],
)
def test_a_path_that_no_kernel_takes(tmp_path: Path, table: str, key: str) -> None:
    more = f'{key} = "/tmp/a\\u0000b"\n'
    text = GOOD + more if table in GOOD else f"{GOOD}[{table}]\n{more}"
    (problem,) = load(tmp_path, text)
    assert problem.endswith(f"{table}.{key}: a NUL character is in it")


def test_a_user_that_nobody_can_be(tmp_path: Path) -> None:
    (problem,) = load(tmp_path, GOOD + '[control]\noperate_users = ["root", "a\\u0000"]\n')
    assert problem.endswith("control.operate_users[1]: a NUL character is in it")


@pytest.mark.parametrize("size", ["inf", "1e300"])
def test_a_recording_that_fits_no_disk(tmp_path: Path, size: str) -> None:
    (problem,) = load(tmp_path, f"{GOOD}[capture]\nkeep_gb = {size}\n")
    assert "capture.keep_gb" in problem


def test_a_byte_order_mark_is_named(tmp_path: Path) -> None:
    (problem,) = load(tmp_path, f"\ufeff{GOOD}")
    assert problem.endswith("c.toml:1: not valid TOML: begins with a byte order mark")
